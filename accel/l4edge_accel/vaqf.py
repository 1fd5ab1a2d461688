"""From a network and a frame rate to an activation width and an accelerator, as VAQF (arXiv 2201.06618) does it.

Of the paper only the abstract could be had: structure and frame rate go in, activation precision and the accelerator's
parameters come out. Search, cycles and resources are this project's own. Two engines work in turns: one for linear
layers, whose weights are binary (or in any other format, or mixed by row) and whose arithmetic is logic; one of DSP
blocks for products of two activations in attention, for the patch embedding and for the head.

The frame rate is not monotone in the width: what fits a port's width changes from one to the next. So all widths are
evaluated, and all tiles and port splits of a grid, instead of bisecting.
"""

from dataclasses import dataclass, field, replace
from typing import Dict, Iterator, List, Mapping, Optional, Sequence, Tuple

import numpy as np

from l4edge_accel.configuration import AcceleratorConfig, EngineConfig, RowGroup, accumulator_bits
from l4edge_accel.devices import Device, device
from l4edge_accel.formats import number_format
from l4edge_accel.network_cost import Assumptions, NetworkCost, gemm_cost, network_cost, runs
from l4edge_accel.resources import Resources, engine_resources
from l4edge_accel.workload import Gemm, Workload
from l4edge_perception.errors import InputError

LINEAR, ATTENTION = "linear", "attention"
WIDTHS = tuple(range(1, 17))
"""Activation widths that are looked at, bits."""

ENDS = {"fixed8": 1.0}
"""Weights of the first and the last layer."""

PORT_SPLITS = ((1, 1, 1), (2, 1, 1), (1, 2, 1), (1, 1, 2))
"""Ports for activations, weights and results, of four."""

LINEAR_ROWS = (16, 24, 32, 48, 64, 96, 128, 192, 256)
LINEAR_INPUTS = (16, 24, 32, 48, 64, 96, 128)
ATTENTION_ROWS = (8, 16, 24, 32, 48, 64)
ATTENTION_INPUTS = (16, 32, 64)
LANES = (1, 2, 4)
LEAST_SHARE = 0.3
"""Engines with fewer multipliers than this share of the largest that fits are not looked at."""


Evaluated = Tuple[np.ndarray, np.ndarray, List[EngineConfig]]
"""(E,) cycles, (E, 3) resources, E engines."""


@dataclass(frozen=True)
class Limits:
    """What a design may use of a board, and what stands on it anyway.

    Attributes:
        luts, dsps, bram18: shares. Logic beyond 60 to 70 % is hard to route.
        shell: what is there besides engines: memory access, control, softmax and layer normalization; an assumption.
    """

    luts: float = 0.7
    dsps: float = 0.8
    bram18: float = 0.9
    shell: Resources = field(default_factory=lambda: Resources(luts=20_000, ffs=30_000, dsps=64, bram18=64))

    def of(self, board: Device) -> np.ndarray:
        """(3,) LUTs, DSPs and memory blocks that engines may use."""
        whole = np.array([board.luts * self.luts, board.dsps * self.dsps, board.bram18 * self.bram18])
        return whole - _vector(self.shell)


@dataclass(frozen=True)
class Design:
    """An accelerator for one activation width.

    Attributes:
        activation_bits: of the linear layers.
        accelerator: what the simulator and the RTL take.
        cost: cycles and bytes by layer, modelled.
        resources: of everything, modelled.
        utilization: share of the board's LUTs, DSPs and memory blocks.
        binding: what keeps it from being faster.
    """

    activation_bits: int
    accelerator: AcceleratorConfig
    cost: NetworkCost
    resources: Resources
    utilization: Mapping[str, float]
    binding: str


@dataclass(frozen=True)
class Answer:
    """What the compiler says.

    Attributes:
        workload, device: names.
        frames_per_second: asked for.
        chosen: the design with the most activation bits that meets it, or None.
        fastest: the fastest of all widths.
        designs: the fastest of each width, narrowest first.
    """

    workload: str
    device: str
    frames_per_second: float
    chosen: Optional[Design]
    fastest: Design
    designs: Tuple[Design, ...]

    @property
    def shortfall(self) -> float:
        """Share of the asked rate that even the fastest design lacks; 0 where it is met."""
        return max(0.0, 1.0 - self.fastest.cost.frames_per_second / self.frames_per_second)


