"""Drive a recording through the pipeline: the nodes of pipeline.launch.py, with the recording in place of a camera.

    ros2 launch l4edge_bringup replay.launch.py recording:=examples/demo_drive record_to:=replayed

It ends when the recording does. For a report, see ``l4edge replay``.
"""

import json
from pathlib import Path

import yaml
from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription, OpaqueFunction
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration

PIPELINE = Path(__file__).resolve().parent / "pipeline.launch.py"

ARGUMENTS = {
    "recording": (None, "A rosbag2 (sqlite3 or MCAP), a video file, an image folder or a KITTI folder."),
    "speed": ("1.0", "Pace; 1.0 is that of the recording."),
    "lockstep": ("false", "true: each frame waits for its stages, so that two runs give the same results."),
    "monitor": ("false", "Run the safety monitor and its supervisor, too."),
    "image_topic": ("", "Camera topic, where the recording has several."),
    "remap": ("", "Topics to read as others: FROM:=TO, separated by spaces."),
}
"""Launch argument and parameter of the node: (default, description)."""


def gather(context):
    """Hand this file's arguments on as parameters of the nodes they are for."""
    given = {name: context.launch_configurations[name] for name in ARGUMENTS if name != "monitor"}
    lockstep = yaml.safe_load(given["lockstep"]) is True
    source = {**given, "speed": float(given["speed"]), "lockstep": lockstep}
    # Lockstep waits for no clock, so watchdog and supervisor must not either.
    waiting = {"control": {"watchdog_s": 0.0}, "safety_supervisor": {"lockstep": True},
               "safety_monitor": {"lockstep": True}}
    gathered = {"sensing": source, **(waiting if lockstep else {})}
    for name, values in (yaml.safe_load(context.launch_configurations.get("node_parameters", "")) or {}).items():
        gathered.setdefault(name, {}).update(values)
    context.launch_configurations["node_parameters"] = json.dumps(gathered)


def generate_launch_description():
    """Return the arguments, and the pipeline with them as parameters."""
    return LaunchDescription([
        *(DeclareLaunchArgument(name, default_value=default, description=description)
          for name, (default, description) in ARGUMENTS.items()),
        OpaqueFunction(function=gather),
        IncludeLaunchDescription(
            PythonLaunchDescriptionSource(str(PIPELINE)),
            launch_arguments={
                "source": "replaying", "node_parameters": LaunchConfiguration("node_parameters"),
                "monitor": LaunchConfiguration("monitor"),
            }.items(),
        ),
    ])
