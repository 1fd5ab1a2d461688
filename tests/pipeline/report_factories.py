"""Makes stage records and run results of known numbers."""

from pathlib import Path
from typing import Callable, List, Optional, Sequence

import numpy as np

from l4edge_perception.recordings import topics
from l4edge_perception.recordings.cameras import pinhole, to_camera_info, to_static_transform
from l4edge_perception.recordings.images import encode, to_compressed_message
from l4edge_perception.recordings.messages import make, make_header, to_message
from l4edge_perception.recordings.writer import BagWriter
from l4edge_perception.types import ControlCommand, Detections, EgoState, GroundTruth, Route, Tracks, Trajectory
from l4edge_pipeline.stages import Chain, Stage, StageTable
from l4edge_pipeline.timing.records import Outcome, StageRecord

MS = 1_000_000
PERIOD_NS = 100 * MS
FIRST_STAMP_NS = 1_000_000_000_000


def make_table(*names: str, budget_ms: float = 10, deadline_ms: float = 20, chain_budget_ms: float = 100) -> StageTable:
    """Stages that trigger each other in order, and one chain ``all`` over them."""
    stages = {
        name: Stage(
            name=name, node=name, trigger="input", result="output", inputs={"input": f"/topic{index}"},
            outputs={"output": f"/topic{index + 1}"}, rate_hz=10, budget_ms=budget_ms, deadline_ms=deadline_ms,
        )
        for index, name in enumerate(names)
    }  # fmt: skip
    return StageTable(stages, {"all": Chain("all", names, chain_budget_ms)}, {})


def stamp_of(frame: int) -> int:
    """Sensor stamp of the frame of that index."""
    return FIRST_STAMP_NS + frame * PERIOD_NS


def processed(
    stage: str,
    frame: int,
    received_ms: float,
    wait_ms: float = 1,
    compute_ms: float = 4,
    publish_ms: float = 1,
    **fields: object,
) -> StageRecord:
    """A processed pass; ``received_ms`` counts from an arbitrary moment of the steady clock."""
    received = 5 * PERIOD_NS + round(received_ms * MS)
    started = received + round(wait_ms * MS)
    finished = started + round(compute_ms * MS)
    values = {
        "stage": stage, "node": "/" + stage, "stamp_ns": stamp_of(frame), "frame_id": "camera",
        "input_sequence": frame, "output_sequence": frame, "outcome": Outcome.PROCESSED, "received_ns": received,
        "started_ns": started, "finished_ns": finished, "published_ns": finished + round(publish_ms * MS),
    }  # fmt: skip
    return StageRecord(**{**values, **fields})


def ended(stage: str, sequence: int, outcome: Outcome, detail: str = "", stamp_ns: int = 0) -> StageRecord:
    """A superseded or dropped frame."""
    return StageRecord(stage, "/" + stage, stamp_ns, "camera", sequence, 0, outcome, detail)


def make_run(stages: Sequence[str], frames: int, compute_ms: float = 4, transport_ms: float = 2) -> List[StageRecord]:
    """Every frame through every stage, each pass 1 ms wait, ``compute_ms`` compute, 1 ms publish."""
    step = 1 + compute_ms + 1 + transport_ms
    return [
        processed(stage, frame, frame * 100 + place * step, compute_ms=compute_ms)
        for frame in range(frames)
        for place, stage in enumerate(stages)
    ]


CAR = 0


def object_boxes(frame: int) -> np.ndarray:
    """(2, 4) pixels: one object that moves right, one that stays."""
    return np.array([[20 + 3 * frame, 60, 80 + 3 * frame, 100], [200, 70, 240, 95]], np.float32)


def make_truth(frame: int) -> GroundTruth:
    """Two cars on the road ahead."""
    return GroundTruth(
        stamp_of(frame), np.array([7, 8]), np.array([CAR, CAR], np.int32), object_boxes(frame),
        np.ones(2, np.float32), np.array([[30.0 + frame, 3, 0], [40, -3, 0]]), np.zeros(2), np.zeros((2, 2)),
        np.full((2, 3), (4.5, 1.8, 1.5), np.float32), np.zeros(2, bool), ("", ""),
    )  # fmt: skip


def make_tracks(frame: int, ids: Sequence[int] = (1, 2)) -> Tracks:
    """Tracks that follow the truth exactly."""
    return Tracks(
        stamp_of(frame), np.array(ids, np.int64), object_boxes(frame), np.full(2, 0.9, np.float32),
        np.array([CAR, CAR], np.int32), np.full(2, 0.1 * frame, np.float32), np.zeros(2, np.float32),
        np.array([[30.0 + frame, 3], [40, -3]]), np.zeros((2, 2)), np.full((2, 3), np.nan, np.float32),
    )  # fmt: skip


