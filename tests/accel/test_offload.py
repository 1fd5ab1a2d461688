"""Offloading without ROS: every request has one end, the backend's integers are the CPU's, and clients come back."""

import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from l4edge_accel.offload import client as clients
from l4edge_accel.offload import queue as queues
from l4edge_accel.offload.backend import Backend, Result, SimulatedBackend, quantized_level, small_accelerator
from l4edge_accel.offload.client import Link, OffloadClient, OffloadConfig, Reply
from l4edge_accel.offload.queue import CLOSED, EXPIRED, OVERRAN, TWICE, Job, Outcome, WorkQueue
from l4edge_accel.offload.service import OTHER_NETWORK, Condition, OffloadService
from l4edge_accel.resources import engine_resources
from l4edge_perception.errors import InputError
from l4edge_perception.inference import Session
from l4edge_perception.packages import load_package

SIGNS = Path(__file__).resolve().parents[2] / "models" / "sign_classifier"
MILLISECOND = 1_000_000


class Clock:
    """Stands still until told otherwise."""

    def __init__(self):
        self.now_ns = 1000 * MILLISECOND

    def __call__(self):
        return self.now_ns

    def sleep(self, seconds):
        self.now_ns += round(seconds * 1e9)


@pytest.fixture
def clock():
    return Clock()


class Ends(list):
    """Takes every end that a queue reports."""

    def __call__(self, job, outcome, reason, result):
        self.append((job.number, outcome, reason, result))


def job(clock, number, deadline_ms=100.0, expected_ms=10.0, client=1):
    return Job(client, number, clock.now_ns + round(deadline_ms * MILLISECOND), expected_ms * 1e-3, None, clock.now_ns)


def test_first_come_first_served(clock):
    ends = Ends()
    queue = WorkQueue(4, ends, clock)
    assert [queue.offer(job(clock, number)) for number in range(3)] == ["", "", ""]
    for number in range(3):
        assert queue.take(0.0).number == number
        queue.finish(f"result {number}")
    assert ends == [(number, Outcome.ANSWERED, "", f"result {number}") for number in range(3)]
    assert queue.take(0.0) is None


def test_refusals_name_their_reason(clock):
    ends = Ends()
    queue = WorkQueue(2, ends, clock)
    assert queue.offer(job(clock, 0, deadline_ms=5.0)) == queues.LATE
    assert queue.offer(job(clock, 1)) == ""
    assert queue.offer(job(clock, 1)) == TWICE
    assert queue.offer(job(clock, 2, deadline_ms=19.0)) == queues.LATE, "10 ms are ahead of it"
    assert queue.offer(job(clock, 3, deadline_ms=20.0)) == ""
    assert queue.offer(job(clock, 4)) == queues.FULL
    queue.close()
    assert queue.offer(job(clock, 5)) == CLOSED
    assert [number for number, outcome, _, _ in ends if outcome is Outcome.REFUSED] == [0, 1, 2, 4, 1, 3, 5]
    assert queue.counts().reasons == {queues.LATE: 2, TWICE: 1, queues.FULL: 1, CLOSED: 3}


def test_work_that_is_half_done_counts_half(clock):
    queue = WorkQueue(2, Ends(), clock)
    queue.offer(job(clock, 0))
    queue.take(0.0)
    clock.sleep(0.005)
    assert queue.offer(job(clock, 1, deadline_ms=14.0)) == queues.LATE
    assert queue.offer(job(clock, 2, deadline_ms=15.0)) == ""


def test_deadlines_end_requests_in_the_queue_and_at_work(clock):
    ends = Ends()
    queue = WorkQueue(4, ends, clock)
    queue.offer(job(clock, 0, deadline_ms=30.0))
    queue.offer(job(clock, 1, deadline_ms=30.0))
    assert queue.take(0.0).number == 0
    clock.sleep(0.031)
    queue.expire()
    assert ends == [(1, Outcome.TIMED_OUT, EXPIRED, None)]
    assert queue.finish("too late") is Outcome.TIMED_OUT
    assert ends[-1] == (0, Outcome.TIMED_OUT, OVERRAN, None)


def test_cancellation_in_the_queue_at_work_and_of_nobody(clock):
    ends = Ends()
    queue = WorkQueue(4, ends, clock)
    for number in range(3):
        queue.offer(job(clock, number))
    queue.take(0.0)
    assert queue.cancel(1, 0) and queue.cancel(1, 1)
    assert not queue.cancel(1, 1) and not queue.cancel(2, 2)
    assert queue.finish("nobody wants it") is Outcome.CANCELLED
    assert queue.take(0.0).number == 2
    assert [(number, outcome) for number, outcome, _, _ in ends] == [(1, Outcome.CANCELLED), (0, Outcome.CANCELLED)]


