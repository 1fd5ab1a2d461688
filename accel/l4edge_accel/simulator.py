"""Whole networks on an accelerator, tile by tile: engines side by side, inferences side by side, one memory for all.

Each engine walks through the recursion of ``cycles``; with one engine, one layer and an unlimited memory the cycles are
those of ``cycles.timeline``, and so of the RTL. What is added is the memory that streams share (``memory``), a unit
for softmax and layer normalization, and a scheduler: the earliest inference, and in it the earliest operation, gets the
first idle engine that can run it.

An engine that works alone is not walked through again if the same block has run before with the memory as far behind
as it is now. That is exact: the walk knows no clock, only differences of times, and takes whole numbers only, so equal
beginnings have equal ends. If another engine starts meanwhile, the walk is made up for until then (``fabric``). Random
latencies have no equal beginnings; then everything is walked through.
"""

import bisect
import heapq
import math
from collections import deque
from dataclasses import dataclass, replace
from typing import Deque, Dict, List, Mapping, Optional, Sequence, Tuple

from l4edge_accel.configuration import AcceleratorConfig, EngineConfig
from l4edge_accel.devices import device
from l4edge_accel.events import STREAMS, Block, Event
from l4edge_accel.fabric import Fabric
from l4edge_accel.memory import MemorySystem, check_memory, memory_of
from l4edge_accel.network_cost import ROW_STEPS, Assumptions, engine_for, gemm_cost, layer_tiles, runs, step_cost
from l4edge_accel.schedule import Plan, plan
from l4edge_accel.simulation_results import EngineRun, Simulation
from l4edge_accel.tallies import Tally
from l4edge_accel.workload import Gemm, Operation, Step, Workload
from l4edge_perception.errors import InputError

STEPS = "steps"
"""Name of the unit for softmax and layer normalization."""


def simulate(
    workload: Workload,
    accelerator: AcceleratorConfig,
    memory: Optional[MemorySystem] = None,
    assumptions: Optional[Assumptions] = None,
    inferences: int = 1,
    interval_cycles: int = 0,
    *,
    side_by_side: bool = True,
    dependencies: Optional[Mapping[str, Sequence[str]]] = None,
    recall: bool = True,
) -> Simulation:
    """Run a workload on an accelerator, event by event.

    Args:
        workload: of one inference, with its formats.
        accelerator: what the compiler wrote.
        memory: that its streams share; None: ``memory_of(accelerator)``.
        assumptions: of the cost model, where the simulation takes its bytes and its softmax from.
        inferences: how many there are.
        interval_cycles: between their arrivals.
        side_by_side: whether engines work at the same time; False: in turns, one inference after the other, as
            ``network_cost`` has it.
        dependencies: see ``schedule.plan``.
        recall: False: walk through everything. The result is the same.

    Raises:
        InputError: no engine for an operation, or arguments that make no sense.
    """
    if inferences < 1 or interval_cycles < 0:
        raise InputError("a simulation needs at least one inference, and an interval that is not negative")
    if not workload.operations:
        raise InputError(f"{workload.name}: nothing to simulate")
    assumptions = assumptions or Assumptions()
    memory = check_memory(memory or memory_of(accelerator, assumptions))
    order = plan(workload, dependencies, split=side_by_side)
    run = _Run(workload, accelerator, memory, assumptions, order, side_by_side, recall)
    return run.simulate([number * interval_cycles for number in range(inferences)])


@dataclass(frozen=True)
class _Job:
    """A part of an operation on an engine; ``begin``: of its block that runs, ``left``: blocks after that one."""

    inference: int
    index: int
    part: int
    begin: int
    left: int = 0


