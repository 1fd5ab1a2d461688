"""What all messages are made of: headers, vectors, orientations."""

import math
from typing import Any, Iterable

from l4edge_perception.recordings.typestore import load_typestore

NANOSECONDS = 1_000_000_000


def make(message_type: str, /, **fields: Any) -> Any:
    """A ``rosbags`` message of a type like ``nav_msgs/msg/Odometry``; all its fields are to be given."""
    return message_class(message_type)(**fields)


def message_class(message_type: str) -> Any:
    """The ``rosbags`` class of a message type; its arguments stand in the order of the fields."""
    return load_typestore().types[message_type]


def make_header(stamp_ns: int, frame_id: str) -> Any:
    """A ``std_msgs/Header``."""
    seconds, nanoseconds = divmod(int(stamp_ns), NANOSECONDS)
    return make(
        "std_msgs/msg/Header",
        stamp=make("builtin_interfaces/msg/Time", sec=seconds, nanosec=nanoseconds),
        frame_id=frame_id,
    )


def stamp_of(header: Any) -> int:
    """The stamp of a ``std_msgs/Header`` in nanoseconds."""
    return int(header.stamp.sec) * NANOSECONDS + int(header.stamp.nanosec)


def vector(values: Iterable[float], kind: str = "Vector3") -> Any:
    """A ``geometry_msgs/Vector3`` or, by ``kind``, a ``Point``; a missing third value is 0."""
    x, y, z = (*(float(value) for value in values), 0.0)[:3]
    return make("geometry_msgs/msg/" + kind, x=x, y=y, z=z)


def quaternion_of(yaw: float) -> Any:
    """A ``geometry_msgs/Quaternion`` that turns by ``yaw`` about the z axis."""
    half = 0.5 * float(yaw)
    return make("geometry_msgs/msg/Quaternion", x=0.0, y=0.0, z=math.sin(half), w=math.cos(half))


def yaw_of(quaternion: Any) -> float:
    """The heading of the x axis that ``quaternion`` turns to, radians."""
    x, y, z, w = quaternion.x, quaternion.y, quaternion.z, quaternion.w
    return math.atan2(2.0 * (w * z + x * y), w * w + x * x - y * y - z * z)
