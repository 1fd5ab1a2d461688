"""The path: from where the vehicle is back to the centre line."""

import math
from dataclasses import dataclass

import numpy as np

from l4edge_pipeline.planning.config import PlannerConfig
from l4edge_pipeline.planning.route import RouteLine

_STEP_M = 1.0


@dataclass(frozen=True)
class LateralReturn:
    """The offset from the centre line as a cubic in arc length that ends on the line, along it.

    A cubic leaves the curvature at its start free. Replanned from the measured pose, that curvature,
    ``-6 d / L^2 - 4 d' / L``, is a proportional-derivative law on the offset with a damping ratio of 0.82 and the
    natural frequency sqrt(6) / L per metre: the plan needs no memory to converge.

    Attributes:
        start: arc length of the start, metres.
        offset: at the start, metres, left positive.
        slope: of the offset over arc length at the start.
        distance: metres of arc length until the offset is 0.
    """

    start: float
    offset: float
    slope: float
    distance: float

    def offsets(self, s: np.ndarray) -> np.ndarray:
        """Offset at each arc length ``s`` (N,), metres; constant before the start, 0 behind the end."""
        share = np.clip((s - self.start) / self.distance, 0.0, 1.0)
        return (1 - share) ** 2 * (self.offset * (1 + 2 * share) + self.slope * self.distance * share)

    def slopes(self, s: np.ndarray) -> np.ndarray:
        """Derivative of :meth:`offsets` between start and end."""
        share = np.clip((s - self.start) / self.distance, 0.0, 1.0)
        return (1 - share) * (self.slope * (1 - 3 * share) - 6 * share * self.offset / self.distance)


@dataclass(frozen=True)
class Path:
    """A path as points at even steps of the centre line's arc length. P points, ``map`` frame.

    Attributes:
        s: (P,) arc lengths on the centre line, metres.
        distances: (P,) metres driven since the first point, by the point ``base_link``.
        positions: (P, 2) metres.
        yaws: (P,) radians, unwrapped.
    """

    s: np.ndarray
    distances: np.ndarray
    positions: np.ndarray
    yaws: np.ndarray


def lateral_return(
    s: float, offset: float, heading_error: float, curvature: float, speed: float, config: PlannerConfig
) -> LateralReturn:
    """Choose the way back: no tighter than the vehicle can steer, and comfortable if that takes up to twice as far.

    Args:
        s, offset: route coordinates of ``base_link``, metres.
        heading_error: vehicle's yaw minus the line's, radians.
        curvature: of the line at ``s``, 1/m.
        speed: metres per second.
        config: bounds of the return.
    """
    slope = math.tan(heading_error) * (1 - curvature * offset)
    usual = max(config.return_distance_m, speed * config.return_time_s)
    comfortable = _distance(offset, slope, config.return_acceleration_mps2 / max(speed, 0.1) ** 2)
    possible = _distance(offset, slope, config.maximum_curvature_1pm / 2)  # the other half is the lane's own
    return LateralReturn(s, offset, slope, max(usual, min(comfortable, 2 * usual), possible))


def _distance(offset: float, slope: float, curvature: float) -> float:
    """The return distance L whose curvature at the start is at most ``curvature``: k L^2 = 6 |d| + 4 |d'| L."""
    linear = 4 * abs(slope)
    return (linear + math.sqrt(linear**2 + 24 * abs(offset) * curvature)) / (2 * curvature)


def drive_path(line: RouteLine, back: LateralReturn, length: float) -> Path:
    """Lay the path along ``line`` for at least ``length`` metres of its arc length."""
    s = back.start + _STEP_M * np.arange(math.ceil(length / _STEP_M) + 1)
    centre, yaws, curvatures = line.poses(s)
    offsets = back.offsets(s)
    positions = centre + offsets[:, None] * np.column_stack([-np.sin(yaws), np.cos(yaws)])
    yaws = yaws + np.arctan2(back.slopes(s), np.maximum(1 - curvatures * offsets, 0.1))
    pieces = np.diff(positions, axis=0)
    distances = np.concatenate([[0.0], np.cumsum(np.hypot(pieces[:, 0], pieces[:, 1]))])
    return Path(s, distances, positions, yaws)
