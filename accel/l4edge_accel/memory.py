"""The memory outside the accelerator as several streams see it: bursts, latency, and one server for all of them.

Requests are served in the order in which they come. No stream has more than a fixed number of bursts under way, so in
a crowd every stream gets its turn, as from an arbiter that goes round. This is this project's own model.
"""

import math
from collections import deque
from dataclasses import dataclass
from typing import Deque, Optional, Sequence, Tuple

from l4edge_accel.configuration import AcceleratorConfig
from l4edge_accel.devices import device
from l4edge_accel.network_cost import Assumptions
from l4edge_perception.errors import InputError

TICKS = 1 << 16
"""The server's time is counted in parts of a cycle, in whole numbers: nothing depends on rounding of floats."""


@dataclass(frozen=True)
class MemorySystem:
    """What engines share.

    Attributes:
        bytes_per_cycle: that all streams together get.
        burst_beats: beats of one burst; a beat is what a stream passes in a cycle.
        latency, most_latency: cycles from when a burst is served until its data is there, each whole number between
            them equally likely; ``most_latency`` None: always ``latency``.
        outstanding: bursts that one stream may have under way.
        seed: of the latencies.
    """

    bytes_per_cycle: float = math.inf
    burst_beats: int = 16
    latency: int = 0
    most_latency: Optional[int] = None
    outstanding: int = 4
    seed: int = 0

    @property
    def unlimited(self) -> bool:
        """Whether no stream ever waits."""
        return math.isinf(self.bytes_per_cycle) and not self.latency and not self.most_latency

    @property
    def random(self) -> bool:
        """Whether latencies differ from burst to burst."""
        return self.most_latency is not None and self.most_latency != self.latency

    def ticks_per_beat(self, size: float, beats: int) -> int:
        """Server ticks of one of ``beats`` beats that carry ``size`` bytes together; never too few."""
        if math.isinf(self.bytes_per_cycle) or not beats:
            return 0
        return math.ceil(TICKS * size / (beats * self.bytes_per_cycle))


UNLIMITED = MemorySystem()


def check_memory(memory: MemorySystem) -> MemorySystem:
    """Return ``memory`` if it can be simulated; InputError names the field otherwise."""
    least = {"burst_beats": 1, "latency": 0, "outstanding": 1}
    for name, value in least.items():
        if getattr(memory, name) < value:
            raise InputError(f"memory: field {name}: must be at least {value}, is {getattr(memory, name)}")
    if not memory.bytes_per_cycle > 0:
        raise InputError(f"memory: field bytes_per_cycle: must be above 0, is {memory.bytes_per_cycle}")
    if memory.most_latency is not None and memory.most_latency < memory.latency:
        raise InputError(f"memory: field most_latency: must be at least {memory.latency}, is {memory.most_latency}")
    return memory


def memory_of(
    accelerator: AcceleratorConfig, assumptions: Optional[Assumptions] = None, latency: int = 40
) -> MemorySystem:
    """The memory of an accelerator's board: a share of its peak rate, and no more than its ports can carry.

    Args:
        accelerator: names the device and the clock.
        assumptions: hold the share.
        latency: cycles; the default is an assumption, not a measurement of a board.
    """
    board, share = device(accelerator.device), (assumptions or Assumptions()).ddr_share
    through_ports = board.ports * board.port_bits / 8
    return MemorySystem(min(board.ddr_bytes_per_s * share / accelerator.clock_hz, through_ports), latency=latency)


class Server:
    """The one thing that all streams share: when it is free again, in ticks."""

    __slots__ = ("free", "served")

    def __init__(self) -> None:
        self.free = 0
        self.served = 0

    def serve(self, now: int, ticks: int) -> Tuple[int, int]:
        """Serve a burst that is asked for in cycle ``now``. Returns when its service starts and ends, in cycles."""
        start = now * TICKS
        start = max(start, self.free)
        self.free = start + ticks
        self.served += ticks
        return -(-start // TICKS), -(-self.free // TICKS)


class Channel:
    """One stream of an engine during one block of a layer: its transfers, cut into bursts.

    Reads are asked for ahead, as their addresses are known from the start. A burst that has passed makes room for the
    request of another; the first beat of a burst passes when it is there, the last not before all of it is. Writes
    pass into a buffer of as many bursts; a full burst is given to the server, and its room is free a latency later.
    """

    __slots__ = (
        "_asked", "_beats", "_burst", "_latencies", "_left", "_memory", "_open", "_server", "_size", "_ticks",
        "_to_ask", "_unlimited", "_written", "end", "now", "transfer_beats", "transfer_start", "want",
    )  # fmt: skip

    def __init__(
        self, memory: MemorySystem, server: Server, beats: int, ticks_per_beat: int, written: bool,
        latencies: Optional[Sequence[int]] = None,
    ) -> None:
        self._memory, self._server, self._written, self._latencies = memory, server, written, latencies
        self._unlimited, self._burst = memory.unlimited, memory.burst_beats
        self._beats = self._to_ask = beats
        self._ticks = ticks_per_beat
        self._left = self._size = 0
        self._asked = 0
        self._open: Deque[Tuple[int, int]] = deque()
        self.want = 0
        self.transfer_beats = 0
        self.transfer_start = 0
        self.now = 0
        self.end = 0

    def open(self, now: int) -> None:
        """The block starts: ask for the first bursts, or count the room there is for the first ones to write."""
        if self._unlimited:
            return
        for _ in range(self._memory.outstanding):
            if self._written:
                self._open.append((now + self._latency(), 0))
            elif self._to_ask:
                self._ask(now)

    def _latency(self) -> int:
        if self._latencies is None:
            return self._memory.latency
        self._asked += 1
        return int(self._latencies[(self._asked - 1) % len(self._latencies)])

    def _ask(self, now: int) -> None:
        beats = self._burst if self._burst < self._to_ask else self._to_ask
        self._to_ask -= beats
        start, end = self._server.serve(now, beats * self._ticks)
        latency = self._latency()
        self._open.append((start + latency, end + latency))

    def begin(self, start: int, beats: int) -> int:
        """A transfer of ``beats`` may begin in cycle ``start``. Returns when its first part has passed."""
        self.transfer_start = self.now = start
        self.transfer_beats = self.want = beats
        return self._part()

    def _part(self) -> int:
        """Choose the next part: up to the end of the transfer or of the burst."""
        if self._unlimited:
            self.end = self.now + self.want
            return self.end
        left, want = self._left, self.want
        if not left:
            burst, beats = self._burst, self._beats
            left = self._left = self._size = burst if burst < beats else beats
        first, last = self._open[0]
        now = self.now
        end = (now if now > first else first) + (want if want < left else left)
        if want >= left and last > end:
            end = last
        self.end = end
        return end

    def passed(self) -> Optional[int]:
        """The part has passed. Returns when the next one will have, or None if the transfer is complete."""
        self.now = self.end
        if self._unlimited:
            self.want = 0
            return None
        part = self.want if self.want < self._left else self._left
        self.want -= part
        self._left -= part
        self._beats -= part
        if not self._left:
            self._open.popleft()
            if self._written:
                _, end = self._server.serve(self.now, self._size * self._ticks)
                self._open.append((end + self._latency(), end))
            elif self._to_ask:
                self._ask(self.now)
        return self._part() if self.want else None

    @property
    def waited(self) -> int:
        """Cycles that the transfer took beyond a beat a cycle."""
        return self.now - self.transfer_start - self.transfer_beats

    @property
    def taken(self) -> int:
        """When the memory has taken the last burst that was written."""
        return max(self.now, self._open[-1][1]) if self._open else self.now
