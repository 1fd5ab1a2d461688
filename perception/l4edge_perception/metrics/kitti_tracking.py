"""The tracker on the KITTI tracking benchmark: calibrated scores in, TrackEval's results and times out."""

import time
from dataclasses import dataclass
from typing import Dict, Mapping, Sequence, Tuple

import numpy as np
from scipy.optimize import linear_sum_assignment, minimize

from l4edge_perception.metrics import kitti
from l4edge_perception.metrics.tracking import SequenceScore, counted_data, score, summary
from l4edge_perception.tracking import Tracker, TrackerConfig

KITTI_CONFIG = TrackerConfig(publish_unseen_s=0.0, lost_buffer_s=1.0, ground_gate_m=3.0, pixel_noise=0.5)
"""The tracker's usual values but for four. Objects that are not seen are not reported: KITTI does not ask for them.
There are no poses of the vehicle, so that places are relative to something that drives and turns, and cannot be trusted
as long and as far. Boxes are projected cuboids, more exact than ones found in pixels."""

WEIGHTS = ("score", "range_m", "width_m", "offset")
"""The weights of a :class:`Calibration`, in the order of its columns."""


@dataclass(frozen=True)
class Calibration:
    """What a detection of PointRCNN means, for one class.

    The log odds that a detection counts as true are ``score`` times its score, plus ``range_m`` times its distance
    (few LiDAR points reach a distant object, so the same score means more there), plus ``width_m`` times its width
    (posts are narrower than people), plus ``offset``. Boxes are projected cuboids; ``box_width`` is how wide the
    labelled box is against them.
    """

    score: float
    range_m: float
    width_m: float
    offset: float
    box_width: float

    def probabilities(self, raw: kitti.RawDetections) -> np.ndarray:
        """(N,) chances that detections count as true."""
        log_odds = _features(raw) @ np.array([getattr(self, name) for name in WEIGHTS])
        return 1.0 / (1.0 + np.exp(-log_odds))

    def boxes(self, raw: kitti.RawDetections) -> np.ndarray:
        """(N, 4) boxes as wide as labelled ones, corners, pixels."""
        inset = 0.5 * (1.0 - self.box_width) * (raw.boxes[:, 2] - raw.boxes[:, 0])
        return raw.boxes + inset[:, None] * np.array([1.0, 0.0, -1.0, 0.0])


FEATURES: Dict[str, Tuple[str, ...]] = {
    "Car": ("score", "range_m", "offset"),
    "Pedestrian": ("score", "range_m", "width_m", "offset"),
    "Cyclist": ("score", "range_m", "offset"),
}
"""The weights of :class:`Calibration` that a class uses; the others are 0."""

CALIBRATIONS = {
    "Car": Calibration(score=1.01, range_m=0.138, width_m=0.0, offset=-8.4, box_width=1.009),
    "Pedestrian": Calibration(score=0.97, range_m=0.008, width_m=18.0, offset=-15.2, box_width=0.696),
    "Cyclist": Calibration(score=1.4, range_m=-0.04, width_m=0.0, offset=-5.04, box_width=1.005),
}
"""What :func:`fit_calibration` finds on the sequences 0001 0006 0008 0010 0012 0013, rounded."""


@dataclass(frozen=True)
class ClassRun:
    """One class tracked through several sequences.

    Attributes:
        scores: TrackEval's results, by name of the sequence.
        seconds: (frames,) what each update took by the wall clock.
        processor_seconds: (frames,) what each took of the processor, which other programs do not lengthen.
    """

    scores: Dict[str, SequenceScore]
    seconds: np.ndarray
    processor_seconds: np.ndarray

    def summary(self) -> Dict[str, float]:
        """All sequences taken together, see :func:`~l4edge_perception.metrics.tracking.summary`."""
        return summary(list(self.scores.values()))


