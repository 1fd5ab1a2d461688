"""Which cells of a feature map are kept: the superficial important neurons, chosen after windows are hidden.

Saliency, top-k and threshold are the project's own reading of "superficial important neurons" in ScaleCert (Han et al.
2021, NeurIPS, arXiv 2110.14120), whose formulas this project had no access to.
"""

from typing import Protocol, Tuple

import numpy as np

from l4edge_perception.errors import InputError

RULES = ("threshold", "top_k")


def saliency(features: np.ndarray) -> np.ndarray:
    """(..., C, H, W) features to (..., H, W) float64, the sum of magnitudes over channels.

    Each cell's sum takes its channels in the same order, whatever the other cells hold.
    """
    return np.abs(features).sum(axis=-3, dtype=np.float64)


class Threshold:
    """Keeps the cells whose saliency is above a fixed number: what one cell holds never decides about another."""

    def __init__(self, values: np.ndarray, threshold: float) -> None:
        """``values`` is the (H, W) saliency of one image."""
        self._values = values
        self._threshold = threshold
        self._above = values > threshold

    def keep(self, erased: np.ndarray) -> np.ndarray:
        """(M, H, W) bool kept cells for (M, H, W) bool hidden ones."""
        return self._above & ~erased

    def gap(self, erased: np.ndarray) -> np.ndarray:
        """(M,) how far from the threshold the nearest cell is that is not hidden.

        Infinite for a threshold of 0: a cell that crosses it changes by as little as it crosses.
        """
        if self._threshold <= 0:
            return np.full(len(erased), np.inf)
        distance = np.where(erased, np.inf, np.abs(self._values - self._threshold))
        return distance.reshape(len(erased), -1).min(axis=1)


class TopK:
    """Keeps the k most salient cells among those that are not hidden; of equal ones, the first in row-major order.

    Cells without any activity are never kept, which changes nothing in the features.
    """

    def __init__(self, values: np.ndarray, k: int) -> None:
        """``values`` is the (H, W) saliency of one image."""
        flat = values.reshape(-1)
        self._order = np.argsort(-flat, kind="stable")
        self._sorted = flat[self._order]
        self._k = k

    def keep(self, erased: np.ndarray) -> np.ndarray:
        """(M, H, W) bool kept cells for (M, H, W) bool hidden ones."""
        outside, rank = self._ranked(erased)
        kept = np.empty_like(outside)
        kept[:, self._order] = outside & (rank <= self._k)
        return kept.reshape(erased.shape)

    def gap(self, erased: np.ndarray) -> np.ndarray:
        """(M,) saliency of the last cell that is kept less that of the first that is not; infinite if all are kept."""
        outside, rank = self._ranked(erased)
        after = outside & (rank == self._k + 1)
        last = self._sorted[(outside & (rank == self._k)).argmax(axis=1)]
        return np.where(after.any(axis=1), last - self._sorted[after.argmax(axis=1)], np.inf)

    def _ranked(self, erased: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
        """(M, H * W) in falling order of saliency: is the cell a candidate, and the how-manieth of them."""
        outside = ~erased.reshape(len(erased), -1)[:, self._order] & (self._sorted > 0)
        return outside, np.cumsum(outside, axis=1, dtype=np.int32)


class Selector(Protocol):
    """Chooses cells of one image."""

    def keep(self, erased: np.ndarray) -> np.ndarray:
        """(M, H, W) bool kept cells for (M, H, W) bool hidden ones."""

    def gap(self, erased: np.ndarray) -> np.ndarray:
        """(M,) how clear the choice is, in units of saliency."""


def check_rule(rule: str, keep: float) -> None:
    """Raise InputError unless ``keep`` is a threshold of at least 0 or a whole number of at least one cell."""
    if rule not in RULES:
        raise InputError(f"field rule: {rule!r} is not one of {', '.join(RULES)}")
    if rule == "threshold" and not 0 <= keep < np.inf:
        raise InputError(f"field keep: a threshold must be at least 0 and finite, is {keep}")
    if rule == "top_k" and (keep != int(keep) or keep < 1):
        raise InputError(f"field keep: top_k must keep a whole number of at least 1 cells, is {keep}")


def selector(rule: str, keep: float, values: np.ndarray) -> Selector:
    """The selector for one image's (H, W) saliency. Raises InputError as :func:`check_rule` does."""
    check_rule(rule, keep)
    return Threshold(values, keep) if rule == "threshold" else TopK(values, int(keep))
