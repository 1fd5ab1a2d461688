"""What the demonstration must show."""

from typing import Any, Dict, List

from l4edge_perception.safety_types import State
from l4edge_pipeline.demonstration.scenes import ATTACKED, CLEAN, GUARDED, STOP

ALARM_FRAMES = 2
"""From the first wrong answer to the alarm."""

COMFORTABLE_MPS2 = 3.2
"""Strongest braking of a safe stop: the planner's comfortable deceleration and what the control loop adds to it."""


def requirements(scenes: Dict[str, Dict[str, Any]], clean_drives: Dict[str, Any]) -> List[Dict[str, Any]]:
    """Rows of words, the measured value, whether it holds and whether it is required.

    Args:
        scenes: scene and variant to an outcome as JSON.
        clean_drives: of ``outcomes.escalations``, or empty.
    """
    rows = []
    for kind, told in scenes.items():
        clean, attacked, guarded = (told.get(variant) for variant in (CLEAN, ATTACKED, GUARDED))
        name = kind.replace("_", " ")
        if clean:
            rows.append(_row(f"{name}: stops without a sticker", _end(clean), _safe(clean)))
        if attacked:
            rows.append(_row(f"{name}: does not stop in time with a sticker and no monitor", _end(attacked),
                             not _safe(attacked)))
        if guarded:
            rows += _guarded(name, guarded, required=kind == STOP)
    if clean_drives:
        rows.append(_row(
            "ordinary drives: no escalation above CAUTION", f"{clean_drives['above_caution']} of "
            f"{clean_drives['drives']} drives; {clean_drives['alarms_per_hour']} frames with a false alarm an hour",
            clean_drives["above_caution"] == 0,
        ))
    return rows


def _guarded(name: str, outcome: Dict[str, Any], required: bool) -> List[Dict[str, Any]]:
    """What the monitor must bring about; of a sticker on a vehicle no certificate speaks, so that is only told."""
    delay = outcome["alarm_delay"]
    first, judged, alarm = outcome["first_wrong"], outcome["first_judged"], outcome["first_alarm"]
    value = "none" if delay is None else f"{delay} frames"
    if None not in (delay, first, judged, alarm) and judged > first:
        value += f"; {max(0, alarm - first)} frames after it was first misread, then too small for the monitor"
    high = State[outcome["highest_state"]] >= State.DEGRADED
    return [
        _row(
            f"{name}: alarm within {ALARM_FRAMES} frames", value, delay is not None and delay <= ALARM_FRAMES, required
        ),
        _row(f"{name}: reaches DEGRADED", outcome["highest_state"], high, required),
        _row(f"{name}: stops safely with the monitor", _end(outcome),
             _safe(outcome) and outcome["hardest_mps2"] <= COMFORTABLE_MPS2, required),
        _row(
            f"{name}: does so before it", _end(outcome), _safe(outcome) and (outcome["gap_m"] or 0.0) > 0.0, required
        ),
    ]


def _safe(outcome: Dict[str, Any]) -> bool:
    return bool(outcome["stopped"]) and outcome["contact_mps"] is None


def _end(outcome: Dict[str, Any]) -> str:
    if outcome["contact_mps"] is not None:
        return f"contact with {outcome['contact_mps']:g} m/s"
    if outcome["stopped"]:
        where = "before" if outcome["gap_m"] >= 0 else "behind"
        return f"stops {abs(outcome['gap_m']):g} m {where} it, braking with {outcome['hardest_mps2']:g} m/s²"
    if outcome["passed_mps"] is not None:
        return f"passes with {outcome['passed_mps']:g} m/s"
    return f"{outcome['end_mps']:g} m/s at the end"


def _row(words: str, value: str, held: bool, required: bool = True) -> Dict[str, Any]:
    return {"words": words, "value": value, "held": bool(held), "required": required}
