"""``l4edge simulate``: drives through the simulated world, as rosbag2 recordings or as labelled images."""

import json
from pathlib import Path

import click
from l4edge_perception.errors import InputError

SPLITS = ("train", "validation", "test")


class ImageSize(click.ParamType):
    """``640x360`` as a pair of integers."""

    name = "WIDTHxHEIGHT"

    def convert(self, value, param, ctx):
        """Parse and check."""
        if isinstance(value, tuple):
            return value
        parts = str(value).lower().split("x")
        if len(parts) != 2 or not all(part.isdigit() and 16 <= int(part) <= 4096 for part in parts):
            self.fail(f"{value}: write it as 640x360, each edge 16 to 4096", param, ctx)
        return int(parts[0]), int(parts[1])


@click.group()
def command() -> None:
    """Drive through a simulated world with traffic, a camera and ground truth."""


@command.command()
@click.option("--out", required=True, type=click.Path(path_type=Path), help="The bag to write, a folder.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0, 999_999), help="Number of the drive.")
@click.option("--split", default="test", show_default=True, type=click.Choice(SPLITS), help="Whose looks it wears.")
@click.option("--duration", default=20.0, show_default=True, type=click.FloatRange(0.1, 600.0), help="Seconds.")
@click.option("--rate", default="10", show_default=True, type=click.Choice(["1", "2", "5", "10", "25", "50"]),
              help="Images a second.")
@click.option("--start", default=0.0, show_default=True, type=click.FloatRange(0.0, 600.0),
              help="Seconds that the world has been moving before.")
@click.option("--size", default="640x360", show_default=True, type=ImageSize(), help="Of the images.")
@click.option("--look", default="", help="Light and air: clear, overcast, dusk, night, rain, fog. Default: the seed's.")
@click.option("--overwrite", is_flag=True, help="Replace an existing bag.")
def drive(out, seed, split, duration, rate, start, size, look, overwrite) -> None:
    """Record one drive of the simulated expert as a rosbag2."""
    from l4edge_perception.recordings.convert import write_recording
    from rich.console import Console
    from rich.progress import Progress

    from .appearance import LOOKS, drive_seed
    from .bag import record
    from .renderer import Renderer

    if look and look not in LOOKS:
        raise InputError(f"--look {look}: choose one of {', '.join(LOOKS)}")
    if out.exists() and not overwrite:
        raise InputError(f"{out}: exists already; remove it, choose another name or say --overwrite")
    recording = record(drive_seed(split, seed), split, duration, float(rate), Renderer(*size), start, look)
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("Driving", total=recording.frame_count)
        written = write_recording(recording, out, overwrite=overwrite, advance=lambda: progress.advance(task))
    console.print(f"{out}: {written.frames} images, {duration:g} s")


@command.command()
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder; drives already there are kept.")
@click.option("--train", default=300, show_default=True, type=click.IntRange(0), help="Drives.")
@click.option("--validation", default=24, show_default=True, type=click.IntRange(0), help="Drives.")
@click.option("--test", default=40, show_default=True, type=click.IntRange(0), help="Drives.")
@click.option("--frames", default=36, show_default=True, type=click.IntRange(1, 1000), help="Images a training drive.")
@click.option("--held-out-frames", default=30, show_default=True, type=click.IntRange(1, 1000),
              help="Images a validation or test drive.")
@click.option("--size", default="640x360", show_default=True, type=ImageSize(), help="Of the images.")
@click.option("--processes", default=2, show_default=True, type=click.IntRange(1, 256), help="Drives at a time.")
@click.option("--json", "as_json", is_flag=True, help="Print what is there as JSON.")
def dataset(out, train, validation, test, frames, held_out_frames, size, processes, as_json) -> None:
    """Write labelled images of many drives for training. May be interrupted and called again."""
    from rich.console import Console
    from rich.progress import Progress

    from .dataset import write_dataset
    from .renderer import Renderer

    Renderer(*size).close()  # to learn here, and in one line, when this machine cannot render
    counts = {"train": (train, frames), "validation": (validation, held_out_frames), "test": (test, held_out_frames)}
    console = Console(stderr=True)
    with Progress(console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("Driving")
        for done, total in write_dataset(out, counts, size, processes):
            progress.update(task, completed=done, total=total)
    there = {split: len(list((out / split).glob("drive_??????/drive.json"))) for split in SPLITS}
    console.print(f"{out}: " + ", ".join(f"{number} {split}" for split, number in there.items()) + " drives")
    if as_json:
        click.echo(json.dumps({"folder": str(out), "drives": there}))
