"""A bounded queue of requests with deadlines, in which every request has exactly one end.

Pure logic over a clock, safe to use from several threads. What it refuses it refuses at once: whoever asked still has
the time to do the work itself.
"""

import enum
import threading
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Any, Callable, Deque, Dict, List, Mapping, Optional, Tuple

FULL, LATE, TWICE, CLOSED = "queue full", "cannot be done in time", "request came twice", "node is ending"
"""Reasons of a refusal."""

EXPIRED, OVERRAN, TAKEN_BACK = "deadline passed in the queue", "deadline passed at work", "taken back"
"""Reasons of requests that timed out, and of those cancelled."""

NANOSECONDS = 1_000_000_000
REMEMBERED = 4096
"""Requests whose names are kept, so that one that comes twice is noticed."""


class Outcome(enum.IntEnum):
    """How a request ends; the numbers are those of l4edge_msgs/OffloadAnswer."""

    ANSWERED = 0
    REFUSED = 1
    TIMED_OUT = 2
    CANCELLED = 3


@dataclass(frozen=True)
class Job:
    """A request in the queue.

    Attributes:
        client, number: its name.
        deadline_ns: steady clock; an answer after it is of no use.
        expected_s: how long it will take.
        payload: what to run; the queue does not look at it.
        received_ns: steady clock.
    """

    client: int
    number: int
    deadline_ns: int
    expected_s: float
    payload: Any = field(default=None, compare=False)
    received_ns: int = 0

    @property
    def name(self) -> Tuple[int, int]:
        """What a cancellation names."""
        return self.client, self.number


@dataclass(frozen=True)
class Counts:
    """The books of a queue.

    Attributes:
        received: every request ever offered.
        answered, refused, timed_out, cancelled: how they ended.
        waiting, working: that have not ended yet.
        reasons: of all that were not answered.
    """

    received: int
    answered: int
    refused: int
    timed_out: int
    cancelled: int
    waiting: int
    working: int
    reasons: Mapping[str, int]

    @property
    def unaccounted(self) -> int:
        """What the books do not explain; 0 in a sound queue."""
        ended = self.answered + self.refused + self.timed_out + self.cancelled
        return self.received - ended - self.waiting - self.working


Ended = Callable[[Job, Outcome, str, Any], None]
"""Told of every end, outside the queue's lock: job, outcome, reason, and what :meth:`WorkQueue.finish` was given."""


