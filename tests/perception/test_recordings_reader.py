"""Bags of every make are read; what is wrong with one is said in a line that names it."""

import dataclasses
import re
import sqlite3
from collections import Counter

import numpy as np
import pytest
import rosbags.rosbag2
import yaml
import zstandard

from l4edge_perception.errors import InputError
from l4edge_perception.recordings import topics
from l4edge_perception.recordings.cameras import pinhole, to_camera_info, to_static_transform
from l4edge_perception.recordings.events import (
    CameraEvent,
    EgoEvent,
    FrameEvent,
    GroundTruthEvent,
    PointsEvent,
    RejectedEvent,
    RouteEvent,
    Topic,
)
from l4edge_perception.recordings.images import encode, to_compressed_message, to_image_message
from l4edge_perception.recordings.messages import make, to_message
from l4edge_perception.recordings.points import to_point_cloud
from l4edge_perception.recordings.reader import open_recording
from l4edge_perception.recordings.typestore import load_typestore
from l4edge_perception.recordings.writer import BagWriter
from l4edge_perception.types import EgoState, GroundTruth, Route

SECOND = 1_000_000_000
CAMERA = pinhole(32, 24, 1.2)
LIDAR_FROM_BASE = np.array([[1, 0, 0, -1.0], [0, 1, 0, 0], [0, 0, 1, -1.75], [0, 0, 0, 1]])
STRING = make("std_msgs/msg/String", data="hello")

# Python 3.8 ends with rosbags 0.9, which cannot do without metadata.yaml and does not check sums.
needs_recent_rosbags = pytest.mark.skipif(
    ".mcap" not in rosbags.rosbag2.Reader.STORAGE_PLUGINS, reason="needs rosbags 0.10"
)


def stamp(number):
    return SECOND + number * SECOND // 10


def pixels(number):
    return np.full((24, 32, 3), (number, 2 * number, 200), np.uint8)


def image(number, header=None):
    return to_image_message(pixels(number), stamp(number) if header is None else header)


def ego(number):
    return to_message(EgoState(stamp(number), float(number), 0.0, 0.0, 10.0))


def truth(number):
    count = number % 3
    return to_message(
        GroundTruth(
            stamp(number), np.arange(count), np.zeros(count, np.int32), np.ones((count, 4)), np.ones(count),
            np.zeros((count, 3)), np.zeros(count), np.zeros((count, 2)), np.ones((count, 3)), np.zeros(count, bool),
            ("",) * count,
        )
    )  # fmt: skip


def full_drive(frames=5):
    """(topic, stamp, message) of a drive with everything in it."""
    route = to_message(Route(np.array([[0.0, 0], [100, 0]]), np.array([10.0, 10]), np.array([3.5, 3.5])), stamp_ns=5)
    yield topics.STATIC_TRANSFORMS, stamp(0), to_static_transform(CAMERA.camera_from_base, stamp(0))
    yield topics.STATIC_TRANSFORMS, stamp(0), to_static_transform(LIDAR_FROM_BASE, stamp(0), topics.LIDAR_FRAME)
    yield topics.ROUTE, stamp(0), route
    for number in range(frames):
        yield topics.ODOMETRY, stamp(number), ego(number)
        yield topics.GROUND_TRUTH, stamp(number), truth(number)
        yield topics.POINTS, stamp(number), to_point_cloud(np.full((3, 4), number, np.float32), stamp(number))
        yield topics.CAMERA_INFO, stamp(number), to_camera_info(CAMERA, stamp(number))
        yield topics.IMAGE, stamp(number), image(number)


def write(folder, messages):
    with BagWriter(folder) as writer:
        for topic, log_ns, message in messages:
            kind = message[0] if isinstance(message, tuple) else message.__msgtype__
            writer.write(topic, kind, log_ns, message[1] if isinstance(message, tuple) else message)
    return folder


