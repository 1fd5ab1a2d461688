"""Patches: what they hold, where they lie, and how a camera might see them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from l4edge_perception.errors import InputError

Content = Callable[[np.random.Generator, tuple[int, int], np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Transforms:
    """How a printed patch varies in front of a camera; each is drawn evenly between minus and plus its value.

    Attributes:
        rotation: in degrees.
        scale: share by which the side grows or shrinks.
        shear: shift of the upper against the lower edge, as a share of the side; stands for an oblique view.
        brightness: added, in grey levels.
        contrast: share by which differences from the mean grow or shrink.
    """

    rotation: float = 0.0
    scale: float = 0.0
    shear: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0


def put(image: np.ndarray, patch: np.ndarray, top: int, left: int) -> np.ndarray:
    """A copy of an (H, W, 3) image with an (h, w, 3) patch over it.

    Raises:
        InputError: the patch does not lie inside.
    """
    height, width = patch.shape[:2]
    if not (0 <= top <= image.shape[0] - height and 0 <= left <= image.shape[1] - width):
        raise InputError(
            f"patch: {height} x {width} pixels at row {top}, column {left} do not lie inside "
            f"{image.shape[0]} x {image.shape[1]}"
        )
    result = image.copy()
    result[top : top + height, left : left + width] = patch
    return result


def random_place(generator: np.random.Generator, size: tuple[int, int], patch: tuple[int, int]) -> tuple[int, int]:
    """Row and column of a patch's first pixel; every place is equally likely."""
    return int(generator.integers(size[0] - patch[0] + 1)), int(generator.integers(size[1] - patch[1] + 1))


def _noise(generator: np.random.Generator, size: tuple[int, int], _: np.ndarray) -> np.ndarray:
    return generator.integers(0, 256, (*size, 3), dtype=np.uint8)


def _extremes(generator: np.random.Generator, size: tuple[int, int], _: np.ndarray) -> np.ndarray:
    return (255 * generator.integers(0, 2, (*size, 3))).astype(np.uint8)


def _one_colour(generator: np.random.Generator, size: tuple[int, int], _: np.ndarray) -> np.ndarray:
    colour = generator.integers(0, 256, 3) if generator.random() < 0.5 else 255 * generator.integers(0, 2, 3)
    return np.broadcast_to(colour.astype(np.uint8), (*size, 3)).copy()


def _checks(generator: np.random.Generator, size: tuple[int, int], _: np.ndarray) -> np.ndarray:
    rows, columns = np.indices(size) // int(generator.integers(1, 4))
    colours = (255 * generator.integers(0, 2, (2, 3))).astype(np.uint8)
    return colours[(rows + columns) % 2]


def _stripes(generator: np.random.Generator, size: tuple[int, int], _: np.ndarray) -> np.ndarray:
    along = np.indices(size)[int(generator.integers(2))] // int(generator.integers(1, 4))
    colours = (255 * generator.integers(0, 2, (2, 3))).astype(np.uint8)
    return colours[along % 2]


def _part_of_another(generator: np.random.Generator, size: tuple[int, int], others: np.ndarray) -> np.ndarray:
    """A part of another picture, or all of it made small."""
    other = others[int(generator.integers(len(others)))]
    if generator.random() < 0.5:
        top, left = random_place(generator, other.shape[:2], size)
        return other[top : top + size[0], left : left + size[1]]
    rows, columns = (np.arange(length) * whole // length for length, whole in zip(size, other.shape, strict=False))
    return other[rows[:, None], columns[None, :]]


CONTENTS: dict[str, Content] = {
    "noise": _noise,
    "extremes": _extremes,
    "colour": _one_colour,
    "checks": _checks,
    "stripes": _stripes,
    "transplant": _part_of_another,
}
"""Contents that need no network, by name: (generator, size, other pictures) to (h, w, 3) uint8."""


def random_patched(
    images: np.ndarray, patch: tuple[int, int], seed: int, others: np.ndarray | None = None
) -> tuple[np.ndarray, list[str]]:
    """(N, H, W, 3) uint8 images, each with one random patch at a random place, and the names of the contents."""
    generator = np.random.default_rng(seed)
    others = images if others is None else others
    names = [list(CONTENTS)[index] for index in generator.integers(len(CONTENTS), size=len(images))]
    patched = [
        put(image, CONTENTS[name](generator, patch, others), *random_place(generator, image.shape[:2], patch))
        for image, name in zip(images, names, strict=True)
    ]
    return np.stack(patched), names


def spread(
    patch: Tensor, size: tuple[int, int], tops: Tensor, lefts: Tensor, transforms: Transforms,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor]:
    """Patches as a camera might see them, on canvases of the image's size; gradients reach the patch.

    Args:
        patch: (B, 3, h, w) or (3, h, w) in 0..255.
        size: (H, W) of the canvases.
        tops, lefts: (B) pixel of the patch's first row and column, before it is turned about its middle.
        transforms: their ranges.
        generator: what they are drawn with.

    Returns:
        (B, 3, H, W) colours and (B, 1, H, W) how much of a pixel they cover, 0..1. Without transforms exactly 0 or 1.
    """
    count = len(tops)
    patches = patch if patch.ndim == 4 else patch.expand(count, *patch.shape)
    height, width = patches.shape[-2:]
    turns, scales, shears, shifts, contrasts = (
        limit * (2 * torch.rand(count, generator=generator) - 1)
        for limit in (
            math.radians(transforms.rotation), transforms.scale, transforms.shear, transforms.brightness,
            transforms.contrast,
        )
    )
    means = patches.mean((1, 2, 3), keepdim=True)
    seen = means + (patches - means) * (1 + contrasts).view(-1, 1, 1, 1) + shifts.view(-1, 1, 1, 1)
    rows = torch.arange(size[0]).view(1, -1, 1) + 0.5 - (tops.view(-1, 1, 1) + height / 2)
    columns = torch.arange(size[1]).view(1, 1, -1) + 0.5 - (lefts.view(-1, 1, 1) + width / 2)
    cosine, sine = (torch.cos(turns).view(-1, 1, 1), torch.sin(turns).view(-1, 1, 1))
    factor = (1 + scales).view(-1, 1, 1)
    x = (cosine * columns + sine * rows) / factor
    y = (cosine * rows - sine * columns) / factor
    x = x + shears.view(-1, 1, 1) * y
    grid = torch.stack([2 * x / width, 2 * y / height], dim=-1)
    covered = (grid.abs() <= 1).all(dim=-1).unsqueeze(1).to(seen)
    colours = functional.grid_sample(
        seen.clamp(0, 255), grid, mode="bilinear", padding_mode="border", align_corners=False
    )
    return colours, covered


def rounded(patch: Tensor) -> np.ndarray:
    """(3, h, w) in 0..255 as (h, w, 3) uint8."""
    return patch.detach().clamp(0, 255).round().permute(1, 2, 0).to(torch.uint8).numpy()
