"""The multi-object tracker: detections of one image after the other in, objects with identities out.

Two-stage association after ByteTrack (Zhang et al., 2022, section 3): sure detections choose their tracks first,
doubtful ones may continue what is left, and only that. Whether a track exists is a probability that follows the scores
with a time constant, where others count frames.
"""

import math
from typing import Optional, Tuple

import numpy as np

from l4edge_perception.tracking.association import assign, similarities
from l4edge_perception.tracking.boxes import corners
from l4edge_perception.tracking.config import TrackerConfig
from l4edge_perception.tracking.ground import ACCELERATION, FIRST_SPEED, Detections3D
from l4edge_perception.tracking.kalman import UNKNOWN, correct, predict, start
from l4edge_perception.tracking.meanings import forgotten, probabilities_of, with_sightings
from l4edge_perception.tracking.observations import Observations, observe
from l4edge_perception.types import MEANINGS, OBJECT_CLASSES, CameraModel, Detections, EgoState, Tracks

LEAST_BOX_PIXELS = 2.0
"""Predicted boxes do not shrink below this width and height."""

VEHICLE_SPEED = 15.0
VEHICLE_ACCELERATION = 5.0
"""What everything may have on top in ``base_link`` because the vehicle itself drives and turns: speed in metres per
second, and how much it changes by chance within one second."""

SIZE_MEMORY_S = 1.0
"""Time constant with which a track's size follows the measured ones."""

TRACK = np.dtype(
    [
        ("id", np.int64),
        ("belief", np.float64),  # log odds that the object exists
        ("published", np.bool_),
        ("score", np.float64),
        ("votes", np.float64, len(OBJECT_CLASSES)),  # sum of the scores of its detections, by class
        ("means", np.float64, (2, 6)),  # of box and place, see Observations.measured and the filter
        ("covariances", np.float64, (3, 6, 6)),
        ("size", np.float64, 3),
        ("meaning", np.float64, len(MEANINGS)),  # evidence, see meanings.py
        ("born_ns", np.int64),
        ("seen_ns", np.int64),
    ]
)
"""What is known of a track. All tracks are one array, a row each, oldest first."""


class StampError(ValueError):
    """A frame that is not newer than the one before it. The tracker is as it was: drop the frame and count it."""


