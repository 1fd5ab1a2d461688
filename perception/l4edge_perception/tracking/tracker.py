"""The multi-object tracker: detections of one image after the other in, objects with identities out.

Two-stage association after ByteTrack (Zhang et al., 2022, section 3): sure detections choose their tracks first,
doubtful ones may continue what is left, and only that. Whether a track exists is a probability that follows the scores
with a time constant, where others count frames.
"""

import math
from typing import Optional, Tuple

import numpy as np

from l4edge_perception.tracking.association import assign, similarities, unrivalled
from l4edge_perception.tracking.boxes import corners
from l4edge_perception.tracking.config import TrackerConfig
from l4edge_perception.tracking.ground import ACCELERATION, FIRST_SPEED, Detections3D
from l4edge_perception.tracking.kalman import UNKNOWN, correct, predict, start
from l4edge_perception.tracking.meanings import forgotten, probabilities_of, with_sightings
from l4edge_perception.tracking.observations import CENTRE, GROUND, SIZE, Observations, observe
from l4edge_perception.tracking.table import COMMON, TrackTable, divided
from l4edge_perception.types import CameraModel, Detections, EgoState, Tracks

LEAST_BOX_PIXELS = 2.0
"""Predicted boxes do not shrink below this width and height."""

VEHICLE_SPEED = 15.0
VEHICLE_ACCELERATION = 5.0
"""What everything may have on top in ``base_link`` because the vehicle itself drives and turns: speed in metres per
second, and how much it changes by chance within one second."""

