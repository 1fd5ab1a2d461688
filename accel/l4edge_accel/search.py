"""The fastest accelerator for one activation width: all tiles, lanes and port splits of a grid that fit a board."""

from dataclasses import dataclass, replace
from typing import Dict, Iterator, List, Mapping, Optional, Sequence, Tuple

import numpy as np

from l4edge_accel.configuration import MOST_GROUPS, AcceleratorConfig, EngineConfig
from l4edge_accel.design_space import LEAST_END_BITS, PORT_SPLITS, attention_engines, linear_engines
from l4edge_accel.devices import Device
from l4edge_accel.formats import number_format
from l4edge_accel.grid_cost import grid_cycles
from l4edge_accel.limits import Limits, vector
from l4edge_accel.network_cost import Assumptions, NetworkCost, network_cost, runs
from l4edge_accel.resources import (
    Resources,
    array_resources,
    buffer_resources,
    control_resources,
    engine_resources,
)
from l4edge_accel.workload import Gemm, Workload
from l4edge_perception.errors import InputError

LEAST_SHARE = 0.3
"""Engines with fewer multipliers than this share of the largest that fits are not looked at."""

Evaluated = Tuple[np.ndarray, np.ndarray, List[EngineConfig]]
"""(E,) cycles, (E, 3) resources, E engines."""


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
        simulated_fps: frames a second of the event simulation, one layer after the other, with the memory that all
            streams share; None where it was not simulated.
    """

    activation_bits: int
    accelerator: AcceleratorConfig
    cost: NetworkCost
    resources: Resources
    utilization: Mapping[str, float]
    binding: str
    simulated_fps: Optional[float] = None

    @property
    def frames_per_second(self) -> float:
        """The lower of the rates that are known: of the cost model, and of the simulation."""
        predicted = self.cost.frames_per_second
        return predicted if self.simulated_fps is None else min(predicted, self.simulated_fps)


class Search:
    """One compilation; remembers what several widths have in common."""

    def __init__(
        self, workload: Workload, weights: Optional[Mapping[str, float]], board: Device, clock_hz: float,
        limits: Limits, assumptions: Assumptions,
    ) -> None:
        self.workload = workload
        self.weights = weights
        self.formats = declared_formats(workload) if weights is None else dict(weights)
        for name in self.formats:
            number_format(name)  # an unknown one is refused before anything is searched
        if not 1 <= len(self.formats) <= MOST_GROUPS:
            given = ", ".join(self.formats) or "none"
            raise InputError(f"{workload.name}: an engine has 1 to {MOST_GROUPS} weight formats; given are {given}")
        self.board = board
        self.clock_hz = clock_hz
        self.limits = limits
        self.assumptions = assumptions
        self.room = limits.room(board, workload)
        self._of_array: Dict[Tuple[object, ...], np.ndarray] = {}
        self._of_attention: Dict[Tuple[int, Tuple[int, int, int]], Optional[Evaluated]] = {}

    def best(self, width: int) -> Optional[Design]:
        """The fastest design for one activation width, or None where nothing fits."""
        quantized = reformatted(self.workload, self.weights, width)
        # Each layer has its engine, and engines work in turns: their times simply add.
        with_weights = [gemm.name for gemm in quantized.gemms if not gemm.of_activations]
        ends = {with_weights[0], with_weights[-1]} if self.weights is not None and len(with_weights) > 2 else set()
        apart = [gemm for gemm in quantized.gemms if gemm.of_activations or gemm.name in ends]
        others = _shapes(apart)
        linear = _shapes([gemm for gemm in quantized.gemms if not (gemm.of_activations or gemm.name in ends)])
        best: Optional[Tuple[float, Tuple[EngineConfig, ...]]] = None
        for split in PORT_SPLITS:
            first = self._evaluated(linear_engines(self.formats, width, linear, split, self.board), linear)
            key = (max(LEAST_END_BITS, width), split)
            if key not in self._of_attention:
                engines = attention_engines(key[0], others, split, self.board)
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
        # What an engine can run is a matter of its formats and bits, and few engines of a grid differ in these.
        kinds: Dict[Tuple[object, ...], bool] = {}
        able: List[Tuple[int, EngineConfig]] = []
        for engine in engines:
            kind = (engine.activation_bits, *(group.format for group in engine.groups))
            if kind not in kinds:
                kinds[kind] = all(runs(gemm, engine) for gemm, _ in layers)
            if kinds[kind]:
                able.append((engine.macs_per_cycle, engine))
        able.sort(key=lambda pair: -pair[0])
        needs: List[np.ndarray] = []
        kept: List[EngineConfig] = []
        least = 0.0
        for macs, engine in able:
            if macs < least:
                break
            need = self._needs(engine)
            if (need > self.room).any():
                continue
            least = least or LEAST_SHARE * macs
            needs.append(need)
            kept.append(engine)
        if not kept:
            return None
        cycles = grid_cycles(layers, kept, self.board, self.clock_hz, self.assumptions)
        return cycles.astype(float), np.array(needs), kept

    def _needs(self, engine: EngineConfig) -> np.ndarray:
        """(3,) as ``vector(engine_resources(engine))``. Array and buffers do not depend on how ports are split."""
        key = (engine.groups, engine.inputs, engine.lanes, engine.activation_bits, engine.accumulator_bits)
        if key not in self._of_array:
            self._of_array[key] = vector(array_resources(engine) + buffer_resources(engine))
        return self._of_array[key] + vector(control_resources(engine))

    def _design(self, width: int, quantized: Workload, engines: Tuple[EngineConfig, ...]) -> Design:
        board = self.board
        accelerator = AcceleratorConfig(f"{quantized.name}-a{width}", board.name, self.clock_hz, engines)
        cost = network_cost(quantized, accelerator, self.assumptions)
        resources = sum((engine_resources(engine) for engine in engines), self.limits.taken(self.workload))
        used = vector(resources) / np.array([board.luts, board.dsps, board.bram18])
        utilization = dict(zip(("luts", "dsps", "bram18"), used.tolist()))
        return Design(width, accelerator, cost, resources, utilization, _binding(cost, utilization, self.limits))


def _shapes(all_gemms: Sequence[Gemm]) -> List[Tuple[Gemm, int]]:
    """The different matrix products and how often each comes."""
    found: Dict[Tuple[object, ...], List[Gemm]] = {}
    for gemm in all_gemms:
        key = (
            gemm.outputs, gemm.inputs, gemm.tokens, gemm.repeats, gemm.activation_bits, gemm.kernel, gemm.fetched,
            *gemm.weight_rows.items(),
        )
        found.setdefault(key, []).append(gemm)
    return [(gemms[0], len(gemms)) for gemms in found.values()]


def reformatted(workload: Workload, weights: Optional[Mapping[str, float]], width: Optional[int]) -> Workload:
    """A workload with weights of other formats (None: its own) and activations of ``width`` bits (None: its own, or 8).

    With other weights, the first and the last layer get fixed point of 8 bits, or as many as the activations have.
    """
    if weights is not None:
        bits = max(LEAST_END_BITS, width or LEAST_END_BITS)
        return workload.quantized(weights, width or LEAST_END_BITS, {f"fixed{bits}": 1.0}, bits)
    changed = (
        replace(operation, activation_bits=width or operation.activation_bits)
        if isinstance(operation, Gemm) else operation
        for operation in workload.operations
    )
    return replace(workload, operations=tuple(changed))


def declared_formats(workload: Workload) -> Dict[str, float]:
    """Share of each weight format in a workload's multiply-accumulates, products of activations left out."""
    work: Dict[str, float] = {}
    for gemm in workload.gemms:
        for name, share in gemm.weight_rows.items():
            work[name] = work.get(name, 0.0) + share * gemm.macs
    total = sum(work.values())
    return {name: part / total for name, part in work.items()}


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