def write_sqlite(folder, messages, compression=""):
    """A bag as ``ros2 bag record`` of ROS 2 Humble writes it (metadata version 5, no message definitions)."""
    folder.mkdir()
    name = "drive_0.db3"
    squeeze = zstandard.ZstdCompressor().compress
    connection = sqlite3.connect(str(folder / name))
    connection.executescript(
        "CREATE TABLE schema(schema_version INTEGER PRIMARY KEY, ros_distro TEXT NOT NULL);"
        "INSERT INTO schema VALUES (3, 'humble');"
        "CREATE TABLE topics(id INTEGER PRIMARY KEY, name TEXT NOT NULL, type TEXT NOT NULL,"
        " serialization_format TEXT NOT NULL, offered_qos_profiles TEXT NOT NULL);"
        "CREATE TABLE messages(id INTEGER PRIMARY KEY, topic_id INTEGER NOT NULL, timestamp INTEGER NOT NULL,"
        " data BLOB NOT NULL);"
        "CREATE INDEX timestamp_idx ON messages (timestamp ASC);"
    )
    counts, types, stamps = Counter(), {}, []
    for topic, log_ns, message in messages:
        if topic not in types:
            types[topic] = message.__msgtype__
            connection.execute("INSERT INTO topics VALUES (?, ?, ?, 'cdr', '')", (len(types), topic, types[topic]))
        data = bytes(load_typestore().serialize_cdr(message, types[topic]))
        row = (list(types).index(topic) + 1, log_ns, squeeze(data) if compression == "message" else data)
        connection.execute("INSERT INTO messages (topic_id, timestamp, data) VALUES (?, ?, ?)", row)
        counts[topic] += 1
        stamps.append(log_ns)
    connection.commit()
    connection.close()
    if compression == "file":
        (folder / (name + ".zstd")).write_bytes(squeeze((folder / name).read_bytes()))
        (folder / name).unlink()
        name += ".zstd"
    information = {
        "version": 5,
        "storage_identifier": "sqlite3",
        "duration": {"nanoseconds": max(stamps) - min(stamps)},
        "starting_time": {"nanoseconds_since_epoch": min(stamps)},
        "message_count": len(stamps),
        "topics_with_message_count": [
            {
                "topic_metadata": {
                    "name": topic, "type": kind, "serialization_format": "cdr", "offered_qos_profiles": "",
                },
                "message_count": counts[topic],
            }
            for topic, kind in types.items()
        ],
        "compression_format": "zstd" if compression else "",
        "compression_mode": compression.upper(),
        "relative_file_paths": [name],
        "files": [],
    }  # fmt: skip
    (folder / "metadata.yaml").write_text(yaml.safe_dump({"rosbag2_bagfile_information": information}))
    return folder


def write_message_wise(folder, messages):
    return write_sqlite(folder, messages, "message")


def write_and_compress(folder, messages):
    return write_sqlite(folder, messages, "file")


def events(recording, kind):
    return [event for event in recording.events() if isinstance(event, kind)]


def reasons(recording):
    return [(event.topic, event.sequence, event.reason) for event in events(recording, RejectedEvent)]


@pytest.mark.parametrize("make_bag", [write, write_sqlite, write_message_wise, write_and_compress])
def test_everything_in_a_bag_comes_back(tmp_path, make_bag):
    recording = open_recording(make_bag(tmp_path / "bag", full_drive()))
    assert (recording.kind, recording.width, recording.height) == ("rosbag2", 32, 24)
    assert (recording.frame_count, recording.assumptions) == (5, ())
    assert recording.rate_hz == pytest.approx(10.0)
    assert recording.duration_s == pytest.approx(0.4)
    assert {topic.name: topic.count for topic in recording.topics}[topics.STATIC_TRANSFORMS] == 2

    order = [type(event).__name__ for event in recording.events()]
    each_frame = ["EgoEvent", "GroundTruthEvent", "PointsEvent", "FrameEvent"]
    assert order == ["CameraEvent", "RouteEvent", *each_frame * 5]
    (camera,) = events(recording, CameraEvent)
    for field in dataclasses.fields(CAMERA):
        np.testing.assert_allclose(getattr(camera.camera, field.name), getattr(CAMERA, field.name), atol=1e-12)
    for number, event in enumerate(events(recording, FrameEvent)):
        assert (event.stamp_ns, event.sequence) == (stamp(number), number)
        np.testing.assert_array_equal(event.decode(), pixels(number))
    assert [event.ego.x for event in events(recording, EgoEvent)] == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert [len(event.truth) for event in events(recording, GroundTruthEvent)] == [0, 1, 2, 0, 1]
    assert [event.truth.stamp_ns for event in events(recording, GroundTruthEvent)] == [stamp(n) for n in range(5)]
    assert events(recording, RouteEvent)[0].route.speed_limits.tolist() == [10.0, 10.0]
    for number, event in enumerate(events(recording, PointsEvent)):
        assert (event.points == number).all()
        np.testing.assert_allclose(event.lidar_from_base, LIDAR_FROM_BASE, atol=1e-12)


