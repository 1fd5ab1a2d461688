"""Cycles of a tile engine, as its RTL takes them: the same numbers, cycle for cycle.

One layer y[M, F] = W[M, N] x[N, F] is cut into tiles of Tm rows and Tn inputs. For each row tile, pass after pass over
the
input tiles, the engine streams all tokens through the array, one group of Tf tokens per cycle. What happens when is a
chain of maxima, because three processes share double buffers (times in cycles; pass i of all passes, row tile r):

    activations[i] start = max(activations[i-1] end, compute[i-2] end), take J_in
    weights[i]     start = max(weights[i-1] end, compute[i-1] start),   take J_w
    compute[i]     start = max(activations[i] end, weights[i] end, compute[i-1] end,
                               output[r-2] end in a row's first pass),  takes J_compute = max(G, 2)
    output[r]      start = max(compute[last pass] start + G + depth, output[r-1] end), takes 1 + J_out

with G = ceil(F / Tf) token groups. Two cycles is the least a pass can take: a sum must be written before it is read
again.
The shape of the model (double buffering, fill and drain) follows VAQF's as this project reconstructs it; the constants
are those of ``rtl/l4edge_accelerator.sv``, and ``l4edge bench rtl`` holds them to it.
"""

import math
from dataclasses import dataclass
from typing import List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from l4edge_accel.configuration import EngineConfig
from l4edge_perception.errors import InputError


@dataclass(frozen=True)
class TileCounts:
    """A layer cut into tiles.

    Attributes:
        row_tiles: ceil(M / Tm), or for mixed rows the most tiles that any format needs.
        input_tiles: ceil(N / Tn). token_groups: ceil(F / Tf) of one pass.
        token_blocks: how often the layer is repeated because the buffers hold fewer tokens than it has.
    """

    row_tiles: int
    input_tiles: int
    token_groups: int
    token_blocks: int = 1

    @property
    def passes(self) -> int:
        """Tile passes of one block."""
        return self.row_tiles * self.input_tiles


class TileTimes(NamedTuple):
    """Cycles of the parts of one tile: J_in, J_w, J_compute per pass; J_out per row tile; depth of the pipeline."""

    activations: int
    weights: int
    compute: int
    output: int
    depth: int


def tile_counts(engine: EngineConfig, rows: Sequence[int], inputs: int, tokens: int) -> TileCounts:
    """Cut a layer into tiles.

    Args:
        engine: the engine.
        rows: rows of the layer by row group of the engine, so that ``sum(rows)`` is M.
        inputs: N. tokens: F.

    Raises:
        InputError: the numbers of rows do not match the engine's groups, or a size is below 1.
    """
    if len(rows) != len(engine.groups) or min(inputs, tokens, sum(rows)) < 1 or min(rows) < 0:
        raise InputError(
            f"engine {engine.name}: a layer needs sizes of at least 1 and rows for {len(engine.groups)} groups"
        )
    row_tiles = max(math.ceil(count / group.rows) for count, group in zip(rows, engine.groups))
    held = engine.token_groups_limit * engine.lanes
    blocks = math.ceil(tokens / held)
    groups = math.ceil(min(tokens, math.ceil(tokens / blocks)) / engine.lanes)
    return TileCounts(row_tiles, math.ceil(inputs / engine.inputs), groups, blocks)


def tile_times(engine: EngineConfig, token_groups: int) -> TileTimes:
    """Cycles of the parts of one tile when no stream ever waits."""
    return TileTimes(
        activations=token_groups * engine.beats_per_token_group,
        weights=engine.beats_per_weight_tile,
        compute=max(token_groups, 2),
        output=token_groups * engine.beats_per_output_group,
        depth=token_groups + engine.depth,  # from the start of a row's last pass until all its sums are written
    )


@dataclass(frozen=True)
class MemoryModel:
    """Streams that come and go in bursts, with a random pause before each.

    Attributes:
        burst_beats: beats of one burst.
        least, most: pause in cycles, each whole number between them equally likely; the same for all three streams.
    """

    burst_beats: int
    least: int
    most: int


class Stream:
    """Time at which the beats of a stream pass: bursts after random pauses, one beat a cycle within a burst.

    The pause of a burst begins when the last beat of the burst before it has passed, whether anybody waits or not.
    """

    def __init__(self, memory: Optional[MemoryModel], pauses: Optional[np.ndarray] = None) -> None:
        self._memory = memory
        self.pauses = pauses
        self._burst = 0
        self._left = 0
        self._ready = 0

    def transfer(self, start: int, beats: int) -> int:
        """Return when the last of ``beats`` has passed if the other side is ready from ``start`` on."""
        if self._memory is None or self.pauses is None:
            return start + beats
        now = start
        while beats:
            if self._left == 0:
                self._ready += int(self.pauses[self._burst % len(self.pauses)])
                self._burst += 1
                self._left = self._memory.burst_beats
            part = min(beats, self._left)
            now = max(now, self._ready) + part
            self._ready = now
            self._left -= part
            beats -= part
        return now


