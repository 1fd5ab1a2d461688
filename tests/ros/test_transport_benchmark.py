"""``l4edge bench transport`` at its smallest: the two nodes find each other and every shared frame arrives whole."""

import json

import pytest
from click.testing import CliRunner

pytest.importorskip("rclpy", reason="ROS 2 is not here")
pytest.importorskip("l4edge_msgs", reason="ros_ws is not built")

from l4edge_pipeline.commands.bench_transport import command


@pytest.mark.parametrize("executor", ["events", "single"])
def test_frames_arrive_whole_and_nothing_is_left(executor):
    arguments = ["--frames", "1", "--rate", "80", "--kills", "1", "--executor", executor, "--json"]
    outcome = CliRunner().invoke(command, arguments, catch_exceptions=False)
    results = json.loads(outcome.stdout)
    assert results["torn"] == results["leaked"] == results["crash_failures"] == 0
    for variant in ("shared", "shared_in_place"):
        row = results["variants"][variant]
        assert row["received"] > 0
        assert row["received"] + row["lost"] == results["frames"]
        assert 0 < row["p50_ms"] <= row["p99_ms"]
