"""Where objects stand: from 3D boxes, or from where a box's lower edge meets the ground.

All geometry is done in ``base_link``, whose origin lies on the ground, with the ground as its plane z = 0; then it is
moved to ``map`` by the vehicle's own pose. The ground is taken as flat and the camera as fixed to the vehicle: slopes
and pitching while braking are not modelled, they are part of ``EDGE_NOISE_PIXELS``.
"""

from dataclasses import dataclass
from typing import Tuple

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
    """Where N objects meet the ground.

    Attributes:
        positions: (N, 2) float64, metres, of the side nearest to the vehicle; NaN while unknown.
        covariances: (N, 2, 2) float64, square metres.
        sizes: (N, 3) float64, length width height in metres.
    """

    positions: np.ndarray
    covariances: np.ndarray
    sizes: np.ndarray

    @staticmethod
    def unknown(count: int) -> "GroundPoints":
        """Objects of which nothing is known."""
        return GroundPoints(
            np.full((count, 2), np.nan), np.full((count, 2, 2), np.nan), np.full((count, 3), np.nan)
        )


def points_from_boxes_3d(boxes_3d: Detections3D) -> GroundPoints:
    """The nearest points of 3D boxes, ``base_link``."""
    centres = boxes_3d.positions[:, :2]
    distance = np.hypot(centres[:, 0], centres[:, 1])
    aspect = np.arctan2(centres[:, 1], centres[:, 0]) - boxes_3d.yaws
    # From the centre towards the vehicle, the box ends at its front or rear, or at a flank, whichever comes first.
    to_end = boxes_3d.sizes[:, 0] / np.maximum(np.abs(np.cos(aspect)), 1e-6)
    to_flank = boxes_3d.sizes[:, 1] / np.maximum(np.abs(np.sin(aspect)), 1e-6)
    nearer = 0.5 * np.minimum(to_end, to_flank) / np.maximum(distance, 1e-6)
    covariances = np.zeros((len(boxes_3d), 2, 2))
    covariances[:, (0, 1), (0, 1)] = boxes_3d.position_std**2
    return GroundPoints(centres * (1.0 - np.minimum(nearer, 1.0))[:, None], covariances, boxes_3d.sizes)


def points_from_camera(boxes: np.ndarray, class_ids: np.ndarray, camera: CameraModel) -> GroundPoints:
    """Where N boxes (N, 4; corners, pixels) of N classes meet the ground, seen through ``camera``, in ``base_link``.

    The ray through the middle of the lower edge is followed to the ground. Where there is no such point (signs,
    lights, edges above the horizon or too far) the class's usual height against the box's height gives the distance,
    unless the image's border cuts it.
    """
    contact, contact_spread = _by_contact(boxes, class_ids, camera)
    estimate, estimate_spread = _by_height(boxes, class_ids, camera)
    margin = 2.0 * _edge_noise(boxes)
    cut_upright = (boxes[:, 1] <= margin) | (boxes[:, 3] >= camera.height - margin)
    cut = cut_upright | (boxes[:, 0] <= margin) | (boxes[:, 2] >= camera.width - margin)
    touches = STANDS_ON_GROUND[class_ids] & (np.hypot(contact[:, 0], contact[:, 1]) <= LONGEST_RANGE_M)
    estimate[cut_upright] = np.nan
    spread = np.where(touches[:, None, None], contact_spread, estimate_spread)
    extra = np.where(cut, CUT_NOISE_M, LEAST_NOISE_M) ** 2
    return GroundPoints(
        positions=np.where(touches[:, None], contact, estimate),
        covariances=spread @ spread.swapaxes(1, 2) + extra[:, None, None] * np.eye(2),
        sizes=SIZE_PRIORS[class_ids],
    )


