"""Adds up what parts of an operation do in a simulation."""

from dataclasses import dataclass, field
from typing import List, Sequence, Set, Tuple

from l4edge_accel.events import STALLS, STREAMS, BlockRun
from l4edge_accel.simulation_results import LayerRun, Span

TRANSFERS = ("activations", "weights", "outputs")


@dataclass
class Tally:
    """What is known of an operation of one inference so far.

    Attributes:
        waiting: operations that it still waits for. left: parts that are not complete.
        others: as in ``LayerRun``, or lists by stream.
    """

    waiting: int
    left: int
    start: int = -1
    end: int = 0
    occupied: int = 0
    busy: int = 0
    engines: Set[str] = field(default_factory=set)
    spans: List[List[int]] = field(default_factory=lambda: [[-1, 0] for _ in range(STREAMS + 1)])
    beats: List[int] = field(default_factory=lambda: [0] * STREAMS)
    stalls: List[int] = field(default_factory=lambda: [0] * len(STALLS))

    def add(self, begin: int, run: BlockRun, beats: Sequence[int]) -> None:
        """Add a block that began in cycle ``begin``."""
        self.occupied += run.cycles
        self.busy += run.busy
        for span, (first, last) in zip(self.spans, (*run.transfers, run.compute)):
            span[0] = begin + first if span[0] < 0 else min(span[0], begin + first)
            span[1] = max(span[1], begin + last)
        self.stalls = [one + other for one, other in zip(self.stalls, run.stalls)]
        self.beats = [one + other for one, other in zip(self.beats, beats)]

    def add_step(self, begin: int, end: int) -> None:
        """Add a part of a softmax or a layer normalization."""
        self.occupied += end - begin
        self.busy += end - begin
        span = self.spans[STREAMS]
        span[:] = [begin if span[0] < 0 else min(span[0], begin), max(span[1], end)]

    def layer(self, inference: int, name: str, macs: int, moved: Tuple[int, int]) -> LayerRun:
        """All of it as a record; ``moved``: bytes read and written."""
        transfers = {
            kind: Span(first, last, beats)
            for kind, (first, last), beats in zip(TRANSFERS, self.spans, self.beats)
            if first >= 0
        }
        return LayerRun(
            inference, name, tuple(sorted(self.engines)), self.start, self.end, self.occupied,
            Span(self.spans[STREAMS][0], self.spans[STREAMS][1], self.busy), transfers,
            {kind: cycles for kind, cycles in zip(STALLS, self.stalls) if cycles}, macs, moved[0], moved[1],
        )  # fmt: skip
