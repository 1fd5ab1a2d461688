"""The safety monitor and its consumer as processes: every fault ends uncertified at the consumer, with its reason."""

import multiprocessing
import os
import signal
import sys
import time
from pathlib import Path

import pytest
import yaml

pytest.importorskip("rclpy", reason="needs ROS 2 (rclpy)")
pytest.importorskip("l4edge_msgs.msg", reason="needs the built l4edge_msgs")
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "pipeline"))

from safety_factories import detections, picture, self_test, tamper, write_toy_package

from l4edge_perception.safety_types import Verdict
from l4edge_pipeline.nodes import benchmark_monitor
from l4edge_pipeline.replay.graph import Graph, environment
from l4edge_pipeline.replay.processes import ProcessGroup
from l4edge_pipeline.resources import find_package
from l4edge_pipeline.safety.playlist import Playlist
from l4edge_pipeline.safety.self_test import save_self_test
from l4edge_pipeline.stages import default_path

RATE_HZ = 1.0
PATIENCE_S = 120.0
"""For a busy machine; nothing here is about speed."""


@pytest.fixture
def table(tmp_path):
    """A slow table: what is tested is what happens, not how fast."""
    content = yaml.safe_load(default_path().read_text())
    for stage in content["stages"].values():
        stage["rate_hz"] = RATE_HZ
    content["stages"]["safety"].update(deadline_ms=1000, budget_ms=900)
    path = tmp_path / "stages.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.fixture
def package(tmp_path):
    folder = tmp_path / "toy"
    write_toy_package(folder)
    for path in find_package("sign_classifier").iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    save_self_test(folder / "self_test.npz", self_test())
    return folder


@pytest.fixture
def player(table, monkeypatch, tmp_path):
    for name, value in {**environment(tmp_path / "logs"), "ROS_DOMAIN_ID": "92"}.items():
        monkeypatch.setenv(name, value)
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    playlist = Playlist((picture(),), (detections(1),), None, RATE_HZ)
    process = context.Process(target=benchmark_monitor.play, args=(theirs, playlist, str(table)), daemon=True)
    process.start()
    yield ours
    ours.send("end")
    process.join(20)
    process.kill()


def wait_for_belief(player, verdict, reason):
    """Until the consumer holds that for true."""
    give_up = time.monotonic() + PATIENCE_S
    heard = []
    while time.monotonic() < give_up:
        player.send("beliefs")
        heard += player.recv()[1]
        if any((belief.verdict, belief.reason) == (verdict, reason) for belief in heard[-3:]):
            return
        time.sleep(0.2)
    raise AssertionError(f"never {verdict.name} ({reason}), but {sorted({(b.verdict, b.reason) for b in heard})}")


def test_every_fault_ends_uncertified_at_the_consumer(player, table, package, tmp_path):
    with ProcessGroup(tmp_path / "logs", dict(os.environ)) as group:
        graph = Graph(group, table)
        graph.start("safety_supervisor", {"monitor": True})
        monitor = graph.start(
            "safety_monitor", {"monitor": True, "signs": str(package), "detector": "off", "niceness": 0}
        )
        certified = (Verdict.CERTIFIED, "agreed")
        wait_for_belief(player, *certified)
        for fault, reason in (
            (benchmark_monitor.NOT_A_NUMBER, "input"),
            (benchmark_monitor.NO_DETECTIONS, "input"),
        ):
            player.send("fault " + fault)
            wait_for_belief(player, Verdict.UNCERTIFIED, reason)
            player.send("fault ")
            wait_for_belief(player, *certified)
        os.kill(monitor.process.pid, signal.SIGSTOP)
        wait_for_belief(player, Verdict.UNCERTIFIED, "missing")
        os.kill(monitor.process.pid, signal.SIGCONT)
        wait_for_belief(player, *certified)
        tamper(package, "graph")
        wait_for_belief(player, Verdict.UNCERTIFIED, "model")
        monitor.process.kill()
        wait_for_belief(player, Verdict.UNCERTIFIED, "missing")
