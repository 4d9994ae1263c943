"""Requests without the right token, counted by address, so that whoever insists is slowed.

A client that fails again and again is told to wait. It is told so only when it fails: the right
token is never counted and always passes, whoever shares an address with whom, so that nobody can
lock anybody out. What makes guessing hopeless is the length of the token; what this gives is an end
to clients that are configured wrongly, and a line in the log that a firewall can act on.
What is left to others: the clock, the answer, and the log.
"""

from collections.abc import Callable
from math import inf
from typing import Final

from everlog.api.allowances import Allowances, name_client

# More than any client needs that is set up by trial and error.
FAILURES_MAX: Final = 100
# A client that has used them up and goes on gets this many a second.
FAILURES_PER_SECOND: Final = 1.0

# About 100 bytes each; more addresses than a botnet has among our clients.
ADDRESSES_MAX: Final = 10_000

# However many addresses insist, the log gets one line in this time.
_REPORT_INTERVAL_SECONDS: Final = 60.0


class FailedAttempts:
    """Counts failures; reports the address that is slowed, now and then."""

    def __init__(self, on_slowed: Callable[[str], None]) -> None:
        self._allowances: Final = Allowances(
            size=FAILURES_MAX, per_second=FAILURES_PER_SECOND, clients_max=ADDRESSES_MAX
        )
        self._on_slowed: Final = on_slowed
        self._reported_at = -inf

    def count(self, address: str, *, now: float) -> float:
        """Count a failure; return for how many seconds the client should wait, 0 for not at all."""
        client = name_client(address)
        taking = self._allowances.take(client, 1, now=now)
        if not taking.is_granted and now - self._reported_at >= _REPORT_INTERVAL_SECONDS:
            self._reported_at = now
            self._on_slowed(client)
        return taking.wait_seconds
