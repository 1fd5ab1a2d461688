"""``l4edge bench parity``: the integer interpreter against onnxruntime."""

import json
import sys
from typing import Any, Dict, Mapping

import click


@click.command()
@click.option("--quick", is_flag=True, help="Every layer type once and one small network, in seconds.")
@click.option("--seed", default=0, show_default=True, help="Of all weights and inputs.")
@click.option("--json", "as_json", is_flag=True, help="Print the results as JSON.")
def command(quick: bool, seed: int, as_json: bool) -> None:
    """Count the outputs in which the integer interpreter and onnxruntime differ; there must be none.

    Every layer type and every method with weights drawn at random, and whole networks. Operators that are float32
    inside (softmax, normalization, GELU) stand apart: theirs may differ by one code. Exit code 1 if integers
    differ, or fewer than a million outputs of a kind were compared.
    """
    from rich.console import Console

    console = Console(stderr=True)
    with console.status("Comparing") as status:
        results = measure(seed, quick, lambda text: status.update(f"Comparing {text}"))
    if as_json:
        click.echo(json.dumps(results, indent=2))
    else:
        _print(results)
    sys.exit(0 if results["exact"] and results["enough"] else 1)


def measure(seed: int = 0, quick: bool = False, say: Any = lambda _: None) -> Dict[str, Any]:
    """Run the comparison and return what the command prints as JSON."""
    from l4edge_compression.quantization import parity_study
    from l4edge_pipeline.report.provenance import describe_machine

    return {**parity_study.measure(seed, quick, say), "machine": describe_machine()}


def _print(results: Mapping[str, Any]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    console = Console(width=None if sys.stdout.isatty() else 120)
    titles = {
        "operators": "Integer layers", "methods": "Methods", "networks": "Networks, integer operators",
        "float_operators": "Float32 inside",
    }
    for field, title in titles.items():
        grid = Table(title=title, box=box.SIMPLE, padding=(0, 0, 0, 1), title_justify="left")
        grid.add_column("", min_width=30)
        for head in ("outputs", "different", "largest"):
            grid.add_column(head, justify="right")
        for name, count in results[field].items():
            grid.add_row(name, f"{count['outputs']:,}", f"{count['mismatches']:,}", f"{count['largest']:g}")
        console.print(grid)
    console.print(f"{results['mismatches']:,} of {results['outputs']:,} integer outputs differ")
