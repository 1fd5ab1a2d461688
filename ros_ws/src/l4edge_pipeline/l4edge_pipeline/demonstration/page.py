"""The demonstration as one HTML page that needs no other file and no network."""

import base64
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

import cv2
import numpy as np

from l4edge_perception.safety_types import State
from l4edge_pipeline.demonstration import drawing
from l4edge_pipeline.demonstration.loop import PERIOD_S
from l4edge_pipeline.demonstration.outcomes import MISSED, Answer, state_of
from l4edge_pipeline.demonstration.scenes import ATTACKED, CLEAN, GUARDED, SMALL, STOP
from l4edge_pipeline.demonstration.stickers import Print
from l4edge_pipeline.demonstration.stories import Story
from l4edge_pipeline.report import charts
from l4edge_pipeline.report.charts import Axes, Html, element
from l4edge_pipeline.report.templating import rendered

TITLES = {
    CLEAN: "no sticker", ATTACKED: "sticker, no monitor", GUARDED: "sticker and monitor",
    SMALL: "sticker of the certified size, and monitor",
}
COLOURS = {CLEAN: "--soft", ATTACKED: "--over", GUARDED: "--accent", SMALL: "--stage-3"}
STATE_STYLES = {State.NOMINAL: "ok", State.CAUTION: "near", State.DEGRADED: "far", State.MINIMAL_RISK_MANOEUVRE: "over"}
WORDS = {STOP: "A stop sign", "standing_vehicle": "A vehicle that stands in the lane"}


def render(results: Mapping[str, Any], stories: Sequence[Story]) -> str:
    """The page as HTML text.

    Raises:
        InputError: the template engine is not installed.
    """
    kinds = list(dict.fromkeys(story.scene.kind for story in stories))
    return rendered(
        "demonstration.html.j2",
        results=results,
        scenes=[_scene(kind, [story for story in stories if story.scene.kind == kind]) for kind in kinds],
    )


def _scene(kind: str, stories: Sequence[Story]) -> Dict[str, Any]:
    prints = {story.sticker.name: story.sticker for story in stories if story.sticker is not None}
    return {
        "title": WORDS[kind],
        "kind": kind,
        "prints": [_print(each) for each in prints.values()],
        "rows": [_row(story) for story in stories],
        "speed": _speeds(stories),
        "key": [{"name": TITLES[story.variant], "colour": COLOURS[story.variant]} for story in stories],
        "words": [{"name": TITLES[story.variant], "svg": _said(story)} for story in stories],
        "stories": [
            {"name": TITLES[story.variant], "pictures": _pictures(story), "sentence": sentence(story)}
            for story in stories
        ],
    }


def _print(sticker: Print) -> Dict[str, Any]:
    shown = cv2.resize(sticker.texture, (160, 160), interpolation=cv2.INTER_NEAREST)
    png = cv2.imencode(".png", shown[..., ::-1])[1].tobytes()
    return {
        "png": _base64(png), "name": sticker.name, "share": f"{100 * sticker.area:.1f} %",
        "edge": f"{100 * sticker.width:.0f} % of its width", "steps": sticker.made.get("steps", "?"),
    }


def _row(story: Story) -> List[str]:
    outcome = story.outcome

    def shown(value: Optional[float], unit: str = "") -> str:
        return "–" if value is None else f"{value:g}{unit}"

    return [
        TITLES[story.variant],
        f"{outcome.target_wrong} of {outcome.target_readable}",
        ", ".join(f"{word} {count}" for word, count in list(outcome.words.items())[:3]),
        "–" if outcome.alarm_delay is None else f"{outcome.alarm_delay} frames",
        outcome.highest_state.replace("_", " ") if story.frames[0].verdict is not None else "–",
        "yes" if outcome.stopped else "no",
        shown(outcome.gap_m, " m"),
        shown(outcome.passed_mps, " m/s"),
        shown(outcome.contact_mps, " m/s"),
        shown(outcome.hardest_mps2, " m/s²"),
    ]


def sentence(story: Story) -> str:
    """What happened, in words."""
    outcome, what = story.outcome, "sign" if story.scene.kind == STOP else "vehicle"
    parts = []
    if outcome.target_wrong:
        parts.append(
            f"The {what} is answered wrongly in {outcome.target_wrong} of {outcome.target_readable} frames "
            f"in which it is large enough"
        )
    else:
        parts.append(f"The {what} is answered rightly whenever it is large enough")
    if outcome.first_alarm is not None:
        parts.append(f"the monitor raises its first alarm at {outcome.first_alarm * PERIOD_S:.1f} s")
    if outcome.first_degraded is not None:
        parts.append(f"from {outcome.first_degraded * PERIOD_S:.1f} s on the vehicle obeys {outcome.highest_state}")
    if outcome.contact_mps is not None:
        parts.append(f"it hits the {what} with {outcome.contact_mps:.1f} m/s")
    elif outcome.passed_mps is not None and not outcome.stopped:
        parts.append(f"it drives past the sign with {outcome.passed_mps:.1f} m/s")
    elif outcome.stopped and outcome.gap_m is not None:
        where = "before" if outcome.gap_m >= 0 else "behind"
        braking = f"braking with {outcome.hardest_mps2:.1f} m/s²"
        parts.append(f"it stops {abs(outcome.gap_m):.1f} m {where} the {what}, {braking}")
    return "; ".join(parts) + "."