def rewrite_mcap(folder, compression="NONE", channels_of=lambda number: 1):
    """Write the bag's file as another tool might; ``channels_of(number)`` names the channel of a topic to use."""
    from mcap.reader import make_reader
    from mcap.writer import CompressionType, Writer

    with open(folder / "bag_0.mcap", "rb") as source, open(folder / "other", "wb") as target:
        writer = Writer(target, compression=CompressionType[compression])
        writer.start("ros2", "test")
        channels = {}
        for number, (schema, channel, message) in enumerate(make_reader(source).iter_messages()):
            key = (channel.topic, channels_of(number))
            if key not in channels:
                schema_id = writer.register_schema(schema.name, schema.encoding, schema.data)
                channels[key] = writer.register_channel(channel.topic, "cdr", schema_id, channel.metadata)
            writer.add_message(channels[key], message.log_time, message.data, message.publish_time)
        writer.finish()
    (folder / "other").replace(folder / "bag_0.mcap")


@pytest.mark.parametrize("compression", ["LZ4", "ZSTD"])
def test_mcap_with_compressed_chunks(tmp_path, compression):
    folder = write(tmp_path / "bag", full_drive())
    rewrite_mcap(folder, compression)
    assert len(events(open_recording(folder), FrameEvent)) == 5


@needs_recent_rosbags
def test_several_channels_of_one_topic(tmp_path):
    folder = write(tmp_path / "bag", [(topics.IMAGE, stamp(number), image(number)) for number in range(6)])
    rewrite_mcap(folder, channels_of=lambda number: number % 2)
    (folder / "metadata.yaml").unlink()
    recording = open_recording(folder)
    assert recording.topics == (Topic(topics.IMAGE, "sensor_msgs/msg/Image", 6),)
    assert [event.sequence for event in events(recording, FrameEvent)] == list(range(6))


def test_a_recording_can_be_read_again(tmp_path):
    recording = open_recording(write(tmp_path / "bag", full_drive()))
    first = recording.events()
    next(first)
    assert len(list(recording.events())) == len(list(first)) + 1


@needs_recent_rosbags
@pytest.mark.parametrize("storage", ["mcap", "db3"])
@pytest.mark.parametrize("lone", [True, False])
def test_storage_without_metadata(tmp_path, storage, lone):
    folder = (write if storage == "mcap" else write_sqlite)(tmp_path / "bag", full_drive())
    (folder / "metadata.yaml").unlink()
    (file,) = folder.iterdir()
    assert len(events(open_recording(file if lone else folder), FrameEvent)) == 5


@needs_recent_rosbags
def test_odometry_of_a_real_drive(shared_data):
    recording = open_recording(shared_data("permissive/bags/ego_trajectory.db3"), require_images=False)
    assert recording.duration_s == pytest.approx(53.225, abs=1e-3)
    states = [event.ego for event in events(recording, EgoEvent)]
    assert len(states) == 2130
    assert not events(recording, RejectedEvent)
    stamps = np.array([state.stamp_ns for state in states]) * 1e-9
    assert 1.0 / np.median(np.diff(stamps)) == pytest.approx(40.0, abs=0.1)
    # The speeds fit the way between the poses, so both were read from the right fields.
    way = np.hypot(np.diff([state.x for state in states]), np.diff([state.y for state in states]))
    speeds = np.array([state.speed for state in states])
    assert 4.0 < speeds.max() < 5.0
    assert way.sum() == pytest.approx(np.sum(speeds[:-1] * np.diff(stamps)), rel=0.02)
    # The vehicle moves where it looks.
    fast = speeds[:-1] > 2.0
    course = np.arctan2(np.diff([state.y for state in states]), np.diff([state.x for state in states]))
    turned = np.angle(np.exp(1j * (course - [state.yaw for state in states][:-1])))[fast]
    assert np.abs(np.median(turned)) < 0.05


