"""How good tracks are: HOTA, CLEAR and Identity as TrackEval computes them, in memory.

HOTA (Luiten et al., 2021) weighs finding objects (DetA) and keeping their identities (AssA) alike; MOTA counts misses,
false alarms and identity switches at half overlap; IDF1 asks how long identities hold. TrackEval is the reference
implementation of all three. Its KITTI rules say what does not count, see :class:`LabelledFrame`.
"""

from dataclasses import dataclass
from typing import Any, Dict, List, Sequence, Tuple

import numpy as np

from l4edge_perception.errors import InputError
from l4edge_perception.types import OBJECT_CLASSES, GroundTruth, Tracks

COUNTED, DISTRACTOR = 4, 5
"""TrackEval's numbers for pedestrians and sitting persons. Whatever the class, what counts goes in as the one and what
is to be forgiven as the other: the rules of KITTI are the same for all classes, but TrackEval names two only."""

RAW_COLUMNS = (
    "gt_ids",
    "gt_dets",
    "gt_classes",
    "gt_extras",
    "gt_crowd_ignore_regions",
    "tracker_ids",
    "tracker_dets",
    "tracker_classes",
    "tracker_confidences",
    "similarity_scores",
)
"""What TrackEval's preprocessing reads: each a list with one entry per image."""

SequenceScore = Dict[str, Any]
"""TrackEval's own results of one sequence and class, by metric; :func:`summary` combines and reads them."""


@dataclass(frozen=True)
class LabelledFrame:
    """Objects of one class in one image, as labelled and as tracked.

    A track that matches an object which does not count is left out. So is a track that matches nothing if it lies in
    an ignored region by more than half or is not tall enough.

    Attributes:
        ids: (N,) identities of the labelled objects.
        boxes: (N, 4) their boxes, corners, pixels.
        counted: (N,) bool, whether an object has to be found (not hidden, cut, or of a class easily mistaken).
        ignored_regions: (K, 4) boxes in which nothing is labelled.
        track_ids: (M,) identities of the tracks.
        track_boxes: (M, 4) their boxes.
    """

    ids: np.ndarray
    boxes: np.ndarray
    counted: np.ndarray
    ignored_regions: np.ndarray
    track_ids: np.ndarray
    track_boxes: np.ndarray


def counted_data(frames: Sequence[LabelledFrame], least_height: float) -> Dict[str, Any]:
    """TrackEval's data of a sequence, reduced by its KITTI rules to what counts.

    Identities are renumbered; ``tracker_confidences`` holds what the tracks' were before.

    Args:
        frames: all images of the sequence.
        least_height: tracks that match nothing count as false from this height on, pixels.

    Raises:
        InputError: TrackEval, or a package that it needs, is not installed.
    """
    try:
        from trackeval.datasets import Kitti2DBox
    except ImportError as error:
        raise InputError(f"judging tracks needs {error.name}; scripts/environment.py installs it") from error

    rules = Kitti2DBox.__new__(Kitti2DBox)  # Its __init__ would read the files of KITTI.
    rules.class_name_to_class_id = {"pedestrian": COUNTED, "person": DISTRACTOR}
    rules.max_occlusion, rules.max_truncation, rules.min_height = 0, 0, least_height
    columns: Dict[str, List[Any]] = {name: [] for name in RAW_COLUMNS}
    for frame in frames:
        boxes = np.asarray(frame.boxes, dtype=np.float64).reshape(-1, 4)
        track_boxes = np.asarray(frame.track_boxes, dtype=np.float64).reshape(-1, 4)
        nothing = np.zeros(len(boxes), dtype=np.int64)
        columns["gt_ids"].append(np.asarray(frame.ids, dtype=np.int64))
        columns["gt_dets"].append(boxes)
        columns["gt_classes"].append(np.where(frame.counted, COUNTED, DISTRACTOR))
        columns["gt_extras"].append({"occlusion": nothing, "truncation": nothing})
        columns["gt_crowd_ignore_regions"].append(np.asarray(frame.ignored_regions, dtype=np.float64).reshape(-1, 4))
        columns["tracker_ids"].append(np.asarray(frame.track_ids, dtype=np.int64))
        columns["tracker_dets"].append(track_boxes)
        columns["tracker_classes"].append(np.full(len(track_boxes), COUNTED))
        # Identities are renumbered on the way; the metrics do not look at confidences, so these carry them through.
        columns["tracker_confidences"].append(np.asarray(frame.track_ids, dtype=np.int64))
        columns["similarity_scores"].append(rules._calculate_similarities(boxes, track_boxes))  # noqa: SLF001
    return rules.get_preprocessed_seq_data({**columns, "num_timesteps": len(frames), "seq": ""}, "pedestrian")


