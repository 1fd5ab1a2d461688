"""Hide, then select; ties go to the first cell."""

import numpy as np
import pytest

from l4edge_compression.defense.selection import Threshold, TopK, saliency, selector
from l4edge_perception.errors import InputError


def brute_force(values, k, erased):
    """The k largest of what is not hidden, by sorting the hidden map itself."""
    hidden = np.where(erased, 0.0, values).reshape(-1)
    order = sorted(range(hidden.size), key=lambda cell: (-hidden[cell], cell))
    kept = np.zeros(hidden.size, bool)
    kept[[cell for cell in order[:k] if hidden[cell] > 0]] = True
    return kept.reshape(values.shape)


@pytest.mark.parametrize("levels", [1, 3, 1000])
@pytest.mark.parametrize("k", [1, 7, 100])
def test_top_k_is_that_of_the_hidden_map(levels, k):
    random = np.random.default_rng(levels * k)
    values = random.integers(0, levels + 1, (6, 8)).astype(float)
    erased = random.random((20, 6, 8)) < random.random((20, 1, 1))
    kept = TopK(values, k).keep(erased)
    for index, hidden in enumerate(erased):
        assert (kept[index] == brute_force(values, k, hidden)).all()


def test_ties_go_to_the_first_cell():
    kept = TopK(np.ones((2, 3)), 2).keep(np.zeros((1, 2, 3), bool))
    assert kept[0].tolist() == [[True, True, False], [False, False, False]]


def test_the_gap_of_top_k_is_between_the_last_kept_and_the_first_left():
    values = np.array([[5.0, 3.0], [2.5, 0.0]])
    erased = np.zeros((2, 2, 2), bool)
    erased[1, 0, 1] = True
    assert TopK(values, 2).gap(erased).tolist() == [0.5, np.inf]
    assert TopK(values, 1).gap(erased).tolist() == [2.0, 2.5]


def test_the_gap_of_a_threshold_is_of_the_nearest_cell_in_sight():
    values = np.array([[5.0, 3.0], [2.5, 0.0]])
    erased = np.zeros((2, 2, 2), bool)
    erased[1, 0, 1] = True
    assert Threshold(values, 2.75).gap(erased).tolist() == [0.25, 0.25]
    assert Threshold(values, 3.5).gap(erased).tolist() == [0.5, 1.0]
    assert Threshold(values, 0).gap(erased).tolist() == [np.inf, np.inf]


def test_a_threshold_keeps_what_is_above_it():
    assert Threshold(np.array([[1.0, 2.0]]), 1.0).keep(np.zeros((1, 1, 2), bool)).tolist() == [[[False, True]]]


def test_saliency_sums_magnitudes():
    assert saliency(np.array([[[1.0, -2.0]], [[-3.0, 0.0]]])).tolist() == [[4.0, 2.0]]


@pytest.mark.parametrize(
    ("rule", "keep"), [("top_k", 0), ("top_k", 1.5), ("threshold", -1), ("threshold", np.nan), ("x", 1)]
)
def test_rules_out_of_range_are_refused(rule, keep):
    with pytest.raises(InputError, match="field"):
        selector(rule, keep, np.ones((2, 2)))
