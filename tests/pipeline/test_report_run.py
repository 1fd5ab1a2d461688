"""The whole way from a run's folder to summary.json and report.html."""

import json
import re
import sys
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from report_factories import ended, make_run, make_tracks, make_truth, stamp_of, write_recording, write_run
from rich.console import Console

from l4edge_perception.recordings.reader import open_recording
from l4edge_pipeline.report.requirements import known_paths, parse_requirements
from l4edge_pipeline.report.run import analyse_run
from l4edge_pipeline.report.summary import RunInfo
from l4edge_pipeline.report.tables import flatten
from l4edge_pipeline.report.terminal import print_summary
from l4edge_pipeline.stages import load_stages
from l4edge_pipeline.timing.records import Outcome

FRAMES = 8
TABLE = load_stages()
STAGES = tuple(TABLE.stages)
RUN = RunInfo("real time", "2026-01-02T03:04:05+00:00", "l4edge replay drive", frames_offered=FRAMES, detector="d")


def analyse(folder, requirements=(), run=RUN, page=True, recording="recording"):
    limits = parse_requirements(requirements, TABLE)
    return analyse_run(folder, open_recording(folder / recording), TABLE, run, limits, page)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A sound run over a drive with everything; frame 5 was superseded at tracking."""
    folder = tmp_path_factory.mktemp("whole")
    write_recording(folder / "recording", FRAMES)
    skipped = {(stage, 5) for stage in STAGES[2:]}
    records = [r for r in make_run(STAGES, FRAMES) if (r.stage, r.input_sequence) not in skipped]
    # Behind tracking, messages are counted without the frame that it skipped.
    records = [_renumbered(r) for r in records]
    records.append(ended("tracking", 5, Outcome.SUPERSEDED))
    write_run(folder, TABLE, [frame for frame in range(FRAMES) if frame != 5], records)
    summary = analyse(folder, ["chains.sensor_to_command.p99_ms<=100", "detection.ap50>0.99"])
    return folder, summary


def _renumbered(record):
    place = STAGES.index(record.stage)
    later = record.input_sequence > 5
    return replace(
        record,
        input_sequence=record.input_sequence - (later and place > 2),
        output_sequence=record.output_sequence - (later and place > 1),
    )


def test_every_frame_is_accounted_for(whole):
    _, summary = whole
    assert {name: (a["published"], a["processed"]) for name, a in summary["frames"].items()} == {
        "sensing": (8, 8), "detection": (8, 8), "tracking": (8, 7), "planning": (7, 7), "control": (7, 7),
    }  # fmt: skip
    assert all(account["lost"] == account["surplus"] == 0 for account in summary["frames"].values())
    assert summary["warnings"] == []


def test_a_frame_without_result_counts_as_missed(whole):
    _, summary = whole
    assert summary["detection"]["frames"] == FRAMES
    assert summary["detection"]["frames_without_result"] == 1
    # 14 of 16 objects are found without a false alarm: precision is 1 up to a recall of 7/8.
    assert summary["detection"]["ap50"] == pytest.approx(88 / 101, abs=1e-6)
    assert summary["tracking"]["id_switches"] == 0
    assert summary["tracking"]["mota"] == pytest.approx(14 / 16)


def test_the_verdicts_follow_the_limits(whole):
    _, summary = whole
    assert [row["held"] for row in summary["requirements"]] == [True, False]
    assert summary["requirements_hold"] is False


def test_the_file_holds_the_summary(whole):
    folder, summary = whole
    assert json.loads((folder / "summary.json").read_text()) == summary


def test_every_limitable_number_of_a_whole_run_exists(whole):
    """Paths that can be required are those that a run gives: no more, no less."""
    _, summary = whole
    found = {path for path, value in flatten(summary) if value is None or isinstance(value, (int, float))}
    sections = ("frames.", "stages.", "chains.", "detection.", "tracking.", "driving.")
    free = re.compile(
        r"\.(drop_reasons|levels|reasons)\.|\.(objects|frames_without_result|deviation)$|^(detection|tracking)\.frames$"
    )
    measured = {path for path in found if path.startswith(sections) and not free.search(path)}
    offered = {path for path in known_paths(TABLE) if ".per_class." not in path or ".car." in path}
    judged = {path for path in measured if ".per_class." not in path or ".car." in path}
    assert judged == offered


class Page(HTMLParser):
    """Collects what a browser would load, run or show."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.addresses, self.tags, self.words = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.addresses += [
            value or "" for key, value in attributes if key in ("src", "href", "srcset", "action", "data")
        ]

    def handle_data(self, data):
        self.words.append(data)


