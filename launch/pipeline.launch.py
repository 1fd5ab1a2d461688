"""Start the pipeline: the nodes that stages.yaml names, with the parameters in config/.

    ros2 launch l4edge_bringup pipeline.launch.py
    ros2 launch l4edge_bringup pipeline.launch.py detector:=/models/mine record_to:=drive_1

On live topics a node that dies is started again a few times. While it is away, the watchdog of the control node stops
the vehicle. One that ends with exit code 2 has refused what it was given, which ends everything.
"""

from collections import Counter
from functools import partial
from pathlib import Path

import yaml
from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction, SetEnvironmentVariable, Shutdown
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

CONFIG = Path(__file__).resolve().parent / "config"
LIVE_SOURCE = "sensing"
REFUSED = 2
RESTARTS = 3
CLOSING_S = "15"
"""How long a recorder may take to close its bags."""
READERS_TIMEOUT_S = 60.0
"""How long the nodes of a replay wait for their readers, so that no first result is lost."""

ARGUMENTS = {
    "stages_file": (str(CONFIG / "stages.yaml"), "Table of stages, topics, rates and budgets."),
    "detector": ("", "Model package: a folder, or the name of one that ships. Empty: as in the table of stages."),
    "level": ("", "Operating point of the model package. Empty: as in the table of stages."),
    "classifier": ("", "Model package that reads signs and lights, or off. Empty: as in config/detection.param.yaml."),
    "monitor": ("true", "Run the safety monitor, and the supervisor that caps the speed or stops the vehicle."),
    "offload": ("", "signs: the offload node runs the classifier on a simulated accelerator. Empty: nothing."),
    "record_to": ("", "Folder to record results and stage records into. Empty: record nothing."),
    "parameters_file": ("", "ROS parameter file that is stronger than those in config/."),
    "node_parameters": ("{}", "Parameters that are stronger still, as YAML: '{detection: {threads: 2}}'."),
    "source": (LIVE_SOURCE, "Executable of the stage sensing: sensing (live topics) or replaying (a recording)."),
    "log_level": ("info", "Severity from which nodes log."),
}
"""Launch argument: (default, description)."""


def parameters(name, arguments):
    """Return what the launch arguments say for the node ``name``."""
    values = {"stages_file": arguments["stages_file"], "recorded": bool(arguments["record_to"]),
              "monitor": monitored(arguments)}
    if arguments["source"] != LIVE_SOURCE:
        values["readers_timeout_s"] = READERS_TIMEOUT_S
    if name == "detection":
        chosen = {"package": arguments["detector"], "level": arguments["level"], "classifier": arguments["classifier"],
                  "offload": arguments["offload"]}
        values.update({key: value for key, value in chosen.items() if value})
    elif name == "offload" and arguments["classifier"]:
        values["package"] = arguments["classifier"]
    elif name == "recorder":
        values["folder"] = arguments["record_to"]
    values.update((yaml.safe_load(arguments["node_parameters"]) or {}).get(name, {}))
    # Left to itself, launch would turn a string that looks like a number into one.
    return {key: ParameterValue(value, value_type=str) if isinstance(value, str) else value
            for key, value in values.items()}


def monitored(arguments):
    """Whether the safety monitor and its supervisor are part of the run."""
    return yaml.safe_load(arguments["monitor"]) is True


def nodes(table, arguments):
    """Make a launch action for every node of the table.

    Args:
        table: content of stages.yaml.
        arguments: value of each launch argument.
    """
    live = arguments["source"] == LIVE_SOURCE
    deaths = Counter()

    def on_exit(event, context, name):
        """End everything when a recording ends, or when a node refuses to work or keeps dying."""
        if context.is_shutdown:
            return None
        deaths[name] += 1
        if name == "offload" and event.returncode != REFUSED:
            return None  # whoever offloads does the work itself
        if live and event.returncode != REFUSED and deaths[name] <= RESTARTS:
            return None
        if event.returncode:
            raise RuntimeError(f"{name} ended with exit code {event.returncode}")  # launch ends with 1, too
        return Shutdown(reason=f"{name} has ended")

    entries = {**table["stages"], **table.get("services", {})}
    parts = {"monitor": monitored(arguments), "offload": bool(arguments["offload"])}
    chosen = [entry for entry in entries.values() if parts.get(entry.get("part"), True)]
    for name in dict.fromkeys(entry["node"] for entry in chosen):
        if name == "recorder" and not arguments["record_to"]:
            continue
        files = [str(CONFIG / (name + ".param.yaml")), arguments["parameters_file"]]
        yield Node(
            package="l4edge_pipeline",
            executable=arguments["source"] if name == "sensing" else name,
            name=name,
            output="screen",
            parameters=[path for path in files if Path(path).is_file()] + [parameters(name, arguments)],
            arguments=["--ros-args", "--log-level", arguments["log_level"]],
            respawn=live,
            respawn_delay=1.0,
            respawn_max_retries=RESTARTS,
            sigterm_timeout=CLOSING_S,
            on_exit=partial(on_exit, name=name),
        )


def start(context):
    """Read the table of stages, now that the arguments are known."""
    arguments = {name: context.launch_configurations[name] for name in ARGUMENTS}
    for name in ("stages_file", "parameters_file"):
        if arguments[name] and not Path(arguments[name]).is_file():
            raise RuntimeError(f"{name}: no such file: {arguments[name]}")
    table = yaml.safe_load(Path(arguments["stages_file"]).read_text(encoding="utf-8"))
    return list(nodes(table, arguments))


def generate_launch_description():
    """Return the arguments and the nodes."""
    return LaunchDescription([
        *(DeclareLaunchArgument(name, default_value=default, description=description)
          for name, (default, description) in ARGUMENTS.items()),
        # A thread pool in each node would fight for the cores that the networks need.
        SetEnvironmentVariable("OMP_NUM_THREADS", "1"),
        SetEnvironmentVariable("OPENBLAS_NUM_THREADS", "1"),
        OpaqueFunction(function=start),
    ])
