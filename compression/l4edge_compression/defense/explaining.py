"""Which box explains which, and what follows for objects that a patch may hide; the proof is in :mod:`.objects`."""

from dataclasses import dataclass
from typing import Any, List, NamedTuple, Sequence, Tuple

import numpy as np

from l4edge_perception.camera.decoders import Candidates
from l4edge_perception.errors import InputError
from l4edge_perception.types import OBJECT_CLASSES

GROUPS = (0, 0, 1, 1, 2, 3)
"""Of each of ``OBJECT_CLASSES``: vehicles, people, signs, lights. A vehicle's box must not explain a pedestrian."""

SAME_OBJECT = 0.5
"""Intersection over union from which two boxes of a group are held for one object."""


@dataclass(frozen=True)
class ObjectMaskSettings:
    """How masks look and judge.

    Attributes:
        columns, rows: evenly spaced lines; each costs two passes of the detector.
        window_columns, window_rows: windows of the covering set of the largest patch, one pass each; 0 for none.
        patches: sizes that certificates are made out for, side of a square in pixels of the network's input, rising.
        masked_score: lowest score of a box in a masked view that counts. Higher: fewer false alarms and certificates.
        erased: largest share of such a box that may lie in what was erased; detectors see things in empty areas.
        explained: share of a masked box inside a box of its group from which that one explains it, 0..1.
        covered: share of an object that the output must cover for the object to count as found, 0..1.
        visible: share of an assumed object that a mask must leave for a free-space cell to count as seen.
        groups: for each of ``OBJECT_CLASSES``, which classes may stand for each other.
    """

    columns: int = 3
    rows: int = 3
    window_columns: int = 0
    window_rows: int = 0
    patches: Tuple[int, ...] = (16, 32, 48)
    masked_score: float = 0.5
    erased: float = 0.3
    explained: float = 0.6
    covered: float = 0.1
    visible: float = 0.7
    groups: Tuple[int, ...] = GROUPS

    def __post_init__(self) -> None:
        for name in ("masked_score", "erased", "explained", "covered", "visible"):
            value = getattr(self, name)
            if not 0.0 <= value <= 1.0:
                raise InputError(f"object masks: {name} {value!r} is no number from 0 to 1")
        if len(self.groups) != len(OBJECT_CLASSES):
            raise InputError(f"object masks: {len(self.groups)} groups for {len(OBJECT_CLASSES)} classes")


class MaskedBoxes(NamedTuple):
    """K boxes of all masked views together.

    Attributes:
        boxes: (K, 4) float64, pixels of the network's input. scores: (K,). class_ids: (K,).
        views: (K,) int64, index of the mask.
    """

    boxes: np.ndarray
    scores: np.ndarray
    class_ids: np.ndarray
    views: np.ndarray


def gather(seen: Sequence[Candidates], windows: np.ndarray, settings: ObjectMaskSettings) -> MaskedBoxes:
    """All boxes of the masked views that count.

    Args:
        seen: what each of M masks showed.
        windows: (M, 4) what each of them erased.
        settings: how sure a box must be and how much of it must not be erased. Both are asked of the masked view alone,
            so a patch inside the window has no say.
    """
    views = np.repeat(np.arange(len(seen)), [len(found.scores) for found in seen])
    if not len(views):
        return MaskedBoxes(np.zeros((0, 4)), np.zeros(0), np.zeros(0, np.int64), np.zeros(0, np.int64))
    scores = np.concatenate([found.scores for found in seen])
    boxes = np.concatenate([found.boxes for found in seen]).astype(np.float64)
    sure = (scores >= settings.masked_score) & (_inside(boxes, windows[views]) <= settings.erased * areas(boxes))
    boxes = boxes[sure]
    classes = np.concatenate([found.class_ids for found in seen])[sure]
    return MaskedBoxes(boxes, scores[sure], classes.astype(np.int64), views[sure])


