"""Which detection continues which track."""

from typing import Optional, Tuple

import numpy as np
from scipy.optimize import linear_sum_assignment

from l4edge_perception.tracking.boxes import overlaps
from l4edge_perception.tracking.config import TrackerConfig
from l4edge_perception.tracking.observations import GROUND, Observations
from l4edge_perception.types import OBJECT_CLASSES

RELATED = np.eye(len(OBJECT_CLASSES), dtype=bool)
"""(classes, classes) which classes detectors mistake for each other; no match is possible across any others."""
for _first, _second in (("car", "truck"), ("pedestrian", "cyclist")):
    RELATED[OBJECT_CLASSES.index(_first), OBJECT_CLASSES.index(_second)] = True
    RELATED[OBJECT_CLASSES.index(_second), OBJECT_CLASSES.index(_first)] = True


def similarities(
    boxes: np.ndarray,
    places: np.ndarray,
    spread: np.ndarray,
    located: np.ndarray,
    class_ids: np.ndarray,
    seen: Observations,
    config: TrackerConfig,
) -> Tuple[np.ndarray, np.ndarray]:
    """How well each of M observations continues each of N tracks.

    Overlap in the image, plus nearness on the ground where both stand somewhere known, minus the cost of another
    class. A pair is possible when its boxes overlap enough or when it is near enough on the ground: the boxes of a
    small or fast object may miss each other although its place is clear.

    Args:
        boxes: (4, N) where the tracks should be in the image: corners, pixels.
        places: (2, N) where they should be on the ground, metres.
        spread: (2, 2, N) the covariances of ``places``.
        located: (N,) whether the tracks' places on the ground are known.
        class_ids: (N,) the tracks' classes.
        seen: the M observations.
        config: gates and weights.

    Returns:
        (N, M) float64, 0 where a match is impossible, and (N, M) bool, where it is possible.
    """
    similarity = overlaps(boxes, seen.boxes)
    possible = similarity >= config.overlap_gate
    comparable = located[:, None] & seen.located
    if np.count_nonzero(comparable):
        square_metres, sigmas = _ground_distances(places, spread, seen.measured)
        comparable &= sigmas < config.ground_gate_sigmas
        similarity += comparable * (config.ground_weight - config.ground_weight / config.ground_gate_sigmas * sigmas)
        comparable &= square_metres < config.ground_gate_m**2
        possible |= comparable
    other_class = class_ids[:, None] != seen.class_ids
    if np.count_nonzero(other_class):
        similarity -= config.relabel_cost * other_class
        possible &= RELATED[class_ids[:, None], seen.class_ids]
    similarity *= possible
    return similarity, possible


def assign(similarity: np.ndarray, possible: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
    """Pairs (rows, columns) with the greatest sum of similarities, each row and column used at most once.

    An impossible pair has a similarity of 0, so that it is no worse than leaving both alone; it is dropped afterwards.
    """
    rows, columns = linear_sum_assignment(similarity, maximize=True)
    kept = possible[rows, columns]
    return rows[kept], columns[kept]


def unrivalled(similarity: np.ndarray, possible: np.ndarray) -> Optional[Tuple[np.ndarray, np.ndarray]]:
    """All possible pairs (rows, columns) if each is worth something and the only one of its row and its column.

    Then no assignment is better, whichever detections choose first. None if there is anything to choose.
    """
    count = np.count_nonzero(possible)
    if count > min(possible.shape) or np.count_nonzero(similarity > 0.0) < count:
        return None
    rows, columns = possible.nonzero()
    return (rows, columns) if len(set(rows.tolist())) == len(set(columns.tolist())) == count else None


def _ground_distances(places: np.ndarray, spread: np.ndarray, measured: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
    """Distances on the ground, (N, M): squared in square metres, and in standard deviations of both ends together."""
    difference = measured[:, 0, GROUND, None, :] - places[:, :, None]
    joint = spread[:, :, :, None] + measured[:, 1:, GROUND, None, :]
    x, y, mixed = joint[0, 0], joint[1, 1], joint[0, 1]
    dx_squared, dy_squared = difference * difference
    squares = y * dx_squared
    squares += x * dy_squared
    squares -= 2.0 * mixed * (difference[0] * difference[1])
    squares /= x * y - mixed * mixed
    return dx_squared + dy_squared, np.sqrt(squares)
