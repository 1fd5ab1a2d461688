"""Which tracked objects the speed must heed: those on the vehicle's path, and those predicted to come onto it."""

import math
from dataclasses import dataclass
from typing import List, NamedTuple, Tuple

import numpy as np

from l4edge_perception.types import OBJECT_CLASSES, EgoState, Tracks
from l4edge_pipeline.planning.config import PlannerConfig
from l4edge_pipeline.planning.path import LateralReturn
from l4edge_pipeline.planning.route import RouteLine

# Length and width in metres to assume while the tracker knows none, one row a class; signs and lights stand beside
# or above the road and are no obstacles.
_ASSUMED_SIZES = {"car": (4.6, 1.9), "truck": (9.0, 2.5), "pedestrian": (0.6, 0.6), "cyclist": (1.8, 0.7)}
_SIZES = np.array([_ASSUMED_SIZES.get(name, (0.0, 0.0)) for name in OBJECT_CLASSES])
_IS_OBSTACLE = np.array([name in _ASSUMED_SIZES for name in OBJECT_CLASSES])
_IS_VULNERABLE = np.array([name in ("pedestrian", "cyclist") for name in OBJECT_CLASSES])
_HEADING_SPEED_MPS = 1.0  # from this speed on, the direction of motion tells how an object is oriented


@dataclass(frozen=True)
class Obstacle:
    """An object that the speed law yields to.

    Attributes:
        track_id: the tracker's id.
        near: arc length of its near side, metres.
        speed: along the centre line, metres per second, oncoming negative.
        on_path: whether it is on the vehicle's path now, or only predicted to be.
        deceleration: the hardest braking that it may cause, metres per second squared.
        reason: one of ``planning.reasons`` where it stands for something else than an object, or "".
    """

    track_id: int
    near: float
    speed: float
    on_path: bool
    deceleration: float
    reason: str = ""


def unplaced(tracks: Tracks) -> np.ndarray:
    """(N,) bool, possible obstacles that the planner cannot heed because their position is unknown."""
    return _IS_OBSTACLE[tracks.class_ids] & ~np.isfinite(tracks.positions).all(axis=1)


def obstacles_ahead(
    tracks: Tracks, line: RouteLine, back: LateralReturn, ego: EgoState, config: PlannerConfig
) -> List[Obstacle]:
    """The objects on the path now or within their class's horizon.

    Objects keep their velocity in route coordinates (along and across the centre line), so that oncoming traffic is
    expected to follow the bend of the road. An unknown velocity counts as standing. The longer a track was unseen,
    the larger it is taken to be.

    Args:
        tracks: objects at the time of the plan, ``positions`` at their near side.
        line: the centre line.
        back: the vehicle's way back to it, starting at the vehicle.
        ego: the vehicle at the time of the plan.
        config: margins and horizons.
    """
    rear, front = back.start - config.rear_m, back.start + config.front_m
    placed = _IS_OBSTACLE[tracks.class_ids] & np.isfinite(tracks.positions).all(axis=1)
    objects = _on_route(tracks, np.flatnonzero(placed), line, rear, ego, config)

    # Seconds until the object's side reaches the vehicle's path.
    vulnerable = _IS_VULNERABLE[objects.class_ids]
    margin = np.where(vulnerable, config.vulnerable_margin_m, config.vehicle_margin_m)
    from_path = objects.offset - back.offsets(objects.s)
    clearance = np.abs(from_path) - objects.half_width - config.width_m / 2 - margin
    approach = -np.sign(from_path) * objects.across
    approaching = approach > config.lateral_speed_noise_mps
    entry = np.where(approaching, clearance / np.where(approaching, approach, 1.0), np.inf)
    entry = np.where(clearance <= 0, 0.0, entry)
    horizon = np.where(vulnerable, config.vulnerable_horizon_s, config.vehicle_horizon_s)
    relevant = (entry <= horizon) & (objects.far >= rear) & (objects.near <= rear + config.object_range_m)

    waited = np.where(relevant, entry, 0.0)
    far_then = objects.far + objects.along * waited
    # What enters the path after the vehicle has passed is not for it to avoid ...
    passed = rear + ego.speed * (waited - config.passing_margin_s) > far_then
    relevant &= (entry == 0) | ~passed
    # ... nor is a vehicle beside or behind its front bumper that stays there. If it comes past, let it in, without
    # braking hard: that would not help against what is still alongside. Nobody on foot is driven past then.
    beside = objects.near < front
    relevant &= ~beside | vulnerable | (far_then > front + ego.speed * waited)
    gently = beside & (entry > 0)
    return [
        Obstacle(
            track_id=int(objects.ids[row]),
            near=float(objects.near[row]),
            speed=float(objects.along[row]),
            on_path=bool(entry[row] == 0),
            deceleration=config.comfortable_deceleration_mps2 if gently[row] else config.emergency_deceleration_mps2,
        )
        for row in np.flatnonzero(relevant)
    ]


