"""Camera frames, odometry, route and ground truth from a recording: the sensing stage of a replay."""

import json
import time
from typing import Any, Callable, List, Optional

from l4edge_msgs.msg import SafetyStatus, StageRecord
from rclpy.duration import Duration

from l4edge_perception.errors import InputError
from l4edge_perception.recordings.events import (
    CameraEvent,
    EgoEvent,
    FrameEvent,
    GroundTruthEvent,
    RejectedEvent,
    RouteEvent,
)
from l4edge_perception.recordings.messages import stamp_of, to_message
from l4edge_perception.recordings.reader import open_recording
from l4edge_perception.recordings.topics import CAMERA_FRAME
from l4edge_pipeline.nodes.frame_source import FrameSourceNode
from l4edge_pipeline.nodes.parameters import declare
from l4edge_pipeline.nodes.polling import PolledSubscription
from l4edge_pipeline.nodes.quality import LOG
from l4edge_pipeline.nodes.runtime import run_node
from l4edge_pipeline.nodes.wire import decode
from l4edge_pipeline.replay.options import parse_remapping
from l4edge_pipeline.replay.player import Player, newest_frame_wins
from l4edge_pipeline.timing.records import Outcome

SETTLE_S = 2.0
"""At the end of a real-time replay: how long the last frame may stay on its way."""
LOCKSTEP_TIMEOUT_S = 30.0
LOOK_S = 0.001
"""While waiting: between two looks at the stage records."""
EXECUTOR_DELAY_S = 0.005
"""An executor may come back so much later than asked for; the rest of a pause is slept, so that frames are on time."""


class ReplayingNode(FrameSourceNode):
    """Plays a recording in real time, or in lockstep: each frame when the stages are done with the one before."""

    roles = (*FrameSourceNode.roles, "odometry", "route", "ground_truth")

    def __init__(self) -> None:
        super().__init__()
        source = declare(self, "recording", "")
        if not source:
            raise InputError("sensing: parameter recording: missing; name the recording to replay")
        remap = parse_remapping(declare(self, "remap", "").split())
        recording = open_recording(source, declare(self, "image_topic", "") or None, remap)
        self.lockstep = declare(self, "lockstep", False)
        self.progress = declare(self, "progress", False)
        self.player = Player(recording.events(), declare(self, "speed", 1.0))
        self.last_stage = self._last_stage()
        self.waiting_for: Optional[int] = None
        self.waiting_since = 0.0
        self.offered = 0
        self.all_records = PolledSubscription(self, StageRecord, self.records_topic, LOG)
        self.statuses = self._statuses() if self.lockstep else None
        self.wait_for_readers({**self.outputs, "records": self.records})

    def _last_stage(self) -> str:
        chains = [chain.stages for chain in self.table.chains.values() if "sensing" in chain.stages]
        return chains[0][-1] if chains else "sensing"

    def _statuses(self) -> Optional[PolledSubscription]:
        """What the supervisor says: in lockstep a frame has gone all its way when it is heard."""
        topics = [service.outputs["status"] for service in self.table.services.values() if "status" in service.outputs]
        return PolledSubscription(self, SafetyStatus, topics[0], LOG) if topics else None

    def step(self, spin: Callable[[float], None]) -> bool:
        """Release what is due; False when the recording has been played and the stages are done with it."""
        if self.waiting_for is not None and (self.lockstep or self.player.finished):
            return self._wait()
        if self.player.finished:
            return False
        if self.lockstep:
            due = self.player.until_frame()
        else:
            pause = self.player.seconds_to_next()
            if pause > EXECUTOR_DELAY_S:
                self.player.read_ahead()
                spin(pause - EXECUTOR_DELAY_S)
                return True
            time.sleep(max(0.0, pause))
            due, superseded = newest_frame_wins(self.player.due())
            for _, frame in superseded:
                self.meter.supersede(frame.sequence, stamp_ns=frame.stamp_ns)
                self.offered += 1
            # Only the recorder waits for the ground truth; the frame it belongs to goes first.
            due.sort(key=lambda item: isinstance(item[1], GroundTruthEvent))
        for received_ns, event in due:
            self._release(event, received_ns)
        return True

    def _wait(self) -> bool:
        for serialized in self.all_records.take():
            self._on_record(serialized)
        for serialized in self.statuses.take() if self.statuses else ():
            self._on_status(serialized)
        time.sleep(LOOK_S)
        waited = time.monotonic() - self.waiting_since
        if self.lockstep and waited > LOCKSTEP_TIMEOUT_S:
            raise InputError(
                f"stage {self.last_stage} gave no answer to the frame of stamp {self.waiting_for} "
                f"within {LOCKSTEP_TIMEOUT_S:.0f} s"
            )
        return self.lockstep or waited < SETTLE_S

    def _release(self, event: Any, received_ns: int) -> None:
        if isinstance(event, FrameEvent):
            self._release_frame(event, received_ns)
        elif isinstance(event, CameraEvent):
            self.say_camera(event.camera, event.stamp_ns)
        elif isinstance(event, RejectedEvent):
            self._reject(event, received_ns)
        elif isinstance(event, EgoEvent):
            self.say("odometry", to_message(event.ego))
        elif isinstance(event, RouteEvent):
            self.say("route", to_message(event.route, stamp_ns=event.stamp_ns))
        elif isinstance(event, GroundTruthEvent):
            self.say("ground_truth", to_message(event.truth))

    def say(self, role: str, message: Any) -> None:
        """Publish; in lockstep go on only when it has arrived everywhere.

        A frame must find what was recorded before it, or the result would depend on who is faster. Publishers hold
        one message: for those, unlike for longer queues, Fast DDS asks for the acknowledgement at once.
        """
        super().say(role, message)
        if self.lockstep and role != self.stage.result:
            self.outputs[role].wait_for_all_acked(Duration(seconds=LOCKSTEP_TIMEOUT_S))

    def _release_frame(self, event: FrameEvent, received_ns: int) -> None:
        self.offered += 1
        if self.take_frame(event.image.open, event.stamp_ns, event.sequence, received_ns):
            self.waiting_for, self.waiting_since = event.stamp_ns, time.monotonic()
        self._say_progress()

    def _reject(self, event: RejectedEvent, received_ns: int) -> None:
        if event.is_frame:
            self.offered += 1
            self.meter.reject(event.sequence, CAMERA_FRAME, event.stamp_ns, received_ns, event.reason)
        else:
            self.get_logger().warning(f"{event.topic}: {event.reason}")

    def _on_record(self, serialized: bytes) -> None:
        record = decode(serialized, StageRecord)
        done = record.stage == self.last_stage or record.outcome == Outcome.DROPPED
        if done and stamp_of(record.header) == self.waiting_for and self.statuses is None:
            self.waiting_for = None

    def _on_status(self, serialized: bytes) -> None:
        if stamp_of(decode(serialized, SafetyStatus).header) == self.waiting_for:
            self.waiting_for = None

    def close(self, _: Callable[[float], None]) -> None:
        """Leave only when everything that was said has been heard."""
        for publisher in self.outputs.values():
            publisher.wait_for_all_acked(Duration(seconds=SETTLE_S))

    def _say_progress(self) -> None:
        if self.progress:
            print(json.dumps({"offered": self.offered}), flush=True)


def main(arguments: Optional[List[str]] = None) -> None:
    """Entry point of the executable ``replaying``."""
    run_node(ReplayingNode, arguments)


if __name__ == "__main__":
    main()
