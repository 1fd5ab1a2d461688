"""The numbers of the accelerator's report, all modelled; ``l4edge_pipeline.report.accelerator`` draws them."""

import re
from dataclasses import dataclass
from typing import Dict, List, Mapping, Optional, Tuple

from l4edge_accel.configuration import AcceleratorConfig
from l4edge_accel.devices import device
from l4edge_accel.limits import Limits
from l4edge_accel.memory import MemorySystem, memory_of
from l4edge_accel.network_cost import Assumptions
from l4edge_accel.resources import Resources, engine_resources
from l4edge_accel.search import reformatted
from l4edge_accel.simulation_results import LayerRun, Simulation
from l4edge_accel.simulator import simulate
from l4edge_accel.vaqf import Answer
from l4edge_accel.workload import Workload

RESOURCES = ("luts", "ffs", "dsps", "bram18")


@dataclass(frozen=True)
class LayerKind:
    """Layers of a network that differ in their number only, such as ``blocks.*.qkv``.

    Attributes:
        name: with stars for numbers. count: of layers, over all inferences. engines: that ran them.
        seconds: that engines were taken by them, all of them together.
        operations: two for each multiply-accumulate. size: bytes moved.
        busy_share: of that time, in which arrays compute.
        stalls: share of that time by reason.
    """

    name: str
    count: int
    engines: Tuple[str, ...]
    seconds: float
    operations: int
    size: int
    busy_share: float
    stalls: Mapping[str, float]

    @property
    def intensity(self) -> float:
        """Operations per byte."""
        return self.operations / self.size if self.size else 0.0

    @property
    def operations_per_s(self) -> float:
        """What was reached."""
        return self.operations / self.seconds


@dataclass(frozen=True)
class WidthPoint:
    """The fastest design of one activation width."""

    activation_bits: int
    frames_per_second: float
    binding: str


@dataclass(frozen=True)
class AcceleratorReport:
    """Everything on the page.

    Attributes:
        accelerator: what was simulated.
        simulation: of it.
        memory: that it had.
        kinds: of layers, the most expensive first.
        roofs: operations a second of each engine when nothing stalls.
        bytes_per_s: of the memory.
        parts: what engines and what stands beside them occupy, by name.
        available, limits: of the device; and the share of each resource that a design may use.
        widths: the fastest design of each activation width, or nothing.
        frames_per_second: asked for, or None.
        activation_bits: of the simulated design.
    """

    accelerator: AcceleratorConfig
    simulation: Simulation
    memory: MemorySystem
    kinds: Tuple[LayerKind, ...]
    roofs: Mapping[str, float]
    bytes_per_s: float
    parts: Mapping[str, Resources]
    available: Resources
    limits: Mapping[str, float]
    widths: Tuple[WidthPoint, ...]
    frames_per_second: Optional[float]
    activation_bits: int


def fitted(workload: Workload, accelerator: AcceleratorConfig, declared: bool = False) -> Workload:
    """``workload`` in the formats of the first engine of ``accelerator``, as the compiler sets them.

    Args:
        workload: to run.
        accelerator: to run it on.
        declared: whether layers keep the weight formats that they have, and get that engine's activation bits only.
    """
    engine = accelerator.engines[0]
    if declared:
        return reformatted(workload, None, engine.activation_bits)
    shares: Dict[str, float] = {}
    for group in engine.groups:
        shares[group.format] = shares.get(group.format, 0.0) + group.rows / engine.rows
    return reformatted(workload, shares, engine.activation_bits)


def accelerator_report(
    workload: Workload,
    accelerator: AcceleratorConfig,
    answer: Optional[Answer] = None,
    *,
    assumptions: Optional[Assumptions] = None,
    limits: Optional[Limits] = None,
    inferences: int = 1,
) -> AcceleratorReport:
    """Simulate ``workload`` and gather what the page shows.

    Args:
        workload: in the formats of the accelerator, see :func:`fitted`.
        accelerator: to run it on.
        answer: of the compiler, for frame rate against width; None: without.
        assumptions: of the cost model.
        limits: that the compiler had.
        inferences: that arrive at once.

    Raises:
        InputError: an operation that no engine can run.
    """
    limits = limits or Limits()
    board = device(accelerator.device)
    memory = memory_of(accelerator, assumptions)
    simulation = simulate(workload, accelerator, memory, assumptions, inferences)
    parts = {engine.name: engine_resources(engine) for engine in accelerator.engines}
    parts["beside"] = limits.taken(workload)
    widths = tuple(
        WidthPoint(design.activation_bits, design.cost.frames_per_second, design.binding)
        for design in (answer.designs if answer else ())
    )
    return AcceleratorReport(
        accelerator, simulation, memory, layer_kinds(simulation),
        {engine.name: 2 * engine.macs_per_cycle * accelerator.clock_hz for engine in accelerator.engines},
        memory.bytes_per_cycle * accelerator.clock_hz, parts,
        Resources(board.luts, board.flip_flops, board.dsps, board.bram18),
        {"luts": limits.luts, "dsps": limits.dsps, "bram18": limits.bram18}, widths,
        answer.frames_per_second if answer else None, accelerator.engines[0].activation_bits,
    )  # fmt: skip


def kind_name(name: str) -> str:
    """A layer's name with stars for numbers that stand alone: ``blocks.*.conv1``."""
    return re.sub(r"(?<![A-Za-z\d])\d+", "*", name)


def layer_kinds(simulation: Simulation) -> Tuple[LayerKind, ...]:
    """Layers by name without their numbers, the most expensive kind first."""
    groups: Dict[str, List[LayerRun]] = {}
    for layer in simulation.layers:
        groups.setdefault(kind_name(layer.name), []).append(layer)
    kinds = [_kind(name, group, simulation.clock_hz) for name, group in groups.items()]
    return tuple(sorted(kinds, key=lambda kind: -kind.seconds))


def _kind(name: str, group: List[LayerRun], clock_hz: float) -> LayerKind:
    occupied = sum(layer.occupied for layer in group)
    stalls: Dict[str, float] = {}
    for layer in group:
        for reason, cycles in layer.stalls.items():
            stalls[reason] = stalls.get(reason, 0.0) + cycles / occupied
    return LayerKind(
        name, len(group), tuple(sorted({engine for layer in group for engine in layer.engines})), occupied / clock_hz,
        2 * sum(layer.macs for layer in group), sum(layer.bytes_read + layer.bytes_written for layer in group),
        sum(layer.compute.busy for layer in group) / occupied,
        dict(sorted(stalls.items(), key=lambda item: -item[1])),
    )  # fmt: skip


def utilization(report: AcceleratorReport) -> Dict[str, float]:
    """Share of the device that everything together occupies, by resource."""
    total = sum(report.parts.values(), Resources())
    return {name: getattr(total, name) / getattr(report.available, name) for name in RESOURCES}
