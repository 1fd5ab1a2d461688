"""The demonstration's results in the documentation.

python -m l4edge_pipeline.demonstration.results_page docs/results/demonstration.json docs/attack_demonstration.md
"""

import json
import sys
from pathlib import Path
from typing import Any, Mapping

from l4edge_perception.files import write_text
from l4edge_perception.pages import replaced

BEGIN = "<!-- results: written by l4edge_pipeline.demonstration.results_page -->"
END = "<!-- end of results -->"


def tables(results: Mapping[str, Any]) -> str:
    """What ``l4edge demo patch --json`` printed, as Markdown."""
    lines = ["| what | seen | required | holds |", "|---|---|---|---|"]
    for row in results["requirements"]:
        held = "yes" if row["held"] else "**no**"
        lines.append(f"| {row['words']} | {row['value']} | {'yes' if row['required'] else 'told only'} | {held} |")
    drives = results["clean_drives"]
    if drives:
        lines += [
            "",
            "| ordinary drive | frames | certified | uncertified | with an alarm | highest state | contacts |",
            "|---|---:|---:|---:|---:|---|---:|",
        ]
        for each in drives["each"]:
            counts = (each[name] for name in ("number", "frames", "certified", "uncertified", "alarms"))
            lines.append(
                "| " + " | ".join(map(str, counts)) + f" | `{each['highest_state']}` | {each['contacts']} |"
            )
        lines.append("")
        lines.append(
            f"{drives['frames']} frames, {60 * drives['hours']:.1f} minutes: "
            f"{100 * drives['certified_share']:.1f} % of the frames certified, "
            f"{drives['alarms_per_hour']:.0f} frames with a false alarm an hour, "
            f"{drives['above_caution']} of {drives['drives']} drives above `CAUTION`."
        )
    return "\n".join(lines)


def main() -> None:
    """Put the tables of a result file on a page."""
    results, page = map(Path, sys.argv[1:])
    measured = tables(json.loads(results.read_text(encoding="utf-8")))
    write_text(page, replaced(page.read_text(encoding="utf-8"), BEGIN, END, measured, str(page)))


if __name__ == "__main__":
    main()
