"""Every type of this project survives the way into a ROS message's bytes and back."""

import math

import numpy as np
import pytest

from l4edge_perception.errors import InputError
from l4edge_perception.recordings import typestore
from l4edge_perception.recordings.cameras import (
    StaticTransforms,
    from_camera_info,
    level_camera,
    pinhole,
    to_camera_info,
    to_static_transform,
)
from l4edge_perception.recordings.images import (
    FrameError,
    Image,
    encode,
    from_image_message,
    to_compressed_message,
    to_image_message,
)
from l4edge_perception.recordings.messages import from_message, make, make_header, to_message, yaw_of
from l4edge_perception.recordings.points import from_point_cloud, to_point_cloud
from l4edge_perception.recordings.typestore import load_typestore
from l4edge_perception.types import (
    MEANINGS,
    CameraModel,
    ControlCommand,
    Detections,
    EgoState,
    GroundTruth,
    Route,
    Tracks,
    Trajectory,
)

STAMP = 1_746_721_937_599_626_818  # more digits than a float64 holds
RANDOM = np.random.default_rng(7)


def through_bytes(message):
    store, name = load_typestore(), message.__msgtype__
    return store.deserialize_cdr(bytes(store.serialize_cdr(message, name)), name)


def floats(*shape, kind=np.float32):
    return RANDOM.uniform(-90.0, 90.0, shape).astype(kind)


def meanings(count):
    table = floats(count, len(MEANINGS))
    table[::2] = 0.0  # nobody has read these
    return table


def detections(count):
    class_ids = np.arange(count, dtype=np.int32) % 6
    return Detections(STAMP, floats(count, 4), floats(count), class_ids, meanings(count))


def tracks(count):
    located = np.arange(count) % 2 == 0
    table = Tracks(
        STAMP,
        np.arange(count, dtype=np.int64) + 2**40,
        floats(count, 4),
        floats(count),
        np.arange(count, dtype=np.int32) % 6,
        floats(count),
        floats(count),
        floats(count, 2, kind=np.float64),
        floats(count, 2, kind=np.float64),
        floats(count, 3),
        meanings(count),
    )
    for array in (table.positions, table.velocities, table.sizes):
        array[~located] = np.nan
    table.velocities[:1] = np.nan  # located, yet too young for a velocity
    return table


def ground_truth(count):
    return GroundTruth(
        STAMP,
        np.arange(count, dtype=np.int64),
        np.arange(count, dtype=np.int32) % 6,
        floats(count, 4),
        floats(count),
        floats(count, 3, kind=np.float64),
        RANDOM.uniform(-3.1, 3.1, count),
        floats(count, 2, kind=np.float64),
        floats(count, 3),
        np.arange(count) % 3 == 0,
        tuple(["", "stop", "größe"][i % 3] for i in range(count)),
    )


def trajectory(count):
    return Trajectory(
        STAMP,
        np.arange(count) * 0.1,
        floats(count, 2, kind=np.float64),
        RANDOM.uniform(-3.1, 3.1, count),
        floats(count).astype(np.float64),
        floats(count).astype(np.float64),
        "follow",
        7 if count else None,
    )


VALUES = {
    "detections": detections(5),
    "no detections": Detections.empty(STAMP),
    "tracks": tracks(6),
    "no tracks": tracks(0),
    "ego": EgoState(STAMP, 89571.125, -42301.5, 2.75, 13.25, -0.125),
    "route": Route(floats(4, 2, kind=np.float64), np.array([13.5, 8.25, 8.25, 0.0]), np.full(4, 3.5)),
    "trajectory": trajectory(20),
    "trajectory of one point": trajectory(1),
    "no trajectory": trajectory(0),
    "command": ControlCommand(STAMP, 0.125, -3.5, 8.25, emergency=True),
    "ground truth": ground_truth(7),
    "no ground truth": ground_truth(0),
}


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES.keys())
def test_round_trip(value):
    result = from_message(through_bytes(to_message(value, sequence=3)))
    assert type(result) is type(value)
    for name, expected in vars(value).items():
        actual = getattr(result, name)
        if isinstance(expected, np.ndarray):
            assert (actual.shape, actual.dtype) == (expected.shape, expected.dtype), name
            np.testing.assert_allclose(actual, expected, rtol=1e-13, atol=1e-13, err_msg=name)
        elif isinstance(expected, float):
            assert actual == pytest.approx(expected, abs=1e-13), name
        else:
            assert actual == expected, name


def test_acceleration_of_the_vehicle_has_no_place_in_odometry():
    assert from_message(to_message(EgoState(STAMP, 0.0, 0.0, 0.0, 5.0, acceleration=1.0))).acceleration == 0.0