def to_map(points: GroundPoints, ego: EgoState, stamp_ns: int) -> GroundPoints:
    """Points in ``base_link`` at ``stamp_ns`` as points in ``map``, NaN where the vehicle's pose is too old."""
    seconds = (stamp_ns - ego.stamp_ns) * 1e-9
    if abs(seconds) > LONGEST_EXTRAPOLATION_S:
        return GroundPoints(np.full_like(points.positions, np.nan), points.covariances, points.sizes)
    halfway = ego.yaw + 0.5 * seconds * ego.yaw_rate
    yaw = ego.yaw + seconds * ego.yaw_rate
    way = seconds * ego.speed
    origin = np.array([ego.x + way * np.cos(halfway), ego.y + way * np.sin(halfway)])
    turn = np.array([[np.cos(yaw), -np.sin(yaw)], [np.sin(yaw), np.cos(yaw)]])
    return GroundPoints(points.positions @ turn.T + origin, turn @ points.covariances @ turn.T, points.sizes)


def _rays(pixels: np.ndarray, camera: CameraModel) -> Tuple[np.ndarray, np.ndarray]:
    """(N, 3) directions of ``pixels`` with unit depth along the optical axis, and where they start, ``base_link``."""
    if np.any(camera.distortion):
        flat = cv2.undistortPoints(pixels[:, None, :], camera.intrinsics, camera.distortion)[:, 0, :]
    else:
        matrix = camera.intrinsics
        y = (pixels[:, 1] - matrix[1, 2]) / matrix[1, 1]
        flat = np.stack(((pixels[:, 0] - matrix[0, 2] - matrix[0, 1] * y) / matrix[0, 0], y), axis=1)
    rotation = camera.camera_from_base[:3, :3]
    rays = flat @ rotation[:2] + rotation[2]
    return rays, -rotation.T @ camera.camera_from_base[:3, 3]


def _by_contact(boxes: np.ndarray, class_ids: np.ndarray, camera: CameraModel) -> Tuple[np.ndarray, np.ndarray]:
    """(N, 2) places where lower edges meet the ground, and a root of their covariances (N, 2, 2).

    At and above the horizon places are out of all reach. Along the ray the error grows with the square of the
    distance, across it linearly. A box wider than the object's near face shows a flank, too, and the near face may be
    anywhere in it.
    """
    middle = 0.5 * (boxes[:, 0] + boxes[:, 2])
    rays, origin = _rays(np.stack((middle, boxes[:, 3]), axis=1), camera)
    down = np.where(rays[:, 2] < -1e-4, rays[:, 2], -1e-12)
    depth = -origin[2] / down
    edge_std = _edge_noise(boxes)
    face = camera.intrinsics[0, 0] * SIZE_PRIORS[class_ids, 1] / depth
    flank = np.maximum(boxes[:, 2] - boxes[:, 0] - face, 0.0)
    errors = np.stack((np.hypot(edge_std, flank / np.sqrt(12.0)), edge_std), axis=1)
    # One pixel turns the ray by an axis of the camera over the focal length. The lens' distortion is left out here.
    turns = camera.camera_from_base[:2, :3] / np.diag(camera.intrinsics)[:2, None]
    slopes = depth[:, None, None] * (turns[:, :2] - rays[:, None, :2] * (turns[:, 2] / down[:, None])[:, :, None])
    return origin[:2] + depth[:, None] * rays[:, :2], (slopes * errors[:, :, None]).swapaxes(1, 2)


def _by_height(boxes: np.ndarray, class_ids: np.ndarray, camera: CameraModel) -> Tuple[np.ndarray, np.ndarray]:
    """(N, 2) places below objects of usual height, and a root of their covariances (N, 2, 2)."""
    heights = boxes[:, 3] - boxes[:, 1]
    rays, origin = _rays(0.5 * (boxes[:, :2] + boxes[:, 2:]), camera)
    depth = camera.intrinsics[1, 1] * SIZE_PRIORS[class_ids, 2] / heights
    edge_std = _edge_noise(boxes)
    across = (depth * edge_std / camera.intrinsics[0, 0])[:, None] * camera.camera_from_base[0, :2]
    along = (depth * np.hypot(HEIGHT_SPREAD[class_ids], np.sqrt(2.0) * edge_std / heights))[:, None] * rays[:, :2]
    return origin[:2] + depth[:, None] * rays[:, :2], np.stack((across, along), axis=2)


def _edge_noise(boxes: np.ndarray) -> np.ndarray:
    """(N,) error of a box's edges (standard deviation), pixels."""
    return np.hypot(EDGE_NOISE_PIXELS, EDGE_NOISE_SHARE * (boxes[:, 3] - boxes[:, 1]))
