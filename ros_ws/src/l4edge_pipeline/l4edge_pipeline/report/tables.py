"""The summary as words and table rows, for the page and for the terminal."""

from typing import Any, Dict, Iterator, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from l4edge_pipeline.report.latency import FRAME_KEYS
from l4edge_pipeline.report.summary import LOCKSTEP

Summary = Mapping[str, Any]


def show(value: Optional[float], digits: int = 2) -> str:
    """A number for people; a dash where there is none."""
    if value is None:
        return "–"
    return str(value) if isinstance(value, int) else "{:.{}f}".format(value, digits)


def percent(value: Optional[float]) -> str:
    """A share for people."""
    return "–" if value is None else f"{100 * value:.0f} %"


def use_style(share: Optional[float]) -> str:
    """How a used share of a budget is coloured."""
    if share is None:
        return "none"
    return "over" if share > 1 else "near" if share > 0.8 else "ok"


def budget_share(numbers: Mapping[str, Any]) -> Optional[float]:
    """The 99th percentile of a stage or chain as a share of its budget."""
    return None if numbers["p99_ms"] is None else numbers["p99_ms"] / numbers["budget_ms"]


LOCKSTEP_NOTE = (
    "In lockstep each frame waits until the one before has gone all the way and its inputs have arrived: these "
    "latencies do not say how fast the pipeline is in real time."
)


def verdict(summary: Summary) -> Dict[str, Any]:
    """The first thing to know: whether the required limits hold, and how long the chain took."""
    rows = summary["requirements"]
    failed = [row for row in rows if not row["held"]]
    if not rows:
        words, style = "No limits were required of this run", "none"
    elif failed:
        words, style = f"{len(failed)} of {len(rows)} required limits do not hold", "failed"
    else:
        words, style = f"All {len(rows)} required limits hold", "held"
    lines = [chain_sentence(*item) for item in summary["chains"].items()]
    if summary["run"]["mode"] == LOCKSTEP:
        lines.append(LOCKSTEP_NOTE)
    return {"words": words, "style": style, "lines": lines}


def chain_sentence(name: str, numbers: Mapping[str, Any]) -> str:
    """One chain in one sentence."""
    if numbers["p50_ms"] is None:
        return f"{name}: no frame went all the way"
    within = "within" if numbers["p99_ms"] <= numbers["budget_ms"] else "beyond"
    return (
        f"{name}: median {numbers['p50_ms']:.1f} ms, 99th percentile {numbers['p99_ms']:.1f} ms, {within} the budget "
        f"of {numbers['budget_ms']:g} ms; {numbers['misses']} of {numbers['frames']} frames missed it"
    )


def tiles(summary: Summary) -> List[Dict[str, str]]:
    """The handful of numbers at the top."""
    found = []
    for name, numbers in summary["chains"].items():
        style = use_style(budget_share(numbers)).replace("none", "")
        found.append(_tile(show(numbers["p50_ms"], 1) + " ms", "median of {}".format(name.replace("_", " "))))
        found.append(_tile(show(numbers["p99_ms"], 1) + " ms", "99th percentile", style))
    lost = sum(account["lost"] + account["surplus"] for account in summary["frames"].values())
    found.append(_tile(str(summary["recording"]["frames"]), "frames in the recording"))
    found.append(_tile(str(lost), "frames unaccounted for", "over" if lost else "ok"))
    for section, key, words in (
        ("detection", "ap50", "AP50 of detections"), ("tracking", "hota", "HOTA of tracks"),
        ("tracking", "id_switches", "identity switches"), ("driving", "collisions", "planned collisions"),
    ):  # fmt: skip
        value = summary.get(section, {}).get(key)
        if value is not None:
            found.append(_tile(show(value, 3), words))
    return found


def _tile(value: str, words: str, style: str = "") -> Dict[str, str]:
    return {"value": value, "words": words, "style": style}


def requirement_rows(summary: Summary) -> List[Dict[str, Any]]:
    """The verdicts on required limits."""
    return [
        {
            "path": row["path"],
            "limit": "{} {:g}".format(row["comparison"], row["limit"]),
            "value": _measured(row),
            "held": row["held"],
        }
        for row in summary["requirements"]
    ]