def test_failed_work_is_a_refusal(clock):
    ends = Ends()
    queue = WorkQueue(1, ends, clock)
    queue.offer(job(clock, 0))
    queue.take(0.0)
    queue.finish(failure="no power")
    assert ends == [(0, Outcome.REFUSED, "no power", None)]


STEPS = st.one_of(
    st.tuples(st.just("offer"), st.floats(0.0, 60.0)),
    st.tuples(st.just("take"), st.none()),
    st.tuples(st.just("finish"), st.booleans()),
    st.tuples(st.just("cancel"), st.integers(0, 30)),
    st.tuples(st.just("wait"), st.floats(0.0, 0.03)),
    st.tuples(st.just("expire"), st.none()),
)


@settings(max_examples=200, deadline=None)
@given(st.lists(STEPS, max_size=40), st.integers(1, 4))
def test_every_request_has_exactly_one_end(steps, limit):
    clock, ends, offered = Clock(), Ends(), 0
    queue = WorkQueue(limit, ends, clock)
    for step, value in steps:
        if step == "offer":
            queue.offer(job(clock, offered, value))
            offered += 1
        elif step == "take" and not queue.counts().working:
            queue.take(0.0)
        elif step == "finish" and queue.counts().working:
            queue.finish(failure="broken" if value else "")
        elif step == "cancel":
            queue.cancel(1, value)
        elif step == "wait":
            clock.sleep(value)
        elif step == "expire":
            queue.expire()
        assert queue.counts().unaccounted == 0
        assert queue.counts().waiting <= limit
    queue.close()
    if queue.counts().working:
        queue.finish()
    assert sorted(number for number, *_ in ends) == list(range(offered))
    counts = queue.counts()
    for outcome, count in zip(Outcome, (counts.answered, counts.refused, counts.timed_out, counts.cancelled)):
        assert count == sum(entry[1] is outcome for entry in ends)


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


class Toy(Backend):
    """Doubles its input; slow, broken or hanging when told to."""

    name, network = "toy", "toy"

    def __init__(self):
        self.fault = ""
        self.go = threading.Event()
        self.go.set()

    def seconds(self, batch):
        return 0.001 * batch

    def check(self, tensor):
        return "" if tensor.ndim == 2 else "wrong input"

    def run(self, tensor, received_ns=0):
        self.go.wait(10.0)
        if self.fault:
            raise InputError(self.fault)
        return Result((2 * tensor,), self.seconds(len(tensor)), 0.0)


class Answers(Ends):
    """Ends that a test can wait for."""

    def __init__(self):
        super().__init__()
        self.changed = threading.Condition()

    def __call__(self, *end):
        with self.changed:
            super().__call__(*end)
            self.changed.notify_all()

    def wait(self, count):
        with self.changed:
            assert self.changed.wait_for(lambda: len(self) >= count, 10.0)


@pytest.fixture
def answers():
    return Answers()


@pytest.fixture
def service(answers, clock):
    toy = OffloadService(Toy(), 2, answers, clock)
    yield toy
    toy.backend.go.set()
    toy.close()


def submit(service, clock, number, tensor=None, network="toy", deadline_ms=1000.0):
    tensor = np.ones((1, 2)) if tensor is None else tensor
    return service.submit(1, number, network, clock.now_ns + round(deadline_ms * MILLISECOND), tensor)


def test_service_answers(service, clock, answers):
    assert submit(service, clock, 0, np.full((1, 2), 3.0)) == ""
    answers.wait(1)
    number, outcome, _, (result, waited_s) = answers[0]
    assert (number, outcome) == (0, Outcome.ANSWERED) and waited_s == 0.0
    assert (result.outputs[0] == 6.0).all()
    assert service.health().condition is Condition.READY


def test_service_refuses_what_it_cannot_run(service, clock, answers):
    assert submit(service, clock, 0, network="another") == OTHER_NETWORK
    assert submit(service, clock, 1, np.ones(3)) == "wrong input"
    assert service.submit(1, 2, "toy", clock.now_ns + MILLISECOND, None) == "input is gone"
    assert [outcome for _, outcome, _, _ in answers] == [Outcome.REFUSED] * 3
    assert service.health().counts.unaccounted == 0


def test_overfilled_hanging_and_broken_service_says_so(service, clock, answers):
    service.backend.go.clear()
    submit(service, clock, 0)
    while not service.queue.counts().working:
        threading.Event().wait(0.005)
    assert [submit(service, clock, number) for number in (1, 2, 3)] == ["", "", queues.FULL]
    assert service.health().condition is Condition.FULL
    clock.sleep(0.6)
    assert service.health().condition is Condition.STUCK
    service.backend.fault = "no power"
    service.backend.go.set()
    answers.wait(4)
    health = service.health()
    assert (health.condition, health.reason) == (Condition.FAILED, "no power")
    assert health.counts.refused == 4 and health.counts.unaccounted == 0
    service.backend.fault = ""
    submit(service, clock, 4)
    answers.wait(5)
    assert service.health().condition is Condition.READY


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
