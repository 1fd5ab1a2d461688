"""Which engines the search looks at: grids of tiles and port splits, and what multiplies in them."""

from functools import lru_cache
from typing import Iterator, Mapping, Sequence, Tuple

from l4edge_accel.configuration import EngineConfig, RowGroup, accumulator_bits
from l4edge_accel.devices import Device
from l4edge_accel.formats import number_format
from l4edge_accel.workload import Gemm

LINEAR, ATTENTION = "linear", "attention"

LEAST_END_BITS = 8
"""Weights and activations of the first and the last layer are fixed point of these bits, or as wide as the others."""

PORT_SPLITS = ((1, 1, 1), (2, 1, 1), (1, 2, 1), (1, 1, 2))
"""Ports for activations, weights and results, of four."""

LINEAR_ROWS = (8, 16, 24, 32, 48, 64, 96, 128, 192, 256)
LINEAR_INPUTS = (8, 16, 24, 32, 48, 64, 96, 128)
ATTENTION_ROWS = (8, 16, 24, 32, 48, 64)
ATTENTION_INPUTS = (8, 16, 32, 64)
LANES = (1, 2, 4)
TOKENS = 256
"""Tokens that buffers hold: DeiT's 197 in one pass."""


def linear_engines(
    formats: Mapping[str, float], width: int, layers: Sequence[Tuple[Gemm, int]], split: Tuple[int, int, int],
    board: Device,
) -> Iterator[EngineConfig]:
    """Engines for layers with weights of ``formats`` and activations of ``width`` bits."""
    deepest = max((gemm.inputs for gemm, _ in layers), default=1)
    for rows in LINEAR_ROWS if layers else ():
        groups = _groups(formats, rows, width)
        for inputs in LINEAR_INPUTS:
            for lanes in LANES:
                yield _engine(LINEAR, groups, inputs, lanes, width, deepest, split, board)


def attention_engines(
    width: int, layers: Sequence[Tuple[Gemm, int]], split: Tuple[int, int, int], board: Device
) -> Iterator[EngineConfig]:
    """Engines of DSP blocks, for products of activations and for the first and the last layer."""
    deepest = max((gemm.inputs for gemm, _ in layers), default=1)
    bits = max(LEAST_END_BITS, width)
    for rows in ATTENTION_ROWS if layers else ():
        groups = (RowGroup(f"fixed{bits}", rows, "dsp", products_per_dsp(bits, bits)),)
        for inputs in ATTENTION_INPUTS:
            for lanes in LANES:
                yield _engine(ATTENTION, groups, inputs, lanes, bits, deepest, split, board)


def _groups(formats: Mapping[str, float], rows: int, activation_bits: int) -> Tuple[RowGroup, ...]:
    """Rows of a tile by format, in the ratio of the layers' rows, at least one each.

    Fixed-point weights go to DSP blocks, as in RMSMP and FILM-QNN; all others are logic.
    """
    counts = {name: max(1, round(rows * share)) for name, share in formats.items() if share > 0}
    largest = max(counts, key=lambda name: counts[name])
    counts[largest] += rows - sum(counts.values())
    groups = []
    for name, count in counts.items():
        number = number_format(name)
        on_dsps = number.kind == "fixed"
        packing = products_per_dsp(number.bits, activation_bits) if on_dsps else 1
        groups.append(RowGroup(name, count, "dsp" if on_dsps else "lut", packing))
    return tuple(group for group in groups if group.rows > 0)


def products_per_dsp(weight_bits: int, activation_bits: int) -> int:
    """Products that one DSP block does per cycle: two that share an operand up to 8 bits, four of FILM-QNN's size."""
    if weight_bits <= 4 and activation_bits <= 5:
        return 4
    return 2 if weight_bits <= 8 and activation_bits <= 8 else 1


def _engine(
    name: str, groups: Tuple[RowGroup, ...], inputs: int, lanes: int, bits: int, deepest: int,
    split: Tuple[int, int, int], board: Device,
) -> EngineConfig:
    sums = _accumulator_bits(tuple(sorted({group.format for group in groups})), bits, max(deepest, inputs))
    return EngineConfig(
        name, groups, inputs, lanes, bits, True, sums, bits, *split, port_bits=board.port_bits, tokens=TOKENS
    )


@lru_cache(maxsize=None)
def _accumulator_bits(formats: Tuple[str, ...], bits: int, inputs: int) -> int:
    groups = tuple(RowGroup(name, 1) for name in formats)
    return accumulator_bits(EngineConfig("any", groups, inputs, activation_bits=bits), inputs)
