"""``l4edge run``: the pipeline on live topics, without ``ros2 launch``."""

import time
from pathlib import Path
from typing import Optional, Tuple

import click

from l4edge_perception.errors import InputError


@click.command(name="run")
@click.option("--detector", help="Model package: a folder, or the name of one that ships.")
@click.option("--level", help="Operating point of the detector, and of the classifier where it has one of that name.")
@click.option("--classifier", help="Model package that reads signs and lights: a folder, a name, or off.")
@click.option("--classifier-level", help="Operating point of that package, where it differs.")
@click.option("--stages", type=click.Path(path_type=Path), help="Another table of stages.")
@click.option("--params", multiple=True, type=click.Path(path_type=Path), help="ROS parameter file; may be repeated.")
@click.option("--monitor/--no-monitor", default=True, show_default=True,
              help="Run the safety monitor, and the supervisor that caps the speed or stops the vehicle.")
@click.option("--offload", type=click.Choice(["signs"]),
              help="Have the offload node run a network on a simulated accelerator: that of the classifier.")
@click.option("--record", is_flag=True, help="Record results and stage records below --out.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("out"), show_default=True,
              help="Folder that takes one folder a run, with the nodes' logs.")
@click.option("--duration", type=click.FloatRange(min=0.1), help="Seconds to run; without it until Ctrl-C.")
def command(detector: Optional[str], level: Optional[str], classifier: Optional[str], classifier_level: Optional[str],
            stages: Optional[Path], params: Tuple[Path, ...], monitor: bool, offload: Optional[str], record: bool,
            out: Path, duration: Optional[float]) -> None:
    """Start the pipeline on the topics that stages.yaml names, until Ctrl-C.

    The same nodes as `ros2 launch l4edge_bringup pipeline.launch.py`, for machines that have ROS 2 from PyPI only.
    Frames come from a camera driver, or from `ros2 bag play`.
    """
    from l4edge_perception.packages import load_package
    from l4edge_pipeline.replay.graph import Graph, environment, stopping_order
    from l4edge_pipeline.replay.processes import ProcessGroup
    from l4edge_pipeline.replay.run_folder import make_run_folder, point_latest
    from l4edge_pipeline.replay.supervisor import Supervisor
    from l4edge_pipeline.resources import check_classifier, check_offload, find_package
    from l4edge_pipeline.stages import OFFLOAD, default_path, load_stages

    stages = (stages or default_path()).resolve()
    table = load_stages(stages, monitor, bool(offload))
    check_offload(offload, stages, classifier, classifier_level)
    for path in params:
        if not path.is_file():
            raise InputError(f"{path}: no such parameter file")
    package = find_package(detector or table.stages["detection"].package or "detector").resolve()
    load_package(package)
    classifier = check_classifier(classifier, classifier_level)
    folder = make_run_folder(out, "live")
    point_latest(folder)
    values = {
        "detection": {
            "package": str(package), "level": level or "",
            **({"classifier": classifier} if classifier else {}), "classifier_level": classifier_level or "",
            "offload": offload or "",
        },
        OFFLOAD: {"level": classifier_level or "", **({"package": classifier} if classifier else {})},
        "recorder": {"folder": str(folder)},
    }
    nodes = [name for name in stopping_order(table) if record or name != "recorder"]
    settings = environment(folder / "logs")
    with ProcessGroup(folder / "logs", settings) as group:
        graph = Graph(group, stages, [path.resolve() for path in params])

        def start(name: str) -> None:
            graph.start(name, {"monitor": monitor, **values.get(name, {})})

        for name in reversed(nodes):
            start(name)
        click.echo("{} nodes run in ROS domain {}; logs in {}; Ctrl-C ends them".format(
            len(nodes), settings["ROS_DOMAIN_ID"], folder / "logs"), err=True)
        supervisor = Supervisor(group, start, lambda line: click.echo(line, err=True), dispensable=(OFFLOAD,))
        end = time.monotonic() + (duration or float("inf"))
        try:
            while time.monotonic() < end:
                supervisor.check()
                time.sleep(0.1)
        except KeyboardInterrupt:
            pass
        for name in nodes:
            if name not in supervisor.given_up:
                group.stop(name)
