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
from l4edge_perception.tracking.kalman import UNKNOWN
from l4edge_perception.types import OBJECT_CLASSES, CameraModel, Detections, EgoState

CERTAIN = 0.982
CERTAIN_LOG_ODDS = np.log(CERTAIN / (1.0 - CERTAIN))
"""Higher scores, and ones as near to 0, say no more than this."""


_DIAGONAL = np.eye(6)


@dataclass(frozen=True)
class Observations:
    """Usable detections of one image, best score first. M objects.

    Attributes:
        boxes: (M, 4) float64, corners, pixels.
        scores: (M,) float64.
        log_odds: (M,) float64, of the scores read as probabilities.
        class_ids: (M,) int64.
        measured: (M, 6) float64: the box's centre x, centre y, width and height in pixels; the place on the ground in
            metres, in ``map`` or, without an ego pose, in ``base_link``, 0 where unknown.
        noise: (M, 6, 6) float64, covariances of ``measured``.
        located: (M,) bool, whether the place on the ground is known.
        sizes: (M, 3) float64, length width height in metres, NaN where unknown.
        meanings: (M, len(MEANINGS)) float64, probabilities; zeros where nobody has read the object.
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

    def take(self, rows: np.ndarray) -> "Observations":
        """The objects at integer indices ``rows``."""
        return Observations(*(getattr(self, name)[rows] for name in self.__dataclass_fields__))


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
    boxes = np.asarray(detections.boxes, dtype=np.float64).reshape(-1, 4)
    scores = np.asarray(detections.scores, dtype=np.float64)
    class_ids = np.asarray(detections.class_ids, dtype=np.int64)
    usable = (
        (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
        & np.isfinite(boxes).all(axis=1)
        & np.isfinite(scores)
        & (class_ids >= 0)
        & (class_ids < len(OBJECT_CLASSES))
    )
    order = np.lexsort((class_ids, boxes[:, 3], boxes[:, 2], boxes[:, 1], boxes[:, 0], -scores))
    order = order[(usable & (scores >= config.low_score))[order]]
    boxes, scores, class_ids = boxes[order], scores[order], class_ids[order]
    if boxes_3d is not None:
        boxes_3d = boxes_3d.take(order)

    chances = np.clip(scores, 1.0 - CERTAIN, CERTAIN)
    log_odds = np.log(chances / (1.0 - chances))
    doubt = np.exp(config.doubt_noise * (CERTAIN_LOG_ODDS - log_odds))
    places = _places(boxes, class_ids, camera, ego, boxes_3d, detections.stamp_ns)
    measured, noise, located = _measurements(boxes, places, doubt, config)
    unusable = len(usable) - int(np.count_nonzero(usable))
    meanings = np.asarray(detections.meanings, dtype=np.float64)[order]
    return Observations(boxes, scores, log_odds, class_ids, measured, noise, located, places.sizes, meanings), unusable


def _places(
    boxes: np.ndarray,
    class_ids: np.ndarray,
    camera: Optional[CameraModel],
    ego: Optional[EgoState],
    boxes_3d: Optional[Detections3D],
    stamp_ns: int,
) -> GroundPoints:
    """Where N boxes stand, by the best that is at hand."""
    if boxes_3d is not None:
        places = points_from_boxes_3d(boxes_3d)
    elif camera is not None:
        places = points_from_camera(boxes, class_ids, camera)
    else:
        return GroundPoints.unknown(len(boxes))
    return places if ego is None else to_map(places, ego, stamp_ns)


def _measurements(
    boxes: np.ndarray, places: GroundPoints, doubt: np.ndarray, config: TrackerConfig
) -> Tuple[np.ndarray, np.ndarray, np.ndarray]:
    """``measured``, ``noise`` and ``located`` of :class:`Observations`; ``doubt`` (N,) scales all errors."""
    located = np.isfinite(places.positions[:, 0])
    measured = np.zeros((len(boxes), 6))
    measured[:, :4] = centre_size(boxes)
    measured[located, 4:] = places.positions[located]
    shares = np.array([config.centre_noise, config.centre_noise, config.size_noise, config.size_noise])
    variances = np.full((len(boxes), 6), UNKNOWN)
    variances[:, :4] = (np.hypot(shares * measured[:, 3:4], config.pixel_noise) * doubt[:, None]) ** 2
    noise = variances[:, None, :] * _DIAGONAL
    noise[located, 4:, 4:] = places.covariances[located] * (doubt[located] ** 2)[:, None, None]
    return measured, noise, located
