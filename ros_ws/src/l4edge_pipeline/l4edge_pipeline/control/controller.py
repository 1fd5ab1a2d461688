"""The controller: trajectory and ego state in, command out; and the watchdog over both."""

import math
from dataclasses import dataclass
from typing import Optional, Tuple

import numpy as np

from l4edge_perception.types import ControlCommand, EgoState, Trajectory
from l4edge_pipeline.control.config import ControllerConfig
from l4edge_pipeline.control.steering import nearest_point, steering_angle
from l4edge_pipeline.planning.motion import carried_on, is_finite

_STANDING_GAP_M = 0.5  # a trajectory that ends nearer than this is at its end
_CLEARLY_HARDER = 1.2  # less than this share beyond comfortable braking is not worth leaving comfort for


@dataclass(frozen=True)
class ControllerState:
    """All that one command hands on to the next.

    Attributes:
        stamp_ns: latest stamp of a command, or None before the first.
        steering_angle: last asked for, radians.
        acceleration: last asked for, metres per second squared.
        integral: of the speed law, metres per second squared.
        trajectory: the last usable one; a safe stop steers along its path.
    """

    stamp_ns: Optional[int] = None
    steering_angle: float = 0.0
    acceleration: float = 0.0
    integral: float = 0.0
    trajectory: Optional[Trajectory] = None


class Controller:
    """Follows trajectories; without a usable one, or when told to stop, it brakes along the last one and then stands.

    A command depends on the arguments, the configuration and ``state`` alone; no clock is read.

    Attributes:
        config: the parameters.
        state: what the last command left for the next.
    """

    def __init__(self, config: ControllerConfig) -> None:
        self.config = config
        self.state = ControllerState()

    def command(
        self, trajectory: Optional[Trajectory], ego: Optional[EgoState], stamp_ns: int, halt: bool = False
    ) -> ControlCommand:
        """Decide for the moment ``stamp_ns``.

        Trajectory and ego state are usable when they are finite, not too old by their stamps, and near each other.
        The first command after a fault that finds both usable is a normal one again.

        Args:
            trajectory: the newest one, or None.
            ego: the newest ego state, or None.
            stamp_ns: now, on the clock of the stamps.
            halt: the minimal-risk manoeuvre: to a standstill, whatever speed the trajectory has.

        Returns:
            A command with the trajectory's stamp, or in a safe stop without one with ``stamp_ns``.
        """
        config = self.config
        longest = config.maximum_trajectory_age_s
        if self.state.stamp_ns is None or stamp_ns < self.state.stamp_ns - longest * 1e9:
            # The first command, or the clock was set back: another recording, or the beginning of the same again.
            self.state = _start(ego, config)
            elapsed = config.period_s
        else:
            # A trajectory that ends a silence may be stamped a little before the last command of that silence.
            elapsed = _within((stamp_ns - self.state.stamp_ns) / 1e9, 0.0, longest)
        state = self.state
        if not _usable_ego(ego, stamp_ns, config):
            ego = None
        if not _usable_trajectory(trajectory, stamp_ns, config):
            trajectory = None

        steering, near, left = state.steering_angle, False, math.inf
        followed = trajectory or state.trajectory
        if followed is not None and ego is not None:
            pose = carried_on(ego, (stamp_ns - ego.stamp_ns) / 1e9 + config.actuation_delay_s)
            point = nearest_point(followed.positions, followed.yaws, pose, config.curvature_window_m)
            near = point.distance <= config.maximum_path_distance_m
            if near and followed.speeds[-1] < config.standing_speed_mps:
                left = point.ahead
            if near and point.curvature is not None:
                steering = steering_angle(point, point.curvature, ego.speed, config)
        if trajectory is not None and ego is not None and near:
            stamp, emergency = trajectory.stamp_ns, halt
            if halt:
                acceleration, speed, integral = _halt(trajectory, ego, stamp_ns, config), 0.0, 0.0
            else:
                acceleration, speed, integral = _follow(trajectory, ego, stamp_ns, elapsed, state.integral, config)
        else:
            stamp, emergency = stamp_ns, True
            acceleration, speed, integral = _safe_stop(ego, state.acceleration, left, config), 0.0, 0.0
            trajectory = state.trajectory
        steering = _towards(state.steering_angle, steering, config.maximum_steering_rate_radps * elapsed)
        acceleration = _towards(state.acceleration, acceleration, config.maximum_jerk_mps3 * elapsed)
        latest = stamp_ns if state.stamp_ns is None else max(stamp_ns, state.stamp_ns)
        self.state = ControllerState(latest, steering, acceleration, integral, trajectory)
        return ControlCommand(stamp, steering, acceleration, speed, emergency)


