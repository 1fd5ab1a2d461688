"""``l4edge bag``: make rosbag2 recordings of videos, image folders and KITTI folders, and look into them."""

import json
import math
from pathlib import Path
from typing import Dict, Optional, Tuple

import click

from l4edge_perception.errors import InputError

Remap = Tuple[str, ...]


def parse_remap(values: Remap) -> Dict[str, str]:
    """``("/camera/front/image:=/cam0/image_raw",)`` as a dictionary."""
    remap = {}
    for value in values:
        name, separator, actual = value.partition(":=")
        if not (name and separator and actual):
            raise InputError(f"--remap {value}: write it as DEFAULT_TOPIC:=TOPIC_IN_THE_BAG")
        remap[name] = actual
    return remap


@click.group()
def command() -> None:
    """Make a rosbag2 of a video, an image folder or KITTI folders, and look into bags."""


@command.command()
@click.argument("source", type=click.Path(path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path), help="The bag to write, a folder.")
@click.option("--rate", type=float, help="Frames a second. Default: what the video says, else 10.")
@click.option("--camera-fov", type=float, metavar="DEGREES", help="Horizontal view of a camera that is not calibrated.")
@click.option("--image-topic", help="Images to take from a bag with several image topics.")
@click.option("--remap", multiple=True, metavar="DEFAULT:=TOPIC", help="Read another topic of a bag; may be repeated.")
@click.option("--quality", type=click.IntRange(1, 100), default=90, show_default=True, help="Of JPEG images.")
@click.option("--lossless", is_flag=True, help="Write PNG images where the source has no image files.")
@click.option("--overwrite", is_flag=True, help="Replace an existing bag.")
def create(
    source: Path,
    out: Path,
    rate: Optional[float],
    camera_fov: Optional[float],
    image_topic: Optional[str],
    remap: Remap,
    quality: int,
    lossless: bool,
    overwrite: bool,
) -> None:
    """Write SOURCE, a video, a folder of images, a KITTI folder or another bag, to a rosbag2."""
    from rich.console import Console
    from rich.progress import Progress

    from l4edge_perception.recordings.convert import write_recording
    from l4edge_perception.recordings.reader import open_recording

    if rate is not None and not (math.isfinite(rate) and rate > 0):
        raise InputError(f"--rate {rate}: frames a second must be above 0")
    if camera_fov is not None and not 0 < camera_fov < 180:
        raise InputError(f"--camera-fov {camera_fov}: must lie between 0 and 180 degrees")
    recording = open_recording(
        source,
        image_topic,
        parse_remap(remap),
        rate_hz=rate,
        field_of_view=None if camera_fov is None else math.radians(camera_fov),
    )
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("Writing", total=recording.frame_count)
        written = write_recording(
            recording,
            out,
            encoding="png" if lossless else "jpeg",
            quality=quality,
            overwrite=overwrite,
            advance=lambda: progress.advance(task),
        )
    for assumption in recording.assumptions:
        console.print(f"Assumed: {assumption}", markup=False, soft_wrap=True)
    for event in written.rejected:
        console.print(f"Left out: {event.topic} number {event.sequence}: {event.reason}", markup=False, soft_wrap=True)
    click.echo(f"{out}: {written.frames} images, {len(written.rejected)} left out")


@command.command()
@click.argument("bag", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print the table as JSON.")
def info(bag: Path, as_json: bool) -> None:
    """Table of the topics of BAG: types, counts, rates and gaps. Reads every message."""
    from l4edge_perception.recordings.survey import survey

    summary = survey(bag)
    if as_json:
        click.echo(json.dumps(summary.to_json(), indent=2))
        return

    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"{bag}: {summary.message_count} messages, {summary.duration_s:.3f} s")
    for title in ("topic", "type"):
        table.add_column(title, overflow="fold")
    for title in ("messages", "rate [Hz]", "longest gap [s]", "at [s]"):
        table.add_column(title, justify="right")
    for row in summary.topics:
        numbers = (row.rate_hz, row.longest_gap_s, row.gap_at_s)
        cells = ("" if value is None else f"{value:.3f}" for value in numbers)
        table.add_row(row.name, row.message_type, str(row.count), *cells)
    Console().print(table)


@command.command()
@click.argument("recording", type=click.Path(path_type=Path))
@click.option("--image-topic", help="Images to check in a bag with several image topics.")
@click.option("--remap", multiple=True, metavar="DEFAULT:=TOPIC", help="Read another topic of a bag; may be repeated.")
def check(recording: Path, image_topic: Optional[str], remap: Remap) -> None:
    """Read RECORDING as a replay would, decode every image, and list what cannot be used. Exit code 1 if any."""
    from collections import Counter

    from l4edge_perception.recordings.events import FrameEvent, RejectedEvent
    from l4edge_perception.recordings.reader import open_recording

    opened = open_recording(recording, image_topic, parse_remap(remap), require_images=False)
    counts: Counter = Counter()
    for event in opened.events():
        usable = event.checked() if isinstance(event, FrameEvent) else event
        if isinstance(usable, RejectedEvent):
            click.echo(f"{usable.topic} number {usable.sequence}: {usable.reason}")
        counts[type(usable).__name__.replace("Event", "").lower()] += 1
    for assumption in opened.assumptions:
        click.echo(f"assumed: {assumption}")
    click.echo(", ".join(f"{count} {name}" for name, count in sorted(counts.items())) or "nothing that a replay uses")
    if counts["rejected"]:
        raise click.exceptions.Exit(1)
