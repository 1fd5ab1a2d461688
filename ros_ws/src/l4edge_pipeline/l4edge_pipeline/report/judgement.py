"""Holds the results of a run against ground truth, frame by frame, joined by sensor stamp."""

import contextlib
import io
from typing import Any, Dict, List, Mapping, Sequence, Tuple

import numpy as np

from l4edge_perception.errors import InputError
from l4edge_perception.types import Detections, GroundTruth, Tracks
from l4edge_pipeline.report.outputs import Outputs
from l4edge_pipeline.report.safety import judge_safety

DETECTION_KEYS = ("ap50", "ap")
TRACKING_SHARES = ("hota", "deta", "assa", "loca", "mota", "idf1")
TRACKING_KEYS = (*TRACKING_SHARES, "id_switches", "false_positives", "misses")
DRIVING_KEYS = (
    "frames",
    "judged_frames",
    "collisions",
    "collisions_by_contact.front",
    "collisions_by_contact.side",
    "collisions_by_contact.rear",
    "min_ttc_s",
    "ttc_violation_share",
    "lateral_offset.recorded_mean_m",
    "lateral_offset.recorded_max_m",
    "lateral_offset.planned_mean_m",
    "lateral_offset.planned_max_m",
    "comfort.planned.max_acceleration_mps2",
    "comfort.planned.max_deceleration_mps2",
    "comfort.planned.max_jerk_mps3",
    "comfort.planned.max_lateral_acceleration_mps2",
    "comfort.commanded.max_acceleration_mps2",
    "comfort.commanded.max_deceleration_mps2",
    "comfort.commanded.max_jerk_mps3",
    "comfort.commanded.max_steering_rate_radps",
    "comfort.commanded.emergencies",
)
"""The single numbers of each section, with keys joined by dots."""

NO_TRUTH = "the recording holds no ground truth"

Judgement = Tuple[Dict[str, Any], Dict[str, str]]


def judge(outputs: Outputs, truths: Mapping[int, GroundTruth], stamps_ns: Sequence[int]) -> Judgement:
    """Judge detection, tracking and driving where there is something to judge them by.

    Args:
        outputs: of the run.
        truths: of the recording, by stamp.
        stamps_ns: of the frames that were offered to the pipeline. Those with ground truth are judged; one without a
            result counts as one in which nothing was found.

    Returns:
        The sections ``detection``, ``tracking`` and ``driving`` as far as they exist, and for each that is absent
        the reason; and ``safety`` of a run with the safety monitor.
    """
    frames = [truths[stamp] for stamp in stamps_ns if stamp in truths]
    sections: Dict[str, Any] = {}
    absent: Dict[str, str] = {}
    for name, judge_one in (("detection", _judge_detection), ("tracking", _judge_tracking)):
        if not frames:
            absent[name] = NO_TRUTH
            continue
        try:
            sections[name] = judge_one(outputs, frames)
        except ImportError as error:
            absent[name] = f"{error.name} is not installed; `pip install 'l4edge[report]'`"
        except InputError as error:
            absent[name] = str(error)
    if not outputs.trajectories:
        absent["driving"] = "the run gave no trajectories"
    elif not outputs.ego:
        absent["driving"] = "the recording holds no odometry"
    else:
        sections["driving"] = _judge_driving(outputs, frames)
    if outputs.verdicts or outputs.statuses:
        sections["safety"] = judge_safety(outputs.statuses, outputs.verdicts, stamps_ns)
    return sections, absent


def _judge_detection(outputs: Outputs, frames: Sequence[GroundTruth]) -> Dict[str, Any]:
    from l4edge_perception.metrics.detection import average_precision

    results = outputs.detections
    found = [results.get(frame.stamp_ns) or Detections.empty(frame.stamp_ns) for frame in frames]
    scores = average_precision(found, frames)
    return {
        "ap50": scores.ap50,
        "ap": scores.ap,
        "per_class": {
            name: {"ap50": scores.ap50_by_class[name], "ap": scores.ap_by_class[name]} for name in scores.ap_by_class
        },
        **_extent(results, frames),
    }


def _judge_tracking(outputs: Outputs, frames: Sequence[GroundTruth]) -> Dict[str, Any]:
    from l4edge_perception.metrics.tracking import evaluate_tracks

    results = outputs.tracks
    pairs = [(frame, results.get(frame.stamp_ns) or no_tracks(frame.stamp_ns)) for frame in frames]
    # TrackEval prints what else it would like to have; stdout may be read by a program.
    with contextlib.redirect_stdout(io.StringIO()):
        scores = evaluate_tracks(pairs)
    by_class = {name: _as_shares(numbers) for name, numbers in scores.items()}
    whole = by_class.pop("combined", dict.fromkeys(TRACKING_KEYS))
    return {**whole, "per_class": by_class, **_extent(results, frames)}


def _as_shares(numbers: Mapping[str, float]) -> Dict[str, float]:
    """All shares of a summary lie in 0..1; TrackEval's summary has percent."""
    return {key: value / 100 if key in TRACKING_SHARES else value for key, value in numbers.items()}


def _judge_driving(outputs: Outputs, frames: Sequence[GroundTruth]) -> Dict[str, Any]:
    from l4edge_pipeline.report.driving import judge_driving

    return judge_driving(
        trajectories=_in_order(outputs.trajectories),
        ground_truths=frames,
        egos=outputs.ego,
        commands=_in_order(outputs.commands),
        route=outputs.route,
    )


def _in_order(results: Mapping[int, Any]) -> List[Any]:
    return [results[stamp] for stamp in sorted(results)]


def _extent(results: Mapping[int, Any], frames: Sequence[GroundTruth]) -> Dict[str, int]:
    """Over what was judged."""
    return {
        "frames": len(frames),
        "objects": int(sum(np.count_nonzero(~frame.ignore) for frame in frames)),
        "frames_without_result": sum(frame.stamp_ns not in results for frame in frames),
    }


def no_tracks(stamp_ns: int) -> Tracks:
    """Nothing followed."""
    none = np.zeros(0, np.float32)
    return Tracks(
        stamp_ns, np.zeros(0, np.int64), np.zeros((0, 4), np.float32), none, np.zeros(0, np.int32), none, none,
        np.zeros((0, 2)), np.zeros((0, 2)), np.zeros((0, 3), np.float32),
    )  # fmt: skip
