"""From verdicts on parts to the verdict on a frame: pure functions."""

from dataclasses import replace
from typing import List, Optional, Tuple

import numpy as np

from l4edge_perception.camera.classifier import READABLE
from l4edge_perception.safety_types import Claim, FreeSpace, Hazard, ObjectVerdict, SafetyVerdict, Verdict
from l4edge_perception.types import Detections, Tracks


def unread_verdicts(detections: Detections, names: List[Optional[int]]) -> List[ObjectVerdict]:
    """Of the signs and lights that the pipeline has read, where there is nothing to certify them with."""
    rows = np.flatnonzero(READABLE[detections.class_ids] & detections.meanings.any(axis=1))
    return [
        ObjectVerdict(
            object_id=names[row], hazard=Hazard.LABEL, class_id=int(detections.class_ids[row]),
            box=tuple(float(value) for value in detections.boxes[row]),  # type: ignore[arg-type]
            score=float(detections.scores[row]), verdict=Verdict.UNCERTIFIED, reason="model",
        )
        for row in rows.tolist()
    ]


def worst(verdicts: List[Tuple[Verdict, str]]) -> Tuple[Verdict, str]:
    """What is said of the whole: an alarm if there is one, else the first thing that is not certified."""
    for wanted in (Verdict.ALARM, Verdict.UNCERTIFIED):
        for verdict, reason in verdicts:
            if verdict == wanted:
                return verdict, reason
    return Verdict.CERTIFIED, "agreed"


def too_late(verdict: SafetyVerdict) -> SafetyVerdict:
    """The same with every certificate taken back. An alarm stays one: it is true however late it comes."""
    objects = tuple(
        replace(entry, verdict=Verdict.UNCERTIFIED, reason="deadline", largest_patch_px=0.0)
        if entry.verdict == Verdict.CERTIFIED else entry
        for entry in verdict.objects
    )
    certified = verdict.verdict == Verdict.CERTIFIED
    return replace(
        verdict,
        verdict=Verdict.UNCERTIFIED if certified else verdict.verdict,
        reason="deadline" if certified else verdict.reason,
        claim=Claim.NO_CLAIM,
        objects=objects,
        free_space=nowhere(verdict.free_space),
    )


def nowhere(free: FreeSpace) -> FreeSpace:
    """The same grid with nothing claimed."""
    return replace(free, certified=np.zeros_like(free.certified))


def track_names(detections: Detections, tracks: Optional[Tracks], same: float) -> List[Optional[int]]:
    """The track of each detection, or None: of its class, the one whose box overlaps most and enough.

    Args:
        same: intersection over union from which a box and a detection are one object.
    """
    names: List[Optional[int]] = [None] * len(detections)
    if tracks is None or not len(tracks) or not len(detections):
        return names
    first, second = detections.boxes.astype(np.float64), np.nan_to_num(tracks.boxes.astype(np.float64))
    sides = np.minimum(first[:, None, 2:], second[None, :, 2:]) - np.maximum(first[:, None, :2], second[None, :, :2])
    common = np.maximum(sides, 0.0).prod(axis=2)
    sizes = [np.maximum(boxes[:, 2:] - boxes[:, :2], 0.0).prod(axis=1) for boxes in (first, second)]
    overlap = common / np.maximum(sizes[0][:, None] + sizes[1] - common, 1e-9)
    overlap[detections.class_ids[:, None] != tracks.class_ids] = 0.0
    for row, best in enumerate(overlap.argmax(axis=1).tolist()):
        if overlap[row, best] >= same:
            names[row] = int(tracks.ids[best])
    return names
