"""Decides when each event of a recording is released."""

import time
from typing import Any, Callable, Iterator, List, Optional, Tuple

from l4edge_perception.recordings.events import FrameEvent

Due = Tuple[int, Any]

LONGEST_PAUSE_S = 10.0
"""A longer gap between two events of a recording is cut to this, be it real or a wrong stamp."""


class Player:
    """Releases the events of a recording at the pace they were recorded.

    Args:
        events: in time order, each with ``stamp_ns``.
        speed: 2.0 plays twice as fast as it was recorded.
        clock: steady clock, nanoseconds.
    """

    def __init__(self, events: Iterator[Any], speed: float = 1.0, clock: Callable[[], int] = time.monotonic_ns):
        self._events = iter(events)
        self._speed = speed
        self._clock = clock
        self._next: Optional[Any] = next(self._events, None)
        self._last_stamp_ns: Optional[int] = None
        self._last_release_ns = 0

    @property
    def finished(self) -> bool:
        """Whether every event has been released."""
        return self._next is None

    def seconds_to_next(self) -> float:
        """Until the next event is due; 0 or less when it is, or when there is none."""
        if self._next is None:
            return 0.0
        return (self._release_ns(self._next) - self._clock()) * 1e-9

    def due(self) -> List[Due]:
        """The events whose time has come, each with the moment it was due on the steady clock."""
        released = []
        now_ns = self._clock()
        while self._next is not None and self._release_ns(self._next) <= now_ns:
            self._last_release_ns = self._release_ns(self._next)
            self._last_stamp_ns = self._next.stamp_ns
            released.append((self._last_release_ns, self._next))
            self._next = next(self._events, None)
        return released

    def until_frame(self) -> List[Due]:
        """The next frame and what lies before it, at once: the pace of whoever waits for the stages."""
        released = []
        while self._next is not None:
            event, self._next = self._next, next(self._events, None)
            released.append((self._clock(), event))
            if isinstance(event, FrameEvent):
                break
        return released

    def _release_ns(self, event: Any) -> int:
        if self._last_stamp_ns is None:
            self._last_stamp_ns, self._last_release_ns = event.stamp_ns, self._clock()
        # What is recorded out of order is released together with what came before it.
        pause_ns = max(0, event.stamp_ns - self._last_stamp_ns) / self._speed
        return self._last_release_ns + int(min(pause_ns, LONGEST_PAUSE_S * 1e9))


def newest_frame_wins(due: List[Due]) -> Tuple[List[Due], List[Due]]:
    """Split into what is to be released and the frames that a newer one of the same moment supersedes."""
    frames = [index for index, (_, event) in enumerate(due) if isinstance(event, FrameEvent)]
    superseded = set(frames[:-1])
    return (
        [item for index, item in enumerate(due) if index not in superseded],
        [due[index] for index in frames[:-1]],
    )