class WorkQueue:
    """First come, first served; the job at work is no longer in the queue.

    Args:
        limit: jobs that may wait.
        on_end: called once for each job, by the thread that ends it.
        clock: steady, nanoseconds.
    """

    def __init__(self, limit: int, on_end: Ended, clock: Callable[[], int] = time.monotonic_ns) -> None:
        if limit < 1:
            raise ValueError(f"limit: a queue for {limit} jobs is none")
        self.limit = limit
        self._on_end = on_end
        self._clock = clock
        self._changed = threading.Condition()
        self._waiting: Deque[Job] = deque()
        self._working: Optional[Job] = None
        self._taken_back = False
        self._started_ns = 0
        self._closed = False
        self._seen: Dict[Tuple[int, int], None] = {}
        self._received = 0
        self._ends: Dict[Outcome, int] = dict.fromkeys(Outcome, 0)
        self._reasons: Dict[str, int] = Counter()

    def offer(self, job: Job) -> str:
        """Put a job in the queue; returns why it is refused, or an empty text."""
        self.expire()
        with self._changed:
            self._received += 1
            reason = self._refusal(job)
            if reason:
                self._count(Outcome.REFUSED, reason)
            else:
                self._seen[job.name] = None
                while len(self._seen) > REMEMBERED:
                    del self._seen[next(iter(self._seen))]
                self._waiting.append(job)
                self._changed.notify()
        if reason:
            self._on_end(job, Outcome.REFUSED, reason, None)
        return reason

    def refuse(self, job: Job, reason: str) -> None:
        """Count a job that nobody could even queue, such as one whose input is gone."""
        with self._changed:
            self._received += 1
            self._count(Outcome.REFUSED, reason)
        self._on_end(job, Outcome.REFUSED, reason, None)

    def _refusal(self, job: Job) -> str:
        if self._closed:
            return CLOSED
        if job.name in self._seen:
            return TWICE
        if len(self._waiting) >= self.limit:
            return FULL
        ahead_s = sum(other.expected_s for other in self._waiting)
        if self._working is not None:
            spent_s = (self._clock() - self._started_ns) / NANOSECONDS
            ahead_s += max(0.0, self._working.expected_s - spent_s)
        if self._clock() + round((ahead_s + job.expected_s) * NANOSECONDS) > job.deadline_ns:
            return LATE
        return ""

    def take(self, timeout_s: float) -> Optional[Job]:
        """The next job, now at work; None if none came in time or the queue is closed."""
        give_up = time.monotonic() + timeout_s
        while True:
            self.expire()
            with self._changed:
                if self._waiting:
                    self._working = self._waiting.popleft()
                    self._taken_back = False
                    self._started_ns = self._clock()
                    return self._working
                left_s = give_up - time.monotonic()
                if self._closed or left_s <= 0:
                    return None
                self._changed.wait(left_s)

    def finish(self, result: Any = None, failure: str = "") -> Outcome:
        """The job at work is done, or has failed.

        A result that comes after the deadline, or after a cancellation, is thrown away.
        """
        with self._changed:
            job = self._working
            if job is None:
                raise ValueError("no job is at work")
            self._working = None
            if self._taken_back:
                outcome, reason = Outcome.CANCELLED, TAKEN_BACK
            elif failure:
                outcome, reason = Outcome.REFUSED, failure
            elif self._clock() > job.deadline_ns:
                outcome, reason = Outcome.TIMED_OUT, OVERRAN
            else:
                outcome, reason = Outcome.ANSWERED, ""
            self._count(outcome, reason)
        self._on_end(job, outcome, reason, result if outcome is Outcome.ANSWERED else None)
        return outcome

    def cancel(self, client: int, number: int) -> bool:
        """Take a job back; False if it is unknown or has ended. One at work ends as soon as its work does."""
        with self._changed:
            found = next((job for job in self._waiting if job.name == (client, number)), None)
            if found is None:
                at_work = self._working is not None and self._working.name == (client, number)
                self._taken_back = self._taken_back or at_work
                return at_work
            self._waiting.remove(found)
            self._count(Outcome.CANCELLED, TAKEN_BACK)
        self._on_end(found, Outcome.CANCELLED, TAKEN_BACK, None)
        return True

    def expire(self) -> None:
        """End what can no longer be done in time."""
        with self._changed:
            now = self._clock()
            late = [job for job in self._waiting if now + round(job.expected_s * NANOSECONDS) > job.deadline_ns]
            for job in late:
                self._waiting.remove(job)
                self._count(Outcome.TIMED_OUT, EXPIRED)
        for job in late:
            self._on_end(job, Outcome.TIMED_OUT, EXPIRED, None)

    def close(self) -> None:
        """Refuse what waits, and everything from now on."""
        with self._changed:
            self._closed = True
            left: List[Job] = list(self._waiting)
            self._waiting.clear()
            for _ in left:
                self._count(Outcome.REFUSED, CLOSED)
            self._changed.notify_all()
        for job in left:
            self._on_end(job, Outcome.REFUSED, CLOSED, None)

    def at_work_s(self) -> Tuple[float, float]:
        """Seconds that the present job has been at work, and those that it was expected to take; zeros without one."""
        with self._changed:
            if self._working is None:
                return 0.0, 0.0
            return (self._clock() - self._started_ns) / NANOSECONDS, self._working.expected_s

    def counts(self) -> Counts:
        """The books as they are now."""
        with self._changed:
            return Counts(
                received=self._received, answered=self._ends[Outcome.ANSWERED], refused=self._ends[Outcome.REFUSED],
                timed_out=self._ends[Outcome.TIMED_OUT], cancelled=self._ends[Outcome.CANCELLED],
                waiting=len(self._waiting), working=int(self._working is not None), reasons=dict(self._reasons),
            )

    def _count(self, outcome: Outcome, reason: str) -> None:
        """Write an end into the books; only with the lock held, so that they agree at every moment."""
        self._ends[outcome] += 1
        if reason:
            self._reasons[reason] += 1
