"""The integers of a tile engine, and the bits of its three streams.

Shapes: M rows, N inputs, F tokens; a layer's weights are one array per row group of the engine, (M_g, N) integers.
"""

from typing import List, NamedTuple, Sequence, Tuple

import numpy as np

from l4edge_accel.configuration import EngineConfig, accumulator_bits
from l4edge_accel.cycles import TileCounts, tile_counts
from l4edge_perception.errors import InputError

WORD_BITS = 32
"""Beats are handed to the simulation in words of this many bits."""


class LayerStreams(NamedTuple):
    """What a layer sends and must receive.

    Attributes:
        counts: its tiles.
        activations, weights: (beats, words of a beat) uint32.
        outputs: (row tiles, token groups, lanes, Tm) int64, padded rows and tokens included.
        sums: (M, F) int64, rows in the order of the groups.
    """

    counts: TileCounts
    activations: np.ndarray
    weights: np.ndarray
    outputs: np.ndarray
    sums: np.ndarray


def products(engine: EngineConfig, weights: Sequence[np.ndarray], activations: np.ndarray) -> np.ndarray:
    """Return y[M, F] = W[M, N] x[N, F] as int64, exactly as the array accumulates it.

    Args:
        engine: the engine.
        weights: integers of each row group, (M_g, N); a group without rows has shape (0, N).
        activations: integers, (N, F).

    Raises:
        InputError: sizes do not match, an integer has no code, or the accumulator is too narrow for N.
    """
    inputs = activations.shape[0]
    if len(weights) != len(engine.groups) or any(part.shape[1] != inputs for part in weights):
        raise InputError(
            f"engine {engine.name}: weights need {len(engine.groups)} groups of rows with {inputs} inputs each"
        )
    check_activations(engine, activations)
    needed = accumulator_bits(engine, inputs)
    if needed > engine.accumulator_bits:
        raise InputError(
            f"engine {engine.name}: {inputs} inputs need {needed} accumulator bits, it has {engine.accumulator_bits}; "
            "widen it"
        )
    for group, part in zip(engine.groups, weights):
        group.number_format.codes(part)
    # Sums stay below 2^53, so double precision is exact, and it has the fast matrix product.
    sums = np.concatenate(list(weights)).astype(np.float64) @ activations.astype(np.float64)
    return sums.astype(np.int64)


def check_activations(engine: EngineConfig, activations: np.ndarray) -> None:
    """Raise InputError if an activation does not fit the engine's activation bits."""
    bits = engine.activation_bits
    least, largest = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if engine.activation_signed else (0, 2**bits - 1)
    if activations.size and (activations.min() < least or activations.max() > largest):
        raise InputError(
            f"engine {engine.name}: activations from {activations.min()} to {activations.max()}; "
            f"it takes {least} to {largest}"
        )


def narrowed(engine: EngineConfig, sums: np.ndarray, shift: int) -> np.ndarray:
    """Return sums as they leave: unchanged if outputs are as wide as sums, else shifted, rounded half up, saturated."""
    if engine.output_bits >= engine.accumulator_bits:
        return sums
    limit = 2 ** (engine.output_bits - 1)
    return np.clip((sums + ((1 << shift) >> 1)) >> shift, -limit, limit - 1)


def layer_streams(
    engine: EngineConfig, weights: Sequence[np.ndarray], activations: np.ndarray, shift: int = 0
) -> LayerStreams:
    """Pack one layer for the engine's streams, and compute what must come back.

    Padded weights have code 0, padded activations are 0: of binary rows, whose code 0 is -1, the padded inputs still
    add nothing.

    Raises:
        InputError: as :func:`products`, or the layer has more tokens than the buffers hold.
    """
    inputs, tokens = activations.shape
    sums = products(engine, weights, activations)
    counts = tile_counts(engine, [len(part) for part in weights], inputs, tokens)
    if counts.token_blocks > 1:
        raise InputError(
            f"engine {engine.name}: {tokens} tokens, its buffers hold {engine.tokens}; send the layer in parts"
        )
    lanes, wide = engine.lanes, counts.input_tiles * engine.inputs
    padded = np.zeros((wide, counts.token_groups * lanes), np.int64)
    padded[:inputs, :tokens] = activations
    codes = []
    for group, part in zip(engine.groups, weights):
        held = np.zeros((counts.row_tiles * group.rows, wide), np.int64)
        held[: len(part), :inputs] = group.number_format.codes(part)
        codes.append(held)
    outputs = _tiled_outputs(engine, counts, codes, padded, shift)
    return LayerStreams(
        counts, _pack_activations(engine, counts, padded), _pack_weights(engine, counts, codes), outputs, sums
    )


