"""What a simulation tells: times in cycles of the accelerator's clock, from the first one on."""

from dataclasses import dataclass
from typing import Mapping, Tuple


@dataclass(frozen=True)
class Span:
    """From a start to an end, with ``busy`` cycles of work, of all engines together."""

    start: int
    end: int
    busy: int


@dataclass(frozen=True)
class LayerRun:
    """An operation of one inference.

    Attributes:
        inference: counted from 0.
        name: of the operation.
        engines: that ran it; ``("steps",)`` for softmax and layer normalization.
        start, end: in cycles.
        occupied: cycles in which engines were taken by it, summed over engines.
        compute: cycles in which arrays compute.
        transfers: cycles in which beats pass, by "activations", "weights" and "outputs".
        stalls: occupied cycles without computation, by reason; with ``compute.busy`` they sum to ``occupied``.
        macs: multiply-accumulates.
        bytes_read, bytes_written: from and to the memory outside.
    """

    inference: int
    name: str
    engines: Tuple[str, ...]
    start: int
    end: int
    occupied: int
    compute: Span
    transfers: Mapping[str, Span]
    stalls: Mapping[str, int]
    macs: int
    bytes_read: int
    bytes_written: int


@dataclass(frozen=True)
class EngineRun:
    """An engine over the whole simulation; cycles. The rest of them it is idle.

    Attributes:
        name: of the engine, or "steps".
        busy: in which it computes. stalled: in which it has a layer, but does not compute.
    """

    name: str
    busy: int
    stalled: int


@dataclass(frozen=True)
class Simulation:
    """What became of a workload.

    Attributes:
        workload, accelerator: names.
        clock_hz: of the accelerator.
        cycles: until the last result of the last inference is in the memory.
        arrivals, ends: of each inference.
        layers: by inference, then in the workload's order; operations that cost nothing of their own are left out.
        engines: of the accelerator, and then "steps".
        bytes_moved: from and to the memory.
        memory_busy: share of the cycles in which the memory serves somebody; 0 for an unlimited one.
    """

    workload: str
    accelerator: str
    clock_hz: float
    cycles: int
    arrivals: Tuple[int, ...]
    ends: Tuple[int, ...]
    layers: Tuple[LayerRun, ...]
    engines: Tuple[EngineRun, ...]
    bytes_moved: int
    memory_busy: float

    @property
    def seconds(self) -> float:
        """Modelled time of everything."""
        return self.cycles / self.clock_hz

    @property
    def frames_per_second(self) -> float:
        """Inferences a second, over the whole simulation."""
        return len(self.ends) / self.seconds

    @property
    def latencies(self) -> Tuple[int, ...]:
        """Cycles from the arrival of each inference to its end."""
        return tuple(end - arrival for arrival, end in zip(self.arrivals, self.ends))

    @property
    def utilization(self) -> Mapping[str, float]:
        """Share of the cycles in which each engine computes."""
        return {engine.name: engine.busy / self.cycles for engine in self.engines}
