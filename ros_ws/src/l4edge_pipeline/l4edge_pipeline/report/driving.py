"""Judgement of driving: what the planner would have done in a drive that is known to its end.

Open loop: the vehicle of the recording does not follow the plans, and the others do not react to them. So these
figures compare planners; they are no proof of safe driving.
"""

import math
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Sequence, SupportsFloat, Tuple

import numpy as np

from l4edge_perception.types import OBJECT_CLASSES, ControlCommand, EgoState, GroundTruth, Route, Trajectory
from l4edge_pipeline.planning.config import PlannerConfig
from l4edge_pipeline.planning.footprints import rectangles_overlap
from l4edge_pipeline.planning.motion import wrapped
from l4edge_pipeline.planning.reasons import NO_ODOMETRY
from l4edge_pipeline.planning.route import route_line

COLLISION_HORIZON_S = 3.0
TTC_HORIZON_S = 5.0
TTC_BOUND_S = 0.95  # below it, nuPlan counts a violation
STEP_S = 0.1
GAP_S = 0.5  # recordings are interpolated over, and episodes reach over, at most this
FRONT, SIDE, REAR = "front", "side", "rear"
DEVIATION_HORIZONS_S = (1.0, 2.0, 3.0)
_OBSTACLE_IDS = [OBJECT_CLASSES.index(name) for name in ("car", "truck", "pedestrian", "cyclist")]


def judge_driving(
    trajectories: Sequence[Trajectory],
    ground_truths: Sequence[GroundTruth],
    egos: Sequence[EgoState],
    commands: Sequence[ControlCommand] = (),
    route: Optional[Route] = None,
    vehicle: Optional[PlannerConfig] = None,
) -> Dict[str, Any]:
    """Judge a replay's planning and control.

    Collision: the vehicle's footprint on the planned trajectory, in its first 3 s, overlaps the footprint of an object
    of the ground truth at that same future time. Trajectories in a row (at most 0.5 s apart) that meet the same object
    are one episode, and episodes are counted, by where the object's centre is at the first contact: ``front`` ahead of
    the front bumper, ``rear`` behind the rear one, ``side`` between. Those at the rear are mostly recorded followers
    who do not know that the plan is slower than the recording.

    Time to collision (after nuPlan's metric): the first 0.1 s step, up to 5 s, at which the vehicle on its planned
    trajectory overlaps an object that keeps the velocity and heading it has in the ground truth at the trajectory's
    stamp; contacts at the rear are left out.

    Args:
        trajectories: planned ones. Those without odometry count in ``reasons`` alone: they tell no place.
        ground_truths: of the same drive; may be empty.
        egos: the recorded drive; may be empty.
        commands: the controller's, in the order given out; may be empty.
        route: the lane to follow.
        vehicle: its outline, by default that of the default parameters.

    Returns:
        A dict ready for JSON; None wherever what a figure needs is not there, and for ``min_ttc_s`` also when no
        trajectory meets anything within 5 s.
    """
    vehicle = vehicle or PlannerConfig()
    trajectories = sorted(trajectories, key=lambda trajectory: trajectory.stamp_ns)
    placed = [trajectory for trajectory in trajectories if trajectory.reason != NO_ODOMETRY]
    egos = sorted(egos, key=lambda ego: ego.stamp_ns)
    return {
        "frames": len(trajectories),
        "reasons": _shares([trajectory.reason for trajectory in trajectories]),
        **_contacts(placed, ground_truths, vehicle),
        "lateral_offset": _lateral_offset(placed, egos, route, vehicle),
        "comfort": {"planned": _planned_comfort(placed), "commanded": _commanded_comfort(commands)},
        "deviation": _deviation(placed, egos),
    }


