"""Keep the figures of docs/objects_certification.md those of the result files: nobody writes them by hand.

``python -m l4edge_compression.studies.certified_objects_page docs/results/certification docs/objects_certification.md``
"""

import json
from pathlib import Path
from typing import Any

import click

from l4edge_compression.studies.certified_objects import objects_table
from l4edge_perception.errors import InputError
from l4edge_perception.files import write_text
from l4edge_perception.pages import replaced_parts

BEGIN = "<!-- {}: written by l4edge_compression.studies.certified_objects_page -->"
END = "<!-- end of {} -->"


def recall_table(rows: list[dict[str, Any]]) -> str:
    """A table for each detector; patches in pixels of the network's input."""
    parts = []
    for pictures in dict.fromkeys(row["pictures"] for row in rows):
        chosen = [row for row in rows if row["pictures"] == pictures]
        first = chosen[0]
        counted = "road users" if first["method"].startswith("objectness") else "objects"
        parts.append(
            f"{first['detector']}, {pictures}: {first['objects']} {counted}, of which the undefended detector finds "
            f"{percent(first['undefended_recall'])}; {first['large_objects']} are large, 48 pixels or more.\n"
        )
        parts.append(
            "| masks | passes | patch, px | far | close | over | large: far | close | over "
            "| positions: far | close | over | clean frames alarmed |"
        )
        parts.append("|---|" + "---:|" * 12)
        parts += [_line(row) for row in chosen]
        parts.append("")
    return "\n".join(parts).rstrip()


def _line(row: dict[str, Any]) -> str:
    groups = (row["certified_recall"], row["certified_recall_large"], row["certified_positions"])
    shares = " | ".join(percent(group[name]) for group in groups for name in ("far", "close", "over"))
    return (
        f"| {row['method']} | {row['passes']} | {row['patch_px']} | {shares} | {percent(row['frames_alarmed'])} |"
    )


def cells_table(result: dict[str, Any]) -> str:
    """What free space costs."""
    lines = ["| assumed object | passes | patch, px | far | far and close | all positions |", "|---|" + "---:|" * 5]
    lines += [
        f"| {row['object']} | {row['passes']} | {row['patch']} | {percent(row['far'])} | "
        f"{percent(row['far_and_close'])} | {percent(row['all'])} |"
        for row in result["free_cells"]["rows"]
    ]
    return "\n".join(lines)


def percent(share: float) -> str:
    """17.3 %."""
    return f"{100 * share:.1f} %"


@click.command()
@click.argument("results", type=click.Path(path_type=Path))
@click.argument("page", type=click.Path(path_type=Path))
def command(results: Path, page: Path) -> None:
    """Write the figures of the result files in RESULTS into PAGE."""
    rows = objects_table(results)
    if not rows:
        raise InputError(f"{results}: no objects-*.json; make them with l4edge_compression.studies.certified_objects")
    masks = [row for row in rows if not row["method"].startswith("objectness")]
    guard = [row for row in rows if row["method"].startswith("objectness")]
    text = page.read_text(encoding="utf-8")
    figures = {"recall": recall_table(masks), "objectness": recall_table(guard)}
    figures["cells"] = cells_table(json.loads(sorted(results.glob("objects-*.json"))[0].read_text(encoding="utf-8")))
    write_text(page, replaced_parts(text, BEGIN, END, figures, str(page)))


if __name__ == "__main__":
    command()