def _measured(row: Mapping[str, Any]) -> str:
    if row["value"] is None:
        return "nothing met" if row["held"] else "missing"
    return "{:g}".format(row["value"])


STAGE_COLUMNS = (
    ("frames", "frames"), ("compute p50", "compute_p50_ms"), ("compute p99", "compute_p99_ms"),
    ("wait p50", "wait_p50_ms"), ("latency p50", "p50_ms"), ("p90", "p90_ms"), ("p99", "p99_ms"), ("max", "max_ms"),
    ("budget", "budget_ms"), ("misses", "misses"), ("deadline", "deadline_ms"), ("deadline misses", "deadline_misses"),
)  # fmt: skip
"""(head, key) of the table of stages."""

MOST_REASONS = 10
"""Reasons for dropped frames that are listed for a stage."""


def stage_table(stages: Mapping[str, Mapping[str, Any]]) -> Dict[str, Any]:
    """All stages, and below what the columns have no room for."""
    notes = []
    for name, numbers in stages.items():
        reasons = list(numbers["drop_reasons"].items())
        notes += [f"{name}: {count} frames dropped: {reason}" for reason, count in reasons[:MOST_REASONS]]
        if len(reasons) > MOST_REASONS:
            notes.append(f"{name}: {len(reasons) - MOST_REASONS} more reasons in summary.json")
        for level, count in numbers["levels"].items():
            notes.append(f"{name}: {count} frames at level {level}")
    return {
        "head": ["stage"] + [head for head, _ in STAGE_COLUMNS],
        "rows": [[name] + [show(numbers[key]) for _, key in STAGE_COLUMNS] for name, numbers in stages.items()],
        "notes": notes,
    }


def account_table(frames: Mapping[str, Mapping[str, int]]) -> Dict[str, Any]:
    """Where every frame went."""
    return {
        "head": ["stage", *FRAME_KEYS],
        "rows": [
            {
                "cells": [name] + [str(account[key]) for key in FRAME_KEYS],
                "balanced": not account["lost"] and not account["surplus"],
            }
            for name, account in frames.items()
        ],
    }


class Quality(NamedTuple):
    """How good the results of one room are; without rows, ``words`` say why that is not known."""

    title: str
    words: str
    head: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()
    notes: Sequence[str] = ()


def quality_tables(summary: Summary) -> List[Quality]:
    """Detection, tracking and driving against ground truth, or why there is no such table."""
    parts = []
    for section, title, table in (
        ("detection", "Detection", _class_table),
        ("tracking", "Tracking", _class_table),
        ("driving", "Driving", _driving_table),
    ):
        if section in summary:
            parts.append(table(title, summary[section]))
        else:
            parts.append(Quality(title, "Not judged: " + summary["absent"][section]))
    if "safety" in summary:
        parts.append(_safety_table(summary["safety"]))
    return parts


COUNTS = ("frames", "objects", "frames_without_result")
"""Entries of a judgement that say over what it was made."""


def _class_table(title: str, numbers: Mapping[str, Any]) -> Quality:
    keys = [key for key in numbers if key != "per_class" and key not in COUNTS]
    rows = [["all classes"] + [show(numbers[key], 3) for key in keys]]
    for name, values in numbers["per_class"].items():
        if any(values.get(key) is not None for key in keys):
            rows.append([name] + [show(values.get(key), 3) for key in keys])
    words = "Over {} frames with {} objects; {} of the frames have no result and count as empty.".format(
        numbers["frames"], numbers["objects"], numbers["frames_without_result"]
    )
    return Quality(title, words, ["class", *map(heading, keys)], rows)


def _driving_table(title: str, numbers: Mapping[str, Any]) -> Quality:
    rows = [
        [heading(path), show(value, 3)]
        for path, value in flatten(numbers)
        if not path.startswith(("frames", "judged_frames", "reasons."))
    ]
    for entry in numbers["deviation"] or ():
        after = "off the recorded drive after {:g} s: ".format(entry["horizon_s"])
        rows += [[after + heading(key), show(entry[key], 3)] for key in ("mean_m", "p95_m", "speed_mps")]
    notes = [
        "planned contact with {object_class} #{object_id} at the {contact}, {least_time_to_contact_s} s ahead at the "
        "least".format(**episode)
        for episode in numbers["collision_episodes"] or ()
    ]
    reasons = sorted(numbers["reasons"].items(), key=lambda item: -item[1])
    words = (
        f"Over {numbers['frames']} plans, {numbers['judged_frames']} of them with ground truth; their speed was chosen "
        f"for: {', '.join(f'{reason} {percent(share)}' for reason, share in reasons)}. Open loop: the recorded vehicle "
        "does not follow the plan. A dash: nothing was met, or the recording lacks what it takes."
    )
    return Quality(title, words, ["", "value"], rows, notes)


