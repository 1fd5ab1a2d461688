"""Steering along a path with the kinematic bicycle model."""

import math
from typing import NamedTuple, Optional

import numpy as np

from l4edge_perception.types import EgoState
from l4edge_pipeline.control.config import ControllerConfig


class PathPoint(NamedTuple):
    """The nearest point of a path, seen from a vehicle.

    Attributes:
        distance: of the vehicle from the path, metres.
        offset: the same with a sign, left of the path positive, sideways only before the start and behind the end.
        heading_error: vehicle's yaw minus the path's, radians.
        curvature: of the path from here on, 1/m, left positive, or None where the path is too short to have one.
        ahead: metres of path left from here on.
    """

    distance: float
    offset: float
    heading_error: float
    curvature: Optional[float]
    ahead: float


def nearest_point(positions: np.ndarray, yaws: np.ndarray, ego: EgoState, curvature_window: float) -> PathPoint:
    """Find the point of a path nearest to the vehicle.

    Args:
        positions: (T, 2) metres, where several points may coincide. yaws: (T,) radians.
        ego: the vehicle.
        curvature_window: metres of path over which the change of yaw gives the curvature; a shorter path has none.
    """
    lengths = np.hypot(*np.diff(positions, axis=0).T)
    distances = np.concatenate([[0.0], np.cumsum(lengths)])
    if distances[-1] < curvature_window:
        away = math.hypot(ego.x - positions[0, 0], ego.y - positions[0, 1])
        return PathPoint(away, 0.0, math.remainder(ego.yaw - float(yaws[0]), 2 * math.pi), None, float(distances[-1]))
    kept = np.flatnonzero(lengths > 0)
    starts, lengths = positions[kept], lengths[kept]
    tangents = (positions[kept + 1] - starts) / lengths[:, None]
    away_x, away_y = ego.x - starts[:, 0], ego.y - starts[:, 1]
    along = away_x * tangents[:, 0] + away_y * tangents[:, 1]
    across = away_y * tangents[:, 0] - away_x * tangents[:, 1]
    inside = np.clip(along, 0.0, lengths)
    squared = across**2 + (along - inside) ** 2
    piece = int(np.argmin(squared))

    here = float(distances[kept[piece]] + inside[piece])
    first = min(here, float(distances[-1]) - curvature_window)
    yaw, yaw_first, yaw_last = np.interp([here, first, first + curvature_window], distances, np.unwrap(yaws))
    return PathPoint(
        distance=math.sqrt(float(squared[piece])),
        offset=float(across[piece]),
        heading_error=math.remainder(ego.yaw - float(yaw), 2 * math.pi),
        curvature=float(yaw_last - yaw_first) / curvature_window,
        ahead=float(distances[-1]) - here,
    )


def steering_angle(point: PathPoint, curvature: float, speed: float, config: ControllerConfig) -> float:
    """Front wheel angle, radians: pure pursuit linearised about the path, around the path's own curvature.

    Pure pursuit (Coulter, CMU-RI-TR-92-01) steers the arc through a point of the path at look-ahead distance ``l``. For
    small errors on a straight path that arc's curvature is ``-2 e / l^2 - 2 psi / l``: in distance driven, a second
    order with damping ratio 1 / sqrt(2). Adding the path's curvature removes the corner cutting, and no point
    beyond a short path's end is needed.

    Args:
        point: where the vehicle is along the path.
        curvature: of the path there, 1/m.
        speed: metres per second.
        config: look-ahead and limits.
    """
    ahead = max(config.minimum_lookahead_m, speed * config.lookahead_time_s)
    feedback = 2 * point.offset / ahead**2 + 2 * math.sin(point.heading_error) / ahead
    wanted = math.atan(config.wheelbase_m * (curvature - feedback))
    return min(max(wanted, -config.maximum_steering_rad), config.maximum_steering_rad)
