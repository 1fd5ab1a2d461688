"""The parts of a summary: strict numbers, warnings, lives of tracks, provenance."""

import json
from dataclasses import replace

import numpy as np
import pytest
from report_factories import MS, make_run, make_table, make_tracks, processed, stamp_of

from l4edge_pipeline.report.lives import summarise_lives, track_lives
from l4edge_pipeline.report.provenance import describe_machine, describe_versions
from l4edge_pipeline.report.summary import measure, plain, timing_warnings

TABLE = make_table("a", "b")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (float("nan"), None),
        (np.float32("inf"), None),
        (np.float64(0.12345678), 0.123457),
        (np.int64(3), 3),
        (np.bool_(True), True),
        ((1, [None, "word"]), [1, [None, "word"]]),
        ({7: {"x": np.nan}}, {"7": {"x": None}}),
    ],
)
def test_a_summary_holds_what_strict_json_has(value, expected):
    assert plain(value) == expected
    json.dumps(plain(value), allow_nan=False)


def test_a_sound_run_gives_no_warning():
    assert timing_warnings(measure(make_run("ab", 5), TABLE, frames_offered=5)) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda r: r[:-1], "b: 1 of 5 frames are unaccounted for"),
        (lambda r: [*r, processed("b", 9, 950)], "b: 1 records more than frames"),
        (lambda r: [*r[:-1], replace(r[-1], received_ns=r[-1].published_ns + MS)], "stage b: 1 frames left out"),
        (lambda r: [*r[:-1], replace(r[-1], stamp_ns=0)], "chain all: 1 frames left out because their stamps"),
    ],
    ids=["lost", "surplus", "clock", "stamp"],
)
def test_what_is_wrong_with_the_records_is_said(change, words):
    warnings = timing_warnings(measure(change(make_run("ab", 5)), TABLE, frames_offered=5))
    assert any(line.startswith(words) for line in warnings)


def test_warm_up_leaves_latencies_but_not_the_accounting():
    records = [processed("a", 0, 0, compute_ms=500), *make_run("a", 5)[1:]]
    cold, warm = (measure(records, make_table("a"), 5, frames) for frames in (0, 1))
    assert cold.chains["all"]["max_ms"] == pytest.approx(502)
    assert warm.chains["all"]["max_ms"] == pytest.approx(6)
    assert warm.chains["all"]["incomplete"] == 0
    assert warm.frames == cold.frames
    assert (warm.stages["a"]["frames"], cold.stages["a"]["frames"]) == (4, 5)


def lives_of(*seen):
    """Track 1 in successive frames: 1 seen, 0 carried on, None absent."""
    results = {}
    for frame, state in enumerate(seen):
        tracks = make_tracks(frame)
        keep = np.array([state is not None, True])
        tracks = replace(tracks, unseen_s=np.array([0 if state else 0.1, 0], np.float32))
        results[tracks.stamp_ns] = replace(
            tracks, ids=tracks.ids[keep], boxes=tracks.boxes[keep], class_ids=tracks.class_ids[keep],
            unseen_s=tracks.unseen_s[keep],
        )  # fmt: skip
    return {life.track: life for life in track_lives(results)}


def test_a_life_runs_from_the_first_message_to_the_last():
    life = lives_of(None, 1, 1, 0, 1, 0, 0)[1]
    assert (life.stamps_ns[0], life.stamps_ns[-1]) == (stamp_of(1), stamp_of(6))
    assert (len(life.stamps_ns), life.frames_seen) == (6, 3)
    assert life.seconds == pytest.approx(0.5)
    frames = {stamp_of(frame): frame for frame in range(7)}
    spans = [(frames[start], frames[end], seen) for start, end, seen in life.spans()]
    assert spans == [(1, 2, True), (2, 3, False), (3, 4, True), (4, 6, False)]


def test_the_best_view_is_one_in_which_the_track_was_seen():
    life = lives_of(1, 1, 0)[1]
    assert life.best_view_ns in {stamp_of(0), stamp_of(1)}


def test_lives_are_listed_by_how_often_they_were_seen():
    summary = summarise_lives(list(lives_of(1, 0, None, None).values()), stamp_of(0))
    assert summary["count"] == 2
    assert summary["by_class"] == {"car": 2}
    assert [entry["id"] for entry in summary["longest"]] == [2, 1]
    assert summarise_lives([], 0) == {"count": 0, "by_class": {}, "seconds_p50": None, "longest": []}


def test_provenance_is_there():
    assert describe_machine()["cores"] >= 1
    assert describe_versions()["numpy"] == np.__version__