class _World(NamedTuple):
    """Ground truth on a grid of G frames and U objects, NaN where an object is not there.

    ``stamps_ns`` (G,) int64 rising, ``ids`` (U,), ``class_ids`` (U,), ``states`` (G, U, 7): x, y, yaw, velocity x and
    y, length, width.
    """

    stamps_ns: np.ndarray
    ids: np.ndarray
    class_ids: np.ndarray
    states: np.ndarray

    def at(self, stamps_ns: np.ndarray) -> np.ndarray:
        """States (T, U, 7) at ``stamps_ns`` (T,), interpolated between frames; NaN where an object is not known."""
        left, right, share = _between(self.stamps_ns, stamps_ns)
        first, second = self.states[left], self.states[right]
        # An object that is in one frame only is known at that frame's stamp, though not between the two.
        first = np.where((share == 1)[:, None, None], second, first)
        mixed = first + share[:, None, None] * (second - first)
        mixed[..., 2] = first[..., 2] + share[:, None] * wrapped(second[..., 2] - first[..., 2])
        return mixed


def _between(known_ns: np.ndarray, wanted_ns: np.ndarray) -> Tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The neighbours of each wanted stamp among the known ones, and its place between them in 0..1.

    The place is NaN outside of the recording and in its gaps.
    """
    right = np.clip(np.searchsorted(known_ns, wanted_ns), 0, len(known_ns) - 1)
    left = np.maximum(right - 1, 0)
    gap = (known_ns[right] - known_ns[left]) / 1e9
    share = (wanted_ns - known_ns[left]) / 1e9 / np.where(gap > 0, gap, 1.0)
    share = np.where((share >= 0) & (share <= 1) & (gap > 0) & (gap <= GAP_S), share, np.nan)
    return left, right, np.where(known_ns[right] == wanted_ns, 1.0, share)


def _world(ground_truths: Sequence[GroundTruth]) -> _World:
    frames = sorted(ground_truths, key=lambda frame: frame.stamp_ns)
    kept = [np.isin(frame.class_ids, _OBSTACLE_IDS) & ~frame.ignore for frame in frames]
    all_ids = np.concatenate([frame.ids[keep] for frame, keep in zip(frames, kept)])
    all_classes = np.concatenate([frame.class_ids[keep] for frame, keep in zip(frames, kept)])
    ids, first = np.unique(all_ids, return_index=True)
    states = np.full((len(frames), len(ids), 7), np.nan)
    for row, frame, keep in zip(states, frames, kept):
        row[np.searchsorted(ids, frame.ids[keep])] = np.column_stack(
            [frame.positions[keep, :2], frame.yaws[keep], frame.velocities[keep], frame.sizes[keep, :2]]
        )
    return _World(np.array([frame.stamp_ns for frame in frames], np.int64), ids, all_classes[first], states)


def _contacts(
    trajectories: Sequence[Trajectory], ground_truths: Sequence[GroundTruth], vehicle: PlannerConfig
) -> Dict[str, Any]:
    """Collisions in the recorded future and times to collision at constant velocity."""
    world = _world(ground_truths) if ground_truths else None
    episodes: List[Dict[str, Any]] = []
    times_to_collision = []
    for trajectory in trajectories:
        if world is None or np.isnan(_between(world.stamps_ns, np.array([trajectory.stamp_ns]))[2]).any():
            continue
        taus = np.arange(0.0, min(TTC_HORIZON_S, float(trajectory.times[-1])) + STEP_S / 2, STEP_S)
        poses = _planned_poses(trajectory, taus)
        stamps = trajectory.stamp_ns + np.round(taus * 1e9).astype(np.int64)
        recorded = world.at(stamps[taus <= COLLISION_HORIZON_S + STEP_S / 2])
        for column, step, contact in _first_contacts(poses[: len(recorded)], recorded, vehicle):
            _add_contact(
                episodes,
                {
                    "object_id": int(world.ids[column]),
                    "object_class": OBJECT_CLASSES[world.class_ids[column]],
                    "contact": contact,
                    "first_stamp_ns": trajectory.stamp_ns,
                    "last_stamp_ns": trajectory.stamp_ns,
                    "least_time_to_contact_s": _rounded(taus[step]),
                },
            )
        expected = np.repeat(world.at(stamps[:1]), len(taus), axis=0)
        expected[..., :2] += taus[:, None, None] * expected[..., 3:5]
        ahead = [step for _, step, contact in _first_contacts(poses, expected, vehicle) if contact != REAR]
        times_to_collision.append(float(taus[min(ahead)]) if ahead else math.inf)

    figures = ("collisions", "collisions_by_contact", "collision_episodes", "min_ttc_s", "ttc_violation_share")
    if not times_to_collision:
        return {"judged_frames": 0, **dict.fromkeys(figures)}
    least = min(times_to_collision)
    violations = np.array(times_to_collision) < TTC_BOUND_S
    values = (
        len(episodes),
        {contact: sum(episode["contact"] == contact for episode in episodes) for contact in (FRONT, SIDE, REAR)},
        episodes,
        _rounded(least) if math.isfinite(least) else None,
        _rounded(np.mean(violations)),
    )
    return {"judged_frames": len(times_to_collision), **dict(zip(figures, values))}


def _planned_poses(trajectory: Trajectory, taus: np.ndarray) -> np.ndarray:
    """x, y, yaw (T, 3) of ``base_link`` at ``taus`` (T,) seconds after the trajectory's stamp."""
    columns = (*trajectory.positions.T, np.unwrap(trajectory.yaws))
    return np.column_stack([np.interp(taus, trajectory.times, column) for column in columns])


