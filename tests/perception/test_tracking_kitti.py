"""The tracker on recorded traffic of KITTI, where it is at hand."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

from l4edge_perception.metrics import kitti
from l4edge_perception.metrics.kitti_tracking import CALIBRATIONS, FEATURES, fit_calibration, run_class
from l4edge_perception.metrics.tracking import summary

pytest.importorskip("trackeval", reason="judging tracks needs trackeval, see scripts/environment.py")


@pytest.fixture(scope="module")
def folder(shared_data):
    return shared_data("research/kitti_tracking")


@pytest.fixture(scope="module")
def sequences(folder):
    return kitti.read_sequences(folder)


def test_recordings_are_read_whole(sequences):
    assert {sequence.name: sequence.length for sequence in sequences} == {
        "0001": 447, "0006": 270, "0008": 390, "0010": 294, "0012": 78, "0013": 340,
    }
    first = sequences[0].detections["Car"]
    np.testing.assert_allclose(first.boxes[0], [786.7492, 180.1760, 1241.0, 374.0])
    np.testing.assert_allclose(first.sizes[0], [4.4501, 1.6824, 1.5206])
    np.testing.assert_allclose(first.positions[0], [2.9312, 1.6089, 6.4281])


@pytest.mark.parametrize(("class_name", "least_hota", "most_switches"), [("Car", 77.0, 4), ("Cyclist", 79.0, 1)])
def test_quality_on_recorded_traffic(sequences, class_name, least_hota, most_switches):
    calibrations = {sequence.name: CALIBRATIONS[class_name] for sequence in sequences}
    run = run_class(sequences, class_name, calibrations)
    result = summary(list(run.scores.values()))
    assert result["hota"] >= least_hota
    assert result["id_switches"] <= most_switches
    assert len(run.seconds) == sum(sequence.length for sequence in sequences)


@pytest.mark.parametrize("class_name", list(kitti.CLASSES))
def test_calibrations_are_what_is_fitted(sequences, class_name):
    fitted = fit_calibration(sequences, class_name, FEATURES[class_name])
    for name, value in vars(CALIBRATIONS[class_name]).items():
        assert value == pytest.approx(getattr(fitted, name), rel=0.02, abs=5e-4), name


def test_the_command_prints_every_class(folder):
    from l4edge_pipeline.commands.bench_tracking import command

    done = CliRunner().invoke(command, ["--data", str(folder), "--json"], catch_exceptions=False)
    assert done.exit_code == 0
    results = json.loads(done.stdout)
    for name in ("Car", "Pedestrian", "Cyclist", "total"):
        assert {"hota", "mota", "idf1", "id_switches", "p50_ms", "p99_ms"} <= set(results[name])
    assert results["Car"]["objects"] == 4528
    assert results["total"]["objects"] == sum(results[name]["objects"] for name in kitti.CLASSES)
