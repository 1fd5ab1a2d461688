"""How much the same network's logits differ between engines and batch sizes, and which margins follow from that."""

from typing import Callable, Sequence

import numpy as np

from l4edge_compression.defense.selection import saliency

Run = Callable[[np.ndarray], np.ndarray]

LEAST_MARGIN = 1e-4
"""Of logits; for engines that showed no difference on the samples."""

CAUTION = 2.0
"""How many times the largest difference seen is taken for the largest there can be."""


def largest_difference(first: Run, second: Run, tensors: np.ndarray, batches: Sequence[int] = (1, 7)) -> float:
    """Largest difference of two engines' outputs, in any place.

    Args:
        first: runs all tensors as one batch.
        second: runs them in batches of each of the given sizes; may be the same engine.
        tensors: (B, ...) inputs such as the network meets, hidden windows included.
        batches: sizes to try.
    """
    reference = np.array(first(tensors), np.float64)
    largest = 0.0
    for size in batches:
        parts = [np.array(second(tensors[begin : begin + size])) for begin in range(0, len(tensors), size)]
        largest = max(largest, float(np.abs(np.concatenate(parts) - reference).max()))
    return largest


def saliency_difference(first: Run, second: Run, images: np.ndarray) -> float:
    """Largest difference of the saliency of any cell between two engines' stems; images one by one in the second."""
    reference = saliency(np.array(first(images)))
    other = saliency(np.concatenate([np.array(second(images[index : index + 1])) for index in range(len(images))]))
    return float(np.abs(reference - other).max())


def margin_for(difference: float) -> float:
    """The margin of logits that such a difference asks for.

    If no logit moves by more than d, the lead of the largest moves by no more than 2 d.
    """
    return max(2.0 * CAUTION * difference, LEAST_MARGIN)


def saliency_margin_for(difference: float) -> float:
    """The margin of saliency: two cells that move towards each other by d each close a gap of 2 d."""
    return 2.0 * CAUTION * difference
