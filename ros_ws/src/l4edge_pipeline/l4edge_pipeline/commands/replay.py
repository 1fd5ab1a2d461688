"""``l4edge replay``: a recording through the pipeline, to a bag, a summary and a report."""

import json
import sys
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Callable, Iterator, Optional, Tuple

import click

from l4edge_perception.errors import InputError


@click.command(name="replay")
@click.argument("recording", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), default=Path("out"), show_default=True,
              help="Folder that takes one folder a run.")
@click.option("--lockstep", is_flag=True, help="Each frame waits for its stages; two runs give the same bytes.")
@click.option("--speed", type=click.FloatRange(min=0.01), default=1.0, show_default=True,
              help="Pace of a real-time replay.")
@click.option("--detector", help="Model package: a folder, or the name of one that ships.")
@click.option("--level", help="Operating point of the detector, and of the classifier where it has one of that name.")
@click.option("--classifier", help="Model package that reads signs and lights: a folder, a name, or off.")
@click.option("--classifier-level", help="Operating point of that package, where it differs.")
@click.option("--monitor/--no-monitor", default=False, show_default=True,
              help="Run the safety monitor and its supervisor, too.")
@click.option("--offload", type=click.Choice(["signs"]),
              help="Have the offload node run a network on a simulated accelerator: that of the classifier.")
@click.option("--image-topic", help="Camera topic, where the recording has several.")
@click.option("--remap", multiple=True, metavar="FROM:=TO",
              help="Read topic FROM of the recording as TO, as `ros2 bag play` does.")
@click.option("--stages", type=click.Path(path_type=Path), help="Another table of stages.")
@click.option("--params", multiple=True, type=click.Path(path_type=Path), help="ROS parameter file; may be repeated.")
@click.option("--require", multiple=True, metavar="LIMIT",
              help="Exit with 1 unless it holds, e.g. 'chains.sensor_to_command.p99_ms<=100'; may be repeated.")
@click.option("--no-report", is_flag=True, help="Write summary.json only.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
def command(recording: Path, out: Path, lockstep: bool, speed: float, detector: Optional[str], level: Optional[str],
            classifier: Optional[str], classifier_level: Optional[str], monitor: bool, offload: Optional[str],
            image_topic: Optional[str], remap: Tuple[str, ...], stages: Optional[Path], params: Tuple[Path, ...],
            require: Tuple[str, ...], no_report: bool, as_json: bool) -> None:
    """Drive RECORDING through the pipeline and write a report.

    RECORDING is a rosbag2 (sqlite3 or MCAP), a video file, an image folder or a KITTI folder. Exit code 0: done, and
    all required limits hold; 1: a limit does not hold; 2: something that was given cannot be used.
    """
    from l4edge_perception.packages import load_package
    from l4edge_perception.recordings.reader import open_recording
    from l4edge_pipeline.replay.options import ReplayOptions, parse_remapping
    from l4edge_pipeline.replay.run_folder import LATEST, make_run_folder, point_latest
    from l4edge_pipeline.replay.session import replay
    from l4edge_pipeline.report.requirements import parse_requirements
    from l4edge_pipeline.report.run import analyse_run
    from l4edge_pipeline.report.summary import RunInfo
    from l4edge_pipeline.report.terminal import print_summary
    from l4edge_pipeline.resources import check_classifier, check_offload, find_package
    from l4edge_pipeline.stages import default_path, load_stages

    if lockstep and speed != 1.0:
        raise InputError("--speed: has no meaning with --lockstep")
    if monitor and speed != 1.0:
        raise InputError("--speed: the safety monitor's supervisor judges ages; with --monitor leave it at 1")
    # Everything that can be found wrong before the first process starts is found here.
    stages = (stages or default_path()).resolve()
    table = load_stages(stages, monitor)
    check_offload(offload, stages, classifier, classifier_level)
    requirements = parse_requirements(require, table)
    for path in params:
        if not path.is_file():
            raise InputError(f"{path}: no such parameter file")
    package_folder = find_package(detector or table.stages["detection"].package or "detector").resolve()
    package = load_package(package_folder)
    operating_point = package.level(level or table.stages["detection"].level).name
    classifier = check_classifier(classifier, classifier_level)
    source = open_recording(recording, image_topic, parse_remapping(remap))
    folder = make_run_folder(out, recording.resolve().stem)
    options = ReplayOptions(
        recording=recording.resolve(), stages_file=stages, lockstep=lockstep, speed=speed, image_topic=image_topic,
        remap=remap, parameters=[path.resolve() for path in params], detector=package_folder, level=operating_point,
        classifier=classifier, classifier_level=classifier_level, monitor=monitor, offload=offload,
    )
    started = datetime.now().astimezone().isoformat(timespec="seconds")
    with progress_bar() as say:
        offered = replay(options, folder, lambda count: say("replaying", count, source.frame_count))
        run = RunInfo(
            mode="lockstep" if lockstep else "real time", started=started, command_line=" ".join(sys.argv),
            frames_offered=offered, speed=speed, detector=package.name, level=operating_point,
        )
        summary = analyse_run(folder, source, table, run, requirements, page=not no_report, on_progress=say)
    point_latest(folder)
    if as_json:
        print(json.dumps(summary, indent=2))
    else:
        print_summary(summary, out / LATEST)
    sys.exit(0 if summary["requirements_hold"] else 1)


@contextmanager
def progress_bar() -> Iterator[Callable[[str, int, int], None]]:
    """A progress bar on stderr; gives the function to call with what is done, how much of it, and of how much."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("starting the nodes", total=None)

        def say(what: str, done: int, total: int) -> None:
            progress.update(task, description=what, completed=done, total=total)

        yield say
