"""Where objects stand: from 3D boxes, or from where a box's lower edge meets the ground.

All geometry is done in ``base_link``, whose origin lies on the ground, with the ground as its plane z = 0; then it is
moved to ``map`` by the vehicle's own pose. The ground is taken as flat and the camera as fixed to the vehicle: slopes
and pitching while braking are not modelled, they are part of ``EDGE_NOISE_PIXELS``.
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np

from l4edge_perception.types import OBJECT_CLASSES, CameraModel, EgoState

SIZE_PRIORS = np.array(
    [
        (4.2, 1.8, 1.55),  # car
        (8.0, 2.5, 3.2),  # truck
        (0.5, 0.6, 1.7),  # pedestrian
        (1.8, 0.6, 1.7),  # cyclist
        (0.1, 0.75, 0.75),  # sign: the plate without its post
        (0.3, 0.35, 1.0),  # light: the housing without its post
    ]
)
"""(classes, 3) usual length, width and height in metres, in the order of ``OBJECT_CLASSES``."""

HEIGHT_SPREAD = np.array([0.1, 0.25, 0.08, 0.08, 0.25, 0.25])
"""(classes,) how much heights differ within a class: standard deviation over mean."""

STANDS_ON_GROUND = np.array([name not in ("sign", "light") for name in OBJECT_CLASSES])
"""(classes,) whether the lower edge of the box is where the object meets the ground."""

FIRST_SPEED = np.array([10.0, 8.0, 1.5, 4.0, 0.02, 0.02])
"""(classes,) speed to expect of a new object, metres per second: signs and lights stay where they are."""

ACCELERATION = np.array([2.0, 1.5, 1.0, 1.5, 0.0, 0.0])
"""(classes,) how much a velocity wanders in one second, metres per second."""

EDGE_NOISE_PIXELS = 1.5
EDGE_NOISE_SHARE = 0.02
"""Error of a box's edge (standard deviation): pixels, and a share of the box's height."""

LEAST_NOISE_M = 0.05
CUT_NOISE_M = 5.0
"""Extra error of every place, and of an object that the image's border cuts: enough to begin a track with, too much to
move one."""

LONGEST_RANGE_M = 150.0
"""Beyond it, one pixel of the lower edge means tens of metres."""

LONGEST_EXTRAPOLATION_S = 0.5
"""How far the vehicle's pose is carried on to an image's stamp."""


_ROUND = np.eye(2)[:, :, None]


@dataclass(frozen=True)
class Detections3D:
    """What a 3D detector says of the objects in a :class:`Detections`, row by row. N objects.

    Attributes:
        positions: (N, 3) float64, metres, ``base_link``, centre of the box's lower face; a row of NaN: not located.
        sizes: (N, 3) float64, length width height in metres.
        yaws: (N,) float64, radians, ``base_link``, counter-clockwise from the x axis.
        position_std: error of a position along each axis of the ground plane (standard deviation), metres.
    """

    positions: np.ndarray
    sizes: np.ndarray
    yaws: np.ndarray
    position_std: float = 0.3

    def __len__(self) -> int:
        return len(self.yaws)

    def take(self, rows: np.ndarray) -> "Detections3D":
        """The objects at ``rows`` (a mask or integer indices)."""
        return Detections3D(self.positions[rows], self.sizes[rows], self.yaws[rows], self.position_std)


@dataclass(frozen=True)
class GroundPoints:
    """Where N objects, along the last axis of every array, meet the ground.

    Attributes:
        positions: (2, N) float64, metres, of the side nearest to the vehicle; NaN while unknown.
        covariances: (2, 2, N) float64, square metres; (2, 2, 1) where all are the same.
        sizes: (3, N) float64, length width height in metres.
    """

    positions: np.ndarray
    covariances: np.ndarray
    sizes: np.ndarray


def points_from_boxes_3d(boxes_3d: Detections3D) -> GroundPoints:
    """The nearest points of 3D boxes, ``base_link``."""
    centres = boxes_3d.positions.T[:2]
    # As complex numbers, so that one product tells how far a centre lies along its box (real) and across (imaginary).
    turned = (centres[0] + 1j * centres[1]) * np.exp(-1j * boxes_3d.yaws)
    reach = np.maximum(np.abs((turned.real, turned.imag)), 1e-6)
    # From the centre towards the vehicle, the box ends at its front or rear, or at a flank, whichever comes first.
    to_end, to_flank = 0.5 * boxes_3d.sizes.T[:2] / reach
    kept = 1.0 - np.minimum(np.minimum(to_end, to_flank), 1.0)
    return GroundPoints(centres * kept, boxes_3d.position_std**2 * _ROUND, boxes_3d.sizes.T)


def points_from_camera(boxes: np.ndarray, class_ids: np.ndarray, camera: CameraModel) -> GroundPoints:
    """Where N boxes (4, N; corners, pixels) of N classes meet the ground, seen through ``camera``, in ``base_link``.

    The ray through the middle of the lower edge is followed to the ground. Where there is no such point (signs,
    lights, edges above the horizon or too far) the class's usual height against the box's height gives the distance,
    unless the image's border cuts it.
    """
    size = boxes[2:] - boxes[:2]
    edge_std = np.hypot(EDGE_NOISE_PIXELS, EDGE_NOISE_SHARE * size[1])
    middle, upright_middle = boxes[:2] + 0.5 * size
    rays = _rays(np.concatenate((middle, middle)), np.concatenate((boxes[3], upright_middle)), camera)
    contact = _by_contact(rays[:, : len(class_ids)], size[0], edge_std, class_ids, camera)
    estimate = _by_height(rays[:, len(class_ids) :], size[1], edge_std, class_ids, camera)

    margin = 2.0 * edge_std
    cut = (boxes[:2] <= margin) | (boxes[2:] >= np.array([[camera.width], [camera.height]]) - margin)
    estimate[0, :, cut[1]] = np.nan
    x, y = contact[0]
    touches = STANDS_ON_GROUND[class_ids] & (x * x + y * y <= LONGEST_RANGE_M**2)
    position, first, second = np.where(touches, contact, estimate)
    covariances = first[:, None] * first + second[:, None] * second
    extra = np.where(cut[0] | cut[1], CUT_NOISE_M**2, LEAST_NOISE_M**2)
    covariances[0, 0] += extra
    covariances[1, 1] += extra
    return GroundPoints(position, covariances, SIZE_PRIORS.T[:, class_ids])


def to_map(points: GroundPoints, ego: EgoState, stamp_ns: int) -> GroundPoints:
    """Points in ``base_link`` at ``stamp_ns`` as points in ``map``, NaN where the vehicle's pose is too old."""
    seconds = (stamp_ns - ego.stamp_ns) * 1e-9
    if abs(seconds) > LONGEST_EXTRAPOLATION_S:
        return GroundPoints(np.full_like(points.positions, np.nan), points.covariances, points.sizes)
    halfway = ego.yaw + 0.5 * seconds * ego.yaw_rate
    yaw = ego.yaw + seconds * ego.yaw_rate
    way = seconds * ego.speed
    origin = np.array([[ego.x + way * math.cos(halfway)], [ego.y + way * math.sin(halfway)]])
    turn = np.array([[math.cos(yaw), -math.sin(yaw)], [math.sin(yaw), math.cos(yaw)]])
    covariances = np.einsum("ai,bj,ijn->abn", turn, turn, points.covariances)
    return GroundPoints(turn @ points.positions + origin, covariances, points.sizes)


