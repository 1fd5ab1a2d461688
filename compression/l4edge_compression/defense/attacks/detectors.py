"""Attacks on detectors: a patch that hides objects, in the style of DPatch.

Liu et al. 2018, "DPatch", arXiv 1806.02299, and Lee and Kolter 2019, arXiv 1906.11897, whose patch works away from the
object: the patch is optimized over pictures, places and transforms for the scores of all cells at once.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from torch import Tensor

from l4edge_compression.defense.attacks.searching import Attack, patch_on_pictures

Scores = Callable[[Tensor], Tensor]
"""(B, H, W, 3) float pixels to (B, N) scores, of every place that could report an object."""

BUDGET = Attack(steps=60, batch=1)


def hiding_patch(
    scores: Scores,
    images: np.ndarray,
    size: tuple[int, int],
    attack: Attack | None = None,
    place: tuple[int, int] | None = None,
    floor: float = -4.0,
) -> np.ndarray:
    """One patch under which a detector reports nothing.

    Args:
        scores: logits of "an object is here"; restrict them to the places that matter.
        images: (N, H, W, 3) uint8, frames with objects.
        size: (h, w) of the patch in pixels.
        attack: budget.
        place: row and column; None draws places.
        floor: logit below which a place needs no further push.

    Returns:
        (h, w, 3) uint8.
    """

    def loss(seen: Tensor) -> Tensor:
        return (scores(seen) - floor).clamp(min=0).sum(1).mean()

    return patch_on_pictures(loss, images, size, attack or BUDGET, place)


def appearing_patch(
    scores: Scores,
    images: np.ndarray,
    size: tuple[int, int],
    attack: Attack | None = None,
    place: tuple[int, int] | None = None,
) -> np.ndarray:
    """One patch that a detector takes for an object: a phantom. No certificate of this project speaks of phantoms.

    Args, returns: see :func:`hiding_patch`.
    """

    def loss(seen: Tensor) -> Tensor:
        return -scores(seen).max(1).values.mean()

    return patch_on_pictures(loss, images, size, attack or BUDGET, place)
