"""Attacks on detectors: a patch that hides objects, in the style of DPatch.

Liu et al. 2018, "DPatch", arXiv 1806.02299, and Lee and Kolter 2019, arXiv 1906.11897, whose patch works away from the
object: the patch is optimized over pictures, places and transforms for the scores of all cells at once.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from l4edge_compression.defense.attacks.classifiers import Attack, _check, _searched, over
from l4edge_compression.defense.attacks.patches import rounded, spread

Scores = Callable[[Tensor], Tensor]
"""(B, H, W, 3) float pixels to (B, N) scores, of every place that could report an object."""


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
    return _patch(lambda found: (found - floor).clamp(min=0).sum(1).mean(), scores, images, size, attack, place)


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
    return _patch(lambda found: -found.max(1).values.mean(), scores, images, size, attack, place)


def _patch(
    wanted: Callable[[Tensor], Tensor],
    scores: Scores,
    images: np.ndarray,
    size: tuple[int, int],
    attack: Attack | None,
    place: tuple[int, int] | None,
) -> np.ndarray:
    attack = attack or Attack(steps=60, batch=1)
    _check(images, size)
    generator = torch.Generator().manual_seed(attack.seed)
    pictures = torch.from_numpy(images).permute(0, 3, 1, 2).float()
    height, width = images.shape[1:3]

    def loss(patch: Tensor) -> Tensor:
        picked = torch.randint(len(pictures), (attack.batch,), generator=generator)
        if place is None:
            tops = torch.randint(height - size[0] + 1, (attack.batch,), generator=generator)
            lefts = torch.randint(width - size[1] + 1, (attack.batch,), generator=generator)
        else:
            tops, lefts = (torch.full((attack.batch,), start) for start in place)
        seen = over(pictures[picked], *spread(patch, (height, width), tops, lefts, attack.transforms, generator))
        return wanted(scores(seen.permute(0, 2, 3, 1)))

    return rounded(_searched(loss, size, attack, generator))
