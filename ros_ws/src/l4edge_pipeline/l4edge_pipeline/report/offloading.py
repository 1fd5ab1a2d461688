"""What runs with offloading say: the chain's misses, who did the offloaded work, what became of a load's requests."""

import json
import re
from pathlib import Path
from typing import Any, Dict, Optional, Sequence

from l4edge_perception.recordings.storage import Storage
from l4edge_perception.recordings.typestore import load_typestore
from l4edge_pipeline.report.latency import after_warm_up, chain_passes
from l4edge_pipeline.report.outputs import TIMING, record_from_message
from l4edge_pipeline.stages import StageTable
from l4edge_pipeline.timing.statistics import percentile

WARM_UP_FRAMES = 10


def read_misses(folder: Path, table: StageTable) -> Dict[str, Any]:
    """Latencies and misses of the longest chain of a run, and how often signs were read by whom.

    A frame that did not come to its end counts as missed, as one does that came too late.
    """
    store = load_typestore()
    with Storage(folder / TIMING) as storage:
        entries = storage.messages([table.services["recorder"].inputs["records"]])
        records = [record_from_message(store.deserialize_cdr(entry.data, entry.message_type)) for entry in entries]
    chain = max(table.chains.values(), key=lambda entry: len(entry.stages))
    passes = chain_passes(after_warm_up(records, WARM_UP_FRAMES), chain)
    latencies = [float(value) for value in passes.latencies_ms]
    return {
        "frames": len(latencies) + len(passes.incomplete_ns),
        "incomplete": len(passes.incomplete_ns),
        "late": sum(value > chain.budget_ms for value in latencies),
        "latencies_ms": latencies,
        "signs": _who_read_signs(folder / "logs" / "detection.log"),
    }


def _who_read_signs(log: Path) -> Dict[str, int]:
    """What the detection node says at its end: runs of the classifier by who did them."""
    found = re.findall(r"signs were read: (\{.*\})", log.read_text(errors="replace")) if log.is_file() else []
    counts: Dict[str, int] = json.loads(found[-1]) if found else {}
    return counts


def request_summary(books: Any) -> Dict[str, Any]:
    """What became of the requests of a load, given its books (``nodes/benchmark_offload.py``)."""
    ended = sum(books.ends.values())
    return {
        "sent": books.sent,
        **{name: books.ends.get(name, 0) for name in ("answered", "refused", "timed_out", "cancelled")},
        "unaccounted": books.sent - ended,
        "reasons": dict(sorted(books.reasons.items())),
        "wrong_answers": books.wrong,
        "words_after_the_end": books.late_words,
        "latency_p50_ms": percentile(books.latency_ms, 50),
        "latency_p99_ms": percentile(books.latency_ms, 99),
        "modelled_p50_ms": _milliseconds(percentile(books.modelled_s, 50)),
        "wall_p50_ms": _milliseconds(percentile(books.wall_s, 50)),
        "slower_than_modelled": sum(wall > modelled for wall, modelled in zip(books.wall_s, books.modelled_s)),
    }


def _milliseconds(seconds: Optional[float]) -> Optional[float]:
    return None if seconds is None else 1e3 * seconds


def chain_summary(without: Optional[Dict[str, Any]], runs: Sequence[Dict[str, Any]]) -> Dict[str, Any]:
    """Misses of the chain without and with offloading, and who read the signs; nothing where no chain ran.

    Args:
        without, runs: as :func:`read_misses` returns.
    """
    if without is None:
        return {}
    signs: Dict[str, int] = {}
    for run in runs:
        for reason, count in run["signs"].items():
            signs[reason] = signs.get(reason, 0) + count
    beside = _chain(runs)
    return {"chain": {"without": _chain([without]), "with": beside}, "signs_read": signs,
            "chain_deadline_misses": beside["misses_share"]}


def _chain(runs: Sequence[Dict[str, Any]]) -> Dict[str, Any]:
    latencies = [value for run in runs for value in run["latencies_ms"]]
    frames, late, incomplete = (sum(run[name] for run in runs) for name in ("frames", "late", "incomplete"))
    return {
        "frames": frames, "p50_ms": percentile(latencies, 50), "p99_ms": percentile(latencies, 99),
        "late": late, "incomplete": incomplete,
        "misses_share": round((late + incomplete) / frames, 5) if frames else None,
    }
