"""The launch files: what they say, and the graph that the real ``ros2`` command starts from them."""

import ast
import importlib.util
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
import yaml

LAUNCH = Path(__file__).resolve().parents[2] / "launch"
SETUP = LAUNCH.parent / "ros_ws" / "src" / "l4edge_pipeline" / "setup.py"
LAUNCH_FILES = sorted(LAUNCH.glob("*.launch.py"))
TABLE = yaml.safe_load((LAUNCH / "config" / "stages.yaml").read_text())
ENTRIES = {**TABLE["stages"], **TABLE["services"]}
ALWAYS = {entry["node"] for entry in ENTRIES.values() if "part" not in entry}
MONITORED = ALWAYS | {entry["node"] for entry in ENTRIES.values() if entry.get("part") == "monitor"}

needs_launch_ros = pytest.mark.skipif(
    importlib.util.find_spec("launch_ros") is None, reason="launch_ros is not on PyPI; needs a ROS 2 installation"
)
needs_ros2 = pytest.mark.skipif(
    shutil.which("ros2") is None or importlib.util.find_spec("launch_ros") is None,
    reason="the ros2 command is not on PyPI; needs a ROS 2 installation",
)


@pytest.mark.parametrize("path", LAUNCH_FILES, ids=lambda path: path.name)
def test_a_launch_file_repeats_nothing_of_the_table(path):
    text = path.read_text()
    topics = {topic for entry in ENTRIES.values() for key in ("inputs", "outputs")
              for topic in entry.get(key, {}).values()}
    assert topics
    assert not [topic for topic in topics if topic in text]


def test_every_node_of_the_table_is_an_executable_of_the_package():
    tree = ast.parse(SETUP.read_text())
    nodes = next(ast.literal_eval(item.value) for item in tree.body
                 if isinstance(item, ast.Assign) and item.targets[0].id == "NODES")
    assert {entry["node"] for entry in ENTRIES.values()} <= set(nodes)
    for node in nodes:
        module = SETUP.parent / "l4edge_pipeline" / "nodes" / (node + ".py")
        assert re.search(r"^def main\(", module.read_text(), re.MULTILINE), node


def described(name, **arguments):
    """Load a launch file and start it on paper; returns (declared arguments, node actions)."""
    from launch import LaunchContext
    from launch.actions import DeclareLaunchArgument
    from launch.launch_description_sources import PythonLaunchDescriptionSource
    from launch_ros.actions import Node

    context = LaunchContext()
    context.launch_configurations.update(arguments)
    description = PythonLaunchDescriptionSource(str(LAUNCH / name)).get_launch_description(context)
    found, pending = [], list(description.entities)
    while pending:
        entity = pending.pop(0)
        found.append(entity)
        if not isinstance(entity, Node):
            pending = [*(entity.visit(context) or []), *pending]
    return (
        [entity for entity in found if isinstance(entity, DeclareLaunchArgument)],
        [entity for entity in found if isinstance(entity, Node)],
    )


@needs_launch_ros
@pytest.mark.parametrize(
    ("name", "arguments", "executables"),
    [
        ("pipeline.launch.py", {}, MONITORED - {"recorder"}),
        ("pipeline.launch.py", {"record_to": "drive"}, MONITORED),
        ("pipeline.launch.py", {"record_to": "drive", "offload": "signs"}, MONITORED | {"offload"}),
        (
            "replay.launch.py",
            {"recording": "drive"},
            ALWAYS - {"recorder", "sensing"} | {"replaying"},
        ),
        (
            "replay.launch.py",
            {"recording": "drive", "monitor": "true"},
            MONITORED - {"recorder", "sensing"} | {"replaying"},
        ),
        (
            "pipeline.launch.py",
            {"monitor": "false"},
            ALWAYS - {"recorder"},
        ),
    ],
)
def test_a_launch_file_starts_the_nodes_of_the_table(name, arguments, executables):
    declared, nodes = described(name, **arguments)
    assert {node.node_executable for node in nodes} == executables
    assert {node.node_package for node in nodes} == {"l4edge_pipeline"}
    assert all(argument.description for argument in declared)


def ros2(*arguments):
    """Run the ``ros2`` command; returns its lines."""
    result = subprocess.run(["ros2", *arguments], capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout.splitlines()


def wait_for(condition, seconds=60.0):
    give_up = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < give_up
        time.sleep(0.5)


@pytest.fixture
def separate_domain(monkeypatch):
    monkeypatch.setenv("ROS_DOMAIN_ID", str(101 + os.getpid() % 100))
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")


@pytest.fixture
def table_without_network(tmp_path):
    """The table without the stage that needs a model package."""
    table = {**TABLE, "stages": {name: entry for name, entry in TABLE["stages"].items() if "package" not in entry}}
    table["chains"] = {}
    path = tmp_path / "stages.yaml"
    path.write_text(yaml.safe_dump(table))
    return path


@needs_ros2
def test_ros2_launch_starts_the_graph_and_ends_it(separate_domain, table_without_network, tmp_path):
    stages = yaml.safe_load(table_without_network.read_text())["stages"]
    nodes = {"/" + entry["node"] for entry in stages.values()} | {"/timing_monitor"}
    command = ["ros2", "launch", "l4edge_bringup", "pipeline.launch.py", f"stages_file:={table_without_network}"]
    with (tmp_path / "launch.log").open("w+") as log:
        launch = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        try:
            wait_for(lambda: launch.poll() is not None or nodes <= set(ros2("node", "list")))
            wait_for(lambda: set(stages["planning"]["outputs"].values()) <= set(ros2("topic", "list")))
            assert str(table_without_network) in ros2("param", "get", "/planning", "stages_file")[-1]
            launch.send_signal(signal.SIGINT)
            assert launch.wait(30) == 0, (tmp_path / "launch.log").read_text()
        finally:
            if launch.poll() is None:
                os.killpg(launch.pid, signal.SIGKILL)
    assert "Traceback" not in (tmp_path / "launch.log").read_text()


@needs_ros2
def test_ros2_launch_ends_with_a_fault_when_a_node_refuses_to_work(separate_domain, tmp_path):
    command = ["ros2", "launch", "l4edge_bringup", "replay.launch.py", f"recording:={tmp_path / 'missing'}"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 1
    assert "ended with exit code 2" in result.stdout + result.stderr