class Timeline(NamedTuple):
    """When things happen in one layer, in cycles from the first one in which a stream may move.

    Shapes: ``activations``, ``weights``, ``compute`` are (passes, 2) and ``output`` is (row tiles, 2): start and end.
    """

    activations: np.ndarray
    weights: np.ndarray
    compute: np.ndarray
    output: np.ndarray

    @property
    def cycles(self) -> int:
        """Of the whole layer, until the last beat has left."""
        return int(self.output[-1, 1])


def timeline(
    counts: TileCounts, times: TileTimes, streams: Optional[Tuple[Stream, Stream, Stream]] = None
) -> Timeline:
    """Walk through one block of a layer, pass by pass.

    Args:
        counts: tiles of the layer.
        times: of one tile.
        streams: activations, weights and output, or None where none ever waits.
    """
    activation, weight, out = streams or (Stream(None), Stream(None), Stream(None))
    loaded: List[Tuple[int, int]] = []
    held: List[Tuple[int, int]] = []
    computed: List[Tuple[int, int]] = []
    written: List[Tuple[int, int]] = []
    for row in range(counts.row_tiles):
        for tile in range(counts.input_tiles):
            i = len(computed)
            free = computed[i - 2][1] if i >= 2 else 0
            start = max(loaded[-1][1] if loaded else 0, free)
            loaded.append((start, activation.transfer(start, times.activations)))
            start = max(held[-1][1], computed[-1][0]) if computed else 0
            held.append((start, weight.transfer(start, times.weights)))
            start = max(loaded[-1][1], held[-1][1], computed[-1][1] if computed else 0)
            if tile == 0 and row >= 2:
                start = max(start, written[row - 2][1])
            computed.append((start, start + times.compute))
        start = max(computed[-1][0] + times.depth, written[-1][1] if written else 0)
        written.append((start, out.transfer(start + 1, times.output)))
    arrays = (np.asarray(part, np.int64) for part in (loaded, held, computed, written))
    return Timeline(*arrays)


def random_streams(
    memory: MemoryModel, counts: TileCounts, times: TileTimes, generator: np.random.Generator
) -> Tuple[Stream, Stream, Stream]:
    """Draw the pauses of the three streams of one block of a layer."""
    sizes = (counts.passes * times.activations, counts.passes * times.weights, counts.row_tiles * times.output)
    drawn = [
        generator.integers(memory.least, memory.most + 1, math.ceil(beats / memory.burst_beats) + 1) for beats in sizes
    ]
    activation, weight, output = (Stream(memory, pauses) for pauses in drawn)
    return activation, weight, output


def exact_cycles(counts: TileCounts, times: TileTimes) -> int:
    """Cycles of a layer when no stream waits: walked through, equal to the RTL."""
    return counts.token_blocks * timeline(counts, times).cycles


def closed_form_cycles(counts: TileCounts, times: TileTimes) -> int:
    """Cycles of a layer when no stream waits, without walking: for searches over many configurations.

    Differs from :func:`exact_cycles` only where rows wait for room for their sums: by at most some percent, for a few
    of 1,000 random layers (``l4edge bench rtl`` prints how much).
    """
    load = max(times.activations, times.weights)
    period = max(load, times.compute)
    row = counts.input_tiles * period
    first = load + row - period + times.depth
    last = 1 + times.output
    # Rows follow each other as fast as the slowest of: passes of a row, its output, and half the round of its buffer.
    round_trip = ((counts.input_tiles - 1) * period + times.depth + last + 1) // 2
    pace = max(row, last, round_trip if counts.row_tiles > 2 else 0)
    return counts.token_blocks * (first + (counts.row_tiles - 1) * pace + last)


def expected_cycles(
    counts: TileCounts, times: TileTimes, memory: MemoryModel, draws: int = 8, seed: int = 0
) -> float:
    """Cycles of a layer with a memory that pauses at random: mean over ``draws`` walks with pauses of their own."""
    generator = np.random.default_rng(seed)
    walks = [timeline(counts, times, random_streams(memory, counts, times, generator)).cycles for _ in range(draws)]
    return counts.token_blocks * float(np.mean(walks))
