"""Watches stages, camera, localization and the safety monitor, and says what the vehicle may do about it."""

import time
from typing import Any, Callable, List, Optional, Set

from l4edge_perception.recordings.messages import from_message, stamp_of, to_message
from l4edge_perception.safety_types import SafetyStatus, State
from l4edge_pipeline.nodes.interfaces import MESSAGE_TYPES
from l4edge_pipeline.nodes.parameters import configure, declare
from l4edge_pipeline.nodes.polling import PolledSubscription
from l4edge_pipeline.nodes.quality import LOG, NEWEST
from l4edge_pipeline.nodes.runtime import run_node
from l4edge_pipeline.nodes.stage_node import PipelineNode
from l4edge_pipeline.nodes.wire import decode, encode
from l4edge_pipeline.safety.config import SupervisorConfig
from l4edge_pipeline.safety.supervisor import Supervisor, way_to_command
from l4edge_pipeline.timing.records import Outcome

LOOK_S = 0.005
"""In lockstep: between two looks at what has arrived."""


class SafetySupervisorNode(PipelineNode):
    """Looks at its inputs at its own pace, so that none of them ever wakes it, and publishes a status each time.

    In lockstep nothing happens by the clock: each frame gets one status, when its command and its verdict are there.
    """

    def __init__(self) -> None:
        super().__init__("safety_supervisor")
        self.lockstep: bool = declare(self, "lockstep", False)
        config = configure(self, SupervisorConfig)
        self.supervisor = Supervisor(self.table, config, timed=not self.lockstep)
        service = self.table.services["supervisor"]
        inputs = service.inputs
        self.records = PolledSubscription(self, MESSAGE_TYPES["records"], inputs["records"], LOG)
        self.odometry = PolledSubscription(self, MESSAGE_TYPES["odometry"], inputs["odometry"], NEWEST)
        self.verdicts = PolledSubscription(self, MESSAGE_TYPES["verdict"], inputs["verdict"], LOG)
        self.status = self.create_publisher(MESSAGE_TYPES["status"], service.outputs["status"], NEWEST)
        self._sequence = 0
        self._said = State.NOMINAL
        self._period_s = config.period_s
        self._last_stage = way_to_command(self.table)[-1]
        self._judges = [stage.name for stage in self.table.stages.values() if "verdict" in stage.outputs]
        self._waiting: List[Any] = []
        self._ended: Set[Any] = set()
        if not self.lockstep:
            self.create_timer(self._period_s, self._look)

    def step(self, spin: Callable[[float], None]) -> bool:
        """Serve the timer, or in lockstep look for what the stages have said."""
        if self.lockstep:
            self._look_in_lockstep()
            time.sleep(LOOK_S)
            spin(0.0)
        else:
            spin(self._period_s)
        return True

    def _look(self) -> None:
        now_ns = time.monotonic_ns()
        for serialized in self.records.take():
            self._take_record(decode(serialized, self.records.message_type), now_ns)
        self._take_others(now_ns)
        self._say(self.supervisor.status(now_ns))

    def _take_others(self, now_ns: int) -> None:
        for serialized in self.odometry.take():
            self.supervisor.take_ego(_read(serialized, self.odometry.message_type), now_ns)
        for serialized in self.verdicts.take():
            self.supervisor.take_verdict(_read(serialized, self.verdicts.message_type), now_ns)

    def _take_record(self, record: Any, now_ns: int) -> None:
        latency_ms = (int(record.published_steady_ns) - int(record.received_steady_ns)) * 1e-6
        self.supervisor.take_pass(record.stage, int(record.outcome), stamp_of(record.header), latency_ms, now_ns)

    def _look_in_lockstep(self) -> None:
        for serialized in self.records.take():
            record = decode(serialized, self.records.message_type)
            self._waiting.append(record)
            ended = record.stage == self._last_stage or record.outcome == Outcome.DROPPED
            if ended or record.stage in self._judges:
                self._ended.add((stamp_of(record.header), record.stage in self._judges))
        stamps = {stamp for stamp, _ in self._ended}
        for stamp_ns in sorted(stamps):
            if (stamp_ns, False) in self._ended and (not self._judges or (stamp_ns, True) in self._ended):
                self._ended -= {(stamp_ns, False), (stamp_ns, True)}
                self._answer(stamp_ns)

    def _answer(self, stamp_ns: int) -> None:
        """Say the status after the frame of this stamp, in an order that does not depend on who was faster."""
        due = [record for record in self._waiting if stamp_of(record.header) <= stamp_ns]
        self._waiting = [record for record in self._waiting if stamp_of(record.header) > stamp_ns]
        order = list(self.table.stages)
        for record in sorted(due, key=lambda record: (stamp_of(record.header), order.index(record.stage))):
            self._take_record(record, stamp_ns)
        self._take_others(stamp_ns)
        self._say(self.supervisor.status(stamp_ns))

    def _say(self, status: SafetyStatus) -> None:
        self.status.publish(encode(to_message(status, self._sequence)))
        self._sequence += 1
        if status.state != self._said:
            self.get_logger().warning("{} -> {}: {}".format(
                self._said.name, status.state.name, ", ".join(status.reasons) or "all clear"))
            self._said = status.state


def _read(serialized: bytes, message_type: type) -> Any:
    """The dataclass in a message, or None where it holds what cannot be used."""
    try:
        return from_message(decode(serialized, message_type))
    except Exception:  # whatever is wrong with a message, the supervisor goes on and counts it as broken
        return None


def main(arguments: Optional[List[str]] = None) -> None:
    """Entry point of the executable ``safety_supervisor``."""
    run_node(SafetySupervisorNode, arguments)


if __name__ == "__main__":
    main()
