"""Decides when each event of a recording is released."""

import time
from collections import deque
from typing import Any, Callable, Deque, Iterator, List, Optional, Tuple

from l4edge_perception.recordings.events import FrameEvent

Due = Tuple[int, Any]

READ_AHEAD_S = 0.05
"""How much of the recording is read while there is nothing to release, so that no release waits for the reading."""

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
        self._read: Deque[Any] = deque()
        self._fill()
        self._last_stamp_ns: Optional[int] = None
        self._last_release_ns = 0

    @property
    def finished(self) -> bool:
        """Whether every event has been released."""
        return not self._read

    def seconds_to_next(self) -> float:
        """Until the next event is due; 0 or less when it is, or when there is none."""
        if not self._read:
            return 0.0
        return (self._release_ns(self._read[0]) - self._clock()) * 1e-9

    def read_ahead(self) -> None:
        """Read what will be due soon after the next event. To be called when that is still some time away."""
        if self._read:
            until_ns = self._read[0].stamp_ns + READ_AHEAD_S * 1e9
            while self._read[-1].stamp_ns < until_ns and self._fill():
                pass

    def _fill(self) -> bool:
        for event in self._events:
            self._read.append(event)
            return True
        return False

    def _take(self) -> Any:
        event = self._read.popleft()
        if not self._read:
            self._fill()
        return event

    def due(self) -> List[Due]:
        """The events whose time has come, each with the moment it was due on the steady clock."""
        released = []
        now_ns = self._clock()
        while self._read and self._release_ns(self._read[0]) <= now_ns:
            self._last_release_ns = self._release_ns(self._read[0])
            self._last_stamp_ns = self._read[0].stamp_ns
            released.append((self._last_release_ns, self._take()))
        return released

    def until_frame(self) -> List[Due]:
        """The next frame and what lies before it, at once: the pace of whoever waits for the stages."""
        released = []
        while self._read:
            event = self._take()
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
