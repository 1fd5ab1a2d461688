"""``l4edge bench quantization``: what quantization gains and costs on this machine."""

import json
import sys
from typing import Any, Dict, Mapping

import click

TARGETS = {
    "speedup": ("at least", 3.2),
    "size_ratio": ("at most", 0.16),
    "ptq_seconds": ("at most", 60.0),
    "ptq_peak_gb": ("at most", 2.0),
    "reassignment_share": ("at most", 0.05),
    "crossover": ("4.6 to", 5.0),
}
"""What is to be reached."""

MEANINGS = {
    "speedup": "ResNet-18 at 224, 1 thread: float32 over RMSMP, least times",
    "size_ratio": "packed RMSMP file over float32 file",
    "ptq_seconds": "post-training quantization of ResNet-18 by RMSMP [s]",
    "ptq_peak_gb": "memory of that process at its peak [GB]",
    "reassignment_share": "re-assignment of rows over an epoch (extrapolated), ResNet-20",
    "crossover": "alpha / sigma from which powers of two err less",
}


@click.command()
@click.option("--runs", default=60, show_default=True, type=click.IntRange(1), help="Of each graph, in turn.")
@click.option("--seed", default=0, show_default=True, help="Of weights, images and samples.")
@click.option("--json", "as_json", is_flag=True, help="Print the results as JSON.")
def command(runs: int, seed: int, as_json: bool) -> None:
    """Measure speed, size, and the cost of post-training quantization and of re-assigning rows.

    Networks have random weights: none of these figures depends on what they recognize. Times are those of this machine,
    as busy as it is.
    """
    from rich.console import Console

    console = Console(stderr=True)
    with console.status("Measuring") as status:
        results = measure(runs, seed, lambda text: status.update(f"Measuring {text}"))
    if as_json:
        click.echo(json.dumps(results, indent=2))
    else:
        _print(results)


def measure(runs: int = 60, seed: int = 0, say: Any = lambda _: None) -> Dict[str, Any]:
    """Run the benchmark and return what the command prints as JSON."""
    from l4edge_compression.quantization import cost_study
    from l4edge_pipeline.report.provenance import describe_machine

    return {**cost_study.measure(runs, seed, say), "machine": describe_machine()}


def _print(results: Mapping[str, Any]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    console = Console(width=None if sys.stdout.isatty() else 120)
    grid = Table(box=box.SIMPLE, padding=(0, 0, 0, 1))
    grid.add_column("")
    grid.add_column("measured", justify="right")
    grid.add_column("target", justify="right")
    for name, (word, limit) in TARGETS.items():
        grid.add_row(MEANINGS[name], f"{results[name]:.3g}", f"{word} {limit:g}")
    rows = results["rows"]
    grid.add_row(
        f"{rows['rows']} rows at {rows['ratio']}", f"{rows['pot4']}/{rows['fixed4']}/{rows['fixed8']}", "42/19/3"
    )
    console.print(grid)
    times = Table(box=box.SIMPLE, padding=(0, 0, 0, 1))
    for head in ("ResNet-18", "least [ms]", "median [ms]", "bytes"):
        times.add_column(head, justify="left" if head == "ResNet-18" else "right")
    for name, entry in results["times"].items():
        times.add_row(name, f"{entry['min_ms']:.2f}", f"{entry['median_ms']:.2f}", f"{results['bytes'][name]:,}")
    console.print(times)
