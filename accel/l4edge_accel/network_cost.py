"""Cycles, bytes and limits of a whole network on an accelerator, layer by layer, without simulating it.

Engines work one after another, as in VAQF: what gains is that each suits its layers, not that several run at once
(``simulator`` runs them side by side). GELU, residual sums, rounding and pooling happen while results leave an engine.
Softmax and layer normalization need to see a whole row first; they cost a pass of their own, of ``step_lanes`` values
a cycle. All of this is modelled, and the form of the model is this project's own reconstruction.
"""

import math
from dataclasses import dataclass, replace
from typing import Dict, List, Mapping, Optional, Tuple

from l4edge_accel.configuration import AcceleratorConfig, EngineConfig
from l4edge_accel.cycles import TileCounts, TileTimes, closed_form_cycles, tile_counts, tile_times
from l4edge_accel.devices import Device, device
from l4edge_accel.workload import Gemm, Step, Workload
from l4edge_perception.errors import InputError

ROW_STEPS = ("softmax", "layernorm")
"""Steps with a pass of their own."""


WINDOWS, LINE_BUFFER = "windows", "line_buffer"


@dataclass(frozen=True)
class Assumptions:
    """What the model takes for granted.

    Attributes:
        ddr_share: of the memory's peak rate that an accelerator gets.
        step_lanes: values of softmax and layer normalization a cycle.
        step_depth: cycles until the first value of such a step comes out.
        convolutions: "windows": the activation stream carries every kernel window, as the RTL takes it. "line_buffer":
            a tile of input pixels stays on chip and serves one kernel position after the other, as in FILM-QNN; of a
            layer with few channels the columns of the kernel count as channels. Edges of tiles, fetched twice, are not
            counted. Line buffers are modelled; the RTL has none.
        pass_overhead: cycles that each tile pass takes longer than its longest part: designs from high-level synthesis
            drain their pipeline and hand over buffers between passes. The RTL does both during the next pass: 0.
    """

    ddr_share: float = 0.7
    step_lanes: int = 32
    step_depth: int = 32
    convolutions: str = WINDOWS
    pass_overhead: int = 0


@dataclass(frozen=True)
class LayerCost:
    """What one operation costs.

    Attributes:
        name: of the operation.
        engine: that runs it; "steps" for softmax and layer normalization.
        cycles: from its first to its last.
        busy_cycles: of those, cycles in which all multipliers would have sufficed: macs over macs per cycle.
        macs: multiply-accumulates.
        bytes_read, bytes_written: to and from the memory outside.
        bound: what its time is due to: "compute", "activations", "weights", "outputs", "memory" or "steps".
    """

    name: str
    engine: str
    cycles: int
    busy_cycles: float
    macs: int
    bytes_read: int
    bytes_written: int
    bound: str


@dataclass(frozen=True)
class NetworkCost:
    """What an inference costs.

    Attributes:
        workload: its name.
        clock_hz: of the accelerator.
        layers: in order; operations that cost nothing of their own are left out.
    """

    workload: str
    clock_hz: float
    layers: Tuple[LayerCost, ...]

    @property
    def cycles(self) -> int:
        """Of one inference."""
        return sum(layer.cycles for layer in self.layers)

    @property
    def frames_per_second(self) -> float:
        """Inferences a second, one after the other."""
        return self.clock_hz / self.cycles

    @property
    def bytes_moved(self) -> int:
        """To and from the memory outside, for one inference."""
        return sum(layer.bytes_read + layer.bytes_written for layer in self.layers)

    @property
    def utilization(self) -> float:
        """Share of the cycles in which multipliers have work, weighted by layer."""
        return sum(layer.busy_cycles for layer in self.layers) / self.cycles

    def share_by_bound(self) -> Mapping[str, float]:
        """Share of the time that is due to each limit."""
        shares: Dict[str, float] = {}
        for layer in self.layers:
            shares[layer.bound] = shares.get(layer.bound, 0.0) + layer.cycles / self.cycles
        return dict(sorted(shares.items(), key=lambda item: -item[1]))


def network_cost(
    workload: Workload, accelerator: AcceleratorConfig, assumptions: Optional[Assumptions] = None
) -> NetworkCost:
    """Cost of one inference.

    Raises:
        InputError: an operation that none of the accelerator's engines can run, named.
    """
    assumptions = assumptions or Assumptions()
    board = device(accelerator.device)
    layers: List[LayerCost] = []
    for operation in workload.operations:
        if isinstance(operation, Gemm):
            engine = engine_for(operation, accelerator)
            layers.append(gemm_cost(operation, engine, board, accelerator.clock_hz, assumptions))
        elif operation.kind in ROW_STEPS:
            layers.append(step_cost(operation, assumptions))
    return NetworkCost(workload.name, accelerator.clock_hz, tuple(layers))


def engine_for(gemm: Gemm, accelerator: AcceleratorConfig) -> EngineConfig:
    """The engine that runs ``gemm``: of those with room for its formats and activations the one with the fewest passes.

    Raises:
        InputError: there is none.
    """
    able = [engine for engine in accelerator.engines if runs(gemm, engine)]
    if len(able) == 1:
        return able[0]
    if able:
        return min(able, key=lambda engine: _token_passes(gemm, engine))
    wanted = ", ".join(gemm.weight_rows) or f"products of two {gemm.activation_bits}-bit activations"
    raise InputError(
        f"{gemm.name}: no engine of {accelerator.name} for {wanted} with {gemm.activation_bits}-bit activations"
    )


