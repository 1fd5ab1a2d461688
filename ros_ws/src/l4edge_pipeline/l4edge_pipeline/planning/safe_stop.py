"""Where to stop when the camera's word is not to be relied on: soon, comfortably, and not in a curve or a junction."""

from typing import List

import numpy as np

from l4edge_perception.types import OBJECT_CLASSES, Tracks
from l4edge_pipeline.planning.config import PlannerConfig
from l4edge_pipeline.planning.obstacles import Obstacle
from l4edge_pipeline.planning.reasons import SAFE_STOP
from l4edge_pipeline.planning.route import RouteLine

_STEP_M = 1.0
_REACTION_S = 0.5  # until the vehicle brakes as planned, its jerk being limited
_SIGNS = np.array([OBJECT_CLASSES.index("sign"), OBJECT_CLASSES.index("light")])
_NOBODY = -1  # an obstacle that stands for no track


def stop_place(
    line: RouteLine, front: float, speed: float, tracks: Tracks, signals: List[float], config: PlannerConfig
) -> float:
    """Arc length of the first place where the front bumper can come to stand comfortably and safely.

    Not safe is a curve, and what lies behind a sign or a light, whatever it shows: a junction may begin there. Where
    the next metres hold no better place, the first one that can be reached comfortably is taken.

    Args:
        line: the route.
        front: arc length of the front bumper, metres.
        speed: of the vehicle, metres per second.
        tracks: of this frame.
        signals: arc lengths of stop signs and lights known from earlier frames.
        config: distances and decelerations.
    """
    speed = max(speed, 0.0)
    braking = speed**2 / (2 * config.anticipated_deceleration_mps2)
    first = min(front + speed * _REACTION_S + braking, line.length)
    places = np.arange(first, min(first + config.safe_stop_search_m, line.length) + _STEP_M / 2, _STEP_M)
    safe = np.abs(line.poses(places)[2]) <= config.safe_stop_curvature_1pm
    for s in (*signals, *_signs_along(line, front, tracks, config)):
        safe &= (places < s) | (places > s + config.safe_stop_junction_m)
    return float(places[int(np.argmax(safe))])  # the first safe one, or where there is none the first of all


def stop_obstacle(s: float, config: PlannerConfig) -> Obstacle:
    """What stands at the place to stop at, as the speed law sees it."""
    return Obstacle(_NOBODY, s + config.standstill_gap_m, 0.0, True, config.safe_stop_deceleration_mps2, SAFE_STOP)


def _signs_along(line: RouteLine, front: float, tracks: Tracks, config: PlannerConfig) -> List[float]:
    """Arc lengths of all signs and lights beside or above the way ahead; what they are said to mean does not count."""
    rows = np.flatnonzero(np.isin(tracks.class_ids, _SIGNS) & np.isfinite(tracks.positions).all(axis=1))
    if not len(rows):
        return []
    s, offsets = line.project(tracks.positions[rows], front, front + config.signal_range_m)
    beside = (offsets >= -config.signal_right_m) & (offsets <= config.signal_left_m) & (s > front)
    return [float(value) for value in s[beside]]
