"""How a camera sits on the vehicle."""

import math
from dataclasses import dataclass

import numpy as np

from l4edge_perception.recordings.cameras import ASSUMED_CAMERA_HEIGHT, OPTICAL_FROM_VEHICLE


@dataclass(frozen=True)
class CameraMounting:
    """Place and direction of a camera on ``base_link``, as a person measures them.

    Attributes:
        camera_forward_m, camera_left_m, camera_height_m: of the optical centre.
        camera_yaw_degrees: left positive. camera_pitch_degrees: down positive. camera_roll_degrees: clockwise positive.
    """

    camera_forward_m: float = 0.0
    camera_left_m: float = 0.0
    camera_height_m: float = ASSUMED_CAMERA_HEIGHT
    camera_yaw_degrees: float = 0.0
    camera_pitch_degrees: float = 0.0
    camera_roll_degrees: float = 0.0

    def camera_from_base(self) -> np.ndarray:
        """(4, 4) float64, takes a homogeneous point from ``base_link`` to ``camera``."""
        yaw, pitch, roll = (
            math.radians(angle)
            for angle in (self.camera_yaw_degrees, self.camera_pitch_degrees, self.camera_roll_degrees)
        )
        about_z = np.array([[math.cos(yaw), -math.sin(yaw), 0], [math.sin(yaw), math.cos(yaw), 0], [0, 0, 1]])
        about_y = np.array([[math.cos(pitch), 0, math.sin(pitch)], [0, 1, 0], [-math.sin(pitch), 0, math.cos(pitch)]])
        about_x = np.array([[1, 0, 0], [0, math.cos(roll), -math.sin(roll)], [0, math.sin(roll), math.cos(roll)]])
        transform = np.eye(4)
        transform[:3, :3] = OPTICAL_FROM_VEHICLE @ (about_z @ about_y @ about_x).T
        centre = np.array([self.camera_forward_m, self.camera_left_m, self.camera_height_m])
        transform[:3, 3] = -transform[:3, :3] @ centre
        return transform