def _token_passes(gemm: Gemm, engine: EngineConfig) -> int:
    counts = tile_counts(engine, rows_by_group(gemm, engine), gemm.inputs, gemm.tokens)
    return counts.passes * counts.token_groups * counts.token_blocks


def runs(gemm: Gemm, engine: EngineConfig) -> bool:
    """Whether ``engine`` can run ``gemm``."""
    formats = {group.format for group in engine.groups}
    if gemm.of_activations:
        widths = [group.number_format.bits for group in engine.groups if group.number_format.kind == "fixed"]
        return gemm.activation_bits <= min([engine.activation_bits, max(widths, default=0)])
    return set(gemm.weight_rows) <= formats and gemm.activation_bits <= engine.activation_bits


def rows_by_group(gemm: Gemm, engine: EngineConfig) -> Tuple[int, ...]:
    """How many of a layer's rows each row group of the engine computes; they sum to ``gemm.outputs``.

    Groups of the same format, on LUTs and on DSPs, share its rows by how many they compute in parallel.
    """
    groups = engine.groups
    if gemm.of_activations:
        widest = max(groups, key=lambda group: group.number_format.bits).format
        wanted: Mapping[str, float] = {widest: 1.0}
    else:
        wanted = gemm.weight_rows
    parallel: Dict[str, int] = {}
    for group in groups:
        parallel[group.format] = parallel.get(group.format, 0) + group.rows
    shares = [wanted.get(group.format, 0.0) * group.rows / parallel[group.format] for group in groups]
    ends = [round(gemm.outputs * sum(shares[: index + 1])) for index in range(len(shares))]
    return tuple(end - begin for begin, end in zip([0, *ends], ends))


def gemm_cost(
    gemm: Gemm, engine: EngineConfig, board: Device, clock_hz: float, assumptions: Assumptions
) -> LayerCost:
    """Cost of a matrix product on an engine."""
    counts, times = layer_tiles(gemm, engine, assumptions)
    cycles = gemm.repeats * closed_form_cycles(counts, times)
    read, written = _traffic(gemm, engine, counts)
    memory = math.ceil((read + written) * clock_hz / (board.ddr_bytes_per_s * assumptions.ddr_share))
    bound = "memory"
    if memory > cycles:
        cycles = memory
    else:
        parts = {
            "compute": times.compute, "activations": times.activations, "weights": times.weights,
            "outputs": times.output / counts.input_tiles,
        }
        bound = max(parts, key=lambda name: parts[name])
    return LayerCost(
        gemm.name, engine.name, cycles, gemm.macs / engine.macs_per_cycle, gemm.macs, read, written, bound
    )


def layer_tiles(gemm: Gemm, engine: EngineConfig, assumptions: Assumptions) -> Tuple[TileCounts, TileTimes]:
    """A layer (one repeat) cut into tiles, and the cycles of one; what analytic model and simulator both start from."""
    rows = rows_by_group(gemm, engine)
    counts = tile_counts(engine, rows, gemm.inputs, gemm.tokens)
    times = tile_times(engine, counts.token_groups)
    if assumptions.convolutions == LINE_BUFFER and gemm.kernel != (1, 1):
        positions = gemm.kernel[0] * gemm.kernel[1]
        channels = gemm.inputs // positions
        passes = min(
            positions * math.ceil(channels / engine.inputs),
            gemm.kernel[0] * math.ceil(channels * gemm.kernel[1] / engine.inputs),
        )
        # Pixels are fetched once for each tile of rows, and serve all passes over it.
        beats = math.ceil(gemm.fetched / counts.token_blocks / engine.activations_per_beat / passes)
        counts, times = replace(counts, input_tiles=passes), times._replace(activations=beats)
    longer = assumptions.pass_overhead
    return counts, times._replace(
        activations=times.activations + longer, weights=times.weights + longer, compute=times.compute + longer
    )


def _traffic(gemm: Gemm, engine: EngineConfig, counts: TileCounts) -> Tuple[int, int]:
    """Bytes read and written: activations once for each row tile, weights once for each block of tokens."""
    bits = engine.activation_bits
    if gemm.of_activations:
        weights = gemm.weight_elements * bits
    else:
        widths = {group.format: group.number_format.bits for group in engine.groups}
        weights = int(gemm.weight_elements * sum(share * widths[name] for name, share in gemm.weight_rows.items()))
    read = gemm.input_elements * bits * counts.row_tiles + weights * counts.token_blocks
    return math.ceil(read / 8), math.ceil(gemm.output_elements * min(engine.output_bits, 32) / 8)


def step_cost(step: Step, assumptions: Assumptions) -> LayerCost:
    """Cost of softmax or layer normalization."""
    cycles = math.ceil(step.elements / assumptions.step_lanes) + assumptions.step_depth
    return LayerCost(step.name, "steps", cycles, 0.0, 0, 0, 0, "steps")
