"""Holds the results of a run against ground truth, frame by frame, joined by sensor stamp."""

from typing import Any, Dict, List, Mapping, Sequence, Tuple

import numpy as np

from l4edge_perception.types import Detections, GroundTruth, Tracks
from l4edge_pipeline.report.outputs import Outputs

DETECTION_KEYS = ("ap50", "ap")
TRACKING_KEYS = ("hota", "mota", "idf1", "id_switches")
DRIVING_KEYS = (
    "frames",
    "judged_frames",
    "collisions",
    "collisions_from_behind",
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
        the reason.
    """
    frames = [truths[stamp] for stamp in stamps_ns if stamp in truths]
    sections: Dict[str, Any] = {}
    absent: Dict[str, str] = {}
    if not frames:
        absent.update(detection=NO_TRUTH, tracking=NO_TRUTH)
    else:
        sections["detection"] = _judge_detection(outputs.detections, frames)
        sections["tracking"] = _judge_tracking(outputs.tracks, frames)
    if not outputs.trajectories:
        absent["driving"] = "the run gave no trajectories"
    elif not outputs.ego:
        absent["driving"] = "the recording holds no odometry"
    else:
        sections["driving"] = _judge_driving(outputs, frames)
    return sections, absent


def _judge_detection(results: Mapping[int, Detections], frames: Sequence[GroundTruth]) -> Dict[str, Any]:
    from l4edge_perception.metrics.detection import average_precision

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


def _judge_tracking(results: Mapping[int, Tracks], frames: Sequence[GroundTruth]) -> Dict[str, Any]:
    from l4edge_perception.metrics.tracking import evaluate_tracks

    found = [results.get(frame.stamp_ns) or no_tracks(frame.stamp_ns) for frame in frames]
    return {**evaluate_tracks(found, frames), **_extent(results, frames)}


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
