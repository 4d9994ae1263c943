"""How much each client may still do: an allowance that refills with time (a token bucket).

A client never gets more than its size at once and its refill in the long run, and memory is
bounded: beyond `ADDRESSES_MAX`, whoever was heard of longest ago is forgotten, which gives it a
full allowance again. A client is an address, and behind a proxy all clients have the same.
Pure: time is an argument, in seconds of any clock that does not go back.

**Failed attempts.** A client that comes without the right token again and again is told to wait. It
is told so only when it fails: the right token is never counted and always passes, whoever shares an
address with whom, so that nobody can lock anybody out. What makes guessing hopeless is the length
of the token; what this gives is an end to clients that are configured wrongly, and a line in the
log that a firewall can act on.

**The rate limit**, if the operator wants a bound; off by default. The unit is a read; a write costs
more, since all clients share one writer and one disk. Headers are those of the IETF draft
"RateLimit header fields for HTTP" (draft-ietf-httpapi-ratelimit-headers), structured fields of
RFC 9651.

What is left to others: the clock, the log, and which requests count (`application`).
"""

from collections.abc import Callable
from math import ceil, floor, inf
from typing import Final, NamedTuple

from everlog.api.answers import text_response
from everlog.api.routes import Answer, Route
from everlog.domain.limits import WRITE_COST
from everlog.http import Response, name_address

# About 100 bytes each; more addresses than a botnet has among our clients.
ADDRESSES_MAX: Final = 10_000

# Requests without the right token: more than any client needs that is set up by trial and error.
FAILURES_MAX: Final = 100
# A client that has used them up and goes on gets this many a second.
FAILURES_PER_SECOND: Final = 1.0

# However many addresses insist, the log gets one line in this time.
_REPORT_INTERVAL_SECONDS: Final = 60.0

READ_COST: Final = 1
_WRITES: Final = frozenset({Answer.EVENTS, Answer.REGISTRATION, Answer.RESTORATION})

RATE_LIMIT_TEXT: Final = "too many requests: the rate limit of this address is used up"

Headers = tuple[tuple[bytes, bytes], ...]


def _tell_nobody(*_: object) -> None:
    """Nobody else counts."""


class Taking(NamedTuple):
    """What came of the wish to take something.

    `remaining` is what is left; `wait_seconds` is 0 if the wish was granted, and else how long
    it takes until it can be.
    """

    remaining: float
    wait_seconds: float

    @property
    def is_granted(self) -> bool:
        """Whether it was there to be taken."""
        return self.wait_seconds == 0


class Allowances:
    """The allowance of every client, by its name."""

    def __init__(self, *, size: float, per_second: float, clients_max: int) -> None:
        """Give every client `size` at first, and `per_second` up to `size` from then on."""
        assert size > 0
        assert per_second > 0
        assert clients_max > 0
        self._size: Final = size
        self._per_second: Final = per_second
        self._clients_max: Final = clients_max
        # What was left when the client was heard of last, and when that was; oldest first.
        self._clients: Final[dict[str, tuple[float, float]]] = {}

    def __len__(self) -> int:
        """Count the clients that are remembered."""
        return len(self._clients)

    def take(self, client: str, cost: float, *, now: float) -> Taking:
        """Take `cost` from a client's allowance, or nothing if there is not enough."""
        assert 0 < cost <= self._size
        left, heard_at = self._clients.pop(client, (self._size, now))
        left = min(self._size, left + (now - heard_at) * self._per_second)
        wait_seconds = 0.0
        if left >= cost:
            left -= cost
        else:
            wait_seconds = (cost - left) / self._per_second
        self._clients[client] = (left, now)
        if len(self._clients) > self._clients_max:
            del self._clients[next(iter(self._clients))]
        return Taking(left, wait_seconds)

    def spend(self, client: str, cost: float, *, now: float) -> None:
        """Take what a client was granted elsewhere, as far as it is there."""
        left, heard_at = self._clients.pop(client, (self._size, now))
        left = min(self._size, left + (now - heard_at) * self._per_second)
        self._clients[client] = (max(left - cost, 0.0), now)
        if len(self._clients) > self._clients_max:
            del self._clients[next(iter(self._clients))]


class FailedAttempts:
    """Counts requests without the right token; reports the address that is slowed, now and then."""

    def __init__(self, on_slowed: Callable[[str], None]) -> None:
        self._allowances: Final = Allowances(
            size=FAILURES_MAX, per_second=FAILURES_PER_SECOND, clients_max=ADDRESSES_MAX
        )
        self._on_slowed: Final = on_slowed
        self._reported_at = -inf
        # Told of each failure that was counted, for other processes that count as one.
        self.on_spent: Callable[[str], None] = _tell_nobody

    def count(self, address: str, *, now: float) -> float:
        """Count a failure; return for how many seconds the client should wait, 0 for not at all."""
        client = name_address(address)
        taking = self._allowances.take(client, 1, now=now)
        if taking.is_granted:
            self.on_spent(client)
        if not taking.is_granted and now - self._reported_at >= _REPORT_INTERVAL_SECONDS:
            self._reported_at = now
            self._on_slowed(client)
        return taking.wait_seconds

    def spend(self, client: str, failures: int, *, now: float) -> None:
        """Count what a client has failed at elsewhere."""
        self._allowances.spend(client, failures, now=now)


class Charge(NamedTuple):
    """What every answer says about the limit, and the answer itself where the limit is reached."""

    headers: Headers
    refusal: Response | None


class RateLimit:
    """Charges clients for requests."""

    def __init__(self, units_per_second: int) -> None:
        """Allow that many reads a second, all of a second's at once if a client likes."""
        assert units_per_second >= WRITE_COST
        self._units_per_second: Final = units_per_second
        self._allowances: Final = Allowances(
            size=units_per_second, per_second=units_per_second, clients_max=ADDRESSES_MAX
        )
        # Told of what each request has cost, for other processes that charge as one.
        self.on_spent: Callable[[str, int], None] = _tell_nobody
        self._policy: Final = (b"RateLimit-Policy", b'"default";q=%d;w=1' % units_per_second)

    def charge(self, address: str, cost: int, *, now: float) -> Charge:
        """Charge a request to its client."""
        client = name_address(address)
        taking = self._allowances.take(client, cost, now=now)
        if taking.is_granted:
            self.on_spent(client, cost)
        # Until the allowance is whole again: less than a second, or the one that it takes.
        limit = (b"RateLimit", b'"default";r=%d;t=1' % floor(taking.remaining))
        headers = (self._policy, limit)
        if taking.is_granted:
            return Charge(headers, None)
        retry = (b"Retry-After", b"%d" % ceil(taking.wait_seconds))
        return Charge(headers, text_response(429, RATE_LIMIT_TEXT, (*headers, retry)))

    def spend(self, client: str, units: int, *, now: float) -> None:
        """Charge what a client was granted elsewhere."""
        self._allowances.spend(client, units, now=now)


def cost_of(route: Route) -> int:
    """Return what a request to a route costs."""
    return WRITE_COST if route.answer in _WRITES else READ_COST
