"""Whoever offloads: asks the node, does the work itself where the node is late, full or gone, and comes back later.

Pure logic over a link and a clock. The time for an answer is bounded from the start, so that the work can still be done
here; a node that has failed is not asked again before it has shown, with answers nobody waits for, that it is back.
"""

import time
from abc import ABC, abstractmethod
from collections import Counter
from dataclasses import dataclass
from typing import Any, Callable, Dict, List, Optional, Sequence

import numpy as np

from l4edge_accel.offload.queue import Outcome

OFFLOADED = "offloaded"
LATE, FULL, GONE, AWAY, LOST = "late", "refused", "gone", "away", "answer lost"
"""Why work was done here: no answer in time; refused; no sign of life; not asked since it failed; answer unreadable."""


@dataclass(frozen=True)
class Reply:
    """An answer as the link delivers it.

    Attributes:
        arrived_ns: steady clock.
        outputs: None where there are none, or where they could not be read.
    """

    number: int
    outcome: Outcome
    arrived_ns: int
    reason: str = ""
    outputs: Optional[Sequence[np.ndarray]] = None


class Link(ABC):
    """The way to a node and back."""

    @abstractmethod
    def alive(self) -> bool:
        """Whether the node has lately said that it is ready."""

    @abstractmethod
    def send(self, number: int, tensor: np.ndarray, deadline_ns: int) -> None:
        """Ask; returns at once."""

    @abstractmethod
    def cancel(self, number: int) -> None:
        """Take a request back."""

    @abstractmethod
    def replies(self) -> List[Reply]:
        """What has come since the last look."""


@dataclass(frozen=True)
class OffloadConfig:
    """How a client judges.

    Attributes:
        patience_ms: for an answer; with the time of doing the work here it must fit into the stage's.
        leave_after: requests without an answer in time, in a row, after which the node is left.
        return_after: trial requests answered in time, in a row, after which it is asked again. Larger than
            ``leave_after``, so that a node that is up and down is rather left.
        trial_interval_ms: between two trial requests.
        look_ms: between two looks for an answer.
    """

    patience_ms: float = 15.0
    leave_after: int = 2
    return_after: int = 5
    trial_interval_ms: float = 100.0
    look_ms: float = 0.5

    def __post_init__(self) -> None:
        if min(self.patience_ms, self.trial_interval_ms, self.look_ms) <= 0:
            raise ValueError("patience_ms, trial_interval_ms and look_ms must be above 0")
        if min(self.leave_after, self.return_after) < 1:
            raise ValueError("leave_after and return_after must be at least 1")


class OffloadClient:
    """One network offloaded, with its fallback.

    Attributes:
        away: whether the node is left at present.
        counts: how many runs were offloaded, and why the others were not.
        changes: how often the node was left or returned to.

    Args:
        link: to the node.
        fallback: does the same work here; its result may be reused by its next run.
        config: how to judge.
        clock, sleep: steady nanoseconds, and waiting in seconds.
    """

    def __init__(
        self, link: Link, fallback: Callable[[np.ndarray], Sequence[np.ndarray]],
        config: Optional[OffloadConfig] = None,
        clock: Callable[[], int] = time.monotonic_ns, sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.away = True
        """It must show first that it works."""
        self.counts: Dict[str, int] = Counter()
        self.changes = 0
        self._link = link
        self._fallback = fallback
        self._config = config or OffloadConfig()
        self._clock = clock
        self._sleep = sleep
        self._number = 0
        self._failures = 0
        self._successes = 0
        self._trial: Optional[int] = None
        self._trial_ns: Optional[int] = None

    def run(self, tensor: np.ndarray) -> Sequence[np.ndarray]:
        """The outputs for ``tensor``, from the node or from here."""
        if self.away:
            self._look_at_trial()
        reason = AWAY
        if not self.away:
            reply = self._ask(tensor) if self._link.alive() else None
            if reply is not None and reply.outcome is Outcome.ANSWERED and reply.outputs is not None:
                self._failures = 0
                self.counts[OFFLOADED] += 1
                return reply.outputs
            reason = self._failed(reply)
        self.counts[reason] += 1
        if self.away:
            self._try(tensor)
        return self._fallback(tensor)

    def _ask(self, tensor: np.ndarray) -> Any:
        """An answer, or LATE as a reply that timed out."""
        config = self._config
        number = self._next()
        deadline_ns = self._clock() + round(config.patience_ms * 1e6)
        self._link.send(number, tensor, deadline_ns)
        while True:
            for reply in self._link.replies():
                if reply.number == number:
                    return reply
            if self._clock() >= deadline_ns:
                self._link.cancel(number)
                return Reply(number, Outcome.TIMED_OUT, self._clock(), LATE)
            self._sleep(config.look_ms * 1e-3)

    def _failed(self, reply: Optional[Reply]) -> str:
        """Judge a request without a usable answer; returns why."""
        self._failures += 1
        if reply is None:
            reason = GONE
        elif reply.outcome is Outcome.ANSWERED:
            reason = LOST
        else:
            reason = FULL if reply.outcome is Outcome.REFUSED else LATE
        if reply is None or self._failures >= self._config.leave_after:
            self._change(True)
        return reason

    def _change(self, away: bool) -> None:
        self.away = away
        self.changes += 1
        self._failures = self._successes = 0
        self._trial = self._trial_ns = None

    def _try(self, tensor: np.ndarray) -> None:
        """Send a trial request when it is time to; its answer is looked at in a later run."""
        now = self._clock()
        due = self._trial_ns is None or now - self._trial_ns >= self._config.trial_interval_ms * 1e6
        if self._trial is not None or not due or not self._link.alive():
            return
        self._trial, self._trial_ns = self._next(), now
        self._link.send(self._trial, tensor, now + round(self._config.patience_ms * 1e6))

    def _look_at_trial(self) -> None:
        if self._trial is None or self._trial_ns is None:
            self._link.replies()  # nobody waits for these any more
            return
        for reply in self._link.replies():
            if reply.number == self._trial:
                self._trial = None
                good = reply.outcome is Outcome.ANSWERED and reply.outputs is not None
                good = good and reply.arrived_ns - self._trial_ns <= self._config.patience_ms * 1e6
                self._successes = self._successes + 1 if good else 0
        if self._trial is not None and self._clock() - self._trial_ns > 2 * self._config.patience_ms * 1e6:
            self._link.cancel(self._trial)
            self._trial, self._successes = None, 0
        if self._successes >= self._config.return_after:
            self._change(False)

    def _next(self) -> int:
        self._number += 1
        return self._number - 1
