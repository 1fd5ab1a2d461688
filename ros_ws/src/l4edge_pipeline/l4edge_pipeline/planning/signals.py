"""Stop signs and red lights: which of them the vehicle must heed, where it stops for them, and when it goes on.

What was heeded once is remembered by its place on the route, since signs and lights leave the camera's view before the
vehicle has come to a stop for them.
"""

from dataclasses import dataclass, replace
from typing import List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from l4edge_perception.types import MEANINGS, OBJECT_CLASSES, Tracks
from l4edge_pipeline.planning.config import PlannerConfig
from l4edge_pipeline.planning.obstacles import Obstacle
from l4edge_pipeline.planning.reasons import RED_LIGHT, STOP_SIGN
from l4edge_pipeline.planning.route import RouteLine

_SIGN, _LIGHT = OBJECT_CLASSES.index("sign"), OBJECT_CLASSES.index("light")
_STOP, _RED, _AMBER, _GREEN = (MEANINGS.index(word) for word in ("stop", "red", "amber", "green"))
_SAME_PLACE_M = 8.0  # what is tracked anew within this distance is the signal that was there before
_SAME_JUNCTION_M = 40.0  # a light so far behind another one changes with it


@dataclass(frozen=True)
class Signal:
    """A stop sign or light on the vehicle's way.

    Attributes:
        kind: ``reasons.STOP_SIGN`` or ``reasons.RED_LIGHT``.
        s: arc length on the route, metres.
        shown: the meaning last read, an index into ``MEANINGS``.
        track_id: of the track that it was last seen as.
        seen_ns: when that was.
        committed: whether the vehicle stops for it.
        standing_ns: since when the vehicle stands before it, or None.
        served: whether the vehicle has stopped for this sign and may go on.
    """

    kind: str
    s: float
    shown: int
    track_id: int
    seen_ns: int
    committed: bool = False
    standing_ns: Optional[int] = None
    served: bool = False


class Place(NamedTuple):
    """The vehicle on the route: arc length of its front bumper and of its camera, its speed."""

    front: float
    camera: float
    speed: float


def heed(
    known: Sequence[Signal],
    tracks: Tracks,
    line: RouteLine,
    place: Place,
    config: PlannerConfig,
    believed: bool = True,
) -> Tuple[Tuple[Signal, ...], List[Obstacle]]:
    """The signals of the last frame and what the tracks say of them now.

    Args:
        known: what the last call returned, of the same route.
        tracks: at the time of the plan.
        line: the route.
        place: of the vehicle on it.
        config: ranges, probabilities and distances.
        believed: whether what a light is read as counts; else every light is stopped for where that is comfortable.

    Returns:
        The signals to hand to the next call, and standing obstacles where the vehicle must stop.
    """
    seen = _seen(tracks, line, place, config)
    signals = [_updated(signal, seen, tracks.stamp_ns) for signal in known]
    new = [one for one in seen if not any(_same(one, signal) for signal in signals)]
    signals = [signal for signal in [*signals, *new] if _holds(signal, place, tracks.stamp_ns, config)]
    green_ahead = [
        one.s for one in signals if one.shown == _GREEN and one.kind == RED_LIGHT and one.seen_ns == tracks.stamp_ns
    ]
    if not believed:
        green_ahead, signals = [], [_as_red(signal) for signal in signals]
    signals = [_decided(signal, green_ahead, place, tracks.stamp_ns, config) for signal in signals]
    return tuple(signals), [_obstacle(signal, config) for signal in signals if signal.committed]


def _seen(tracks: Tracks, line: RouteLine, place: Place, config: PlannerConfig) -> List[Signal]:
    """What this frame's tracks show beside or above the vehicle's way, facing it, read surely enough."""
    read = tracks.meanings.any(axis=1) & np.isfinite(tracks.positions).all(axis=1)
    rows = np.flatnonzero(read & (tracks.ages_s >= config.signal_age_s) & (tracks.unseen_s == 0))
    if not len(rows):
        return []
    boxes = tracks.boxes[rows]
    aspects = (boxes[:, 2] - boxes[:, 0]) / np.maximum(boxes[:, 3] - boxes[:, 1], 1e-6)
    s, offsets = line.project(tracks.positions[rows], place.front - _SAME_PLACE_M, place.front + config.signal_range_m)
    result = []
    for row, aspect, along, offset in zip(rows.tolist(), aspects.tolist(), s.tolist(), offsets.tolist()):
        if not place.front < along < place.front + config.signal_range_m:
            continue
        if not -config.signal_right_m <= offset <= config.signal_left_m:
            continue
        kind, shown = int(tracks.class_ids[row]), int(tracks.meanings[row].argmax())
        sure = float(tracks.meanings[row, shown])
        if kind == _SIGN and shown == _STOP and sure >= config.stop_sign_probability:
            if aspect >= config.stop_sign_aspect:  # one that is turned to a side road is narrower
                result.append(Signal(STOP_SIGN, along, shown, int(tracks.ids[row]), tracks.stamp_ns))
        elif kind == _LIGHT and sure >= config.light_probability:
            result.append(Signal(RED_LIGHT, along, shown, int(tracks.ids[row]), tracks.stamp_ns))
    return result


