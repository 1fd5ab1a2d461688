"""Route coordinates: arc length along the centre line and signed distance from it, left positive."""

from dataclasses import dataclass
from typing import Optional, Tuple

import numpy as np
from scipy.interpolate import CubicSpline

from l4edge_perception.types import Route

_STEP_M = 1.0  # of the resampled line; a chord of it lies 6 mm off an arc of 20 m radius
_KNOT_M = 2.0  # least distance between two points that the spline passes
_LONG_M = 10.0  # a longer piece between two route points is meant to be straight, a shorter one to be curved


@dataclass(frozen=True)
class RouteLine:
    """A centre line resampled at even steps. K points, ``map`` frame.

    Attributes:
        step: metres between two points along the line.
        positions: (K, 2) float64, metres.
        yaws: (K,) float64, radians, unwrapped.
        curvatures: (K,) float64, 1/m, left positive, averaged over a window.
        speed_limits: (K,) float64, metres per second.
    """

    step: float
    positions: np.ndarray
    yaws: np.ndarray
    curvatures: np.ndarray
    speed_limits: np.ndarray

    @property
    def length(self) -> float:
        """Arc length of the last point."""
        return self.step * (len(self.positions) - 1)

    def poses(self, s: np.ndarray) -> Tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Positions (N, 2), yaws (N,) and curvatures (N,) at arc lengths ``s``; straight on beyond both ends."""
        inside = np.clip(s, 0.0, self.length)
        index = np.minimum((inside / self.step).astype(np.intp), len(self.positions) - 2)
        share = inside / self.step - index
        first, second = self.positions[index], self.positions[index + 1]
        yaws = self.yaws[index] + share * (self.yaws[index + 1] - self.yaws[index])
        curvatures = self.curvatures[index] + share * (self.curvatures[index + 1] - self.curvatures[index])
        beyond = (s - inside)[:, None] * np.column_stack([np.cos(yaws), np.sin(yaws)])
        return first + share[:, None] * (second - first) + beyond, yaws, np.where(s == inside, curvatures, 0.0)

    def project(
        self, points: np.ndarray, first_s: float = 0.0, last_s: float = np.inf
    ) -> Tuple[np.ndarray, np.ndarray]:
        """Arc lengths (N,) and lateral offsets (N,) of ``points`` (N, 2), the nearest between two arc lengths.

        A point before or behind that part of the line is measured against its straight continuation.
        """
        low = int(np.clip(first_s / self.step, 0, len(self.positions) - 2))
        high = int(np.clip(np.ceil(last_s / self.step) if np.isfinite(last_s) else np.inf, low + 1, len(self.yaws) - 1))
        starts = self.positions[low:high]
        pieces = self.positions[low + 1 : high + 1] - starts
        lengths = np.maximum(np.hypot(pieces[:, 0], pieces[:, 1]), 1e-9)  # 0 where a route turns on the spot
        tangent_x, tangent_y = pieces[:, 0] / lengths, pieces[:, 1] / lengths

        from_x = points[:, :1] - starts[:, 0]
        from_y = points[:, 1:] - starts[:, 1]
        along = from_x * tangent_x + from_y * tangent_y
        across = from_y * tangent_x - from_x * tangent_y
        least, most = np.zeros(len(starts)), lengths.copy()
        least[0], most[-1] = -np.inf, np.inf
        outside = along - np.clip(along, least, most)

        rows = np.arange(len(points))
        nearest = np.argmin(across**2 + outside**2, axis=1)
        offsets = across[rows, nearest]
        # At a vertex that bulges towards the point no foot lies inside a piece: there the distance is the offset.
        offsets = np.copysign(np.hypot(offsets, outside[rows, nearest]), offsets)
        share = np.clip(along[rows, nearest], least[nearest], most[nearest]) / lengths[nearest]
        return (low + nearest + share) * self.step, offsets


def route_line(route: Route, maximum_speed: float, curvature_window: float) -> Optional[RouteLine]:
    """Resample a route, or None for one that cannot be driven.

    The line is a cubic spline through the points (chord-length parameter), thinned so that centimetres of survey
    noise do not turn into curvature. Pieces longer than 10 m stay straight.

    Args:
        route: the lane to follow.
        maximum_speed: metres per second, caps the speed limits.
        curvature_window: metres over which the change of heading gives the curvature.
    """
    points = np.asarray(route.centre_line, np.float64)
    limits = np.asarray(route.speed_limits, np.float64)
    if points.ndim != 2 or points.shape[1:] != (2,) or len(points) < 2 or limits.shape != (len(points),):
        return None
    if not np.isfinite(points).all() or np.isnan(limits).any():
        return None
    chords = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(points, axis=0).T))])
    if chords[-1] < 2 * _STEP_M:
        return None
    knots = _knots(chords)
    x, y = (np.interp(knots, chords, points[:, axis]) for axis in (0, 1))
    spline = CubicSpline(knots, np.column_stack([x, y]))
    dense = np.linspace(0.0, chords[-1], 4 * int(np.ceil(chords[-1] / _STEP_M)) + 1)
    arc = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(spline(dense), axis=0).T))])
    if arc[-1] < 2 * _STEP_M:  # there and back again between two knots
        return None
    count = int(np.ceil(arc[-1] / _STEP_M)) + 1
    s = np.linspace(0.0, arc[-1], count)
    parameter = np.interp(s, arc, dense)
    slope = spline(parameter, 1)
    yaws = np.unwrap(np.arctan2(slope[:, 1], slope[:, 0]))
    window = min(curvature_window, s[-1])
    before = np.clip(s - window / 2, 0.0, s[-1] - window)
    curvatures = (np.interp(before + window, s, yaws) - np.interp(before, s, yaws)) / window
    # The limit of a route point is valid from it on, up to rounding of the parameter.
    limit_at = np.searchsorted(chords, parameter + 1e-6, side="right") - 1
    return RouteLine(
        step=float(s[1]),
        positions=spline(parameter),
        yaws=yaws,
        curvatures=curvatures,
        speed_limits=np.clip(limits[limit_at], 0.0, maximum_speed),
    )


def straight_line(x: float, y: float, yaw: float, length: float) -> RouteLine:
    """The line straight ahead of a pose, with speed limit 0: where to brake when no route is at hand."""
    count = int(np.ceil(length / _STEP_M)) + 1
    s = _STEP_M * np.arange(count)
    positions = np.column_stack([x + s * np.cos(yaw), y + s * np.sin(yaw)])
    return RouteLine(_STEP_M, positions, np.full(count, yaw), np.zeros(count), np.zeros(count))


def _knots(chords: np.ndarray) -> np.ndarray:
    """Chord lengths at which the spline passes the route: thinned where points are dense, filled on long pieces."""
    kept = [0.0]
    while kept[-1] + _KNOT_M <= chords[-1]:
        kept.append(chords[np.searchsorted(chords, kept[-1] + _KNOT_M)])
    if kept[-1] < chords[-1] and len(kept) > 1:
        kept.pop()  # the last point stays, the one that is too close to it goes
    knots = np.append([knot for knot in kept if knot < chords[-1]], chords[-1])
    gaps = np.diff(knots)
    parts = np.where(gaps > _LONG_M, np.ceil(gaps / (_LONG_M / 2)), 1).astype(np.intp)
    within = np.arange(parts.sum()) - np.repeat(np.cumsum(parts) - parts, parts)
    return np.append(np.repeat(knots[:-1], parts) + within * np.repeat(gaps / parts, parts), knots[-1])
