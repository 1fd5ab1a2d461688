"""Which detection continues which track."""

from typing import Tuple

import numpy as np
from scipy.optimize import linear_sum_assignment

from l4edge_perception.tracking.boxes import corners, overlaps
from l4edge_perception.tracking.config import TrackerConfig
from l4edge_perception.tracking.observations import Observations
from l4edge_perception.types import OBJECT_CLASSES

RELATED = np.eye(len(OBJECT_CLASSES), dtype=bool)
"""(classes, classes) which classes detectors mistake for each other; no match is possible across any others."""
for _first, _second in (("car", "truck"), ("pedestrian", "cyclist")):
    RELATED[OBJECT_CLASSES.index(_first), OBJECT_CLASSES.index(_second)] = True
    RELATED[OBJECT_CLASSES.index(_second), OBJECT_CLASSES.index(_first)] = True


def similarities(
    predicted: np.ndarray,
    spread: np.ndarray,
    located: np.ndarray,
    class_ids: np.ndarray,
    seen: Observations,
    config: TrackerConfig,
) -> np.ndarray:
    """How well each of M observations continues each of N tracks.

    Overlap in the image, plus nearness on the ground where both stand somewhere known, minus the cost of another
    class. A pair is possible when its boxes overlap enough or when it is near enough on the ground: the boxes of a
    small or fast object may miss each other although its place is clear.

    Args:
        predicted: (N, 6) where the tracks should be, as in ``Observations.measured``.
        spread: (N, 6, 6) its covariances.
        located: (N,) whether the tracks' places on the ground are known.
        class_ids: (N,) the tracks' classes.
        seen: the M observations.
        config: gates and weights.

    Returns:
        (N, M) float64, -inf where a match is impossible.
    """
    similarity = overlaps(corners(predicted[:, :4]), seen.boxes)
    possible = similarity >= config.overlap_gate
    if located.any() and seen.located.any():
        metres, sigmas = _ground_distances(predicted[:, 4:], spread[:, 4:, 4:], seen)
        near = (sigmas < config.ground_gate_sigmas) & located[:, None] & seen.located
        similarity += near * (config.ground_weight * (1.0 - sigmas / config.ground_gate_sigmas))
        possible |= near & (metres < config.ground_gate_m)
    other_class = class_ids[:, None] != seen.class_ids
    if other_class.any():
        similarity -= config.relabel_cost * other_class
        possible &= RELATED[class_ids[:, None], seen.class_ids]
    return np.where(possible, similarity, -np.inf)


def assign(similarity: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
    """Pairs (rows, columns) with the greatest sum of similarities, each row and column used at most once."""
    possible = similarity > -np.inf
    # An impossible pair costs nothing, so that it is no worse than leaving both alone; it is dropped afterwards.
    rows, columns = linear_sum_assignment(np.where(possible, -similarity, 0.0))
    kept = possible[rows, columns]
    return rows[kept], columns[kept]


def _ground_distances(places: np.ndarray, spread: np.ndarray, seen: Observations) -> Tuple[np.ndarray, np.ndarray]:
    """Distances on the ground, (N, M): in metres, and in standard deviations of both ends together."""
    apart = seen.measured[:, 4:] - places[:, None, :]
    joint = spread[:, None] + seen.noise[:, 4:, 4:]
    x, y, mixed = joint[..., 0, 0], joint[..., 1, 1], joint[..., 0, 1]
    dx, dy = apart[..., 0], apart[..., 1]
    squares = (y * dx * dx - 2.0 * mixed * dx * dy + x * dy * dy) / (x * y - mixed * mixed)
    return np.hypot(dx, dy), np.sqrt(squares)
