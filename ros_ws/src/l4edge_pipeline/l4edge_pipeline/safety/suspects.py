"""When an alarm is confirmed: the same object or place, near enough to matter, in m of the last n frames.

All of this is outside of every certificate: each alarm is published with its frame. What is confirmed makes the vehicle
leave its plan.
"""

import math
from collections import deque
from dataclasses import dataclass, field
from typing import Deque, List, Optional, Sequence

import numpy as np

from l4edge_compression.defense.objectness import ROAD_USERS
from l4edge_perception.errors import InputError
from l4edge_perception.safety_types import AlarmCount, Box, Hazard, ObjectVerdict, Verdict
from l4edge_perception.types import MEANINGS, Tracks
from l4edge_pipeline.safety.escalation import CRITICAL_MEANINGS

UNKNOWN_CLASS = 255
"""Class of what looks like an object of some kind."""

CRITICAL_LABELS = frozenset(MEANINGS.index(word) for word in CRITICAL_MEANINGS)
"""Indices into ``MEANINGS``."""

NOTHING = MEANINGS.index("none")

SIDE_PX = 2.0
"""From the picture's sides; what is nearer to them leaves the picture."""


@dataclass(frozen=True)
class ConfirmationConfig:
    """What makes an alarm a confirmed one.

    Attributes:
        needed, frames: so many of the last frames with an alarm of one suspect.
        sign_px: signs and lights whose longer edge is shorter are too far away to count.
        object_px: the same for hidden objects. What only looks like an object of some kind, without a masked view that
            shows one, never counts, nor does what leaves the picture at a side: it is beside the vehicle.
        object_score: of a hidden object in the masked view, at least. Detectors see things at the edges of what is
            erased.
        confidence: of signs and lights only those alarms count that are about a track, for the pipeline acts on nothing
            else, and in which something dangerous to miss is at stake: read more confidently than this where a window
            is hidden, and as a whole something harmless; or the other way round; or the pipeline has missed it.
        overlap: intersection over union from which two alarms without a track's name are about one place.
        tracked: a hidden object of which this share of its box lies in tracks of road users does not count: the vehicle
            yields to something there already. Masks at an object's edge make its box larger, in frame after frame, and
            bring out who stands behind it.
    """

    needed: int = 4
    frames: int = 6
    sign_px: float = 24.0
    object_px: float = 24.0
    confidence: float = 0.8
    overlap: float = 0.3
    tracked: float = 0.4
    object_score: float = 0.8

    def __post_init__(self) -> None:
        if not 1 <= self.needed <= self.frames:
            raise InputError(
                f"alarms {self.needed} of {self.frames} frames: must be at least 1 and at most the frames"
            )
        if not 0.0 < self.overlap < 1.0:
            raise InputError(f"overlap {self.overlap} of suspects: must be between 0 and 1")
        if not 0.0 < self.tracked <= 1.0:
            raise InputError(f"tracked share {self.tracked} of a hidden object: must be above 0 and at most 1")

    def counts(self, entry: ObjectVerdict, tracks: Optional[Tracks] = None, width: float = math.inf) -> bool:
        """Whether an alarm about an object is one to be counted.

        Args:
            tracks: the newest there are, or None. width: of the picture, pixels.
        """
        edge = max(entry.box[2] - entry.box[0], entry.box[3] - entry.box[1])
        if entry.verdict != Verdict.ALARM:
            return False
        if entry.hazard != Hazard.LABEL:
            near = edge >= self.object_px and entry.box[0] > SIDE_PX and entry.box[2] < width - SIDE_PX
            sure = entry.class_id != UNKNOWN_CLASS and entry.score >= self.object_score
            return near and sure and (tracks is None or tracked_share(entry, tracks) < self.tracked)
        return edge >= self.sign_px and entry.object_id is not None and self._dangerous(entry)

    def _dangerous(self, entry: ObjectVerdict) -> bool:
        """Whether a stop or yield sign, a red or amber light may be what is at stake."""
        if not entry.disagreeing:
            return entry.recovered_label in CRITICAL_LABELS
        read = {window.label for window in entry.disagreeing if window.confidence > self.confidence}
        if entry.label in CRITICAL_LABELS:
            # A lamp that a window hides looks like no lamp; that is what windows do, and no second meaning. And whether
            # it is amber or red makes no difference.
            return bool(read - CRITICAL_LABELS - {NOTHING})
        return bool(read & CRITICAL_LABELS)


