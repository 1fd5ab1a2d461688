"""Puts messages that arrive from many publishers into one order that does not depend on who was faster."""

import heapq
from typing import Callable, List, Tuple

Entry = Tuple[int, int, int, bytes]


class ReorderWindow:
    """Holds messages back until those of other topics with earlier stamps have had time to arrive.

    Args:
        write: called as ``write(stamp_ns, topic_index, serialized)`` in order of stamp, then topic.
        window_ns: how far a message may lag behind the newest one, in stamps.
    """

    def __init__(self, write: Callable[[int, int, bytes], None], window_ns: int = 5_000_000_000):
        self._write = write
        self._window_ns = window_ns
        self._held: List[Entry] = []
        self._newest_ns = 0
        self._count = 0

    def add(self, stamp_ns: int, topic_index: int, serialized: bytes) -> None:
        """Take one message; writes those that have become old enough.

        A message without a stamp (of a frame that nobody saw) is written where it arrived.
        """
        stamp_ns = stamp_ns or self._newest_ns
        # The running count keeps messages of equal stamp and topic in the order of their arrival.
        heapq.heappush(self._held, (stamp_ns, topic_index, self._count, serialized))
        self._count += 1
        self._newest_ns = max(self._newest_ns, stamp_ns)
        while self._held and self._held[0][0] < self._newest_ns - self._window_ns:
            self._pop()

    def flush(self) -> None:
        """Write everything that is still held."""
        while self._held:
            self._pop()

    def _pop(self) -> None:
        stamp_ns, topic_index, _, serialized = heapq.heappop(self._held)
        self._write(stamp_ns, topic_index, serialized)
