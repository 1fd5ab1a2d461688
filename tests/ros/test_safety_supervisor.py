"""Supervisor and controller as processes: with everything else dead they stop the vehicle."""

import os
import time

import numpy as np
import pytest

from l4edge_perception.recordings.messages import from_message, to_message
from l4edge_perception.safety_types import SafetyVerdict, State, Verdict
from l4edge_perception.types import EgoState, Trajectory
from l4edge_pipeline.replay.graph import Graph
from l4edge_pipeline.replay.processes import ProcessGroup
from l4edge_pipeline.stages import default_path, load_stages
from l4edge_pipeline.timing.records import Outcome, StageRecord

rclpy = pytest.importorskip("rclpy", reason="needs ROS 2 (rclpy)")
pytest.importorskip("l4edge_msgs.msg", reason="needs the built l4edge_msgs")

DOMAIN = "93"
PERIOD_S = 0.1
TABLE = load_stages(monitor=True)
CHAIN = TABLE.chains["sensor_to_command"].stages


class World:
    """Plays every part of the vehicle but supervisor and controller."""

    def __init__(self):
        from l4edge_pipeline.nodes.interfaces import MESSAGE_TYPES
        from l4edge_pipeline.nodes.polling import PolledSubscription
        from l4edge_pipeline.nodes.quality import LOG, NEWEST

        self.node = rclpy.create_node("world")
        supervisor, control = TABLE.services["supervisor"], TABLE.stages["control"]
        topics = {**supervisor.inputs, "trajectory": control.inputs["trajectory"]}
        self.publishers = {
            role: self.node.create_publisher(MESSAGE_TYPES[role], topic, LOG if role == "records" else NEWEST)
            for role, topic in topics.items()
        }
        self.subscriptions = {
            role: PolledSubscription(self.node, MESSAGE_TYPES[role], topic, LOG)
            for role, topic in (("status", supervisor.outputs["status"]), ("command", control.outputs["command"]))
        }
        self.frame = 0
        self.speed = 8.0

    def say(self, role, message):
        from l4edge_pipeline.nodes.wire import encode

        self.publishers[role].publish(encode(message))

    def tick(self, networks=True, monitor=True):
        """One frame: camera and odometry, and what the stages behind the networks make of it."""
        from l4edge_pipeline.nodes.stage_node import record_to_message

        stamp_ns = time.time_ns()
        now_ns = time.monotonic_ns()
        self.say("odometry", to_message(EgoState(stamp_ns, stamp_ns % 10**12 * 8e-9, 0.0, 0.0, self.speed)))
        for name in CHAIN[:-1] if networks else CHAIN[:1]:  # control writes its own records
            self.say("records", record_to_message(StageRecord(
                name, "/" + name, stamp_ns, "camera", self.frame, self.frame, Outcome.PROCESSED,
                received_ns=now_ns - 1_000_000, started_ns=now_ns, finished_ns=now_ns, published_ns=now_ns,
            )))  # fmt: skip
        if monitor:
            self.say("verdict", to_message(SafetyVerdict(stamp_ns, Verdict.CERTIFIED, "agreed", covered=1.0)))
        if networks:
            times = np.arange(61) * 0.1
            x = stamp_ns % 10**12 * 8e-9 + 8.0 * times
            self.say("trajectory", to_message(Trajectory(
                stamp_ns, times, np.column_stack([x, 0 * x]), 0 * x, 0 * x + 8.0, 0 * x, "cruise"
            ), self.frame))  # fmt: skip
        self.frame += 1
        time.sleep(PERIOD_S)
        return self.heard()

    def heard(self):
        from l4edge_pipeline.nodes.wire import decode

        return tuple(
            [from_message(decode(one, source.message_type)) for one in source.take()]
            for source in (self.subscriptions["status"], self.subscriptions["command"])
        )


@pytest.fixture
def world(monkeypatch, tmp_path):
    monkeypatch.setenv("ROS_DOMAIN_ID", DOMAIN)
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    rclpy.init()
    place = {key: os.environ[key] for key in ("ROS_DOMAIN_ID", "ROS_AUTOMATIC_DISCOVERY_RANGE")}
    with ProcessGroup(tmp_path / "logs", {**place, "OMP_NUM_THREADS": "1"}) as group:
        graph = Graph(group, default_path())
        # A busy machine must not look like a late stage.
        patience = {"late_caution": 9, "late_degraded": 10, "sensor_caution_s": 0.5, "odometry_caution_s": 0.5}
        graph.start("safety_supervisor", {"monitor": True, **patience})
        graph.start("control", {"monitor": True})
        world = World()
        give_up = time.monotonic() + 60
        while not all(one.get_subscription_count() for one in world.publishers.values()):
            assert time.monotonic() < give_up and group.dead() is None, "the nodes did not come up"
            time.sleep(0.1)
        yield world
        world.node.destroy_node()
    rclpy.try_shutdown()


def test_with_every_network_dead_the_vehicle_is_stopped(world):
    statuses, commands = [], []
    for _ in range(30):
        said, asked = world.tick()
        statuses += said
        commands += asked
    assert not all(command.emergency for command in commands)
    assert Verdict.CERTIFIED in {status.verdict for status in statuses}
    assert statuses[0].state < State.MINIMAL_RISK_MANOEUVRE

    for _ in range(15):  # detection, tracking, planning and the monitor die
        said, asked = world.tick(networks=False, monitor=False)
        statuses += said
        commands += asked
    assert statuses[-1].state == State.MINIMAL_RISK_MANOEUVRE
    assert "stage detection: silent" in statuses[-1].reasons
    assert (statuses[-1].verdict, statuses[-1].verdict_reason) == (Verdict.UNCERTIFIED, "missing")
    assert commands[-1].emergency and commands[-1].acceleration <= -2.0


def test_a_silent_monitor_is_uncertified_and_no_reason_to_brake_hard(world):
    for _ in range(20):
        world.tick()
    statuses, commands = [], []
    for _ in range(20):
        said, asked = world.tick(monitor=False)
        statuses += said
        commands += asked
    assert statuses[-1].verdict == Verdict.UNCERTIFIED
    assert "monitor: missing" in statuses[-1].reasons
    if statuses[-1].state < State.MINIMAL_RISK_MANOEUVRE:  # unless this machine was too slow for the rest, too
        assert min(command.acceleration for command in commands) > -2.5
