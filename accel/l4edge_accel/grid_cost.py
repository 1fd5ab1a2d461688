"""Cycles of many engines at once: what ``network_cost.gemm_cost`` gives for each, in arrays, for the search.

One call per engine and layer takes some 30 microseconds, and a search has 100,000 of them. Every line here has its
like in ``cycles`` and ``network_cost``; tests hold the two to the same numbers.
"""

from typing import Any, Dict, List, Sequence, Tuple

import numpy as np

from l4edge_accel.configuration import EngineConfig, RowGroup
from l4edge_accel.devices import Device
from l4edge_accel.formats import number_format
from l4edge_accel.network_cost import LINE_BUFFER, Assumptions, rows_by_group
from l4edge_accel.workload import Gemm


def grid_cycles(
    layers: Sequence[Tuple[Gemm, int]],
    engines: Sequence[EngineConfig],
    board: Device,
    clock_hz: float,
    assumptions: Assumptions,
) -> np.ndarray:
    """Cycles of all layers on each engine.

    Args:
        layers: matrix products, and how often each comes.
        engines: that can all run all of them.
        board: for its memory. clock_hz: of the engines. assumptions: of the cost model.

    Returns:
        (E,) int64, for E engines.
    """
    if not layers:
        return np.zeros(len(engines), np.int64)
    each = _columns(engines)
    gemms = [gemm for gemm, _ in layers]
    row_tiles = _row_tiles(gemms, engines)
    tokens = np.array([gemm.tokens for gemm in gemms])
    blocks = _ceil(tokens, each["token_groups_limit"] * each["lanes"])
    groups = _ceil(np.minimum(tokens, _ceil(tokens, blocks)), each["lanes"])
    input_tiles = _ceil(np.array([gemm.inputs for gemm in gemms]), each["inputs"])
    activations = groups * each["beats_per_token_group"]
    if assumptions.convolutions == LINE_BUFFER:
        for column, gemm in enumerate(gemms):
            if gemm.kernel != (1, 1):
                passes, beats = _line_buffered(gemm, each, blocks[:, column])
                input_tiles[:, column], activations[:, column] = passes, beats
    longer = assumptions.pass_overhead
    load = np.maximum(activations, each["beats_per_weight_tile"]) + longer
    period = np.maximum(load, np.maximum(groups, 2) + longer)
    cycles = blocks * _closed_form(row_tiles, input_tiles, period, load, groups, each)
    cycles *= np.array([gemm.repeats for gemm in gemms])
    moved = _bytes(gemms, each, row_tiles, blocks)
    memory = np.ceil(moved * clock_hz / (board.ddr_bytes_per_s * assumptions.ddr_share)).astype(np.int64)
    counts = np.array([count for _, count in layers])
    return (np.maximum(cycles, memory) * counts).sum(axis=1)


def _ceil(dividend: Any, divisor: Any) -> Any:
    return -(-dividend // divisor)


_COLUMNS = (
    "inputs", "lanes", "depth", "token_groups_limit", "beats_per_token_group", "beats_per_weight_tile",
    "beats_per_output_group", "activations_per_beat", "activation_bits", "output_bits",
)


def _columns(engines: Sequence[EngineConfig]) -> Dict[str, np.ndarray]:
    """(E, 1) of each property."""
    return {name: np.array([[getattr(engine, name)] for engine in engines]) for name in _COLUMNS}


def _row_tiles(gemms: Sequence[Gemm], engines: Sequence[EngineConfig]) -> np.ndarray:
    """(E, L) tiles of rows; what engines with the same row groups have in common is worked out once."""
    known: Dict[Tuple[RowGroup, ...], List[int]] = {}
    for engine in engines:
        if engine.groups not in known:
            known[engine.groups] = [
                max(-(-count // group.rows) for count, group in zip(rows_by_group(gemm, engine), engine.groups))
                for gemm in gemms
            ]
    return np.array([known[engine.groups] for engine in engines])


def _line_buffered(gemm: Gemm, each: Dict[str, np.ndarray], blocks: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
    """(E,) passes over the input tiles, and beats of activations in each of them."""
    height, width = gemm.kernel
    channels = gemm.inputs // (height * width)
    inputs, per_beat = each["inputs"][:, 0], each["activations_per_beat"][:, 0]
    passes = np.minimum(height * width * _ceil(channels, inputs), height * _ceil(channels * width, inputs))
    return passes, np.ceil(gemm.fetched / blocks / per_beat / passes).astype(np.int64)


def _closed_form(
    row_tiles: np.ndarray, input_tiles: np.ndarray, period: np.ndarray, load: np.ndarray, groups: np.ndarray,
    each: Dict[str, np.ndarray],
) -> np.ndarray:  # fmt: skip
    """(E, L) cycles of one block of a layer, as ``cycles.closed_form_cycles``."""
    depth = groups + each["depth"]
    row = input_tiles * period
    last = 1 + groups * each["beats_per_output_group"]
    round_trip = ((input_tiles - 1) * period + depth + last + 1) // 2
    pace = np.maximum(np.maximum(row, last), np.where(row_tiles > 2, round_trip, 0))
    closed: np.ndarray = load + row - period + depth + (row_tiles - 1) * pace + last
    return closed


def _bytes(gemms: Sequence[Gemm], each: Dict[str, np.ndarray], row_tiles: np.ndarray, blocks: np.ndarray) -> np.ndarray:
    """(E, L) bytes that a layer reads and writes."""
    bits = each["activation_bits"]
    shares = [sum(share * number_format(name).bits for name, share in gemm.weight_rows.items()) for gemm in gemms]
    stored = np.array([int(gemm.weight_elements * share) for gemm, share in zip(gemms, shares)])
    elements = np.array([gemm.weight_elements if gemm.of_activations else 0 for gemm in gemms])
    read = np.array([gemm.input_elements for gemm in gemms]) * bits * row_tiles + (stored + elements * bits) * blocks
    written = np.array([gemm.output_elements for gemm in gemms]) * np.minimum(each["output_bits"], 32)
    total: np.ndarray = _ceil(read, 8) + _ceil(written, 8)
    return total