class _RouteObjects(NamedTuple):
    """Objects in route coordinates, one entry an object; metres and metres per second.

    ``s`` and ``offset`` are those of the centre.
    """

    ids: np.ndarray
    class_ids: np.ndarray
    s: np.ndarray
    offset: np.ndarray
    along: np.ndarray
    across: np.ndarray
    near: np.ndarray
    far: np.ndarray
    half_width: np.ndarray


def _on_route(
    tracks: Tracks, chosen: np.ndarray, line: RouteLine, first_s: float, ego: EgoState, config: PlannerConfig
) -> _RouteObjects:
    class_ids, positions, velocities = tracks.class_ids[chosen], tracks.positions[chosen], tracks.velocities[chosen]
    velocities = np.where(np.isfinite(velocities).all(axis=1)[:, None], velocities, 0.0)
    sizes = tracks.sizes[chosen, :2].astype(np.float64)
    length, width = np.where(np.isfinite(sizes) & (sizes > 0), sizes, _SIZES[class_ids]).T
    last_s = first_s + config.object_range_m
    headings = _headings(velocities, line.poses(line.project(positions, first_s, last_s)[0])[1])
    centres = _centres(positions, headings - ego.yaw, length, width, ego, config)

    s, offset = line.project(centres, first_s, last_s)
    yaws = line.poses(s)[1]
    cosine, sine = np.cos(yaws), np.sin(yaws)
    half_length, half_width = _half_extents(headings - yaws, length, width)
    unseen = np.minimum(tracks.unseen_s[chosen] * config.unseen_growth_mps, config.unseen_growth_limit_m)
    return _RouteObjects(
        ids=tracks.ids[chosen],
        class_ids=class_ids,
        s=s,
        offset=offset,
        along=velocities[:, 0] * cosine + velocities[:, 1] * sine,
        across=velocities[:, 1] * cosine - velocities[:, 0] * sine,
        near=s - half_length - unseen,
        far=s + half_length,
        half_width=half_width + unseen,
    )


def _headings(velocities: np.ndarray, lane_yaws: np.ndarray) -> np.ndarray:
    """Objects point where they move to, or along the lane while that cannot be told."""
    moving = np.hypot(velocities[:, 0], velocities[:, 1]) > _HEADING_SPEED_MPS
    return np.where(moving, np.arctan2(velocities[:, 1], velocities[:, 0]), lane_yaws)


def _half_extents(turned: np.ndarray, length: np.ndarray, width: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
    """Half the lengths along and across a direction of rectangles that are turned against it."""
    cosine, sine = np.abs(np.cos(turned)), np.abs(np.sin(turned))
    return (cosine * length + sine * width) / 2, (sine * length + cosine * width) / 2


def _centres(
    positions: np.ndarray,
    turned: np.ndarray,
    length: np.ndarray,
    width: np.ndarray,
    ego: EgoState,
    config: PlannerConfig,
) -> np.ndarray:
    """Objects' centres (N, 2) from the points where their near sides meet the ground.

    Such a point is on the camera's ray to the object, as deep in the image as the object's nearest corner; the centre
    is on the same ray, deeper by half the object's extent. Near the vehicle the difference sideways decides whether a
    car in the next lane is in the way.
    """
    ahead = np.array([math.cos(ego.yaw), math.sin(ego.yaw)])
    rays = positions - (np.array([ego.x, ego.y]) + config.camera_m * ahead)
    depth = np.maximum(rays @ ahead, 1.0)
    return positions + rays * (_half_extents(turned, length, width)[0] / depth)[:, None]
