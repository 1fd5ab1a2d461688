"""``l4edge simulate``: drives through the simulated world, as rosbag2 recordings or as labelled images."""

import json
from pathlib import Path
from typing import Any

import click

from l4edge_perception.errors import InputError
from l4edge_simulation.appearance import FAMILIES, LOOKS, drive_seed

RATES = ("1", "2", "5", "10", "25", "50")  # images a second that fall onto steps of the simulation


class ImageSize(click.ParamType):
    """``640x360`` as a pair of integers."""

    name = "WIDTHxHEIGHT"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        """Parse and check."""
        if isinstance(value, tuple):
            return value
        edges = str(value).lower().split("x")
        if len(edges) != 2 or not all(edge.isdigit() and 64 <= int(edge) <= 4096 for edge in edges):
            self.fail(f"{value}: write it as 640x360, each edge 64 to 4096", param, ctx)
        return int(edges[0]), int(edges[1])


size_option = click.option("--size", default="640x360", show_default=True, type=ImageSize(), help="Of the images.")


@click.group()
def command() -> None:
    """Drive through a simulated world with traffic, a camera and ground truth."""


@command.command()
@click.option("--out", required=True, type=click.Path(path_type=Path), help="The bag to write, a folder.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0, 999_999), help="Number of the drive.")
@click.option("--split", default="test", show_default=True, type=click.Choice(list(FAMILIES)), help="Whose looks.")
@click.option("--duration", default=20.0, show_default=True, type=click.FloatRange(0.1, 600.0), help="Seconds.")
@click.option("--rate", default="10", show_default=True, type=click.Choice(RATES), help="Images a second.")
@click.option(
    "--start",
    default=0.0,
    show_default=True,
    type=click.FloatRange(0.0, 600.0),
    help="Seconds that the drive has been under way when the recording begins.",
)
@size_option
@click.option("--look", type=click.Choice(list(LOOKS)), help="Light and air. Default: the seed's own.")
@click.option("--overwrite", is_flag=True, help="Replace an existing bag.")
def drive(
    out: Path,
    seed: int,
    split: str,
    duration: float,
    rate: str,
    start: float,
    size: tuple[int, int],
    look: str | None,
    overwrite: bool,
) -> None:
    """Record one drive of the simulated expert as a rosbag2."""
    from rich.console import Console
    from rich.progress import Progress

    from l4edge_perception.recordings.convert import write_recording
    from l4edge_simulation.bag import record
    from l4edge_simulation.rendering.renderer import Renderer

    if out.exists() and not overwrite:
        raise InputError(f"{out}: exists already; remove it, choose another name or say --overwrite")
    renderer = Renderer(*size)
    recording = record(drive_seed(split, seed), split, duration, float(rate), renderer, start, look or "")
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("Driving", total=recording.frame_count)
        written = write_recording(recording, out, overwrite=overwrite, advance=lambda: progress.advance(task))
    console.print(f"{out}: {written.frames} images, {duration:g} s")


@command.command()
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder; drives already there are kept.")
@click.option("--train", default=300, show_default=True, type=click.IntRange(0, 999_999), help="Drives.")
@click.option("--validation", default=24, show_default=True, type=click.IntRange(0, 999_999), help="Drives.")
@click.option("--test", default=40, show_default=True, type=click.IntRange(0, 999_999), help="Drives.")
@click.option("--frames", default=36, show_default=True, type=click.IntRange(1, 1000), help="Images a training drive.")
@click.option(
    "--held-out-frames",
    default=30,
    show_default=True,
    type=click.IntRange(1, 1000),
    help="Images a validation or test drive.",
)
@size_option
@click.option("--visits", is_flag=True, help="Look at signs and lights of all meanings instead of driving.")
@click.option("--processes", default=2, show_default=True, type=click.IntRange(1, 256), help="Drives at a time.")
@click.option("--json", "as_json", is_flag=True, help="Print what is there as JSON.")
def dataset(
    out: Path,
    train: int,
    validation: int,
    test: int,
    frames: int,
    held_out_frames: int,
    size: tuple[int, int],
    visits: bool,
    processes: int,
    as_json: bool,
) -> None:
    """Write labelled images of many drives for training. May be interrupted and called again."""
    from rich.console import Console
    from rich.progress import Progress

    from l4edge_simulation.dataset import write_dataset
    from l4edge_simulation.rendering.renderer import Renderer

    Renderer(*size).close()  # where this machine cannot render, one line says so
    counts = {"train": (train, frames), "validation": (validation, held_out_frames), "test": (test, held_out_frames)}
    console = Console(stderr=True)
    with Progress(console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("Driving")
        for done, total in write_dataset(out, counts, size, processes, visits):
            progress.update(task, completed=done, total=total)
    there = {split: len(list((out / split).glob("drive_??????"))) for split in counts}
    console.print(f"{out}: " + ", ".join(f"{number} {split}" for split, number in there.items()) + " drives")
    if as_json:
        click.echo(json.dumps({"folder": str(out), "drives": there}))
