"""The rate limit: how much a client may ask for, if the operator wants a bound.

Off by default. A client is an address, and behind a proxy all clients have the same.
The unit is a read; a write costs more, since all clients share one writer and one disk.
Headers are those of the IETF draft "RateLimit header fields for HTTP" (draft-ietf-httpapi-
ratelimit-headers), structured fields of RFC 9651.
What is left to others: the clock, and which requests count (`application`).
"""

from math import ceil, floor
from typing import Final, NamedTuple

from everlog.api.allowances import Allowances, name_client
from everlog.api.answers import text_response
from everlog.api.routes import Answer, Route
from everlog.domain.limits import WRITE_COST
from everlog.http import Response

READ_COST: Final = 1

# About 100 bytes each.
ADDRESSES_MAX: Final = 10_000

_WRITES: Final = frozenset({Answer.EVENTS, Answer.REGISTRATION})

RATE_LIMIT_TEXT: Final = "too many requests: the rate limit of this address is used up"

Headers = tuple[tuple[bytes, bytes], ...]


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
        self._policy: Final = (b"RateLimit-Policy", b'"default";q=%d;w=1' % units_per_second)

    def charge(self, address: str, cost: int, *, now: float) -> Charge:
        """Charge a request to its client."""
        taking = self._allowances.take(name_client(address), cost, now=now)
        # Until the allowance is whole again: less than a second, or the one that it takes.
        limit = (b"RateLimit", b'"default";r=%d;t=1' % floor(taking.remaining))
        headers = (self._policy, limit)
        if taking.is_granted:
            return Charge(headers, None)
        retry = (b"Retry-After", b"%d" % ceil(taking.wait_seconds))
        return Charge(headers, text_response(429, RATE_LIMIT_TEXT, (*headers, retry)))


def cost_of(route: Route) -> int:
    """Return what a request to a route costs."""
    return WRITE_COST if route.answer in _WRITES else READ_COST
