"""Bags are read back by others, are the same for the same messages, and appear whole or not at all."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from l4edge_perception.errors import InputError
from l4edge_perception.recordings import typestore
from l4edge_perception.recordings.messages import from_message, to_message
from l4edge_perception.recordings.reader import open_recording
from l4edge_perception.recordings.typestore import load_typestore
from l4edge_perception.recordings.writer import BagWriter
from l4edge_perception.types import EgoState, Route

ODOMETRY = ("/localization/odometry", "nav_msgs/msg/Odometry")
ROUTE = ("/map/route", "l4edge_msgs/msg/Route")
NO_ROUTE = Route(np.zeros((0, 2)), np.zeros(0), np.zeros(0))


def ego(number):
    return EgoState(1_000_000_000 + number * 25_000_000, float(number), 0.5, 0.1, 10.0)


def write_drive(folder, count=100, overwrite=False):
    with BagWriter(folder, overwrite) as writer:
        writer.write(*ROUTE, ego(0).stamp_ns, to_message(NO_ROUTE))
        for number in range(count):
            writer.write(*ODOMETRY, ego(number).stamp_ns, to_message(ego(number)))


def test_rosbags_reads_it(tmp_path):
    from rosbags.rosbag2 import Reader

    write_drive(tmp_path / "bag")
    with Reader(tmp_path / "bag") as reader:
        assert {(entry.topic, entry.msgtype, entry.msgcount) for entry in reader.connections} == {
            (*ROUTE, 1), (*ODOMETRY, 100),
        }  # fmt: skip
        assert reader.start_time == ego(0).stamp_ns
        assert reader.end_time == ego(99).stamp_ns + 1
        read = [
            from_message(load_typestore().deserialize_cdr(data, entry.msgtype))
            for entry, _, data in reader.messages()
            if entry.topic == ODOMETRY[0]
        ]
    assert [state.x for state in read] == [float(number) for number in range(100)]


def test_the_reference_reader_of_mcap_finds_definitions_checksums_and_an_index(tmp_path):
    from mcap.reader import make_reader

    write_drive(tmp_path / "bag")
    with open(tmp_path / "bag" / "bag_0.mcap", "rb") as stream:
        reader = make_reader(stream, validate_crcs=True)
        summary = reader.get_summary()
        schemas = {schema.name: schema for schema in summary.schemas.values()}
        assert reader.get_header().profile == "ros2"
        assert summary.statistics.message_count == 101
        assert len(summary.chunk_indexes) == summary.statistics.chunk_count > 0
        assert schemas[ROUTE[1]].encoding == "ros2msg"
        assert schemas[ROUTE[1]].data.startswith(b"std_msgs/Header header\ngeometry_msgs/Point[] center_line\n")
        assert b"MSG: geometry_msgs/Point\nfloat64 x" in schemas[ROUTE[1]].data
        assert sum(1 for _ in reader.iter_messages()) == 101
        (record,) = reader.iter_metadata()
        embedded = yaml.safe_load(record.metadata["serialized_metadata"])
    assert embedded == yaml.safe_load((tmp_path / "bag" / "metadata.yaml").read_text())["rosbag2_bagfile_information"]


def test_metadata_holds_what_rosbag2_asks_for(tmp_path):
    """Keys and forms of version 8 as rosbag2_storage/yaml.hpp decodes them."""
    write_drive(tmp_path / "bag")
    text = (tmp_path / "bag" / "metadata.yaml").read_text()
    assert "&id" not in text  # no aliases, which some readers of YAML do not follow
    information = yaml.safe_load(text)["rosbag2_bagfile_information"]
    assert information["version"] == 8
    assert information["storage_identifier"] == "mcap"
    assert information["duration"] == {"nanoseconds": 99 * 25_000_000}
    assert information["starting_time"] == {"nanoseconds_since_epoch": ego(0).stamp_ns}
    assert information["message_count"] == 101
    assert information["relative_file_paths"] == [entry["path"] for entry in information["files"]] == ["bag_0.mcap"]
    assert (information["compression_format"], information["compression_mode"]) == ("", "")
    topics = {
        entry["topic_metadata"]["name"]: entry["topic_metadata"] for entry in information["topics_with_message_count"]
    }
    # The hash that ROS 2 itself computes for this type since Iron.
    assert topics[ODOMETRY[0]]["type_description_hash"] == (
        "RIHS01_3cc97dc7fb7502f8714462c526d369e35b603cfc34d946e3f2eda2766dfec6e0"
    )
    durability = {}
    for name, entry in topics.items():
        (quality,) = yaml.safe_load(entry["offered_qos_profiles"])
        durability[name] = quality["durability"]
        assert (quality["reliability"], quality["history"]) == (1, 1)
    assert durability == {ROUTE[0]: 1, ODOMETRY[0]: 2}  # transient local, volatile


def test_same_messages_same_bytes(tmp_path):
    write_drive(tmp_path / "one")
    write_drive(tmp_path / "two")
    names = sorted(entry.name for entry in (tmp_path / "one").iterdir())
    assert names == ["bag_0.mcap", "metadata.yaml"]
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_serialized_messages_are_written_as_they_are(tmp_path):
    data = load_typestore().serialize_cdr(to_message(ego(3)), ODOMETRY[1])
    for name, message in (("object", to_message(ego(3))), ("bytes", bytes(data)), ("view", data)):
        with BagWriter(tmp_path / name) as writer:
            writer.write(*ODOMETRY, 5, message)
    contents = {(tmp_path / name / "bag_0.mcap").read_bytes() for name in ("object", "bytes", "view")}
    assert len(contents) == 1


def test_equal_stamps_keep_their_order_and_late_ones_are_sorted_in(tmp_path):
    with BagWriter(tmp_path / "bag") as writer:
        for stamp, number in ((30, 0), (30, 1), (30, 2), (10, 3)):
            writer.write(*ODOMETRY, stamp, to_message(ego(number)))
    events = open_recording(tmp_path / "bag", require_images=False).events()
    order = [event.ego.x if hasattr(event, "ego") else event.sequence for event in events]
    assert order == [3.0, 1, 2, 3]  # those that run back in their own stamps are rejected, by number


def test_a_bag_without_messages_is_whole(tmp_path):
    write_drive(tmp_path / "bag", count=0)
    with BagWriter(tmp_path / "empty"):
        pass
    assert open_recording(tmp_path / "empty", require_images=False).topics == ()


def test_an_existing_bag_is_kept_unless_told_otherwise(tmp_path):
    write_drive(tmp_path / "bag", count=5)
    with pytest.raises(InputError, match="exists already"):
        write_drive(tmp_path / "bag", count=7)
    assert open_recording(tmp_path / "bag", require_images=False).topics[0].count == 5
    write_drive(tmp_path / "bag", count=7, overwrite=True)
    assert open_recording(tmp_path / "bag", require_images=False).topics[0].count == 7


def write_and_fail(folder, overwrite=False):
    with BagWriter(folder, overwrite) as writer:
        writer.write(*ODOMETRY, 1, to_message(ego(0)))
        raise KeyboardInterrupt


def test_an_exception_leaves_nothing_behind(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        write_and_fail(tmp_path / "bag")
    assert list(tmp_path.iterdir()) == []


def test_an_exception_keeps_the_bag_to_be_replaced(tmp_path):
    write_drive(tmp_path / "bag", count=5)
    with pytest.raises(KeyboardInterrupt):
        write_and_fail(tmp_path / "bag", overwrite=True)
    assert open_recording(tmp_path / "bag", require_images=False).topics[0].count == 5
    assert [entry.name for entry in tmp_path.iterdir()] == ["bag"]


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"), BagWriter(tmp_path / "file" / "bag"):
        pass


@pytest.mark.parametrize(
    ("topic", "message_type", "stamp", "error"),
    [
        (ODOMETRY[0], "nav_msgs/msg/Path", 2, ValueError),
        (*ODOMETRY, -1, ValueError),
        ("/other", "their_msgs/msg/Thing", 2, InputError),
    ],
)
def test_misuse(tmp_path, topic, message_type, stamp, error):
    def misuse():
        with BagWriter(tmp_path / "bag") as writer:
            writer.write(*ODOMETRY, 1, to_message(ego(0)))
            writer.write(topic, message_type, stamp, b"")

    with pytest.raises(error, match=topic):
        misuse()


WRITE_UNTIL_FULL = """
import resource, sys
from l4edge_perception.errors import InputError
from l4edge_perception.recordings.writer import BagWriter
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    with BagWriter(sys.argv[1]) as writer:
        for stamp in range(int(sys.argv[2])):
            writer.write("/camera/front/image", "sensor_msgs/msg/Image", stamp, bytes(60000))
