"""Camera models and static transforms as ROS messages."""

from typing import Any, Dict, Iterable, Optional, Tuple

import numpy as np
from scipy.spatial.transform import Rotation

from l4edge_perception.recordings.messages import make, make_header, vector
from l4edge_perception.recordings.topics import BASE_FRAME, CAMERA_FRAME
from l4edge_perception.types import CameraModel

OPTICAL_FROM_VEHICLE = np.array([[0.0, -1.0, 0.0], [0.0, 0.0, -1.0], [1.0, 0.0, 0.0]])
"""Turns x forward, y left, z up into x right, y down, z forward."""

ASSUMED_CAMERA_HEIGHT = 1.5
"""Metres above ground, where a recording does not say how its camera is mounted."""

HALF_PIXEL = np.array([[0.0, 0.0, 0.5], [0.0, 0.0, 0.5], [0.0, 0.0, 0.0]])
"""ROS and OpenCV count pixels from the centre of the top-left one, this project from its outer corner."""

LENSES = ("plumb_bob", "rational_polynomial", "")
"""Distortion models of ``sensor_msgs/CameraInfo`` whose coefficients are in OpenCV's order."""


def level_camera(height: float = ASSUMED_CAMERA_HEIGHT) -> np.ndarray:
    """``camera_from_base`` (4, 4) of a level camera that looks ahead from ``height`` metres above ``base_link``."""
    camera_from_base = np.eye(4)
    camera_from_base[:3, :3] = OPTICAL_FROM_VEHICLE
    camera_from_base[:3, 3] = OPTICAL_FROM_VEHICLE @ (0.0, 0.0, -height)
    return camera_from_base


def pinhole(width: int, height: int, horizontal_view: float) -> CameraModel:
    """An ideal level camera with a horizontal field of view of ``horizontal_view`` radians."""
    focal_length = 0.5 * width / np.tan(0.5 * horizontal_view)
    intrinsics = np.array([[focal_length, 0.0, 0.5 * width], [0.0, focal_length, 0.5 * height], [0.0, 0.0, 1.0]])
    return CameraModel(width, height, intrinsics, np.zeros(0), level_camera())


def to_camera_info(camera: CameraModel, stamp_ns: int, frame_id: str = CAMERA_FRAME) -> Any:
    """A ``sensor_msgs/CameraInfo``. The mounting is not part of it, see :func:`to_static_transform`."""
    intrinsics = np.asarray(camera.intrinsics, np.float64) - HALF_PIXEL
    no_region = make("sensor_msgs/msg/RegionOfInterest", x_offset=0, y_offset=0, height=0, width=0, do_rectify=False)
    return make(
        "sensor_msgs/msg/CameraInfo",
        header=make_header(stamp_ns, frame_id),
        height=camera.height,
        width=camera.width,
        distortion_model="plumb_bob" if len(camera.distortion) <= 5 else "rational_polynomial",
        d=np.asarray(camera.distortion, np.float64),
        k=intrinsics.reshape(9),
        r=np.eye(3).reshape(9),
        p=np.hstack([intrinsics, np.zeros((3, 1))]).reshape(12),
        binning_x=0,
        binning_y=0,
        roi=no_region,
    )


def from_camera_info(message: Any, camera_from_base: np.ndarray) -> Optional[CameraModel]:
    """The camera of a ``sensor_msgs/CameraInfo``, or None where it is not calibrated (all intrinsics 0).

    Raises:
        ValueError: a distortion model that OpenCV's pinhole functions do not know, or fields that are no camera.
    """
    intrinsics = np.asarray(message.k, np.float64).reshape(3, 3)
    if not intrinsics.any():
        return None
    distortion = np.asarray(message.d, np.float64)
    if message.distortion_model not in LENSES:
        raise ValueError(
            "distortion model {!r}; rectify the images, or use one of {}".format(
                message.distortion_model, ", ".join(name for name in LENSES if name)
            )
        )
    if not (np.isfinite(intrinsics).all() and intrinsics[0, 0] > 0 and intrinsics[1, 1] > 0):
        raise ValueError("the intrinsics k are no pinhole camera")
    if not np.isfinite(distortion).all():
        raise ValueError("the distortion d is not a number")
    if not distortion.any():
        distortion = np.zeros(0)
    return CameraModel(int(message.width), int(message.height), intrinsics + HALF_PIXEL, distortion, camera_from_base)


def to_static_transform(child_from_base: np.ndarray, stamp_ns: int, frame_id: str = CAMERA_FRAME) -> Any:
    """A ``tf2_msgs/TFMessage`` that says how the frame ``frame_id`` is mounted on ``base_link``.

    Args:
        child_from_base: (4, 4), takes a homogeneous point from ``base_link`` to ``frame_id``.
        stamp_ns: nanoseconds.
        frame_id: such as the camera's optical frame.
    """
    base_from_child = np.linalg.inv(child_from_base)
    x, y, z, w = Rotation.from_matrix(base_from_child[:3, :3]).as_quat().tolist()
    transform = make(
        "geometry_msgs/msg/Transform",
        translation=vector(base_from_child[:3, 3]),
        rotation=make("geometry_msgs/msg/Quaternion", x=x, y=y, z=z, w=w),
    )
    header = make_header(stamp_ns, BASE_FRAME)
    stamped = make("geometry_msgs/msg/TransformStamped", header=header, child_frame_id=frame_id, transform=transform)
    return make("tf2_msgs/msg/TFMessage", transforms=[stamped])


class StaticTransforms:
    """How frames are mounted on the vehicle, from ``tf2_msgs/TFMessage``."""

    def __init__(self, messages: Iterable[Any] = ()) -> None:
        self._parents: Dict[str, Tuple[str, np.ndarray]] = {}
        for message in messages:
            for entry in message.transforms:
                parent = entry.header.frame_id.lstrip("/")
                self._parents[entry.child_frame_id.lstrip("/")] = (parent, _matrix(entry.transform))

    def updated(self, message: Any) -> "StaticTransforms":
        """These and those of ``message``, which replace what they name anew."""
        result = StaticTransforms([message])
        result._parents = {**self._parents, **result._parents}
        return result

    def from_base(self, frame_id: str) -> Optional[np.ndarray]:
        """(4, 4), takes a point from ``base_link`` to ``frame_id``; None where no chain of transforms leads there."""
        base_from_frame, frame = np.eye(4), frame_id.lstrip("/")
        for _ in range(len(self._parents) + 1):
            if frame == BASE_FRAME:
                return np.linalg.inv(base_from_frame)
            if frame not in self._parents:
                return None
            frame, parent_from_frame = self._parents[frame]
            base_from_frame = parent_from_frame @ base_from_frame
        return None


def _matrix(transform: Any) -> np.ndarray:
    rotation, translation = transform.rotation, transform.translation
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_quat((rotation.x, rotation.y, rotation.z, rotation.w)).as_matrix()
    matrix[:3, 3] = translation.x, translation.y, translation.z
    return matrix
