"""Signs and lights under an alarm: approached as if they said stop, wherever that is comfortable.

An alarm says that one region of the picture decides what a sign is read as. Until it is known whether that is so, the
vehicle keeps the choice to stop: whoever read the sign rightly, the more careful reading is obeyed.
"""

from dataclasses import dataclass, replace
from typing import List, Sequence, Tuple

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
    """

    track_id: int
    s: float
    line_m: float
    committed: bool = False


def approach(
    known: Sequence[Doubt],
    suspects: Sequence[int],
    tracks: Tracks,
    line: RouteLine,
    place: Place,
    config: PlannerConfig,
) -> Tuple[Tuple[Doubt, ...], List[Obstacle]]:
    """The doubted signs and lights of the last frame, and where they are now.

    What is out of view is remembered by its place for as long as the supervisor names it.

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
    if not len(suspects):
        return (), []
    found = {doubt.track_id: doubt for doubt in known if doubt.track_id in suspects}
    for seen in _seen(suspects, tracks, line, place, config):
        before = found.get(seen.track_id)
        found[seen.track_id] = seen if before is None else replace(before, s=seen.s)
    doubts = tuple(_decided(doubt, place, config) for doubt in found.values() if doubt.s > place.front)
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


def _decided(doubt: Doubt, place: Place, config: PlannerConfig) -> Doubt:
    """Nobody brakes hard for a doubt: what can no longer be stopped for with comfort is driven past."""
    distance = doubt.s - doubt.line_m - place.front
    comfortable = place.speed**2 <= 2 * config.comfortable_deceleration_mps2 * max(distance, 0.0)
    return replace(doubt, committed=doubt.committed or comfortable)


def _obstacle(doubt: Doubt, config: PlannerConfig) -> Obstacle:
    return Obstacle(
        track_id=doubt.track_id,
        near=doubt.s - doubt.line_m + config.standstill_gap_m,
        speed=0.0,
        on_path=True,
        deceleration=config.comfortable_deceleration_mps2,
        reason=DOUBTED_SIGN,
    )
