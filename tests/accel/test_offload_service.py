"""Requests to an offload service: every one has one end, in the queue, at work, and where the service is in trouble."""

import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from l4edge_accel.offload import queue as queues
from l4edge_accel.offload.backend import Backend, Result
from l4edge_accel.offload.queue import CLOSED, EXPIRED, OVERRAN, TWICE, Job, Outcome, WorkQueue
from l4edge_accel.offload.service import OTHER_NETWORK, Condition, OffloadService
from l4edge_perception.errors import InputError
from tests.accel.offload_factories import MILLISECOND, Clock


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
