"""Keep the figures of docs/certified_signs.md those of the result file: nobody writes them by hand.

``python -m l4edge_compression.studies.certified_signs_page RESULT docs/certified_signs.md``, where RESULT is
docs/results/certification/signs-0.json.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from l4edge_perception.files import write_text
from l4edge_perception.training.pages import updated
from l4edge_perception.types import MEANINGS

SHARES = ("clean", "certified", "certified_wrong", "alarm", "uncertified")
WORDS = "clean | certified | certified wrong | alarm | uncertified"
LIGHTEST = "0"
"""Confidence of the tables of methods: every disagreement counts."""

SQUARES = "ScaleCert-style, 4 x 4"
"""Windows to compare with those that the package declares."""


def figures(record: Mapping[str, Any]) -> str:
    """The measured part of the page as Markdown."""
    detection, recovery = record["detection"], record["recovery"]
    declared = "ScaleCert-style, " + " x ".join(str(number) for number in record["settings"]["counts"])
    lines = [
        f"| windows on | pixels of a window | {WORDS} | passes | ms |", f"|---|---|{'---:|' * 7}",
    ]
    for name, entry in detection.items():
        table = entry["confidences"][LIGHTEST]
        lines.append(
            f"| {name} | {entry['window_px'][0]} x {entry['window_px'][1]} | {_shares(table)} | "
            f"{table['passes']:.1f} | {entry['time']['median_ms']:.1f} |"
        )
    lines += ["", f"{declared} windows, as the package declares, by confidence:", "", f"| confidence | {WORDS} |"]
    lines.append(f"|---|{'---:|' * 5}")
    for name, table in detection[declared]["confidences"].items():
        lines.append(f"| {name} | {_shares(table)} |")
    lines += ["", f"{declared} windows, confidence {LIGHTEST}, by meaning:", ""]
    lines += _by_meaning(detection[declared], recovery)
    lines += ["", f"{SQUARES} windows, confidence {LIGHTEST}, by meaning:", ""]
    lines += _by_meaning(detection[SQUARES], {})
    lines += ["", "| recovery by double masking in | crops | certified | passes |", "|---|---:|---:|---:|"]
    for name, entry in recovery.items():
        lines.append(f"| {name} | {entry['count']} | {_share(entry['certified'])} | {entry['passes']:.0f} |")
    lines += ["", "| | |", "|---|---|", *(f"| {word} | {value} |" for word, value in _facts(record))]
    return "\n".join(lines)


def _by_meaning(entry: Mapping[str, Any], recovery: Mapping[str, Any]) -> list[str]:
    """Rows of one set of windows; with what some window turns a rightly named crop into."""
    table, back = entry["confidences"][LIGHTEST]["meanings"], next(iter(recovery.values()), None)
    extra = " recovery |" if back else ""
    lines = [f"| meaning | crops | {WORDS} |{extra} a window turns it into |"]
    lines.append(f"|---|---:|{'---:|' * (6 if back else 5)}---|")
    for word in MEANINGS:
        row = table[word]
        more = f" {_share(back['meanings'][word]['certified'])} |" if back else ""
        turned = sorted(entry["turned"][word].items(), key=lambda item: -item[1])
        names = ", ".join(f"{other} {count}" for other, count in turned[:4])
        lines.append(f"| {word} | {row['count']} | {_shares(row)} |{more} {names or '–'} |")
    return lines


def _facts(record: Mapping[str, Any]) -> list[tuple[str, str]]:
    sizes, clean, settings = record["package"]["bytes"], record["clean"], record["settings"]
    return [
        ("clean accuracy, all held-out crops", f"{_share(clean['accuracy'])} of {clean['count']}"),
        ("patch", " of ".join(f"{edges[0]} x {edges[1]}" for edges in (settings["patch"], settings["input_size"]))),
        ("cells of the first layer that are kept", _share(record["kept"])),
        ("bytes", ", ".join(f"{name} {size}" for name, size in sizes.items())),
        ("margin of logits", f"{settings['margin']:.2g}"),
        ("training", f"{record['training_s'] / 60:.0f} minutes, {record['steps']} steps, seed {record['seed']}"),
        ("machine", f"{record['device']}, torch {record['torch']}, onnxruntime {record['onnxruntime']}"),
        *(("note", note) for note in record.get("notes", ())),
    ]


def _shares(table: Mapping[str, Any]) -> str:
    return " | ".join(_share(table[name]) for name in SHARES)


def _share(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f} %"


@click.command()
@click.argument("result", type=click.Path(path_type=Path))
@click.argument("page", type=click.Path(path_type=Path))
def command(result: Path, page: Path) -> None:
    """Write the figures of RESULT into PAGE."""
    record = json.loads(result.read_text(encoding="utf-8"))
    write_text(page, updated(page.read_text(encoding="utf-8"), figures(record), str(page)))


if __name__ == "__main__":
    command()