def _tiled_outputs(
    engine: EngineConfig, counts: TileCounts, codes: List[np.ndarray], activations: np.ndarray, shift: int
) -> np.ndarray:
    parts = []
    for group, held in zip(engine.groups, codes):
        integers = group.number_format.integers(held).astype(np.float64)
        sums = (integers @ activations.astype(np.float64)).astype(np.int64)
        shape = (counts.row_tiles, group.rows, counts.token_groups, engine.lanes)
        parts.append(sums.reshape(shape).transpose(0, 2, 3, 1))
    return narrowed(engine, np.concatenate(parts, axis=3), shift)


def _bits(codes: np.ndarray, bits: int) -> np.ndarray:
    """Codes as bits, lowest first, along a new last axis."""
    return ((codes[..., None] >> np.arange(bits)) & 1).astype(np.uint8)


def _words(beats: np.ndarray) -> np.ndarray:
    """(beats, bits) as (beats, words) uint32, lowest bit and word first."""
    padded = -(-beats.shape[1] // WORD_BITS) * WORD_BITS
    wide = np.zeros((beats.shape[0], padded), np.uint8)
    wide[:, : beats.shape[1]] = beats
    return np.packbits(wide, axis=1, bitorder="little").view("<u4")


def _pack_weights(engine: EngineConfig, counts: TileCounts, codes: List[np.ndarray]) -> np.ndarray:
    parts = []
    for group, held in zip(engine.groups, codes):
        tiles = held.reshape(counts.row_tiles, group.rows, counts.input_tiles, engine.inputs).transpose(0, 2, 1, 3)
        parts.append(_bits(tiles, group.number_format.bits).reshape(counts.passes, -1))
    beat = engine.ports_weight * engine.port_bits
    bits = np.zeros((counts.passes, engine.beats_per_weight_tile * beat), np.uint8)
    bits[:, : engine.weight_tile_bits] = np.concatenate(parts, axis=1)
    return _words(bits.reshape(-1, beat))


def _pack_activations(engine: EngineConfig, counts: TileCounts, activations: np.ndarray) -> np.ndarray:
    shape = (counts.input_tiles, engine.inputs, counts.token_groups, engine.lanes)
    words = activations.reshape(shape).transpose(0, 2, 3, 1).reshape(counts.input_tiles * counts.token_groups, -1)
    codes = np.zeros((len(words), engine.beats_per_token_group * engine.activations_per_beat), np.int64)
    codes[:, : words.shape[1]] = words
    per_port = engine.port_bits // engine.activation_bits
    ports = _bits(codes, engine.activation_bits).reshape(-1, engine.ports_in, per_port * engine.activation_bits)
    bits = np.zeros((len(ports), engine.ports_in, engine.port_bits), np.uint8)
    bits[:, :, : ports.shape[2]] = ports
    return np.tile(_words(bits.reshape(len(ports), -1)), (counts.row_tiles, 1))


def unpack_outputs(engine: EngineConfig, counts: TileCounts, beats: np.ndarray) -> np.ndarray:
    """Read the output stream's beats, (beats, words) uint32, as (row tiles, token groups, lanes, Tm) int64."""
    width = engine.ports_out * engine.port_bits
    bits = np.unpackbits(np.ascontiguousarray(beats, "<u4").view(np.uint8), axis=1, bitorder="little")[:, :width]
    per_port = engine.port_bits // engine.output_bits
    used = bits.reshape(-1, engine.ports_out, engine.port_bits)[:, :, : per_port * engine.output_bits]
    codes = used.reshape(-1, engine.output_bits).astype(np.int64) @ (1 << np.arange(engine.output_bits, dtype=np.int64))
    signed = np.where(codes >= 1 << (engine.output_bits - 1), codes - (1 << engine.output_bits), codes)
    rows = signed.reshape(counts.row_tiles, counts.token_groups, -1)[:, :, : engine.lanes * engine.rows]
    return rows.reshape(counts.row_tiles, counts.token_groups, engine.lanes, engine.rows)


def layer_outputs(engine: EngineConfig, rows: Sequence[int], tokens: int, outputs: np.ndarray) -> np.ndarray:
    """Drop the padding: (row tiles, token groups, lanes, Tm) as (M, F), rows in the order of the groups."""
    parts, first = [], 0
    for group, count in zip(engine.groups, rows):
        part = outputs[:, :, :, first : first + group.rows].transpose(0, 3, 1, 2)
        parts.append(part.reshape(outputs.shape[0] * group.rows, -1)[:count, :tokens])
        first += group.rows
    return np.concatenate(parts)


def bytes_moved(engine: EngineConfig, counts: TileCounts) -> Tuple[int, int, int]:
    """Bytes that a layer's three streams carry, padding and unused bits of ports included."""
    def of(beats: int, ports: int) -> int:
        return counts.token_blocks * beats * ports * engine.port_bits // 8

    groups = counts.token_groups
    return (
        of(counts.passes * groups * engine.beats_per_token_group, engine.ports_in),
        of(counts.passes * engine.beats_per_weight_tile, engine.ports_weight),
        of(counts.row_tiles * groups * engine.beats_per_output_group, engine.ports_out),
    )
