"""The working half of an offload node: a thread that keeps the device busy, and what can be said of its health."""

import enum
import threading
import time
from dataclasses import dataclass
from typing import Any, Callable, Optional, Tuple

from l4edge_accel.offload.backend import Backend, Result
from l4edge_accel.offload.queue import Counts, Ended, Job, WorkQueue
from l4edge_perception.errors import InputError

WAKE_S = 0.05
"""How often the worker looks up without work: deadlines of jobs, and the end."""

STUCK_FACTOR, STUCK_S = 10.0, 0.5
"""A job that takes so many times what is expected, and so much more, means that the device hangs."""

OTHER_NETWORK = "node serves another network"
FAILURES = 3
"""In a row; then the device counts as broken until a request succeeds."""


class Condition(enum.IntEnum):
    """How a node is; the numbers are those of l4edge_msgs/OffloadStatus."""

    READY = 0
    FULL = 1
    STUCK = 2
    FAILED = 3


@dataclass(frozen=True)
class Health:
    """What a node says of itself."""

    condition: Condition
    reason: str
    counts: Counts


class OffloadService:
    """A backend with a queue in front of it.

    Args:
        backend: used by the service's own thread only, apart from its descriptions.
        limit: requests that may wait.
        on_end: told of every end; called from the worker and from whoever offers or cancels.
    """

    def __init__(self, backend: Backend, limit: int, on_end: Ended, clock: Callable[[], int] = time.monotonic_ns):
        self.backend = backend
        self.queue = WorkQueue(limit, on_end, clock)
        self._clock = clock
        self._failures = 0
        self._finding = ""
        self._ending = threading.Event()
        self._worker = threading.Thread(target=self._work, name="offload", daemon=True)
        self._worker.start()

    def submit(self, client: int, number: int, network: str, deadline_ns: int, tensor: Any) -> str:
        """Queue a request; returns why it is refused, or an empty text.

        Args:
            network: SHA-256 of the graph that the client wants.
            deadline_ns: steady clock.
            tensor: a copy that nobody changes; None where it could not be had.
        """
        now = self._clock()
        reason = self.backend.finding()
        if not reason and network != self.backend.network:
            reason = OTHER_NETWORK
        if not reason:
            reason = "input is gone" if tensor is None else self.backend.check(tensor)
        if reason:
            self.queue.refuse(Job(client, number, deadline_ns, 0.0, None, now), reason)
            return reason
        return self.queue.offer(Job(client, number, deadline_ns, self.backend.seconds(len(tensor)), tensor, now))

    def health(self) -> Health:
        """How the node is now."""
        self.queue.expire()
        counts = self.queue.counts()
        finding = self.backend.finding()
        if not finding and not self._worker.is_alive() and not self._ending.is_set():
            finding = "the worker has died"
        if not finding and self._failures >= FAILURES:
            finding = self._finding
        if finding:
            return Health(Condition.FAILED, finding, counts)
        spent_s, expected_s = self.queue.at_work_s()
        if spent_s > STUCK_FACTOR * expected_s + STUCK_S:
            return Health(Condition.STUCK, "the work at hand takes too long", counts)
        if counts.waiting >= self.queue.limit:
            return Health(Condition.FULL, "the queue is full", counts)
        return Health(Condition.READY, "", counts)

    def close(self, timeout_s: float = 2.0) -> None:
        """Refuse what waits and let the work at hand come to its end."""
        self._ending.set()
        self.queue.close()
        self._worker.join(timeout_s)

    def _work(self) -> None:
        while not self._ending.is_set():
            job = self.queue.take(WAKE_S)
            if job is None:
                continue
            waited_s = (self._clock() - job.received_ns) * 1e-9
            result, failure = self._run(job)
            self.queue.finish(None if result is None else (result, waited_s), failure)

    def _run(self, job: Job) -> Tuple[Optional[Result], str]:
        try:
            result = self.backend.run(job.payload, job.received_ns)
        except Exception as fault:  # whatever goes wrong with one request must not end the node
            self._failures += 1
            self._finding = str(fault) if isinstance(fault, InputError) else f"fault: {type(fault).__name__}"
            return None, self._finding
        self._failures = 0
        return result, ""