def score(frames: Sequence[LabelledFrame], least_height: float = 0.0) -> SequenceScore:
    """TrackEval's results for one sequence and class; arguments as in :func:`counted_data`."""
    data = counted_data(frames, least_height)
    return {name: metric.eval_sequence(data) for name, metric in _metrics().items()}


def summary(scores: Sequence[SequenceScore]) -> Dict[str, float]:
    """Several sequences or classes taken together as one, every detection with the same weight.

    Returns:
        ``hota``, ``deta``, ``assa``, ``loca``, ``mota`` and ``idf1`` in percent; ``id_switches``, ``false_positives``,
        ``misses`` and ``objects`` (labelled boxes that count) as numbers.
    """
    combined = {
        name: metric.combine_sequences({str(index): one[name] for index, one in enumerate(scores)})
        for name, metric in _metrics().items()
    }
    hota, clear, identity = combined["HOTA"], combined["CLEAR"], combined["Identity"]
    return {
        "hota": 100.0 * float(np.mean(hota["HOTA"])),
        "deta": 100.0 * float(np.mean(hota["DetA"])),
        "assa": 100.0 * float(np.mean(hota["AssA"])),
        "loca": 100.0 * float(np.mean(hota["LocA"])),
        "mota": 100.0 * float(clear["MOTA"]),
        "idf1": 100.0 * float(identity["IDF1"]),
        "id_switches": int(clear["IDSW"]),
        "false_positives": int(clear["CLR_FP"]),
        "misses": int(clear["CLR_FN"]),
        "objects": int(clear["CLR_TP"] + clear["CLR_FN"]),
    }


def evaluate_tracks(frames: Sequence[Tuple[GroundTruth, Tracks]]) -> Dict[str, Dict[str, float]]:
    """Judge the tracks of one drive.

    Objects with ``ignore`` need not be found, and a track that matches one, of whatever class, is left out; so is a
    track that matches nothing and lies in one by more than half.

    Args:
        frames: labels and tracks of each image in turn.

    Returns:
        :func:`summary` of every class that was labelled or tracked, and of all together as ``combined``.

    Raises:
        ValueError: labels and tracks of different stamps are paired.
    """
    for truth, tracks in frames:
        if truth.stamp_ns != tracks.stamp_ns:
            raise ValueError(f"labels of {truth.stamp_ns} are paired with tracks of {tracks.stamp_ns}")
    scores = {}
    for class_id, name in enumerate(OBJECT_CLASSES):
        selected = [_select(truth, tracks, class_id) for truth, tracks in frames]
        if any(frame.counted.any() or len(frame.track_ids) for frame in selected):
            scores[name] = score(selected)
    result = {name: summary([one]) for name, one in scores.items()}
    if scores:
        result["combined"] = summary(list(scores.values()))
    return result


def _select(truth: GroundTruth, tracks: Tracks, class_id: int) -> LabelledFrame:
    """One class of a labelled image."""
    ignored = truth.ignore.astype(bool)
    labelled = ignored | (truth.class_ids == class_id)
    tracked = tracks.class_ids == class_id
    return LabelledFrame(
        ids=truth.ids[labelled],
        boxes=truth.boxes[labelled],
        counted=~ignored[labelled],
        ignored_regions=truth.boxes[ignored],
        track_ids=tracks.ids[tracked],
        track_boxes=tracks.boxes[tracked],
    )


def _metrics() -> Dict[str, Any]:
    from trackeval.metrics import CLEAR, HOTA, Identity

    quiet = {"PRINT_CONFIG": False}
    return {"HOTA": HOTA(), "CLEAR": CLEAR(dict(quiet)), "Identity": Identity(dict(quiet))}
