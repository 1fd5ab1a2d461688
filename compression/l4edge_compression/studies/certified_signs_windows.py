"""Windows that cover crops of signs and lights in training, and what a crop means under one."""

import numpy as np
import torch
from torch import Tensor

from l4edge_perception.types import MEANINGS

LAMPS = {"red": 0.27, "amber": 0.5, "green": 0.77}
"""Where the middle of a light's lamps lies, from the top of its crop on; the most dangerous first."""

LAMP_SHARE = 0.17
"""Diameter of a lamp over the crop's edge."""

LEAST_HIDDEN = 0.5
"""Share of a lamp under a window from which on it counts as hidden."""


def random_windows(count: int, size: int, shares: float, rng: np.random.Generator) -> np.ndarray:
    """(count, size, size) bool, True in one window or, for a share of them, in two.

    Edges are those that covering sets of 3 to 9 windows per axis have for a patch of 2.4 % of the picture: squares, and
    bands as lights want them, whose lamps lie above each other.
    """
    covered = np.zeros((count, size, size), bool)
    for mask in covered:
        for _ in range(1 + (rng.random() < shares)):
            kind = rng.random()
            if kind < 0.5:
                high, wide = rng.uniform(0.3, 0.45, 2)
            elif kind < 0.9:
                high, wide = rng.uniform(0.19, 0.3), rng.choice([0.45, 0.6, 1.0])
            else:
                high, wide = rng.uniform(0.6, 1.0), rng.uniform(0.19, 0.3)
            rows, columns = max(1, round(high * size)), max(1, round(wide * size))
            top, left = rng.integers(0, size - rows + 1), rng.integers(0, size - columns + 1)
            mask[top : top + rows, left : left + columns] = True
    return covered


def meanings_under(masks: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """(B,) labels of crops under (B, size, size) windows: a dark light is what its hidden lamp would make it.

    A lamp that shines under a window leaves a light that looks dark. The network is to think of the lamp that it cannot
    see, of the most dangerous one of several, and never to call such a light dark.
    """
    size, found = masks.shape[-1], labels.copy()
    half = LAMP_SHARE * size / 2
    left, right = round(size / 2 - half), round(size / 2 + half)
    for word, place in reversed(LAMPS.items()):
        top, bottom = round(place * size - half), round(place * size + half)
        hidden = masks[:, top:bottom, left:right].mean(axis=(1, 2)) >= LEAST_HIDDEN
        found[hidden & (labels == MEANINGS.index("off"))] = MEANINGS.index(word)
    return found


def uncovered(masks: np.ndarray) -> Tensor:
    """(B, size, size) bool to (B, 1, size, size) float32 factors, 0 where covered."""
    return torch.from_numpy(~masks).float()[:, None]
