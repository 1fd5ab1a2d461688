"""Percentiles: exact ones of a finished run, and estimated ones of a running vehicle in constant memory."""

import math
from bisect import bisect_left
from itertools import accumulate
from typing import List, Optional, Sequence

RELATIVE_ERROR = 0.05
"""Bound of :meth:`LatencyHistogram.percentile`, as a share of the true percentile."""

SMALLEST_MS = 1e-3
LARGEST_MS = 1e5

# The bucket (low, low * GROWTH] is read as the one value that is RELATIVE_ERROR away from both of its ends, as in
# DDSketch (Masson, Rim, Lee: "DDSketch: a fast and fully-mergeable quantile sketch", VLDB 2019, section 2.1).
_GROWTH = (1 + RELATIVE_ERROR) / (1 - RELATIVE_ERROR)
_LOG_GROWTH = math.log(_GROWTH)
_BUCKETS = 1 + math.ceil(math.log(LARGEST_MS / SMALLEST_MS) / _LOG_GROWTH)


def percentile(values: Sequence[float], q: float) -> Optional[float]:
    """The smallest of ``values`` that at least ``q`` percent of them do not exceed (nearest rank).

    Unlike an interpolated percentile the result was really measured, and the 99th of fewer than 100 values is their
    largest.

    Args:
        q: 0 to 100; 0 gives the smallest value.

    Returns:
        None where there are no values.
    """
    ordered = sorted(values)
    return ordered[_rank(q, len(ordered)) - 1] if ordered else None


class LatencyHistogram:
    """Counts of latencies in buckets that grow by a fixed factor.

    Memory is constant, two histograms can be merged, and each percentile lies within ``RELATIVE_ERROR`` of the exact
    one for latencies of 0.001 ms to 100,000 ms. Below, the error is at most 0.001 ms; above, the largest latency is
    given. The smallest and the largest latency are exact.

    Attributes:
        count: latencies counted.
        refused: values that were not counted because they were negative or no number: the sign of a mix of clocks.
    """

    def __init__(self) -> None:
        self.count = 0
        self.refused = 0
        self._counts: List[int] = [0] * (_BUCKETS + 1)
        self._smallest = math.inf
        self._largest = -math.inf

    def add(self, latency_ms: float) -> None:
        """Count one latency in milliseconds."""
        if not 0 <= latency_ms < math.inf:
            self.refused += 1
            return
        self.count += 1
        self._counts[_bucket(latency_ms)] += 1
        self._smallest = min(self._smallest, latency_ms)
        self._largest = max(self._largest, latency_ms)

    def percentile(self, q: float) -> Optional[float]:
        """The ``q``-th percentile in milliseconds, nearest rank as in :func:`percentile`; None while empty."""
        if not self.count:
            return None
        rank = _rank(q, self.count)
        if rank == self.count:
            return self._largest
        bucket = bisect_left(list(accumulate(self._counts)), rank)
        return min(max(_value(bucket), self._smallest), self._largest)


def _rank(q: float, count: int) -> int:
    if not 0 <= q <= 100:
        raise ValueError(f"a percentile lies in 0..100, not {q!r}")
    # Multiply before dividing: 0.99 * 200 is 198.00000000000003 in some orders and would name the next rank.
    return max(1, math.ceil(q * count / 100))


def _bucket(latency_ms: float) -> int:
    """0: up to SMALLEST_MS; the last one: beyond LARGEST_MS."""
    if latency_ms <= SMALLEST_MS:
        return 0
    return min(math.ceil(math.log(latency_ms / SMALLEST_MS) / _LOG_GROWTH), _BUCKETS)


def _value(bucket: int) -> float:
    if bucket == 0:
        return SMALLEST_MS
    if bucket == _BUCKETS:
        return math.inf  # its reader clamps to the largest latency
    return SMALLEST_MS * _GROWTH**bucket * 2 / (_GROWTH + 1)
