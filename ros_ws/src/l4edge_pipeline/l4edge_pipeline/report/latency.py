"""What the stage records of a run say about its latencies and about every frame's whereabouts.

Pure functions over stage records. Frames are joined by their sensor stamp, never by counting: one lost frame would
shift every later pair. docs/report.md defines each number.
"""

from collections import Counter
from dataclasses import dataclass
from typing import Any, Dict, Iterable, List, Mapping, Optional, Sequence, Tuple

import numpy as np

from l4edge_pipeline.stages import Chain, Stage, StageTable
from l4edge_pipeline.timing.records import Outcome, StageRecord
from l4edge_pipeline.timing.statistics import percentile

FRAME_KEYS = ("published", "processed", "superseded", "dropped", "unaccounted", "lost", "surplus")
STAGE_KEYS = (
    "frames", "compute_p50_ms", "compute_p99_ms", "wait_p50_ms", "p50_ms", "p90_ms", "p99_ms", "max_ms",
    "budget_ms", "deadline_ms", "misses", "deadline_misses", "clock_errors",
)  # fmt: skip
CHAIN_KEYS = (
    "frames", "incomplete", "p50_ms", "p90_ms", "p99_ms", "max_ms", "budget_ms", "misses", "glue_p50_ms", "glue_share",
    "clock_errors", "ambiguous",
)  # fmt: skip

SEGMENTS = ("transport", "wait", "compute", "publish")
"""Into what a frame's time in one stage is divided, in the order it happens."""

SLOWEST = 10
"""Frames that a report shows one by one."""


def account_frames(records: Sequence[StageRecord], table: StageTable, frames_offered: int) -> Dict[str, Dict[str, int]]:
    """Balance what went into each stage against what the stage says it did with it.

    Two independent books: ``published`` comes from the predecessor's records (from the recording for a stage that a
    sensor triggers), the rest from the stage's own. ``unaccounted`` is their difference and is 0 in a sound run. As a
    lost frame and one counted twice would cancel out in it, ``lost`` and ``surplus`` compare the books message by
    message where messages are numbered.

    Args:
        frames_offered: how many frames of the recording were to be played.

    Returns:
        stage -> the numbers named in ``FRAME_KEYS``.
    """
    own = {name: [record for record in records if record.stage == name] for name in table.stages}
    accounts = {}
    for name in table.stages:
        counts = Counter(record.outcome for record in own[name])
        predecessor = table.predecessor(name)
        if predecessor is None:
            published = frames_offered
            lost, surplus = max(0, published - len(own[name])), max(0, len(own[name]) - published)
        else:
            results = [record for record in own[predecessor] if record.outcome is Outcome.PROCESSED]
            published = len(results)
            sent = Counter(record.output_sequence for record in results)
            taken = Counter(record.input_sequence for record in own[name])
            lost, surplus = sum((sent - taken).values()), sum((taken - sent).values())
        accounts[name] = {
            "published": published,
            "processed": counts[Outcome.PROCESSED],
            "superseded": counts[Outcome.SUPERSEDED],
            "dropped": counts[Outcome.DROPPED],
            "unaccounted": published - len(own[name]),
            "lost": lost,
            "surplus": surplus,
        }
    return accounts


def after_warm_up(records: Sequence[StageRecord], warm_up_frames: int) -> List[StageRecord]:
    """The records without those of the first ``warm_up_frames`` sensor stamps."""
    stamps = sorted({record.stamp_ns for record in records if record.stamp_ns > 0})
    warm = set(stamps[:warm_up_frames])
    return [record for record in records if record.stamp_ns not in warm]


def stage_statistics(records: Sequence[StageRecord], table: StageTable) -> Dict[str, Dict[str, Any]]:
    """Latency of each stage over the frames it processed.

    Returns:
        stage -> the numbers named in ``STAGE_KEYS``, None where no frame was processed; ``drop_reasons`` and
        ``levels`` count records by reason and by level.
    """
    return {name: _of_stage([r for r in records if r.stage == name], stage) for name, stage in table.stages.items()}


def _of_stage(records: Sequence[StageRecord], stage: Stage) -> Dict[str, Any]:
    processed = [record for record in records if record.outcome is Outcome.PROCESSED]
    sound = [record for record in processed if _in_order(record)]
    latency = [record.latency_ms for record in sound]
    compute = [record.compute_ms for record in sound]
    return {
        "frames": len(sound),
        "compute_p50_ms": percentile(compute, 50),
        "compute_p99_ms": percentile(compute, 99),
        "wait_p50_ms": percentile([record.wait_ms for record in sound], 50),
        **_spread(latency),
        "budget_ms": stage.budget_ms,
        "deadline_ms": stage.deadline_ms,
        "misses": sum(value > stage.budget_ms for value in latency),
        "deadline_misses": sum(value > stage.deadline_ms for value in latency),
        "clock_errors": len(processed) - len(sound),
        "drop_reasons": _counted(r.detail or "no reason" for r in records if r.outcome is Outcome.DROPPED),
        "levels": _counted(record.level for record in sound if record.level),
    }


def _counted(words: Iterable[str]) -> Dict[str, int]:
    """How often each word occurs, the most frequent first."""
    return dict(Counter(words).most_common())


def _spread(latency: Sequence[float]) -> Dict[str, Optional[float]]:
    return {
        "p50_ms": percentile(latency, 50),
        "p90_ms": percentile(latency, 90),
        "p99_ms": percentile(latency, 99),
        "max_ms": percentile(latency, 100),
    }