def test_heading_rate_follows_from_the_headings():
    turning = Trajectory(
        0, np.arange(5) * 0.5, np.zeros((5, 2)), np.array([3.0, 3.1, -3.083, -2.983, -2.883]), np.ones(5), np.zeros(5)
    )
    rates = [point.heading_rate for point in to_message(turning).points]
    assert rates == pytest.approx([0.2] * 5, abs=1e-3)


@pytest.mark.parametrize("yaw", [0.0, 1.0, math.pi, -math.pi / 2, -3.0])
def test_yaw_of_a_rolled_and_pitched_vehicle(yaw):
    from scipy.spatial.transform import Rotation

    x, y, z, w = Rotation.from_euler("ZYX", [yaw, 0.05, -0.03]).as_quat()
    quaternion = make("geometry_msgs/msg/Quaternion", x=x, y=y, z=z, w=w)
    assert math.remainder(yaw_of(quaternion) - yaw, math.tau) == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("field", ["x", "yaw", "speed"])
def test_odometry_that_is_not_a_number(field):
    message = to_message(EgoState(STAMP, **{"x": 0.0, "y": 0.0, "yaw": 0.0, "speed": 0.0, field: float("nan")}))
    with pytest.raises(ValueError, match="not a number"):
        from_message(message)


@pytest.mark.parametrize(
    ("route", "reason"),
    [
        (Route(np.zeros((2, 2)), np.ones(3), np.ones(2)), "differ in length"),
        (Route(np.full((2, 2), np.inf), np.ones(2), np.ones(2)), "not a number"),
    ],
)
def test_broken_route(route, reason):
    with pytest.raises(ValueError, match=reason):
        from_message(to_message(route))


def test_messages_of_rclpy_are_read_as_well():
    nav_msgs, sensor_msgs = (pytest.importorskip(name + ".msg") for name in ("nav_msgs", "sensor_msgs"))
    odometry = nav_msgs.Odometry()
    odometry.header.stamp.sec, odometry.pose.pose.position.x, odometry.twist.twist.linear.x = 7, 2.0, 3.0
    assert from_message(odometry) == EgoState(7_000_000_000, 2.0, 0.0, 0.0, 3.0)
    camera = sensor_msgs.CameraInfo(width=64, height=48, k=[50.0, 0.0, 31.5, 0.0, 50.0, 23.5, 0.0, 0.0, 1.0], d=[0.1])
    assert from_camera_info(camera, np.eye(4)).intrinsics[0].tolist() == [50.0, 0.0, 32.0]
    image = sensor_msgs.Image(width=2, height=1, step=6, encoding="bgr8", data=bytes(range(6)))
    assert from_image_message(image).decode().tolist() == [[[2, 1, 0], [5, 4, 3]]]


@pytest.mark.parametrize("value", [tracks(2), ground_truth(2)])
def test_numbers_of_objects_that_int64_does_not_hold(value):
    message = to_message(value)
    message.objects[1].object_id = 2**63
    with pytest.raises(ValueError, match="object_id above"):
        from_message(through_bytes(message))


@pytest.mark.parametrize(("probabilities", "reason"), [([0.5, 0.5], "2 prob"), ([np.nan] * len(MEANINGS), "number")])
def test_meanings_that_are_none(probabilities, reason):
    message = to_message(tracks(2))
    message.objects[1].meaning = make(
        "l4edge_msgs/msg/ObjectMeaning", probabilities=np.array(probabilities, np.float32)
    )
    with pytest.raises(ValueError, match=reason):
        from_message(through_bytes(message))


def test_the_message_names_the_meanings_in_their_order():
    constants = load_typestore().types["l4edge_msgs/msg/ObjectMeaning"]
    assert [getattr(constants, word.upper()) for word in MEANINGS] == list(range(len(MEANINGS)))


