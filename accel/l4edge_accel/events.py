"""One engine at work on one block of a layer, event by event: the recursion of ``cycles`` driven by a shared memory."""

import heapq
from collections import deque
from typing import Deque, List, NamedTuple, Optional, Sequence, Tuple

from l4edge_accel.cycles import TileCounts, TileTimes
from l4edge_accel.memory import Channel, MemorySystem, Server

ACTIVATIONS, WEIGHTS, OUTPUTS = range(3)
STREAMS = 3
"""Streams of an engine: two that read, one that writes."""

STALLS = ("fill", "activations", "weights", "outputs", "memory", "drain")
"""Why an engine does not compute: nothing has arrived yet; the port is too narrow for activations or for weights; the
buffers of sums are full; a stream waits for the memory; the last results leave."""
FILL, MEMORY, DRAIN = 0, 4, 5

Event = Tuple[int, int]
"""Cycle, and whose turn it is: stream of an engine, or what the simulator numbers after them. The smaller goes first,
so that what happens in the same cycle has an order that does not depend on how the simulation came there."""


class Block(NamedTuple):
    """A block of a layer: its tiles, their cycles, and what a beat of each stream costs the memory, in ticks."""

    counts: TileCounts
    times: TileTimes
    ticks: Tuple[int, int, int]

    def beats(self) -> Tuple[int, int, int]:
        """Beats of the three streams."""
        passes = self.counts.passes
        return (
            passes * self.times.activations, passes * self.times.weights, self.counts.row_tiles * self.times.output
        )


class BlockRun(NamedTuple):
    """What became of a block; times are cycles since its start.

    Attributes:
        cycles: until its last result has left, and the memory has taken it.
        busy: cycles in which the array computes.
        stalls: all other cycles, by ``STALLS``; they and ``busy`` sum to ``cycles``.
        waits: cycles of transfers beyond a beat a cycle, by stream.
        compute: first start and last end.
        transfers: the same for each stream.
    """

    cycles: int
    busy: int
    stalls: Tuple[int, ...]
    waits: Tuple[int, ...]
    compute: Tuple[int, int]
    transfers: Tuple[Tuple[int, int], ...]