except InputError as error:
    print(error)
"""


def start(program, *arguments):
    root = Path(typestore.__file__).parents[2]
    return subprocess.Popen(
        [sys.executable, "-c", program, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(root)},
        universal_newlines=True,
    )


@pytest.mark.parametrize("messages", [3, 100])  # full when the bag is closed; while it is written
def test_a_full_disk(tmp_path, messages):
    output, _ = start(WRITE_UNTIL_FULL, tmp_path / "bag", messages).communicate()
    assert output == f"{tmp_path / 'bag'}: cannot be written (File too large)\n"
    assert list(tmp_path.iterdir()) == []


WRITE_WITHOUT_END = """
import sys
from l4edge_perception.recordings.writer import BagWriter
with BagWriter(sys.argv[1]) as writer:
    data = bytes(60000)
    for stamp in range(200):
        writer.write("/camera/front/image", "sensor_msgs/msg/Image", stamp, data)
    print("under way", flush=True)
    sys.stdin.read()
"""


def test_a_killed_writer_leaves_nothing_that_looks_whole(tmp_path):
    process = start(WRITE_WITHOUT_END, tmp_path / "bag")
    assert process.stdout.readline() == "under way\n"
    process.send_signal(signal.SIGKILL)
    process.communicate()
    (unfinished,) = tmp_path.iterdir()
    assert unfinished.name == "bag.part"
    assert unfinished.stat().st_size > 0
    with pytest.raises(InputError, match=r"bag\.part"):
        open_recording(unfinished)
    write_drive(tmp_path / "bag")  # the next attempt clears it away
    assert [entry.name for entry in tmp_path.iterdir()] == ["bag"]
