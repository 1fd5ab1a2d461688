"""Geometry of boxes in the image. Objects lie along the last axis: a row holds one number of all of them."""

from typing import Tuple

import numpy as np


def centre_size(boxes: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
    """Centres x, y and widths, heights, (2, N) each, of boxes (4, N): x_min y_min x_max y_max."""
    size = boxes[2:] - boxes[:2]
    return boxes[:2] + 0.5 * size, size


def corners(centre: np.ndarray, size: np.ndarray) -> np.ndarray:
    """(4, N) x_min y_min x_max y_max of boxes with centres x, y and widths, heights, (2, N) each."""
    half = 0.5 * size
    return np.concatenate((centre - half, centre + half))


def overlaps(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Intersection over union of every box of ``first`` (4, N) with every one of ``second`` (4, M), as (N, M)."""
    low = np.maximum(first[:2, :, None], second[:2, None, :])
    high = np.minimum(first[2:, :, None], second[2:, None, :])
    size = np.maximum(high - low, 0.0)
    shared = size[0] * size[1]
    return shared / (_areas(first)[:, None] + _areas(second) - shared)


def _areas(boxes: np.ndarray) -> np.ndarray:
    size = boxes[2:] - boxes[:2]
    return size[0] * size[1]