def _first_contacts(poses: np.ndarray, states: np.ndarray, vehicle: PlannerConfig) -> Iterator[Tuple[int, int, str]]:
    """For each object touched: its column, the step of the first contact, and the side that is touched.

    Args:
        poses: (T, 3) of the vehicle's ``base_link``.
        states: (T, U, 7) of the objects at the same times, as in ``_World``.
        vehicle: its outline.
    """
    forward = np.column_stack([np.cos(poses[:, 2]), np.sin(poses[:, 2])])
    centres = poses[:, :2] + (vehicle.front_m - vehicle.rear_m) / 2 * forward
    size = np.array([vehicle.front_m + vehicle.rear_m, vehicle.width_m])
    away = np.hypot(*np.moveaxis(states[..., :2] - centres[:, None], -1, 0))
    reach = (np.hypot(*size) + np.hypot(states[..., 5], states[..., 6])) / 2
    close = np.flatnonzero((away <= reach).any(axis=0))
    near = states[:, close]
    touching = rectangles_overlap(
        centres[:, None], poses[:, None, 2], size, near[..., :2], near[..., 2], near[..., 5:7]
    )
    for column, touches in zip(close, touching.T):
        if touches.any():
            step = int(np.argmax(touches))
            ahead = (states[step, column, :2] - poses[step, :2]) @ forward[step]
            contact = FRONT if ahead > vehicle.front_m else REAR if ahead < -vehicle.rear_m else SIDE
            yield int(column), step, contact


def _add_contact(episodes: List[Dict[str, Any]], contact: Dict[str, Any]) -> None:
    """Prolong the object's last episode if the contact follows closely, or begin a new one."""
    for episode in reversed(episodes):
        if episode["object_id"] == contact["object_id"]:
            if contact["first_stamp_ns"] - episode["last_stamp_ns"] <= GAP_S * 1e9:
                episode["last_stamp_ns"] = contact["last_stamp_ns"]
                least = min(episode["least_time_to_contact_s"], contact["least_time_to_contact_s"])
                episode["least_time_to_contact_s"] = least
                return
            break
    episodes.append(contact)


def _lateral_offset(
    trajectories: Sequence[Trajectory], egos: Sequence[EgoState], route: Optional[Route], vehicle: PlannerConfig
) -> Optional[Dict[str, Optional[float]]]:
    """Distance from the centre line: of the recorded drive, and of the plans at the end of the collision horizon."""
    line = route_line(route, vehicle.maximum_speed_mps, vehicle.curvature_window_m) if route else None
    if line is None:
        return None
    recorded = np.array([(ego.x, ego.y) for ego in egos]).reshape(-1, 2)
    planned = [_planned_poses(trajectory, np.array([COLLISION_HORIZON_S]))[0, :2] for trajectory in trajectories]
    result: Dict[str, Optional[float]] = {}
    for name, points in (("recorded", recorded), ("planned", np.array(planned).reshape(-1, 2))):
        offsets = [abs(float(line.project(point[None])[1][0])) for point in points]
        result[name + "_mean_m"] = _rounded(np.mean(offsets)) if offsets else None
        result[name + "_max_m"] = _rounded(max(offsets)) if offsets else None
    return result


