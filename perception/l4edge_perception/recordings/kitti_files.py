"""The text files of the KITTI data sets: calibration, labels and the motion of the vehicle.

Formats after the readme files of the object, tracking and raw development kits (Geiger et al., IJRR 2013).
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, List, NamedTuple, Sequence, Tuple

import numpy as np

from l4edge_perception.errors import InputError
from l4edge_perception.types import OBJECT_CLASSES, CameraModel, EgoState, GroundTruth

CAMERA_HEIGHT = 1.65
"""Metres above the road, after the data set's sensor set-up; the labels' undersides agree (median 1.67)."""

EARTH_RADIUS = 6378137.0

CLASS_OF_TYPE = {
    "Car": "car",
    "Van": "car",
    "Truck": "truck",
    "Pedestrian": "pedestrian",
    "Person": "pedestrian",
    "Person_sitting": "pedestrian",
    "Cyclist": "cyclist",
}
"""The class of a label; every other type (DontCare, Misc, Tram) becomes a region to ignore."""

NO_CLASS = 255  # l4edge_msgs/ObjectClassification.UNKNOWN

VISIBLE_SHARE = {0: 1.0, 1: 2.0 / 3.0, 2: 1.0 / 3.0}
"""Of the grades "fully", "partly" and "largely hidden"; KITTI gives no shares. Unknown counts as hidden."""

IGNORED_ID = 1_000_000_000  # regions to ignore have no track; their numbers start here


@dataclass(frozen=True)
class Calibration:
    """Where the sensors of one frame are. All matrices take homogeneous points, metres.

    Attributes:
        intrinsics: (3, 3) of the left colour camera, pixels from the corner of the image.
        camera_from_base: (4, 4), left colour camera. ``base_link`` lies on the road below the inertial unit, which
            sits near the rear axle.
        rectified_from_base: (4, 4), the rectified left grey camera, in which labels are given.
        lidar_from_base: (4, 4).
    """

    intrinsics: np.ndarray
    camera_from_base: np.ndarray
    rectified_from_base: np.ndarray
    lidar_from_base: np.ndarray

    def camera(self, width: int, height: int) -> CameraModel:
        """The model of the left colour camera."""
        return CameraModel(width, height, self.intrinsics, np.zeros(0), self.camera_from_base)


class Label(NamedTuple):
    """One labelled object, in the rectified left grey camera's frame."""

    identifier: int
    kind: str
    visibility: float
    box: Tuple[float, ...]
    size: Tuple[float, float, float]
    position: Tuple[float, ...]
    rotation: float


def read_calibration(files: Sequence[Path]) -> Calibration:
    """The calibration of an object frame or tracking sequence (one file) or of a raw drive (three).

    Raises:
        InputError: a matrix is missing or broken.
    """
    values: Dict[str, List[float]] = {}
    for path in files:
        prefix = path.stem if len(files) > 1 else ""
        for line in _lines(path):
            name, _, numbers = line.replace(":", " ", 1).partition(" ")
            try:
                values[prefix + name] = [float(number) for number in numbers.split()]
            except ValueError:
                continue  # raw drives state the day of calibration in words

    def matrix(names: Sequence[str], shape: Tuple[int, int]) -> np.ndarray:
        found = next((values[name] for name in names if len(values.get(name, ())) == shape[0] * shape[1]), None)
        if found is None or not np.isfinite(found).all():
            raise InputError("{}: no matrix {} of {} x {} numbers".format(files[0], " or ".join(names), *shape))
        padded = np.eye(4)
        padded[: shape[0], : shape[1]] = np.reshape(found, shape)
        return padded

    def rigid(names: Sequence[str], raw: str) -> np.ndarray:
        if raw + "R" not in values:
            return matrix(names, (3, 4))
        transform = matrix([raw + "R"], (3, 3))
        transform[:3, 3] = matrix([raw + "T"], (3, 1))[:3, 0]
        return transform

    projection = matrix(["P2", "calib_cam_to_camP_rect_02"], (3, 4))
    rectify = matrix(["R0_rect", "R_rect", "calib_cam_to_camR_rect_00"], (3, 3))
    camera_from_lidar = rigid(["Tr_velo_to_cam", "Tr_velo_cam"], "calib_velo_to_cam")
    lidar_from_imu = rigid(["Tr_imu_to_velo", "Tr_imu_velo"], "calib_imu_to_velo")

    rectified_from_imu = rectify @ camera_from_lidar @ lidar_from_imu
    intrinsics = projection[:3, :3].copy()
    if not all(abs(np.linalg.det(part)) > 1e-6 for part in (intrinsics, rectified_from_imu)):
        raise InputError(f"{files[0]}: the matrices are no cameras and mountings (a determinant is 0)")
    camera_from_rectified = np.eye(4)
    imu_from_base = np.eye(4)
    imu_from_base[2, 3] = np.linalg.inv(rectified_from_imu)[2, 3] - CAMERA_HEIGHT
    camera_from_rectified[:3, 3] = np.linalg.solve(intrinsics, projection[:3, 3])
    intrinsics[:2, 2] += 0.5  # KITTI counts pixels from the centre of the first one
    rectified_from_base = rectified_from_imu @ imu_from_base
    return Calibration(
        intrinsics, camera_from_rectified @ rectified_from_base, rectified_from_base, lidar_from_imu @ imu_from_base
    )


