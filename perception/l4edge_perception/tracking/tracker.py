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
from l4edge_perception.tracking.observations import CENTRE, GROUND, SIZE, Observations, observe
from l4edge_perception.tracking.table import TrackTable
from l4edge_perception.types import CameraModel, Detections, EgoState, Tracks

LEAST_BOX_PIXELS = 2.0
"""Predicted boxes do not shrink below this width and height."""

VEHICLE_SPEED = 15.0
VEHICLE_ACCELERATION = 5.0
"""What everything may have on top in ``base_link`` because the vehicle itself drives and turns: speed in metres per
second, and how much it changes by chance within one second."""

SIZE_MEMORY_S = 1.0
"""Time constant with which a track's size follows the measured ones."""

NOTHING = np.zeros(0, dtype=np.int64)
"""Indices of no rows."""

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
        self._table = TrackTable.zeros(0)
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

        table = self._known(stamp_ns)
        if ego is not None and not self._in_map:
            _forget_places(table)
            self._in_map = True
        self._predict(table, seconds)
        rows, columns = self._match(table, seen)
        self._believe(table, rows, seen.log_odds[columns], seconds)
        self._interpret(table, rows, seen, columns, seconds)
        if len(rows):
            self._correct(table, rows, seen, columns, seconds, stamp_ns)
        new = seen.scores >= self.config.birth_score
        new[columns] = False
        new_columns = new.nonzero()[0]
        if len(new_columns):
            table = table.with_more(self._newborn(seen, new_columns, stamp_ns))

        self._table = table
        self._stamp_ns = stamp_ns
        self._next_id += len(new_columns)
        self.unusable_detections += unusable
        self._shown = table.published & (table.seen_ns >= stamp_ns - self.config.publish_unseen_s * 1e9)
        return self._tracks(table, self._shown.nonzero()[0], stamp_ns)

    def class_probabilities(self) -> np.ndarray:
        """(N, classes) how the detections of each track in the last :class:`Tracks` voted on its class."""
        votes = self._table.votes[:, self._shown].T
        return votes / votes.sum(axis=1, keepdims=True)

    def _known(self, stamp_ns: int) -> TrackTable:
        """The tracks that are still known at ``stamp_ns``."""
        kept = self._table.seen_ns >= stamp_ns - self.config.lost_buffer_s * 1e9
        return self._table if kept.all() else self._table.where(kept)

    def _predict(self, table: TrackTable, seconds: float) -> None:
        """Move all tracks ahead in time."""
        heights = table.means[1, SIZE]
        wander = np.empty((3, len(table)))
        wander[CENTRE] = self.config.centre_acceleration * heights
        wander[SIZE] = self.config.size_acceleration * heights
        wander[GROUND] = self._with_vehicle(ACCELERATION, VEHICLE_ACCELERATION)[table.class_ids]
        predict(table.means, table.covariances, seconds, wander)
        np.maximum(table.means[:2, SIZE], LEAST_BOX_PIXELS, out=table.means[:2, SIZE])

    def _match(self, table: TrackTable, seen: Observations) -> Tuple[np.ndarray, np.ndarray]:
        """Which track (row) is continued by which observation (column)."""
        if not len(table) or not len(seen):
            return NOTHING, NOTHING
        means = table.means
        similarity = similarities(
            corners(means[:2, CENTRE], means[:2, SIZE]),
            means[:2, GROUND],
            table.covariances[:2, :2, GROUND],
            table.located,
            table.class_ids,
            seen,
            self.config,
        )
        sure = int(np.count_nonzero(seen.scores >= self.config.high_score))
        rows, columns = assign(similarity[:, :sure])
        if sure == len(seen) or len(rows) == len(table):
            return rows, columns
        free = np.ones(len(table), dtype=bool)
        free[rows] = False
        free_rows = free.nonzero()[0]
        more_rows, more_columns = assign(similarity[free_rows, sure:])
        return np.concatenate((rows, free_rows[more_rows])), np.concatenate((columns, more_columns + sure))

    def _believe(self, table: TrackTable, rows: np.ndarray, log_odds: np.ndarray, seconds: float) -> None:
        """Let beliefs follow: at ``rows`` the log odds of what was seen, elsewhere that nothing was."""
        config = self.config
        before, doubtful = table.beliefs, _log_odds(config.low_score)
        continued = before[rows]
        table.beliefs += (1.0 - math.exp(-seconds / config.absence_memory_s)) * np.minimum(doubtful - before, 0.0)
        table.beliefs[rows] = continued + (1.0 - math.exp(-seconds / config.memory_s)) * (log_odds - continued)
        table.published &= table.beliefs >= _log_odds(config.retract_probability)
        table.published |= table.beliefs >= _log_odds(config.publish_probability)

    def _interpret(
        self, table: TrackTable, rows: np.ndarray, seen: Observations, columns: np.ndarray, seconds: float
    ) -> None:
        """Let what was read of the observations ``columns`` add to what the tracks at ``rows`` mean."""
        if seen.meanings.any() or table.meanings.any():
            table.meanings[:] = forgotten(table.meanings, table.class_ids, seconds)
            table.meanings[:, rows] = with_sightings(table.meanings[:, rows], seen.meanings[:, columns])

    def _correct(
        self,
        table: TrackTable,
        rows: np.ndarray,
        seen: Observations,
        columns: np.ndarray,
        seconds: float,
        stamp_ns: int,
    ) -> None:
        """Let the observations ``columns`` of ``seen`` correct the tracks at ``rows``, one each."""
        scores, class_ids = seen.scores[columns], seen.class_ids[columns]
        table.scores[rows] = scores
        table.seen_ns[rows] = stamp_ns
        table.votes[class_ids, rows] += scores
        table.votes.argmax(axis=0, out=table.class_ids)
        _filter(table, rows, seen, columns)

        share = 1.0 - math.exp(-seconds / SIZE_MEMORY_S)
        sizes, measured = table.sizes[:, rows], seen.sizes[:, columns]
        followed = sizes + share * (measured - sizes)
        if np.isnan(followed).any():
            followed = np.where(np.isnan(sizes), measured, np.where(np.isnan(measured), sizes, followed))
        table.sizes[:, rows] = followed

    def _newborn(self, seen: Observations, columns: np.ndarray, stamp_ns: int) -> TrackTable:
        """Tracks that begin with the observations ``columns`` of ``seen``."""
        table = TrackTable.zeros(len(columns))
        class_ids = seen.class_ids[columns]
        table.located[:] = seen.located[columns]
        measured, noise = seen.measured.take(columns, axis=-1), seen.noise.take(columns, axis=-1)
        noise[(0, 1), (0, 1), GROUND] = np.where(table.located, noise[(0, 1), (0, 1), GROUND], UNKNOWN)
        speeds = np.empty((3, len(columns)))
        speeds[:GROUND] = self.config.first_box_velocity * measured[1, SIZE]
        speeds[GROUND] = self._with_vehicle(FIRST_SPEED, VEHICLE_SPEED)[class_ids]
        table.means[:], table.covariances[:] = start(measured, noise, speeds)
        table.scores[:] = seen.scores[columns]
        table.votes[class_ids, np.arange(len(columns))] = table.scores
        table.class_ids[:] = class_ids
        table.sizes[:] = seen.sizes[:, columns]
        if seen.meanings.any():
            table.meanings[:] = with_sightings(table.meanings, seen.meanings[:, columns])
        table.beliefs[:] = seen.log_odds[columns] - self.config.first_sighting_discount
        table.published[:] = table.beliefs >= _log_odds(self.config.publish_probability)
        table.ids[:] = np.arange(self._next_id, self._next_id + len(columns))
        table.born_ns[:] = table.seen_ns[:] = stamp_ns
        return table

    def _with_vehicle(self, own: np.ndarray, vehicle: float) -> np.ndarray:
        """What objects move by on their own, in ``base_link`` together with what the vehicle's motion adds."""
        return own if self._in_map else np.hypot(own, vehicle)

    def _tracks(self, table: TrackTable, rows: np.ndarray, stamp_ns: int) -> Tracks:
        """What is published of the tracks at ``rows``."""
        means = table.means.take(rows, axis=-1)
        places = np.where(table.located[rows] & self._in_map, means[:, GROUND], np.nan)
        ages_s, unseen_s = ((stamp_ns - table.stamps_ns.take(rows, axis=1)) * 1e-9).astype(np.float32)
        return Tracks(
            stamp_ns=stamp_ns,
            ids=table.ids[rows],
            boxes=_rowwise(corners(means[:2, CENTRE], means[:2, SIZE]), np.float32),
            scores=table.scores[rows].astype(np.float32),
            class_ids=table.class_ids[rows].astype(np.int32),
            ages_s=ages_s,
            unseen_s=unseen_s,
            positions=_rowwise(places[:2], np.float64),
            velocities=_rowwise(places[2:], np.float64),
            sizes=_rowwise(table.sizes[:, rows], np.float32),
            meanings=_rowwise(probabilities_of(table.meanings[:, rows]), np.float32),
        )


