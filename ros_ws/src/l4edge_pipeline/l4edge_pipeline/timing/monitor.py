"""The running health of one stage, judged from its stage records."""

from typing import Dict, Optional, Tuple, Union

from l4edge_pipeline.stages import Stage
from l4edge_pipeline.timing.records import Outcome
from l4edge_pipeline.timing.statistics import LatencyHistogram

Values = Dict[str, Union[int, float]]


class StageHealth:
    """Counts and percentiles since the start, and what changed since the last report.

    Args:
        stage: whose budget and deadline are watched.
        silence_s: without a record for so long, a stage that has worked before counts as silent.
    """

    def __init__(self, stage: Stage, silence_s: float):
        self.stage = stage
        self._silence_ns = int(silence_s * 1e9)
        self._histogram = LatencyHistogram()
        self._counts = dict.fromkeys(Outcome, 0)
        self._misses = 0
        self._reported_misses = 0
        self._reported_drops = 0
        self._last_record_ns: Optional[int] = None

    def add(self, outcome: int, latency_ms: float, now_ns: int) -> None:
        """Take in one record; ``latency_ms`` counts for processed frames only."""
        self._counts[Outcome(outcome)] += 1
        self._last_record_ns = now_ns
        if outcome == Outcome.PROCESSED:
            self._histogram.add(latency_ms)
            self._misses += latency_ms > self.stage.deadline_ms

    def report(self, now_ns: int) -> Tuple[str, str, Values]:
        """Level (ok, warning, error), one sentence, and the numbers behind it."""
        misses = self._misses - self._reported_misses
        drops = self._counts[Outcome.DROPPED] - self._reported_drops
        self._reported_misses, self._reported_drops = self._misses, self._counts[Outcome.DROPPED]
        values: Values = {outcome.name.lower(): count for outcome, count in self._counts.items()}
        values["deadline_misses"] = self._misses
        if self._histogram.count:
            percentiles = {f"p{share}_ms": self._histogram.percentile(share) for share in (50, 90, 99)}
            values.update({name: round(value, 3) for name, value in percentiles.items() if value is not None})
        if self._last_record_ns is None:
            return "ok", "no frame yet", values
        if now_ns - self._last_record_ns > self._silence_ns:
            return "error", f"silent for {(now_ns - self._last_record_ns) * 1e-9:.1f} s", values
        if misses or drops:
            return "warning", f"{misses} deadline misses, {drops} drops since the last report", values
        return "ok", "on time", values
