"""Run layers through the RTL and compare integers and cycles with the Python engine and the cycle formula."""

import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from l4edge_accel.configuration import EngineConfig, accumulator_bits
from l4edge_accel.cycles import MemoryModel, random_streams, tile_times, timeline
from l4edge_accel.engines.array import LayerStreams, layer_streams, unpack_outputs
from l4edge_accel.rtl.build import build
from l4edge_perception.errors import InputError

HEADER = 16
CYCLE_LIMIT = 100_000_000


@dataclass(frozen=True)
class Pace:
    """How the streams of one layer come and go.

    Attributes:
        memory: bursts with random pauses, or None.
        stall_percent: without a memory, how often a beat waits one more cycle; 0: never.
        seed: of pauses or stalls.
    """

    memory: MemoryModel | None = None
    stall_percent: int = 0
    seed: int = 0


class Outcome(NamedTuple):
    """What one layer gave on the RTL.

    Attributes:
        cycles: counted. predicted: by the formula with the same pauses; None where beats wait at random.
        mismatches: outputs that differ from the Python engine. outputs: compared.
        violations: of the ready/valid rules.
        values: (row tiles, token groups, lanes, Tm) int64.
    """

    cycles: int
    predicted: int | None
    mismatches: int
    outputs: int
    violations: int
    values: np.ndarray


def run_layers(
    engine: EngineConfig, layers: Sequence[LayerStreams], paces: Sequence[Pace], shift: int = 0,
    cache: Path | None = None,
) -> list[Outcome]:
    """Run layers one after the other on the RTL of ``engine``, without a reset between them.

    Raises:
        InputError: a tool is missing, or the RTL stopped before a layer was done.
    """
    program = build(engine, cache)
    predicted, content = [], []
    for layer, pace in zip(layers, paces, strict=True):
        sent, expected = _layer_words(engine, layer, pace, shift)
        content.append(sent)
        predicted.append(expected)
    with tempfile.TemporaryDirectory() as name:
        given, results = Path(name) / "layers", Path(name) / "results"
        given.write_bytes(np.concatenate(content).astype("<u4").tobytes())
        done = subprocess.run([str(program), str(given), str(results)], check=False)
        if done.returncode:
            raise InputError(
                f"RTL of engine {engine.name}: stopped with code {done.returncode}; 4 means that a layer never ended"
            )
        answer = np.frombuffer(results.read_bytes(), "<u4")
    outcomes, place = [], 0
    words = -(-engine.ports_out * engine.port_bits // 32)
    for layer, cycles in zip(layers, predicted, strict=True):
        times = tile_times(engine, layer.counts.token_groups)
        size = layer.counts.row_tiles * times.output * words
        counted, violations = (int(value) for value in answer[place : place + 4].copy().view("<u8"))
        beats = answer[place + 4 : place + 4 + size].reshape(-1, words)
        values = unpack_outputs(engine, layer.counts, beats)
        wrong = int((values != layer.outputs).sum())
        outcomes.append(Outcome(counted, cycles, wrong, values.size, violations, values))
        place += 4 + size
    return outcomes


def _layer_words(engine: EngineConfig, layer: LayerStreams, pace: Pace, shift: int) -> tuple[np.ndarray, int | None]:
    counts = layer.counts
    times = tile_times(engine, counts.token_groups)
    pauses = [np.zeros(1, np.uint32)] * 3
    streams = None
    if pace.memory:
        streams = random_streams(pace.memory, counts, times, np.random.default_rng(pace.seed))
        pauses = [np.asarray(stream.pauses, np.uint32) for stream in streams]
    header = np.zeros(HEADER, np.uint32)
    header[:14] = [
        counts.row_tiles, counts.input_tiles, counts.token_groups, shift, len(layer.activations), len(layer.weights),
        counts.row_tiles * times.output, pace.memory.burst_beats if pace.memory else 0, *(len(one) for one in pauses),
        pace.stall_percent, pace.seed % 2**32, CYCLE_LIMIT,
    ]
    words = np.concatenate([header, *pauses, layer.activations.ravel(), layer.weights.ravel()])
    return words, None if pace.stall_percent else timeline(counts, times, streams).cycles


def random_layer(
    engine: EngineConfig, rows: Sequence[int], inputs: int, tokens: int, generator: np.random.Generator,
    extreme: bool = False, shift: int = 0,
) -> LayerStreams:
    """Draw a layer: all codes of weights and activations equally likely, or only the largest magnitudes."""
    weights = []
    for group, count in zip(engine.groups, rows, strict=True):
        number = group.number_format
        everything = number.integers(np.arange(2**number.bits))
        pool = np.array([everything.min(), everything.max()]) if extreme else everything
        weights.append(generator.choice(pool, (count, inputs)))
    bits = engine.activation_bits
    least, largest = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if engine.activation_signed else (0, 2**bits - 1)
    if extreme:
        # Whole columns at one end make the largest sums; every other token alternates.
        activations = np.full((inputs, tokens), least)
        activations[:, 1::2] = largest
        activations[::2, 2::4] = largest
    else:
        activations = generator.integers(least, largest + 1, (inputs, tokens))
    return layer_streams(engine, weights, activations, shift)


def most_inputs(engine: EngineConfig) -> int:
    """Return the most inputs a layer may have before a sum could exceed the engine's accumulators."""
    inputs = engine.inputs
    while accumulator_bits(engine, 2 * inputs) <= engine.accumulator_bits and inputs < 1 << 16:
        inputs *= 2
    return inputs
