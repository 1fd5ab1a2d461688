"""The supervisor: what it hears of stages, camera, localization and monitor becomes the vehicle's safety state."""

from typing import Dict, List, Optional, Sequence, Tuple

from l4edge_perception.safety_types import SafetyStatus, SafetyVerdict, State, Verdict
from l4edge_perception.types import EgoState
from l4edge_pipeline.safety.config import SupervisorConfig
from l4edge_pipeline.safety.health import LocalizationWatch, SensorWatch, StageWatch, VerdictWatch
from l4edge_pipeline.safety.states import ALARM, Demand, Inputs, SafetyState, advance
from l4edge_pipeline.stages import StageTable
from l4edge_pipeline.timing.records import Outcome


class Supervisor:
    """Takes in what arrives and says the state whenever it is asked.

    No clock is read: the caller says when each thing was seen, on a clock that does not run back.

    Args:
        table: the stages of its chains are watched, the first of them as the camera.
        config: the numbers.
        timed: False where frames wait for their stages: how long a pass took then means nothing.

    Attributes:
        state: what the last status left for the next.
    """

    def __init__(self, table: StageTable, config: SupervisorConfig, timed: bool = True) -> None:
        self.config = config
        self.state = SafetyState()
        chain = way_to_command(table)
        self._first, self._last = chain[0], chain[-1]
        self._timed = timed
        self._deadlines_ms = {name: table.stages[name].deadline_ms for name in chain}
        self._before = {name: table.predecessor(name) for name in chain[1:]}
        self._stages: Dict[str, StageWatch] = {name: StageWatch(name) for name in chain[1:]}
        self._sensor = SensorWatch(round(1e9 / table.stages[self._first].rate_hz))
        self._localization = LocalizationWatch()
        self._verdicts = VerdictWatch()
        self._frames = self._certified = 0

    def take_pass(self, stage: str, outcome: int, stamp_ns: int, latency_ms: float, now_ns: int) -> None:
        """A stage record was seen; ``latency_ms`` runs from the frame's arrival at the stage to its result."""
        processed = outcome == Outcome.PROCESSED
        if stage == self._first:
            if processed:
                self._sensor = self._sensor.frame(stamp_ns, now_ns, self.config)
        elif stage in self._stages:
            late = self._timed and not latency_ms <= self._deadlines_ms[stage]
            self._stages[stage] = self._stages[stage].ended(processed, late, now_ns, self.config)
            self._frames += processed and stage == self._last

    def take_ego(self, ego: Optional[EgoState], now_ns: int) -> None:
        """Odometry was seen; None: a message that cannot be read."""
        self._localization = self._localization.heard(ego, now_ns, self.config)

    def take_verdict(self, verdict: Optional[SafetyVerdict], now_ns: int) -> None:
        """A verdict was seen; None: a message that cannot be read."""
        before = self._verdicts
        self._verdicts = before.heard(verdict, now_ns, self.config)
        if self._verdicts.verdict is not before.verdict:
            held = self._verdicts.believed(self._sensor, now_ns, self.config)
            self._certified += held[0] == Verdict.CERTIFIED

    def status(self, now_ns: int) -> SafetyStatus:
        """Advance the state to now and say it."""
        config = self.config
        self._verdicts = self._verdicts.at(self._sensor, now_ns, config)
        inputs = Inputs(self._demands(now_ns), self._frames, self._certified, self._standing())
        self._frames = self._certified = 0
        self.state = advance(self.state, inputs, now_ns, config)
        if not any(entry.cause == ALARM for entry in self.state.held):
            self._verdicts = self._verdicts.cleared()
        verdict, reason = self._verdicts.believed(self._sensor, now_ns, config)
        state = self.state.state
        cap, gap = _limits(state, config)
        return SafetyStatus(
            stamp_ns=self._sensor.stamp_now(now_ns),
            state=state,
            reasons=self.state.reasons,
            speed_cap=cap,
            minimum_time_gap=gap,
            verdict=verdict,
            verdict_reason=reason,
            suspects=self._verdicts.suspects,
        )

    def _demands(self, now_ns: int) -> Tuple[Demand, ...]:
        config = self.config
        found = [
            self._sensor.demand(now_ns, config),
            self._localization.demand(self._sensor, now_ns, config),
            *(watch.demand(self._fed_since(name, now_ns), now_ns, config) for name, watch in self._stages.items()),
            *self._verdicts.demands(self._sensor, now_ns, config),
        ]
        return tuple(demand for demand in found if demand is not None)

    def _fed_since(self, name: str, now_ns: int) -> Optional[int]:
        """Since when the stage before ``name`` gives results; None while it does not: then that one is to blame."""
        before = self._before[name]
        if not self._sensor.alive(now_ns, self.config):
            return None
        if before not in self._stages:
            return self._sensor.since_ns
        done_ns = self._stages[before].done_ns
        if done_ns is None or now_ns - done_ns > self.config.silence_s * 1e9 / 2:
            return None
        return self._sensor.since_ns

    def _standing(self) -> bool:
        ego = self._localization.ego
        return ego is not None and abs(ego.speed) < self.config.standing_speed_mps


def way_to_command(table: StageTable) -> Sequence[str]:
    """The stages of the longest chain: the way from the camera to a command; all stages of a table without chains."""
    chains: List[Sequence[str]] = [chain.stages for chain in table.chains.values()]
    return max(chains or [[stage.name for stage in table.stages.values() if stage.part is None]], key=len)


def _limits(state: State, config: SupervisorConfig) -> Tuple[float, float]:
    """Speed cap and least time gap of a state."""
    if state == State.NOMINAL:
        return float("inf"), 0.0
    caps = {State.CAUTION: config.caution_speed_mps, State.DEGRADED: config.degraded_speed_mps}
    return caps.get(state, 0.0), config.caution_time_gap_s