def _speeds(stories: Sequence[Story]) -> Html:
    end = max(len(story.frames) for story in stories) * PERIOD_S
    top = max(frame.ego.speed for story in stories for frame in story.frames) * 1.1
    axes = Axes(charts.FULL, 230, (0.0, end), (0.0, top), (charts.TIME, "speed [m/s]"))
    content = []
    for story in stories:
        points = " ".join(
            f"{axes.x(index * PERIOD_S):.1f},{axes.y(frame.ego.speed):.1f}" for index, frame in enumerate(story.frames)
        )
        content.append(element("polyline", f"path {story.variant}", points=points))
        if story.outcome.contact_mps is not None:
            index = next(index for index, frame in enumerate(story.frames) if frame.contacts)
            x, y = axes.x(index * PERIOD_S), axes.y(story.frames[index].ego.speed)
            content.append(element("circle", "crash", "contact", cx=x, cy=y, r=5))
    return axes.draw(content, "Speed of the vehicle")


def _said(story: Story) -> Html:
    """Bands over time: the networks' answer, the monitor's verdict, the safety state."""
    end = max(len(story.frames), 1) * PERIOD_S
    bands: List[Tuple[str, List[Tuple[str, str]]]] = [("network", [_answer_style(said) for said in story.answers])]
    if story.frames and story.frames[0].verdict is not None:
        verdicts = [frame.verdict for frame in story.frames]
        bands.append(("monitor", [
            ("none", "") if verdict is None else
            (("ok", "near-soft", "over")[int(verdict.verdict)], f"{verdict.verdict.name.lower()}: {verdict.reason}")
            for verdict in verdicts
        ]))
        bands.append(("state", [
            (STATE_STYLES[state_of(frame)], _state_words(frame)) for frame in story.frames
        ]))
    axes = Axes(charts.FULL, 54 + 24 * len(bands), (0.0, end), (0.0, 1.0), (charts.TIME, ""), left=90)
    content = []
    for row, (name, cells) in enumerate(bands):
        y = axes.top + 24 * row + 2
        content.append(element("text", "row end", name, x=axes.left - 8, y=y + 14))
        for start, stop, (style, words) in _runs(cells):
            x = axes.x(start * PERIOD_S)
            content.append(element(
                "rect", f"band {style}", f"{start * PERIOD_S:.1f} s: {words}", x=x, y=y,
                width=max(axes.x(stop * PERIOD_S) - x, 0.5), height=18,
            ))
    return axes.draw(content, f"Answers over time, {TITLES[story.variant]}", y_ticks=False)


def _answer_style(said: Answer) -> Tuple[str, str]:
    if said.right is None:
        return "none", "too small or out of the picture"
    return ("ok" if said.right else "over"), said.word if said.word == MISSED else f"read as {said.word}"


def _state_words(frame: Any) -> str:
    return f"{state_of(frame).name}" + ("" if frame.status is None else ": " + ", ".join(frame.status.reasons))


def _runs(cells: Sequence[Tuple[str, str]]) -> List[Tuple[int, int, Tuple[str, str]]]:
    """Equal neighbours as (start, end, cell)."""
    found: List[Tuple[int, int, Tuple[str, str]]] = []
    for index, cell in enumerate(cells):
        if found and found[-1][2] == cell:
            found[-1] = (found[-1][0], index + 1, cell)
        else:
            found.append((index, index + 1, cell))
    return found


def _pictures(story: Story) -> List[Dict[str, Any]]:
    if story.target is None:
        return []
    return [
        {
            "jpeg": _base64(drawing.draw(story.frames[index], index, story.answers[index], story.target)),
            "words": words, "seconds": f"{index * PERIOD_S:.1f}",
        }
        for index, words in moments(story)
    ]


def moments(story: Story) -> List[Tuple[int, str]]:
    """Frames worth a picture, and why, in their order; at most seven."""
    outcome, last = story.outcome, len(story.frames) - 1
    readable = [index for index, said in enumerate(story.answers) if said.right is not None]
    near = [index for index, said in enumerate(story.answers) if said.height_px > 0]
    chosen: Dict[int, str] = {}
    for index, words in (
        (readable[0] if readable else None, "large enough to be expected"),
        (outcome.first_wrong, "first wrong answer"),
        (outcome.first_alarm, "first alarm"),
        (outcome.first_degraded, "the plan obeys DEGRADED"),
        (readable[len(readable) // 2] if readable else None, "half way"),
        (near[-1] if near else None, "last sight of it"),
        (last, "the end"),
    ):
        if index is not None and index not in chosen:
            chosen[index] = words
    return sorted(chosen.items())


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")


def nan_range(values: np.ndarray) -> Optional[List[float]]:
    """Smallest and largest of the finite values."""
    finite = values[np.isfinite(values)]
    return [round(float(finite.min()), 1), round(float(finite.max()), 1)] if len(finite) else None