class TestTopics:
    """Which topic plays which part."""

    def test_compressed_images(self, tmp_path):
        folder = write(
            tmp_path / "bag",
            [
                (topics.COMPRESSED_IMAGE, stamp(n), to_compressed_message(encode(pixels(n), "png"), "png", stamp(n)))
                for n in range(3)
            ],
        )
        frames = events(open_recording(folder), FrameEvent)
        np.testing.assert_array_equal(frames[2].decode(), pixels(2))

    def test_the_only_image_topic_and_the_only_odometry(self, tmp_path):
        drive = [("/cam0/image_raw", stamp(0), image(0)), ("/kinematic_state", stamp(0), ego(0))]
        drive.append(("/cam0/camera_info", stamp(0), to_camera_info(CAMERA, 0, "eye")))
        recording = open_recording(write(tmp_path / "bag", drive))
        assert [type(event) for event in recording.events()] == [CameraEvent, FrameEvent, EgoEvent]
        assert recording.assumptions == ("level camera 1.5 m above base_link: no static transform from there to 'eye'",)

    def test_several_image_topics(self, tmp_path):
        drive = [("/left/image", stamp(0), image(1)), ("/right/image", stamp(0), image(2))]
        folder = write(tmp_path / "bag", drive)
        with pytest.raises(InputError, match="choose with --image-topic: /left/image, /right/image"):
            open_recording(folder)
        for recording in (
            open_recording(folder, image_topic="/right/image"),
            open_recording(folder, remap={topics.IMAGE: "/right/image"}),
        ):
            np.testing.assert_array_equal(events(recording, FrameEvent)[0].decode(), pixels(2))

    def test_several_odometry_topics(self, tmp_path):
        drive = [(topics.IMAGE, 1, image(0)), ("/gps", 1, ego(0)), ("/wheels", 2, ego(1))]
        folder = write(tmp_path / "bag", drive)
        with pytest.raises(InputError, match="--remap /localization/odometry:=TOPIC: /gps, /wheels"):
            open_recording(folder)
        recording = open_recording(folder, remap={topics.ODOMETRY: "/wheels"})
        assert [event.ego.x for event in events(recording, EgoEvent)] == [1.0]

    @pytest.mark.parametrize("role", [topics.ROUTE, topics.ODOMETRY, topics.GROUND_TRUTH, topics.STATIC_TRANSFORMS])
    def test_wrong_type(self, tmp_path, role):
        folder = write(tmp_path / "bag", [(topics.IMAGE, 1, image(0)), (role, 1, STRING)])
        expected = f"bag: topic {role} holds std_msgs/msg/String, expected {topics.MESSAGE_TYPES[role]}; name another"
        with pytest.raises(InputError, match=expected):
            open_recording(folder)

    def test_wrong_type_of_image(self, tmp_path):
        folder = write(tmp_path / "bag", [(topics.IMAGE, 1, STRING)])
        with pytest.raises(InputError, match="expected sensor_msgs/msg/Image or sensor_msgs/msg/CompressedImage"):
            open_recording(folder)

    @pytest.mark.parametrize(
        ("options", "reason"),
        [
            ({"image_topic": "/nowhere"}, "no messages on topic /nowhere; there are /camera/front/image"),
            ({"remap": {topics.ROUTE: "/nowhere"}}, "no messages on topic /nowhere"),
            ({"remap": {"/camera/back/image": "/x"}}, "nothing reads /camera/back/image; remap one of "),
        ],
    )
    def test_topics_that_do_not_exist(self, tmp_path, options, reason):
        folder = write(tmp_path / "bag", [(topics.IMAGE, 1, image(0))])
        with pytest.raises(InputError, match=reason):
            open_recording(folder, **options)

    def test_no_images(self, tmp_path):
        folder = write(tmp_path / "bag", [("/odometry", 1, ego(0))])
        with pytest.raises(InputError, match=r"no images in it; it holds /odometry \(nav_msgs/msg/Odometry\)"):
            open_recording(folder)
        assert len(events(open_recording(folder, require_images=False), EgoEvent)) == 1


