"""Times and counts what a stage does with each frame; the only writer of stage records."""

import time
from typing import Any, Callable, Optional

from l4edge_pipeline.timing.records import Outcome, StageRecord

Clock = Callable[[], int]


class Pass:
    """One frame on its way through a stage. Made by :meth:`StageMeter.begin`; ends in publish or drop."""

    def __init__(
        self, meter: "StageMeter", stamp_ns: int, frame_id: str, sequence: int, received_ns: int, waiting: int
    ):
        self._meter = meter
        self._frame = (stamp_ns, frame_id, sequence)
        self._waiting = waiting
        self._started_ns = meter.steady_clock()
        # The middleware notes arrivals on the wall clock, which may be set back in between.
        self._received_ns = min(received_ns, self._started_ns)
        self._finished_ns = 0

    def finish(self) -> None:
        """The stage's own work is done; what follows is handing over the result."""
        self._finished_ns = self._meter.steady_clock()

    def publish(self, output_sequence: int, level: str = "") -> None:
        """The result has been handed to the middleware."""
        self._emit(Outcome.PROCESSED, output_sequence=output_sequence, level=level,
                   published_ns=self._meter.steady_clock(), published_ros_ns=self._meter.ros_clock())

    def drop(self, reason: str) -> None:
        """The frame is given up."""
        self._emit(Outcome.DROPPED, detail=reason)

    def _emit(self, outcome: Outcome, output_sequence: int = 0, **values: Any) -> None:
        stamp_ns, frame_id, sequence = self._frame
        self._meter.emit(StageRecord(
            stage=self._meter.stage, node=self._meter.node, stamp_ns=stamp_ns, frame_id=frame_id,
            input_sequence=sequence, output_sequence=output_sequence, outcome=outcome,
            received_ns=self._received_ns, started_ns=self._started_ns, finished_ns=self._finished_ns,
            queue_depth=self._waiting, **values))


class StageMeter:
    """The clockwork of one stage.

    Publishers count their messages from 0 and queues hold one message, so a gap in the count is exactly the messages
    that a newer one superseded before the stage got to them. Each gets a record of its own: nothing is lost silently.

    Args:
        stage: name as in stages.yaml.
        node: fully qualified ROS name.
        emit: takes each finished record.
        first_sequence: of the first message to expect; None: whichever comes first, for a stage that may start later
            than its predecessor.
        steady_clock: nanoseconds, the same for all processes of the machine.
        ros_clock: nanoseconds of ROS time.
    """

    def __init__(
        self, stage: str, node: str, emit: Callable[[StageRecord], None], first_sequence: Optional[int] = None,
        steady_clock: Clock = time.monotonic_ns, ros_clock: Clock = time.time_ns,
    ):
        self.stage = stage
        self.node = node
        self.emit = emit
        self.steady_clock = steady_clock
        self.ros_clock = ros_clock
        self._next_sequence = first_sequence
        self._newest_stamp_ns = 0

    def begin(self, stamp_ns: int, frame_id: str, sequence: int, received_ns: int, waiting: int = 0) -> Optional[Pass]:
        """A frame arrived and its work starts now. None if the frame is already recorded as dropped.

        Frames that were superseded on the way, and a frame whose stamp is missing or runs back, are recorded here.
        """
        # A publisher that was restarted counts from 0 again: that is no gap.
        if self._next_sequence is not None:
            for missing in range(self._next_sequence, sequence):
                self.supersede(missing, frame_id)
        self._next_sequence = sequence + 1
        frame = Pass(self, stamp_ns, frame_id, sequence, received_ns, waiting)
        if stamp_ns <= 0:
            frame.drop("stamp is missing")
            return None
        if stamp_ns <= self._newest_stamp_ns:
            frame.drop("stamp runs back")
            return None
        self._newest_stamp_ns = stamp_ns
        return frame

    def supersede(self, sequence: int, frame_id: str = "", stamp_ns: int = 0) -> None:
        """A newer frame took the place of this one before its work could start."""
        self._next_sequence = sequence + 1
        self.emit(StageRecord(stage=self.stage, node=self.node, stamp_ns=stamp_ns, frame_id=frame_id,
                              input_sequence=sequence, output_sequence=0, outcome=Outcome.SUPERSEDED))

    def reject(self, sequence: int, frame_id: str, stamp_ns: int, received_ns: int, reason: str) -> None:
        """The frame arrived in a state that no work can be started on."""
        self._next_sequence = sequence + 1
        Pass(self, stamp_ns, frame_id, sequence, received_ns, 0).drop(reason)