class TestCamera:
    def test_round_trip(self):
        camera = CameraModel(
            1242, 375, np.array([[721.5, 0, 609.6], [0, 721.5, 172.9], [0, 0, 1.0]]), floats(5, kind=np.float64),
            level_camera(1.65),
        )  # fmt: skip
        mounting = StaticTransforms([through_bytes(to_static_transform(camera.camera_from_base, STAMP, "eye"))])
        result = from_camera_info(through_bytes(to_camera_info(camera, STAMP, "eye")), mounting.from_base("eye"))
        assert (result.width, result.height) == (1242, 375)
        np.testing.assert_allclose(result.intrinsics, camera.intrinsics, rtol=1e-12)
        np.testing.assert_array_equal(result.distortion, camera.distortion)
        np.testing.assert_allclose(result.camera_from_base, camera.camera_from_base, atol=1e-12)

    def test_ros_counts_pixels_from_the_centre_of_the_first(self):
        message = to_camera_info(pinhole(640, 480, 1.0), STAMP)
        assert (message.k[2], message.k[5]) == (319.5, 239.5)

    def test_pinhole_sees_what_it_is_told(self):
        camera = pinhole(640, 480, math.radians(90.0))
        left_edge = camera.intrinsics @ (camera.camera_from_base @ (10.0, 10.0, 1.5, 1.0))[:3]
        np.testing.assert_allclose(left_edge[:2] / left_edge[2], (0.0, 240.0), atol=1e-9)

    def test_chain_of_mountings(self):
        mast, eye = np.eye(4), level_camera(0.0)
        mast[:3, 3] = -1.0, 0.0, -1.5
        second = to_static_transform(eye, 0, "eye")
        second.transforms[0].header.frame_id = "/mast"
        transforms = StaticTransforms([second, to_static_transform(mast, 0, "mast")])
        np.testing.assert_allclose(
            transforms.from_base("eye") @ (11.0, 0.0, 1.5, 1.0), (0.0, 0.0, 10.0, 1.0), atol=1e-12
        )
        assert transforms.from_base("ear") is None

    def test_circular_mountings_end(self):
        first, second = to_static_transform(np.eye(4), 0, "a"), to_static_transform(np.eye(4), 0, "b")
        first.transforms[0].header.frame_id, second.transforms[0].header.frame_id = "b", "a"
        assert StaticTransforms([first, second]).from_base("a") is None

    def test_not_calibrated(self):
        message = to_camera_info(pinhole(640, 480, 1.0), STAMP)
        message.k[:] = 0.0
        assert from_camera_info(message, np.eye(4)) is None

    @pytest.mark.parametrize(
        ("field", "value", "reason"),
        [
            ("distortion_model", "equidistant", "distortion model 'equidistant'"),
            ("k", np.full(9, np.nan), "no pinhole"),
            ("d", np.array([np.nan]), "not a number"),
        ],
    )
    def test_unusable(self, field, value, reason):
        message = to_camera_info(pinhole(640, 480, 1.0), STAMP)
        setattr(message, field, value)
        with pytest.raises(ValueError, match=reason):
            from_camera_info(message, np.eye(4))


class TestImage:
    rgb = RANDOM.integers(0, 256, (6, 9, 3), dtype=np.uint8)

    @pytest.mark.parametrize("padding", [0, 5])
    @pytest.mark.parametrize(
        ("encoding", "order"),
        [("rgb8", [0, 1, 2]), ("bgr8", [2, 1, 0]), ("rgba8", [0, 1, 2, 0]), ("bgra8", [2, 1, 0, 0]), ("mono8", [0])],
    )
    def test_encodings(self, encoding, order, padding):
        pixels = self.rgb[:, :, order]
        message = to_image_message(self.rgb, STAMP)
        message.encoding, message.step = encoding, 9 * len(order) + padding
        rows = np.zeros((6, message.step), np.uint8)
        rows[:, : 9 * len(order)] = pixels.reshape(6, -1)
        message.data = rows.reshape(-1)
        expected = self.rgb if len(order) > 1 else self.rgb[:, :, [0, 0, 0]]
        image = from_image_message(through_bytes(message))
        np.testing.assert_array_equal(image.decode(), expected)
        target = np.zeros((6, 9, 3), np.uint8)
        image.open().write_rgb(target)
        np.testing.assert_array_equal(target, expected)

    def test_the_last_row_needs_no_padding(self):
        message = to_image_message(self.rgb, STAMP)
        message.step = 32
        message.data = np.pad(self.rgb.reshape(6, 27), ((0, 0), (0, 5))).reshape(-1)[:-5]
        np.testing.assert_array_equal(from_image_message(message).decode(), self.rgb)

    def test_png_is_lossless_and_jpeg_is_not(self):
        for kind, largest in (("png", 0), ("jpeg", 255)):
            message = through_bytes(to_compressed_message(encode(self.rgb, kind), kind, STAMP))
            decoded = from_image_message(message).decode().astype(int)
            assert 0 <= np.abs(decoded - self.rgb).max() <= largest

    def test_jpeg_of_a_smooth_image_is_close(self):
        y, x = np.mgrid[:64, :96]
        smooth = np.stack([x * 2, y * 3, x + y], axis=2).astype(np.uint8)
        decoded = Image("compressed", np.frombuffer(encode(smooth, "jpeg", 95), np.uint8)).decode()
        assert np.abs(decoded.astype(int) - smooth).mean() < 1.5

    def test_decoding_writes_where_it_is_told(self):
        memory = np.zeros(4 + self.rgb.size, np.uint8)
        target = memory[4:].reshape(self.rgb.shape)
        Image("compressed", np.frombuffer(encode(self.rgb, "png"), np.uint8)).open().write_rgb(target)
        np.testing.assert_array_equal(memory[4:], self.rgb.reshape(-1))
        assert not memory[:4].any()

    def test_another_size_than_the_target(self):
        image = Image("compressed", np.frombuffer(encode(self.rgb, "png"), np.uint8))
        target = np.full((9, 6, 3), 77, np.uint8)
        with pytest.raises(ValueError, match=r"of shape \(6, 9, 3\)"):
            image.open().write_rgb(target)
        assert (target == 77).all()

    def test_a_target_that_opencv_could_not_write_to(self):
        image = Image("rgb8", self.rgb)
        with pytest.raises(ValueError, match="contiguous"):
            image.open().write_rgb(np.zeros((6, 18, 3), np.uint8)[:, ::2])

    @pytest.mark.parametrize(
        ("changes", "reason"),
        [
            ({"width": 0, "step": 0}, "0 x 6 pixels"),
            ({"height": 0}, "9 x 0 pixels"),
            ({"data": np.zeros(0, np.uint8)}, "0 bytes for 6 rows"),
            ({"data": np.zeros(100, np.uint8)}, "100 bytes for 6 rows"),
            ({"step": 3}, "rows of 3 bytes"),
            ({"encoding": "bayer_rggb8"}, "encoding 'bayer_rggb8'; readable are bgr8, bgra8, mono8, rgb8, rgba8"),
            ({"is_bigendian": 1}, "big-endian"),
        ],
    )
    def test_unusable_image(self, changes, reason):
        message = to_image_message(self.rgb, STAMP)
        for field, value in changes.items():
            setattr(message, field, value)
        with pytest.raises(FrameError, match=reason):
            from_image_message(message)

    def test_empty_compressed_image(self):
        with pytest.raises(FrameError, match="0 bytes"):
            from_image_message(to_compressed_message(b"", "jpeg", STAMP))

    @pytest.mark.parametrize("content", [b"\xff\xd8\xff", b"not an image", encode(rgb, "png")[:40]])
    def test_damaged_file(self, content):
        with pytest.raises(FrameError, match="no readable image"):
            from_image_message(to_compressed_message(content, "jpeg", STAMP)).decode()