class TestCamera:
    def test_a_camera_recorded_after_the_first_image_holds_from_the_start(self, tmp_path):
        late = [*full_drive(2)]
        late.sort(key=lambda entry: entry[0] in (topics.CAMERA_INFO, topics.STATIC_TRANSFORMS))
        drive = [(topic, stamp(number), message) for number, (topic, _, message) in enumerate(late)]
        recording = open_recording(write(tmp_path / "bag", drive))
        first, *others = list(recording.events())
        assert isinstance(first, CameraEvent)
        np.testing.assert_allclose(first.camera.camera_from_base, CAMERA.camera_from_base, atol=1e-12)
        assert not any(isinstance(event, (CameraEvent, RejectedEvent)) for event in others)

    def test_a_camera_that_changes(self, tmp_path):
        other = pinhole(32, 24, 0.6)
        raised = np.array(other.camera_from_base)
        raised[1, 3] += 1.0
        drive = [
            *full_drive(2),
            (topics.STATIC_TRANSFORMS, stamp(2), to_static_transform(raised, stamp(2))),
            (topics.CAMERA_INFO, stamp(2), to_camera_info(other, stamp(2))),
            (topics.IMAGE, stamp(2), image(2)),
        ]
        recording = open_recording(write(tmp_path / "bag", drive))
        for _ in range(2):  # the second time as the first
            cameras = events(recording, CameraEvent)
            assert [round(event.camera.intrinsics[0, 0]) for event in cameras] == [23, 52]
            assert [event.camera.camera_from_base[1, 3] for event in cameras] == pytest.approx([1.5, 2.5])

    def test_no_camera(self, tmp_path):
        folder = write(tmp_path / "bag", [(topics.IMAGE, stamp(0), image(0))])
        recording = open_recording(folder)
        assert (recording.camera, recording.assumptions) == (None, ("no camera model: objects cannot be located",))
        recording = open_recording(folder, field_of_view=1.2)
        assert recording.assumptions == ("ideal level camera 1.5 m above base_link, the field of view as given",)
        first, second = recording.events()
        np.testing.assert_array_equal(first.camera.intrinsics, CAMERA.intrinsics)
        assert isinstance(second, FrameEvent)

    def test_not_calibrated(self, tmp_path):
        info = to_camera_info(CAMERA, 0)
        info.k = np.zeros(9)
        folder = write(tmp_path / "bag", [(topics.IMAGE, 1, image(0)), (topics.CAMERA_INFO, 1, info)])
        assert open_recording(folder).assumptions == (
            "the camera is not calibrated (its k is 0)",
            "no camera model: objects cannot be located",
        )

    @pytest.mark.parametrize(
        ("info", "reason"),
        [
            (to_camera_info(pinhole(640, 480, 1.0), 0), r"images of 32 x 24 pixels .* camera of 640 x 480"),
            (dataclasses.replace(to_camera_info(CAMERA, 0), distortion_model="equidistant"), "distortion model"),
        ],
    )
    def test_a_camera_that_cannot_be_used(self, tmp_path, info, reason):
        folder = write(tmp_path / "bag", [(topics.IMAGE, 1, image(0)), (topics.CAMERA_INFO, 1, info)])
        with pytest.raises(InputError, match=reason):
            open_recording(folder)


class TestStamps:
    """Headers are trusted over times of recording as long as they make sense."""

    def read(self, tmp_path, headers, logs=None):
        logs = logs or [stamp(number) for number in range(len(headers))]
        drive = [(topics.IMAGE, log, image(0, header)) for log, header in zip(logs, headers)]
        recording = open_recording(write(tmp_path / "bag", drive))
        return [event.stamp_ns for event in events(recording, FrameEvent)], reasons(recording)

    def test_headers_differ_from_times_of_recording(self, tmp_path):
        headers = [stamp(number) - 37_000_000 for number in range(3)]
        assert self.read(tmp_path, headers) == (headers, [])

    def test_without_stamps_times_of_recording_take_their_place(self, tmp_path):
        assert self.read(tmp_path, [0, 0, 0]) == ([stamp(0), stamp(1), stamp(2)], [])

    @pytest.mark.parametrize("second", [stamp(0), stamp(0) - 1, 0])
    def test_stamps_that_do_not_rise(self, tmp_path, second):
        frames, rejected = self.read(tmp_path, [stamp(0), second, stamp(2)])
        assert frames == [stamp(0), stamp(2)]
        assert rejected == [(topics.IMAGE, 1, f"stamp {second} is not later than {stamp(0)} before it")]

    def test_one_stamp_far_ahead_does_not_spoil_the_rest(self, tmp_path):
        frames, rejected = self.read(tmp_path, [stamp(0), stamp(10**6), stamp(2)])
        assert frames == [stamp(0), stamp(2)]
        assert rejected == [(topics.IMAGE, 1, f"stamp {stamp(10**6)} leaps ahead of {stamp(0)} before it")]

    def test_a_real_gap_is_no_leap(self, tmp_path):
        headers = [stamp(0), stamp(1000)]
        assert self.read(tmp_path, headers, headers) == (headers, [])


