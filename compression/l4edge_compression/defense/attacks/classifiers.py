"""Attacks on classifiers without a defence: the adversarial patch and the sticker on one object.

Networks here are functions of (B, H, W, 3) float pixels in 0..255, such as a ``graphs.GraphNetwork`` of a package.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from l4edge_compression.defense.attacks.patches import Transforms, rounded, spread
from l4edge_perception.errors import InputError

Network = Callable[[Tensor], Tensor]

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


def adversarial_patch(
    network: Network, images: np.ndarray, target: int, size: tuple[int, int], attack: Attack | None = None
) -> np.ndarray:
    """One patch that makes any of the pictures, anywhere on them, look like the target.

    Brown et al. 2017, "Adversarial Patch", arXiv 1712.09665: expectation over pictures, places and transforms.

    Args:
        network: to (B, classes) logits.
        images: (N, H, W, 3) uint8.
        target: index of the class.
        size: (h, w) of the patch in pixels.
        attack: budget.

    Returns:
        (h, w, 3) uint8.
    """
    attack = attack or Attack()
    _check(images, size)
    generator = torch.Generator().manual_seed(attack.seed)
    pictures = torch.from_numpy(images).permute(0, 3, 1, 2).float()
    height, width = images.shape[1:3]

    def loss(patch: Tensor) -> Tensor:
        picked = torch.randint(len(pictures), (attack.batch,), generator=generator)
        tops = torch.randint(height - size[0] + 1, (attack.batch,), generator=generator)
        lefts = torch.randint(width - size[1] + 1, (attack.batch,), generator=generator)
        seen = over(pictures[picked], *spread(patch, (height, width), tops, lefts, attack.transforms, generator))
        return functional.cross_entropy(_logits(network, seen), torch.full((attack.batch,), target))

    return rounded(_searched(loss, size, attack, generator))


def sticker(
    network: Network,
    image: np.ndarray,
    target: int,
    place: tuple[int, int],
    size: tuple[int, int],
    attack: Attack | None = None,
    smoothness: float = 1e-3,
) -> np.ndarray:
    """A sticker at one place of one object that survives views of the whole object.

    In the style of RP2 (Eykholt et al., CVPR 2018, arXiv 1707.08945): a perturbation inside a mask, over varied views
    of the object, smooth enough to print. One rectangle here, which is what certificates speak of.

    Args:
        network: to (B, classes) logits.
        image: (H, W, 3) uint8, the object's crop.
        target: index of the class.
        place, size: row and column, height and width of the sticker.
        attack: budget; its transforms move picture and sticker together.
        smoothness: weight of differences between neighbouring pixels.

    Returns:
        (h, w, 3) uint8.
    """
    attack = attack or Attack()
    _check(image[None], size)
    generator = torch.Generator().manual_seed(attack.seed)
    picture = torch.from_numpy(image).permute(2, 0, 1).float()
    whole = torch.zeros(attack.batch, dtype=torch.long)

    def loss(patch: Tensor) -> Tensor:
        rows, columns = (slice(start, start + length) for start, length in zip(place, size, strict=True))
        worn = picture.clone()
        worn[:, rows, columns] = patch.clamp(0, 255)
        views, _ = spread(worn, image.shape[:2], whole, whole, attack.transforms, generator)
        rough = patch.diff(dim=1).abs().mean() + patch.diff(dim=2).abs().mean()
        return functional.cross_entropy(_logits(network, views), whole + target) + smoothness * rough

    return rounded(_searched(loss, size, attack, generator))


def over(images: Tensor, colours: Tensor, covered: Tensor) -> Tensor:
    """(B, 3, H, W) images behind patches."""
    return images * (1 - covered) + colours * covered


def _logits(network: Network, images: Tensor) -> Tensor:
    return network(images.permute(0, 2, 3, 1))


def _searched(
    loss: Callable[[Tensor], Tensor], size: tuple[int, int], attack: Attack, generator: torch.Generator
) -> Tensor:
    patch = (255 * torch.rand(3, *size, generator=generator)).requires_grad_()
    optimizer = torch.optim.Adam([patch], lr=attack.step_size)
    for _ in range(attack.steps):
        value = loss(patch)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        with torch.no_grad():
            patch.clamp_(0, 255)
    return patch.detach()


def _check(images: np.ndarray, size: tuple[int, int]) -> None:
    if images.ndim != 4 or images.shape[-1] != 3 or images.dtype != np.uint8:
        raise InputError(f"images: are {images.dtype} of shape {images.shape}; must be uint8, (N, H, W, 3)")
    if not (0 < size[0] <= images.shape[1] and 0 < size[1] <= images.shape[2]):
        raise InputError(f"patch: {size[0]} x {size[1]} pixels do not fit pictures of {images.shape[1:3]}")
