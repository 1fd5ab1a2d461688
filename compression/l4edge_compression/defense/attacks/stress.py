"""Attacks outside the threat model: what happens is measured and stated, nothing is promised."""

from __future__ import annotations

import numpy as np

from l4edge_compression.defense.attacks.patches import CONTENTS, put, random_place


def several_patches(images: np.ndarray, patch: tuple[int, int], seed: int, count: int = 2) -> np.ndarray:
    """(N, H, W, 3) uint8 with several patches of the certified size each, of random contents at random places."""
    generator = np.random.default_rng(seed)
    result = []
    for image in images:
        patched = image
        for _ in range(count):
            name = list(CONTENTS)[int(generator.integers(len(CONTENTS)))]
            content = CONTENTS[name](generator, patch, images)
            patched = put(patched, content, *random_place(generator, image.shape[:2], patch))
        result.append(patched)
    return np.stack(result)


def larger_patch(images: np.ndarray, patch: tuple[int, int], seed: int, factor: float = 2.0) -> np.ndarray:
    """(N, H, W, 3) uint8 with one patch whose sides are longer than the certified ones by ``factor``."""
    sides = tuple(
        min(round(factor * side), length) for side, length in zip(patch, images.shape[1:3], strict=True)
    )
    return several_patches(images, (sides[0], sides[1]), seed, count=1)


def dots(images: np.ndarray, seed: int, share: float = 0.12, side: int = 1) -> np.ndarray:
    """(N, H, W, 3) uint8 with small squares spread over the picture.

    In the style of DorPatch (He et al., NDSS 2024), whose default budget is 12 % of the pixels; contents here are
    random, not optimized.
    """
    generator = np.random.default_rng(seed)
    count, height, width = images.shape[:3]
    number = max(1, round(share * height * width / side**2))
    result = images.copy()
    for index in range(count):
        for _ in range(number):
            top, left = random_place(generator, (height, width), (side, side))
            result[index, top : top + side, left : left + side] = 255 * generator.integers(0, 2, 3)
    return result
