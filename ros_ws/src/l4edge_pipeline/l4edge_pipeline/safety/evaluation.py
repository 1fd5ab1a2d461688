"""What a recorded run says of the safety monitor: when its verdicts came, and whether any claims too much."""

from pathlib import Path
from typing import List, Optional, Sequence, Tuple

from l4edge_perception.errors import InputError
from l4edge_perception.recordings.messages import from_message
from l4edge_perception.recordings.storage import Storage
from l4edge_perception.recordings.typestore import load_typestore
from l4edge_perception.safety_types import Claim, SafetyVerdict, Verdict
from l4edge_pipeline.report.latency import after_warm_up, chain_passes
from l4edge_pipeline.report.outputs import RESULTS, TIMING, record_from_message
from l4edge_pipeline.stages import StageTable, load_stages
from l4edge_pipeline.timing.records import Outcome, StageRecord

SAFETY = "safety"
"""The monitor's stage."""


def read_run(folder: Path) -> Tuple[List[StageRecord], List[SafetyVerdict]]:
    """Stage records and verdicts of a run folder, in the order of recording.

    Raises:
        InputError: a bag is missing or broken.
        ValueError: a verdict is not one.
    """
    table, store = load_stages(monitor=True), load_typestore()
    records: List[StageRecord] = []
    verdicts: List[SafetyVerdict] = []
    with Storage(folder / TIMING) as storage:
        entries = storage.messages([table.services["recorder"].inputs["records"]])
        records += [record_from_message(store.deserialize_cdr(entry.data, entry.message_type)) for entry in entries]
    stage = table.stages[SAFETY]
    try:
        with Storage(folder / RESULTS) as storage:
            entries = storage.messages([stage.outputs[stage.result]])
            verdicts += [from_message(store.deserialize_cdr(entry.data, entry.message_type)) for entry in entries]
    except InputError:
        if any(record.stage == SAFETY and record.outcome is Outcome.PROCESSED for record in records):
            raise
    return records, verdicts


def chain_latencies(records: Sequence[StageRecord], table: StageTable, warm_up_frames: int) -> List[float]:
    """Milliseconds from each frame's arrival to its command, of the longest chain."""
    chain = max(table.chains.values(), key=lambda entry: len(entry.stages))
    passes = chain_passes(after_warm_up(records, warm_up_frames), chain)
    return [float(value) for value in passes.latencies_ms]


def verdict_delays(
    records: Sequence[StageRecord], warm_up_frames: int, from_stage: str = "sensing"
) -> List[Optional[float]]:
    """Milliseconds from each frame's arrival at a stage to its verdict, or None where none was given.

    Args:
        from_stage: whose arrival counts; every frame that it processed is asked for.
    """
    sound = after_warm_up(records, warm_up_frames)
    said = {
        record.stamp_ns: record.published_ns
        for record in sound if record.stage == SAFETY and record.outcome is Outcome.PROCESSED
    }
    arrived = {
        record.stamp_ns: record.received_ns
        for record in sound if record.stage == from_stage and record.outcome is Outcome.PROCESSED
    }
    return [
        (said[stamp_ns] - arrived[stamp_ns]) * 1e-6 if stamp_ns in said else None for stamp_ns in sorted(arrived)
    ]


def overclaims(verdict: SafetyVerdict) -> int:
    """How many certificates of a verdict speak of more than was covered; 0 in a sound run."""
    found = 0
    for entry in verdict.objects:
        whole = entry.covered >= 1.0 and entry.passes_done >= entry.passes_required > 0
        if not whole and (entry.verdict == Verdict.CERTIFIED or entry.largest_patch_px > 0):
            found += 1
    whole = verdict.covered >= 1.0 and verdict.passes_done >= verdict.passes_required
    unsure = any(entry.verdict == Verdict.ALARM for entry in verdict.objects)
    claims = verdict.verdict == Verdict.CERTIFIED or verdict.claim not in (Claim.NO_CLAIM, Claim.RECOVERED)
    if claims and (not whole or unsure or not verdict.self_test_passed):
        found += 1
    if verdict.free_space.certified.any() and not whole:
        found += 1
    return found
