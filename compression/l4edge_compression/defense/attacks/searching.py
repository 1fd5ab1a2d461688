"""The search for a patch's content by gradients, over pictures, places and views."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from l4edge_compression.defense.attacks.patches import Transforms, rounded, spread
from l4edge_perception.errors import InputError

CAMERA = Transforms(rotation=15, scale=0.1, shear=0.15, brightness=20, contrast=0.15)
"""A patch on a wall or a sign, seen from a moving vehicle."""


@dataclass(frozen=True)
class Attack:
    """How long and how wide a patch is searched.

    Attributes:
        steps: of Adam.
        step_size: grey levels per step, about.
        batch: pictures, places and views in one step.
        transforms: of the patch before a camera.
        seed: of everything random.
    """

    steps: int = 100
    step_size: float = 8.0
    batch: int = 16
    transforms: Transforms = CAMERA
    seed: int = 0


def patch_on_pictures(
    loss: Callable[[Tensor], Tensor],
    images: np.ndarray,
    size: tuple[int, int],
    attack: Attack,
    place: tuple[int, int] | None = None,
) -> np.ndarray:
    """One patch of low loss on any of the pictures, in varied views.

    Args:
        loss: of (B, H, W, 3) float pixels in 0..255, patched.
        images: (N, H, W, 3) uint8.
        size: (h, w) of the patch in pixels.
        attack: budget.
        place: row and column; None draws places.

    Returns:
        (h, w, 3) uint8.

    Raises:
        InputError: the pictures are others, or the patch does not fit them.
    """
    check_pictures(images, size)
    generator = torch.Generator().manual_seed(attack.seed)
    pictures = torch.from_numpy(images).permute(0, 3, 1, 2).float()
    height, width = images.shape[1:3]

    def of_patch(patch: Tensor) -> Tensor:
        picked = torch.randint(len(pictures), (attack.batch,), generator=generator)
        if place is None:
            tops = torch.randint(height - size[0] + 1, (attack.batch,), generator=generator)
            lefts = torch.randint(width - size[1] + 1, (attack.batch,), generator=generator)
        else:
            tops, lefts = (torch.full((attack.batch,), start) for start in place)
        colours, covered = spread(patch, (height, width), tops, lefts, attack.transforms, generator)
        seen = pictures[picked] * (1 - covered) + colours * covered
        return loss(seen.permute(0, 2, 3, 1))

    return searched(of_patch, size, attack, generator)


def searched(
    loss: Callable[[Tensor], Tensor], size: tuple[int, int], attack: Attack, generator: torch.Generator
) -> np.ndarray:
    """(h, w, 3) uint8 of low loss, which is a function of the patch (3, h, w) in 0..255; begins with noise."""
    patch = (255 * torch.rand(3, *size, generator=generator)).requires_grad_()
    optimizer = torch.optim.Adam([patch], lr=attack.step_size)
    for _ in range(attack.steps):
        value = loss(patch)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        with torch.no_grad():
            patch.clamp_(0, 255)
    return rounded(patch.detach())


def check_pictures(images: np.ndarray, size: tuple[int, int]) -> None:
    """Raise InputError unless images are (N, H, W, 3) uint8 and a patch of (h, w) pixels fits."""
    if images.ndim != 4 or images.shape[-1] != 3 or images.dtype != np.uint8:
        raise InputError(f"images: are {images.dtype} of shape {images.shape}; must be uint8, (N, H, W, 3)")
    if not (0 < size[0] <= images.shape[1] and 0 < size[1] <= images.shape[2]):
        raise InputError(f"patch: {size[0]} x {size[1]} pixels do not fit pictures of {images.shape[1:3]}")
