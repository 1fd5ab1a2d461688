"""Turn any recording into a rosbag2."""

from pathlib import Path
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Tuple, Union

import numpy as np

from l4edge_perception.recordings import topics
from l4edge_perception.recordings.cameras import to_camera_info, to_static_transform
from l4edge_perception.recordings.events import (
    CameraEvent,
    EgoEvent,
    Event,
    FrameEvent,
    GroundTruthEvent,
    PointsEvent,
    Recording,
    RejectedEvent,
    RouteEvent,
)
from l4edge_perception.recordings.images import encode, to_compressed_message
from l4edge_perception.recordings.messages import to_message
from l4edge_perception.recordings.points import to_point_cloud
from l4edge_perception.recordings.writer import BagWriter
from l4edge_perception.types import CameraModel

FILE_STARTS = {b"\x89PNG": "png", b"\xff\xd8\xff": "jpeg"}
"""First bytes of the image files that every ROS tool reads."""


class Written(NamedTuple):
    """What became of a recording.

    Attributes:
        frames: images written.
        rejected: what could not be written, with the reasons.
    """

    frames: int
    rejected: Tuple[RejectedEvent, ...]


def write_recording(
    recording: Recording,
    folder: Union[str, Path],
    *,
    encoding: str = "jpeg",
    quality: int = 90,
    overwrite: bool = False,
    advance: Callable[[], Any] = lambda: None,
) -> Written:
    """Write everything in ``recording`` to a rosbag2 with the topics of :mod:`.topics`.

    Images that are JPEG or PNG files already keep their bytes. Ground truth keeps its stamps; accelerations of the
    vehicle have no place in ``nav_msgs/Odometry`` and are lost.

    Args:
        recording: to read.
        folder: the bag.
        encoding: of other images, ``jpeg`` or ``png``.
        quality: of JPEG, 1..100.
        overwrite: replace an existing folder.
        advance: called after each image.

    Raises:
        InputError: the recording is damaged, or the folder exists.
    """
    frames = 0
    rejected: List[RejectedEvent] = []
    with BagWriter(folder, overwrite) as writer:
        converter = _Converter(encoding, quality)
        for event in recording.events():
            # A damaged image is to be found here, not in the bag.
            usable = event.checked() if isinstance(event, FrameEvent) else event
            if isinstance(usable, RejectedEvent):
                rejected.append(usable)
                continue
            for topic, message in converter.messages(usable):
                writer.write(topic, topics.MESSAGE_TYPES[topic], usable.stamp_ns, message)
            if isinstance(usable, FrameEvent):
                frames += 1
                advance()
    return Written(frames, tuple(rejected))


Messages = List[Tuple[str, Any]]
"""Topics, each with a message."""


class _Converter:
    """Makes the messages of events; keeps what has been said of the camera and the mounting of sensors."""

    def __init__(self, encoding: str, quality: int) -> None:
        self._encoding = encoding
        self._quality = quality
        self._camera: Optional[CameraModel] = None
        self._mounted: Dict[str, np.ndarray] = {}
        self._converters: Dict[type, Callable[[Any], Messages]] = {
            CameraEvent: self._from_camera,
            FrameEvent: self._from_frame,
            EgoEvent: lambda event: [(topics.ODOMETRY, to_message(event.ego))],
            RouteEvent: lambda event: [(topics.ROUTE, to_message(event.route, stamp_ns=event.stamp_ns))],
            GroundTruthEvent: lambda event: [(topics.GROUND_TRUTH, to_message(event.truth))],
            PointsEvent: self._from_points,
        }

    def messages(self, event: Event) -> Messages:
        """The messages of ``event``."""
        return self._converters[type(event)](event)

    def _from_camera(self, event: CameraEvent) -> Messages:
        self._camera = event.camera
        return self._mounting(event.camera.camera_from_base, event.stamp_ns, topics.CAMERA_FRAME)

    def _from_frame(self, event: FrameEvent) -> Messages:
        messages: Messages = []
        if self._camera is not None:
            messages.append((topics.CAMERA_INFO, to_camera_info(self._camera, event.stamp_ns)))
        content, encoding = self._file(event)
        messages.append((topics.COMPRESSED_IMAGE, to_compressed_message(content, encoding, event.stamp_ns)))
        return messages

    def _from_points(self, event: PointsEvent) -> Messages:
        mounting = self._mounting(event.lidar_from_base, event.stamp_ns, topics.LIDAR_FRAME)
        return [*mounting, (topics.POINTS, to_point_cloud(event.points, event.stamp_ns))]

    def _mounting(self, frame_from_base: np.ndarray, stamp_ns: int, frame: str) -> Messages:
        """The static transform, where it is new."""
        if frame in self._mounted and np.array_equal(self._mounted[frame], frame_from_base):
            return []
        self._mounted[frame] = frame_from_base
        return [(topics.STATIC_TRANSFORMS, to_static_transform(frame_from_base, stamp_ns, frame))]

    def _file(self, event: FrameEvent) -> Tuple[bytes, str]:
        """The image as a file, and its kind."""
        if event.image.encoding == "compressed":
            content = event.image.data.tobytes()
            for start, encoding in FILE_STARTS.items():
                if content.startswith(start):
                    return content, encoding
        return encode(event.decode(), self._encoding, self._quality), self._encoding
