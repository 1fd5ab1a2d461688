"""``l4edge bench certification``: covering sets, the theorem under attack, and what each method certifies."""

import json
import sys
from pathlib import Path
from typing import Any, Dict, Mapping, Optional

import click

MODELS = Path("models")

METHODS = {
    "undefended": "undefended",
    "scalecert": "ScaleCert-style",
    "scalecert, refined": "ScaleCert-style, coarse to fine",
    "one-mask": "one-mask detection",
    "one-mask, refined": "one-mask, coarse to fine",
    "double masking": "double masking",
}

COLUMNS = (
    ("clean %", "clean", 100), ("certified %", "certified", 100), ("recovery %", "certified_recovery", 100),
    ("alarm %", "alarm", 100), ("cert. wrong %", "certified_wrong", 100), ("uncert. %", "uncertified", 100),
    ("passes", "passes", 1), ("ms", "ms", 1),
)


@click.command()
@click.option(
    "--data", type=click.Path(path_type=Path),
    help="Archive or folder of CIFAR-10. Without it the network is attacked on made-up scenes, and there is no table.",
)
@click.option("--cache", type=click.Path(path_type=Path), help="Folder that keeps the decoded pictures.")
@click.option(
    "--package", type=click.Path(path_type=Path), default=MODELS / "cifar10_certified", show_default=True,
    help="Certified network for pictures of 32 x 32 pixels.",
)
@click.option(
    "--signs", type=click.Path(path_type=Path), default=MODELS / "sign_classifier_certified", show_default=True,
    help="Certified sign classifier.",
)
@click.option(
    "--recording", type=click.Path(path_type=Path), default=Path("examples/demo_drive"), show_default=True,
    help="Simulated drive whose signs are attacked.",
)
@click.option("--settings", type=click.IntRange(1), default=20_000, show_default=True, help="Random covering sets.")
@click.option("--images", type=click.IntRange(1), default=500, show_default=True, help="Certified images per network.")
@click.option("--table", type=click.IntRange(0), default=100, show_default=True, help="Pictures of the table; 0: none.")
@click.option("--seed", default=0, show_default=True, help="Of everything random.")
@click.option("--json", "as_json", is_flag=True, help="Print the results as JSON.")
def command(
    data: Optional[Path], cache: Optional[Path], package: Path, signs: Path, recording: Path, settings: int,
    images: int, table: int, seed: int, as_json: bool,
) -> None:
    """Check covering sets, attack certified images, and measure what is certified at what cost.

    Every certified image is attacked by 20 patches: 17 of random contents, 3 optimized against all windows at once.
    Exit code 1 if a patch position is left uncovered, a mutant passes, a label changed silently, the naive order was
    not caught, or decisions differ where they must not.
    """
    from rich.console import Console

    console = Console(stderr=True)
    with console.status("Measuring") as status:
        results = measure(
            package, signs, recording, data, cache, settings, images, table, seed,
            lambda text: status.update(f"Measuring: {text}"),
        )
    if as_json:
        click.echo(json.dumps(results, indent=2))
    else:
        _print(results)
    sys.exit(1 if failures(results) else 0)


def measure(
    package: Path, signs: Path, recording: Path, data: Optional[Path] = None, cache: Optional[Path] = None,
    settings: int = 20_000, images: int = 500, table: int = 100, seed: int = 0, say: Any = lambda _: None,
) -> Dict[str, Any]:
    """Run the benchmark and return what the command prints as JSON."""
    from l4edge_compression.studies import certification_bench
    from l4edge_pipeline.report.provenance import describe_machine

    budget = certification_bench.Budget(
        settings=settings, images=images, table=table, recovered=max(1, table // 5), seed=seed
    )
    found = certification_bench.measure(package, signs, recording, data, cache, budget, say)
    return {**found, "machine": describe_machine()}


def failures(results: Mapping[str, Any]) -> Dict[str, Any]:
    """Whatever must not be, by the name of its figure."""
    wrong = {
        "covering_violations": results["covering_violations"],
        "silent_wrong_labels": results["silent_wrong_labels"],
        "naive_order_missed": not results["naive_order_caught"],
        "right_order_silent": results["right_order"]["silent"],
        "skip_different": results["skip"]["different"],
        "engines_different": sum(each["different"] for each in results["engines"].values()),
        "engines_int8_different": sum(each["different"] for each in results["engines_int8"].values()),
        "mutants_missed": sum(not count for count in results["covering_mutants"].values()),
    }
    return {name: value for name, value in wrong.items() if value}


def _print(results: Mapping[str, Any]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    console = Console(width=None if sys.stdout.isatty() else 120)
    mutants = ", ".join(f"{name}: {count} caught" for name, count in results["covering_mutants"].items())
    console.print(
        f"covering: {results['covering_settings']:,} settings, {results['covering_violations']} violations ({mutants})"
    )
    grid = Table(title="Attacks on certified images", box=box.SIMPLE, padding=(0, 0, 0, 1), title_justify="left")
    grid.add_column("", min_width=34)
    for head in ("images", "attacks", "label changed", "alarms", "silent"):
        grid.add_column(head, justify="right")
    rows = {
        **results["networks"], "control: naive order, top-k": results["naive_order"],
        "control: right order, top-k": results["right_order"],
    }
    for name, entry in rows.items():
        grid.add_row(name, *(f"{entry[key]:,}" for key in ("certified", "attacks", "changed", "alarms", "silent")))
    for network, kinds in results["outside"].items():
        for name, entry in kinds.items():
            counts = [entry[key] for key in ("attacks", "attacks", "changed", "alarms", "silent")]
            grid.add_row(f"outside the model: {network}, {name}", *(f"{count:,}" for count in counts))
    console.print(grid)
    skip = results["skip"]
    console.print(
        f"lossless skip: {skip['different']} of {skip['images']} decisions differ, {skip['passes']:.1f} passes "
        f"instead of {skip['passes_without']:.1f}"
    )
    for numbers, engines in (("fp32", results["engines"]), ("int8", results["engines_int8"])):
        for name, entry in engines.items():
            console.print(
                f"torch and onnxruntime, {numbers}, batch 1 and 32, {name}: {entry['different']} of {entry['images']} "
                f"decisions differ, {entry['uncertified_by_margin']} uncertified for a small margin"
            )
    if results["table"] is not None:
        console.print(_table(results["table"]))
    console.print(f"{results['seconds']:.0f} s on {results['machine']['cpu']}")


def _table(found: Mapping[str, Any]) -> Any:
    from rich import box
    from rich.table import Table

    grid = Table(
        title=f"CIFAR-10, {found['images']} pictures, one network", box=box.SIMPLE, padding=(0, 0, 0, 1),
        title_justify="left",
    )
    grid.add_column("method")
    grid.add_column("windows")
    for head, _, _ in COLUMNS:
        grid.add_column(head, justify="right")
    for row in found["rows"]:
        passes = row.get("passes", row.get("recovery_passes"))
        ms = row.get("ms", row.get("recovery_ms"))
        shown = {**row, "passes": passes, "ms": ms, "clean": row.get("clean", row.get("recovered_clean"))}
        values = [shown.get(key) for _, key, _ in COLUMNS]
        cells = ["" if value is None else f"{factor * value:.1f}" for value, (_, _, factor) in zip(values, COLUMNS)]
        grid.add_row(METHODS[row["method"]], row["windows"], *cells)
    return grid
