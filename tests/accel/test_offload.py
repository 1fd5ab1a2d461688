"""Both ends of offloading: the backend's integers are the CPU's, and clients leave a node that fails and come back."""

from pathlib import Path

import numpy as np
import pytest

from l4edge_accel.offload import client as clients
from l4edge_accel.offload.backend import SimulatedBackend, quantized_level, small_accelerator
from l4edge_accel.offload.client import Link, OffloadClient, OffloadConfig, Reply
from l4edge_accel.offload.queue import Outcome
from l4edge_accel.resources import engine_resources
from l4edge_perception.errors import InputError
from l4edge_perception.inference import Session
from l4edge_perception.packages import load_package
from tests.accel.offload_factories import MILLISECOND

SIGNS = Path(__file__).resolve().parents[2] / "models" / "sign_classifier"


@pytest.fixture(scope="module")
def signs():
    return load_package(SIGNS)


def crops(count, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, 64, 64, 3), np.uint8)


def test_simulated_device_gives_the_integers_of_the_network_at_its_time(signs, clock):
    waits = []
    backend = SimulatedBackend(signs, "w1a8", 10.0, sleep=waits.append, clock=clock)
    result = backend.run(crops(3))
    assert (result.outputs[0] == Session(signs, "w1a8").run(crops(3))[0]).all()
    assert result.modelled_s == backend.seconds(3) == 30.0
    assert waits == pytest.approx([30.0]) and result.wall_s == 0.0, "the clock stands still"
    first = result.outputs[0].copy()
    backend.run(crops(3, seed=1))
    assert (result.outputs[0] == first).all(), "an answer must outlive the next run"


def test_a_device_begins_with_what_waits_as_soon_as_it_is_free(signs, clock):
    backend = SimulatedBackend(signs, "w1a8", 10.0, sleep=clock.sleep, clock=clock)
    received_ns = clock.now_ns
    ends_s = []
    for _ in range(3):
        backend.run(crops(1), received_ns)
        ends_s.append((clock.now_ns - received_ns) * 1e-9)
        clock.sleep(4.0)  # the host hands out the answer
    assert ends_s == pytest.approx([10.0, 20.0, 30.0])
    clock.sleep(50.0)
    backend.run(crops(1), clock.now_ns - 1_000_000_000)
    assert (clock.now_ns - received_ns) * 1e-9 == pytest.approx(34.0 + 50.0 - 1.0 + 10.0)


def test_as_fast_as_possible_does_not_wait(signs):
    waits = []
    result = SimulatedBackend(signs, "rmsmp", 10.0, paced=False, sleep=waits.append).run(crops(1))
    assert waits == [] and result.modelled_s == 10.0


def test_what_the_backend_cannot_run_is_named(signs):
    with pytest.raises(InputError, match=r"level 'full' is not quantized.*rmsmp, w1a8"):
        SimulatedBackend(signs, "full", 1.0)
    with pytest.raises(InputError, match="not above 0"):
        SimulatedBackend(signs, "w1a8", 0.0)
    assert quantized_level(signs).name == "w1a8"
    backend = SimulatedBackend(signs, "w1a8", 1.0)
    assert backend.check(crops(2)) == ""
    for wrong in (crops(2)[:, :32], crops(2).astype(np.float32), crops(0)):
        assert backend.check(wrong) == "wrong input"


def test_small_accelerator_fits_the_smallest_board():
    pytest.importorskip("onnx", reason="reading a graph needs onnx")
    from l4edge_accel.devices import device
    from l4edge_accel.offload.backend import modelled_seconds

    accelerator = small_accelerator()
    board = device(accelerator.device)
    luts = sum(engine_resources(engine).luts for engine in accelerator.engines)
    assert luts < 0.5 * board.luts
    small = modelled_seconds(SIGNS, "w1a8", accelerator)
    large = modelled_seconds(SIGNS, "w1a8", small_accelerator(16, 16))
    macs = load_package(SIGNS).level("w1a8").macs
    assert small > macs / (64 * accelerator.clock_hz) * 0.9, "64 products a cycle"
    assert large < small


