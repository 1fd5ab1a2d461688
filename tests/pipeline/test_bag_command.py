"""``l4edge bag`` makes bags of real and made-up sources, and says in one line what is wrong."""

import json

import cv2
import numpy as np
import pytest

from l4edge_perception.recordings import topics
from l4edge_perception.recordings.events import CameraEvent, FrameEvent, GroundTruthEvent, PointsEvent
from l4edge_perception.recordings.images import encode
from l4edge_perception.recordings.reader import open_recording
from l4edge_pipeline.cli import main


@pytest.fixture
def run(capsys):
    """``run("bag", ...)``: exit code, standard output, standard error."""

    def call(*arguments):
        with pytest.raises(SystemExit) as caught:
            main([str(argument) for argument in arguments])
        output = capsys.readouterr()
        return caught.value.code or 0, output.out, output.err

    return call


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(4):
        pixels = np.full((48, 64, 3), (40 * number, 100, 200), np.uint8)
        (folder / f"{number}.png").write_bytes(encode(pixels, "png"))
    return folder


def events(path, kind, **options):
    return [event for event in open_recording(path, **options).events() if isinstance(event, kind)]


def test_images_keep_their_bytes(run, images, tmp_path):
    code, out, err = run("bag", "create", images, "--out", tmp_path / "bag", "--rate", 5, "--camera-fov", 60)
    assert (code, out) == (0, f"{tmp_path / 'bag'}: 4 images, 0 left out\n")
    assert "Assumed: ideal level camera 1.5 m above base_link" in err
    frames = events(tmp_path / "bag", FrameEvent)
    for number, frame in enumerate(frames):
        assert frame.image.data.tobytes() == (images / f"{number}.png").read_bytes()
    assert frames[1].stamp_ns - frames[0].stamp_ns == 200_000_000
    (camera,) = events(tmp_path / "bag", CameraEvent)
    assert camera.camera.intrinsics[0, 0] == pytest.approx(32 / np.tan(np.radians(30)))