_RELATIVE_SPEED = np.hypot(FIRST_SPEED, VEHICLE_SPEED)
_RELATIVE_ACCELERATION = np.hypot(ACCELERATION, VEHICLE_ACCELERATION)

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
        self.config = config = config or TrackerConfig()
        self._doubtful, self._retracted, self._published = (
            _log_odds(chance) for chance in (config.low_score, config.retract_probability, config.publish_probability)
        )
        self._box_wander = np.array([[config.centre_acceleration], [config.size_acceleration]])
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
        self._follow(table, rows, seen.take(columns), seconds, stamp_ns)
        new = seen.scores >= self.config.birth_score
        new[columns] = False
        new_columns = new.nonzero()[0]
        if len(new_columns):
            table = table.with_more(self._newborn(seen.take(new_columns), stamp_ns))

        self._table = table
        self._stamp_ns = stamp_ns
        self._next_id += len(new_columns)
        self.unusable_detections += unusable
        self._shown = table.published & (table.seen_ns >= stamp_ns - round(self.config.publish_unseen_s * 1e9))
        return self._tracks(table, self._shown.nonzero()[0], stamp_ns)

    def class_probabilities(self) -> np.ndarray:
        """(N, classes) how the detections of each track in the last :class:`Tracks` voted on its class."""
        votes = self._table.votes[:, self._shown].T
        return votes / votes.sum(axis=1, keepdims=True)

    def _known(self, stamp_ns: int) -> TrackTable:
        """The tracks that are still known at ``stamp_ns``."""
        kept = self._table.seen_ns >= stamp_ns - round(self.config.lost_buffer_s * 1e9)
        return self._table if np.count_nonzero(kept) == len(kept) else self._table.where(kept)

    def _predict(self, table: TrackTable, seconds: float) -> None:
        """Move all tracks ahead in time."""
        state = table.state
        wander = np.empty((3, len(table)))
        np.multiply(self._box_wander, state[1, 0, SIZE], out=wander[:GROUND])
        wander[GROUND] = (ACCELERATION if self._in_map else _RELATIVE_ACCELERATION)[table.class_ids]
        predict(state, seconds, wander)
        np.maximum(state[:2, 0, SIZE], LEAST_BOX_PIXELS, out=state[:2, 0, SIZE])
        if np.count_nonzero(table.meanings):
            table.meanings[:] = forgotten(table.meanings, table.class_ids, seconds)

    def _match(self, table: TrackTable, seen: Observations) -> Tuple[np.ndarray, np.ndarray]:
        """Which track (row) is continued by which observation (column)."""
        if not len(table) or not len(seen):
            return NOTHING, NOTHING
        state = table.state
        similarity, possible = similarities(
            corners(state[:2, 0, CENTRE], state[:2, 0, SIZE]),
            state[:2, 0, GROUND],
            state[:2, 1:3, GROUND],
            table.located,
            table.class_ids,
            seen,
            self.config,
        )
        pairs = unrivalled(similarity, possible)
        if pairs is not None:
            return pairs
        sure = np.count_nonzero(seen.scores >= self.config.high_score)
        rows, columns = assign(similarity[:, :sure], possible[:, :sure])
        if sure == len(seen) or len(rows) == len(table):
            return rows, columns
        free = possible[:, sure:]
        free[rows] = False
        more_rows, more_columns = assign(similarity[:, sure:] * free, free)
        return np.concatenate((rows, more_rows)), np.concatenate((columns, more_columns + sure))

    def _follow(self, table: TrackTable, rows: np.ndarray, seen: Observations, seconds: float, stamp_ns: int) -> None:
        """Let the observations ``seen`` continue the tracks at ``rows``, one each; believe less in the others."""
        config = self.config
        numbers = table.numbers.take(rows, axis=1)
        fading = 1.0 - math.exp(-seconds / config.absence_memory_s)
        table.beliefs += fading * np.minimum(self._doubtful - table.beliefs, 0.0)
        if len(rows):
            beliefs, scores, sizes, votes, meanings, state = divided(numbers)
            beliefs += (1.0 - math.exp(-seconds / config.memory_s)) * (seen.log_odds - beliefs)
            scores[:] = seen.scores
            _settle(sizes, seen.sizes, 1.0 - math.exp(-seconds / SIZE_MEMORY_S))
            votes += seen.votes
            if np.count_nonzero(seen.meanings):
                meanings[:] = with_sightings(meanings, seen.meanings)
            located = table.located[rows]
            state = state.reshape(4, 5, 3, -1)
            if np.count_nonzero(located) < len(rows):
                # A first measurement must not look like a leap from the map's origin.
                np.copyto(state[:2, 0, GROUND], seen.measured[:, 0, GROUND], where=seen.located & ~located)
                table.located[rows] = located | seen.located
            correct(state, seen.measured, seen.known)
            table.numbers[:, rows] = numbers
            table.seen_ns[rows] = stamp_ns
            table.votes.argmax(axis=0, out=table.class_ids)
        table.published &= table.beliefs >= self._retracted
        table.published |= table.beliefs >= self._published

    def _newborn(self, seen: Observations, stamp_ns: int) -> TrackTable:
        """Tracks that begin with the observations ``seen``."""
        table = TrackTable.zeros(len(seen))
        table.numbers[:COMMON] = seen.numbers[:COMMON]
        table.beliefs -= self.config.first_sighting_discount
        if np.count_nonzero(seen.meanings):
            table.meanings[:] = with_sightings(np.zeros_like(seen.meanings), seen.meanings)
        speeds = np.empty((3, len(seen)))
        speeds[:GROUND] = self.config.first_box_velocity * seen.measured[1, 0, SIZE]
        speeds[GROUND] = (FIRST_SPEED if self._in_map else _RELATIVE_SPEED)[seen.class_ids]
        start(table.state, seen.measured, speeds)
        table.ids[:] = np.arange(self._next_id, self._next_id + len(seen))
        table.class_ids[:] = seen.class_ids
        table.stamps_ns[:] = stamp_ns
        table.published[:] = table.beliefs >= self._published
        table.located[:] = seen.located
        return table

    def _tracks(self, table: TrackTable, rows: np.ndarray, stamp_ns: int) -> Tracks:
        """What is published of the tracks at ``rows``."""
        numbers = table.numbers.take(rows, axis=1)
        _, scores, sizes, _, evidence, state = divided(numbers)
        means = state.reshape(4, 5, 3, -1)[:, 0]
        boxes = np.empty((len(rows), 4), np.float32)
        half = 0.5 * means[:2, SIZE]
        np.subtract(means[:2, CENTRE], half, out=boxes.T[:2])
        np.add(means[:2, CENTRE], half, out=boxes.T[2:])
        places = means[:, GROUND]
        if not self._in_map:
            places[:] = np.nan
        else:
            located = table.located[rows]
            if np.count_nonzero(located) < len(rows):
                places[:, ~located] = np.nan
        ages_s, unseen_s = ((stamp_ns - table.stamps_ns.take(rows, axis=1)) * 1e-9).astype(np.float32)
        return Tracks(
            stamp_ns=stamp_ns,
            ids=table.ids[rows],
            boxes=boxes,
            scores=scores.astype(np.float32),
            class_ids=table.class_ids[rows].astype(np.int32),
            ages_s=ages_s,
            unseen_s=unseen_s,
            positions=places[:2].T.copy(),
            velocities=places[2:].T.copy(),
            sizes=sizes.T.astype(np.float32, order="C"),
            meanings=probabilities_of(evidence).T.astype(np.float32, order="C"),
        )


def _settle(sizes: np.ndarray, measured: np.ndarray, share: float) -> None:
    """Let ``sizes`` (3, N) go a ``share`` of the way to the ``measured`` ones; where one is NaN, take the other."""
    followed = sizes + share * (measured - sizes)
    if np.count_nonzero(np.isnan(followed)):
        followed = np.where(np.isnan(sizes), measured, np.where(np.isnan(measured), sizes, followed))
    sizes[:] = followed


def _forget_places(table: TrackTable) -> None:
    """Make all places unknown, because from now on they are told in the map."""
    table.located[:] = False
    table.state[:, :, GROUND] = 0.0
    for axis in (0, 1):
        table.state[axis, axis + 1, GROUND] = UNKNOWN
        table.state[axis + 2, axis + 3, GROUND] = FIRST_SPEED[table.class_ids] ** 2


def _log_odds(probability: float) -> float:
    return math.log(probability / (1.0 - probability))
