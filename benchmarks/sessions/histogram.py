"""Times of many operations in little memory: counts in buckets that are each 1 % wide."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable
from itertools import accumulate
from math import ceil, exp, log

_BUCKET_WIDTH = log(1.01)


class Histogram:
    """How often an operation took about so long; adding two of them loses nothing."""

    def __init__(self, counts: Iterable[tuple[int, int]] = ()) -> None:
        """Begin with what `counts` of another one returned."""
        self._counts = Counter(dict(counts))

    def add(self, seconds: float) -> None:
        self._counts[ceil(log(max(seconds, 1e-9)) / _BUCKET_WIDTH)] += 1

    def update(self, other: "Histogram") -> None:
        self._counts.update(dict(other.counts()))

    def counts(self) -> list[tuple[int, int]]:
        return sorted(self._counts.items())

    def percentiles(self, shares: Iterable[float]) -> list[float]:
        """Return the seconds that so large a share of the operations did not exceed.

        Each is the upper edge of a bucket, and so up to 1 % too large.
        """
        buckets = self.counts()
        sums = list(accumulate(count for _, count in buckets))
        if not sums:
            raise ValueError("no operation, no percentile")
        # The rank is an exact number where the share is one: 0.999 * 1000 is not 999.
        ranks = (max(ceil(round(share * sums[-1], 6)), 1) for share in shares)
        return [exp(buckets[bisect_left(sums, rank)][0] * _BUCKET_WIDTH) for rank in ranks]
