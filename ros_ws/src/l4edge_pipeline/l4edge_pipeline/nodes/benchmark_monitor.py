"""Plays camera and detection for a monitor under test, spoils what it is told to, and hears what its consumer believes.

The consumer is the supervisor of the pipeline, in a process of its own as the monitor is: what counts is the verdict
that it holds for true.
"""

import dataclasses
import time
from multiprocessing.connection import Connection
from typing import Any, Dict, List

import numpy as np
import rclpy
from rclpy.node import Node

from l4edge_perception.recordings.cameras import to_camera_info, to_static_transform
from l4edge_perception.recordings.messages import make, make_header, to_message
from l4edge_perception.recordings.topics import CAMERA_FRAME
from l4edge_perception.types import Tracks
from l4edge_pipeline.nodes.interfaces import MESSAGE_TYPES
from l4edge_pipeline.nodes.polling import PolledSubscription
from l4edge_pipeline.nodes.quality import LATCHED, LOG, NEWEST
from l4edge_pipeline.nodes.stage_node import record_to_message
from l4edge_pipeline.nodes.wire import decode, encode, prepare
from l4edge_pipeline.safety.playlist import Playlist
from l4edge_pipeline.stages import load_stages
from l4edge_pipeline.timing.records import Outcome, StageRecord
from l4edge_pipeline.transport.frames import FrameWriter

LOOK_S = 0.002
NOT_A_NUMBER, WRONG_SIZE, NO_DETECTIONS = "not_a_number", "wrong_size", "no_detections"
INPUT_FAULTS = (NOT_A_NUMBER, WRONG_SIZE, NO_DETECTIONS)
"""What the player itself can do to a monitor."""


@dataclasses.dataclass(frozen=True)
class Belief:
    """One status of the supervisor: when it was heard, on the steady clock, and what it holds for true."""

    heard_ns: int
    verdict: int
    reason: str


def play(connection: Connection, playlist: Playlist, stages_file: str) -> None:
    """Run until told ``end``. Understands ``fault NAME`` (empty: none), ``hold`` or ``go on``, and ``beliefs``."""
    rclpy.init()
    player = _Player(playlist, stages_file)
    try:
        while True:
            while connection.poll():
                command, _, argument = connection.recv().partition(" ")
                if command == "end":
                    return
                if command == "fault":
                    player.fault = argument
                    player.fault_since_ns = 0
                elif command == "beliefs":
                    connection.send((player.fault_since_ns, player.beliefs))
                    player.beliefs = []
                else:
                    player.held = command == "hold"
            player.step()
            time.sleep(LOOK_S)
    finally:
        player.node.destroy_node()
        rclpy.try_shutdown()


class _Player:
    def __init__(self, playlist: Playlist, stages_file: str) -> None:
        self.node = Node("benchmark_player")
        prepare(MESSAGE_TYPES.values())
        table = load_stages(stages_file, True)
        safety, service = table.stages["safety"], table.services["supervisor"]
        self._out: Dict[str, Any] = {
            role: self.node.create_publisher(
                MESSAGE_TYPES[role], safety.inputs[role], LATCHED if role.startswith("camera") else NEWEST
            )
            for role in safety.inputs
        }
        self._out["records"] = self.node.create_publisher(MESSAGE_TYPES["records"], service.inputs["records"], LOG)
        self._statuses = PolledSubscription(self.node, MESSAGE_TYPES["status"], service.outputs["status"], LOG)
        self._list = playlist
        self._writer = FrameWriter()
        self._count = 0
        self._place = 0
        self._next_ns = time.monotonic_ns()
        self.held = False
        self.fault = ""
        self.fault_since_ns = 0
        self.beliefs: List[Belief] = []
        if playlist.camera is not None:
            camera, stamp_ns = playlist.camera, time.time_ns()
            self._say("camera", to_camera_info(camera, stamp_ns))
            self._say("camera_pose", to_static_transform(camera.camera_from_base, stamp_ns).transforms[0])

    def _say(self, role: str, message: Any) -> None:
        self._out[role].publish(encode(message))

    def step(self) -> None:
        """Publish a frame when it is time to, and hear what the supervisor says."""
        for serialized, arrived_ns in self._statuses.take_with_arrivals():
            message = decode(serialized, self._statuses.message_type)
            heard_ns = arrived_ns + time.monotonic_ns() - time.time_ns()
            self.beliefs.append(Belief(heard_ns, int(message.verdict), message.verdict_reason))
        now_ns = time.monotonic_ns()
        if now_ns >= self._next_ns:
            self._next_ns = max(self._next_ns + round(1e9 / self._list.rate_hz), now_ns)
            self._publish()

    def _publish(self) -> None:
        if not self.held:
            self._place = (self._place + 1) % len(self._list.frames)
        pixels, seen = self._list.frames[self._place], self._list.seen[self._place]
        stamp_ns = time.time_ns()
        seen = dataclasses.replace(seen, stamp_ns=stamp_ns)
        if self.fault == WRONG_SIZE:
            pixels = np.ascontiguousarray(pixels[::2, ::2])
        elif self.fault == NOT_A_NUMBER:
            seen = dataclasses.replace(seen, boxes=np.full((1, 4), np.nan, np.float32), scores=np.ones(1, np.float32),
                                       class_ids=np.zeros(1, np.int32), meanings=None)
        handle = self._writer.write(pixels, "rgb8")
        header = make_header(stamp_ns, CAMERA_FRAME)
        moment_ns = time.monotonic_ns()
        if self.fault in INPUT_FAULTS and not self.fault_since_ns:
            self.fault_since_ns = moment_ns
        self._say("frame", make("l4edge_msgs/msg/SharedFrame", header=header, sequence=self._count, **vars(handle)))
        record = StageRecord("sensing", "/sensing", stamp_ns, CAMERA_FRAME, self._count, self._count, Outcome.PROCESSED,
                             "", moment_ns, moment_ns, moment_ns, moment_ns, stamp_ns)
        self._say("records", record_to_message(record))
        if self.fault != NO_DETECTIONS:
            self._say("detections", to_message(seen, self._count))
            self._say("tracks", to_message(_no_tracks(stamp_ns), self._count))
        self._count += 1


def _no_tracks(stamp_ns: int) -> Tracks:
    none = np.zeros(0, np.float32)
    return Tracks(stamp_ns, np.zeros(0, np.int64), np.zeros((0, 4), np.float32), none, np.zeros(0, np.int32), none,
                  none, np.zeros((0, 2)), np.zeros((0, 2)), np.zeros((0, 3), np.float32))