def _rays(x: np.ndarray, y: np.ndarray, camera: CameraModel) -> np.ndarray:
    """(3, N) directions of the pixels at ``x`` and ``y`` with unit depth along the optical axis, ``base_link``."""
    matrix = camera.intrinsics
    if camera.distortion.any():
        pixels = np.stack((x, y), axis=1)[:, None, :]
        flat = cv2.undistortPoints(pixels, matrix, camera.distortion)[:, 0, :].T
    else:
        flat_y = (y - matrix[1, 2]) / matrix[1, 1]
        flat = np.array([(x - matrix[0, 2] - matrix[0, 1] * flat_y) / matrix[0, 0], flat_y])
    rotation = camera.camera_from_base[:3, :3]
    return rotation[:2].T @ flat + rotation[2][:, None]


def _origin(camera: CameraModel) -> np.ndarray:
    """(3, 1) where the camera's rays start, metres, ``base_link``."""
    return -camera.camera_from_base[:3, :3].T @ camera.camera_from_base[:3, 3:]


def _by_contact(
    rays: np.ndarray, widths: np.ndarray, edge_std: np.ndarray, class_ids: np.ndarray, camera: CameraModel
) -> np.ndarray:
    """Places where lower edges meet the ground, and by how much two independent errors shift them: (3, 2, N).

    At and above the horizon places are out of all reach. Along the ray the error grows with the square of the
    distance, across it linearly. A box wider than the object's near face shows a flank, too, and the near face may be
    anywhere in it.

    Args:
        rays: (3, N) rays through the middles of lower edges.
        widths: (N,) of boxes, pixels.
        edge_std: (N,) error of a box's edges (standard deviation), pixels.
        class_ids: (N,).
        camera: what they were seen through.
    """
    origin = _origin(camera)
    down = np.where(rays[2] < -1e-4, rays[2], -1e-12)
    depth = -origin[2] / down
    face = camera.intrinsics[0, 0] * SIZE_PRIORS[class_ids, 1] / depth
    flank = np.maximum(widths - face, 0.0)
    # One pixel turns the ray by an axis of the camera over the focal length. The lens' distortion is left out here.
    across, upright = camera.camera_from_base[:2, :3, None] / camera.intrinsics[(0, 1), (0, 1)][:, None, None]
    found = np.empty((3, 2, len(class_ids)))
    found[0] = origin[:2] + depth * rays[:2]
    found[1] = depth * np.hypot(edge_std, flank / math.sqrt(12.0)) * (across[:2] - rays[:2] * (across[2] / down))
    found[2] = depth * edge_std * (upright[:2] - rays[:2] * (upright[2] / down))
    return found


def _by_height(
    rays: np.ndarray, heights: np.ndarray, edge_std: np.ndarray, class_ids: np.ndarray, camera: CameraModel
) -> np.ndarray:
    """Places below objects of usual height, and by how much two independent errors shift them: (3, 2, N).

    Args:
        rays: (3, N) rays through the middles of boxes.
        heights: (N,) of boxes, pixels.
        edge_std: (N,) error of a box's edges (standard deviation), pixels.
        class_ids: (N,).
        camera: what they were seen through.
    """
    depth = camera.intrinsics[1, 1] * SIZE_PRIORS[class_ids, 2] / heights
    way = depth * rays[:2]
    found = np.empty((3, 2, len(class_ids)))
    found[0] = _origin(camera)[:2] + way
    found[1] = (depth * edge_std / camera.intrinsics[0, 0]) * camera.camera_from_base[0, :2, None]
    found[2] = np.hypot(HEIGHT_SPREAD[class_ids], math.sqrt(2.0) * edge_std / heights) * way
    return found
