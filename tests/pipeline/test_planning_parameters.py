"""The parameter files and the dataclasses hold the same."""

import dataclasses
import math
from pathlib import Path

import pytest
import yaml

from l4edge_perception.errors import InputError
from l4edge_perception.tracking import TrackerConfig
from l4edge_pipeline.control import ControllerConfig
from l4edge_pipeline.planning import PlannerConfig
from l4edge_pipeline.safety.config import SupervisorConfig

CONFIG = Path(__file__).resolve().parents[2] / "launch" / "config"
DRIVING_FILES = [("planning.param.yaml", PlannerConfig), ("control.param.yaml", ControllerConfig)]
SUPERVISOR_FILE = ("safety_supervisor.param.yaml", SupervisorConfig)
FILES = [*DRIVING_FILES, ("tracking.param.yaml", TrackerConfig), SUPERVISOR_FILE]


@pytest.mark.parametrize(("name", "config"), FILES)
def test_a_file_holds_each_field_with_its_default(name: str, config: type):
    parameters = yaml.safe_load((CONFIG / name).read_text())["/**"]["ros__parameters"]
    assert parameters == dataclasses.asdict(config())
    # ROS tells 2 from 2.0, and refuses the one for the other.
    assert {key: type(value) for key, value in parameters.items()} == {
        field.name: field.type for field in dataclasses.fields(config)
    }
    assert config(**parameters) == config()


@pytest.mark.parametrize(("name", "config"), [*DRIVING_FILES, SUPERVISOR_FILE])
@pytest.mark.parametrize("value", [0.0, -1.0, math.nan, math.inf])
def test_a_number_that_cannot_be_used_is_named(name: str, config: type, value: float):
    for field in dataclasses.fields(config):
        with pytest.raises(InputError, match=f"{name}: {field.name} "):
            config(**{field.name: value})


@pytest.mark.parametrize(
    "fields",
    [
        {"comfortable_deceleration_mps2": 7.0},
        {"coolness": 1.1},
        {"horizon_s": 0.1},
        {"safe_stop_deceleration_mps2": 3.0},
    ],
    ids=lambda fields: next(iter(fields)),
)
def test_numbers_that_contradict_each_other_are_named(fields: dict):
    with pytest.raises(InputError, match=next(iter(fields))):
        PlannerConfig(**fields)


def test_the_curvature_of_the_plan_can_be_steered():
    controller, planner = ControllerConfig(), PlannerConfig()
    assert planner.maximum_curvature_1pm <= math.tan(controller.maximum_steering_rad) / controller.wheelbase_m
    assert planner.emergency_deceleration_mps2 <= controller.maximum_deceleration_mps2
    assert planner.emergency_jerk_mps3 <= controller.maximum_jerk_mps3
