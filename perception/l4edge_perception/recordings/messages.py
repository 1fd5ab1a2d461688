"""The project's dataclasses as ROS messages and back.

``from_message`` reads any object with the fields of the message, so it serves both ``rosbags`` and ``rclpy``
messages. ``to_message`` makes ``rosbags`` messages, which :class:`~.writer.BagWriter` writes.
"""

import math
from typing import Any, Callable, Dict, Iterable, List, Sequence, Tuple

import numpy as np

from l4edge_perception.recordings import safety_messages
from l4edge_perception.recordings.message_parts import (
    NANOSECONDS,
    make,
    make_header,
    message_class,
    quaternion_of,
    stamp_of,
    vector,
    yaw_of,
)
from l4edge_perception.recordings.topics import BASE_FRAME, CAMERA_FRAME, MAP_FRAME
from l4edge_perception.types import (
    MEANINGS,
    ControlCommand,
    Detections,
    EgoState,
    GroundTruth,
    Route,
    Tracks,
    Trajectory,
    unread,
)

__all__ = [
    "NANOSECONDS", "UNKNOWN_LABEL", "from_message", "make", "make_header", "message_class", "quaternion_of", "stamp_of",
    "to_message", "vector", "yaw_of",
]

UNKNOWN_LABEL = 255


def to_message(value: Any, sequence: int = 0, stamp_ns: int = 0) -> Any:
    """The message of ``value``.

    Args:
        value: Detections, Tracks, EgoState, Route, Trajectory, ControlCommand, GroundTruth or a dataclass of
            ``safety_types``.
        sequence: number of this message among its publisher's, where the message has such a field.
        stamp_ns: for a Route, which has none of its own.
    """
    return _WRITERS[type(value)](value, sequence, stamp_ns)


def from_message(message: Any) -> Any:
    """The dataclass that ``message`` stands for; the inverse of :func:`to_message`.

    Raises:
        ValueError: a field holds what the dataclass cannot stand for (not a number, lists of unequal length, ...).
    """
    # rosbags names the class of nav_msgs/msg/Odometry nav_msgs__msg__Odometry, rclpy Odometry.
    return _READERS[type(message).__name__.rpartition("__")[2]](message)


def _pose(position: Iterable[float], yaw: float) -> Any:
    return make("geometry_msgs/msg/Pose", position=vector(position, "Point"), orientation=quaternion_of(yaw))


# Whole columns become lists of messages: a frame's objects and a trajectory's points are made at the rate of the
# camera, and numbers leave an array many times faster together than one by one.


def _vectors(rows: np.ndarray, kind: str = "Vector3") -> List[Any]:
    """``rows`` (N, 2) or (N, 3)."""
    make_vector = message_class("geometry_msgs/msg/" + kind)
    if rows.shape[1] == 2:
        return [make_vector(x, y, 0.0) for x, y in rows.tolist()]
    return [make_vector(*row) for row in rows.tolist()]


def _poses(positions: np.ndarray, yaws: np.ndarray) -> List[Any]:
    make_pose, make_quaternion = message_class("geometry_msgs/msg/Pose"), message_class("geometry_msgs/msg/Quaternion")
    halves = (0.5 * yaws).tolist()
    points = _vectors(positions, "Point")
    return [
        make_pose(point, make_quaternion(0.0, 0.0, math.sin(half), math.cos(half)))
        for point, half in zip(points, halves)
    ]


def _classifications(class_ids: np.ndarray, probabilities: np.ndarray) -> List[Any]:
    kind = message_class("l4edge_msgs/msg/ObjectClassification")
    return [kind(*fields) for fields in zip(class_ids.tolist(), probabilities.tolist())]


def _meanings(probabilities: np.ndarray) -> List[Any]:
    kind = message_class("l4edge_msgs/msg/ObjectMeaning")
    nothing = kind(np.zeros(0, np.float32))
    rows = np.asarray(probabilities, np.float32)
    read: List[bool] = (rows != 0).any(axis=1).tolist()
    return [kind(row) if known else nothing for row, known in zip(rows, read)]


def _to_meanings(objects: Sequence[Any]) -> np.ndarray:
    table = unread(len(objects))
    for row, entry in zip(table, objects):
        probabilities = entry.meaning.probabilities
        if len(probabilities):
            if len(probabilities) != len(MEANINGS):
                raise ValueError(f"a meaning with {len(probabilities)} probabilities, not {len(MEANINGS)}")
            row[:] = probabilities
    if not np.isfinite(table).all():
        raise ValueError("the probability of a meaning is not a number")
    return table


def _boxes(corners: np.ndarray) -> List[Any]:
    kind = message_class("l4edge_msgs/msg/BoundingBox2D")
    return [kind(*row) for row in corners.tolist()]


def _corners(box: Any) -> Tuple[float, float, float, float]:
    return box.x_min, box.y_min, box.x_max, box.y_max


def _xyz(value: Any) -> Tuple[float, float, float]:
    return value.x, value.y, value.z


def _table(rows: Sequence[Sequence[float]], columns: int, kind: type) -> np.ndarray:
    """``rows`` as an array (N, columns), also for N = 0."""
    return np.asarray(rows, kind).reshape(len(rows), columns)