class Tracker:
    """Follows objects through the images of one camera.

    Time comes from the stamps alone: the same frames give the same tracks, whenever and wherever they are run.

    Attributes:
        unusable_detections: how many detections were left out so far because they were not finite, had no area or an
            unknown class.
    """

    def __init__(self, config: Optional[TrackerConfig] = None) -> None:
        self.config = config or TrackerConfig()
        self.unusable_detections = 0
        self._stamp_ns: Optional[int] = None
        self._next_id = 0
        self._in_map = False
        self._table = np.zeros(0, dtype=TRACK)
        self._shown = np.zeros(0, dtype=bool)

    def update(
        self,
        detections: Detections,
        camera: Optional[CameraModel] = None,
        ego: Optional[EgoState] = None,
        boxes_3d: Optional[Detections3D] = None,
    ) -> Tracks:
        """Take in one image's detections.

        Args:
            detections: what was seen.
            camera: through what; without it (and without ``boxes_3d``) objects have no place on the ground.
            ego: the vehicle's own pose. Before the first one, places are followed in ``base_link`` and not published;
                later, frames without one add nothing to what is known of places.
            boxes_3d: 3D boxes of the same objects, row by row; they go before what ``camera`` could say.

        Returns:
            The published tracks at the detections' stamp, in the order of their ids.

        Raises:
            StampError: the stamp does not lie behind that of the frame before.
        """
        stamp_ns = int(detections.stamp_ns)
        if self._stamp_ns is not None and stamp_ns <= self._stamp_ns:
            raise StampError(f"stamp {stamp_ns} does not lie behind {self._stamp_ns}")
        seconds = 0.0 if self._stamp_ns is None else (stamp_ns - self._stamp_ns) * 1e-9
        if self._in_map and ego is None:
            camera = boxes_3d = None  # Where objects stand in the map cannot be told from this image.
        seen, unusable = observe(detections, camera, ego, boxes_3d, self.config)

        table = self._table[self._table["seen_ns"] >= stamp_ns - self.config.lost_buffer_s * 1e9]
        if ego is not None and not self._in_map:
            _forget_places(table)
            self._in_map = True
        self._predict(table, seconds)
        rows, columns = self._match(table, seen)
        self._correct(table, rows, seen.take(columns), seconds, stamp_ns)
        new = seen.scores >= self.config.birth_score
        new[columns] = False
        if new.any():
            table = _joined(table, self._newborn(seen.take(np.flatnonzero(new)), stamp_ns))

        self._table = table
        self._stamp_ns = stamp_ns
        self._next_id += int(np.count_nonzero(new))
        self.unusable_detections += unusable
        self._shown = table["published"] & (table["seen_ns"] >= stamp_ns - self.config.publish_unseen_s * 1e9)
        return self._tracks(table[self._shown], stamp_ns)

    def class_probabilities(self) -> np.ndarray:
        """(N, classes) how the detections of each track in the last :class:`Tracks` voted on its class."""
        votes = self._table["votes"][self._shown]
        return votes / votes.sum(axis=1, keepdims=True)

    def _predict(self, table: np.ndarray, seconds: float) -> None:
        """Move all tracks ahead in time."""
        config = self.config
        wander = np.empty((len(table), 6))
        wander[:, :2] = config.centre_acceleration
        wander[:, 2:4] = config.size_acceleration
        wander[:, :4] *= table["means"][:, 0, 3:4]
        wander[:, 4:] = self._with_vehicle(ACCELERATION[_classes(table)], VEHICLE_ACCELERATION)
        means, table["covariances"] = predict(table["means"], table["covariances"], seconds, wander)
        np.maximum(means[:, 0, 2:4], LEAST_BOX_PIXELS, out=means[:, 0, 2:4])
        table["means"] = means

    def _match(self, table: np.ndarray, seen: Observations) -> Tuple[np.ndarray, np.ndarray]:
        """Which track (row) is continued by which observation (column)."""
        if not len(table) or not len(seen):
            nothing = np.zeros(0, dtype=np.int64)
            return nothing, nothing
        similarity = similarities(
            table["means"][:, 0], table["covariances"][:, 0], _located(table), _classes(table), seen, self.config
        )
        sure = int(np.count_nonzero(seen.scores >= self.config.high_score))
        rows, columns = assign(similarity[:, :sure])
        free = np.ones(len(table), dtype=bool)
        free[rows] = False
        free_rows = np.flatnonzero(free)
        more_rows, more_columns = assign(similarity[free_rows, sure:])
        return np.concatenate((rows, free_rows[more_rows])), np.concatenate((columns, more_columns + sure))

    def _correct(self, table: np.ndarray, rows: np.ndarray, seen: Observations, seconds: float, stamp_ns: int) -> None:
        """Let the observations ``seen`` correct the tracks at ``rows``, and let all beliefs follow."""
        config = self.config
        before = table["belief"]
        doubtful = _log_odds(config.low_score)
        belief = before + (1.0 - math.exp(-seconds / config.absence_memory_s)) * np.minimum(doubtful - before, 0.0)
        belief[rows] = before[rows] + (1.0 - math.exp(-seconds / config.memory_s)) * (seen.log_odds - before[rows])
        table["belief"] = belief
        table["published"] &= belief >= _log_odds(config.retract_probability)
        table["published"] |= belief >= _log_odds(config.publish_probability)
        table["score"][rows] = seen.scores
        table["seen_ns"][rows] = stamp_ns
        table["votes"][rows, seen.class_ids] += seen.scores
        if seen.meanings.any() or table["meaning"].any():
            evidence = forgotten(table["meaning"], _classes(table), seconds)
            evidence[rows] = with_sightings(evidence[rows], seen.meanings)
            table["meaning"] = evidence

        means, measured = table["means"][rows], seen.measured.copy()
        # Nothing measured must not pull, and a first measurement must not look like a leap from the map's origin.
        measured[~seen.located, 4:] = means[~seen.located, 0, 4:]
        first = seen.located & ~_located(table)[rows]
        means[first, 0, 4:] = measured[first, 4:]
        means, covariances = correct(means, table["covariances"][rows], measured, seen.noise)
        table["means"][rows] = means
        table["covariances"][rows] = covariances

        sizes = table["size"][rows]
        share = 1.0 - math.exp(-seconds / SIZE_MEMORY_S)
        followed = np.where(np.isnan(sizes), seen.sizes, sizes + share * (seen.sizes - sizes))
        table["size"][rows] = np.where(np.isnan(followed), sizes, followed)

    def _newborn(self, seen: Observations, stamp_ns: int) -> np.ndarray:
        """Tracks that begin with ``seen``."""
        table = np.zeros(len(seen), dtype=TRACK)
        speeds = np.empty((len(seen), 6))
        speeds[:, :4] = self.config.first_box_velocity * seen.measured[:, 3:4]
        speeds[:, 4:] = self._with_vehicle(FIRST_SPEED[seen.class_ids], VEHICLE_SPEED)
        table["means"], table["covariances"] = start(seen.measured, seen.noise, speeds)
        table["id"] = self._next_id + np.arange(len(seen))
        table["belief"] = seen.log_odds - self.config.first_sighting_discount
        table["published"] = table["belief"] >= _log_odds(self.config.publish_probability)
        table["score"] = seen.scores
        table["votes"][np.arange(len(seen)), seen.class_ids] = seen.scores
        table["size"] = seen.sizes
        table["meaning"] = with_sightings(table["meaning"], seen.meanings)
        table["born_ns"] = stamp_ns
        table["seen_ns"] = stamp_ns
        return table

    def _with_vehicle(self, own: np.ndarray, vehicle: float) -> np.ndarray:
        """(N, 1) what objects move by on their own, in ``base_link`` together with what the vehicle's motion adds."""
        return (own if self._in_map else np.hypot(own, vehicle))[:, None]

    def _tracks(self, table: np.ndarray, stamp_ns: int) -> Tracks:
        """What is published of the tracks in ``table``."""
        told = _located(table)[:, None] & self._in_map
        return Tracks(
            stamp_ns=stamp_ns,
            ids=table["id"],
            boxes=corners(table["means"][:, 0, :4]).astype(np.float32),
            scores=table["score"].astype(np.float32),
            class_ids=_classes(table).astype(np.int32),
            ages_s=((stamp_ns - table["born_ns"]) * 1e-9).astype(np.float32),
            unseen_s=((stamp_ns - table["seen_ns"]) * 1e-9).astype(np.float32),
            positions=np.where(told, table["means"][:, 0, 4:], np.nan),
            velocities=np.where(told, table["means"][:, 1, 4:], np.nan),
            sizes=table["size"].astype(np.float32),
            meanings=probabilities_of(table["meaning"]),
        )


def _joined(table: np.ndarray, more: np.ndarray) -> np.ndarray:
    """Both tables, one after the other, without np.concatenate's long look at every field's type."""
    joined = np.empty(len(table) + len(more), dtype=TRACK)
    joined[: len(table)] = table
    joined[len(table) :] = more
    return joined


def _classes(table: np.ndarray) -> np.ndarray:
    """(N,) the class most voted for."""
    return table["votes"].argmax(axis=1)


def _located(table: np.ndarray) -> np.ndarray:
    """(N,) whether the place on the ground was ever measured."""
    return table["covariances"][:, 0, 4, 4] < 1e-3 * UNKNOWN


def _forget_places(table: np.ndarray) -> None:
    """Make all places unknown, because from now on they are told in the map."""
    table["means"][:, :, 4:] = 0.0
    table["covariances"][:, :, 4:, 4:] = 0.0
    for axis in (4, 5):
        table["covariances"][:, 0, axis, axis] = UNKNOWN
        table["covariances"][:, 2, axis, axis] = FIRST_SPEED[_classes(table)] ** 2


def _log_odds(probability: float) -> float:
    return math.log(probability / (1.0 - probability))
