"""``l4edge demo``: shows of what the pipeline does, as pages."""

import json
from pathlib import Path
from typing import Optional

import click


@click.group()
def command() -> None:
    """Show what the pipeline does when somebody means it harm."""


@command.command()
@click.option("--out", type=click.Path(path_type=Path), default=Path("out/demo_patch"), show_default=True,
              help="Folder that takes report.html and results.json.")
@click.option("--clean-drives", default=10, show_default=True, type=click.IntRange(0, 1000),
              help="Ordinary drives without stickers.")
@click.option("--clean-seconds", default=20.0, show_default=True, type=click.FloatRange(0.1, 600.0),
              help="Of each of them.")
@click.option("--stages", type=click.Path(path_type=Path), help="Another table of stages.")
@click.option("--json", "as_json", is_flag=True, help="Print the results as JSON.")
def patch(out: Path, clean_drives: int, clean_seconds: float, stages: Optional[Path], as_json: bool) -> None:
    """Drive past a stop sign and up to a vehicle with stickers on them, with and without the safety monitor.

    Needs the extra simulation and an OpenGL library that draws without a display. Ends with exit code 1 if what is
    required does not hold.
    """
    from rich.console import Console

    from l4edge_pipeline.demonstration.show import show

    console = Console(stderr=True)
    results = show(out, clean_drives, clean_seconds, stages, console.print)
    if as_json:
        click.echo(json.dumps(results, indent=1))
    else:
        for row in results["requirements"]:
            told = "" if row["required"] else " (told, not required)"
            click.echo(f"{'held    ' if row['held'] else 'NOT HELD'}  {row['words']}: {row['value']}{told}")
    console.print(f"{out / 'report.html'}")
    if not results["passed"]:
        raise click.exceptions.Exit(1)
