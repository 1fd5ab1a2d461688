"""Detections made ready for the tracker: checked, ordered, with log odds, places on the ground and their errors."""

from typing import Optional, Tuple

import numpy as np

from l4edge_perception.tracking.boxes import centre_size
from l4edge_perception.tracking.config import TrackerConfig
from l4edge_perception.tracking.ground import (
    Detections3D,
    GroundPoints,
    points_from_boxes_3d,
    points_from_camera,
    to_map,
)
from l4edge_perception.tracking.kalman import UNKNOWN
from l4edge_perception.tracking.table import COMMON, divided
from l4edge_perception.types import OBJECT_CLASSES, CameraModel, Detections, EgoState

CERTAIN = 0.982
CERTAIN_LOG_ODDS = np.log(CERTAIN / (1.0 - CERTAIN))
"""Higher scores, and ones as near to 0, say no more than this."""

_KNOWN_CLASSES = frozenset(range(len(OBJECT_CLASSES)))
_CLASS_IDS = np.arange(len(OBJECT_CLASSES))[:, None]

CENTRE, SIZE, GROUND = range(3)
"""The pairs of measured coordinates: the box's centre x, y and its width, height in pixels; the place on the ground in
metres, in ``map`` or, without an ego pose, in ``base_link``."""


class Observations:
    """Usable detections of one image, best score first. M objects, along the last axis of every array.

    One array holds all real numbers, those that tracks have, too, in the order of :func:`divided`. The attributes but
    ``class_ids`` are views.

    Attributes:
        log_odds: (M,) float64, of the scores read as probabilities.
        scores: (M,) float64.
        sizes: (3, M) float64, length width height in metres, NaN where unknown.
        votes: (classes, M) float64, the score in the row of the class, zeros in the others.
        meanings: (len(MEANINGS), M) probabilities; zeros where nobody has read the object.
        measured: (2, 3, 3, M) float64, as the filter has measurements, of ``CENTRE``, ``SIZE`` and ``GROUND``; the last
            one is 0 with a variance of ``UNKNOWN`` where it is not known.
        boxes: (4, M) float64, corners, pixels.
        class_ids: (M,) int64.
        known: (3, M) bool, which pairs of coordinates are measured.
        located: (M,) bool, whether the place on the ground is.
        numbers: all real numbers.
    """

    def __init__(self, numbers: np.ndarray, class_ids: np.ndarray, known: np.ndarray) -> None:
        self.numbers, self.class_ids, self.known = numbers, class_ids, known
        self.log_odds, self.scores, self.sizes, self.votes, self.meanings, more = divided(numbers)
        self.measured = more[:18].reshape(2, 3, 3, -1)
        self.boxes = more[18:]
        self.located = known[GROUND]

    def __len__(self) -> int:
        return len(self.class_ids)

    def take(self, columns: np.ndarray) -> "Observations":
        """The observations at ``columns`` (integer indices)."""
        return Observations(
            self.numbers.take(columns, axis=1), self.class_ids.take(columns), self.known.take(columns, axis=1)
        )


def observe(
    detections: Detections,
    camera: Optional[CameraModel],
    ego: Optional[EgoState],
    boxes_3d: Optional[Detections3D],
    config: TrackerConfig,
) -> Tuple[Observations, int]:
    """Usable detections with a score of ``config.low_score`` or more, and how many were not usable.

    Not usable are detections with a box or score that is not finite, a box without area or an unknown class. The
    order of the result does not depend on the order of the input.
    """
    table = np.empty((6, len(detections)))
    table[0] = detections.class_ids
    table[1:5] = detections.boxes.reshape(-1, 4).T
    np.negative(detections.scores, out=table[5])
    order, unusable = _order(table, config.low_score)
    table = table.take(order, axis=1)
    class_ids, boxes = table[0].astype(np.int64), table[1:5]
    seen = Observations(np.zeros((COMMON + 22, len(order))), class_ids, np.empty((3, len(order)), dtype=np.bool_))
    seen.known[:GROUND] = True
    seen.boxes[:] = boxes

    scores = np.negative(table[5], out=seen.scores)
    chances = np.minimum(np.maximum(scores, 1.0 - CERTAIN), CERTAIN)
    log_odds = np.log(chances / (1.0 - chances), out=seen.log_odds)
    doubt = np.exp(2.0 * config.doubt_noise * (CERTAIN_LOG_ODDS - log_odds))
    np.multiply(class_ids == _CLASS_IDS, scores, out=seen.votes)
    if np.count_nonzero(detections.meanings):
        seen.meanings[:] = detections.meanings.T.take(order, axis=1)

    measured = seen.measured
    measured[:, 0, CENTRE], measured[:, 0, SIZE] = centre_size(boxes)
    errors = np.array([[config.centre_noise], [config.size_noise]]) * measured[1, 0, SIZE]
    measured[0, 1, :GROUND] = measured[1, 2, :GROUND] = (errors * errors + config.pixel_noise**2) * doubt
    if boxes_3d is not None:
        boxes_3d = boxes_3d.take(order)
    _locate(seen, _places(boxes, class_ids, camera, ego, boxes_3d, detections.stamp_ns), doubt)
    return seen, unusable


def _order(table: np.ndarray, low_score: float) -> Tuple[np.ndarray, int]:
    """Which detections (6, N; class, corners of the box, negative score) to look at in turn, how many are unusable."""
    order = np.lexsort(table)
    finite, has_area, sure_enough = np.isfinite(table), table[3:5] > table[1:3], table[5] <= -low_score
    if (
        np.count_nonzero(finite) == finite.size
        and np.count_nonzero(has_area) == has_area.size
        and _KNOWN_CLASSES.issuperset(table[0].tolist())
    ):
        return order[: np.count_nonzero(sure_enough)], 0
    known_class = (table[0] >= 0) & (table[0] < len(OBJECT_CLASSES))
    usable = finite.all(axis=0) & has_area.all(axis=0) & known_class
    return order[(usable & sure_enough)[order]], len(order) - np.count_nonzero(usable)


def _locate(seen: Observations, places: Optional[GroundPoints], doubt: np.ndarray) -> None:
    """Fill in the ``places`` on the ground; ``doubt`` (M,) scales their variances."""
    if places is None:
        seen.located[:] = False
        seen.sizes[:] = np.nan
    else:
        np.isfinite(places.positions[0], out=seen.located)
        seen.sizes[:] = places.sizes
        seen.measured[:, 0, GROUND] = places.positions
        np.multiply(places.covariances, doubt, out=seen.measured[:, 1:, GROUND])
    if np.count_nonzero(seen.located) < len(seen):
        unknown = ~seen.located
        seen.measured[:, :, GROUND, unknown] = 0.0
        seen.measured[(0, 1), (1, 2), GROUND] += UNKNOWN * unknown


def _places(
    boxes: np.ndarray,
    class_ids: np.ndarray,
    camera: Optional[CameraModel],
    ego: Optional[EgoState],
    boxes_3d: Optional[Detections3D],
    stamp_ns: int,
) -> Optional[GroundPoints]:
    """Where N boxes (4, N) stand, by the best that is at hand; None: nothing is known."""
    if boxes_3d is not None:
        places = points_from_boxes_3d(boxes_3d)
    elif camera is not None:
        places = points_from_camera(boxes, class_ids, camera)
    else:
        return None
    return places if ego is None else to_map(places, ego, stamp_ns)
