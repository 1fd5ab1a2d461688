"""How fast to drive along a path: what the road allows, what the objects ahead allow, what comfort allows."""

import math
from typing import List, NamedTuple, Optional, Sequence

import numpy as np

from l4edge_pipeline.planning.config import PlannerConfig
from l4edge_pipeline.planning.obstacles import Obstacle
from l4edge_pipeline.planning.path import Path
from l4edge_pipeline.planning.reasons import ARRIVE, CAUTION, CRUISE, CURVE, FOLLOW, STOP, YIELD
from l4edge_pipeline.planning.route import RouteLine

_CAUSES = (CRUISE, CURVE, ARRIVE)
_NOTICEABLE_MPS2 = 0.2  # an object that costs less acceleration than this is heeded, but is not the reason


class AllowedSpeed(NamedTuple):
    """The fastest drive along a centre line that obeys its limits, curves and end. K points.

    Attributes:
        step: metres of arc length between two points.
        speeds: (K,) metres per second.
        causes: (K,) what holds the speed down at the point or further ahead, an index into cruise, curve, arrive.
    """

    step: float
    speeds: np.ndarray
    causes: np.ndarray


class SpeedProfile(NamedTuple):
    """Motion along a path at the times of the configuration. T points.

    Attributes:
        times: (T,) seconds from its start.
        distances: (T,) metres from the path's start.
        speeds: (T,) metres per second, never negative.
        accelerations: (T,) metres per second squared, each constant until the next point.
        reason: the law that binds at the first point.
        obstacle_id: the object that this law yields to, if any.
    """

    times: np.ndarray
    distances: np.ndarray
    speeds: np.ndarray
    accelerations: np.ndarray
    reason: str
    obstacle_id: Optional[int]


def allowed_speed(line: RouteLine, config: PlannerConfig) -> AllowedSpeed:
    """Pass backwards over the line, so that what is slow ahead is reached with the anticipated deceleration ``a``.

    ``v(s)^2 = min over s' >= s of own(s')^2 + 2 a (s' - s)``, where ``own`` is the speed limit, the speed that gives
    the curve's lateral acceleration, whichever is lower, and 0 at the end of the line.
    """
    in_curve = np.sqrt(config.lateral_acceleration_mps2 / np.maximum(np.abs(line.curvatures), 1e-6))
    own = np.minimum(line.speed_limits, in_curve)
    causes = np.where(in_curve < line.speed_limits, _CAUSES.index(CURVE), _CAUSES.index(CRUISE))
    own[-1], causes[-1] = 0.0, _CAUSES.index(ARRIVE)
    numbers = np.arange(len(own))
    slope = 2 * config.anticipated_deceleration_mps2 * line.step * numbers
    potential = own**2 + slope
    lowest = np.minimum.accumulate(potential[::-1])[::-1]
    # What binds at a point is the next one (or itself) that nothing behind undercuts.
    candidates = np.where(potential == lowest, numbers, numbers[-1])
    binding = np.minimum.accumulate(candidates[::-1])[::-1]
    return AllowedSpeed(line.step, np.sqrt(np.maximum(lowest - slope, 0.0)), causes[binding])


def following_acceleration(speed: float, gap: float, lead_speed: float, config: PlannerConfig) -> float:
    """The time-gap law: acceleration behind an object, from the gap in metres and both speeds in metres per second.

    The interaction term of the Intelligent Driver Model (Treiber, Hennecke, Helbing, Phys. Rev. E 62, 2000). Where it
    brakes harder than kinematics ask for, as after a cut-in, it is softened by the constant-acceleration heuristic
    (Kesting, Treiber, Helbing, Phil. Trans. R. Soc. A 368, 2010) with a lead that keeps its speed.
    """
    gap = max(gap, 0.1)
    acceleration, deceleration = config.maximum_acceleration_mps2, config.comfortable_deceleration_mps2
    closing = speed - lead_speed
    dynamic = speed * config.time_gap_s + speed * closing / (2 * math.sqrt(acceleration * deceleration))
    desired = config.standstill_gap_m + max(dynamic, 0.0)
    driver = acceleration * (1 - (desired / gap) ** 2)
    kinematic = -(max(closing, 0.0) ** 2) / (2 * gap)
    if driver >= kinematic:
        return driver
    softened = kinematic + deceleration * math.tanh((driver - kinematic) / deceleration)
    return (1 - config.coolness) * driver + config.coolness * softened