class Node(Link):
    """A node as its client sees it: answers at once, late, never, with a refusal, or is gone."""

    def __init__(self, clock):
        self.clock = clock
        self.mood = "well"
        self.pending = []
        self.sent, self.cancelled = [], []

    def alive(self):
        return self.mood != "gone"

    def send(self, number, tensor, deadline_ns):
        self.sent.append(number)
        delay_ms = {"late": 50.0, "gone": 1e9, "frozen": 1e9}.get(self.mood, 2.0)
        outcome = Outcome.REFUSED if self.mood == "full" else Outcome.ANSWERED
        outputs = None if self.mood in ("full", "lost") else [2 * tensor]
        due_ns = self.clock.now_ns + round(delay_ms * MILLISECOND)
        self.pending.append((due_ns, Reply(number, outcome, due_ns, "", outputs)))

    def cancel(self, number):
        self.cancelled.append(number)

    def replies(self):
        ready = [reply for due, reply in self.pending if due <= self.clock.now_ns]
        self.pending = [entry for entry in self.pending if entry[0] > self.clock.now_ns]
        return ready


CONFIG = OffloadConfig(patience_ms=10.0, leave_after=2, return_after=3, trial_interval_ms=50.0)
ONE = np.ones(2)


def drive(client, clock, runs, period_s=0.1):
    """Run ``runs`` times; how long each took, in milliseconds."""
    took = []
    for _ in range(runs):
        began = clock.now_ns
        assert (client.run(ONE)[0] == 2.0).all()
        took.append((clock.now_ns - began) / MILLISECOND)
        clock.sleep(period_s)
    return took


@pytest.fixture
def node(clock):
    return Node(clock)


@pytest.fixture
def client(node, clock):
    """One that has come to trust its node."""
    client = OffloadClient(node, lambda tensor: [2 * tensor], CONFIG, clock, clock.sleep)
    drive(client, clock, 5)
    assert not client.away
    client.counts.clear()
    return client


def test_a_node_must_first_show_that_it_works(node, clock):
    client = OffloadClient(node, lambda tensor: [2 * tensor], CONFIG, clock, clock.sleep)
    assert drive(client, clock, 3) == [0.0] * 3, "nobody waits for trials"
    assert client.away and client.counts == {clients.AWAY: 3}
    drive(client, clock, 2)
    assert not client.away and client.counts[clients.OFFLOADED] == 2


@pytest.mark.parametrize(("mood", "reason", "left_after"), [
    ("late", clients.LATE, 2), ("frozen", clients.LATE, 2), ("full", clients.FULL, 2), ("lost", clients.LOST, 2),
    ("gone", clients.GONE, 1),
])
def test_a_node_that_fails_is_left_and_returned_to(client, node, clock, mood, reason, left_after):
    node.mood = mood
    took = drive(client, clock, 12)
    assert client.away
    assert client.counts[reason] == left_after
    assert client.counts[clients.AWAY] == 12 - left_after
    assert max(took[:left_after]) <= CONFIG.patience_ms + CONFIG.look_ms
    assert took[left_after:] == [0.0] * (12 - left_after)
    node.mood = "well"
    drive(client, clock, 8)
    assert not client.away and client.counts[clients.OFFLOADED] >= 3


def test_one_failure_does_not_drive_a_client_away(client, node, clock):
    for _ in range(4):
        node.mood = "full"
        drive(client, clock, 1)
        node.mood = "well"
        drive(client, clock, 1)
    assert not client.away and client.counts == {clients.FULL: 4, clients.OFFLOADED: 4}


def test_a_node_that_is_up_and_down_stays_left(client, node, clock):
    node.mood = "gone"
    drive(client, clock, 1)
    for _ in range(5):
        node.mood = "well"
        drive(client, clock, 2)
        node.mood = "full"
        drive(client, clock, 2)
    assert client.away and client.changes == 2


def test_requests_without_an_answer_are_cancelled(client, node, clock):
    node.mood = "frozen"
    before = len(node.sent)
    drive(client, clock, 8)
    assert set(node.sent[before:]) - set(node.cancelled) <= {node.sent[-1]}


@pytest.mark.parametrize("wrong", [{"patience_ms": 0.0}, {"leave_after": 0}, {"look_ms": -1.0}])
def test_a_configuration_that_makes_no_sense_is_refused(wrong):
    with pytest.raises(ValueError, match="must be"):
        OffloadConfig(**wrong)
