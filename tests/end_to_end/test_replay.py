"""A recording through the real graph: every frame accounted for, twice the same, faults told and counted."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from l4edge_pipeline.stages import load_stages
from tests.end_to_end.conftest import assert_refused, write_drive

pytest.importorskip("rclpy", reason="needs ROS 2 (rclpy)")
pytest.importorskip("l4edge_msgs.msg", reason="needs the built l4edge_msgs")

CHAIN = load_stages().chains["sensor_to_command"].stages


def run_folder(tmp_path):
    return (tmp_path / "out" / "latest").resolve()


def read_bag(folder):
    from rosbags.highlevel import AnyReader

    with AnyReader([folder]) as reader:
        return [(connection.topic, stamp, bytes(data)) for connection, stamp, data in reader.messages()]


def test_real_time_replay_accounts_for_every_frame(l4edge, drive, tmp_path):
    result = l4edge("replay", drive, "--json")
    assert result.returncode == 0, result.stderr
    summary = json.loads(result.stdout)
    assert summary == json.loads((run_folder(tmp_path) / "summary.json").read_text())
    for stage in CHAIN:
        frames = summary["frames"][stage]
        assert frames["published"] == frames["processed"] + frames["superseded"] + frames["dropped"], stage
    assert summary["frames"]["sensing"]["published"] == 20
    assert summary["frames"]["control"]["processed"] > 0
    chain = summary["chains"]["sensor_to_command"]
    assert 0 < chain["p50_ms"] <= chain["p99_ms"] <= chain["max_ms"]
    report = (run_folder(tmp_path) / "report.html").read_text()
    assert "http://" not in report.replace("http://www.w3.org", "") and "https://" not in report


def test_lockstep_gives_the_same_bytes_twice(l4edge, drive, tmp_path):
    bags = []
    for _ in range(2):
        result = l4edge("replay", drive, "--lockstep", "--no-report")
        assert result.returncode == 0, result.stderr
        bags.append(read_bag(run_folder(tmp_path) / "bag"))
    assert bags[0] == bags[1]
    table = load_stages()
    for stage in CHAIN[1:]:
        topic = table.stages[stage].outputs[table.stages[stage].result]
        assert sum(message[0] == topic for message in bags[0]) == 20, stage


def test_damaged_frames_are_dropped_and_counted(l4edge, tmp_path):
    bag = write_drive(tmp_path / "damaged", 12, images={3: b"", 5: b"not a picture"})
    result = l4edge("replay", bag, "--lockstep", "--no-report", "--json")
    assert result.returncode == 0, result.stderr
    frames = json.loads(result.stdout)["frames"]
    expected = {"published": 12, "processed": 10, "superseded": 0, "dropped": 2, "unaccounted": 0}
    assert {key: frames["sensing"][key] for key in expected} == expected
    assert frames["control"]["processed"] == 10


def test_limits_decide_the_exit_code(l4edge, drive):
    limit = "chains.sensor_to_command.p99_ms<=0.001"
    result = l4edge("replay", drive, "--lockstep", "--no-report", "--require", limit)
    assert result.returncode == 1
    assert "p99_ms" in result.stdout


def test_dead_node_is_named_and_leaves_no_bag(drive, tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-m", "l4edge_pipeline.cli", "replay", str(drive), "--speed", "0.2"],
        cwd=str(tmp_path), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )
    victim = wait_for_node(process.pid, "l4edge_pipeline.nodes.tracking", tmp_path)
    os.kill(victim, signal.SIGKILL)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "node tracking was ended by SIGKILL" in errors and "Traceback" not in errors
    (run,) = (folder for folder in (tmp_path / "out").iterdir() if not folder.is_symlink())
    assert not (run / "bag").exists() and not (run / "timing").exists()


def wait_for_node(parent, module, tmp_path):
    """The process id of a child, once the replay is under way."""
    give_up = time.monotonic() + 60
    while time.monotonic() < give_up:
        listing = subprocess.run(
            ["ps", "-ww", "-o", "pid,args", "--ppid", str(parent)], capture_output=True, text=True, check=False
        )
        for line in listing.stdout.splitlines():
            if module in line and list((tmp_path / "out").glob("*/bag.part/*.mcap")):
                time.sleep(5.0)
                return int(line.split()[0])
        time.sleep(0.1)
    raise AssertionError("the node never started")


class TestBadInput:
    """One clear line and exit code 2, before anything is started."""

    def test_missing_recording(self, l4edge):
        assert_refused(l4edge("replay", "nowhere"), "nowhere", "no such file")

    def test_corrupt_recording(self, l4edge, drive, tmp_path):
        broken = tmp_path / "broken"
        broken.mkdir()
        for file in drive.iterdir():
            content = file.read_bytes()
            (broken / file.name).write_bytes(content if file.suffix == ".yaml" else content[: len(content) // 3])
        assert_refused(l4edge("replay", broken), "broken")

    def test_unknown_image_topic(self, l4edge, drive):
        assert_refused(l4edge("replay", drive, "--image-topic", "/rear"), "/rear")

    def test_wrong_topic_type(self, l4edge, drive):
        result = l4edge("replay", drive, "--remap", "/map/route:=/localization/odometry")
        assert_refused(result, "/map/route", "nav_msgs/msg/Odometry")

    @pytest.mark.parametrize("pair", ["/a", "a:=/b", "/a:=b"])
    def test_remapping_that_is_none(self, l4edge, drive, pair):
        assert_refused(l4edge("replay", drive, "--remap", pair), "--remap", pair)

    def test_missing_package(self, l4edge, drive):
        assert_refused(l4edge("replay", drive, "--detector", "nothing"), "nothing", "manifest.json")

    def test_unreadable_package(self, l4edge, drive, tmp_path):
        package = tmp_path / "package"
        package.mkdir()
        (package / "manifest.json").write_text("{")
        assert_refused(l4edge("replay", drive, "--detector", package), "manifest.json")

    def test_missing_parameter_file(self, l4edge, drive):
        assert_refused(l4edge("replay", drive, "--params", "no.yaml"), "no.yaml")

    def test_limit_that_is_none(self, l4edge, drive):
        assert_refused(l4edge("replay", drive, "--require", "faster please"), "faster please")

    def test_unknown_table(self, l4edge, drive):
        assert_refused(l4edge("replay", drive, "--stages", "none.yaml"), "none.yaml")