def read_labels(path: Path) -> List[Label]:
    """The objects of one frame (object data set).

    Raises:
        InputError: a line is broken.
    """
    labels = []
    for number, line in enumerate(_lines(path)):
        kind, *fields = line.split()
        truncated, occlusion, _, *rest = _numbers(path, number, fields, 14)
        share = (1.0 - max(truncated, 0.0)) * VISIBLE_SHARE.get(int(occlusion), 0.0)
        labels.append(_label(number, kind, share, rest))
    return labels


def read_tracking_labels(path: Path) -> Dict[int, List[Label]]:
    """Frame: its objects, of a whole sequence (tracking data set).

    Raises:
        InputError: a line is broken.
    """
    labels: Dict[int, List[Label]] = {}
    for number, line in enumerate(_lines(path)):
        frame, track, kind, *fields = (*line.split(), "", "", "")
        truncated, occlusion, _, *rest = _numbers(path, number, [value for value in fields if value], 14)
        frame_number, identifier = (int(value) for value in _numbers(path, number, [frame, track], 2))
        share = VISIBLE_SHARE.get(int(truncated), 0.0) * VISIBLE_SHARE.get(int(occlusion), 0.0)
        labels.setdefault(frame_number, []).append(_label(identifier, kind, share, rest))
    return labels


def _label(identifier: int, kind: str, share: float, fields: Sequence[float]) -> Label:
    height, width, length = fields[4:7]
    return Label(identifier, kind, share, tuple(fields[:4]), (length, width, height), tuple(fields[7:10]), fields[10])


def ground_truth(labels: Sequence[Label], calibration: Calibration, ego: EgoState, sequence: int) -> GroundTruth:
    """The labels of frame ``sequence`` in the ``map`` frame of ``ego``, with its stamp; velocities are unknown."""
    base_from_rectified = np.linalg.inv(calibration.rectified_from_base)
    cosine, sine = math.cos(ego.yaw), math.sin(ego.yaw)
    map_from_base = np.array([[cosine, -sine, 0.0, ego.x], [sine, cosine, 0.0, ego.y], [0, 0, 1, 0], [0, 0, 0, 1]])
    map_from_rectified = map_from_base @ base_from_rectified
    count = len(labels)
    known = np.array([label.kind in CLASS_OF_TYPE for label in labels], bool)
    positions = np.array([(*label.position, 1.0) for label in labels]).reshape(count, 4) @ map_from_rectified.T
    rotations = np.array([label.rotation for label in labels])
    # An object looks along x of the camera turned about y, which points down.
    ahead = np.stack([np.cos(rotations), np.zeros(count), -np.sin(rotations)], axis=1) @ map_from_rectified[:3, :3].T
    sizes = np.array([label.size for label in labels], np.float32).reshape(count, 3)
    yaws = np.arctan2(ahead[:, 1], ahead[:, 0])
    for array in (positions, yaws, sizes):
        array[~known] = np.nan
    classes = [
        OBJECT_CLASSES.index(CLASS_OF_TYPE[one.kind]) if one.kind in CLASS_OF_TYPE else NO_CLASS for one in labels
    ]
    return GroundTruth(
        ego.stamp_ns,
        np.array(
            [label.identifier if known[i] else IGNORED_ID + sequence * 1000 + i for i, label in enumerate(labels)],
            np.int64,
        ),
        np.array(classes, np.int32),
        np.array([label.box for label in labels], np.float32).reshape(count, 4),
        np.array([label.visibility for label in labels], np.float32),
        positions[:, :3],
        yaws,
        np.full((count, 2), np.nan),
        sizes,
        ~known,
        ("",) * count,
    )


def read_motion(path: Path) -> List[Tuple[float, ...]]:
    """The lines of an ``oxts`` file: latitude, longitude (degrees), altitude, roll, pitch, yaw, velocities, ...

    Raises:
        InputError: a line is broken, or there is none.
    """
    lines = _lines(path)
    if not lines:
        raise InputError(f"{path}: empty; expected a line for each frame")
    return [tuple(_numbers(path, number, line.split(), 23)) for number, line in enumerate(lines)]


def ego_state(motion: Sequence[float], origin: Sequence[float], stamp_ns: int) -> EgoState:
    """The vehicle's motion on a plane that touches the earth at ``origin``, x east, y north (Mercator projection)."""
    scale = math.cos(math.radians(origin[0])) * EARTH_RADIUS

    def project(latitude: float, longitude: float) -> Tuple[float, float]:
        return (
            scale * math.radians(longitude),
            scale * math.log(math.tan(math.radians(90.0 + latitude) / 2.0)),
        )

    x, y = project(motion[0], motion[1])
    origin_x, origin_y = project(origin[0], origin[1])
    return EgoState(
        stamp_ns,
        x - origin_x,
        y - origin_y,
        yaw=motion[5],
        speed=motion[8],
        yaw_rate=motion[22],
        acceleration=motion[14],
    )


def read_points(path: Path) -> np.ndarray:
    """A sweep: (N, 4) float32, x y z reflectance.

    Raises:
        InputError: the file does not hold whole points.
    """
    content = path.read_bytes()
    if len(content) % 16:
        raise InputError(f"{path}: {len(content)} bytes are no whole number of points of 16 bytes")
    return np.frombuffer(content, "<f4").reshape(-1, 4)


def _lines(path: Path) -> List[str]:
    try:
        return [line for line in path.read_text(encoding="ascii").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not a readable text file ({error})") from error


def _numbers(path: Path, line: int, fields: Sequence[str], least: int) -> List[float]:
    try:
        numbers = [float(value) for value in fields]
    except ValueError:
        numbers = []
    if len(numbers) < least or not np.isfinite(numbers).all():
        raise InputError(f"{path}: line {line + 1} does not hold {least} numbers")
    return numbers
