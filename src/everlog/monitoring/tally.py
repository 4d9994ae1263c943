"""What the API counts while it answers: its answers by endpoint, and its refusals by code."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from everlog.http import StatusCounts, no_counts


class EndpointName(NamedTuple):
    """What tells an endpoint from the others."""

    method: str
    path: str


class Tally:
    """Plain numbers that belong to the event loop's thread."""

    def __init__(self, endpoints: Iterable[EndpointName]) -> None:
        """Start at zero for these endpoints; there will be no others."""
        self.answers: Final[Mapping[EndpointName, StatusCounts]] = {
            endpoint: no_counts() for endpoint in endpoints
        }
        # Version 2 refuses with status 200, so that statuses alone would hide them.
        self.refusals: Final[Counter[str]] = Counter()
