"""The planner: tracks, ego state and route in, trajectory out."""

import math
from dataclasses import dataclass, replace
from typing import NamedTuple, Optional, Tuple

import numpy as np

from l4edge_perception.safety_types import SafetyStatus, State
from l4edge_perception.types import EgoState, Route, Tracks, Trajectory
from l4edge_pipeline.planning.config import PlannerConfig
from l4edge_pipeline.planning.doubts import Doubt, approach
from l4edge_pipeline.planning.motion import carried_on, is_finite, wrapped
from l4edge_pipeline.planning.obstacles import obstacles_ahead, unplaced
from l4edge_pipeline.planning.path import drive_path, lateral_return
from l4edge_pipeline.planning.reasons import MINIMAL_RISK, NO_ODOMETRY, NO_ROUTE, OFF_ROUTE, STALE_ODOMETRY
from l4edge_pipeline.planning.route import RouteLine, route_line, straight_line
from l4edge_pipeline.planning.safe_stop import stop_obstacle, stop_place
from l4edge_pipeline.planning.signals import Place as SignalPlace
from l4edge_pipeline.planning.signals import Signal, heed
from l4edge_pipeline.planning.speed import AllowedSpeed, allowed_speed, speed_profile

_SEARCH_M = 30.0  # how far around the last arc length the vehicle is looked for first


@dataclass(frozen=True)
class PlannerState:
    """All that one plan hands on to the next.

    Attributes:
        arc_length: of the vehicle on the route, metres, or None while it is not on one.
        trajectory: the last one, or None.
        unplaced_objects: possible obstacles of the last frame that were left out, their position being unknown.
        signals: stop signs and lights on the way.
        doubts: signs and lights on the way that alarms are about.
        safe_stop: arc length at which the front bumper is to stop in the safety state DEGRADED, or None.
    """

    arc_length: Optional[float] = None
    trajectory: Optional[Trajectory] = None
    unplaced_objects: int = 0
    signals: Tuple[Signal, ...] = ()
    doubts: Tuple[Doubt, ...] = ()
    safe_stop: Optional[float] = None


class _Place(NamedTuple):
    """The line to follow and where the vehicle is on it; ``fault`` is "" on a route that can be followed."""

    line: RouteLine
    allowed: AllowedSpeed
    s: float
    offset: float
    heading_error: float
    fault: str


