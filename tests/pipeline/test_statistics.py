"""Percentiles: the exact definition at its edges, and the promised error of the histogram."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from l4edge_pipeline.timing.statistics import LARGEST_MS, RELATIVE_ERROR, SMALLEST_MS, LatencyHistogram, percentile

RANGE = st.floats(SMALLEST_MS, LARGEST_MS)
SHARES = st.floats(0, 100)


@pytest.mark.parametrize(
    ("values", "q", "expected"),
    [
        ([], 50, None),
        ([7.0], 0, 7.0),
        ([7.0], 100, 7.0),
        ([3.0, 1.0, 2.0, 4.0], 50, 2.0),  # two of four do not exceed 2
        ([3.0, 1.0, 2.0, 4.0], 51, 3.0),
        (list(range(1, 101)), 99, 99),
        (list(range(1, 100)), 99, 99),  # fewer than 100 values: the largest
        (list(range(1, 201)), 99, 198),
        ([1.0, 2.0], 0, 1.0),
    ],
)
def test_percentile_is_the_nearest_rank(values, q, expected):
    assert percentile(values, q) == expected


@pytest.mark.parametrize("q", [-1, 100.5, math.nan])
def test_a_percentile_outside_0_to_100_is_refused(q):
    with pytest.raises(ValueError, match=r"0\.\.100"):
        percentile([1.0], q)


@given(st.lists(RANGE, min_size=1, max_size=60), st.sampled_from([0, 25, 50, 75, 100]))
def test_percentile_agrees_with_numpy(values, q):
    assert percentile(values, q) == np.percentile(values, q, method="inverted_cdf")


@given(st.lists(RANGE, min_size=1, max_size=60), SHARES)
def test_the_histogram_keeps_its_promised_error(values, q):
    histogram = LatencyHistogram()
    for value in values:
        histogram.add(value)
    exact = percentile(values, q)
    assert histogram.percentile(q) == pytest.approx(exact, rel=RELATIVE_ERROR * (1 + 1e-9))


def test_an_empty_histogram_has_no_percentile():
    assert LatencyHistogram().percentile(50) is None


@pytest.mark.parametrize("value", [-1e-9, -5.0, math.nan, math.inf])
def test_impossible_latencies_are_refused_and_counted(value):
    histogram = LatencyHistogram()
    histogram.add(value)
    assert (histogram.count, histogram.refused) == (0, 1)
    assert histogram.percentile(50) is None


@pytest.mark.parametrize(
    ("values", "q", "expected"),
    [
        ([0.0, 0.0, 5.0], 50, 0.001),  # below the resolution: off by at most 0.001 ms
        ([2e5, 3e5, 4e5], 50, 4e5),  # beyond the range: the largest
        ([0.0], 50, 0.0),
    ],
)
def test_outside_its_range_the_histogram_stays_bounded(values, q, expected):
    histogram = LatencyHistogram()
    for value in values:
        histogram.add(value)
    assert histogram.percentile(q) == pytest.approx(expected)


def test_memory_does_not_grow_with_what_is_counted():
    histogram = LatencyHistogram()
    buckets = len(histogram._counts)
    for value in np.geomspace(1e-6, 1e9, 5000):
        histogram.add(float(value))
    assert len(histogram._counts) == buckets
    assert histogram.count == sum(histogram._counts) == 5000
