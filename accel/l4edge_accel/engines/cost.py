"""What one layer costs on one engine: cycles, bytes, seconds, energy; and what the engine occupies."""

from dataclasses import dataclass
from typing import Optional, Sequence, Tuple

from l4edge_accel.configuration import EngineConfig
from l4edge_accel.cycles import MemoryModel, exact_cycles, expected_cycles, tile_counts, tile_times
from l4edge_accel.engines.array import bytes_moved
from l4edge_accel.engines.energy import energy_j
from l4edge_accel.resources import Resources, engine_resources


@dataclass(frozen=True)
class LayerCost:
    """Modelled cost of a layer.

    Attributes:
        cycles: of all passes, fill and drain included; the RTL's if no memory model was given.
        macs: multiply-accumulates that the layer asks for.
        utilization: of the engine's multipliers, 0 to 1.
        bytes_in, bytes_weights, bytes_out: that the streams carry.
        seconds: cycles over clock. energy_j: of a board with this engine alone, see ``engines.energy``.
        resources: of the engine.
    """

    cycles: float
    macs: int
    utilization: float
    bytes_in: int
    bytes_weights: int
    bytes_out: int
    seconds: float
    energy_j: float
    resources: Resources


def layer_cost(
    engine: EngineConfig, rows: Sequence[int], inputs: int, tokens: int, clock_hz: float,
    memory: Optional[MemoryModel] = None,
) -> LayerCost:
    """Cost of a layer of ``sum(rows)`` outputs, by row group; InputError if it does not fit its groups."""
    counts = tile_counts(engine, rows, inputs, tokens)
    times = tile_times(engine, counts.token_groups)
    cycles = float(exact_cycles(counts, times)) if memory is None else expected_cycles(counts, times, memory)
    macs = sum(rows) * inputs * tokens
    moved: Tuple[int, int, int] = bytes_moved(engine, counts)
    resources = engine_resources(engine)
    energy = energy_j(resources.luts, resources.dsps, clock_hz, cycles)
    return LayerCost(
        cycles, macs, macs / (cycles * engine.macs_per_cycle), moved[0], moved[1], moved[2], cycles / clock_hz, energy,
        resources,
    )
