"""Attacks on classifiers without a defence: the adversarial patch and the sticker on one object.

Networks here are functions of (B, H, W, 3) float pixels in 0..255, such as a ``graphs.GraphNetwork`` of a package.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from l4edge_compression.defense.attacks.patches import spread
from l4edge_compression.defense.attacks.searching import Attack, check_pictures, patch_on_pictures, searched

Network = Callable[[Tensor], Tensor]


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
    wanted = torch.full((attack.batch,), target)
    return patch_on_pictures(lambda seen: functional.cross_entropy(network(seen), wanted), images, size, attack)


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
    check_pictures(image[None], size)
    generator = torch.Generator().manual_seed(attack.seed)
    picture = torch.from_numpy(image).permute(2, 0, 1).float()
    whole = torch.zeros(attack.batch, dtype=torch.long)

    def loss(patch: Tensor) -> Tensor:
        rows, columns = (slice(start, start + length) for start, length in zip(place, size, strict=True))
        worn = picture.clone()
        worn[:, rows, columns] = patch.clamp(0, 255)
        views, _ = spread(worn, image.shape[:2], whole, whole, attack.transforms, generator)
        rough = patch.diff(dim=1).abs().mean() + patch.diff(dim=2).abs().mean()
        return functional.cross_entropy(network(views.permute(0, 2, 3, 1)), whole + target) + smoothness * rough

    return searched(loss, size, attack, generator)
