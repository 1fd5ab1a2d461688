"""Signs and lights under an alarm: approached as if they said stop, wherever that is comfortable.

An alarm says that one region of the picture decides what a sign is read as. Until it is known whether that is so, the
vehicle keeps the choice to stop: whoever read the sign rightly, the more careful reading is obeyed. A sign leaves the
camera's view before the vehicle stands at it; that nobody objects to it any more then means nothing.
"""

from dataclasses import dataclass, replace
from typing import List, Optional, Sequence, Tuple

import numpy as np

from l4edge_perception.types import OBJECT_CLASSES, Tracks
from l4edge_pipeline.planning.config import PlannerConfig
from l4edge_pipeline.planning.obstacles import Obstacle
from l4edge_pipeline.planning.reasons import DOUBTED_SIGN
from l4edge_pipeline.planning.route import RouteLine
from l4edge_pipeline.planning.signals import Place

_SIGN, _LIGHT = OBJECT_CLASSES.index("sign"), OBJECT_CLASSES.index("light")


@dataclass(frozen=True)
class Doubt:
    """A sign or light under an alarm.

    Attributes:
        track_id: of it.
        s: arc length on the route, metres.
        line_m: how far before it the front bumper is to stand.
        committed: whether the vehicle stops for it.
        standing_ns: since when the vehicle stands before it, or None.
        served: whether the vehicle has stopped for it and may go on.
    """

    track_id: int
    s: float
    line_m: float
    committed: bool = False
    standing_ns: Optional[int] = None
    served: bool = False

    @property
    def stop(self) -> float:
        """Arc length at which the front bumper is to stand."""
        return self.s - self.line_m


def approach(
    known: Sequence[Doubt],
    suspects: Sequence[int],
    tracks: Tracks,
    line: RouteLine,
    place: Place,
    config: PlannerConfig,
) -> Tuple[Tuple[Doubt, ...], List[Obstacle]]:
    """The doubted signs and lights of the last frame, and where they are now.

    A doubt ends when the sign is in view and the supervisor names it no more, when the vehicle has stood before it for
    as long as before a stop sign, or behind it.

    Args:
        known: what the last call returned, of the same route.
        suspects: tracks that alarms are about.
        tracks: at the time of the plan.
        line: the route.
        place: of the vehicle on it.
        config: ranges, distances and decelerations.

    Returns:
        The doubts to hand to the next call, and standing obstacles where the vehicle is to stop.
    """
    if not len(suspects) and not known:
        return (), []
    cleared = set(tracks.ids[tracks.unseen_s == 0].tolist()) - set(suspects)
    found = {doubt.track_id: doubt for doubt in known if doubt.track_id not in cleared}
    for seen in _seen(suspects, tracks, line, place, config):
        before = found.get(seen.track_id)
        found[seen.track_id] = seen if before is None else replace(before, s=seen.s)
    ahead = [doubt for doubt in found.values() if doubt.s > place.front]
    doubts = tuple(_decided(doubt, place, tracks.stamp_ns, config) for doubt in ahead)
    return doubts, [_obstacle(doubt, config) for doubt in doubts if doubt.committed]


def _seen(
    suspects: Sequence[int], tracks: Tracks, line: RouteLine, place: Place, config: PlannerConfig
) -> List[Doubt]:
    """The suspects that stand beside or above the way ahead in this frame."""
    rows = np.flatnonzero(
        np.isin(tracks.ids, suspects)
        & np.isin(tracks.class_ids, (_SIGN, _LIGHT))
        & np.isfinite(tracks.positions).all(axis=1)
    )
    if not len(rows):
        return []
    s, offsets = line.project(tracks.positions[rows], place.front, place.front + config.signal_range_m)
    beside = (offsets >= -config.signal_right_m) & (offsets <= config.signal_left_m) & (s > place.front)
    return [
        Doubt(
            int(tracks.ids[row]), along,
            config.stop_before_light_m if tracks.class_ids[row] == _LIGHT else config.stop_before_sign_m,
        )
        for row, along in zip(rows[beside].tolist(), s[beside].tolist())
    ]  # fmt: skip


def _decided(doubt: Doubt, place: Place, stamp_ns: int, config: PlannerConfig) -> Doubt:
    """Nobody brakes hard for a doubt: what can no longer be stopped for with comfort is driven past."""
    if doubt.served:
        return doubt
    distance = doubt.stop - place.front
    comfortable = place.speed**2 <= 2 * config.comfortable_deceleration_mps2 * max(distance, 0.0)
    committed = doubt.committed or comfortable
    near = distance < config.restart_distance_m + config.stop_sign_reach_m
    if not (committed and near and place.speed < config.standing_speed_mps):
        return replace(doubt, committed=committed, standing_ns=None)
    since = stamp_ns if doubt.standing_ns is None else doubt.standing_ns
    served = (stamp_ns - since) * 1e-9 >= config.stop_sign_wait_s
    return replace(doubt, committed=not served, standing_ns=since, served=served)


def _obstacle(doubt: Doubt, config: PlannerConfig) -> Obstacle:
    return Obstacle(
        track_id=doubt.track_id,
        near=doubt.stop + config.standstill_gap_m,
        speed=0.0,
        on_path=True,
        deceleration=config.comfortable_deceleration_mps2,
        reason=DOUBTED_SIGN,
    )
