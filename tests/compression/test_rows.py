"""Which row gets which format."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from l4edge_compression.quantization.formats import level_set
from l4edge_compression.quantization.rows import (
    HIGH,
    LOW,
    MIDDLE,
    ScaleBlindWarning,
    assign_rows,
    power_of_two_threshold,
    prefers_power_of_two,
    row_counts,
    row_spreads,
    shares_of,
    warn_if_scale_blind,
)
from l4edge_compression.quantization.scales import squared_errors
from l4edge_perception.errors import InputError


@pytest.mark.parametrize(
    ("rows", "ratio", "counts"),
    [
        (64, (65, 30, 5), (42, 19, 3)), (64, (0.65, 0.30, 0.05), (42, 19, 3)), (64, (60, 35, 5), (38, 23, 3)),
        (64, (0, 95, 5), (0, 61, 3)), (16, (65, 30, 5), (10, 5, 1)), (10, (65, 30, 5), (7, 2, 1)),
        (2, (65, 30, 5), (1, 0, 1)), (1, (65, 30, 5), (0, 0, 1)), (1, (65, 35, 0), (1, 0, 0)),
        (7, (100, 0, 0), (7, 0, 0)), (7, (0, 0, 100), (0, 0, 7)), (10, (95, 0, 5), (9, 0, 1)),
    ],
)
def test_counts(rows, ratio, counts):
    assert row_counts(rows, ratio) == counts


@given(st.integers(1, 3000), st.integers(0, 100), st.integers(0, 100))
def test_every_row_is_counted_and_no_share_of_zero_gets_one(rows, low, high):
    low = min(low, 100 - high)
    counts = row_counts(rows, (low, 100 - low - high, high))
    assert sum(counts) == rows
    assert min(counts) >= 0
    assert all(count == 0 for count, share in zip(counts, (low, 100 - low - high, high), strict=True) if share == 0)
    assert counts[2] >= (high > 0)


@pytest.mark.parametrize(
    "ratio", [(65, 30, 4), (65, 35), (1, 0.5, 0), (-5, 100, 5), (float("nan"), 1, 0), "abc", (True, False, False)]
)
def test_unusable_ratio(ratio):
    with pytest.raises(InputError, match=r"layer1\.ratio"):
        shares_of(ratio, "layer1.ratio")


def test_few_rows_are_an_error_only_where_asked():
    assert row_counts(8, (65, 30, 5)) == (5, 2, 1)
    with pytest.raises(InputError, match="8 rows are too few"):
        row_counts(8, (65, 30, 5), strict=True)
    assert row_counts(20, (65, 30, 5), strict=True) == (13, 6, 1)
    with pytest.raises(InputError, match="0 rows"):
        row_counts(0, (65, 30, 5))


def test_high_scores_get_high_precision_and_small_spreads_powers_of_two():
    scores = torch.tensor([1.0, 9.0, 2.0, 8.0, 3.0, 0.0])
    spreads = torch.tensor([0.3, 0.0, 0.1, 0.0, 0.2, 0.4])
    assert assign_rows(scores, spreads, (34, 33, 33)).tolist() == [MIDDLE, HIGH, LOW, HIGH, LOW, MIDDLE]


def test_equal_rows_are_assigned_in_order():
    assignment = assign_rows(torch.zeros(10), torch.zeros(10), (50, 30, 20))
    assert assignment.tolist() == [HIGH] * 2 + [LOW] * 5 + [MIDDLE] * 3


def test_scores_that_are_not_finite():
    with pytest.raises(InputError, match="conv1"):
        assign_rows(torch.tensor([1.0, float("nan")]), torch.ones(2), (50, 50, 0), where="conv1")


def test_threshold_of_powers_of_two():
    assert power_of_two_threshold() == pytest.approx(4.8, abs=0.2)


def test_powers_of_two_are_chosen_beyond_the_threshold_and_have_less_error_there():
    numbers = torch.randn(1, 20_000, generator=torch.Generator().manual_seed(0))
    ratios = torch.tensor([2.0, 3.0, 4.0, 4.6, 5.0, 6.0, 9.0, 15.0])
    rows = numbers / ratios[:, None]  # alpha = 1 for all
    relative = row_spreads(rows, torch.ones(8))
    chosen = prefers_power_of_two(relative)
    assert chosen.tolist() == [False] * 4 + [True] * 4
    scales = torch.ones(8)
    errors = [squared_errors(rows, level_set(name), scales) for name in ("pot4", "fixed4")]
    assert torch.equal(errors[0] < errors[1], chosen)
    assignment = assign_rows(torch.zeros(8), row_spreads(rows), (50, 50, 0), rule="crossover", scales=scales)
    assert (assignment == LOW).tolist() == chosen.tolist()


def test_variance_with_a_scale_for_each_row_warns():
    with pytest.warns(ScaleBlindWarning, match="share the scale"):
        warn_if_scale_blind("row")


def test_spread_in_units_of_the_scale_does_not_depend_on_the_size_of_a_row():
    row = torch.randn(1, 100, generator=torch.Generator().manual_seed(0))
    rows = torch.cat([row, row * 100])
    relative = row_spreads(rows, rows.abs().amax(dim=1))
    assert torch.allclose(relative[0], relative[1], rtol=1e-6)
    assert row_spreads(rows)[1] > row_spreads(rows)[0] * 50
