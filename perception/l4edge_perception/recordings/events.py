"""What a recording gives: typed events in the order in which they were recorded."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable, Iterator, Optional, Tuple, Union

import numpy as np

from l4edge_perception.recordings.images import FrameError, Image
from l4edge_perception.types import CameraModel, EgoState, GroundTruth, Route

FIRST_STAMP_NS = 1_000_000_000
"""Stamp of the first frame of a recording without a clock; 0 means "no stamp" in ROS."""


@dataclass(frozen=True)
class FrameEvent:
    """A camera image.

    Attributes:
        stamp_ns: of the exposure; later than that of the frame before.
        sequence: number among all images of the recording, from 0; rejected ones count.
        image: undecoded, so that a frame nobody looks at costs little.
    """

    stamp_ns: int
    sequence: int
    image: Image

    def decode(self) -> np.ndarray:
        """The pixels, see :meth:`Image.decode`."""
        return self.image.decode()

    def checked(self) -> Union["FrameEvent", "RejectedEvent"]:
        """This frame, or where it cannot be decoded, what it counts as."""
        try:
            self.decode()
        except FrameError as error:
            return RejectedEvent(self.stamp_ns, "image", self.sequence, True, str(error))
        return self


@dataclass(frozen=True)
class CameraEvent:
    """The camera of the frames that follow."""

    stamp_ns: int
    camera: CameraModel


@dataclass(frozen=True)
class EgoEvent:
    """The vehicle's own motion."""

    stamp_ns: int
    ego: EgoState


@dataclass(frozen=True)
class RouteEvent:
    """The lane to follow from now on."""

    stamp_ns: int
    route: Route


@dataclass(frozen=True)
class GroundTruthEvent:
    """What was really there at the frame with the same stamp."""

    stamp_ns: int
    truth: GroundTruth


@dataclass(frozen=True)
class PointsEvent:
    """A LiDAR sweep.

    Attributes:
        stamp_ns: of the sweep.
        lidar_from_base: (4, 4) float64, takes a homogeneous point from ``base_link`` to the frame of the points.
        points: (N, 4) float32, x y z reflectance, metres.
    """

    stamp_ns: int
    lidar_from_base: np.ndarray
    points: np.ndarray


@dataclass(frozen=True)
class RejectedEvent:
    """Something recorded that cannot be used; a frame of this kind counts as dropped.

    Attributes:
        stamp_ns: when it was recorded.
        topic: that it was recorded on, or its file.
        sequence: number among all messages of the topic, from 0.
        is_frame: whether it was to be a camera image.
        reason: one line.
    """

    stamp_ns: int
    topic: str
    sequence: int
    is_frame: bool
    reason: str


Event = Union[FrameEvent, CameraEvent, EgoEvent, RouteEvent, GroundTruthEvent, PointsEvent, RejectedEvent]


@dataclass(frozen=True)
class Topic:
    """One line of a recording's table of contents."""

    name: str
    message_type: str
    count: int


@dataclass(frozen=True)
class Recording:
    """A drive on disk.

    Attributes:
        path: of the bag, video or folder.
        kind: ``rosbag2``, ``video``, ``images``, ``KITTI objects``, ``KITTI drive``.
        width, height: of the images in pixels; 0 where there are none.
        frame_count: images that the recording claims to hold.
        rate_hz: of the images; 0 where there are fewer than two.
        duration_s: from the first to the last message.
        topics: all topics of a bag; empty for other kinds.
        camera: of the first frame, None where unknown.
        assumptions: one line for each thing that the recording does not say and that was taken for granted.
    """

    path: Path
    kind: str
    width: int
    height: int
    frame_count: int
    rate_hz: float
    duration_s: float
    read: Callable[[], Iterator[Event]] = field(repr=False)
    topics: Tuple[Topic, ...] = ()
    camera: Optional[CameraModel] = None
    assumptions: Tuple[str, ...] = ()

    def events(self) -> Iterator[Event]:
        """Everything recorded, from the start, in the order of recording. May be called again.

        Raises:
            InputError: the recording turns out to be damaged.
        """
        return self.read()
