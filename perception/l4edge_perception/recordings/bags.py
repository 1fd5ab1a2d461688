"""A rosbag2 as a recording."""

import contextlib
import dataclasses
import itertools
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Mapping, Optional, Tuple

import numpy as np

from l4edge_perception.errors import InputError
from l4edge_perception.recordings.cameras import (
    ASSUMED_CAMERA_HEIGHT,
    StaticTransforms,
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
from l4edge_perception.recordings.storage import Storage, Stored
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
"""Images at the start of a bag that its rate is taken from."""


def open_bag(path: Path, image_topic: Optional[str] = None, remap: Optional[Mapping[str, str]] = None) -> Recording:
    """Open a rosbag2 folder or storage file; see :func:`.reader.open_recording`."""
    with Storage(path) as storage:
        selected = select_topics(path, storage.topics, image_topic, remap or {})
        frame_count = next((topic.count for topic in storage.topics if topic.name == selected.get(IMAGE)), 0)
        width, height = _image_size(path, storage, selected[IMAGE]) if frame_count else (0, 0)
        transforms, camera, assumptions = _first_camera(path, storage, selected)
        rate_hz = _rate(storage, selected[IMAGE]) if frame_count > 1 else 0.0
    if camera is not None and frame_count and (camera.width, camera.height) != (width, height):
        raise InputError(
            f"{path}: images of {width} x {height} pixels on {selected[IMAGE]}, but a camera of {camera.width} x "
            f"{camera.height} on {selected[CAMERA_INFO]}; name the matching one with --remap {CAMERA_INFO}:=TOPIC"
        )

    def read() -> Iterator[Event]:
        with Storage(path) as storage:
            if camera is not None:
                yield CameraEvent(storage.start_ns, camera)
            drive = _Drive(selected, transforms, camera)
            for stored in storage.messages(drive.topics()) if selected else ():
                event = drive.event(stored)
                if event is not None:
                    yield event

    return Recording(
        path=path,
        kind="rosbag2",
        width=width,
        height=height,
        frame_count=frame_count,
        rate_hz=rate_hz,
        duration_s=(storage.end_ns - storage.start_ns) * 1e-9,
        read=read,
        topics=storage.topics,
        camera=camera,
        assumptions=assumptions,
    )


class _Drive:
    """One pass over a bag: what is known so far, and the event of each message."""

    def __init__(
        self, selected: Mapping[str, str], transforms: StaticTransforms, camera: Optional[CameraModel]
    ) -> None:
        self._roles = {topic: role for role, topic in selected.items()}
        self._transforms = transforms
        self._camera = camera
        self._counts = dict.fromkeys(self._roles, 0)
        self._stamps = {role: _Stamps() for role in (IMAGE, ODOMETRY, GROUND_TRUTH, POINTS)}
        self._converters: Dict[str, Callable[[Any, int, int], Optional[Event]]] = {
            IMAGE: lambda message, stamp_ns, sequence: FrameEvent(stamp_ns, sequence, from_image_message(message)),
            CAMERA_INFO: self._camera_event,
            ODOMETRY: lambda message, stamp_ns, _: EgoEvent(stamp_ns, _stamped(message, stamp_ns)),
            ROUTE: lambda message, stamp_ns, _: RouteEvent(stamp_ns, from_message(message)),
            GROUND_TRUTH: lambda message, stamp_ns, _: GroundTruthEvent(stamp_ns, _stamped(message, stamp_ns)),
            POINTS: self._points_event,
        }

    def topics(self) -> List[str]:
        """Names of the topics to read."""
        return list(self._roles)

    def event(self, stored: Stored) -> Optional[Event]:
        """The event of one message, None where it changes nothing."""
        role, sequence = self._roles[stored.topic], self._counts[stored.topic]
        self._counts[stored.topic] += 1
        try:
            message = _message(stored)
            if role == STATIC_TRANSFORMS:
                self._transforms = self._transforms.updated(message)
                return None
            stamp_ns = stored.log_ns
            if role in self._stamps:
                stamp_ns = self._stamps[role].accept(stamp_of(message.header), stored.log_ns)
            return self._converters[role](message, stamp_ns, sequence)
        except (FrameError, ValueError) as error:
            return RejectedEvent(stored.log_ns, stored.topic, sequence, role == IMAGE, str(error))

    def _camera_event(self, message: Any, stamp_ns: int, _: int) -> Optional[Event]:
        camera = _camera(message, self._transforms)[0]
        if camera is None or (self._camera is not None and _same(camera, self._camera)):
            return None
        self._camera = camera
        return CameraEvent(stamp_ns, camera)

    def _points_event(self, message: Any, stamp_ns: int, _: int) -> Event:
        lidar_from_base = self._transforms.from_base(message.header.frame_id)
        if lidar_from_base is None:
            raise ValueError(f"no static transform leads from base_link to {message.header.frame_id!r}")
        return PointsEvent(stamp_ns, lidar_from_base, from_point_cloud(message))


class _Stamps:
    """The stamps of one topic. Where it begins without one, the times of recording take their place."""

    def __init__(self) -> None:
        self._usable = True
        self._previous: Optional[Tuple[int, int]] = None

    def accept(self, stamp_ns: int, log_ns: int) -> int:
        """The stamp to use.

        Raises:
            ValueError: it is not later than the one before, or so much later that it must be broken.
        """
        if self._previous is None:
            self._usable = stamp_ns != 0
        if not self._usable:
            stamp_ns = log_ns
        if self._previous is not None:
            previous_ns, previous_log_ns = self._previous
            if stamp_ns <= previous_ns:
                raise ValueError(f"stamp {stamp_ns} is not later than {previous_ns} before it")
            if stamp_ns - previous_ns - (log_ns - previous_log_ns) > LARGEST_LEAP_NS:
                raise ValueError(f"stamp {stamp_ns} leaps ahead of {previous_ns} before it")
        self._previous = (stamp_ns, log_ns)
        return stamp_ns


def _stamped(message: Any, stamp_ns: int) -> Any:
    return dataclasses.replace(from_message(message), stamp_ns=stamp_ns)


def _message(stored: Stored) -> Any:
    try:
        return load_typestore().deserialize_cdr(stored.data, stored.message_type)
    # Bytes that are no such message make the library stumble in any way: struct, index, unicode, assertion.
    except Exception as error:
        raise ValueError(f"{len(stored.data)} bytes that are no {stored.message_type}") from error


def _image_size(path: Path, storage: Storage, topic: str) -> Tuple[int, int]:
    """Width and height of the first image that can be decoded."""
    reason = ""
    for stored in storage.messages([topic]):
        try:
            height, width = from_image_message(_message(stored)).decode().shape[:2]
            return width, height
        except (FrameError, ValueError) as error:
            reason = reason or str(error)
    raise InputError(f"{path}: no image on {topic} can be decoded; the first is {reason or 'missing'}")


def _rate(storage: Storage, topic: str) -> float:
    """Messages a second at the start of ``topic``."""
    stamps = [stored.log_ns for stored in itertools.islice(storage.messages([topic]), FRAMES_FOR_RATE)]
    period = float(np.median(np.diff(stamps))) if len(stamps) > 1 else 0.0
    return 1e9 / period if period > 0 else 0.0


def _first_camera(
    path: Path, storage: Storage, selected: Mapping[str, str]
) -> Tuple[StaticTransforms, Optional[CameraModel], Tuple[str, ...]]:
    """How sensors are mounted at first, the first camera, and what had to be assumed of it.

    All of it holds from the start of the drive, even where it was recorded after the first image.
    """
    transforms = StaticTransforms()
    if STATIC_TRANSFORMS in selected:
        for stored in reversed(list(storage.messages([selected[STATIC_TRANSFORMS]]))):
            with contextlib.suppress(ValueError):  # reported as rejected when the drive is read
                transforms = transforms.updated(_message(stored))
    first = next(storage.messages([selected[CAMERA_INFO]]), None) if CAMERA_INFO in selected else None
    if first is None:
        return transforms, None, ()
    try:
        return (transforms, *_camera(_message(first), transforms))
    except ValueError as error:
        raise InputError(f"{path}: topic {first.topic}: {error}") from error


def _camera(message: Any, transforms: StaticTransforms) -> Tuple[Optional[CameraModel], Tuple[str, ...]]:
    """The camera of a ``sensor_msgs/CameraInfo``, and what had to be assumed of it."""
    frame_id = message.header.frame_id
    mounting = transforms.from_base(frame_id)
    camera = from_camera_info(message, level_camera() if mounting is None else mounting)
    if camera is None:
        return None, ("the camera is not calibrated (its k is 0)",)
    if mounting is not None:
        return camera, ()
    return camera, (
        f"level camera {ASSUMED_CAMERA_HEIGHT} m above base_link: no static transform from there to {frame_id!r}",
    )


def _same(one: CameraModel, other: CameraModel) -> bool:
    return all(
        np.array_equal(getattr(one, field.name), getattr(other, field.name)) for field in dataclasses.fields(one)
    )
