"""A rosbag2 as a recording."""

import dataclasses
import itertools
from pathlib import Path
from typing import Any, Callable, Iterator, List, Mapping, Optional, Tuple

import numpy as np

from l4edge_perception.errors import InputError
from l4edge_perception.recordings.cameras import (
    ASSUMED_CAMERA_HEIGHT,
    frame_from_base,
    from_camera_info,
    level_camera,
)
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
from l4edge_perception.recordings.images import FrameError, from_image_message
from l4edge_perception.recordings.messages import from_message, stamp_of
from l4edge_perception.recordings.points import from_point_cloud
from l4edge_perception.recordings.selection import select_topics
from l4edge_perception.recordings.storage import Stored, read_contents, read_messages
from l4edge_perception.recordings.topics import (
    CAMERA_INFO,
    GROUND_TRUTH,
    IMAGE,
    ODOMETRY,
    POINTS,
    ROUTE,
    STATIC_TRANSFORMS,
)
from l4edge_perception.recordings.typestore import load_typestore
from l4edge_perception.types import CameraModel

LARGEST_LEAP_NS = 10_000_000_000
"""A stamp that gains this much on the clock of recording from one message to the next is broken, not late."""


FRAMES_FOR_RATE = 21


def open_bag(path: Path, image_topic: Optional[str] = None, remap: Optional[Mapping[str, str]] = None) -> Recording:
    """Open a rosbag2 folder or storage file; see :func:`.reader.open_recording`."""
    contents = read_contents(path)
    selected = select_topics(path, contents.topics, image_topic, remap or {})
    counts = {topic.name: topic.count for topic in contents.topics}
    frame_count = counts[selected[IMAGE]] if IMAGE in selected else 0
    width, height = _image_size(path, selected[IMAGE]) if frame_count else (0, 0)
    transforms = [_message(stored) for stored in _of_role(path, selected, STATIC_TRANSFORMS)]
    camera, assumptions = _camera(path, selected, transforms)
    if camera is not None and frame_count and (camera.width, camera.height) != (width, height):
        raise InputError(
            f"{path}: images of {width} x {height} pixels on {selected[IMAGE]}, but a camera of {camera.width} x "
            f"{camera.height} on {selected[CAMERA_INFO]}; name the matching one with --remap {CAMERA_INFO}:=TOPIC"
        )

    def read() -> Iterator[Event]:
        if camera is not None:
            yield CameraEvent(contents.start_ns, camera)
        channels = {
            selected[role]: _Channel(role == IMAGE, convert)
            for role, convert in _readers(transforms)
            if role in selected
        }
        if channels:
            for stored in read_messages(path, list(channels)):
                yield channels[stored.topic].event(stored)

    return Recording(
        path=path,
        kind="rosbag2",
        width=width,
        height=height,
        frame_count=frame_count,
        rate_hz=_rate(path, selected[IMAGE]) if frame_count > 1 else 0.0,
        duration_s=(contents.end_ns - contents.start_ns) * 1e-9,
        read=read,
        topics=contents.topics,
        camera=camera,
        assumptions=assumptions,
    )


Converter = Callable[[Any, int, int], Event]
"""Of (message, stamp, sequence)."""


class _Channel:
    """Makes the events of one topic."""

    def __init__(self, is_frame: bool, convert: Converter) -> None:
        self._is_frame = is_frame
        self._convert = convert
        self._count = 0
        self._stamped = True
        self._previous: Optional[Tuple[int, int]] = None

    def event(self, stored: Stored) -> Event:
        sequence = self._count
        self._count += 1
        try:
            message = _message(stored)
            return self._convert(message, self._stamp(message, stored.log_ns), sequence)
        except (FrameError, ValueError) as error:
            return RejectedEvent(stored.log_ns, stored.topic, sequence, self._is_frame, str(error))

    def _stamp(self, message: Any, log_ns: int) -> int:
        """The message's own stamp. Where the topic begins without one, its times of recording take their place."""
        stamp_ns = stamp_of(message.header)
        if self._previous is None:
            self._stamped = stamp_ns != 0
        if not self._stamped:
            stamp_ns = log_ns
        if self._previous is not None:
            previous_ns, previous_log_ns = self._previous
            if stamp_ns <= previous_ns:
                raise ValueError(f"stamp {stamp_ns} is not later than {previous_ns} before it")
            if stamp_ns - previous_ns - (log_ns - previous_log_ns) > LARGEST_LEAP_NS:
                raise ValueError(f"stamp {stamp_ns} leaps ahead of {previous_ns} before it")
        self._previous = (stamp_ns, log_ns)
        return stamp_ns


