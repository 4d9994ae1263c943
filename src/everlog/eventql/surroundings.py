"""What a query needs to know that stands neither in its text nor in the log."""

from collections.abc import Callable
from dataclasses import dataclass

from everlog.eventql.limits import QueryLimits


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """The time of the query and all else that a pure evaluation is given."""

    # Nanoseconds since 1970: NOW.
    now: int
    # A number from 0 up to before 1, another one each time: RAND.
    random: Callable[[], float]
    # The signature for an event's hash; None where signatures are off.
    sign: Callable[[str], str] | None
    limits: QueryLimits
