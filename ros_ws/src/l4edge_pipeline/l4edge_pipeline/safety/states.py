"""The vehicle's safety states as a pure machine: what each cause asks for goes in, what is held comes out.

Each cause escalates at once and one way; it returns by hysteresis, one state at a time. The vehicle is in the highest
state that any cause holds. After the consumer side that surveys of safety monitors call reaction (identify, detect,
react); the states and numbers are the project's own.
"""

from dataclasses import dataclass, replace
from typing import Dict, Optional, Tuple

from l4edge_perception.safety_types import State
from l4edge_pipeline.safety.config import SupervisorConfig

ALARM = "alarm"  # the monitor says that one region decides what the network says
MONITOR = "monitor"  # no verdict in time, or one that says that the monitor itself does not work
UNCERTIFIED = "uncertified"  # the monitor works and cannot certify: too small, too unsure, too close
SENSOR = "sensor"
LOCALIZATION = "localization"

OF_VERDICTS = (ALARM, MONITOR, UNCERTIFIED)
"""Causes that only certified frames clear; the others are cleared by any frame that went all the way."""


@dataclass(frozen=True)
class Demand:
    """What one cause asks for now.

    Attributes:
        cause: one of the words above, or "stage" and its name.
        state: above NOMINAL.
        word: why, for a person and a log.
    """

    cause: str
    state: State
    word: str


@dataclass(frozen=True)
class Inputs:
    """What happened since the last advance.

    Attributes:
        demands: of all causes.
        frames: that went all the way from the camera to a command.
        certified: that the monitor certified.
        standing: whether the vehicle stands now.
    """

    demands: Tuple[Demand, ...] = ()
    frames: int = 0
    certified: int = 0
    standing: bool = False


@dataclass(frozen=True)
class Held:
    """A cause that holds the vehicle above NOMINAL.

    Attributes:
        cause, state, word: as it last asked for, or what is left of it on the way back.
        since_ns: when it came to this state.
        asked_ns: when it last asked for anything, or came down a state.
        clean: frames since then that count for its return.
    """

    cause: str
    state: State
    word: str
    since_ns: int
    asked_ns: int
    clean: int = 0


@dataclass(frozen=True)
class SafetyState:
    """All that is held, one entry a cause."""

    held: Tuple[Held, ...] = ()

    @property
    def state(self) -> State:
        """The highest of all causes."""
        return max((entry.state for entry in self.held), default=State.NOMINAL)

    @property
    def reasons(self) -> Tuple[str, ...]:
        """Every cause with its word, those that hold the highest state first."""
        ordered = sorted(self.held, key=lambda entry: (-entry.state, entry.cause))
        return tuple(f"{entry.cause}: {entry.word}" for entry in ordered)


def advance(state: SafetyState, inputs: Inputs, now_ns: int, config: SupervisorConfig) -> SafetyState:
    """One step of the machine; depends on its arguments alone.

    Args:
        state: before.
        inputs: since the last step.
        now_ns: on a clock that does not run back; one that does is taken to stand still.
        config: the hysteresis.
    """
    asked: Dict[str, Demand] = {}
    for demand in inputs.demands:
        if demand.state > State.NOMINAL and (
            demand.cause not in asked or demand.state > asked[demand.cause].state
        ):
            asked[demand.cause] = demand
    known = {entry.cause: entry for entry in state.held}
    steps = (_step(known.get(cause), asked.get(cause), inputs, now_ns, config) for cause in sorted({*known, *asked}))
    return SafetyState(tuple(entry for entry in steps if entry is not None))


def _step(
    held: Optional[Held], demand: Optional[Demand], inputs: Inputs, now_ns: int, config: SupervisorConfig
) -> Optional[Held]:
    if held is None or (demand is not None and demand.state > held.state):
        return None if demand is None else Held(demand.cause, demand.state, demand.word, now_ns, now_ns)
    if demand is not None:
        # A weaker demand does not lower the state, but nor does it let the way back begin.
        word = demand.word if demand.state == held.state else held.word
        return replace(held, word=word, asked_ns=now_ns, clean=0)
    clean = held.clean + (inputs.certified if held.cause in OF_VERDICTS else inputs.frames)
    frames, wait_ns = config.hysteresis(held.state)
    stays = held.state == State.MINIMAL_RISK_MANOEUVRE and not inputs.standing
    if stays or clean < frames or now_ns - held.asked_ns < wait_ns:
        return replace(held, clean=clean)
    below = State(held.state - 1)
    return None if below == State.NOMINAL else Held(held.cause, below, held.word, now_ns, now_ns)