def guaranteed(
    masked: MaskedBoxes,
    views: int,
    boxes: np.ndarray,
    class_ids: np.ndarray,
    base_boxes: np.ndarray,
    base_class_ids: np.ndarray,
    settings: ObjectMaskSettings,
) -> np.ndarray:
    """(N, views) bool: whether each of N objects is guaranteed when a patch lies inside what a view erased."""
    groups = np.array(settings.groups)
    good = np.zeros((len(boxes), views), bool)
    if not len(boxes) or not len(masked.views):
        return good
    common = intersections(masked.boxes, boxes)
    own = areas(masked.boxes)[:, None]
    certain = common - (1.0 - settings.explained) * own >= settings.covered * areas(boxes)
    certain &= groups[masked.class_ids][:, None] == groups[class_ids]
    # Which base boxes are of another object: (N, B), and which explain a masked box: (K, B).
    shared = intersections(boxes, base_boxes)
    union = areas(boxes)[:, None] + areas(base_boxes) - shared
    others = shared < SAME_OBJECT * union
    explains = explanations(masked.boxes, masked.class_ids, base_boxes, base_class_ids, settings)
    certain &= ~((explains.astype(np.int64) @ others.T.astype(np.int64)) > 0)
    rows, columns = np.nonzero(certain)
    good[columns, masked.views[rows]] = True
    return good


def unexplained(
    masked: MaskedBoxes, base_boxes: np.ndarray, base_class_ids: np.ndarray, settings: ObjectMaskSettings
) -> np.ndarray:
    """(H,) indices of the masked boxes that are put out: largest first, each that nothing put out before explains."""
    explained = np.any(explanations(masked.boxes, masked.class_ids, base_boxes, base_class_ids, settings), axis=1)
    mutual = explanations(masked.boxes, masked.class_ids, masked.boxes, masked.class_ids, settings)
    kept: List[int] = []
    for index in np.lexsort((-masked.scores, -areas(masked.boxes))):
        if not explained[index]:
            kept.append(index)
            explained |= mutual[:, index]
    return np.array(kept, np.int64)


def explanations(
    boxes: np.ndarray, class_ids: np.ndarray, by: np.ndarray, by_class_ids: np.ndarray, settings: ObjectMaskSettings
) -> np.ndarray:
    """(K, B) bool: enough of each of K boxes lies inside each of B boxes of its group."""
    groups = np.array(settings.groups)
    own = groups[np.asarray(class_ids, np.int64)]
    others = groups[np.asarray(by_class_ids, np.int64)]
    inside: Any = intersections(boxes, by) >= settings.explained * areas(boxes)[:, None]
    return np.logical_and(np.equal.outer(own, others), inside)


def touched(boxes: np.ndarray, by: np.ndarray) -> np.ndarray:
    """(N,) bool: which boxes any of the others overlaps."""
    return np.any(np.greater(intersections(boxes, by), 0), axis=1)


def _inside(boxes: np.ndarray, windows: np.ndarray) -> np.ndarray:
    """(K,) area of each box inside the window beside it."""
    sides = np.minimum(boxes[:, 2:], windows[:, 2:]) - np.maximum(boxes[:, :2], windows[:, :2])
    return np.maximum(sides, 0.0).prod(axis=1)


def intersections(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(N, M) common areas of N and M boxes."""
    first, second = np.asarray(first, np.float64).reshape(-1, 4), np.asarray(second, np.float64).reshape(-1, 4)
    sides = np.minimum(first[:, None, 2:], second[None, :, 2:]) - np.maximum(first[:, None, :2], second[None, :, :2])
    return np.maximum(sides, 0.0).prod(axis=2)


def areas(boxes: np.ndarray) -> np.ndarray:
    """(N,) areas of boxes."""
    boxes = np.asarray(boxes, np.float64).reshape(-1, 4)
    return np.maximum(boxes[:, 2:] - boxes[:, :2], 0.0).prod(axis=1)
