"""Who may be connected: how many, how many from one address, and who has to go for whom.

A *stranger* is a connection whose last request did not show that its client may ask (or that has
not asked yet, or is still shaking hands). Strangers may have every place that nobody else wants.
Where there is none left, a stranger is closed for whoever comes: of the address that has most of
them, the one that was heard of longest ago. If all are known, an idle one is closed for an address
that has fewer. Who is known and is being served is never closed.

An address never has all places: it may have a share of those that the others leave, and beyond that
its own strangers are closed for those who come from it. Addresses that many clients share, such as
proxies, have no such bound (`is_shared`). An IPv6 network of 64 bits, which is what one site has at
least, counts as one address (`name_address`).

Guarantees that there are never more than so many, and that one connection costs a few steps,
however many there are and wherever they come from; looking for an idle one among the known, which
costs a step for each, is done once a second if it finds none.
"""

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import Final, Protocol

from everlog.http.limits import Limits

# What an IPv6 network hands to one site at least (RFC 6177): its hosts count as one client.
_IPV6_PREFIX_LENGTH: Final = 64

# However long something goes on, it is said once in this time.
_REPORT_SECONDS: Final = 60.0

# Where nobody was idle, nobody is looked for again in this time.
_SEARCH_SECONDS: Final = 1.0


class Guest(Protocol):
    """A connection that has, or wants, a place."""

    # None without a place.
    place: "Place | None"
    is_known: bool

    def idle_since(self) -> float | None:
        """Return since when nothing is asked of the server, None while something is."""
        ...

    def abort(self) -> None:
        """End now."""
        ...


class Place:
    """What is known of one address, for each of its guests; no address is left with no guest."""

    __slots__ = ("address", "count", "known", "strangers")

    def __init__(self, address: str) -> None:
        self.address: Final = address
        self.known: Final[dict[Guest, None]] = {}
        # Those heard of longest ago first.
        self.strangers: Final[dict[Guest, None]] = {}
        self.count = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Crowding:
    """That there were no places left: how many there are, who has most, and what came of it."""

    connections: int
    # The address with most connections, and how many those are.
    address: str
    address_connections: int
    # Since it was said before: how many were closed for others, and how many were refused.
    closed: int
    refused: int