def compile_accelerator(
    workload: Workload,
    frames_per_second: float,
    board: str = "zcu102",
    weights: Optional[Mapping[str, float]] = None,
    *,
    clock_hz: Optional[float] = None,
    limits: Optional[Limits] = None,
    assumptions: Optional[Assumptions] = None,
    widths: Sequence[int] = WIDTHS,
) -> Answer:
    """Find the largest activation width that meets a frame rate, and its accelerator.

    Args:
        workload: what to run; formats are set here.
        frames_per_second: to reach, one inference after the other.
        board: name of a device.
        weights: share of rows in each weight format; None: binary.
        clock_hz: of the accelerator; None: the device's.
        limits: of resources.
        assumptions: of the cost model.
        widths: activation widths to look at.

    Raises:
        InputError: an unknown device or format, a rate that is not above 0, or no design that fits the device at all.
    """
    if not frames_per_second > 0:
        raise InputError(f"frame rate: {frames_per_second} is not above 0")
    target, limits, assumptions = device(board), limits or Limits(), assumptions or Assumptions()
    clock = clock_hz or target.clock_hz
    formats = dict(weights or {"binary": 1.0})
    search = _Search(workload, formats, target, clock, limits, assumptions)
    designs = [found for width in widths if (found := search.best(width)) is not None]
    if not designs:
        raise InputError(f"{target.name}: not even the smallest engines for {workload.name} fit the device")
    meeting = [design for design in designs if design.cost.frames_per_second >= frames_per_second]
    return Answer(
        workload.name,
        target.name,
        frames_per_second,
        max(meeting, key=lambda design: design.activation_bits, default=None),
        max(designs, key=lambda design: design.cost.frames_per_second),
        tuple(designs),
    )


class _Search:
    """One compilation; remembers what several widths have in common."""

    def __init__(
        self, workload: Workload, formats: Mapping[str, float], board: Device, clock_hz: float, limits: Limits,
        assumptions: Assumptions,
    ) -> None:
        self.workload = workload
        self.formats = formats
        self.board = board
        self.clock_hz = clock_hz
        self.limits = limits
        self.assumptions = assumptions
        self.room = limits.of(board)
        self._of_attention: Dict[Tuple[int, Tuple[int, int, int]], Optional[Evaluated]] = {}

    def best(self, width: int) -> Optional[Design]:
        """The fastest design for one activation width, or None where nothing fits."""
        quantized = self.workload.quantized(self.formats, width, ENDS, max(8, width))
        # A layer's formats decide which of the two engines runs it, so their times simply add.
        shapes = _shapes(quantized)
        linear = [(gemm, count) for gemm, count in shapes if not gemm.of_activations and gemm.weight_rows != ENDS]
        others = [(gemm, count) for gemm, count in shapes if gemm.of_activations or gemm.weight_rows == ENDS]
        best: Optional[Tuple[float, Tuple[EngineConfig, ...]]] = None
        for split in PORT_SPLITS:
            first = self._evaluated(_linear_engines(self.formats, width, linear, split, self.board), linear)
            key = (max(8, width), split)
            if key not in self._of_attention:
                engines = _attention_engines(key[0], others, split, self.board)
                # Up to 8 bits the engine is the same, and so are its cycles: products of fewer bits take as long.
                self._of_attention[key] = self._evaluated(engines, others)
            second = self._of_attention[key]
            if (linear and not first) or (others and not second):
                continue
            found = _fastest_pair(first, second, self.room)
            if found and (best is None or found[0] < best[0]):
                best = found
        return None if best is None else self._design(width, quantized, best[1])

    def _evaluated(self, engines: Iterator[EngineConfig], layers: Sequence[Tuple[Gemm, int]]) -> Optional[Evaluated]:
        """Cycles of ``layers`` on each engine that fits the board alone; None where none does."""
        fitting = [(engine, _vector(engine_resources(engine))) for engine in engines]
        fitting = [(engine, need) for engine, need in fitting if (need <= self.room).all()]
        most = max((engine.macs_per_cycle for engine, _ in fitting), default=0)
        cycles: List[int] = []
        needs: List[np.ndarray] = []
        kept: List[EngineConfig] = []
        for engine, need in fitting:
            if engine.macs_per_cycle < LEAST_SHARE * most or not all(runs(gemm, engine) for gemm, _ in layers):
                continue
            costs = [gemm_cost(gemm, engine, self.board, self.clock_hz, self.assumptions) for gemm, _ in layers]
            cycles.append(sum(count * cost.cycles for (_, count), cost in zip(layers, costs)))
            needs.append(need)
            kept.append(engine)
        return (np.array(cycles, float), np.array(needs), kept) if kept else None

    def _design(self, width: int, quantized: Workload, engines: Tuple[EngineConfig, ...]) -> Design:
        board = self.board
        accelerator = AcceleratorConfig(f"{quantized.name}-a{width}", board.name, self.clock_hz, engines)
        cost = network_cost(quantized, accelerator, self.assumptions)
        resources = sum((engine_resources(engine) for engine in engines), self.limits.shell)
        used = _vector(resources) / np.array([board.luts, board.dsps, board.bram18])
        utilization = dict(zip(("luts", "dsps", "bram18"), used.tolist()))
        return Design(width, accelerator, cost, resources, utilization, _binding(cost, utilization, self.limits))


