"""What the stages share as ROS nodes: trigger, inputs, result, stage records."""

import time
import traceback
from typing import Any, Callable, Dict, List, Optional, Set

from l4edge_msgs.msg import StageRecord as StageRecordMessage
from rclpy.node import Node
from rclpy.qos import QoSProfile

from l4edge_perception.errors import InputError
from l4edge_perception.recordings.messages import from_message, make, make_header, stamp_of, to_message
from l4edge_pipeline.nodes.interfaces import MESSAGE_TYPES, UNRECORDED_ROLES
from l4edge_pipeline.nodes.parameters import declare
from l4edge_pipeline.nodes.polling import PolledSubscription
from l4edge_pipeline.nodes.quality import LOG, NEWEST
from l4edge_pipeline.nodes.wire import decode, encode, prepare
from l4edge_pipeline.stages import Stage, StageTable, load_stages
from l4edge_pipeline.timing.meter import StageMeter
from l4edge_pipeline.timing.records import StageRecord

NANOSECONDS = 1_000_000_000


class FrameDroppedError(Exception):
    """This frame gives no result; the next one may. The message says why, in words that repeat, for counting."""


class LatestInput:
    """An input that is read as it last was, when a stage needs it.

    It is taken from the middleware at that moment, so what arrived before the trigger is always seen, and no message
    in between costs the stage anything.

    Args:
        convert: from the message (with the fields of ``message_type``) to what :meth:`take` returns.
    """

    def __init__(self, node: Node, message_type: type, topic: str, quality: QoSProfile,
                 convert: Callable[[Any], Any] = from_message):
        self._subscription = PolledSubscription(node, message_type, topic, quality)
        self._convert = convert
        self._value: Optional[Any] = None

    def take(self) -> Optional[Any]:
        """The newest value, or None before the first.

        Raises:
            FrameDroppedError: the newest message holds what cannot be used; a later one may.
        """
        arrived = self._subscription.take()
        if arrived:
            try:
                self._value = self._convert(decode(arrived[-1], self._subscription.message_type))
            except ValueError as error:
                raise FrameDroppedError(f"{self._subscription.topic}: {error}") from error
        return self._value


class PipelineNode(Node):
    """A node of the table of stages."""

    def __init__(self, name: str):
        super().__init__(name)
        prepare(MESSAGE_TYPES.values())
        # Whether the safety monitor and its supervisor are part of this run.
        self.monitored: bool = declare(self, "monitor", False)
        self.table: StageTable = load_stages(declare(self, "stages_file", "") or None, self.monitored)
        # A replay sets these two, so that no first result is lost for want of a reader.
        self.recorded: bool = declare(self, "recorded", False)
        self.readers_timeout_s: float = declare(self, "readers_timeout_s", 0.0)

    def wait_for_readers(self, outputs: Dict[str, Any]) -> None:
        """Wait until those who read these outputs are there, at most ``readers_timeout_s``.

        Args:
            outputs: role -> publisher.
        """
        missing: List[str] = []
        give_up = time.monotonic() + self.readers_timeout_s
        while time.monotonic() < give_up:
            missing = [publisher.topic_name for role, publisher in outputs.items()
                       if publisher.get_subscription_count() < self._readers(role, publisher.topic_name)]
            if not missing:
                return
            time.sleep(0.02)
        if missing:
            self.get_logger().warning("no reader for {} yet; first results may be lost".format(", ".join(missing)))

    def _readers(self, role: str, topic: str) -> int:
        """How many nodes of a replay read ``topic``."""
        entries: List[Any] = [*self.table.stages.values(), *self.table.services.values()]
        names = {entry.name for entry in entries if topic in entry.inputs.values()}
        recorder = self.recorded and role not in UNRECORDED_ROLES
        source = role == "records"  # the node that plays the recording looks out for the end of each frame's way
        return len(names - {"recorder"}) + int(recorder) + int(source)