@pytest.mark.parametrize(
    ("topic", "message", "reason"),
    [
        (topics.ODOMETRY, to_message(EgoState(stamp(9), float("nan"), 0.0, 0.0, 0.0)), "is not a number"),
        (topics.IMAGE, dataclasses.replace(image(9), width=0, step=0), "an image of 0 x 24 pixels"),
        (topics.IMAGE, dataclasses.replace(image(9), encoding="yuv422"), "encoding 'yuv422'"),
        (topics.IMAGE, ("sensor_msgs/msg/Image", b"\0\1\0\0half"), "8 bytes that are no sensor_msgs/msg/Image"),
        (topics.IMAGE, ("sensor_msgs/msg/Image", b"\0\1\0\0"), "4 bytes that are no sensor_msgs/msg/Image"),
        (topics.ROUTE, to_message(Route(np.full((2, 2), np.nan), np.ones(2), np.ones(2))), "is not a number"),
        (topics.POINTS, to_point_cloud(np.zeros((1, 4)), stamp(9), "attic"), "no static transform .* 'attic'"),
        (topics.CAMERA_INFO, dataclasses.replace(to_camera_info(CAMERA, 0), distortion_model="eye"), "model 'eye'"),
    ],
)
def test_a_single_bad_message_is_left_out_and_counted(tmp_path, topic, message, reason):
    recording = open_recording(write(tmp_path / "bag", [*full_drive(3), (topic, stamp(9), message)]))
    (rejected,) = events(recording, RejectedEvent)
    assert (rejected.topic, rejected.is_frame) == (topic, topic == topics.IMAGE)
    assert rejected.sequence == {topics.ROUTE: 1}.get(topic, 3)
    assert re.search(reason, rejected.reason)
    assert len(events(recording, FrameEvent)) == 3


def test_a_damaged_image_file_is_found_when_it_is_decoded(tmp_path):
    content = encode(pixels(1), "png")
    drive = [
        (topics.COMPRESSED_IMAGE, stamp(number), to_compressed_message(data, "png", stamp(number)))
        for number, data in enumerate([content[:50], content, content[:50]])
    ]
    recording = open_recording(write(tmp_path / "bag", drive))
    checked = [event.checked() for event in recording.events()]
    assert [type(event) for event in checked] == [RejectedEvent, FrameEvent, RejectedEvent]
    assert checked[0] == RejectedEvent(stamp(0), "image", 0, True, "50 bytes that are no readable image")


def test_only_damaged_images(tmp_path):
    drive = [(topics.COMPRESSED_IMAGE, 1, to_compressed_message(b"nothing", "jpeg", 1))]
    with pytest.raises(InputError, match=f"no image on {topics.COMPRESSED_IMAGE} can be decoded; the first is 7 bytes"):
        open_recording(write(tmp_path / "bag", drive))


def test_other_definitions_of_our_messages(tmp_path, monkeypatch):
    store = load_typestore()
    generate = store.generate_msgdef

    def other(name, ros_version):
        text, digest = generate(name, ros_version=ros_version)
        return text.replace("float32[] lane_widths", "float64[] lane_widths"), digest

    monkeypatch.setattr(store, "generate_msgdef", other)
    folder = write(tmp_path / "bag", full_drive(1))
    monkeypatch.undo()
    with pytest.raises(InputError, match="l4edge_msgs/msg/Route was recorded with other fields"):
        open_recording(folder)


def cut(folder, share):
    (file,) = (entry for entry in folder.iterdir() if entry.suffix in (".mcap", ".db3"))
    content = file.read_bytes()
    file.write_bytes(content[: int(len(content) * share)])


def edit_metadata(folder, key, value):
    path = folder / "metadata.yaml"
    document = yaml.safe_load(path.read_text())
    if value is None:
        del document["rosbag2_bagfile_information"][key]
    else:
        document["rosbag2_bagfile_information"][key] = value
    path.write_text(yaml.safe_dump(document))


