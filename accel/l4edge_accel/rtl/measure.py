"""The measurements behind ``l4edge bench rtl``: integers and cycles of RTL against Python engines and formula."""

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from l4edge_accel.configuration import EngineConfig, RowGroup, accumulator_bits, check_engine
from l4edge_accel.cycles import MemoryModel, closed_form_cycles, exact_cycles, expected_cycles, tile_times
from l4edge_accel.engines.array import LayerStreams
from l4edge_accel.formats import BENCHED
from l4edge_accel.rtl.check import Outcome, Pace, random_layer, run_layers

MIXED = "mixed"
MIXED_GROUPS = (("pot4", 3), ("fixed4", 2), ("fixed8", 2))
BINARY_MIXED = "binary and fixed8"
SEED = 1
BURST = MemoryModel(burst_beats=16, least=0, most=24)
"""The memory of random latency: bursts of 16 beats, before each a pause of 0 to 24 cycles."""

LONG_CYCLES = (4_000, 40_000)
"""Layers for the comparison with random latency: long enough that luck averages out, short enough to run many."""


@functools.lru_cache(maxsize=1)
def engines() -> dict[str, EngineConfig]:
    """Return the engines that are built: every format by itself, and mixed rows; each has its own tile and ports."""
    generator = np.random.default_rng(SEED)
    chosen: dict[str, tuple[tuple[str, int], ...]] = {}
    for name in BENCHED:
        chosen[name] = ((name, int(generator.integers(3, 9))),)
    chosen[MIXED] = MIXED_GROUPS
    chosen[BINARY_MIXED] = (("binary", 4), ("fixed8", 2))
    return {name: _engine(name, groups, generator) for name, groups in chosen.items()}


def _engine(name: str, groups: Sequence[tuple[str, int]], generator: np.random.Generator) -> EngineConfig:
    rows = tuple(RowGroup(kind, count) for kind, count in groups)
    draw: dict[str, Any] = {
        "inputs": int(generator.integers(4, 17)), "lanes": int(generator.integers(1, 3)),
        "activation_bits": int(generator.choice([4, 5, 6, 8])), "activation_signed": bool(generator.integers(2)),
        # Raw sums show every bit; the narrow output is checked on one engine, where shifts are drawn, too.
        "output_bits": 8 if name == MIXED else 32, "ports_in": int(generator.integers(1, 3)),
        "ports_weight": int(generator.integers(1, 3)), "ports_out": int(generator.integers(1, 3)),
        "port_bits": int(generator.choice([32, 64, 100, 128])), "tokens": int(generator.integers(24, 65)),
    }
    engine = EngineConfig(name, rows, accumulator_bits=32, **draw)
    # Just wide enough for 512 inputs: a sum that leaves its range would show.
    widened = {**vars(engine), "accumulator_bits": accumulator_bits(engine, 512)}
    return check_engine(EngineConfig(**widened))


def _shift(engine: EngineConfig, generator: np.random.Generator) -> int:
    """Draw by how much sums are shifted before they leave: up to where none needs to saturate."""
    spare = engine.accumulator_bits - engine.output_bits
    return int(generator.integers(0, spare + 1)) if spare > 0 else 0


def random_layers(
    engine: EngineConfig, generator: np.random.Generator, cycles: tuple[int, int], shift: int
) -> LayerStreams:
    """Draw a layer whose sizes need not divide by the tile, and which takes about that many cycles without stalls."""
    while True:
        most = int(512 // engine.inputs)
        tokens = int(generator.integers(1, engine.tokens + 1))
        tiles = int(generator.integers(1, 9))
        rows = [int(generator.integers(0, tiles * group.rows + 1)) for group in engine.groups]
        rows[0] = max(1, rows[0])
        inputs = int(generator.integers(1, int(generator.integers(1, most + 1)) * engine.inputs + 1))
        layer = random_layer(engine, rows, inputs, tokens, generator, bool(generator.integers(4) == 0), shift)
        if cycles[0] <= exact_cycles(layer.counts, tile_times(engine, layer.counts.token_groups)) <= cycles[1]:
            return layer


def integers(name: str, wanted: int, seed: int = SEED) -> dict[str, Any]:
    """Run random layers of an engine until ``wanted`` cycles are done: without stalls, stalling, or in bursts."""
    engine = engines()[name]
    generator = np.random.default_rng(seed)
    done: list[Outcome] = []
    while sum(outcome.cycles for outcome in done) < wanted:
        share = min(1.0, wanted / 200_000)
        shift = _shift(engine, generator)
        layers = [random_layers(engine, generator, (1, int(40_000 * share) + 400), shift) for _ in range(12)]
        memory = MemoryModel(int(generator.integers(1, 20)), 0, int(generator.integers(1, 12)))
        paces = [
            Pace(seed=i) if i % 3 == 0 else Pace(stall_percent=int(generator.integers(5, 80)), seed=i) if i % 3 == 1
            else Pace(memory, seed=i)
            for i in range(len(layers))
        ]
        done += run_layers(engine, layers, paces, shift)
    exact = [outcome for outcome in done if outcome.predicted is not None]
    return {
        "cycles_checked": sum(outcome.cycles for outcome in done),
        "layers": len(done),
        "integers_compared": sum(outcome.outputs for outcome in done),
        "integer_mismatches": sum(outcome.mismatches for outcome in done),
        "stream_violations": sum(outcome.violations for outcome in done),
        "layers_with_known_pauses": len(exact),
        "cycle_differences": sum(outcome.cycles != outcome.predicted for outcome in exact),
    }


def cycles(name: str, shapes: int, seed: int = SEED + 1) -> dict[str, Any]:
    """Compare the cycle formula with the RTL on random shapes: without stalls, and with a memory of random latency.

    With the memory, the formula knows how pauses are distributed but not the pauses themselves.
    """
    engine = engines()[name]
    generator = np.random.default_rng(seed)
    shift = _shift(engine, generator)
    small = [random_layers(engine, generator, (1, LONG_CYCLES[1]), shift) for _ in range(shapes)]
    long = [random_layers(engine, generator, LONG_CYCLES, shift) for _ in range(shapes)]
    plain = run_layers(engine, small, [Pace()] * shapes, shift)
    paced = run_layers(engine, long, [Pace(BURST, seed=1000 + i) for i in range(shapes)], shift)
    points, closed = [], []
    for layer, outcome in zip(small, plain, strict=True):
        times = tile_times(engine, layer.counts.token_groups)
        points.append(abs(exact_cycles(layer.counts, times) / outcome.cycles - 1))
        closed.append(abs(closed_form_cycles(layer.counts, times) / outcome.cycles - 1))
    latency = []
    for i, (layer, outcome) in enumerate(zip(long, paced, strict=True)):
        times = tile_times(engine, layer.counts.token_groups)
        latency.append(abs(expected_cycles(layer.counts, times, BURST, seed=i) / outcome.cycles - 1))
    everything = plain + paced
    return {
        "points": points, "latency_points": latency, "closed_form_points": closed,
        "cycles": sum(outcome.cycles for outcome in everything),
        "mismatches": sum(outcome.mismatches for outcome in everything),
    }
