"""What the safety monitor said and what the supervisor made of it, as numbers of a summary."""

from collections import Counter
from typing import Any, Dict, List, Mapping, Sequence

from l4edge_perception.safety_types import SafetyStatus, SafetyVerdict, State, Verdict

SAFETY_KEYS = (
    "highest_state",
    *(f"states.{state.name.lower()}" for state in State),
    *(f"verdicts.{verdict.name.lower()}" for verdict in Verdict),
    "alarms",
    "alarms_per_hour",
    "frames_without_verdict",
)
"""The single numbers of the section, with keys joined by dots."""

LONGEST_HOLD_NS = 1_000_000_000
MOST_ESCALATIONS = 100


def judge_safety(
    statuses: Sequence[SafetyStatus], verdicts: Mapping[int, SafetyVerdict], stamps_ns: Sequence[int]
) -> Dict[str, Any]:
    """How long the vehicle was in which state, what brought it there, and what the monitor said.

    Args:
        statuses: in the order they were said. Those before the first frame (stamp 0) and after the last one do not
            count: a camera that falls silent because the recording ends is no fault.
        verdicts: by the stamp of their frame.
        stamps_ns: of the frames that were offered to the pipeline.

    Returns:
        ``states``: seconds in each; ``highest_state``: its number; ``escalations``: each rise of the state, with the
        causes that held it; ``verdicts``: frames by verdict; ``uncertified_reasons``; ``alarms``: frames with an alarm;
        ``alarms_per_hour`` of the frames' time; ``frames_without_verdict``.
    """
    end_ns = stamps_ns[-1] if len(stamps_ns) else None
    said = [status for status in statuses if status.stamp_ns > 0 and (end_ns is None or status.stamp_ns <= end_ns)]
    first_ns = min([*stamps_ns[:1], *(status.stamp_ns for status in said[:1])], default=0)
    seconds = dict.fromkeys(State, 0.0)
    for status, after in zip(said, said[1:]):
        seconds[status.state] += min(max(after.stamp_ns - status.stamp_ns, 0), LONGEST_HOLD_NS) * 1e-9
    rises: List[Dict[str, Any]] = []
    before = State.NOMINAL
    for status in said:
        if status.state > before:
            rises.append({
                "seconds": (status.stamp_ns - first_ns) * 1e-9, "from": before.name.lower(),
                "to": status.state.name.lower(), "reasons": list(status.reasons),
            })  # fmt: skip
        before = status.state
    kinds = Counter(verdict.verdict for verdict in verdicts.values())
    unsure = Counter(entry.reason for entry in verdicts.values() if entry.verdict == Verdict.UNCERTIFIED)
    hours = (stamps_ns[-1] - stamps_ns[0]) / 3.6e12 if len(stamps_ns) > 1 else 0.0
    return {
        "states": {state.name.lower(): value for state, value in seconds.items()},
        "highest_state": int(max((status.state for status in said), default=State.NOMINAL)),
        "escalations": rises[:MOST_ESCALATIONS],
        "verdicts": {verdict.name.lower(): kinds[verdict] for verdict in Verdict},
        "uncertified_reasons": dict(unsure.most_common()),
        "alarms": kinds[Verdict.ALARM],
        "alarms_per_hour": kinds[Verdict.ALARM] / hours if hours else None,
        "frames_without_verdict": sum(stamp not in verdicts for stamp in stamps_ns),
    }
