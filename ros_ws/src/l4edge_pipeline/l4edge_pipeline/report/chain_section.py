"""What the page shows of one chain."""

from typing import Any, Dict, Mapping, Sequence

import numpy as np

from l4edge_pipeline.report import charts
from l4edge_pipeline.report.latency import SEGMENTS, ChainPasses, slowest_frames
from l4edge_pipeline.report.tables import budget_share, chain_sentence, percent, show, use_style


def chain_section(
    name: str,
    summary: Mapping[str, Any],
    passes: ChainPasses,
    stamps_ns: Sequence[int],
    tracks: Mapping[int, Any],
    pictured: Sequence[int],
) -> Dict[str, Any]:
    """Boxes, charts and the table of slowest frames, as the template names them.

    Args:
        stamps_ns: of all frames of the recording.
        tracks: results of tracking by stamp.
        pictured: indices of the frames that the player shows.
    """
    numbers = summary["chains"][name]
    segments = passes.segments_ms
    mean = segments.mean(axis=0) if len(passes) else np.zeros((len(passes.stages), len(SEGMENTS)))
    section = {
        "name": name,
        "boxes": [_box(stage, summary["stages"][stage], mean[place, 0]) for place, stage in enumerate(passes.stages)],
        "sentence": _sentence(name, numbers),
        "over_time": None,
    }
    if not len(passes):
        return section
    first_ns = min([*stamps_ns[:1], *passes.incomplete_ns[:1], passes.stamps_ns[0]])
    seconds = (passes.stamps_ns - first_ns) * 1e-9
    missing = [(stamp - first_ns) * 1e-9 for stamp in passes.incomplete_ns]
    slowest = slowest_frames(passes)
    index = {stamp: place for place, stamp in enumerate(stamps_ns)}
    usual = np.median(segments, axis=0)
    rows = []
    for place in slowest:
        stamp = int(passes.stamps_ns[place])
        rows.append(
            {
                "frame": index.get(stamp, "–"),
                "linked": index.get(stamp) in pictured,
                "seconds": show(float(seconds[place])),
                "latency": show(float(passes.latencies_ms[place])),
                "share": percent(float(passes.latencies_ms[place]) / numbers["budget_ms"]),
                "cause": _cause(passes.stages, segments[place] - usual),
                "tracks": show(len(tracks[stamp]) if stamp in tracks else None),
            }
        )
    labels = [
        "frame {}: {:.0f} ms".format(row["frame"], passes.latencies_ms[place]) for row, place in zip(rows, slowest)
    ]
    section.update(
        over_time=charts.latency_over_time(seconds, passes.latencies_ms, missing, numbers["budget_ms"]),
        distribution=charts.latency_distribution(passes.latencies_ms, numbers["budget_ms"]),
        segments=charts.segment_bars(passes.stages, mean),
        slowest_bars=charts.frame_bars(labels, passes.stages, segments[slowest], numbers["budget_ms"]),
        slowest=rows,
    )
    return section


def _box(stage: str, numbers: Mapping[str, Any], transport_ms: float) -> Dict[str, Any]:
    share = budget_share(numbers)
    return {
        "name": stage,
        "style": use_style(share),
        "share": min(100, round(100 * (share or 0))),
        "p50": show(numbers["p50_ms"]),
        "p99": show(numbers["p99_ms"]),
        "budget": "{:g}".format(numbers["budget_ms"]),
        "transport": f"{transport_ms:.2f} ms",
    }


def _sentence(name: str, numbers: Mapping[str, Any]) -> str:
    sentence = chain_sentence(name, numbers) + "."
    if numbers["glue_p50_ms"] is not None:
        sentence += " Glue, the part of the median that is no stage's own work: {:.1f} ms ({}).".format(
            numbers["glue_p50_ms"], percent(numbers["glue_share"])
        )
    if numbers["incomplete"]:
        sentence += " {} frames reached the first stage and gave no result; the chart marks them at its foot.".format(
            numbers["incomplete"]
        )
    return sentence


def _cause(stages: Sequence[str], excess_ms: np.ndarray) -> str:
    """Which segment of which stage took most beyond its median."""
    stage, segment = divmod(int(np.argmax(excess_ms)), len(SEGMENTS))
    return f"{stages[stage]}: {SEGMENTS[segment]} +{excess_ms[stage, segment]:.2f} ms"
