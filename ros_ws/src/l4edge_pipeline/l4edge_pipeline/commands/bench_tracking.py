"""``l4edge bench tracking``: the tracker on the KITTI tracking benchmark."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict, List, Mapping, Sequence

import click

if TYPE_CHECKING:
    from l4edge_perception.metrics.kitti_tracking import ClassRun

COLUMNS = {
    "hota": "HOTA",
    "deta": "DetA",
    "assa": "AssA",
    "mota": "MOTA",
    "idf1": "IDF1",
    "id_switches": "IDSW",
    "false_positives": "FP",
    "misses": "FN",
    "p50_ms": "p50",
    "p99_ms": "p99",
    "cpu_p99_ms": "cpu p99",
}
"""What is printed of a result, and how it is headed: metrics in percent, counts, milliseconds."""

STUDIES = {
    "ablation": "Cars, with each part taken away",
    "sensitivity": "Cars, with each value halved and doubled alone",
    "held-out": "Every sequence with values that the others gave",
}

Table = Mapping[str, Mapping[str, Any]]


@click.command()
@click.option("--data", required=True, type=click.Path(path_type=Path), metavar="FOLDER",
              help="Holds label/SEQUENCE.txt and detection/{Car,Pedestrian,Cyclist}/SEQUENCE.txt.")
@click.option("--study", "studies", multiple=True, type=click.Choice(list(STUDIES)),
              help="What the parts are worth and whether their values hold, in minutes; may be repeated.")
@click.option("--json", "as_json", is_flag=True, help="Print the results as JSON.")
@click.option("--markdown", is_flag=True, help="Print the tables as Markdown.")
def command(data: Path, studies: Sequence[str], as_json: bool, markdown: bool) -> None:
    """Track KITTI's cars, pedestrians and cyclists from PointRCNN's detections, and judge the tracks with TrackEval.

    Rules of the KITTI tracking benchmark in the image (2D boxes), all sequences of FOLDER taken together. Metrics are
    in percent. Times are those of one update in milliseconds: by the wall clock, on this machine as busy as it is, and
    of the processor (cpu).
    """
    from rich.console import Console

    console = Console(stderr=True)
    with console.status("Tracking"):
        results = measure(data, studies)
    if as_json:
        click.echo(json.dumps(results, indent=2))
        return
    tables = {"By class": {name: results[name] for name in results if name not in ("about", "studies")}}
    tables.update({STUDIES[name]: table for name, table in results["studies"].items()})
    for title, table in tables.items():
        _print(title, table, markdown)


def measure(data: Path, studies: Sequence[str] = ()) -> Dict[str, Any]:
    """Run the benchmark and return what the command prints as JSON."""
    from l4edge_perception.metrics import kitti, kitti_studies
    from l4edge_perception.metrics.kitti_tracking import CALIBRATIONS, run_class
    from l4edge_perception.metrics.tracking import summary
    from l4edge_pipeline.report.provenance import describe_machine

    sequences = kitti.read_sequences(data)
    results: Dict[str, Any] = {}
    runs: List[ClassRun] = []
    for class_name in kitti.CLASSES:
        calibrations = {sequence.name: CALIBRATIONS[class_name] for sequence in sequences}
        run = run_class(sequences, class_name, calibrations)
        results[class_name] = {**run.summary(), **_times([run])}
        runs.append(run)
    results["total"] = {**summary([score for run in runs for score in run.scores.values()]), **_times(runs)}
    results["about"] = {
        "sequences": [sequence.name for sequence in sequences],
        "frames": sum(sequence.length for sequence in sequences),
        "machine": describe_machine(),
    }
    studied = {}
    if "ablation" in studies:
        studied["ablation"] = kitti_studies.ablation(sequences)
    if "sensitivity" in studies or "held-out" in studies:
        varied = kitti_studies.sensitivity(sequences)
        if "sensitivity" in studies:
            studied["sensitivity"] = {name: run.summary() for name, run in varied.items()}
        if "held-out" in studies:
            studied["held-out"] = kitti_studies.held_out(sequences, varied)
    results["studies"] = studied
    return results


def _times(runs: "Sequence[ClassRun]") -> Dict[str, float]:
    """Percentiles of what one update took."""
    import numpy as np

    wall = np.concatenate([run.seconds for run in runs]) * 1e3
    processor = np.concatenate([run.processor_seconds for run in runs]) * 1e3
    return {
        "p50_ms": float(np.percentile(wall, 50)),
        "p99_ms": float(np.percentile(wall, 99)),
        "cpu_p99_ms": float(np.percentile(processor, 99)),
    }


def _print(title: str, table: Table, markdown: bool) -> None:
    names = [name for name in COLUMNS if any(name in row for row in table.values())]
    rows = [[label, *(_text(row[name]) for name in names)] for label, row in table.items()]
    heads = ["", *(COLUMNS[name] for name in names)]
    if markdown:
        lines = [heads, ["---", *("---:" for _ in names)], *rows]
        click.echo("\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n")
        return

    from rich import box
    from rich.console import Console
    from rich.table import Table as RichTable

    grid = RichTable(title=title, box=box.SIMPLE, padding=(0, 0, 0, 1), title_justify="left")
    grid.add_column("", min_width=10)
    for head in heads[1:]:
        grid.add_column(head, justify="right", no_wrap=True)
    for row in rows:
        grid.add_row(*row)
    Console(width=None if sys.stdout.isatty() else 120).print(grid)


def _text(value: Any) -> str:
    return f"{value:.2f}" if isinstance(value, float) else str(value)
