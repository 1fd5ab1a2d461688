"""Required limits: their strict syntax, and what a missing number means."""

import pytest
from report_factories import make_table

from l4edge_perception.errors import InputError
from l4edge_pipeline.report.requirements import Requirement, check_requirements, known_paths, parse_requirements
from l4edge_pipeline.stages import load_stages

TABLE = make_table("a", "b")
P99 = "chains.all.p99_ms"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("chains.all.p99_ms<=100", Requirement(P99, "<=", 100)),
        (" chains.all.p99_ms  <  1e2 ", Requirement(P99, "<", 100)),
        ("detection.ap50>=.5", Requirement("detection.ap50", ">=", 0.5)),
        ("detection.per_class.car.ap>0.25", Requirement("detection.per_class.car.ap", ">", 0.25)),
        ("tracking.id_switches==0", Requirement("tracking.id_switches", "==", 0)),
        ("frames.b.unaccounted==0", Requirement("frames.b.unaccounted", "==", 0)),
        ("stages.a.deadline_misses<=-1", Requirement("stages.a.deadline_misses", "<=", -1)),
        ("driving.comfort.planned.max_jerk_mps3<=4", Requirement("driving.comfort.planned.max_jerk_mps3", "<=", 4)),
    ],
)
def test_a_limit_is_path_operator_number(text, expected):
    assert parse_requirements([text], TABLE) == [expected]


@pytest.mark.parametrize(
    "text",
    [
        "", "chains.all.p99_ms", "chains.all.p99_ms<=", "<=100", "chains.all.p99_ms=100", "chains.all.p99_ms=<100",
        "chains.all.p99_ms!=100", "chains.all.p99_ms<=100ms", "chains.all.p99_ms<=1<=2", "100>=chains.all.p99_ms",
        "chains.all.p99_ms<=nan", "chains.all.p99_ms<=inf", "chains.all.p99_ms<=1e999", "chains.all.p99_ms<=0x10",
        "chains.all.p99_ms<=1_0", "chains all p99_ms<=1", "chains.all.p99_ms<=100; frames.a.lost==0",
    ],
)  # fmt: skip
def test_anything_else_is_refused_with_an_example(text):
    with pytest.raises(InputError, match=r"no limit; write PATH"):
        parse_requirements([text], TABLE)


@pytest.mark.parametrize(
    ("path", "suggestion"),
    [
        ("chains.all.p99", "chains.all.p99_ms"),
        ("chain.all.p99_ms", "chains.all.p99_ms"),
        ("detection.ap_50", "detection.ap50"),
        ("stages.c.p99_ms", "stages.a.p99_ms"),
    ],
)
def test_an_unknown_path_names_its_neighbours(path, suggestion):
    with pytest.raises(InputError) as error:
        parse_requirements([path + "<=1"], TABLE)
    assert f"has no {path}; did you mean" in str(error.value)
    assert suggestion in str(error.value)


def test_a_path_like_no_other_points_to_the_list():
    with pytest.raises(InputError, match=r"docs/report.md lists all numbers"):
        parse_requirements(["temperature<=1"], TABLE)


@pytest.mark.parametrize(
    ("comparison", "limit", "held"),
    [
        ("<=", 5, True),
        ("<=", 4.9, False),
        ("<", 5, False),
        (">", 4, True),
        (">=", 5, True),
        ("==", 5, True),
        ("==", 6, False),
    ],
)
def test_verdicts_at_the_limit(comparison, limit, held):
    rows = check_requirements([Requirement(P99, comparison, limit)], {"chains": {"all": {"p99_ms": 5}}})
    assert rows == [{"path": P99, "comparison": comparison, "limit": limit, "value": 5, "held": held}]


@pytest.mark.parametrize(
    "summary", [{}, {"chains": {}}, {"chains": {"all": {}}}, {"chains": {"all": {"p99_ms": None}}}]
)
def test_a_missing_number_fails_whatever_the_limit(summary):
    for comparison, limit in (("<=", 1e9), (">=", -1e9)):
        (row,) = check_requirements([Requirement(P99, comparison, limit)], summary)
        assert row["value"] is None
        assert not row["held"]


def test_a_drive_that_met_nothing_holds_any_time_to_collision():
    requirement = Requirement("driving.min_ttc_s", ">=", 3)
    met_nothing = {"driving": {"judged_frames": 10, "min_ttc_s": None}}
    never_judged = {"driving": {"judged_frames": 0, "min_ttc_s": None}}
    assert check_requirements([requirement], met_nothing)[0]["held"]
    assert not check_requirements([requirement], never_judged)[0]["held"]
    assert not check_requirements([requirement], {})[0]["held"]


def test_the_shipped_table_offers_its_chain():
    assert "chains.sensor_to_command.p99_ms" in known_paths(load_stages())
