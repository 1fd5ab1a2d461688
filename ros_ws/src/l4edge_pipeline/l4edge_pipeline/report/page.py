"""Renders one self-contained HTML page. Whatever comes from files is escaped by the template engine."""

import base64
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Mapping, Sequence

import numpy as np

from l4edge_pipeline.report import charts, tables
from l4edge_pipeline.report.canvas import colour_of
from l4edge_pipeline.report.chain_section import chain_section
from l4edge_pipeline.report.charts import Html
from l4edge_pipeline.report.gallery import Walk
from l4edge_pipeline.report.latency import SEGMENTS
from l4edge_pipeline.report.lives import Life
from l4edge_pipeline.report.outputs import Outputs
from l4edge_pipeline.report.summary import Timing
from l4edge_pipeline.report.templating import TEMPLATES, rendered

CARDS, ROWS = 24, 40
"""Tracks shown as cards, and as rows of the chart."""


@dataclass(frozen=True)
class Material:
    """What the page is made of, next to the summary."""

    timing: Timing
    outputs: Outputs
    walk: Walk
    lives: Sequence[Life]

    @property
    def first_ns(self) -> int:
        """The moment from which the page counts seconds."""
        return self.walk.stamps_ns[0] if self.walk.stamps_ns else 0


def render_page(summary: Mapping[str, Any], material: Material) -> str:
    """The page as HTML text that needs no other file and no network.

    Raises:
        InputError: the template engine is not installed.
    """
    walk, outputs = material.walk, material.outputs
    pictured = [picture.index for picture in walk.pictures]
    chains = [
        chain_section(name, summary, passes, walk.stamps_ns, outputs.tracks, pictured)
        for name, passes in material.timing.passes.items()
    ]
    return rendered(
        "page.html.j2",
        name=Path(summary["recording"]["path"]).name,
        run=summary["run"],
        script=Html((TEMPLATES / "page.js").read_text(encoding="utf-8")),
        verdict=tables.verdict(summary),
        tiles=tables.tiles(summary),
        warnings=summary["warnings"],
        requirements=tables.requirement_rows(summary),
        chains=chains,
        segments=SEGMENTS,
        pictures=_player(material),
        stage_table=tables.stage_table(summary["stages"]),
        account_table=tables.account_table(summary["frames"]),
        quality=tables.quality_tables(summary),
        drive=_motion(material),
        tracks=_tracks(summary, material),
        provenance=tables.provenance_rows(summary),
    )


def _player(material: Material) -> Dict[str, Any]:
    pictures = [
        {
            "frame": picture.index,
            "seconds": round((picture.stamp_ns - material.first_ns) * 1e-9, 3),
            "jpeg": _base64(picture.jpeg),
        }
        for picture in material.walk.pictures
    ]
    if not pictures:
        return {}
    outputs, frames = material.outputs, len(material.walk.stamps_ns)
    return {
        "first": pictures[0],
        "json": Html(json.dumps(pictures)),  # holds numbers and base64 only
        "words": f"{len(pictures)} of {frames} frames. Arrow keys step, space plays.",
        "truth": bool(outputs.ground_truth),
        "ribbon": bool(outputs.trajectories and outputs.ego),
        "birdseye": bool(outputs.ego),
    }


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")


def _motion(material: Material) -> List[Dict[str, Any]]:
    """Speed and acceleration: of the vehicle, and as commanded."""
    outputs = material.outputs
    commands = [outputs.commands[stamp] for stamp in sorted(outputs.commands)]
    lines = [
        charts.Line("vehicle", "", _seconds(outputs.ego, material), np.array([ego.speed for ego in outputs.ego])),
        charts.Line("command", "second", _seconds(commands, material), np.array([c.speed for c in commands])),
        charts.Line("command", "second", _seconds(commands, material), np.array([c.acceleration for c in commands])),
    ]
    drawn = []
    for title, unit, group in (("Speed", "m/s", lines[:2]), ("Acceleration asked for", "m/s²", lines[2:])):
        curves = [line for line in group if len(line.xs) > 1]
        if curves:
            key = [{"name": line.name, "colour": "--stage-2" if line.style else "--accent"} for line in curves]
            drawn.append({"title": title, "svg": charts.curves(curves, unit, title), "key": key})
    return drawn


def _seconds(values: Sequence[Any], material: Material) -> np.ndarray:
    return (np.array([value.stamp_ns for value in values], np.int64) - material.first_ns) * 1e-9


def _tracks(summary: Mapping[str, Any], material: Material) -> Dict[str, Any]:
    lives, first_ns = material.lives, material.first_ns
    if not lives:
        return {}
    cards = [
        {
            "id": life.track,
            "class_name": life.class_name,
            "colour": "rgb({}, {}, {})".format(*colour_of(life.track)),
            "first": f"{(life.stamps_ns[0] - first_ns) * 1e-9:.1f}",
            "last": f"{(life.stamps_ns[-1] - first_ns) * 1e-9:.1f}",
            "frames": len(life.stamps_ns),
            "frames_seen": life.frames_seen,
            "jpeg": _base64(material.walk.crops[life.track]) if life.track in material.walk.crops else "",
        }
        for life in lives[:CARDS]
    ]
    rows = []
    for life in sorted(lives[:ROWS], key=lambda life: life.stamps_ns[0]):
        label = f"#{life.track} {life.class_name}"
        spans = [
            charts.Span(
                (start - first_ns) * 1e-9, (end - start) * 1e-9, "seen" if seen else "unseen",
                f"{label}: {(start - first_ns) * 1e-9:.1f} to {(end - first_ns) * 1e-9:.1f} s",
            )
            for start, end, seen in life.spans()
        ]  # fmt: skip
        rows.append((label, spans))
    end_s = (max(life.stamps_ns[-1] for life in lives) - first_ns) * 1e-9
    numbers = summary["tracks"]
    words = "{} tracks ({}) with a median life of {:.1f} s. Shown are those seen in most frames.".format(
        numbers["count"], ", ".join(f"{count} {name}" for name, count in numbers["by_class"].items()),
        numbers["seconds_p50"],
    )  # fmt: skip
    return {"cards": cards, "chart": charts.life_bars(rows, end_s), "words": words}
