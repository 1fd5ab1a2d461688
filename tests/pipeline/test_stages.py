"""The table of stages: what ships is sound, what is wrong is named."""

import pytest
import yaml

from l4edge_perception.errors import InputError
from l4edge_pipeline.stages import default_path, load_stages


@pytest.fixture
def shipped():
    return yaml.safe_load(default_path().read_text())


def test_shipped_table_connects_sensor_to_command():
    table = load_stages()
    chain = table.chains["sensor_to_command"].stages
    assert chain[0] == "sensing" and chain[-1] == "control"
    assert [table.predecessor(stage) for stage in chain] == [None, *chain[:-1]]
    assert sum(table.stages[stage].budget_ms for stage in chain) <= table.chains["sensor_to_command"].budget_ms


def test_topics_have_one_writer():
    table = load_stages(monitor=True)
    writers = [*table.stages.values(), *table.services.values()]
    topics = [topic for writer in writers for topic in writer.outputs.values()]
    assert len(topics) == len(set(topics))


def test_without_the_monitor_nothing_of_it_is_left():
    whole, rest = load_stages(monitor=True), load_stages()
    gone = {entry.name for entry in (*whole.stages.values(), *whole.services.values()) if entry.part == "monitor"}
    assert gone == {"safety", "supervisor"}
    assert set(whole.stages) - set(rest.stages) == {"safety"}
    assert set(whole.services) - set(rest.services) == {"supervisor"}
    assert "status" in whole.stages["control"].inputs and "status" not in rest.stages["control"].inputs
    entries = [*rest.stages.values(), *rest.services.values()]
    assert not [topic for entry in entries for topic in entry.inputs.values() if topic.startswith("/safety/")]
    assert rest.chains == whole.chains


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("version",), 2, "version: must be 1"),
        (("stages", "tracking", "budget_ms"), -1, "stages.tracking.budget_ms: must be a positive number"),
        (("stages", "tracking", "rate_hz"), "fast", "stages.tracking.rate_hz: must be a positive number"),
        (("stages", "tracking", "colour"), "red", "stages.tracking.colour: unknown field"),
        (("stages", "tracking", "inputs"), {"detections": "no_slash"}, "must start with /"),
        (("stages", "tracking", "trigger"), "wishes", "stages.tracking.trigger: 'wishes' is no role of"),
        (("stages", "tracking", "result"), "joy", "stages.tracking.result: 'joy' is no role of tracks"),
        (("stages", "tracking", "engine"), "abacus", "stages.tracking.engine: 'abacus' is none of"),
        (("stages", "tracking", "queue_depth"), 4, "stages.tracking.queue_depth: only 1"),
        (("stages", "tracking"), None, "stages.tracking: must be a mapping"),
        (("chains", "sensor_to_command", "stages"), ["sensing", "flying"], "'flying' is no stage"),
        (("chains", "sensor_to_command", "stages"), ["sensing", "control"], "control is not triggered by sensing"),
        (("extra",), {}, "unknown key extra"),
    ],
)
def test_faults_are_named(shipped, tmp_path, path, value, message):
    entry = shipped
    for key in path[:-1]:
        entry = entry[key]
    entry[path[-1]] = value
    file = tmp_path / "stages.yaml"
    file.write_text(yaml.safe_dump(shipped))
    with pytest.raises(InputError) as error:
        load_stages(file)
    assert message in str(error.value) and str(file) in str(error.value)


def test_missing_field_is_named(shipped, tmp_path):
    del shipped["stages"]["control"]["deadline_ms"]
    file = tmp_path / "stages.yaml"
    file.write_text(yaml.safe_dump(shipped))
    with pytest.raises(InputError, match=r"stages\.control: missing .*deadline_ms"):
        load_stages(file)


@pytest.mark.parametrize("content", ["stages: [", "just a word", ""])
def test_what_is_no_table_is_refused(tmp_path, content):
    file = tmp_path / "stages.yaml"
    file.write_text(content)
    with pytest.raises(InputError):
        load_stages(file)
    with pytest.raises(InputError, match="cannot be read"):
        load_stages(tmp_path / "nowhere.yaml")
