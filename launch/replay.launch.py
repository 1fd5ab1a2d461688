"""Drive a recording through the pipeline: the nodes of pipeline.launch.py, with the recording in place of a camera.

    ros2 launch l4edge_bringup replay.launch.py recording:=examples/demo_drive record_to:=replayed

It ends when the recording does. For a report, see ``l4edge replay``.
"""

from pathlib import Path

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, GroupAction, IncludeLaunchDescription
from launch.conditions import IfCondition
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import SetParameter
from launch_ros.parameter_descriptions import ParameterValue

ARGUMENTS = {
    "recording": (None, str, "Folder or file of the recording: a rosbag2, a video, an image folder or a KITTI folder."),
    "speed": ("1.0", float, "Pace, 1.0 is that of the recording."),
    "lockstep": ("false", bool, "Let each frame wait for its stages, so that two runs give the same results."),
    "image_topic": ("", str, "Camera topic, where the recording has several."),
    "remap": ("", str, "Topics to read as others: FROM:=TO, separated by spaces."),
}
"""Launch argument and parameter of the node: (default, type, description)."""

READERS_TIMEOUT_S = 60.0


def generate_launch_description():
    """Return the arguments, and the pipeline with them as parameters."""
    pipeline = str(Path(__file__).resolve().parent / "pipeline.launch.py")
    return LaunchDescription([
        *(DeclareLaunchArgument(name, default_value=default, description=description)
          for name, (default, _, description) in ARGUMENTS.items()),
        GroupAction([
            *(SetParameter(name, ParameterValue(LaunchConfiguration(name), value_type=kind))
              for name, (_, kind, _) in ARGUMENTS.items()),
            # No first result is lost for want of a reader that still starts.
            SetParameter("readers_timeout_s", READERS_TIMEOUT_S),
            # Lockstep waits for no clock, so the watchdog must not either.
            SetParameter("watchdog_s", 0.0, condition=IfCondition(LaunchConfiguration("lockstep"))),
            IncludeLaunchDescription(
                PythonLaunchDescriptionSource(pipeline), launch_arguments={"source": "replaying"}.items()),
        ]),
    ])
