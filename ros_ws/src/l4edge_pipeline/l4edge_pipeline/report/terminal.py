"""Prints a summary as tables, for the end of a replay."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Mapping, Optional

from l4edge_pipeline.report import tables
from l4edge_pipeline.report.summary import LOCKSTEP

if TYPE_CHECKING:
    from rich.console import Console

STYLES = {"ok": "green", "near": "yellow", "over": "red", "none": "dim"}


def print_summary(summary: Mapping[str, Any], run_folder: Path, console: "Optional[Console]" = None) -> None:
    """Print stages, chains, quality, warnings and verdicts, and where the files are.

    Args:
        summary: as :func:`.run.analyse_run` returns it.
        run_folder: of the run.
        console: to print on; stdout by default.
    """
    from rich.console import Console
    from rich.markup import escape

    console = console or Console()
    console.print(_stages(summary))
    for name, numbers in summary["chains"].items():
        style = STYLES[tables.use_style(tables.budget_share(numbers))]
        console.print(escape(tables.chain_sentence(name, numbers)), style=style)
    if summary["run"]["mode"] == LOCKSTEP:
        console.print(tables.LOCKSTEP_NOTE, style="dim")
    for part in tables.quality_tables(summary):
        if not part.rows:
            console.print(escape(f"{part.title}: {part.words}"), style="dim")
        elif part.title != "Driving":
            cells = (f"{head} {value}" for head, value in zip(part.head[1:], part.rows[0][1:]))
            console.print("{}: {}".format(part.title, ", ".join(cells)))
    for line in summary["warnings"]:
        console.print("warning: " + escape(line), style="yellow")
    if summary["requirements"]:
        console.print(_requirements(summary))
    for name in ("report.html", "summary.json"):
        if (run_folder / name).is_file():
            console.print(escape(str(run_folder / name)), soft_wrap=True, highlight=False)


def _stages(summary: Mapping[str, Any]) -> Any:
    from rich.box import SIMPLE_HEAD
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for head in ("stage", "frames", "no result"):
        table.add_column(head)
    for head in ("p50", "p99", "budget [ms]", "misses"):
        table.add_column(head, justify="right")
    for name, account in summary["frames"].items():
        numbers = summary["stages"][name]
        style = STYLES[tables.use_style(tables.budget_share(numbers))]
        table.add_row(
            escape(name),
            "{processed}/{published}".format(**account),
            ", ".join(f"{account[key]} {key}" for key in ("superseded", "dropped", "lost") if account[key]),
            tables.show(numbers["p50_ms"]),
            "[{0}]{1}[/{0}]".format(style, tables.show(numbers["p99_ms"])),
            "{:g}".format(numbers["budget_ms"]),
            str(numbers["misses"]),
        )
    return table


def _requirements(summary: Mapping[str, Any]) -> Any:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for head in ("required", "limit", "measured", ""):
        table.add_column(head)
    for row in tables.requirement_rows(summary):
        word = "[green]held[/green]" if row["held"] else "[red]not held[/red]"
        table.add_row(row["path"], row["limit"], row["value"], word)
    return table
