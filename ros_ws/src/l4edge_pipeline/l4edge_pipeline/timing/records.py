"""The stage record: one measured pass of one stage over one frame."""

from dataclasses import dataclass
from enum import IntEnum


class Outcome(IntEnum):
    """How a stage's pass over a frame ended; values as in ``l4edge_msgs/StageRecord``."""

    PROCESSED = 0
    SUPERSEDED = 1
    DROPPED = 2


@dataclass(frozen=True)
class StageRecord:
    """What happened to one frame in one stage.

    Moments are nanoseconds of the machine's steady clock, comparable between processes of one boot; 0 means that the
    moment never came. A superseded frame was never seen by the stage: its stamp is 0 and only ``input_sequence``
    says which message of the stage's predecessor it was.

    Attributes:
        stage: as in stages.yaml.
        node: fully qualified ROS name.
        stamp_ns: stamp of the sensor frame.
        frame_id: of the sensor.
        input_sequence: of the message that was taken in, as counted by its publisher.
        output_sequence: of the message that was published; meaningful for PROCESSED only.
        detail: why a frame was dropped.
        received_ns, started_ns, finished_ns, published_ns: steady clock.
        published_ros_ns: the moment of publishing on the ROS clock.
        queue_depth: messages that waited when this one was started.
        level: of the model package that ran.
    """

    stage: str
    node: str
    stamp_ns: int
    frame_id: str
    input_sequence: int
    output_sequence: int
    outcome: Outcome
    detail: str = ""
    received_ns: int = 0
    started_ns: int = 0
    finished_ns: int = 0
    published_ns: int = 0
    published_ros_ns: int = 0
    queue_depth: int = 0
    level: str = ""

    @property
    def wait_ms(self) -> float:
        """Between the frame's arrival at the stage and the start of its work."""
        return (self.started_ns - self.received_ns) * 1e-6

    @property
    def compute_ms(self) -> float:
        """The stage's own work."""
        return (self.finished_ns - self.started_ns) * 1e-6

    @property
    def latency_ms(self) -> float:
        """Between the frame's arrival at the stage and its result being handed to the middleware."""
        return (self.published_ns - self.received_ns) * 1e-6