@dataclass
class Suspect:
    """One object or place that alarms were about.

    Attributes:
        object_id: of its track, if one is known. hazard: of the alarms. box: where it was last.
        recent: whether each of the last frames alarmed.
    """

    object_id: Optional[int]
    hazard: Hazard
    box: Box
    recent: Deque[bool] = field(default_factory=deque)


class Places:
    """Remembers of each object or place in which of the last frames something was said about it.

    Args:
        frames: that are remembered.
        overlap: intersection over union from which two places without a track's name are one.
    """

    def __init__(self, frames: int, overlap: float) -> None:
        self._frames, self._overlap = frames, overlap
        self._suspects: List[Suspect] = []

    def take(self, objects: Sequence[ObjectVerdict]) -> List[int]:
        """One frame more, with what is said in it: in how many of the last frames that was said of each object."""
        for suspect in self._suspects:
            suspect.recent.append(False)
        found = []
        for entry in objects:
            suspect = self._of(entry)
            suspect.box, suspect.recent[-1] = entry.box, True
            suspect.object_id = entry.object_id if entry.object_id is not None else suspect.object_id
            found.append(suspect)
        self._suspects = [suspect for suspect in self._suspects if any(suspect.recent)]
        return [sum(suspect.recent) for suspect in found]

    @property
    def most(self) -> int:
        """The highest count of all that are remembered, of this frame or not."""
        return max((sum(suspect.recent) for suspect in self._suspects), default=0)

    def _of(self, entry: ObjectVerdict) -> Suspect:
        """The suspect that is spoken of, a new one if there is none."""
        alike = [suspect for suspect in self._suspects if suspect.hazard == entry.hazard]
        if entry.object_id is not None:
            named = next((suspect for suspect in alike if suspect.object_id == entry.object_id), None)
            if named is not None:
                return named
        # A track's name may come, go or change while the object stays where it is.
        near = max(alike, key=lambda suspect: overlap(suspect.box, entry.box), default=None)
        if near is not None and overlap(near.box, entry.box) >= self._overlap:
            return near
        fresh = Suspect(entry.object_id, entry.hazard, entry.box, deque([False], maxlen=self._frames))
        self._suspects.append(fresh)
        return fresh


class AlarmCounter:
    """Counts the alarms of each suspect over the last frames."""

    def __init__(self, config: ConfirmationConfig) -> None:
        self._config = config
        self._places = Places(config.frames, config.overlap)

    def take(
        self, objects: Sequence[ObjectVerdict], tracks: Optional[Tracks] = None, width: float = math.inf
    ) -> AlarmCount:
        """One frame more, with its objects; the count is that of the suspect with the most alarms.

        Args:
            tracks: the newest there are, or None. width: of the picture, pixels.
        """
        config = self._config
        self._places.take([entry for entry in objects if config.counts(entry, tracks, width)])
        count = self._places.most
        return AlarmCount(count, config.needed, config.frames, count >= config.needed)


def tracked_share(entry: ObjectVerdict, tracks: Tracks) -> float:
    """How much of an object's box lies in the boxes of tracked road users, 0..1, to a sixteenth of its sides."""
    boxes = tracks.boxes[np.isin(tracks.class_ids, ROAD_USERS)]
    x, y = (
        entry.box[axis] + (np.arange(16) + 0.5) / 16 * (entry.box[axis + 2] - entry.box[axis]) for axis in (0, 1)
    )
    columns = (x >= boxes[:, 0:1]) & (x < boxes[:, 2:3])
    rows = (y >= boxes[:, 1:2]) & (y < boxes[:, 3:4])
    return float((rows[:, :, None] & columns[:, None, :]).any(axis=0).mean())


def overlap(first: Box, second: Box) -> float:
    """Intersection over union of two boxes."""
    sides = [min(first[axis + 2], second[axis + 2]) - max(first[axis], second[axis]) for axis in (0, 1)]
    common = max(sides[0], 0.0) * max(sides[1], 0.0)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (first, second)]
    return common / max(sum(areas) - common, 1e-9)