def make_trajectory(frame: int) -> Trajectory:
    """Straight on at 10 m/s."""
    times = np.linspace(0, 4, 41)
    positions = np.stack([frame + 10 * times, np.zeros(41)], axis=1)
    return Trajectory(stamp_of(frame), times, positions, np.zeros(41), np.full(41, 10.0), np.zeros(41), "cruise")


ROUTE = Route(np.stack([np.arange(0.0, 200, 5), np.zeros(40)], axis=1), np.full(40, 15.0), np.full(40, 3.5))
"""A straight lane."""


def write_recording(
    folder: Path, frames: int, truth: Optional[Callable[[int], GroundTruth]] = make_truth, odometry: bool = True
) -> None:
    """A bag of small pictures, with what a simulated drive has on top."""
    pixels = np.full((180, 320, 3), (90, 120, 90), np.uint8)
    camera = pinhole(320, 180, 1.2)
    with BagWriter(folder) as bag:

        def write(topic: str, stamp_ns: int, message: object) -> None:
            bag.write(topic, topics.MESSAGE_TYPES[topic], stamp_ns, message)

        write(topics.STATIC_TRANSFORMS, stamp_of(0), to_static_transform(camera.camera_from_base, stamp_of(0)))
        write(topics.ROUTE, stamp_of(0), to_message(ROUTE, stamp_ns=stamp_of(0)))
        for frame in range(frames):
            stamp = stamp_of(frame)
            write(topics.CAMERA_INFO, stamp, to_camera_info(camera, stamp))
            if odometry:
                write(topics.ODOMETRY, stamp, to_message(EgoState(stamp, float(frame), 0, 0, 10.0)))
            if truth is not None:
                write(topics.GROUND_TRUTH, stamp, to_message(truth(frame)))
            shifted = np.roll(pixels, frame, axis=1)
            write(topics.COMPRESSED_IMAGE, stamp, to_compressed_message(encode(shifted), "jpeg", stamp))


def write_run(
    folder: Path,
    table: StageTable,
    frames: Sequence[int],
    records: Sequence[StageRecord],
    odometry: bool = True,
    tracks: Callable[[int], Tracks] = make_tracks,
) -> None:
    """What the recorder leaves: the results of ``frames`` and the records."""
    outputs = {role: topic for stage in table.stages.values() for role, topic in stage.outputs.items()}
    with BagWriter(folder / "bag") as bag:
        route = to_message(ROUTE, stamp_ns=stamp_of(0))
        bag.write(outputs["route"], route.__msgtype__, stamp_of(0), route)
        for frame in frames:
            stamp, followed = stamp_of(frame), tracks(frame)
            values = {
                "detections": Detections(stamp, followed.boxes, followed.scores, followed.class_ids),
                "tracks": followed,
                "trajectory": make_trajectory(frame),
                "command": ControlCommand(stamp, 0.01, -0.2, 10.0),
                "ground_truth": make_truth(frame),
            }
            if odometry:
                values["odometry"] = EgoState(stamp, float(frame), 0, 0, 10.0)
            for role, value in values.items():
                message = to_message(value, sequence=frame)
                bag.write(outputs[role], message.__msgtype__, stamp, message)
    with BagWriter(folder / "timing") as bag:
        for record in records:
            message = record_message(record)
            # Older readers take a bag that starts at 0 for an empty one.
            bag.write("/timing/stage_records", message.__msgtype__, max(1, record.stamp_ns), message)


def record_message(record: StageRecord) -> object:
    """A ``l4edge_msgs/StageRecord``."""
    seconds, nanoseconds = divmod(record.published_ros_ns, 10**9)
    return make(
        "l4edge_msgs/msg/StageRecord", header=make_header(record.stamp_ns, record.frame_id), stage=record.stage,
        node=record.node, input_sequence=record.input_sequence, output_sequence=record.output_sequence,
        outcome=int(record.outcome), detail=record.detail, received_steady_ns=record.received_ns,
        started_steady_ns=record.started_ns, finished_steady_ns=record.finished_ns,
        published_steady_ns=record.published_ns,
        published_ros=make("builtin_interfaces/msg/Time", sec=seconds, nanosec=nanoseconds),
        queue_depth=record.queue_depth, level=record.level,
    )  # fmt: skip