def _same(one: Signal, other: Signal) -> bool:
    return one.kind == other.kind and (one.track_id == other.track_id or abs(one.s - other.s) < _SAME_PLACE_M)


def _updated(signal: Signal, seen: Sequence[Signal], stamp_ns: int) -> Signal:
    """The signal where and as it is seen now; of several at one place the one that forbids most, then the nearest."""
    fitting = [one for one in seen if _same(one, signal)]
    if not fitting:
        return signal
    now = min(fitting, key=lambda one: (_ORDER.get(one.shown, len(_ORDER)), one.s))
    return replace(signal, s=now.s, shown=now.shown, track_id=now.track_id, seen_ns=stamp_ns)


_ORDER = {_RED: 0, _AMBER: 1, _STOP: 2, _GREEN: 3}


def _holds(signal: Signal, place: Place, stamp_ns: int, config: PlannerConfig) -> bool:
    """Whether the signal still matters: ahead, and seen lately or too near to be in view."""
    if signal.s <= place.front:
        return False
    unseen_s = (stamp_ns - signal.seen_ns) * 1e-9
    if signal.kind == STOP_SIGN and (signal.committed or signal.served):
        return True
    hidden = signal.s - place.camera < config.signal_hidden_m
    return unseen_s <= (config.light_patience_s if hidden else config.signal_memory_s)


def _decided(
    signal: Signal, green_ahead: Sequence[float], place: Place, stamp_ns: int, config: PlannerConfig
) -> Signal:
    """Whether the vehicle stops for the signal."""
    distance = _stop_at(signal, config) - place.front
    needed = place.speed**2 / (2 * max(distance, 0.1))
    if signal.kind == STOP_SIGN:
        return _stop_sign(signal, distance, needed, place, stamp_ns, config)
    unseen = signal.seen_ns != stamp_ns
    freed = unseen and any(0.0 < s - signal.s < _SAME_JUNCTION_M for s in green_ahead)
    if signal.shown not in (_RED, _AMBER) or freed:
        return replace(signal, committed=False)
    limit = config.comfortable_deceleration_mps2 if signal.shown == _AMBER else config.emergency_deceleration_mps2
    return replace(signal, committed=signal.committed or needed <= limit)


def _as_red(signal: Signal) -> Signal:
    """Whatever the light is read as, it may be red; but nobody brakes hard for a word that is not relied on."""
    return replace(signal, shown=_AMBER) if signal.kind == RED_LIGHT and signal.shown != _RED else signal


def _stop_sign(
    signal: Signal, distance: float, needed: float, place: Place, stamp_ns: int, config: PlannerConfig
) -> Signal:
    if signal.served:
        return signal
    committed = signal.committed or needed <= config.emergency_deceleration_mps2
    near = distance < config.restart_distance_m + config.stop_sign_reach_m
    if not (committed and near and place.speed < config.standing_speed_mps):
        return replace(signal, committed=committed, standing_ns=None)
    since = stamp_ns if signal.standing_ns is None else signal.standing_ns
    served = (stamp_ns - since) * 1e-9 >= config.stop_sign_wait_s
    return replace(signal, committed=not served, standing_ns=since, served=served)


def _stop_at(signal: Signal, config: PlannerConfig) -> float:
    """Arc length at which the front bumper is to stand."""
    return signal.s - (config.stop_before_sign_m if signal.kind == STOP_SIGN else config.stop_before_light_m)


def _obstacle(signal: Signal, config: PlannerConfig) -> Obstacle:
    gentle = signal.shown == _AMBER
    return Obstacle(
        track_id=signal.track_id,
        near=_stop_at(signal, config) + config.standstill_gap_m,
        speed=0.0,
        on_path=True,
        deceleration=config.comfortable_deceleration_mps2 if gentle else config.emergency_deceleration_mps2,
        reason=signal.kind,
    )
