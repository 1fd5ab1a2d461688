"""The offload node as a process: answers hold the device's integers, and no request is left without an end."""

import json
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

pytest.importorskip("rclpy", reason="needs ROS 2 (rclpy)")
pytest.importorskip("l4edge_msgs.msg", reason="needs the built l4edge_msgs")

import rclpy

from l4edge_accel.offload.queue import Outcome
from l4edge_perception.errors import InputError
from l4edge_perception.inference import Session
from l4edge_perception.packages import load_package
from l4edge_perception.recordings.messages import make, make_header
from l4edge_pipeline.commands.bench_offload import command
from l4edge_pipeline.nodes.offload_link import NodeLink, addressee, offload_service
from l4edge_pipeline.nodes.wire import encode
from l4edge_pipeline.replay.graph import Graph, environment
from l4edge_pipeline.replay.processes import ProcessGroup
from l4edge_pipeline.resources import check_offload, find_package
from l4edge_pipeline.stages import default_path
from l4edge_pipeline.transport import tensors
from l4edge_pipeline.transport.frames import FrameReader, FrameUnavailable, FrameWriter

PATIENCE_S = 90.0
"""For a busy machine; nothing here is about speed."""
LEVEL = "w1a8"
VALUES = {"seconds_per_inference": 0.05, "queue_limit": 2, "level": LEVEL}


@pytest.fixture
def graph(tmp_path, monkeypatch):
    settings = {**environment(tmp_path / "logs"), "ROS_DOMAIN_ID": "93"}
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    with ProcessGroup(tmp_path / "logs", settings) as group:
        yield group, Graph(group, default_path())


@pytest.fixture
def link(graph):
    rclpy.init()
    node = rclpy.create_node("asker")
    session = Session(load_package(find_package("sign_classifier")), LEVEL)
    link = NodeLink(node, offload_service(None), session.level.sha256)
    yield link, session
    node.destroy_node()
    rclpy.try_shutdown()


def wait_until(condition):
    give_up = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < give_up
        time.sleep(0.02)


def collect(link, count):
    """The first ``count`` replies, by number."""
    replies = {}

    def enough():
        replies.update({reply.number: reply for reply in link.replies()})
        return len(replies) >= count

    wait_until(enough)
    return replies


def in_time():
    return time.monotonic_ns() + round(PATIENCE_S * 1e9)


def test_requests_are_answered_refused_and_cancelled_and_a_killed_node_is_noticed(graph, link):
    group, graph = graph
    link, session = link
    child = graph.start("offload", VALUES)
    wait_until(link.alive)
    crops = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), np.uint8)
    link.send(0, crops, in_time())
    wait_until(lambda: status(link).received == 1)
    for number in range(1, 8):
        link.send(number, crops, in_time())
    link.cancel(2)
    link.send(8, crops, time.monotonic_ns() + 1_000_000)
    replies = collect(link, 9)
    outcomes = {number: reply.outcome for number, reply in replies.items()}
    assert outcomes[8] is Outcome.REFUSED and replies[8].reason in ("cannot be done in time", "queue full")
    assert Outcome.REFUSED in [outcomes[number] for number in range(3, 8)], "two may wait, seven came at once"
    good = [reply for reply in replies.values() if reply.outcome is Outcome.ANSWERED]
    assert good
    for reply in good:
        assert (reply.outputs[0] == session.run(crops)[0]).all()
    wait_until(lambda: accounted(status(link)) == 9)
    said = status(link)
    assert (said.received, said.timed_out) == (9, 0) and said.answered == len(good)
    assert "modelled" in said.backend

    child.process.kill()
    wait_until(lambda: not link.alive())
    group.children.pop("offload")
    child.process.wait()
    child = graph.start("offload", VALUES)
    wait_until(link.alive)
    child.process.send_signal(signal.SIGINT)
    assert child.process.wait(PATIENCE_S) == 0


def accounted(said):
    return said.answered + said.refused + said.timed_out + said.cancelled


def status(link):
    link.alive()
    return link.status


def test_benchmark_accounts_for_every_request():
    outcome = CliRunner().invoke(command, ["--seconds", "6", "--no-chain", "--json"], catch_exceptions=False)
    results = json.loads(outcome.stdout)
    requests = results["requests"]
    assert requests["unaccounted"] == requests["wrong_answers"] == 0
    assert requests["answered"] > 0 and requests["refused"] > 0 and requests["timed_out"] > 0
    ends = ("answered", "refused", "timed_out", "cancelled")
    assert requests["sent"] == sum(requests[name] for name in ends)
    assert [event["what"] for event in results["events"]].count("kill") == 2
    assert results["hardware_tested"] is False


@pytest.mark.parametrize("frame_id", ["", "a", "front", "camera_f", "camera/front/optical"])
def test_answers_for_others_are_known_without_reading_them(frame_id):
    answer = make(
        "l4edge_msgs/msg/OffloadAnswer", header=make_header(5, frame_id), client=2**62 + 17, request=3, outcome=0,
        reason="", outputs=[], modelled=0.0, wall=0.0, waited=0.0, queue_length=0, queue_limit=1,
    )
    assert addressee(encode(answer)) == 2**62 + 17


@pytest.mark.parametrize("tensor", [np.arange(24, dtype=np.float32).reshape(2, 3, 4), np.zeros((5, 1), np.uint8)])
def test_tensors_travel_whole(tensor):
    writer = FrameWriter(4)
    message = tensors.put(writer, tensor)
    received = tensors.get(FrameReader(), message)
    assert received.dtype == tensor.dtype and (received == tensor).all()
    message.shape = np.array([7], np.uint32)
    with pytest.raises(FrameUnavailable, match="bytes are no"):
        tensors.get(FrameReader(), message)
    with pytest.raises(FrameUnavailable, match="no tensor"):
        tensors.get(FrameReader(), tensors.nothing())


def test_what_cannot_be_offloaded_is_named(tmp_path):
    path = default_path()
    check_offload("signs", path, None, None)
    with pytest.raises(InputError, match="level 'full' is not quantized"):
        check_offload("signs", path, None, "full")
    with pytest.raises(InputError, match="classifier is off"):
        check_offload("signs", path, "off", None)
    bare = Path(tmp_path, "stages.yaml")
    bare.write_text("version: 1\n")
    with pytest.raises(InputError, match=r"services\.offload: missing"):
        check_offload("signs", bare, None, None)