class Planner:
    """Follows the centre line and yields to what is in the way.

    A plan depends on the arguments, the configuration and ``state`` alone; no clock is read.

    Attributes:
        config: the parameters.
        state: what the last plan left for the next.
    """

    def __init__(self, config: PlannerConfig) -> None:
        self.config = config
        self.state = PlannerState()
        self._route: Optional[Route] = None
        self._line: Optional[RouteLine] = None
        self._allowed: Optional[AllowedSpeed] = None
        self._careful: Optional[PlannerConfig] = None

    def plan(
        self, tracks: Tracks, ego: Optional[EgoState], route: Optional[Route], status: Optional[SafetyStatus] = None
    ) -> Trajectory:
        """Plan from the stamp of ``tracks``.

        A fault of the inputs ends in a trajectory that brakes to a standstill and names the fault as its reason.

        Args:
            tracks: objects at ``tracks.stamp_ns``; those without a finite position are left out and counted.
            ego: newest ego state, or None.
            route: the lane to follow, or None. The same object handed in again costs nothing.
            status: what the supervisor allows; None: no supervisor is part of the run.
        """
        state = status.state if status else State.NOMINAL
        config = self._with_headway(status.minimum_time_gap if status else 0.0)
        self._take_route(route)
        missing = int(np.count_nonzero(unplaced(tracks)))
        if ego is None or not is_finite(ego):
            trajectory = _standing(tracks.stamp_ns, config)
            self.state = replace(self.state, trajectory=trajectory, unplaced_objects=missing)
            return trajectory

        age = (tracks.stamp_ns - ego.stamp_ns) / 1e9
        stale = abs(age) > config.maximum_odometry_age_s
        ego = carried_on(ego, math.copysign(min(abs(age), config.maximum_odometry_age_s), age))
        place = self._place(ego)
        fault = STALE_ODOMETRY if stale else place.fault
        halting = state == State.MINIMAL_RISK_MANOEUVRE
        allowed = _standstill(place.line) if fault or halting else place.allowed

        curvature = float(place.line.poses(np.array([place.s]))[2][0])
        back = lateral_return(place.s, place.offset, place.heading_error, curvature, ego.speed, config)
        reach = config.horizon_s * (max(ego.speed, 0.0) + config.maximum_acceleration_mps2 * config.horizon_s / 2)
        path = drive_path(place.line, back, max(reach, config.object_range_m))
        obstacles = obstacles_ahead(tracks, place.line, back, ego, config)
        signals: Tuple[Signal, ...] = ()
        doubts: Tuple[Doubt, ...] = ()
        if not place.fault:
            where = SignalPlace(place.s + config.front_m, place.s + config.camera_m, max(ego.speed, 0.0))
            signals, stops = heed(
                self.state.signals, tracks, place.line, where, config, believed=state < State.DEGRADED
            )
            suspects = status.suspects if status else ()
            doubts, doubted = approach(self.state.doubts, suspects, tracks, place.line, where, config)
            obstacles = obstacles + stops + doubted
        stop = self._safe_stop(state, place, ego.speed, tracks, signals, doubts)
        if stop is not None:
            obstacles = [*obstacles, stop_obstacle(stop, config)]
        start = self._acceleration(tracks.stamp_ns, ego)
        cap = status.speed_cap if status and State.NOMINAL < state < State.MINIMAL_RISK_MANOEUVRE else math.inf
        profile = speed_profile(path, allowed, obstacles, ego.speed, start, config, cap)
        trajectory = Trajectory(
            stamp_ns=tracks.stamp_ns,
            times=profile.times,
            positions=np.column_stack(
                [np.interp(profile.distances, path.distances, path.positions[:, axis]) for axis in (0, 1)]
            ),
            yaws=np.interp(profile.distances, path.distances, path.yaws),
            speeds=profile.speeds,
            accelerations=profile.accelerations,
            reason=fault or (MINIMAL_RISK if halting else profile.reason),
            obstacle_id=profile.obstacle_id,
        )
        self.state = PlannerState(None if place.fault else place.s, trajectory, missing, signals, doubts, stop)
        return trajectory

    def _with_headway(self, time_gap_s: float) -> PlannerConfig:
        """The configuration with at least this time gap; made once for each."""
        if time_gap_s <= self.config.time_gap_s:
            return self.config
        if self._careful is None or self._careful.time_gap_s != time_gap_s:
            self._careful = replace(self.config, time_gap_s=time_gap_s)
        return self._careful

    def _safe_stop(
        self, state: State, place: _Place, speed: float, tracks: Tracks, signals: Tuple[Signal, ...],
        doubts: Tuple[Doubt, ...],
    ) -> Optional[float]:
        """Where DEGRADED stops: chosen once, and again where the vehicle has driven past it or stops for a doubt."""
        if state != State.DEGRADED or place.fault:
            return None
        chosen, front = self.state.safe_stop, place.s + self.config.front_m
        if chosen is None or front >= chosen + self.config.restart_distance_m:
            lines = [*(signal.s for signal in signals), *(doubt.s for doubt in doubts)]
            chosen = stop_place(place.line, front, speed, tracks, lines, self.config)
        return min([chosen, *(doubt.stop for doubt in doubts if doubt.committed)])

    def _take_route(self, route: Optional[Route]) -> None:
        if route is self._route:
            return
        if not _same(route, self._route):
            config = self.config
            self._line = route_line(route, config.maximum_speed_mps, config.curvature_window_m) if route else None
            self._allowed = allowed_speed(self._line, config) if self._line else None
            self.state = replace(self.state, arc_length=None, signals=(), doubts=(), safe_stop=None)
        self._route = route

    def _place(self, ego: EgoState) -> _Place:
        """Find the vehicle on the route: near where it was, else anywhere; else go straight ahead to a standstill."""
        config, line, allowed = self.config, self._line, self._allowed
        if line is None or allowed is None:
            return _straight_ahead(ego, NO_ROUTE, config)
        place = None if self.state.arc_length is None else _on_line(line, allowed, ego, self.state.arc_length, config)
        if place is None:
            away = np.hypot(line.positions[:, 0] - ego.x, line.positions[:, 1] - ego.y)
            along = np.abs(wrapped(line.yaws - ego.yaw)) <= config.maximum_heading_error_rad
            nearest = line.step * float(np.argmin(np.where(along, away, np.inf)))
            place = _on_line(line, allowed, ego, nearest, config)
        return place or _straight_ahead(ego, OFF_ROUTE, config)

    def _acceleration(self, stamp_ns: int, ego: EgoState) -> float:
        """What the last plan accelerates with now, or the measured value where the vehicle does not follow it."""
        last = self.state.trajectory
        if last is not None:
            elapsed = (stamp_ns - last.stamp_ns) / 1e9
            if 0 < elapsed <= self.config.plan_memory_s:
                speed = float(np.interp(elapsed, last.times, last.speeds))
                if abs(speed - ego.speed) <= self.config.plan_deviation_mps:
                    # Each acceleration holds from its time to the next; take the one that is just ending.
                    return float(last.accelerations[max(int(np.searchsorted(last.times, elapsed - 1e-6)) - 1, 0)])
        return ego.acceleration


def _on_line(
    line: RouteLine, allowed: AllowedSpeed, ego: EgoState, centre: float, config: PlannerConfig
) -> Optional[_Place]:
    """The vehicle's place on the part of the route around arc length ``centre``, or None where it is not there."""
    projected, offsets = line.project(np.array([[ego.x, ego.y]]), centre - _SEARCH_M, centre + _SEARCH_M)
    s, offset = float(projected[0]), float(offsets[0])
    error = float(wrapped(ego.yaw - line.poses(projected)[1])[0])
    beyond = max(-s, s - line.length, 0.0)
    if max(abs(offset), beyond) > config.maximum_route_distance_m or abs(s - centre) > _SEARCH_M:
        return None
    return _Place(line, allowed, s, offset, error, "") if abs(error) <= config.maximum_heading_error_rad else None


def _straight_ahead(ego: EgoState, fault: str, config: PlannerConfig) -> _Place:
    line = straight_line(ego.x, ego.y, ego.yaw, config.object_range_m)
    return _Place(line, _standstill(line), 0.0, 0.0, 0.0, fault)


def _standstill(line: RouteLine) -> AllowedSpeed:
    return AllowedSpeed(line.step, np.zeros(len(line.positions)), np.zeros(len(line.positions), np.intp))


def _standing(stamp_ns: int, config: PlannerConfig) -> Trajectory:
    """Stand at the map's origin, as good as any place while the vehicle's own is unknown."""
    times = np.array(config.times)
    zeros = np.zeros(len(times))
    return Trajectory(stamp_ns, times, np.zeros((len(times), 2)), zeros, zeros, zeros, NO_ODOMETRY)


def _same(first: Optional[Route], second: Optional[Route]) -> bool:
    if first is None or second is None:
        return first is second
    return all(np.array_equal(getattr(first, name), getattr(second, name)) for name in ("centre_line", "speed_limits"))