class _Run:
    """One simulation."""

    def __init__(
        self, workload: Workload, accelerator: AcceleratorConfig, memory: MemorySystem, assumptions: Assumptions,
        order: Plan, side_by_side: bool, recall: bool,
    ) -> None:  # fmt: skip
        self.workload, self.accelerator, self.assumptions, self.plan = workload, accelerator, assumptions, order
        self.memory, self.side_by_side = memory, side_by_side
        self.fabric = Fabric(len(accelerator.engines), memory, recall)
        self.steps_turn = STREAMS * len(accelerator.engines)
        self.jobs: Dict[int, _Job] = {}  # by engine; that of the steps has the number after them
        self.ready: Dict[Tuple[int, int], Deque[int]] = {}
        self.queue: List[Tuple[int, int]] = []  # keys of ``ready``, the earliest first
        self.tallies: Dict[Tuple[int, int], Tally] = {}
        self.blocks: Dict[Tuple[int, int], Block] = {}
        self.bytes: Dict[int, Tuple[int, int]] = {}  # read and written, by operation
        self.busy = [0] * (len(accelerator.engines) + 1)
        self.occupied = [0] * (len(accelerator.engines) + 1)
        self.followers: List[List[int]] = [[] for _ in workload.operations]
        for index, before in enumerate(order.follows):
            for other in before:
                self.followers[other].append(index)
        self.able = [self._able(operation) for operation in workload.operations]

    def _able(self, operation: Operation) -> Tuple[int, ...]:
        """Engines that can run an operation, by number."""
        engines = self.accelerator.engines
        if isinstance(operation, Step):
            return (len(engines),) if operation.kind in ROW_STEPS else ()
        first = engines.index(engine_for(operation, self.accelerator))
        if not self.side_by_side:
            return (first,)
        return tuple(index for index, engine in enumerate(engines) if index == first or runs(operation, engine))

    def simulate(self, arrivals: Sequence[int]) -> Simulation:
        """Run until nothing is left."""
        for number, arrival in enumerate(arrivals):
            self.fabric.push(arrival, self.steps_turn + 1 + number)
        events = self.fabric.events
        while events:
            moment = heapq.heappop(events)
            if self._deal_with(moment):
                self._dispatch(moment)
        last = moment[0]
        ends = [
            max(tally.end for (inference, _), tally in self.tallies.items() if inference == number)
            for number in range(len(arrivals))
        ]
        return self._results(arrivals, ends, last)

    def _deal_with(self, moment: Event) -> bool:
        """Returns whether something is there now, or idle, that was not."""
        time, turn = moment
        if turn < self.steps_turn:
            run = self.fabric.event(moment)
            if run is None:
                return False
            engine = turn // STREAMS
            job = self.jobs.pop(engine)
            block = self.blocks[job.index, engine]
            self.tallies[job.inference, job.index].add(job.begin, run, block.beats())
            self.busy[engine] += run.busy
            self.occupied[engine] += run.cycles
            if job.left:
                self.jobs[engine] = replace(job, begin=time, left=job.left - 1)
                self.fabric.start(engine, block, moment)
                return False
            self._part_done(job, time)
        elif turn == self.steps_turn:
            job = self.jobs.pop(len(self.accelerator.engines))
            self.tallies[job.inference, job.index].add_step(job.begin, time)
            self.busy[-1] += time - job.begin
            self.occupied[-1] += time - job.begin
            self._part_done(job, time)
        else:
            self._arrive(turn - self.steps_turn - 1, time)
        return True

    def _arrive(self, inference: int, time: int) -> None:
        for index, before in enumerate(self.plan.follows):
            self.tallies[inference, index] = Tally(len(before), self.plan.parts[index])
        for index, before in enumerate(self.plan.follows):
            if not before:
                self._release(inference, index, range(self.plan.parts[index]), time)

    def _release(self, inference: int, index: int, parts: Sequence[int], time: int) -> None:
        """Parts of an operation may run; one that costs nothing is over at once."""
        if not self.able[index]:
            for part in parts:
                self._part_done(_Job(inference, index, part, time), time)
            return
        key = (inference, index)
        if key not in self.ready:
            self.ready[key] = deque()
            bisect.insort(self.queue, key)
        self.ready[key].extend(parts)

    def _part_done(self, job: _Job, time: int) -> None:
        tally = self.tallies[job.inference, job.index]
        tally.left -= 1
        tally.end = time
        for follower in self.followers[job.index]:
            if self.plan.by_part[follower]:
                self._release(job.inference, follower, (job.part,), time)
            elif tally.left == 0:
                other = self.tallies[job.inference, follower]
                other.waiting -= 1
                if other.waiting == 0:
                    self._release(job.inference, follower, range(self.plan.parts[follower]), time)

    def _dispatch(self, moment: Event) -> None:
        """Give idle engines to what may run."""
        steps = len(self.accelerator.engines)
        if len(self.jobs) > steps or (self.jobs and not self.side_by_side):
            return
        for key in tuple(self.queue):
            parts = self.ready[key]
            for engine in self.able[key[1]]:
                if engine not in self.jobs and parts and (self.side_by_side or not self.jobs):
                    self._start(engine, key, parts.popleft(), moment)
            if not parts:
                del self.ready[key]
                self.queue.remove(key)

    def _start(self, engine: int, key: Tuple[int, int], part: int, moment: Event) -> None:
        inference, index = key
        tally = self.tallies[key]
        tally.start = moment[0] if tally.start < 0 else tally.start
        operation = self.workload.operations[index]
        if isinstance(operation, Step):
            tally.engines.add(STEPS)
            share = replace(operation, elements=math.ceil(operation.elements / self.plan.parts[index]))
            self.jobs[engine] = _Job(inference, index, part, moment[0])
            self.fabric.push(moment[0] + step_cost(share, self.assumptions).cycles, self.steps_turn)
            return
        config = self.accelerator.engines[engine]
        tally.engines.add(config.name)
        if (index, engine) not in self.blocks:
            self.blocks[index, engine] = self._block(index, operation, config)
        block = self.blocks[index, engine]
        self.jobs[engine] = _Job(inference, index, part, moment[0], block.counts.token_blocks - 1)
        self.fabric.start(engine, block, moment)

    def _block(self, index: int, gemm: Gemm, engine: EngineConfig) -> Block:
        counts, times = layer_tiles(gemm, engine, self.assumptions)
        board = device(self.accelerator.device)
        cost = gemm_cost(gemm, engine, board, self.accelerator.clock_hz, self.assumptions)
        self.bytes[index] = (cost.bytes_read, cost.bytes_written)
        # Pixels of a convolution that several windows share pass the port several times, but come from memory once.
        activations = gemm.input_elements * engine.activation_bits * counts.row_tiles / 8
        sizes = (activations, max(0.0, cost.bytes_read - activations), cost.bytes_written)
        beats = Block(counts, times, (0, 0, 0)).beats()
        blocks = gemm.repeats * counts.token_blocks
        first, second, third = (
            self.memory.ticks_per_beat(size, count * blocks) for size, count in zip(sizes, beats)
        )
        return Block(counts, times, (first, second, third))

    def _results(self, arrivals: Sequence[int], ends: Sequence[int], last: int) -> Simulation:
        layers = []
        for (inference, index), tally in sorted(self.tallies.items()):
            operation = self.workload.operations[index]
            if isinstance(operation, Gemm):
                macs, moved = operation.macs, self.bytes[index]
            else:
                macs, moved = 0, (0, 0)
            if self.able[index]:
                layers.append(tally.layer(inference, operation.name, macs, moved))
        names = [*(engine.name for engine in self.accelerator.engines), STEPS]
        engines = [
            EngineRun(name, busy, occupied - busy) for name, busy, occupied in zip(names, self.busy, self.occupied)
        ]
        return Simulation(
            self.workload.name, self.accelerator.name, self.accelerator.clock_hz, last, tuple(arrivals), tuple(ends),
            tuple(layers), tuple(engines), sum(layer.bytes_read + layer.bytes_written for layer in layers),
            self.fabric.served_cycles / last,
        )