def test_a_second_run_gives_the_same_bytes(run, images, tmp_path):
    for name in ("one", "two"):
        assert run("bag", "create", images, "--out", tmp_path / name)[0] == 0
    for file in ("bag_0.mcap", "metadata.yaml"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


@pytest.mark.parametrize(("option", "largest"), [("--lossless", 0), ("--quality=95", 6)])
def test_other_image_files_are_encoded(run, tmp_path, option, largest):
    y, x = np.mgrid[:48, :64]
    smooth = np.stack([2 * x, 3 * y, x + y], axis=2).astype(np.uint8)
    (tmp_path / "images").mkdir()
    cv2.imwrite(str(tmp_path / "images" / "0.bmp"), smooth)
    assert run("bag", "create", tmp_path / "images", "--out", tmp_path / "bag", option)[0] == 0
    (frame,) = events(tmp_path / "bag", FrameEvent)
    assert np.abs(frame.decode().astype(int) - smooth[:, :, ::-1]).max() <= largest


def test_damaged_images_are_left_out_and_named(run, images, tmp_path):
    (images / "2.png").write_bytes(b"damaged")
    code, out, err = run("bag", "create", images, "--out", tmp_path / "bag")
    assert (code, out) == (0, f"{tmp_path / 'bag'}: 3 images, 1 left out\n")
    assert "Left out: image number 2: 7 bytes that are no readable image" in err
    code, out, _ = run("bag", "check", images)
    assert (code, out.splitlines()[0]) == (1, "image number 2: 7 bytes that are no readable image")
    assert run("bag", "check", tmp_path / "bag")[:2] == (
        0,
        "assumed: no camera model: objects cannot be located\n3 frame\n",
    )


def test_a_bag_of_a_bag(run, images, tmp_path):
    assert run("bag", "create", images, "--out", tmp_path / "one", "--camera-fov", 60)[0] == 0
    assert run("bag", "create", tmp_path / "one", "--out", tmp_path / "two")[0] == 0
    assert (tmp_path / "one" / "bag_0.mcap").read_bytes() == (tmp_path / "two" / "bag_0.mcap").read_bytes()


def test_an_existing_bag(run, images, tmp_path):
    arguments = ("bag", "create", images, "--out", tmp_path / "bag")
    assert run(*arguments)[0] == 0
    code, _, err = run(*arguments)
    told = f"l4edge: error: {tmp_path / 'bag'}: exists already; remove it or choose another name\n"
    assert (code, err.lstrip()) == (2, told)
    assert run(*arguments, "--overwrite")[0] == 0


def test_kitti(run, shared_data, tmp_path):
    source = shared_data("research/kitti_object")
    assert run("bag", "create", source, "--out", tmp_path / "bag")[0] == 0
    for kind, compare in (
        (CameraEvent, lambda event: event.camera.camera_from_base),
        (CameraEvent, lambda event: event.camera.intrinsics),
        (CameraEvent, lambda event: (event.camera.width, event.camera.height)),
        (FrameEvent, lambda event: event.decode()),
        (GroundTruthEvent, lambda event: event.truth.positions),
        (GroundTruthEvent, lambda event: event.truth.yaws),
        (GroundTruthEvent, lambda event: event.truth.boxes),
        (GroundTruthEvent, lambda event: event.truth.class_ids),
        (GroundTruthEvent, lambda event: event.truth.ignore),
        (PointsEvent, lambda event: event.points),
        (PointsEvent, lambda event: event.lidar_from_base),
    ):
        before, after = events(source, kind), events(tmp_path / "bag", kind)
        assert len(before) == len(after) == 2
        for one, other in zip(before, after):
            np.testing.assert_allclose(compare(one), compare(other), atol=1e-5)  # KITTI rounds its rotations


def test_video(run, shared_data, tmp_path):
    source = shared_data("permissive/driving_video/solidWhiteRight.mp4")
    code, out, _ = run("bag", "create", source, "--out", tmp_path / "bag", "--quality", 80)
    assert (code, out) == (0, f"{tmp_path / 'bag'}: 221 images, 0 left out\n")
    code, out, _ = run("bag", "info", tmp_path / "bag", "--json")
    (row,) = json.loads(out)["topics"]
    assert (row["name"], row["count"], row["rate_hz"]) == (topics.COMPRESSED_IMAGE, 221, 25.0)
    (first, *_), (original, *_) = events(tmp_path / "bag", FrameEvent), events(source, FrameEvent)
    assert np.abs(first.decode().astype(int) - original.decode()).mean() < 4.0


def test_info_finds_the_longest_gap(run, images, tmp_path):
    from l4edge_perception.recordings.messages import to_message
    from l4edge_perception.recordings.writer import BagWriter
    from l4edge_perception.types import EgoState

    with BagWriter(tmp_path / "bag") as writer:
        for tenth in (0, 1, 2, 7, 8, 9):
            stamp_ns = 5_000_000_000 + tenth * 100_000_000
            ego = EgoState(stamp_ns, 0.0, 0.0, 0.0, 0.0)
            writer.write(topics.ODOMETRY, topics.MESSAGE_TYPES[topics.ODOMETRY], stamp_ns, to_message(ego))
    code, out, _ = run("bag", "info", tmp_path / "bag", "--json")
    summary = json.loads(out)
    assert (code, summary["message_count"], summary["start_ns"]) == (0, 6, 5_000_000_000)
    assert summary["duration_s"] == pytest.approx(0.9)
    (row,) = summary["topics"]
    assert row.pop("message_type") == "nav_msgs/msg/Odometry"
    assert row.pop("name") == topics.ODOMETRY
    assert row == pytest.approx({"count": 6, "rate_hz": 10.0, "longest_gap_s": 0.5, "gap_at_s": 0.2})
    code, out, _ = run("bag", "info", tmp_path / "bag")
    assert code == 0
    assert "10.000" in out
    assert "0.500" in out


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("info", "{images}"), "not a rosbag2; make one of a video or of images with `l4edge bag create`"),
        (("info", "nowhere"), "nowhere: no such file or folder"),
        (("check", "nowhere"), "nowhere: no such file or folder"),
        (("create", "nowhere", "--out", "{bag}"), "nowhere: no such file or folder"),
        (("create", "{images}", "--out", "{bag}", "--rate", "0"), "--rate 0.0: frames a second must be above 0"),
        (("create", "{images}", "--out", "{bag}", "--rate", "nan"), "--rate nan: frames a second must be above 0"),
        (("create", "{images}", "--out", "{bag}", "--camera-fov", "180"), "must lie between 0 and 180 degrees"),
        (("create", "{images}", "--out", "{bag}", "--remap", "a=b"), "--remap a=b: write it as"),
        (("create", "{images}", "--out", "/dev/null/bag"), "/dev/null/bag: cannot be written"),
    ],
)
def test_what_cannot_be_done(run, images, tmp_path, arguments, reason):
    code, out, err = run("bag", *(text.format(images=images, bag=tmp_path / "bag") for text in arguments))
    assert (code, out) == (2, "")
    assert err.lstrip().startswith("l4edge: error: ")
    assert reason in err
    assert err.count("\n") == 1
    assert not (tmp_path / "bag").exists()