def _in_order(record: StageRecord) -> bool:
    return 0 < record.received_ns <= record.started_ns <= record.finished_ns <= record.published_ns


@dataclass(frozen=True)
class ChainPasses:
    """The frames that went through a whole chain. F frames in the order of their stamps, S stages.

    Attributes:
        stages: of the chain, in order.
        stamps_ns: (F,) int64, sensor stamps.
        moments_ns: (F, S, 4) int64, steady clock: received, started, finished, published.
        incomplete_ns: stamps of the frames of the first stage that never came out of the last.
        clock_errors: frames left out because a moment lies before one that it must follow.
        ambiguous: frames left out because a stage processed the same stamp more than once, or one without stamp.
    """

    stages: Tuple[str, ...]
    stamps_ns: np.ndarray
    moments_ns: np.ndarray
    incomplete_ns: Tuple[int, ...]
    clock_errors: int
    ambiguous: int

    def __len__(self) -> int:
        return len(self.stamps_ns)

    @property
    def latencies_ms(self) -> np.ndarray:
        """(F,) from the frame's arrival at the first stage to the last stage's result being handed over."""
        return (self.moments_ns[:, -1, 3] - self.moments_ns[:, 0, 0]) * 1e-6

    @property
    def bounds_ns(self) -> np.ndarray:
        """(F, S, 5) int64, the moments that bound each stage's segments; neighbours share theirs.

        A result may arrive before the call that publishes it has returned. The segments still add up to the chain's
        latency: publishing then ends, and transport takes no time, at the moment of arrival.
        """
        frames, stages = self.moments_ns.shape[:2]
        flat = self.moments_ns.reshape(frames, stages * 4)
        rising = np.minimum.accumulate(flat[:, ::-1], axis=1)[:, ::-1].reshape(frames, stages, 4)
        before = np.concatenate([rising[:, :1, 0], rising[:, :-1, 3]], axis=1)
        return np.concatenate([before[:, :, None], rising], axis=2)

    @property
    def segments_ms(self) -> np.ndarray:
        """(F, S, 4) transport, wait, compute, publish; their sum over a frame is its latency."""
        return np.diff(self.bounds_ns, axis=2) * 1e-6


def chain_passes(records: Sequence[StageRecord], chain: Chain) -> ChainPasses:
    """Join the records of a chain's stages by sensor stamp."""
    entered = {record.stamp_ns for record in records if record.stage == chain.stages[0] and record.stamp_ns > 0}
    processed = [record for record in records if record.stage in chain.stages and record.outcome is Outcome.PROCESSED]
    stamped = [record for record in processed if record.stamp_ns > 0]
    times = Counter((record.stage, record.stamp_ns) for record in stamped)
    repeated = {stamp for (_, stamp), count in times.items() if count > 1}
    passes = {(record.stage, record.stamp_ns): record for record in stamped if record.stamp_ns not in repeated}
    through = [
        [passes[stage, stamp] for stage in chain.stages]
        for stamp in sorted({stamp for _, stamp in passes})
        if all((stage, stamp) in passes for stage in chain.stages)
    ]
    sound = [frame for frame in through if _sound(frame)]
    moments = [[(r.received_ns, r.started_ns, r.finished_ns, r.published_ns) for r in frame] for frame in sound]
    return ChainPasses(
        stages=chain.stages,
        stamps_ns=np.array([frame[0].stamp_ns for frame in sound], np.int64),
        moments_ns=np.array(moments, np.int64).reshape(len(sound), len(chain.stages), 4),
        incomplete_ns=tuple(sorted(entered - repeated - {frame[0].stamp_ns for frame in through})),
        clock_errors=len(through) - len(sound),
        ambiguous=len(repeated) + len(processed) - len(stamped),
    )


def _sound(frame: Sequence[StageRecord]) -> bool:
    """Whether a frame's moments can all be of one clock: no stage has a result before the one before works on it."""
    handed_over = all(after.received_ns >= before.started_ns for before, after in zip(frame, frame[1:]))
    return handed_over and all(map(_in_order, frame))


def chain_statistics(passes: ChainPasses, chain: Chain, stages: Mapping[str, Mapping[str, Any]]) -> Dict[str, Any]:
    """Latency of a chain over the frames that went all the way.

    Args:
        stages: as :func:`stage_statistics` returns, for the share that is not any stage's own work.

    Returns:
        The numbers named in ``CHAIN_KEYS``, None where no frame went through.
    """
    latency = [float(value) for value in passes.latencies_ms]
    spread = _spread(latency)
    compute = [stages[name]["compute_p50_ms"] for name in chain.stages]
    glue = glue_share = None
    if spread["p50_ms"] is not None and None not in compute:
        glue = spread["p50_ms"] - sum(compute)
        glue_share = glue / spread["p50_ms"] if spread["p50_ms"] > 0 else None
    return {
        "frames": len(passes),
        "incomplete": len(passes.incomplete_ns),
        **spread,
        "budget_ms": chain.budget_ms,
        "misses": sum(value > chain.budget_ms for value in latency),
        "glue_p50_ms": glue,
        "glue_share": glue_share,
        "clock_errors": passes.clock_errors,
        "ambiguous": passes.ambiguous,
    }


def slowest_frames(passes: ChainPasses) -> List[int]:
    """Places in ``passes`` of the SLOWEST frames with the largest latencies, largest first."""
    order = np.argsort(-passes.latencies_ms, kind="stable")
    return [int(place) for place in order[:SLOWEST]]