class Places:
    """The places of one server; see the module for who gets one."""

    def __init__(
        self,
        limits: Limits,
        *,
        is_shared: Callable[[str], bool],
        clock: Callable[[], float],
        on_crowded: Callable[[Crowding], None],
    ) -> None:
        """Start with nobody there; the clock returns seconds, and never goes back."""
        self._limits: Final = limits
        self._is_shared: Final = is_shared
        self._clock: Final = clock
        self._on_crowded: Final = on_crowded
        self._by_address: Final[dict[str, Place]] = {}
        # Addresses by how many strangers they have, and the largest such number.
        self._crowds: Final[dict[int, dict[Place, None]]] = {}
        self._most = 0
        self._searched_at = -inf
        self._may_report: Final = Seldom(clock)
        self._reported = (0, 0)
        self.count = 0
        self.closed_count = 0
        self.refused_count = 0

    def enter(self, guest: Guest, address: str) -> bool:
        """Give a place to a guest, a stranger at first; return False if there is none."""
        assert guest.place is None
        name = name_address(address)
        place = self._by_address.get(name)
        if place is None:
            place = Place(name)
        has_share = self._has_share(place, address)
        if not has_share or self.count >= self._limits.connections_max:
            other = self._find_other(place) if has_share else next(iter(place.strangers), None)
            if other is None:
                self.refused_count += 1
                self._report()
                return False
            self.closed_count += 1
            self._report()
            self.leave(other)
            other.abort()
        # Where it was left empty just now, it was forgotten.
        self._by_address[name] = place
        place.count += 1
        self.count += 1
        guest.place = place
        guest.is_known = False
        self._add_stranger(place, guest)
        return True

    def leave(self, guest: Guest) -> None:
        """Take back the place of a guest, if it has one."""
        place = guest.place
        if place is None:
            return
        if guest.is_known:
            del place.known[guest]
        else:
            self._remove_stranger(place, guest)
        guest.place = None
        self.count -= 1
        place.count -= 1
        if place.count == 0:
            del self._by_address[place.address]

    def judge(self, guest: Guest, *, is_known: bool) -> None:
        """Note what a request has shown, and that the guest was heard of."""
        place = guest.place
        if place is None:
            return
        if guest.is_known is not is_known:
            guest.is_known = is_known
            if is_known:
                self._remove_stranger(place, guest)
                place.known[guest] = None
            else:
                del place.known[guest]
                self._add_stranger(place, guest)
        elif not is_known:
            del place.strangers[guest]
            place.strangers[guest] = None

    def _has_share(self, place: Place, address: str) -> bool:
        """Whether an address may have one place more than it has."""
        left = self._limits.connections_max - (self.count - place.count)
        share = max(1.0, self._limits.connections_share_max * left)
        return place.count + 1 <= share or self._is_shared(address)

    def _find_other(self, place: Place) -> Guest | None:
        """Return who has to go for a guest of an address, now that all places are taken."""
        if self._most > 0:
            crowd = next(iter(self._crowds[self._most]))
            return next(iter(crowd.strangers))
        now = self._clock()
        if now - self._searched_at < _SEARCH_SECONDS:
            return None
        busiest = self._busiest()
        idle: tuple[float, Guest] | None = None
        if busiest.count > place.count + 1:
            for guest in busiest.known:
                since = guest.idle_since()
                if since is not None and (idle is None or since < idle[0]):
                    idle = since, guest
        if idle is None:
            self._searched_at = now
            return None
        return idle[1]

    def _busiest(self) -> Place:
        return max(self._by_address.values(), key=lambda place: place.count)

    def _add_stranger(self, place: Place, guest: Guest) -> None:
        place.strangers[guest] = None
        self._recount(place, len(place.strangers) - 1)

    def _remove_stranger(self, place: Place, guest: Guest) -> None:
        del place.strangers[guest]
        self._recount(place, len(place.strangers) + 1)

    def _recount(self, place: Place, before: int) -> None:
        """Note that an address has one stranger more or less than before."""
        crowds, count = self._crowds, len(place.strangers)
        if before > 0:
            del crowds[before][place]
            if not crowds[before]:
                del crowds[before]
        if count > 0:
            crowds.setdefault(count, {})[place] = None
        if count > self._most or self._most not in crowds:
            # Where it is less, this address was the only one that had so many.
            self._most = count

    def _report(self) -> None:
        if not self._may_report():
            return
        closed, refused = self._reported
        self._reported = self.closed_count, self.refused_count
        busiest = self._busiest()
        self._on_crowded(
            Crowding(
                connections=self.count,
                address=busiest.address,
                address_connections=busiest.count,
                closed=self.closed_count - closed,
                refused=self.refused_count - refused,
            )
        )


class Seldom:
    """Whether it is time to say something again."""

    __slots__ = ("_clock", "_said_at")

    def __init__(self, clock: Callable[[], float]) -> None:
        """Ask a clock that returns seconds."""
        self._clock = clock
        self._said_at = -inf

    def __call__(self) -> bool:
        """Return True once a minute, to whoever then says it."""
        now = self._clock()
        if now - self._said_at < _REPORT_SECONDS:
            return False
        self._said_at = now
        return True


def name_address(address: str) -> str:
    """Return the name by which an address counts: a network of IPv6 is one client."""
    if ":" not in address:
        return address
    parsed = ipaddress.IPv6Address(address.partition("%")[0])
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    network = ipaddress.IPv6Network((parsed, _IPV6_PREFIX_LENGTH), strict=False)
    return str(network)