DAMAGE = {
    "cut off": lambda folder: cut(folder, 0.6),
    "empty": lambda folder: cut(folder, 0.0),
    "no bag inside": lambda folder: [
        file.write_bytes(b"garbage" * 999) for file in folder.iterdir() if file.suffix != ".yaml"
    ],
    "storage missing": lambda folder: [file.unlink() for file in folder.iterdir() if file.suffix != ".yaml"],
    "metadata empty": lambda folder: (folder / "metadata.yaml").write_text(""),
    "metadata no YAML": lambda folder: (folder / "metadata.yaml").write_text("a: [b"),
    "metadata binary": lambda folder: (folder / "metadata.yaml").write_bytes(b"\xff\xfe\x00"),
    "metadata a list": lambda folder: (folder / "metadata.yaml").write_text("- 1"),
    "metadata without counts": lambda folder: edit_metadata(folder, "message_count", None),
    "metadata of the future": lambda folder: edit_metadata(folder, "version", 99),
    "unknown storage": lambda folder: edit_metadata(folder, "storage_identifier", "rocksdb"),
    "unknown compression": lambda folder: [
        edit_metadata(folder, key, value)
        for key, value in (("compression_format", "fake"), ("compression_mode", "FILE"))
    ],
}


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_damaged_bag(tmp_path, storage, damage):
    folder = (write if storage == "mcap" else write_sqlite)(tmp_path / "bag", full_drive(20))
    damage(folder)
    with pytest.raises(InputError, match=str(folder)) as caught:
        list(open_recording(folder).events())
    assert "\n" not in str(caught.value)


def test_counts_that_promise_more_than_there_is(tmp_path):
    folder = write(tmp_path / "bag", [(topics.IMAGE, 1, image(0))])
    information = yaml.safe_load((folder / "metadata.yaml").read_text())["rosbag2_bagfile_information"]
    entries = information["topics_with_message_count"]
    for role in (topics.CAMERA_INFO, topics.ODOMETRY):
        metadata = {**entries[0]["topic_metadata"], "name": role, "type": topics.MESSAGE_TYPES[role]}
        entries.append({"topic_metadata": metadata, "message_count": 7})
    entries[0]["message_count"] = 7
    edit_metadata(folder, "topics_with_message_count", entries)
    assert [type(event) for event in open_recording(folder).events()] == [FrameEvent]


@needs_recent_rosbags
def test_damage_in_the_middle_is_found_when_it_is_read(tmp_path):
    noisy = np.random.default_rng(1).integers(0, 256, (240, 320, 3), dtype=np.uint8)
    drive = [(topics.IMAGE, stamp(number), to_image_message(noisy, stamp(number))) for number in range(40)]
    folder = write(tmp_path / "bag", drive)
    file = folder / "bag_0.mcap"
    content = bytearray(file.read_bytes())
    middle = len(content) * 3 // 4
    content[middle : middle + 64] = bytes(64)
    file.write_bytes(content)
    recording = open_recording(folder)
    with pytest.raises(InputError, match="checksum"):
        list(recording.events())


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("nothing", "no such file or folder"),
        ("folder", "neither a rosbag2 nor a folder of images"),
        ("notes.txt", "not a kind of recording"),
        ("drive.bag", "rosbags-convert"),
        ("drive.mp4", "not a readable video"),
        ("drive.avi", "not a readable video"),
    ],
)
def test_what_is_no_recording(tmp_path, name, reason):
    (tmp_path / "folder").mkdir()
    for file in ("notes.txt", "drive.bag", "drive.mp4", "drive.avi"):
        (tmp_path / file).write_text("nothing of the kind")
    with pytest.raises(InputError, match=f"{name}: .*{reason}"):
        open_recording(tmp_path / name)


def test_several_storage_files_without_metadata(tmp_path):
    for name in ("a_0.db3", "a_1.db3"):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(InputError, match=r"2 storage files without metadata.yaml; run `ros2 bag reindex"):
        open_recording(tmp_path)


def test_topics_are_those_of_the_table_of_stages():
    from l4edge_pipeline.stages import load_stages

    table = load_stages()
    sensing = next(stage for stage in table.stages.values() if stage.name == "sensing")
    assert sensing.inputs["image"] == topics.IMAGE
    for key, topic in (("odometry", topics.ODOMETRY), ("route", topics.ROUTE), ("ground_truth", topics.GROUND_TRUTH)):
        assert sensing.outputs[key] == topic