def run_class(
    sequences: Sequence[kitti.Sequence],
    class_name: str,
    calibrations: Mapping[str, Calibration],
    config: TrackerConfig = KITTI_CONFIG,
    with_boxes_3d: bool = True,
) -> ClassRun:
    """Track one class through all sequences, with a fresh tracker for each.

    Args:
        sequences: the drives.
        class_name: KITTI's name of the class.
        calibrations: by name of the sequence.
        config: the tracker's values.
        with_boxes_3d: whether the tracker is given the detections' 3D boxes.
    """
    scores, times = {}, []
    for sequence in sequences:
        raw, calibration = sequence.detections[class_name], calibrations[sequence.name]
        inputs = kitti.stage_inputs(
            raw, calibration.probabilities(raw), calibration.boxes(raw), class_name, sequence.length
        )
        tracker = Tracker(config)
        tracked = []
        for detections, boxes_3d in inputs:
            wall, processor = time.perf_counter(), time.thread_time()
            tracks = tracker.update(detections, boxes_3d=boxes_3d if with_boxes_3d else None)
            times.append((time.perf_counter() - wall, time.thread_time() - processor))
            tracked.append((tracks.ids, tracks.boxes))
        frames = kitti.labelled_frames(sequence, class_name, tracked)
        scores[sequence.name] = score(frames, kitti.LEAST_HEIGHT)
    wall_times, processor_times = np.array(times).T
    return ClassRun(scores, wall_times, processor_times)


def fit_calibration(
    sequences: Sequence[kitti.Sequence],
    class_name: str,
    features: Sequence[str],
    least_height: float = kitti.LEAST_HEIGHT,
) -> Calibration:
    """Logistic regression of whether a detection counts as true, over all that count at all by KITTI's rules.

    Args:
        sequences: drives to learn from.
        class_name: KITTI's name of the class.
        features: the weights that may differ from 0.
        least_height: detections that match nothing count as false from this height on, pixels.
    """
    rows_of, outcomes, widths = [], [], []
    for sequence in sequences:
        raw = sequence.detections[class_name]
        rows, matched, label_widths = _outcomes(sequence, class_name, least_height)
        rows_of.append(_features(raw)[rows])
        outcomes.append(matched)
        boxes = raw.boxes[rows[matched]]
        widths.append(label_widths / (boxes[:, 2] - boxes[:, 0]))
    columns = [WEIGHTS.index(name) for name in features]
    scale = np.array([1.0, 30.0, 1.0, 1.0])[columns]
    table = np.concatenate(rows_of)[:, columns] / scale
    sign = np.where(np.concatenate(outcomes), 1.0, -1.0)

    def loss(weights: np.ndarray) -> Tuple[float, np.ndarray]:
        margins = sign * (table @ weights)
        slope = -sign / (1.0 + np.exp(margins))
        # A slight pull to 0 keeps weights finite where the outcomes are separable.
        return np.logaddexp(0.0, -margins).sum() + 0.05 * weights @ weights, table.T @ slope + 0.1 * weights

    found = minimize(loss, np.zeros(len(columns)), jac=True).x / scale
    weights = {**dict.fromkeys(WEIGHTS, 0.0), **dict(zip(features, found.tolist()))}
    return Calibration(**weights, box_width=float(np.median(np.concatenate(widths))))


def _features(raw: kitti.RawDetections) -> np.ndarray:
    """(N, 4) what each of ``WEIGHTS`` is multiplied with."""
    return np.stack((raw.scores, raw.ranges, raw.sizes[:, 1], np.ones(len(raw.scores))), axis=1)


def _outcomes(
    sequence: kitti.Sequence, class_name: str, least_height: float
) -> Tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows of the detections that count, whether each is true, and the label's widths of the true ones in turn."""
    raw = sequence.detections[class_name]
    rows = [np.flatnonzero(raw.frames == frame) for frame in range(sequence.length)]
    frames = kitti.labelled_frames(sequence, class_name, [(part, raw.boxes[part]) for part in rows])
    data = counted_data(frames, least_height)
    counted, matched, widths = [], [], []
    for ids, labels, similarity in zip(data["tracker_confidences"], data["gt_dets"], data["similarity_scores"]):
        hits, columns = linear_sum_assignment(np.where(similarity >= 0.5, -similarity, 0.0))
        close = similarity[hits, columns] >= 0.5
        true = np.zeros(len(ids), dtype=bool)
        true[columns[close]] = True
        label_of = np.zeros(len(ids), dtype=np.int64)
        label_of[columns[close]] = hits[close]
        counted.append(ids)
        matched.append(true)
        widths.append((labels[:, 2] - labels[:, 0])[label_of[true]])
    return np.concatenate(counted), np.concatenate(matched), np.concatenate(widths)
