"""Reads what a run left in its folder.

What is missing or broken becomes a warning, so that a run in which something died still gives a report of the rest.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Dict, List, Mapping, Optional, Tuple

from l4edge_perception.errors import InputError
from l4edge_perception.recordings.messages import from_message, stamp_of
from l4edge_perception.recordings.storage import Storage
from l4edge_perception.recordings.typestore import load_typestore
from l4edge_perception.safety_types import SafetyStatus, SafetyVerdict
from l4edge_perception.types import ControlCommand, Detections, EgoState, GroundTruth, Route, Tracks, Trajectory
from l4edge_pipeline.stages import StageTable
from l4edge_pipeline.timing.records import Outcome, StageRecord

RESULTS, TIMING = "bag", "timing"
"""The two bags of a run folder."""


@dataclass(frozen=True)
class Outputs:
    """What a run left behind; results by their sensor stamp.

    Attributes:
        records: in the order they were recorded.
        ego: by stamp, rising.
        ground_truth: as the pipeline published it, for pictures; judging reads the recording itself.
        warnings: one line for each thing that could not be read.
        verdicts: of the safety monitor; statuses: of the supervisor, in the order they were said. Empty without them.
    """

    records: Tuple[StageRecord, ...]
    detections: Mapping[int, Detections]
    tracks: Mapping[int, Tracks]
    trajectories: Mapping[int, Trajectory]
    commands: Mapping[int, ControlCommand]
    ground_truth: Mapping[int, GroundTruth]
    ego: Tuple[EgoState, ...]
    route: Optional[Route]
    warnings: Tuple[str, ...]
    verdicts: Mapping[int, SafetyVerdict] = field(default_factory=dict)
    statuses: Tuple[SafetyStatus, ...] = ()


def read_outputs(run_folder: Path, table: StageTable) -> Outputs:
    """Read both bags of a run."""
    writers: List[Any] = [*table.stages.values(), *table.services.values()]
    topics = {role: topic for writer in writers for role, topic in writer.outputs.items()}
    records_topics = {service.inputs["records"] for service in table.services.values() if "records" in service.inputs}
    warnings: List[str] = []
    results = _Reader(run_folder / RESULTS, warnings)
    roles = ("detections", "tracks", "trajectory", "command", "ground_truth", "odometry", "route", "verdict", "status")
    values = results.read({topics[role]: from_message for role in roles if role in topics})
    timing = _Reader(run_folder / TIMING, warnings)
    records = timing.read(dict.fromkeys(records_topics, record_from_message))

    unknown = {record.stage for found in records.values() for record in found} - set(table.stages)
    warnings += [f"records of a stage that the table does not have: {name}" for name in sorted(unknown)]

    def of(role: str) -> List[Any]:
        return values.get(topics.get(role, ""), [])

    def by_stamp(role: str) -> Dict[int, Any]:
        return {value.stamp_ns: value for value in of(role)}

    return Outputs(
        records=tuple(record for topic in sorted(records) for record in records[topic]),
        detections=by_stamp("detections"),
        tracks=by_stamp("tracks"),
        trajectories=by_stamp("trajectory"),
        commands=by_stamp("command"),
        ground_truth=by_stamp("ground_truth"),
        ego=tuple(by_stamp("odometry")[stamp] for stamp in sorted(by_stamp("odometry"))),
        route=of("route")[-1] if of("route") else None,
        warnings=tuple(warnings),
        verdicts=by_stamp("verdict"),
        statuses=tuple(of("status")),
    )


class _Reader:
    """One bag; complains into a list instead of raising."""

    def __init__(self, bag: Path, warnings: List[str]) -> None:
        self._bag = bag
        self._warnings = warnings

    def read(self, converters: Mapping[str, Callable[[Any], Any]]) -> Dict[str, List[Any]]:
        """Topic -> converted messages in the order of recording; messages that cannot be used are left out."""
        values: Dict[str, List[Any]] = {}
        broken: Dict[str, List[str]] = {}
        if not self._bag.is_dir():
            self._warnings.append(f"{self._bag.name}: missing; the recorder did not come to its end")
            return values
        store = load_typestore()
        try:
            with Storage(self._bag) as storage:
                for stored in storage.messages(list(converters)):
                    message = store.deserialize_cdr(stored.data, stored.message_type)
                    try:
                        values.setdefault(stored.topic, []).append(converters[stored.topic](message))
                    except ValueError as error:
                        broken.setdefault(stored.topic, []).append(str(error))
        except InputError as error:
            self._warnings.append(str(error))
        if not values:
            self._warnings.append(f"{self._bag.name}: holds no message of {', '.join(sorted(converters))}")
        for topic, reasons in broken.items():
            self._warnings.append(f"{topic}: {len(reasons)} messages left out: {reasons[0]}")
        return values


def record_from_message(message: Any) -> StageRecord:
    """A ``l4edge_msgs/StageRecord`` as a stage record.

    Raises:
        ValueError: the outcome is unknown.
    """
    return StageRecord(
        stage=message.stage,
        node=message.node,
        stamp_ns=stamp_of(message.header),
        frame_id=message.header.frame_id,
        input_sequence=int(message.input_sequence),
        output_sequence=int(message.output_sequence),
        outcome=Outcome(message.outcome),
        detail=message.detail,
        received_ns=int(message.received_steady_ns),
        started_ns=int(message.started_steady_ns),
        finished_ns=int(message.finished_steady_ns),
        published_ns=int(message.published_steady_ns),
        published_ros_ns=int(message.published_ros.sec) * 1_000_000_000 + int(message.published_ros.nanosec),
        queue_depth=int(message.queue_depth),
        level=message.level,
    )
