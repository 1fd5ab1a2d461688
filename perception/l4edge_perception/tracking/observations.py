"""Detections made ready for the tracker: checked, ordered, with log odds, places on the ground and their errors."""

from dataclasses import dataclass
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
from l4edge_perception.types import OBJECT_CLASSES, CameraModel, Detections, EgoState

CERTAIN = 0.982
CERTAIN_LOG_ODDS = np.log(CERTAIN / (1.0 - CERTAIN))
"""Higher scores, and ones as near to 0, say no more than this."""

CENTRE, SIZE, GROUND = range(3)
"""The pairs of measured coordinates: the box's centre x, y and its width, height in pixels; the place on the ground in
metres, in ``map`` or, without an ego pose, in ``base_link``."""


@dataclass(frozen=True)
class Observations:
    """Usable detections of one image, best score first. M objects, along the last axis of every array.

    Attributes:
        boxes: (4, M) float64, corners, pixels.
        scores: (M,) float64.
        log_odds: (M,) float64, of the scores read as probabilities.
        class_ids: (M,) int64.
        measured: (2, 3, M) float64: ``CENTRE``, ``SIZE`` and ``GROUND``, the last one 0 where unknown.
        noise: (2, 2, 3, M) float64, covariances of ``measured``, 0 where unknown.
        located: (M,) bool, whether the place on the ground is known.
        sizes: (3, M) float64, length width height in metres, NaN where unknown.
        meanings: (len(MEANINGS), M) probabilities; zeros where nobody has read the object.
    """

    boxes: np.ndarray
    scores: np.ndarray
    log_odds: np.ndarray
    class_ids: np.ndarray
    measured: np.ndarray
    noise: np.ndarray
    located: np.ndarray
    sizes: np.ndarray
    meanings: np.ndarray

    def __len__(self) -> int:
        return len(self.scores)


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
    usable = _usable(table)
    order = np.lexsort(table)
    order = order[(usable & (table[5] <= -config.low_score))[order]]
    table = table.take(order, axis=1)
    class_ids, boxes, scores = table[0].astype(np.int64), table[1:5], -table[5]
    if boxes_3d is not None:
        boxes_3d = boxes_3d.take(order)

    chances = np.minimum(np.maximum(scores, 1.0 - CERTAIN), CERTAIN)
    log_odds = np.log(chances / (1.0 - chances))
    doubt = np.exp(2.0 * config.doubt_noise * (CERTAIN_LOG_ODDS - log_odds))
    places = _places(boxes, class_ids, camera, ego, boxes_3d, detections.stamp_ns)
    located = np.isfinite(places.positions[0])
    measured = np.empty((2, 3, len(scores)))
    measured[:, CENTRE], measured[:, SIZE] = centre_size(boxes)
    measured[:, GROUND] = np.where(located, places.positions, 0.0)
    noise = _noise(measured[1, SIZE], np.where(located, places.covariances, 0.0), doubt, config)
    meanings = detections.meanings.T.take(order, axis=1)
    seen = Observations(boxes, scores, log_odds, class_ids, measured, noise, located, places.sizes, meanings)
    return seen, len(usable) - int(np.count_nonzero(usable))


def _usable(table: np.ndarray) -> np.ndarray:
    """(N,) which detections (6, N; class, corners of the box, score) can be used."""
    usable = np.isfinite(table).all(axis=0)
    usable &= (table[3:5] > table[1:3]).all(axis=0)
    usable &= (table[0] >= 0) & (table[0] < len(OBJECT_CLASSES))
    return usable


def _places(
    boxes: np.ndarray,
    class_ids: np.ndarray,
    camera: Optional[CameraModel],
    ego: Optional[EgoState],
    boxes_3d: Optional[Detections3D],
    stamp_ns: int,
) -> GroundPoints:
    """Where N boxes (4, N) stand, by the best that is at hand."""
    if boxes_3d is not None:
        places = points_from_boxes_3d(boxes_3d)
    elif camera is not None:
        places = points_from_camera(boxes, class_ids, camera)
    else:
        return GroundPoints.unknown(len(class_ids))
    return places if ego is None else to_map(places, ego, stamp_ns)


def _noise(heights: np.ndarray, ground: np.ndarray, doubt: np.ndarray, config: TrackerConfig) -> np.ndarray:
    """``noise`` of :class:`Observations`.

    Args:
        heights: (N,) the boxes' heights, pixels.
        ground: (2, 2, N) covariances of the places on the ground for sure detections.
        doubt: (N,) what scales all variances.
        config: the errors of boxes.
    """
    noise = np.zeros((2, 2, 3, len(heights)))
    shares = np.array([[config.centre_noise], [config.size_noise]])
    noise[0, 0, :GROUND] = ((shares * heights) ** 2 + config.pixel_noise**2) * doubt
    noise[1, 1, :GROUND] = noise[0, 0, :GROUND]
    noise[:, :, GROUND] = ground * doubt
    return noise
