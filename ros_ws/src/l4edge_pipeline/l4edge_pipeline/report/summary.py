"""Puts everything measured and judged into one dictionary that JSON can hold."""

import math
from dataclasses import asdict, dataclass
from typing import Any, Dict, List, Mapping, Optional, Sequence

import numpy as np

from l4edge_perception.recordings.events import Recording
from l4edge_pipeline.report import latency
from l4edge_pipeline.report.provenance import describe_machine, describe_versions
from l4edge_pipeline.stages import StageTable
from l4edge_pipeline.timing.records import StageRecord

VERSION = 1
"""Of the form of summary.json."""

FINISHED = "finished"
REAL_TIME, LOCKSTEP = "real time", "lockstep"


@dataclass(frozen=True)
class RunInfo:
    """What only whoever started the run knows.

    Attributes:
        mode: REAL_TIME or LOCKSTEP.
        started: when, ISO 8601.
        command_line: as typed.
        exit_state: ``finished``, or in a few words how the run ended.
        frames_offered: how many frames were to be played until the run ended; None: all of the recording.
        speed: pace of a real-time run; 2.0 is twice as fast as recorded.
        detector, level: model package and operating point; empty where unknown.
        warm_up_frames: how many frames at the start are left out of the latencies.
    """

    mode: str
    started: str
    command_line: str = ""
    exit_state: str = FINISHED
    frames_offered: Optional[int] = None
    speed: float = 1.0
    detector: str = ""
    level: str = ""
    warm_up_frames: int = 0


@dataclass(frozen=True)
class Timing:
    """All that the stage records say."""

    frames: Dict[str, Dict[str, int]]
    stages: Dict[str, Dict[str, Any]]
    chains: Dict[str, Dict[str, Any]]
    passes: Dict[str, latency.ChainPasses]


def measure(records: Sequence[StageRecord], table: StageTable, frames_offered: int, warm_up_frames: int = 0) -> Timing:
    """Evaluate the stage records of a run. Warm-up frames are left out of latencies, never out of the accounting."""
    measured = latency.after_warm_up(records, warm_up_frames)
    stages = latency.stage_statistics(measured, table)
    passes = {name: latency.chain_passes(measured, chain) for name, chain in table.chains.items()}
    return Timing(
        frames=latency.account_frames(records, table, frames_offered),
        stages=stages,
        chains={name: latency.chain_statistics(passes[name], chain, stages) for name, chain in table.chains.items()},
        passes=passes,
    )


def build_summary(
    run: RunInfo,
    recording: Recording,
    frames_in_recording: int,
    timing: Timing,
    judgement: Mapping[str, Any],
    absent: Mapping[str, str],
    tracks: Mapping[str, Any],
    warnings: Sequence[str],
) -> Dict[str, Any]:
    """The content of summary.json, without the verdicts on requirements.

    Args:
        frames_in_recording: counted, readable or not; what a container claims may differ.
        judgement: sections by name, of :mod:`.judgement`.
        absent: section -> why it is missing.
        tracks: of :func:`.lives.summarise_lives`.
        warnings: found so far; those that follow from the timing are added.
    """
    return plain(
        {
            "version": VERSION,
            "run": asdict(run),
            "recording": {
                "path": str(recording.path),
                "kind": recording.kind,
                "frames": frames_in_recording,
                "width": recording.width,
                "height": recording.height,
                "rate_hz": recording.rate_hz,
                "duration_s": recording.duration_s,
                "assumptions": list(recording.assumptions),
            },
            "frames": timing.frames,
            "stages": timing.stages,
            "chains": timing.chains,
            **judgement,
            "absent": dict(absent),
            "tracks": tracks,
            "machine": describe_machine(),
            "versions": describe_versions(),
            "warnings": [*_run_warnings(run), *warnings, *timing_warnings(timing)],
        }
    )


def _run_warnings(run: RunInfo) -> List[str]:
    return [] if run.exit_state == FINISHED else [f"the run did not finish: {run.exit_state}"]


def timing_warnings(timing: Timing) -> List[str]:
    """One line for each thing in the stage records that must not pass unseen."""
    warnings = []
    for stage, account in timing.frames.items():
        if account["lost"]:
            warnings.append(
                "{}: {} of {} frames are unaccounted for: neither processed, superseded nor dropped".format(
                    stage, account["lost"], account["published"]
                )
            )
        if account["surplus"]:
            warnings.append(
                "{}: {} records more than frames that were published to it".format(stage, account["surplus"])
            )
    for kind, entries in (("stage", timing.stages), ("chain", timing.chains)):
        for name, numbers in entries.items():
            if numbers["clock_errors"]:
                warnings.append(
                    "{} {}: {} frames left out because their moments run backwards: "
                    "clocks of different machines or boots are mixed".format(kind, name, numbers["clock_errors"])
                )
    for name, numbers in timing.chains.items():
        if numbers["ambiguous"]:
            warnings.append(
                "chain {}: {} frames left out because their stamps are missing or not unique".format(
                    name, numbers["ambiguous"]
                )
            )
    return warnings


def plain(value: Any) -> Any:
    """The same with nothing but what strict JSON has: numbers that are not finite become None."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return round(value, 6) if math.isfinite(value) else None
    return value