class MeteredNode(PipelineNode):
    """A pipeline node that writes the stage records of the stage it is."""

    def __init__(self, name: str):
        super().__init__(name)
        stages = [stage for stage in self.table.stages.values() if stage.node == name]
        if not stages:
            raise InputError(f"stages.yaml: stages: no stage has node {name}; the node of that name needs one")
        self.stage: Stage = stages[0]
        self.records_topic = self.table.services["timing_monitor"].inputs["records"]
        self.records = self.create_publisher(StageRecordMessage, self.records_topic, LOG)
        # Who waits for readers publishes nothing before they are there, so its first message is never missed.
        first_sequence = 0 if self.readers_timeout_s > 0 else None
        self.meter = StageMeter(self.stage.name, self.get_fully_qualified_name(), self._publish_record, first_sequence)

    def _publish_record(self, record: StageRecord) -> None:
        self.records.publish(encode(record_to_message(record)))


class StageNode(MeteredNode):
    """A stage that one input triggers.

    Subclasses write :meth:`process`; whatever takes time to prepare is done in their constructor before
    :meth:`start`. A frame whose processing fails is dropped and counted; the reason is logged once per kind, never per
    frame.
    """

    def __init__(self, name: str):
        super().__init__(name)
        role = self.stage.result
        self.result = self.create_publisher(MESSAGE_TYPES[role], self.stage.outputs[role], NEWEST)
        self.level = ""
        self._sequence = 0
        self._logged: Set[str] = set()

    def start(self) -> None:
        """Take frames from now on."""
        self.wait_for_readers({self.stage.result: self.result, "records": self.records})
        self.input_type = MESSAGE_TYPES[self.stage.trigger]
        topic = self.stage.inputs[self.stage.trigger]
        self.create_subscription(self.input_type, topic, self._on_frame, NEWEST, raw=True)

    def read(self, message: Any) -> Any:
        """What :meth:`process` works on: the dataclass that the message stands for.

        Raises:
            ValueError: the message holds what the dataclass cannot stand for.
        """
        return from_message(message)

    def process(self, value: Any) -> Any:
        """The stage's work on one frame, from dataclass to dataclass.

        Raises:
            FrameDroppedError: this frame gives no result.
        """
        raise NotImplementedError

    def _on_frame(self, serialized: bytes, info: Dict[str, int]) -> None:
        # The middleware notes arrivals on the wall clock.
        received_ns = info["received_timestamp"] + time.monotonic_ns() - time.time_ns()
        message = decode(serialized, self.input_type)
        header = message.header
        frame = self.meter.begin(stamp_of(header), header.frame_id, message.sequence, received_ns)
        if frame is None:
            return
        try:
            result = self.process(self.read(message))
        except (FrameDroppedError, ValueError) as reason:
            frame.drop(str(reason))
            self._log_once(str(reason))
        except Exception as fault:  # whatever goes wrong with one frame must not end the stage
            frame.drop(f"fault: {type(fault).__name__}")
            self._log_once(type(fault).__name__, traceback.format_exc())
        else:
            frame.finish()
            self.publish(result)
            frame.publish(self._sequence - 1, self.level)

    def publish(self, result: Any) -> None:
        """Hand a result to the middleware."""
        self.result.publish(encode(to_message(result, self._sequence)))
        self._sequence += 1

    def _log_once(self, reason: str, detail: str = "") -> None:
        if reason not in self._logged and len(self._logged) < 100:
            self._logged.add(reason)
            self.get_logger().error(f"frame dropped: {reason} (said once; all are counted) {detail}")


def record_to_message(record: StageRecord) -> Any:
    """A stage record as a message."""
    seconds, nanoseconds = divmod(record.published_ros_ns, NANOSECONDS)
    return make(
        "l4edge_msgs/msg/StageRecord",
        header=make_header(record.stamp_ns, record.frame_id),
        stage=record.stage,
        node=record.node,
        input_sequence=record.input_sequence,
        output_sequence=record.output_sequence,
        outcome=int(record.outcome),
        detail=record.detail,
        received_steady_ns=record.received_ns,
        started_steady_ns=record.started_ns,
        finished_steady_ns=record.finished_ns,
        published_steady_ns=record.published_ns,
        published_ros=make("builtin_interfaces/msg/Time", sec=seconds, nanosec=nanoseconds),
        queue_depth=record.queue_depth,
        level=record.level,
    )