def _labels(objects: Sequence[Any]) -> np.ndarray:
    return np.array([entry.classification.label for entry in objects], np.int32)


def _identifiers(objects: Sequence[Any]) -> np.ndarray:
    identifiers = np.array([entry.object_id for entry in objects], np.uint64)
    if (identifiers > np.iinfo(np.int64).max).any():
        raise ValueError("an object_id above the largest int64")
    return identifiers.astype(np.int64)


def _from_detections(value: Detections, sequence: int, _: int) -> Any:
    kind = message_class("l4edge_msgs/msg/Detection2D")
    columns = (_classifications(value.class_ids, value.scores), _boxes(value.boxes), _meanings(value.meanings))
    detections = [kind(*fields) for fields in zip(*columns)]
    header = make_header(value.stamp_ns, CAMERA_FRAME)
    return make("l4edge_msgs/msg/Detection2DArray", header=header, sequence=sequence, detections=detections)


def _to_detections(message: Any) -> Detections:
    objects = message.detections
    return Detections(
        stamp_of(message.header),
        _table([_corners(entry.box) for entry in objects], 4, np.float32),
        np.array([entry.classification.probability for entry in objects], np.float32),
        _labels(objects),
        _to_meanings(objects),
    )


def _from_tracks(value: Tracks, sequence: int, _: int) -> Any:
    kind = message_class("l4edge_msgs/msg/TrackedObject")
    columns = (
        value.ids.tolist(),
        _classifications(value.class_ids, value.scores),
        _boxes(value.boxes),
        np.isfinite(value.positions).all(axis=1).tolist(),
        _vectors(value.positions, "Point"),
        _vectors(value.velocities),
        _vectors(value.sizes),
        value.ages_s.tolist(),
        value.unseen_s.tolist(),
        _meanings(value.meanings),
    )
    objects = [kind(*fields) for fields in zip(*columns)]
    header = make_header(value.stamp_ns, MAP_FRAME)
    return make("l4edge_msgs/msg/TrackedObjectArray", header=header, sequence=sequence, objects=objects)


def _to_tracks(message: Any) -> Tracks:
    objects = message.objects
    unknown = ~np.array([entry.located for entry in objects], bool)
    positions = _table([_xyz(entry.position)[:2] for entry in objects], 2, np.float64)
    velocities = _table([_xyz(entry.velocity)[:2] for entry in objects], 2, np.float64)
    sizes = _table([_xyz(entry.size) for entry in objects], 3, np.float32)
    for array in (positions, velocities, sizes):
        array[unknown] = np.nan
    return Tracks(
        stamp_of(message.header),
        _identifiers(objects),
        _table([_corners(entry.box) for entry in objects], 4, np.float32),
        np.array([entry.classification.probability for entry in objects], np.float32),
        _labels(objects),
        np.array([entry.age for entry in objects], np.float32),
        np.array([entry.unseen for entry in objects], np.float32),
        positions,
        velocities,
        sizes,
        _to_meanings(objects),
    )


def _from_ego(value: EgoState, _: int, __: int) -> Any:
    no_covariance = np.zeros(36)
    pose = _pose((value.x, value.y), value.yaw)
    twist = make(
        "geometry_msgs/msg/Twist", linear=vector((value.speed, 0.0)), angular=vector((0.0, 0.0, value.yaw_rate))
    )
    return make(
        "nav_msgs/msg/Odometry",
        header=make_header(value.stamp_ns, MAP_FRAME),
        child_frame_id=BASE_FRAME,
        pose=make("geometry_msgs/msg/PoseWithCovariance", pose=pose, covariance=no_covariance),
        twist=make("geometry_msgs/msg/TwistWithCovariance", twist=twist, covariance=no_covariance),
    )


def _to_ego(message: Any) -> EgoState:
    """Odometry has no acceleration; it is 0."""
    pose, twist = message.pose.pose, message.twist.twist
    values = (pose.position.x, pose.position.y, yaw_of(pose.orientation), twist.linear.x, twist.angular.z)
    if not np.isfinite(values).all():
        raise ValueError("pose or speed is not a number")
    return EgoState(stamp_of(message.header), *(float(value) for value in values))


def _from_route(value: Route, _: int, stamp_ns: int) -> Any:
    return make(
        "l4edge_msgs/msg/Route",
        header=make_header(stamp_ns, MAP_FRAME),
        center_line=_vectors(value.centre_line, "Point"),
        speed_limits=np.asarray(value.speed_limits, np.float32),
        lane_widths=np.asarray(value.lane_widths, np.float32),
    )


def _to_route(message: Any) -> Route:
    route = Route(
        _table([_xyz(point)[:2] for point in message.center_line], 2, np.float64),
        np.asarray(message.speed_limits, np.float64),
        np.asarray(message.lane_widths, np.float64),
    )
    if not len(route.centre_line) == len(route.speed_limits) == len(route.lane_widths):
        raise ValueError("center_line, speed_limits and lane_widths differ in length")
    if not all(np.isfinite(array).all() for array in (route.centre_line, route.speed_limits, route.lane_widths)):
        raise ValueError("a point, speed limit or lane width is not a number")
    return route


