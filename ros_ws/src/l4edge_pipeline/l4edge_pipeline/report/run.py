"""From a run's folder to ``summary.json`` and ``report.html``."""

import json
from pathlib import Path
from typing import Any, Callable, Dict, Optional, Sequence

from l4edge_perception.files import write_text
from l4edge_perception.recordings.events import Recording
from l4edge_pipeline.report.gallery import Drawing, walk
from l4edge_pipeline.report.judgement import judge
from l4edge_pipeline.report.lives import summarise_lives, track_lives
from l4edge_pipeline.report.outputs import read_outputs
from l4edge_pipeline.report.page import CARDS, Material, render_page
from l4edge_pipeline.report.requirements import Requirement, check_requirements
from l4edge_pipeline.report.summary import RunInfo, build_summary, measure
from l4edge_pipeline.stages import StageTable

SUMMARY, PAGE = "summary.json", "report.html"

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and how much there is."""


def analyse_run(
    run_folder: Path,
    recording: Recording,
    table: StageTable,
    run: RunInfo,
    requirements: Sequence[Requirement] = (),
    page: bool = True,
    on_progress: Optional[Progress] = None,
) -> Dict[str, Any]:
    """Evaluate a finished or broken-off run and write ``summary.json`` and ``report.html`` into its folder.

    Args:
        run_folder: holds ``bag/`` and ``timing/``; either may be missing, which gives a warning.
        recording: that was played, opened with the same options.
        table: of stages that was run.
        run: what only the caller knows.
        requirements: limits that the summary is held against.
        page: False: write the summary only, without pictures.

    Returns:
        The summary. ``requirements`` holds the verdicts, ``requirements_hold`` whether all limits hold.

    Raises:
        InputError: the recording is damaged, or a library that the report needs is missing.
    """
    say = on_progress or (lambda what, done, total: None)
    say("reading results", 0, 1)
    outputs = read_outputs(run_folder, table)
    lives = track_lives(outputs.tracks)
    drawing = Drawing(outputs, table, recording.frame_count, lives[:CARDS]) if page else None
    seen = walk(recording, drawing, lambda done: say("reading the recording", done, recording.frame_count))
    in_recording = len(seen.stamps_ns) + seen.rejected
    offered = in_recording if run.frames_offered is None else run.frames_offered
    timing = measure(outputs.records, table, offered, run.warm_up_frames)
    say("judging", 0, 1)
    sections, absent = judge(outputs, seen.truths, seen.stamps_ns[:offered])
    first_ns = seen.stamps_ns[0] if seen.stamps_ns else 0
    summary = build_summary(
        run, recording, in_recording, timing, sections, absent, summarise_lives(lives, first_ns), outputs.warnings
    )
    summary["requirements"] = check_requirements(requirements, summary)
    summary["requirements_hold"] = all(row["held"] for row in summary["requirements"])
    write_text(run_folder / SUMMARY, json.dumps(summary, indent=2, allow_nan=False) + "\n")
    if page:
        say("writing the page", 0, 1)
        write_text(run_folder / PAGE, render_page(summary, Material(timing, outputs, seen, lives)))
    return summary