def speed_profile(
    path: Path,
    allowed: AllowedSpeed,
    obstacles: Sequence[Obstacle],
    speed: float,
    acceleration: float,
    config: PlannerConfig,
    cap: float = math.inf,
) -> SpeedProfile:
    """Simulate the vehicle along ``path``: at each step the lowest acceleration of all laws, within comfort's jerk.

    Args:
        path: where to drive, long enough for the horizon.
        allowed: on the centre line that ``path`` follows.
        obstacles: objects to yield to; they keep their speed along the centre line.
        speed, acceleration: of the vehicle at the path's start.
        config: limits.
        cap: speed that the safety state allows, metres per second; a faster vehicle comes down to it gently.
    """
    cells = np.arange(int(path.distances[-1]) + 1)  # one a metre
    arc_lengths = np.interp(cells, path.distances, path.s)
    table: List[float] = np.interp(arc_lengths, allowed.step * np.arange(len(allowed.speeds)), allowed.speeds).tolist()
    obstacles = _undominated(obstacles)
    nears = np.interp([obstacle.near for obstacle in obstacles], path.s, path.distances) - config.front_m
    ahead = list(zip(nears.tolist(), obstacles))
    reason, obstacle_id = "", None
    distances, speeds, accelerations = [0.0], [max(speed, 0.0)], []
    times = config.times
    for now, then in zip(times, times[1:]):
        distance, speed = distances[-1], speeds[-1]
        road = target = _road_acceleration(table, distance, speed, config)
        gentle = (cap - speed) / config.speed_response_s
        capped = gentle < road
        if capped:
            road = target = min(road, max(gentle, -config.anticipated_deceleration_mps2))
        binding: Optional[Obstacle] = None
        for near, obstacle in ahead:
            gap = near + obstacle.speed * now - distance
            asked = _obstacle_acceleration(obstacle, gap, speed, config)
            if asked < target:
                target, binding = asked, obstacle
        if now == 0:
            binding = binding if road - target > _NOTICEABLE_MPS2 else None
            ahead_s = path.s[0] + speed * config.speed_response_s
            reason = CAUTION if capped and binding is None else _reason(binding, road, allowed, ahead_s, config)
            obstacle_id = binding.track_id if binding is not None and binding.track_id >= 0 else None
        next_speed = max(speed + _within_jerk(acceleration, target, then - now, config) * (then - now), 0.0)
        acceleration = (next_speed - speed) / (then - now)
        distances.append(distance + (speed + next_speed) / 2 * (then - now))
        speeds.append(next_speed)
        accelerations.append(acceleration)
    accelerations.append(accelerations[-1])
    return SpeedProfile(
        np.array(times), np.array(distances), np.array(speeds), np.array(accelerations), reason, obstacle_id
    )


def _undominated(obstacles: Sequence[Obstacle]) -> List[Obstacle]:
    """Leave out what is further than another that is no faster and may cause as hard braking: it never binds."""
    kept: List[Obstacle] = []
    for obstacle in sorted(obstacles, key=lambda obstacle: obstacle.near):
        if not any(near.speed <= obstacle.speed and near.deceleration >= obstacle.deceleration for near in kept):
            kept.append(obstacle)
    return kept


def _road_acceleration(table: List[float], distance: float, speed: float, config: PlannerConfig) -> float:
    """Reach within the response time what is allowed here, or where the vehicle will be by then if that is less."""
    if speed < config.standing_speed_mps and _at(table, distance + config.restart_distance_m) <= 0:
        return -config.settling_deceleration_mps2  # stand, rather than creep up to the very end
    wanted = min(_at(table, distance), _at(table, distance + speed * config.speed_response_s))
    target = (wanted - speed) / config.speed_response_s
    return min(max(target, -config.comfortable_deceleration_mps2), config.maximum_acceleration_mps2)


def _obstacle_acceleration(obstacle: Obstacle, gap: float, speed: float, config: PlannerConfig) -> float:
    if (
        max(speed, obstacle.speed) < config.standing_speed_mps
        and gap < config.standstill_gap_m + config.restart_distance_m
    ):
        return -config.settling_deceleration_mps2  # stand, rather than creep up to the standstill gap
    return max(following_acceleration(speed, gap, obstacle.speed, config), -obstacle.deceleration)


def _within_jerk(acceleration: float, target: float, seconds: float, config: PlannerConfig) -> float:
    """Move ``acceleration`` towards ``target`` for a step of ``seconds``."""
    step = _jerk(min(acceleration, target), config) * seconds
    target = min(max(target, acceleration - step), acceleration + step)
    return min(max(target, -config.emergency_deceleration_mps2), config.maximum_acceleration_mps2)


def _jerk(lowest: float, config: PlannerConfig) -> float:
    """The jerk to allow: comfort's down to comfortable braking, from there rising to that of an emergency."""
    comfortable, emergency = config.comfortable_deceleration_mps2, config.emergency_deceleration_mps2
    urgency = min(max((-lowest - comfortable) / (emergency - comfortable), 0.0), 1.0)
    return config.comfortable_jerk_mps3 + urgency * (config.emergency_jerk_mps3 - config.comfortable_jerk_mps3)


def _reason(binding: Optional[Obstacle], road: float, allowed: AllowedSpeed, s: float, config: PlannerConfig) -> str:
    if binding is None:
        if road >= config.maximum_acceleration_mps2:
            return CRUISE
        nearest = min(max(round(s / allowed.step), 0), len(allowed.causes) - 1)
        return _CAUSES[allowed.causes[nearest]]
    if binding.reason:
        return binding.reason
    if not binding.on_path:
        return YIELD
    return STOP if binding.speed < config.standing_speed_mps else FOLLOW


def _at(table: List[float], distance: float) -> float:
    """Linear interpolation in a table with one entry a metre, its last value beyond the end."""
    cell = int(distance)
    if cell + 1 >= len(table):
        return table[-1]
    return table[cell] + (distance - cell) * (table[cell + 1] - table[cell])