class TestPoints:
    points = floats(50, 4)

    def test_round_trip(self):
        np.testing.assert_array_equal(from_point_cloud(through_bytes(to_point_cloud(self.points, STAMP))), self.points)

    def test_other_fields_in_another_order(self):
        message = to_point_cloud(self.points[:, [3, 2, 0, 1]], STAMP)
        for entry, name in zip(message.fields, ("ring", "z", "x", "y")):
            entry.name = name
        expected = np.hstack([self.points[:, :3], np.zeros((50, 1), np.float32)])
        np.testing.assert_array_equal(from_point_cloud(message), expected)

    @pytest.mark.parametrize(("field", "value"), [("width", 51), ("row_step", 10), ("fields", []), ("point_step", 8)])
    def test_unusable(self, field, value):
        message = to_point_cloud(self.points, STAMP)
        setattr(message, field, value)
        with pytest.raises(ValueError, match="a point cloud"):
            from_point_cloud(message)


class TestTypestore:
    def test_definitions_of_a_sourced_workspace_come_first(self, tmp_path, monkeypatch):
        folder = tmp_path / "share" / "l4edge_msgs" / "msg"
        folder.mkdir(parents=True)
        (folder / "Own.msg").write_text("uint8 value\n")
        monkeypatch.setenv("AMENT_PREFIX_PATH", "/nowhere:" + str(tmp_path))
        assert typestore.message_folder() == folder

    def test_definitions_that_are_nowhere(self, tmp_path, monkeypatch):
        monkeypatch.setattr(typestore, "__file__", str(tmp_path / "a" / "b" / "c" / "typestore.py"))
        monkeypatch.setenv("AMENT_PREFIX_PATH", "")
        with pytest.raises(InputError, match="source the workspace"):
            typestore.message_folder()

    def test_broken_definition(self, tmp_path, monkeypatch):
        folder = tmp_path / "share" / "l4edge_msgs" / "msg"
        folder.mkdir(parents=True)
        (folder / "Broken.msg").write_text("uint8[ value")
        monkeypatch.setenv("AMENT_PREFIX_PATH", str(tmp_path))
        with pytest.raises(InputError, match=r"Broken\.msg: not a message definition"):
            load_typestore.__wrapped__()

    def test_header_holds_all_digits_of_a_stamp(self):
        stamp = make_header(STAMP, "map").stamp
        assert (stamp.sec, stamp.nanosec) == (1_746_721_937, 599_626_818)