def test_the_page_needs_no_network_and_no_other_file(whole):
    text = (whole[0] / "report.html").read_text()
    page = Page(text)
    assert page.addresses
    assert all(address.startswith(("data:image/jpeg;base64,", "#")) for address in page.addresses)
    assert not re.search(r"(https?:)?//[a-z]", re.sub(r"[A-Za-z0-9+/=]{200,}", "", text))
    assert not re.search(r"@import|url\(", text)
    assert "default-src 'none'" in text


def test_the_page_shows_each_part(whole):
    text = (whole[0] / "report.html").read_text()
    assert "1 of 2 required limits do not hold" in text
    for part in ("sensor_to_command", "balanced", "AP50", "HOTA", "least time to collision", "l4edge replay drive"):
        assert part in text
    pictures = json.loads(re.search(r'id="pictures">(.*?)</script>', text, re.S).group(1))
    assert [picture["frame"] for picture in pictures] == list(range(FRAMES))


def test_the_terminal_says_the_same(whole):
    folder, summary = whole
    console = Console(record=True, width=100, file=open("/dev/null", "w"))  # noqa: SIM115
    print_summary(summary, folder, console)
    text = console.export_text()
    for part in ("7/8", "1 superseded", "not held", "report.html", "median 38.0 ms"):
        assert part in text


HOSTILE = '<script>alert("x")</script><img src=http://evil.example/x>&amp;'


def test_hostile_names_are_shown_not_run(tmp_path):
    write_recording(tmp_path / "recording", 3)
    (tmp_path / "recording").rename(tmp_path / "a<b>&'\"rec")
    records = [replace(r, level=HOSTILE, frame_id=HOSTILE, node=HOSTILE) for r in make_run(STAGES, 3)]
    records.append(ended("planning", 3, Outcome.DROPPED, HOSTILE, stamp_of(3)))
    write_run(tmp_path, TABLE, range(3), records)
    run = RunInfo(HOSTILE, HOSTILE, HOSTILE, HOSTILE, 3, 1.0, HOSTILE, HOSTILE)
    analyse(tmp_path, run=run, recording="a<b>&'\"rec")
    page = Page((tmp_path / "report.html").read_text())
    assert page.tags.count("script") == 2  # the pictures and the player
    assert not any("evil" in address for address in page.addresses)
    assert page.words.count(HOSTILE) >= 1
    assert "a<b>&'\"rec" in page.words


def test_a_plain_drive_without_truth_or_odometry(tmp_path):
    write_recording(tmp_path / "recording", 4, truth=None, odometry=False)
    write_run(tmp_path, TABLE, range(4), make_run(STAGES, 4), odometry=False)
    summary = analyse(tmp_path, ["tracking.hota>=0"])
    assert not {"detection", "tracking", "driving"} & set(summary)
    assert summary["absent"] == {
        "detection": "the recording holds no ground truth",
        "tracking": "the recording holds no ground truth",
        "driving": "the recording holds no odometry",
    }
    assert summary["requirements"][0]["value"] is None
    assert not summary["requirements_hold"]
    assert "Not judged: the recording holds no ground truth" in (tmp_path / "report.html").read_text()


def test_a_run_in_which_a_node_died(tmp_path):
    write_recording(tmp_path / "recording", FRAMES)
    alive = [r for r in make_run(STAGES, FRAMES) if r.stage in STAGES[:2] or r.input_sequence < 3]
    write_run(tmp_path, TABLE, range(3), alive)
    summary = analyse(tmp_path, run=replace(RUN, exit_state="tracking died with signal 9"))
    assert summary["frames"]["tracking"]["lost"] == 5
    assert summary["chains"]["sensor_to_command"]["frames"] == 3
    assert summary["chains"]["sensor_to_command"]["incomplete"] == 5
    assert summary["warnings"][0] == "the run did not finish: tracking died with signal 9"
    assert any("5 of 8 frames are unaccounted for" in line for line in summary["warnings"])
    text = (tmp_path / "report.html").read_text()
    assert "not balanced" in text and "tracking died with signal 9" in text


