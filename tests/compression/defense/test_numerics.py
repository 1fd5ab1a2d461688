"""Differences between engines are found, and margins are large enough for them."""

import numpy as np
import pytest

from l4edge_compression.defense.numerics import (
    LEAST_MARGIN,
    largest_difference,
    margin_for,
    saliency_difference,
    saliency_margin_for,
)
from l4edge_compression.defense.views import read_logits

RANDOM = np.random.default_rng(0)


def test_the_largest_difference_is_found_wherever_it_is():
    tensors = RANDOM.normal(size=(9, 4)).astype(np.float32)

    def other(part):
        return part + 0.25 * (np.abs(part - tensors[5]).max(axis=1, keepdims=True) == 0)

    assert largest_difference(lambda part: part, other, tensors) == pytest.approx(0.25, abs=1e-5)
    in_sevens = largest_difference(lambda part: part, lambda part: part + 0.5 * (len(part) == 7), tensors)
    assert in_sevens == pytest.approx(0.5, abs=1e-5)
    assert largest_difference(lambda part: part, lambda part: part, tensors) == 0.0
    maps = RANDOM.normal(size=(3, 2, 4, 4)).astype(np.float32)
    assert saliency_difference(np.abs, lambda part: np.abs(part) + 0.125, maps) == pytest.approx(0.25, abs=1e-5)


def test_a_margin_holds_decisions_and_confidences():
    """Logits that move by up to d: the label stays above the margin, the confidence within a quarter of it."""
    difference = 0.01
    margin = margin_for(difference) / 2.0  # without the factor of caution
    logits = RANDOM.normal(size=(4000, 5)) * 0.3
    moved = logits + difference * RANDOM.choice([-1.0, 1.0], logits.shape)
    labels, confidences, margins = read_logits(logits, len(logits))
    others, other_confidences, _ = read_logits(moved, len(logits))
    assert (labels == others)[margins >= margin].all()
    assert not (labels == others).all()
    same = labels == others
    assert np.abs(confidences - other_confidences)[same].max() <= margin / 4.0


def test_engines_that_showed_no_difference_have_a_margin_all_the_same():
    assert margin_for(0.0) == LEAST_MARGIN
    assert saliency_margin_for(0.0) == 0.0


def test_confidences_are_softmax_probabilities_and_large_logits_do_no_harm():
    logits = np.array([[0.0, np.log(3.0)], [1e4, -1e4], [np.nan, 1.0], [2.0, 2.0]])
    labels, confidences, margins = read_logits(logits, 4)
    assert labels.tolist() == [1, 0, -1, 0]
    assert confidences == pytest.approx([0.75, 1.0, 0.0, 0.5])
    assert margins == pytest.approx([np.log(3.0), 2e4, 0.0, 0.0])
