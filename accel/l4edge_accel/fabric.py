"""Engines that share a memory: starts blocks on them, and knows blocks again that have run before."""

import heapq
from typing import Dict, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from l4edge_accel.cycles import MemoryModel, random_streams
from l4edge_accel.events import OUTPUTS, STREAMS, Block, BlockRun, Event, Machine
from l4edge_accel.memory import TICKS, MemorySystem, Server


class _Known(NamedTuple):
    """A block that ran alone: its outcome, and what it left of the server: when it is free, relative to the end."""

    outcome: BlockRun
    free: int
    served: int


class _Replay(NamedTuple):
    """A block that is not walked through, as it is known: how it began, and how it will end."""

    block: Block
    start: int
    server: Tuple[int, int]
    known: _Known


class Fabric:
    """All engines, their memory, and the events to come.

    A block that starts while all other engines are idle is walked through on its own, at once and to its end; only
    that end becomes an event. Where the same block starts again alone, and the memory is as far behind as then, the
    outcome is copied. If another engine starts before that end, the block's walk up to that moment is done again
    and its events join the others'. ``recall`` False: always walk with the others.
    """

    def __init__(self, count: int, memory: MemorySystem, recall: bool = True) -> None:
        self.memory = memory
        self.events: List[Event] = []
        self._server = Server()
        self._machines = [Machine(index, memory, self._server) for index in range(count)]
        self._busy = [False] * count
        self._replays: List[Optional[_Replay]] = [None] * count
        self._known: Dict[Tuple[Block, int], _Known] = {}
        self._recall = recall and not memory.random
        self._generator = np.random.default_rng(memory.seed)

    @property
    def served_cycles(self) -> float:
        """Cycles that the memory has spent serving."""
        return self._server.served / TICKS

    def push(self, time: int, turn: int) -> None:
        """Add an event of somebody else."""
        heapq.heappush(self.events, (time, turn))

    def idle(self, index: int) -> bool:
        """Whether an engine has no block."""
        return not self._busy[index]

    def start(self, index: int, block: Block, moment: Event) -> None:
        """Start a block on an idle engine. ``moment``: the event that is being dealt with."""
        alone = not any(self._busy)
        self._busy[index] = True
        if alone and self._recall:
            self._start_alone(index, block, moment[0])
            return
        for other, replay in enumerate(self._replays):
            if replay is not None:
                self._walk_until(other, replay, moment)
        machine = self._machines[index]
        machine.events = self.events
        machine.start(block, moment[0], self._latencies(block))

    def event(self, moment: Event) -> Optional[BlockRun]:
        """Deal with an event of an engine. Returns the outcome if its block is complete."""
        time, turn = moment
        index, stream = divmod(turn, STREAMS)
        replay = self._replays[index]
        if replay is not None:
            self._replays[index] = None
            self._busy[index] = False
            self._server.free = time * TICKS + replay.known.free
            self._server.served += replay.known.served
            return replay.known.outcome
        machine = self._machines[index]
        if not machine.event(stream, time):
            return None
        self._busy[index] = False
        return machine.outcome(time)

    def _start_alone(self, index: int, block: Block, now: int) -> None:
        server = self._server
        before = (server.free, server.served)
        key = (block, max(0, server.free - now * TICKS))
        known = self._known.get(key)
        if known is None:
            machine = self._machines[index]
            machine.events = []
            machine.start(block, now)
            done = False
            while not done:
                time, turn = heapq.heappop(machine.events)
                done = machine.event(turn % STREAMS, time)
            known = _Known(machine.outcome(time), server.free - time * TICKS, server.served - before[1])
            self._known[key] = known
            server.free, server.served = before
        self._replays[index] = _Replay(block, now, before, known)
        self.push(now + known.outcome.cycles, STREAMS * index + OUTPUTS)

    def _walk_until(self, index: int, replay: _Replay, moment: Event) -> None:
        """Take back the end of a block that was known, and walk through it until ``moment``."""
        self._replays[index] = None
        # In place: other engines hold the same list.
        self.events[:] = [event for event in self.events if event[1] // STREAMS != index]
        self._server.free, self._server.served = replay.server
        machine = self._machines[index]
        machine.events = []
        machine.start(replay.block, replay.start)
        while machine.events[0] < moment:
            _ = machine.event(machine.events[0][1] % STREAMS, heapq.heappop(machine.events)[0])
        self.events += machine.events
        heapq.heapify(self.events)
        machine.events = self.events

    def _latencies(self, block: Block) -> Optional[Sequence[Sequence[int]]]:
        """Latencies of every burst of the three streams, where they are random."""
        memory = self.memory
        if not memory.random:
            return None
        most = memory.most_latency if memory.most_latency is not None else memory.latency
        model = MemoryModel(memory.burst_beats, memory.latency, most)
        streams = random_streams(model, block.counts, block.times, self._generator)
        return [[int(pause) for pause in stream.pauses] for stream in streams if stream.pauses is not None]