def _from_trajectory(value: Trajectory, sequence: int, _: int) -> Any:
    several = len(value.times) > 1
    heading_rates = np.gradient(np.unwrap(value.yaws), value.times) if several else np.zeros(len(value.times))
    kind = message_class("l4edge_msgs/msg/TrajectoryPoint")
    columns = (
        _durations(value.times),
        _poses(value.positions, value.yaws),
        value.speeds.tolist(),
        value.accelerations.tolist(),
        heading_rates.tolist(),
    )
    points = [kind(*fields) for fields in zip(*columns)]
    return make(
        "l4edge_msgs/msg/Trajectory",
        header=make_header(value.stamp_ns, MAP_FRAME),
        sequence=sequence,
        points=points,
        reason=value.reason,
        obstacle_id=0 if value.obstacle_id is None else int(value.obstacle_id),
        yields=value.obstacle_id is not None,
    )


def _durations(seconds: np.ndarray) -> List[Any]:
    kind = message_class("builtin_interfaces/msg/Duration")
    nanoseconds = np.round(seconds * NANOSECONDS).astype(np.int64).tolist()
    return [kind(*divmod(count, NANOSECONDS)) for count in nanoseconds]


def _to_trajectory(message: Any) -> Trajectory:
    points = message.points
    times = [int(p.time_from_start.sec) * NANOSECONDS + int(p.time_from_start.nanosec) for p in points]
    return Trajectory(
        stamp_of(message.header),
        np.array(times, np.float64) / NANOSECONDS,
        _table([_xyz(point.pose.position)[:2] for point in points], 2, np.float64),
        np.array([yaw_of(point.pose.orientation) for point in points], np.float64),
        np.array([point.speed for point in points], np.float64),
        np.array([point.acceleration for point in points], np.float64),
        message.reason,
        int(message.obstacle_id) if message.yields else None,
    )


def _from_command(value: ControlCommand, sequence: int, _: int) -> Any:
    steering = {"steering_angle": float(value.steering_angle), "steering_angle_rate": 0.0}
    motion = {"speed": float(value.speed), "acceleration": float(value.acceleration)}
    return make(
        "l4edge_msgs/msg/ControlCommand",
        header=make_header(value.stamp_ns, BASE_FRAME),
        sequence=sequence,
        lateral=make("l4edge_msgs/msg/LateralCommand", **steering),
        longitudinal=make("l4edge_msgs/msg/LongitudinalCommand", **motion),
        emergency=bool(value.emergency),
    )


def _to_command(message: Any) -> ControlCommand:
    return ControlCommand(
        stamp_of(message.header),
        float(message.lateral.steering_angle),
        float(message.longitudinal.acceleration),
        float(message.longitudinal.speed),
        bool(message.emergency),
    )


def _from_ground_truth(value: GroundTruth, _: int, __: int) -> Any:
    kind = message_class("l4edge_msgs/msg/GroundTruthObject")
    columns = (
        value.ids.tolist(),
        _classifications(value.class_ids, np.ones(len(value))),
        _boxes(value.boxes),
        value.visibilities.tolist(),
        _poses(value.positions, value.yaws),
        _vectors(value.velocities),
        _vectors(value.sizes),
        value.ignore.tolist(),
        value.attributes,
    )
    objects = [kind(*fields) for fields in zip(*columns)]
    header = make_header(value.stamp_ns, MAP_FRAME)
    return make("l4edge_msgs/msg/GroundTruthArray", header=header, objects=objects)


def _to_ground_truth(message: Any) -> GroundTruth:
    objects = message.objects
    return GroundTruth(
        stamp_of(message.header),
        _identifiers(objects),
        _labels(objects),
        _table([_corners(entry.box) for entry in objects], 4, np.float32),
        np.array([entry.visibility for entry in objects], np.float32),
        _table([_xyz(entry.pose.position) for entry in objects], 3, np.float64),
        np.array([yaw_of(entry.pose.orientation) for entry in objects], np.float64),
        _table([_xyz(entry.velocity)[:2] for entry in objects], 2, np.float64),
        _table([_xyz(entry.size) for entry in objects], 3, np.float32),
        np.array([entry.ignore for entry in objects], bool),
        tuple(entry.attribute for entry in objects),
    )


_WRITERS: Dict[type, Callable[[Any, int, int], Any]] = {
    Detections: _from_detections,
    Tracks: _from_tracks,
    EgoState: _from_ego,
    Route: _from_route,
    Trajectory: _from_trajectory,
    ControlCommand: _from_command,
    GroundTruth: _from_ground_truth,
    **safety_messages.WRITERS,
}

_READERS: Dict[str, Callable[[Any], Any]] = {
    "Detection2DArray": _to_detections,
    "TrackedObjectArray": _to_tracks,
    "Odometry": _to_ego,
    "Route": _to_route,
    "Trajectory": _to_trajectory,
    "ControlCommand": _to_command,
    "GroundTruthArray": _to_ground_truth,
    **safety_messages.READERS,
}