class Machine:
    """An engine. ``events`` is where it puts its own; whoever takes them out calls :meth:`event`."""

    def __init__(self, index: int, memory: MemorySystem, server: Server) -> None:
        self.index = index
        self.events: List[Event] = []
        self._memory = memory
        self._server = server

    def start(self, block: Block, now: int, latencies: Optional[Sequence[Sequence[int]]] = None) -> None:
        """Start a block in cycle ``now``; ``latencies``: of the bursts of each stream where they are drawn."""
        self._block, self._begun = block, now
        self._channels = [
            Channel(
                self._memory, self._server, beats, block.ticks[stream], stream == OUTPUTS,
                latencies[stream] if latencies else None,
            )
            for stream, beats in enumerate(block.beats())
        ]  # fmt: skip
        self._moving = [False] * STREAMS
        self._started = [0] * STREAMS  # transfers
        self._done = [0] * STREAMS
        self._ends = [now] * STREAMS  # of the last complete transfer
        self._before = now  # end of the output before the last complete one
        self._loaded: Deque[Tuple[int, int]] = deque()  # passes that wait: when they were there, what they waited for
        self._held: Deque[Tuple[int, int]] = deque()
        self._sums: Deque[int] = deque()  # rows whose sums are or will be complete: when
        self._computed = 0
        self._compute_start, self._compute_end, self._compute_before = now, now, now
        self._finishing = False
        self._stalls = [0] * len(STALLS)
        self._waits = [0] * STREAMS
        self._firsts = [-1] * (STREAMS + 1)
        for channel in self._channels:
            channel.open(now)
        self._advance()

    def event(self, stream: int, now: int) -> bool:
        """Part of a transfer of ``stream`` has passed. Returns whether the block is complete."""
        if self._finishing:
            return True
        channel = self._channels[stream]
        end = channel.passed()
        if end is not None:
            self._push(end, stream)
            return False
        self._moving[stream] = False
        self._done[stream] += 1
        waited = channel.waited
        self._waits[stream] += waited
        if stream == OUTPUTS:
            self._before = self._ends[OUTPUTS]
            if self._done[OUTPUTS] == self._block.counts.row_tiles:
                self._ends[OUTPUTS] = now
                self._finishing = True
                if channel.taken == now:
                    return True
                self._push(channel.taken, OUTPUTS)
                return False
        else:
            (self._loaded if stream == ACTIVATIONS else self._held).append((now, waited))
        self._ends[stream] = now
        self._advance()
        return False

    def outcome(self, now: int) -> BlockRun:
        """What became of the block that was complete in cycle ``now``."""
        begun, block = self._begun, self._block
        stalls = list(self._stalls)
        stalls[DRAIN] = now - self._compute_end
        firsts = [first - begun for first in self._firsts]
        return BlockRun(
            now - begun, block.counts.passes * block.times.compute, tuple(stalls), tuple(self._waits),
            (firsts[STREAMS], self._compute_end - begun),
            tuple((first, end - begun) for first, end in zip(firsts, self._ends)),
        )  # fmt: skip

    def _push(self, time: int, stream: int) -> None:
        heapq.heappush(self.events, (time, STREAMS * self.index + stream))

    def _advance(self) -> None:
        """Start all that can start, now that something else is known."""
        while self._load() or self._hold() or self._compute() or self._send():
            pass

    def _begin(self, stream: int, start: int, beats: int) -> bool:
        if not self._started[stream]:
            self._firsts[stream] = start
        self._started[stream] += 1
        self._moving[stream] = True
        self._push(self._channels[stream].begin(start, beats), stream)
        return True

    def _load(self) -> bool:
        """Activations of a pass go into the buffer that the pass before the last one has read."""
        tile = self._started[ACTIVATIONS]
        if self._moving[ACTIVATIONS] or tile == self._block.counts.passes or tile > self._computed + 1:
            return False
        free = self._compute_end if tile == self._computed + 1 else self._compute_before
        return self._begin(ACTIVATIONS, max(self._ends[ACTIVATIONS], free), self._block.times.activations)

    def _hold(self) -> bool:
        """Weights of a pass go into the registers beside those that the last one took when it started."""
        tile = self._started[WEIGHTS]
        if self._moving[WEIGHTS] or tile == self._block.counts.passes or tile > self._computed:
            return False
        return self._begin(WEIGHTS, max(self._ends[WEIGHTS], self._compute_start), self._block.times.weights)

    def _compute(self) -> bool:
        if not (self._loaded and self._held):
            return False
        counts, times = self._block.counts, self._block.times
        row, tile = divmod(self._computed, counts.input_tiles)
        room = self._begun
        if tile == 0 and row >= 2:
            if self._done[OUTPUTS] < row - 1:
                return False
            room = self._ends[OUTPUTS] if self._done[OUTPUTS] == row - 1 else self._before
        loaded, held = self._loaded.popleft(), self._held.popleft()
        start = max(loaded[0], held[0], room, self._compute_end)
        self._account(start, (loaded, held, (room, 0)))
        if not self._computed:
            self._firsts[STREAMS] = start
        self._computed += 1
        self._compute_before, self._compute_start, self._compute_end = self._compute_end, start, start + times.compute
        if tile == counts.input_tiles - 1:
            self._sums.append(start + times.depth)
        return True

    def _account(self, start: int, causes: Sequence[Tuple[int, int]]) -> None:
        """Say what the cycles were lost to in which nothing was computed before ``start``."""
        gap = start - self._compute_end
        if gap <= 0:
            return
        cause = max(range(STREAMS), key=lambda stream: causes[stream][0])
        memory = min(gap, causes[cause][1])
        self._stalls[MEMORY] += memory
        self._stalls[1 + cause if self._computed else FILL] += gap - memory

    def _send(self) -> bool:
        if self._moving[OUTPUTS] or not self._sums:
            return False
        start = max(self._sums.popleft(), self._ends[OUTPUTS])
        return self._begin(OUTPUTS, start + 1, self._block.times.output)
