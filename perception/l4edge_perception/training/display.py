"""What a training tells whoever waits for it."""

from collections.abc import Mapping

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn


def progress_bar(console: Console) -> Progress:
    """What is going on, how much of it is done, and since when."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=console)


def print_pass(console: Console, entry: Mapping[str, float], elapsed_s: float) -> None:
    """One line for a pass: its entry in the history, and the time since the training began."""
    line = " ".join(f"{name} {value:.4g}" for name, value in entry.items())
    console.print(line, f"elapsed {elapsed_s:.0f} s", highlight=False, soft_wrap=True)
