"""How much each client may still do: an allowance that refills with time (a token bucket).

Pure: time is an argument, in seconds of any clock that does not go back.
Guarantees that a client never gets more than its size at once and its refill in the long run, and
that memory is bounded: beyond `clients_max`, whoever was heard of longest ago is forgotten, which
gives it a full allowance again.
What is left to others: what costs how much, and what happens to whoever has used it up.
"""

import ipaddress
from typing import Final, NamedTuple

# What an IPv6 network hands to one site at least (RFC 6177): its hosts count as one client.
_IPV6_PREFIX_LENGTH: Final = 64


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


def name_client(address: str) -> str:
    """Return the name by which an address has its allowance: a network of IPv6 is one client."""
    if ":" not in address:
        return address
    parsed = ipaddress.IPv6Address(address.partition("%")[0])
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    network = ipaddress.IPv6Network((parsed, _IPV6_PREFIX_LENGTH), strict=False)
    return str(network)