def test_a_run_of_which_nothing_is_left(tmp_path):
    write_recording(tmp_path / "recording", 3)
    summary = analyse(tmp_path, ["chains.sensor_to_command.p99_ms<=100"], replace(RUN, frames_offered=None))
    assert len([line for line in summary["warnings"] if "missing; the recorder" in line]) == 2
    assert summary["frames"]["sensing"]["lost"] == 3
    assert summary["chains"]["sensor_to_command"]["p99_ms"] is None
    assert summary["detection"]["ap50"] == 0
    assert not summary["requirements_hold"]
    assert (tmp_path / "report.html").is_file()


def test_records_that_cannot_be_read_are_missed_aloud(tmp_path):
    write_recording(tmp_path / "recording", 2)
    write_run(tmp_path, TABLE, range(2), [])
    assert "timing: holds no message of /timing/stage_records" in analyse(tmp_path, page=False)["warnings"]


def test_frames_that_were_never_offered_are_not_judged(tmp_path):
    """A run stopped by its user after 4 of 8 frames."""
    write_recording(tmp_path / "recording", FRAMES)
    write_run(tmp_path, TABLE, range(4), make_run(STAGES, 4))
    summary = analyse(tmp_path, run=replace(RUN, frames_offered=4, exit_state="stopped"), page=False)
    assert summary["detection"]["frames"] == 4
    assert summary["detection"]["ap50"] == pytest.approx(1)
    assert summary["frames"]["sensing"]["lost"] == 0
    assert not (tmp_path / "report.html").exists()


def test_a_planned_collision_is_told(tmp_path):
    def blocked(frame):
        return replace(make_truth(frame), positions=np.array([[12.0, 0, 0], [60, -3, 0]]))

    write_recording(tmp_path / "recording", FRAMES, truth=blocked)
    write_run(tmp_path, TABLE, range(FRAMES), make_run(STAGES, FRAMES))
    driving = analyse(tmp_path, ["driving.collisions==0"])["driving"]
    assert driving["collisions"] == driving["collisions_by_contact"]["front"] == 1
    assert "planned contact with car #7 at the front" in (tmp_path / "report.html").read_text()


def test_without_a_metrics_library_the_rest_is_reported(tmp_path, monkeypatch):
    write_recording(tmp_path / "recording", 3)
    write_run(tmp_path, TABLE, range(3), make_run(STAGES, 3))
    for name in ("trackeval", "trackeval.metrics", "trackeval.datasets", "pycocotools.coco"):
        monkeypatch.setitem(sys.modules, name, None)
    summary = analyse(tmp_path, ["tracking.hota>0.5"], page=False)
    assert "trackeval" in summary["absent"]["tracking"] and "pycocotools" in summary["absent"]["detection"]
    assert not summary["requirements_hold"]
    assert summary["chains"]["sensor_to_command"]["frames"] == 3


def test_swapped_identities_count_as_switches(tmp_path):
    write_recording(tmp_path / "recording", FRAMES)
    ids = {frame: (1, 2) if frame < 4 else (2, 1) for frame in range(FRAMES)}
    write_run(tmp_path, TABLE, range(FRAMES), make_run(STAGES, FRAMES), tracks=lambda f: make_tracks(f, ids[f]))
    tracking = analyse(tmp_path, page=False)["tracking"]
    assert tracking["id_switches"] == 2
    assert tracking["idf1"] == pytest.approx(0.5)


def test_lockstep_latencies_come_with_a_warning(tmp_path):
    write_recording(tmp_path / "recording", 2)
    write_run(tmp_path, TABLE, range(2), make_run(STAGES, 2))
    analyse(tmp_path, run=replace(RUN, mode="lockstep"))
    assert "do not say how fast" in (tmp_path / "report.html").read_text()


def test_the_same_run_gives_the_same_page(tmp_path):
    write_recording(tmp_path / "recording", 3)
    write_run(tmp_path, TABLE, range(3), make_run(STAGES, 3))
    pages = []
    for _ in range(2):
        analyse(tmp_path)
        pages.append((tmp_path / "report.html").read_bytes())
    assert pages[0] == pages[1]