def _shapes(workload: Workload) -> List[Tuple[Gemm, int]]:
    """The different matrix products and how often each comes."""
    found: Dict[Tuple[object, ...], List[Gemm]] = {}
    for gemm in workload.gemms:
        key = (gemm.outputs, gemm.inputs, gemm.tokens, gemm.repeats, gemm.activation_bits, *gemm.weight_rows.items())
        found.setdefault(key, []).append(gemm)
    return [(gemms[0], len(gemms)) for gemms in found.values()]


def _linear_engines(
    formats: Mapping[str, float], width: int, layers: Sequence[Tuple[Gemm, int]], split: Tuple[int, int, int],
    board: Device,
) -> Iterator[EngineConfig]:
    deepest = max((gemm.inputs for gemm, _ in layers), default=1)
    for rows in LINEAR_ROWS if layers else ():
        groups = _groups(formats, rows)
        for inputs in LINEAR_INPUTS:
            for lanes in LANES:
                yield _engine(LINEAR, groups, inputs, lanes, width, deepest, split, board)


def _attention_engines(
    width: int, layers: Sequence[Tuple[Gemm, int]], split: Tuple[int, int, int], board: Device
) -> Iterator[EngineConfig]:
    deepest = max((gemm.inputs for gemm, _ in layers), default=1)
    bits = max(8, width)
    for rows in ATTENTION_ROWS if layers else ():
        # Two products of 8 bits that share an operand fit one DSP block; wider ones do not.
        groups = (RowGroup("fixed8" if bits == 8 else f"fixed{bits}", rows, "dsp", 2 if bits == 8 else 1),)
        if bits > 8:
            groups = (RowGroup("fixed8", rows, "dsp", 1), *groups)
        for inputs in ATTENTION_INPUTS:
            for lanes in LANES:
                yield _engine(ATTENTION, groups, inputs, lanes, bits, deepest, split, board)


def _groups(formats: Mapping[str, float], rows: int) -> Tuple[RowGroup, ...]:
    """Rows of a tile by format, in the ratio of the layers' rows, at least one each."""
    counts = {name: max(1, round(rows * share)) for name, share in formats.items() if share > 0}
    largest = max(counts, key=lambda name: counts[name])
    counts[largest] += rows - sum(counts.values())
    return tuple(
        RowGroup(name, count, "dsp" if _on_dsps(name) else "lut", 2 if _on_dsps(name) else 1)
        for name, count in counts.items()
        if count > 0
    )


def _on_dsps(name: str) -> bool:
    """Fixed-point weights go to DSP blocks, as in RMSMP and FILM-QNN; all others are logic."""
    return number_format(name).kind == "fixed"


def _engine(
    name: str, groups: Tuple[RowGroup, ...], inputs: int, lanes: int, bits: int, deepest: int,
    split: Tuple[int, int, int], board: Device,
) -> EngineConfig:
    engine = EngineConfig(
        name, groups, inputs, lanes, bits, True, 48, bits, *split, port_bits=board.port_bits, tokens=256
    )
    return replace(engine, accumulator_bits=accumulator_bits(engine, max(deepest, inputs)))


def _fastest_pair(
    first: Optional[Evaluated], second: Optional[Evaluated], room: np.ndarray
) -> Optional[Tuple[float, Tuple[EngineConfig, ...]]]:
    """The engines, one of each kind, that take the fewest cycles and fit together."""
    if first is None or second is None:
        only = first or second
        if only is None:
            return None
        index = int(only[0].argmin())
        return float(only[0][index]), (only[2][index],)
    fits = (first[1][:, None] + second[1][None] <= room).all(axis=2)
    if not fits.any():
        return None
    total = np.where(fits, first[0][:, None] + second[0][None], np.inf)
    one, other = np.unravel_index(int(total.argmin()), total.shape)
    return float(total[one, other]), (first[2][one], second[2][other])


def _binding(cost: NetworkCost, utilization: Mapping[str, float], limits: Limits) -> str:
    """What most of the time is due to; for arithmetic, the resource that is nearest to its limit."""
    bound = next(iter(cost.share_by_bound()))
    if bound != "compute":
        words = {"memory": "memory bandwidth", "steps": "softmax and layer normalization"}
        return words.get(bound, f"port for {bound}")
    caps = {"luts": limits.luts, "dsps": limits.dsps, "bram18": limits.bram18}
    nearest = max(caps, key=lambda name: utilization[name] / caps[name])
    return {"luts": "LUTs", "dsps": "DSP blocks", "bram18": "memory blocks"}[nearest]


def _vector(resources: Resources) -> np.ndarray:
    return np.array([resources.luts, resources.dsps, resources.bram18], float)
