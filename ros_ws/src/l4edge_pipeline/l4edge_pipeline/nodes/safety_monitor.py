"""Certifies what the networks said of each frame, beside the driving chain and never in its way."""

import time
from typing import Any, Callable, Dict, List, Optional

from l4edge_perception.recordings.messages import from_message, stamp_of, to_message
from l4edge_perception.safety_types import SafetyVerdict
from l4edge_pipeline.nodes.inputs import CameraInput
from l4edge_pipeline.nodes.interfaces import MESSAGE_TYPES
from l4edge_pipeline.nodes.parameters import configure, declare
from l4edge_pipeline.nodes.polling import PolledSubscription
from l4edge_pipeline.nodes.quality import NEWEST
from l4edge_pipeline.nodes.runtime import run_node
from l4edge_pipeline.nodes.stage_node import FrameDroppedError, MeteredNode
from l4edge_pipeline.nodes.wire import decode, encode
from l4edge_pipeline.safety.assembly import PackageConfig, assemble
from l4edge_pipeline.safety.hiding import FreeSpaceConfig
from l4edge_pipeline.safety.monitor import MonitorConfig
from l4edge_pipeline.safety.scene import Scene
from l4edge_pipeline.safety.scheduling import NICENESS, stand_back
from l4edge_pipeline.transport.frames import FrameHandle, FrameReader, FrameUnavailable

LOOK_S = 0.003
"""Between two looks at what has arrived."""
LOCKSTEP_WAIT_MS = 5000.0
MILLISECOND = 1_000_000


class SafetyMonitorNode(MeteredNode):
    """Waits until the pipeline has seen a frame, then examines it until the time is up, and publishes what it found.

    Nothing wakes this node: it looks at its own pace, so that the stages of the chain have the processors to
    themselves for as long as they work. In lockstep there is no deadline and no clock.
    """

    def __init__(self) -> None:
        super().__init__("safety_monitor")
        inputs = self.stage.inputs
        lockstep = declare(self, "lockstep", False)
        self._wait_ms: float = LOCKSTEP_WAIT_MS if lockstep else declare(self, "wait_ms", 60.0)
        clocks: Dict[str, Any] = {"clock": _stands_still, "ros_clock": _stands_still} if lockstep else {}
        self.examiner, self._files, refused = assemble(
            configure(self, PackageConfig), self.stage.package, configure(self, MonitorConfig),
            configure(self, FreeSpaceConfig), self.stage.deadline_ms, declare(self, "threads", 1), **clocks,
        )
        self._lockstep = lockstep
        self.examiner.check()
        self._finding = ""
        self._say_finding(refused)
        self._frames = self._input("frame")
        self._detections, self._tracks = self._input("detections"), self._input("tracks")
        self._camera = CameraInput(self, inputs["camera"], inputs["camera_pose"])
        self._reader = FrameReader()
        self._sequence = 0
        self._pending: Any = None
        self._received_ns = 0
        self._newest: Dict[str, Any] = {"detections": None, "tracks": None}
        role = self.stage.result
        self.result = self.create_publisher(MESSAGE_TYPES[role], self.stage.outputs[role], NEWEST)
        self.wait_for_readers({role: self.result, "records": self.records})
        # Only now: on a busy machine the start would take too long, and whoever waits for it holds up the others.
        for line in stand_back(declare(self, "niceness", NICENESS)):
            self.get_logger().warning(line)

    def _input(self, role: str) -> PolledSubscription:
        return PolledSubscription(self, MESSAGE_TYPES[role], self.stage.inputs[role], NEWEST)

    def step(self, spin: Callable[[float], None]) -> bool:
        """Look what has arrived; examine the newest frame when it is time to."""
        self._look()
        if self._pending is not None and self._ready():
            self._examine()
        elif self._pending is None and self.examiner.check_due() and not self._lockstep:
            self.examiner.check()
            self._say_finding("")
        time.sleep(LOOK_S)
        spin(0.0)
        return True

    def _look(self) -> None:
        for serialized, arrived_ns in self._frames.take_with_arrivals():
            # The middleware notes arrivals on the wall clock. A frame that still waited here is superseded; the meter
            # sees the gap in the count.
            self._received_ns = arrived_ns + time.monotonic_ns() - time.time_ns()
            self._pending = decode(serialized, self._frames.message_type)

    def _ready(self) -> bool:
        """Whether the pipeline has seen the pending frame, or will not do so in time."""
        for role, source in (("detections", self._detections), ("tracks", self._tracks)):
            arrived = source.take()
            if arrived:
                try:
                    self._newest[role] = from_message(decode(arrived[-1], source.message_type))
                except ValueError:
                    self._newest[role] = None  # what cannot be read is not there
        stamp_ns = stamp_of(self._pending.header)
        if all(value is not None and value.stamp_ns >= stamp_ns for value in self._newest.values()):
            return True
        return time.monotonic_ns() - self._received_ns > self._wait_ms * MILLISECOND

    def _examine(self) -> None:
        message, self._pending = self._pending, None
        stamp_ns = stamp_of(message.header)
        frame = self.meter.begin(stamp_ns, message.header.frame_id, message.sequence, self._received_ns)
        if frame is None:
            return
        if self._files.changed():
            self.examiner.verify_files()
        # In lockstep the clock stands still at 0.
        arrived_ns = 0 if self._lockstep else self._received_ns
        detections = self._newest["detections"]
        if detections is not None and detections.stamp_ns != stamp_ns:
            detections = None
        scene = Scene(stamp_ns, arrived_ns, self._pixels(message), detections, self._newest["tracks"], self._model())
        verdict = self.examiner.examine(scene)
        frame.finish()
        self._publish(verdict)
        frame.publish(self._sequence - 1)
        self._say_finding("")

    def _pixels(self, message: Any) -> Optional[Any]:
        """A copy of the frame: the work on it may last longer than it stays in the ring."""
        try:
            view = self._reader.open(FrameHandle.from_message(message))
        except FrameUnavailable:
            return None
        pixels = view.pixels.copy()
        return pixels if view.is_intact() else None

    def _model(self) -> Optional[Any]:
        try:
            return self._camera.take()
        except FrameDroppedError:
            return None

    def _publish(self, verdict: SafetyVerdict) -> None:
        self.result.publish(encode(to_message(verdict, self._sequence)))
        self._sequence += 1

    def _say_finding(self, refused: str) -> None:
        """Log what is wrong with the monitor itself, once each time it changes."""
        finding = refused or self.examiner.finding
        if finding != self._finding:
            self._finding = finding
            if finding:  # two calls: a logger remembers the severity of each place it is called from
                self.get_logger().error(f"nothing is certified: {finding}")
            else:
                self.get_logger().info("in order again")


def _stands_still() -> int:
    return 0


def main(arguments: Optional[List[str]] = None) -> None:
    """Entry point of the executable ``safety_monitor``."""
    run_node(SafetyMonitorNode, arguments)


if __name__ == "__main__":
    main()
