"""Keeps a live pipeline running: a node that dies is started again, a few times."""

import time
from typing import Callable, Container, Dict, Set

from l4edge_perception.errors import InputError
from l4edge_pipeline.replay.processes import Child, ProcessGroup, describe_death

RESTARTS = 3
STABLE_S = 60.0
"""A node that has run so long counts as healthy again."""


class Supervisor:
    """Watches the processes of a live run.

    While a stage is away, its successors get no frames; the watchdog of the control node then stops the vehicle, so a
    restart needs no further care here.

    Args:
        group: the running nodes.
        restart: starts the node of that name again.
        say: takes one line for the user.
        dispensable: nodes without which the pipeline goes on; one that keeps dying is left alone.

    Attributes:
        given_up: those of them that were left alone.
    """

    def __init__(self, group: ProcessGroup, restart: Callable[[str], None], say: Callable[[str], None],
                 clock: Callable[[], float] = time.monotonic, dispensable: Container[str] = ()):
        self._group = group
        self._restart = restart
        self._say = say
        self._clock = clock
        self._dispensable = dispensable
        self.given_up: Set[str] = set()
        self._deaths: Dict[str, int] = {}
        self._last_death: Dict[str, float] = {}

    def check(self) -> None:
        """Start a dead node again.

        Raises:
            InputError: it could not start at all, or it keeps dying.
        """
        dead = self._group.dead(self.given_up)
        if dead is None:
            return
        now = self._clock()
        if now - self._last_death.get(dead.name, now) > STABLE_S:
            self._deaths[dead.name] = 0
        self._deaths[dead.name] = self._deaths.get(dead.name, 0) + 1
        self._last_death[dead.name] = now
        if dead.name in self._dispensable and not refused(dead) and self._deaths[dead.name] > RESTARTS:
            self.given_up.add(dead.name)
            self._say(f"{describe_death(dead)}; the pipeline goes on without it")
            return
        if refused(dead) or self._deaths[dead.name] > RESTARTS:
            raise InputError(describe_death(dead))
        self._say(f"{describe_death(dead)}; starting it again ({self._deaths[dead.name]} of {RESTARTS})")
        self._restart(dead.name)


def refused(child: Child) -> bool:
    """Whether the node refused what it was given; starting it again would change nothing."""
    return child.process.returncode == 2
