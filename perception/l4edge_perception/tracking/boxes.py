"""Geometry of boxes in the image."""

import numpy as np


def centre_size(boxes: np.ndarray) -> np.ndarray:
    """(N, 4) x_min y_min x_max y_max as centre x, centre y, width, height."""
    size = boxes[:, 2:] - boxes[:, :2]
    return np.concatenate((boxes[:, :2] + 0.5 * size, size), axis=1)


def corners(boxes: np.ndarray) -> np.ndarray:
    """(N, 4) centre x, centre y, width, height as x_min y_min x_max y_max."""
    half = 0.5 * boxes[:, 2:]
    return np.concatenate((boxes[:, :2] - half, boxes[:, :2] + half), axis=1)


def overlaps(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Intersection over union of every box of ``first`` (N, 4) with every one of ``second`` (M, 4), as (N, M)."""
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    inside = np.maximum(high - low, 0.0)
    shared = inside[..., 0] * inside[..., 1]
    first_area = (first[:, 2] - first[:, 0]) * (first[:, 3] - first[:, 1])
    second_area = (second[:, 2] - second[:, 0]) * (second[:, 3] - second[:, 1])
    return shared / (first_area[:, None] + second_area - shared)