def _safety_table(numbers: Mapping[str, Any]) -> Quality:
    states, verdicts = numbers["states"], numbers["verdicts"]
    highest = list(states)[numbers["highest_state"]]
    head = ["", "highest state", "escalations", "frames with an alarm", "certified", "uncertified", "without a verdict"]
    row = [
        "drive", heading(highest), str(len(numbers["escalations"])), str(numbers["alarms"]),
        str(verdicts["certified"]), str(verdicts["uncertified"]), str(numbers["frames_without_verdict"]),
    ]  # fmt: skip
    words = "Seconds in each state: {}.".format(
        ", ".join(f"{heading(name)} {show(value, 1)}" for name, value in states.items())
    )
    if numbers["uncertified_reasons"]:
        reasons = (f"{reason} {count}" for reason, count in numbers["uncertified_reasons"].items())
        words += " Frames were not certified for: {}.".format(", ".join(reasons))
    notes = [
        "{}: {} to {}: {}".format(
            "{:.1f} s".format(rise["seconds"]), heading(rise["from"]), heading(rise["to"]), ", ".join(rise["reasons"])
        )
        for rise in numbers["escalations"]
    ]
    return Quality("Safety", words, head, [row], notes)


def flatten(numbers: Mapping[str, Any], prefix: str = "") -> Iterator[Tuple[str, Any]]:
    """The single values in nested mappings, with their keys joined by dots; lists are left out."""
    for key, value in numbers.items():
        if isinstance(value, Mapping):
            yield from flatten(value, prefix + str(key) + ".")
        elif not isinstance(value, (list, tuple)):
            yield prefix + str(key), value


NAMES = {
    "ap50": "AP50",
    "ap": "AP",
    "hota": "HOTA",
    "deta": "DetA",
    "assa": "AssA",
    "loca": "LocA",
    "mota": "MOTA",
    "idf1": "IDF1",
    "id_switches": "ID switches",
    "min_ttc_s": "least time to collision [s]",
    "ttc_violation_share": "share of plans with a short time to collision",
}
UNITS = {"_mps3": "m/s³", "_mps2": "m/s²", "_mps": "m/s", "_radps": "rad/s", "_ms": "ms", "_m": "m", "_s": "s"}


def heading(path: str) -> str:
    """A key of the summary as a reader would write it."""
    if path in NAMES:
        return NAMES[path]
    for ending, unit in UNITS.items():
        if path.endswith(ending):
            return heading(path[: -len(ending)]) + f" [{unit}]"
    return path.replace("_", " ").replace(".", ": ")


def provenance_rows(summary: Summary) -> List[Tuple[str, str]]:
    """How the run was made."""
    run, recording, machine = summary["run"], summary["recording"], summary["machine"]
    return [
        ("started", run["started"]),
        ("ended", run["exit_state"]),
        ("command", run["command_line"] or "–"),
        ("mode", run["mode"] + (" at {:g}× pace".format(run["speed"]) if run["speed"] != 1 else "")),
        ("recording", "{} ({}, {} frames of {} × {}, {:.1f} s)".format(
            recording["path"], recording["kind"], recording["frames"], recording["width"], recording["height"],
            recording["duration_s"])),
        ("assumed of the recording", "; ".join(recording["assumptions"]) or "nothing"),
        ("detector", " level ".join(filter(None, [run["detector"], run["level"]])) or "–"),
        ("machine", "{}, {} cores, {} GiB, {}".format(
            machine["cpu"], machine["cores"], machine["memory_gib"], machine["system"])),
        ("versions", ", ".join("{} {}".format(*item) for item in summary["versions"].items() if item[1])),
        ("clock", "CLOCK_MONOTONIC of this machine, in nanoseconds, read inside the nodes"),
    ]  # fmt: skip