def _start(ego: Optional[EgoState], config: ControllerConfig) -> ControllerState:
    """Take over from what the vehicle does already, where that can be seen from its motion."""
    if ego is None or not is_finite(ego) or ego.speed < 1.0:
        return ControllerState()
    angle = math.atan(config.wheelbase_m * ego.yaw_rate / ego.speed)
    return ControllerState(
        steering_angle=_within(angle, -config.maximum_steering_rad, config.maximum_steering_rad),
        acceleration=_within(ego.acceleration, -config.maximum_deceleration_mps2, config.maximum_acceleration_mps2),
    )


def _follow(
    trajectory: Trajectory, ego: EgoState, stamp_ns: int, elapsed: float, integral: float, config: ControllerConfig
) -> Tuple[float, float, float]:
    """Acceleration, aimed speed and new integral: the planned acceleration plus PI on the speed."""
    acting = (stamp_ns - trajectory.stamp_ns) / 1e9 + config.actuation_delay_s
    aimed = float(np.interp(acting, trajectory.times, trajectory.speeds))
    soon = (trajectory.times >= acting) & (trajectory.times <= acting + config.moving_off_time_s)
    moving_off = bool((trajectory.speeds[soon] >= config.standing_speed_mps).any())
    if max(ego.speed, aimed) < config.standing_speed_mps and not moving_off:
        return -config.holding_deceleration_mps2, aimed, 0.0

    planned = float(np.interp(acting, trajectory.times, trajectory.accelerations))
    measured_at = (ego.stamp_ns - trajectory.stamp_ns) / 1e9
    error = float(np.interp(measured_at, trajectory.times, trajectory.speeds)) - ego.speed
    wanted = planned + config.speed_gain_1ps * error + integral
    limited = _within(wanted, -config.maximum_deceleration_mps2, config.maximum_acceleration_mps2)
    # Against wind-up: what the limits cut off must not be integrated further.
    if wanted == limited or (wanted - limited) * error < 0:
        integral += config.integral_gain_1ps2 * error * elapsed
        integral = _within(integral, -config.integral_limit_mps2, config.integral_limit_mps2)
    return limited, aimed, integral


def _halt(trajectory: Trajectory, ego: EgoState, stamp_ns: int, config: ControllerConfig) -> float:
    """Brake comfortably, or as hard as is planned for what is in the way, to a standstill; then hold the vehicle."""
    if ego.speed < config.standing_speed_mps:
        return -config.holding_deceleration_mps2
    acting = (stamp_ns - trajectory.stamp_ns) / 1e9 + config.actuation_delay_s
    planned = float(np.interp(acting, trajectory.times, trajectory.accelerations))
    return max(min(-config.safe_stop_deceleration_mps2, planned), -config.maximum_deceleration_mps2)


def _safe_stop(ego: Optional[EgoState], acceleration: float, left: float, config: ControllerConfig) -> float:
    """Brake to a standstill and hold the vehicle there.

    Comfortably, or as hard as before, or as hard as it takes to stand where the last trajectory would have stood
    (``left`` metres ahead): what it stopped for is still there, though nobody sees it any more.
    """
    if ego is not None and ego.speed < config.standing_speed_mps:
        return -config.holding_deceleration_mps2
    comfortable = config.safe_stop_deceleration_mps2
    needed = 0.0 if ego is None else ego.speed**2 / (2 * max(left, _STANDING_GAP_M))
    if needed < comfortable * _CLEARLY_HARDER:
        needed = comfortable
    return max(min(-needed, acceleration), -config.maximum_deceleration_mps2)


def _usable_ego(ego: Optional[EgoState], stamp_ns: int, config: ControllerConfig) -> bool:
    return ego is not None and is_finite(ego) and abs(stamp_ns - ego.stamp_ns) / 1e9 <= config.maximum_odometry_age_s


def _usable_trajectory(trajectory: Optional[Trajectory], stamp_ns: int, config: ControllerConfig) -> bool:
    if trajectory is None or abs(stamp_ns - trajectory.stamp_ns) / 1e9 > config.maximum_trajectory_age_s:
        return False
    numbers = (trajectory.times, trajectory.positions, trajectory.yaws, trajectory.speeds, trajectory.accelerations)
    return (
        len(trajectory.times) > 1
        and all(bool(np.isfinite(values).all()) for values in numbers)
        and bool((np.diff(trajectory.times) > 0).all())
    )


def _towards(value: float, target: float, step: float) -> float:
    return _within(target, value - step, value + step)


def _within(value: float, low: float, high: float) -> float:
    return min(max(value, low), high)
