"""Charts: round scales, no lost peaks, and nothing that a label could smuggle in."""

import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from l4edge_pipeline.report import charts


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 10, [0, 2, 4, 6, 8, 10]),
        (0, 100, [0, 20, 40, 60, 80, 100]),
        (0, 0.07, [0, 0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.07]),
        (-3, 3, [-3, -2, -1, 0, 1, 2, 3]),
        (5, 5, [5]),
    ],
)
def test_ticks_are_round(low, high, expected):
    assert charts.ticks(low, high) == pytest.approx(expected)


def test_thinning_keeps_every_peak():
    values = np.zeros(50_000)
    peaks = [17, 20_003, 49_999]
    values[peaks] = [3, 1, 2]
    times, kept = charts.thin(np.arange(50_000.0), values)
    assert len(kept) == charts.MOST_POINTS
    assert [times[place] for place in np.flatnonzero(kept)] == peaks


def all_charts():
    latencies = np.array([10.0, 30.0, 120.0])
    times = np.array([0.0, 0.1, 0.2])
    segments = np.ones((3, 2, 4))
    row = ("<b>&", [charts.Span(0, 1, "seen", '"<script>')])
    line = charts.Line("speed", "", times, latencies)
    return {
        "over time": charts.latency_over_time(times, latencies, [0.05], 100),
        "no frame": charts.latency_over_time(times[:0], latencies[:0], [], 100),
        "distribution": charts.latency_distribution(latencies, 100),
        "segments": charts.segment_bars(["a", "<b>"], segments[0]),
        "frames": charts.frame_bars(["f0", "f<1>", "f2"], ["a", "<b>"], segments, 100),
        "lives": charts.life_bars([row], 2),
        "curves": charts.curves([line], "m/s", "Speed"),
    }


@pytest.mark.parametrize("name", all_charts())
def test_each_chart_is_well_formed_and_stays_inside_its_box(name):
    root = ET.fromstring(all_charts()[name])
    width, height = (float(value) for value in root.get("viewBox").split()[2:])
    for node in root.iter():
        for key, limit in (("x", width), ("x1", width), ("cx", width), ("y", height), ("y1", height), ("cy", height)):
            if node.get(key):
                assert 0 <= float(node.get(key)) <= limit, (node.tag, key)


def test_hostile_words_stay_words():
    drawn = "".join(all_charts().values())
    assert "<script" not in drawn
    assert not re.search(r"<b[>&]", drawn)


def test_frames_beyond_the_budget_stand_out():
    drawn = charts.latency_over_time(np.arange(3.0), np.array([99.0, 100.0, 100.1]), [], 100)
    assert drawn.count("dot over") == 1
    assert drawn.count('class="dot"') == 2


def test_one_frame_far_out_does_not_flatten_the_others():
    drawn = charts.latency_over_time(np.arange(3.0), np.array([50.0, 60.0, 5000.0]), [], 100)
    heights = [float(node.get("cy")) for node in ET.fromstring(drawn).iter("circle")]
    assert heights[0] - heights[1] > 5  # 10 ms can be told apart
    assert drawn.count('class="beyond"') == 1
    assert "5000.00 ms" in drawn


def test_the_curve_breaks_where_frames_gave_no_result():
    times = np.array([0.0, 0.1, 0.4, 0.5])
    whole = charts.latency_over_time(times, np.full(4, 50.0), [], 100)
    broken = charts.latency_over_time(times, np.full(4, 50.0), [0.2, 0.3], 100)
    assert (whole.count("<polyline"), broken.count("<polyline")) == (1, 2)


def test_no_frame_is_left_out_of_the_histogram():
    drawn = charts.latency_distribution(np.array([5.0, 50.0, 150.0, 9e9]), 100)
    assert sum(int(count) for count in re.findall(r": (\d+) frames", drawn)) == 4