def _planned_comfort(trajectories: Sequence[Trajectory]) -> Optional[Dict[str, float]]:
    """Extremes over all plans' whole horizon; the end of a braking at rest is no jerk."""
    if not trajectories:
        return None
    accelerations, jerks, lateral = [], [], []
    for trajectory in trajectories:
        steps, moving = np.diff(trajectory.times), trajectory.speeds > 0
        accelerations.append(trajectory.accelerations)
        jerks.append((np.diff(trajectory.accelerations[:-1]) / steps[:-1])[moving[1:-1] & moving[2:]])
        yaw_rates = np.diff(np.unwrap(trajectory.yaws)) / steps
        lateral.append(yaw_rates * (trajectory.speeds[1:] + trajectory.speeds[:-1]) / 2)
    return {
        "max_acceleration_mps2": _extreme(accelerations),
        "max_deceleration_mps2": _extreme([-values for values in accelerations]),
        "max_jerk_mps3": _extreme([np.abs(values) for values in jerks]),
        "max_lateral_acceleration_mps2": _extreme([np.abs(values) for values in lateral]),
    }


def _commanded_comfort(commands: Sequence[ControlCommand]) -> Optional[Dict[str, Any]]:
    """Extremes over the commands; rates between those whose stamps differ."""
    if not commands:
        return None
    accelerations = np.array([command.acceleration for command in commands])
    steering = np.array([command.steering_angle for command in commands])
    steps = np.diff([command.stamp_ns for command in commands]) / 1e9
    later = steps > 0
    return {
        "max_acceleration_mps2": _extreme([accelerations]),
        "max_deceleration_mps2": _extreme([-accelerations]),
        "max_jerk_mps3": _extreme([np.abs(np.diff(accelerations)[later] / steps[later])]),
        "max_steering_rate_radps": _extreme([np.abs(np.diff(steering)[later] / steps[later])]),
        "emergencies": sum(
            command.emergency and not before
            for command, before in zip(commands, [False] + [command.emergency for command in commands])
        ),
    }


def _deviation(trajectories: Sequence[Trajectory], egos: Sequence[EgoState]) -> Optional[List[Dict[str, float]]]:
    """How far the plans are from the recorded drive after some seconds; ``speed_mps`` is planned minus recorded."""
    if not egos or not trajectories:
        return None
    known = np.array([ego.stamp_ns for ego in egos], np.int64)
    states = np.array([(ego.x, ego.y, ego.speed) for ego in egos])
    result = []
    for horizon in DEVIATION_HORIZONS_S:
        wanted = np.array([trajectory.stamp_ns for trajectory in trajectories], np.int64) + int(horizon * 1e9)
        left, right, share = _between(known, wanted)
        recorded = states[left] + share[:, None] * (states[right] - states[left])
        planned = np.array(
            [
                [np.interp(horizon, plan.times, column) for column in (*plan.positions.T, plan.speeds)]
                for plan in trajectories
            ]
        )
        difference = (planned - recorded)[~np.isnan(share)]
        if len(difference):
            distances = np.hypot(difference[:, 0], difference[:, 1])
            result.append(
                {
                    "horizon_s": horizon,
                    "frames": len(difference),
                    "mean_m": _rounded(np.mean(distances)),
                    "p95_m": _rounded(np.percentile(distances, 95)),
                    "speed_mps": _rounded(np.mean(difference[:, 2])),
                }
            )
    return result or None


def _shares(words: Sequence[str]) -> Dict[str, float]:
    return {word: _rounded(words.count(word) / len(words)) for word in sorted(set(words))}


def _extreme(values: Sequence[np.ndarray]) -> float:
    """The greatest of all, at least 0."""
    return _rounded(max([0.0, *(part.max() for part in values if len(part))]))


def _rounded(value: SupportsFloat) -> float:
    return round(float(value), 4)
