"""What the safety monitor and the supervisor say, as ROS messages and back; called through :mod:`.messages`."""

import math
from typing import Any, Callable, Dict, Sequence, Tuple

import numpy as np

from l4edge_perception.recordings.message_parts import (
    NANOSECONDS,
    make,
    make_header,
    message_class,
    stamp_of,
)
from l4edge_perception.recordings.topics import BASE_FRAME, CAMERA_FRAME
from l4edge_perception.safety_types import (
    AlarmCount,
    Box,
    Claim,
    FreeSpace,
    Hazard,
    ObjectVerdict,
    PatchModel,
    SafetyStatus,
    SafetyVerdict,
    State,
    Verdict,
    WindowVerdict,
)

LARGEST_GRID = 1_000_000
"""Cells; more is no grid but a broken message."""


def _box(corners: Sequence[float]) -> Any:
    return message_class("l4edge_msgs/msg/BoundingBox2D")(*(float(value) for value in corners))


def _corners(box: Any) -> Box:
    return float(box.x_min), float(box.y_min), float(box.x_max), float(box.y_max)


def _finite(name: str, *values: float) -> None:
    if not all(math.isfinite(value) for value in values):
        raise ValueError(f"{name} is not a number")


def _share(name: str, value: float) -> float:
    """A verdict whose coverage makes no sense must not be believed."""
    if not 0.0 <= value <= 1.0:
        raise ValueError(f"{name} is no share of 0 to 1")
    return float(value)


def _window(value: WindowVerdict) -> Any:
    return make("l4edge_msgs/msg/WindowVerdict", window=_box(value.window), label=int(value.label),
                confidence=float(value.confidence))


def _to_window(message: Any) -> WindowVerdict:
    return WindowVerdict(_corners(message.window), int(message.label), float(message.confidence))


def _object(value: ObjectVerdict) -> Any:
    return make(
        "l4edge_msgs/msg/ObjectVerdict",
        object_id=0 if value.object_id is None else int(value.object_id),
        tracked=value.object_id is not None,
        hazard=int(value.hazard),
        box=_box(value.box),
        classification=make("l4edge_msgs/msg/ObjectClassification", label=int(value.class_id),
                            probability=float(value.score)),
        verdict=int(value.verdict),
        reason=value.reason,
        covered=float(value.covered),
        passes_done=int(value.passes_done),
        passes_required=int(value.passes_required),
        label=int(value.label),
        confidence=float(value.confidence),
        recovered_label=int(value.recovered_label),
        recovered_certified=bool(value.recovered_certified),
        largest_patch=float(value.largest_patch_px),
        certified_age=float(value.certified_age_s),
        disagreeing=[_window(window) for window in value.disagreeing],
    )


def _to_object(message: Any) -> ObjectVerdict:
    return ObjectVerdict(
        object_id=int(message.object_id) if message.tracked else None,
        hazard=Hazard(message.hazard),
        box=_corners(message.box),
        class_id=int(message.classification.label),
        score=float(message.classification.probability),
        verdict=Verdict(message.verdict),
        reason=message.reason,
        covered=_share("covered", message.covered),
        passes_done=int(message.passes_done),
        passes_required=int(message.passes_required),
        label=int(message.label),
        confidence=float(message.confidence),
        recovered_label=int(message.recovered_label),
        recovered_certified=bool(message.recovered_certified),
        largest_patch_px=float(message.largest_patch),
        certified_age_s=float(message.certified_age),
        disagreeing=tuple(_to_window(window) for window in message.disagreeing),
    )


def _free_space(value: FreeSpace) -> Any:
    rows, columns = value.certified.shape
    return make(
        "l4edge_msgs/msg/FreeSpaceGrid",
        forward=float(value.forward_m),
        forward_step=float(value.forward_step_m),
        left=float(value.left_m),
        left_step=float(value.left_step_m),
        rows=rows,
        columns=columns,
        certified=np.ascontiguousarray(value.certified, np.uint8).reshape(-1),
    )


def _to_free_space(message: Any) -> FreeSpace:
    shape: Tuple[int, int] = (int(message.rows), int(message.columns))
    flags = np.asarray(message.certified, np.uint8)
    if flags.size != shape[0] * shape[1] or flags.size > LARGEST_GRID:
        raise ValueError(f"a grid of {shape[0]} x {shape[1]} cells with {flags.size} flags")
    places = (message.forward, message.forward_step, message.left, message.left_step)
    _finite("the place of the grid", *places)
    forward_m, forward_step_m, left_m, left_step_m = (float(value) for value in places)
    return FreeSpace(forward_m, forward_step_m, left_m, left_step_m, (flags == 1).reshape(shape))