def _filter(table: TrackTable, rows: np.ndarray, seen: Observations, columns: np.ndarray) -> None:
    """Let what the observations ``columns`` measured correct means and covariances of the tracks at ``rows``."""
    column_of = np.zeros(len(table), dtype=np.int64)
    column_of[rows] = columns
    known = np.zeros((3, len(table)), dtype=bool)
    known[:, rows] = True
    known[GROUND] &= seen.located[column_of]
    measured = seen.measured.take(column_of, axis=-1)
    # A first measurement must not look like a leap from the map's origin.
    np.copyto(table.means[:2, GROUND], measured[:, GROUND], where=known[GROUND] & ~table.located)
    table.located |= known[GROUND]
    correct(table.means, table.covariances, measured, seen.noise.take(column_of, axis=-1), known)


def _rowwise(values: np.ndarray, kind: type) -> np.ndarray:
    """Objects along the first axis instead of the last, as :class:`Tracks` has them."""
    return np.array(values.T, dtype=kind, order="C")


def _forget_places(table: TrackTable) -> None:
    """Make all places unknown, because from now on they are told in the map."""
    table.located[:] = False
    table.means[:, GROUND] = 0.0
    table.covariances[:, :, GROUND] = 0.0
    for axis in (0, 1):
        table.covariances[axis, axis, GROUND] = UNKNOWN
        table.covariances[axis + 2, axis + 2, GROUND] = FIRST_SPEED[table.class_ids] ** 2


def _log_odds(probability: float) -> float:
    return math.log(probability / (1.0 - probability))
