"""What benchmarks with bounds share: options, output, and an exit code that says whether the bounds are kept."""

import json
from typing import Any, Callable, Dict, Iterable

import click

json_option = click.option("--json", "as_json", is_flag=True, help="Print the results as JSON.")


def part_option(parts: Iterable[str]) -> Callable[[Any], Any]:
    """The option ``--part``, repeatable; the command gets those given as ``parts``, or all of them."""
    every = tuple(parts)
    return click.option(
        "--part", "parts", multiple=True, type=click.Choice(every), help="Only this part; repeatable.",
        callback=lambda context, option, given: frozenset(given or every),
    )  # fmt: skip


def finish(results: Dict[str, Any], as_json: bool, show: Callable[[Dict[str, Any]], None]) -> None:
    """Print ``results`` as JSON, or have ``show`` print them; end with exit code 1 unless they have ``passed``."""
    if as_json:
        click.echo(json.dumps(results, indent=2))
    else:
        show(results)
    if not results["passed"]:
        raise click.exceptions.Exit(1)