def _readers(transforms: List[Any]) -> List[Tuple[str, Converter]]:
    def frame(message: Any, stamp_ns: int, sequence: int) -> Event:
        return FrameEvent(stamp_ns, sequence, from_image_message(message))

    def ego(message: Any, stamp_ns: int, _: int) -> Event:
        return EgoEvent(stamp_ns, dataclasses.replace(from_message(message), stamp_ns=stamp_ns))

    def route(message: Any, stamp_ns: int, _: int) -> Event:
        return RouteEvent(stamp_ns, from_message(message))

    def truth(message: Any, stamp_ns: int, _: int) -> Event:
        return GroundTruthEvent(stamp_ns, dataclasses.replace(from_message(message), stamp_ns=stamp_ns))

    def points(message: Any, stamp_ns: int, _: int) -> Event:
        lidar_from_base = frame_from_base(transforms, message.header.frame_id)
        if lidar_from_base is None:
            raise ValueError(f"no static transform leads from base_link to {message.header.frame_id!r}")
        return PointsEvent(stamp_ns, lidar_from_base, from_point_cloud(message))

    return [(IMAGE, frame), (ODOMETRY, ego), (ROUTE, route), (GROUND_TRUTH, truth), (POINTS, points)]


def _message(stored: Stored) -> Any:
    try:
        return load_typestore().deserialize_cdr(stored.data, stored.message_type)
    # Bytes that are no such message make the library stumble in any way: struct, index, unicode, assertion.
    except Exception as error:
        raise ValueError(f"{len(stored.data)} bytes that are no {stored.message_type}") from error


def _of_role(path: Path, selected: Mapping[str, str], role: str) -> Iterator[Stored]:
    return read_messages(path, [selected[role]]) if role in selected else iter(())


def _image_size(path: Path, topic: str) -> Tuple[int, int]:
    """Width and height of the first image that can be decoded."""
    reason = ""
    for stored in read_messages(path, [topic]):
        try:
            height, width = from_image_message(_message(stored)).decode().shape[:2]
            return width, height
        except (FrameError, ValueError) as error:
            reason = reason or str(error)
    raise InputError(f"{path}: no image on {topic} can be decoded; the first is {reason}")


def _rate(path: Path, topic: str) -> float:
    """Messages a second at the start of ``topic``."""
    stamps = [stored.log_ns for stored in itertools.islice(read_messages(path, [topic]), FRAMES_FOR_RATE)]
    period = float(np.median(np.diff(stamps)))
    return 1e9 / period if period > 0 else 0.0


def _camera(
    path: Path, selected: Mapping[str, str], transforms: List[Any]
) -> Tuple[Optional[CameraModel], Tuple[str, ...]]:
    """The camera of the images, and what had to be assumed of it."""
    for stored in _of_role(path, selected, CAMERA_INFO):
        try:
            info = _message(stored)
            mounting = frame_from_base(transforms, info.header.frame_id)
            camera = from_camera_info(info, level_camera() if mounting is None else mounting)
        except ValueError as error:
            raise InputError(f"{path}: topic {stored.topic}: {error}") from error
        if camera is None:
            return None, (f"no camera model: {stored.topic} is not calibrated",)
        if mounting is None:
            return camera, (
                f"level camera {ASSUMED_CAMERA_HEIGHT} m above base_link: no static transform leads from base_link "
                f"to {info.header.frame_id!r}",
            )
        return camera, ()
    return None, ("no camera model: objects cannot be located",) if IMAGE in selected else ()