def _from_verdict(value: SafetyVerdict, sequence: int, _: int) -> Any:
    seconds, nanoseconds = divmod(int(value.self_test_ns), NANOSECONDS)
    patch, alarms = value.patch, value.alarm_count
    return make(
        "l4edge_msgs/msg/SafetyVerdict",
        header=make_header(value.stamp_ns, CAMERA_FRAME),
        sequence=sequence,
        verdict=int(value.verdict),
        reason=value.reason,
        claim=int(value.claim),
        covered=float(value.covered),
        passes_done=int(value.passes_done),
        passes_required=int(value.passes_required),
        inference_ms=float(value.inference_ms),
        deadline_ms=float(value.deadline_ms),
        patch_count=int(patch.count),
        patch_height=int(patch.height_px),
        patch_width=int(patch.width_px),
        patch_space=patch.space,
        mask_set=patch.mask_set,
        confidence_threshold=float(patch.confidence_threshold),
        numeric_margin=float(patch.numeric_margin),
        smallest_margin=float(value.smallest_margin),
        model_hash=patch.model_hash,
        configuration_hash=patch.configuration_hash,
        alarms=int(alarms.alarms),
        alarms_needed=int(alarms.needed),
        alarm_frames=int(alarms.frames),
        alarm_confirmed=bool(alarms.confirmed),
        self_test_passed=bool(value.self_test_passed),
        self_test_time=make("builtin_interfaces/msg/Time", sec=seconds, nanosec=nanoseconds),
        objects=[_object(entry) for entry in value.objects],
        free_space=_free_space(value.free_space),
    )


def _to_verdict(message: Any) -> SafetyVerdict:
    _finite("inference_ms or deadline_ms", message.inference_ms, message.deadline_ms)
    return SafetyVerdict(
        stamp_ns=stamp_of(message.header),
        verdict=Verdict(message.verdict),
        reason=message.reason,
        claim=Claim(message.claim),
        covered=_share("covered", message.covered),
        passes_done=int(message.passes_done),
        passes_required=int(message.passes_required),
        inference_ms=float(message.inference_ms),
        deadline_ms=float(message.deadline_ms),
        patch=PatchModel(
            int(message.patch_count), int(message.patch_height), int(message.patch_width), message.patch_space,
            message.mask_set, float(message.confidence_threshold), float(message.numeric_margin),
            message.model_hash, message.configuration_hash,
        ),
        smallest_margin=float(message.smallest_margin),
        alarm_count=AlarmCount(
            int(message.alarms), int(message.alarms_needed), int(message.alarm_frames), bool(message.alarm_confirmed)
        ),
        self_test_passed=bool(message.self_test_passed),
        self_test_ns=int(message.self_test_time.sec) * NANOSECONDS + int(message.self_test_time.nanosec),
        objects=tuple(_to_object(entry) for entry in message.objects),
        free_space=_to_free_space(message.free_space),
    )


def _from_status(value: SafetyStatus, sequence: int, _: int) -> Any:
    return make(
        "l4edge_msgs/msg/SafetyStatus",
        header=make_header(value.stamp_ns, BASE_FRAME),
        sequence=sequence,
        state=int(value.state),
        reasons=list(value.reasons),
        speed_cap=float(value.speed_cap),
        minimum_time_gap=float(value.minimum_time_gap),
        verdict=int(value.verdict),
        verdict_reason=value.verdict_reason,
        suspects=np.array(value.suspects, np.uint64),
    )


def _to_status(message: Any) -> SafetyStatus:
    _finite("minimum_time_gap", message.minimum_time_gap)
    if not message.speed_cap >= 0.0:
        raise ValueError("speed_cap is no speed")
    return SafetyStatus(
        stamp_ns=stamp_of(message.header),
        state=State(message.state),
        reasons=tuple(message.reasons),
        speed_cap=float(message.speed_cap),
        minimum_time_gap=float(message.minimum_time_gap),
        verdict=Verdict(message.verdict),
        verdict_reason=message.verdict_reason,
        suspects=tuple(int(suspect) for suspect in message.suspects),
    )


WRITERS: Dict[type, Callable[[Any, int, int], Any]] = {SafetyVerdict: _from_verdict, SafetyStatus: _from_status}

READERS: Dict[str, Callable[[Any], Any]] = {"SafetyVerdict": _to_verdict, "SafetyStatus": _to_status}
