"""Videos, image folders and KITTI folders are recordings like any bag."""

import shutil

import cv2
import numpy as np
import pytest

from l4edge_perception.errors import InputError
from l4edge_perception.recordings import media
from l4edge_perception.recordings.events import (
    CameraEvent,
    EgoEvent,
    FrameEvent,
    GroundTruthEvent,
    PointsEvent,
    RejectedEvent,
)
from l4edge_perception.recordings.images import encode
from l4edge_perception.recordings.kitti_files import ego_state
from l4edge_perception.recordings.reader import open_recording
from l4edge_perception.types import OBJECT_CLASSES

SECOND = 1_000_000_000


def grey(number):
    return np.full((48, 64, 3), 6 * number, np.uint8)


def make_video(path, count=12, rate=20.0):
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), rate, (64, 48))
    for number in range(count):
        writer.write(grey(number))
    writer.release()
    return path


def events(recording, kind):
    return [event for event in recording.events() if isinstance(event, kind)]


class TestVideo:
    def test_frames_in_order_at_the_rate_of_the_video(self, tmp_path):
        recording = open_recording(make_video(tmp_path / "drive.avi"))
        assert (recording.kind, recording.width, recording.height) == ("video", 64, 48)
        assert (recording.frame_count, recording.rate_hz) == (12, 20.0)
        assert recording.duration_s == pytest.approx(0.55)
        frames = events(recording, FrameEvent)
        assert [frame.stamp_ns for frame in frames] == [SECOND + number * 50_000_000 for number in range(12)]
        assert [frame.sequence for frame in frames] == list(range(12))
        for number, frame in enumerate(frames):  # decoded after all were read: each keeps its own pixels
            assert np.abs(frame.decode().astype(int) - grey(number)).max() <= 2

    def test_colours_are_not_swapped(self, shared_data):
        recording = open_recording(shared_data("permissive/driving_video/solidWhiteRight.mp4"))
        assert (recording.frame_count, recording.width, recording.height) == (221, 960, 540)
        pixels = next(iter(recording.events())).decode()
        sky = pixels[:100].reshape(-1, 3).mean(axis=0)
        assert sky[2] > sky[0] + 20  # blue over red

    def test_another_rate(self, tmp_path):
        recording = open_recording(make_video(tmp_path / "drive.avi"), rate_hz=5.0)
        assert [frame.stamp_ns for frame in events(recording, FrameEvent)][:2] == [SECOND, SECOND + SECOND // 5]

    def test_a_video_that_does_not_know_its_length(self, tmp_path, monkeypatch):
        class LiveCapture:
            def __init__(self, capture):
                self.get = lambda key: -9.2e18 if key == cv2.CAP_PROP_FRAME_COUNT else capture.get(key)
                self.read, self.grab, self.release = capture.read, capture.grab, capture.release

        capture = media._capture
        monkeypatch.setattr(media, "_capture", lambda path: LiveCapture(capture(path)))
        recording = open_recording(make_video(tmp_path / "drive.avi"))
        assert recording.frame_count == len(list(recording.events())) == 12

    def test_frames_that_a_cut_off_video_lacks_are_rejected(self, tmp_path):
        whole = make_video(tmp_path / "drive.avi", count=40).read_bytes()
        (tmp_path / "cut.avi").write_bytes(whole[: len(whole) // 2])
        recording = open_recording(tmp_path / "cut.avi")
        frames, rejected = events(recording, FrameEvent), events(recording, RejectedEvent)
        assert 0 < len(frames) < 40
        assert len(frames) + len(rejected) == recording.frame_count == 40
        assert rejected[-1].sequence == 39
        assert rejected[0].reason == f"the video breaks off after {len(frames)} of 40 frames"


class TestImages:
    def test_order_of_numbers(self, tmp_path):
        for number in (10, 9, 1, 2):
            (tmp_path / f"frame{number}.png").write_bytes(encode(grey(number), "png"))
        (tmp_path / "notes.txt").write_text("not an image")
        recording = open_recording(tmp_path)
        assert (recording.kind, recording.frame_count, recording.rate_hz) == ("images", 4, 10.0)
        assert recording.assumptions == ("10 images a second", "no camera model: objects cannot be located")
        frames = events(recording, FrameEvent)
        assert [frame.decode()[0, 0, 0] // 6 for frame in frames] == [1, 2, 9, 10]
        assert [frame.stamp_ns for frame in frames] == [SECOND + number * SECOND // 10 for number in range(4)]

    def test_a_damaged_image_among_good_ones(self, tmp_path):
        (tmp_path / "0.png").write_bytes(b"damaged")
        (tmp_path / "1.png").write_bytes(encode(grey(1), "png"))
        (tmp_path / "2.png").write_bytes(b"")
        recording = open_recording(tmp_path, rate_hz=1.0, field_of_view=1.0)
        assert (recording.width, recording.camera.width) == (64, 64)
        checked = [event.checked() for event in events(recording, FrameEvent)]
        assert [type(event) for event in checked] == [RejectedEvent, FrameEvent, RejectedEvent]

    def test_only_damaged_images(self, tmp_path):
        (tmp_path / "0.jpg").write_bytes(b"damaged")
        with pytest.raises(InputError, match="none of its 1 images can be decoded"):
            open_recording(tmp_path)

    def test_real_images(self, shared_data, tmp_path):
        recording = open_recording(shared_data("permissive/driving_video"))
        assert (recording.frame_count, recording.width, recording.height) == (3, 960, 540)


def corners_in_image(truth, camera):
    """(N, 4) boxes around the projected corners of ground truth of a vehicle at the map's origin."""
    boxes = []
    for i in range(len(truth)):
        length, width, height = truth.sizes[i]
        corners = [(x, y, z) for x in (-length / 2, length / 2) for y in (-width / 2, width / 2) for z in (0, height)]
        cosine, sine = np.cos(truth.yaws[i]), np.sin(truth.yaws[i])
        turn = np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]])
        points = np.array(corners) @ turn.T + truth.positions[i]
        pixels = np.hstack([points, np.ones((8, 1))]) @ camera.camera_from_base.T[:, :3] @ camera.intrinsics.T
        pixels = pixels[:, :2] / pixels[:, 2:]
        boxes.append([*pixels.min(axis=0), *pixels.max(axis=0)])
    return np.array(boxes)


SINGULAR = "\n".join(
    f"{name}: " + " ".join(["0"] * count)
    for name, count in (("P2", 12), ("R0_rect", 9), ("Tr_velo_to_cam", 12), ("Tr_imu_to_velo", 12))
)


class TestKittiObjects:
    def test_labels_calibration_and_sweeps_agree(self, shared_data):
        recording = open_recording(shared_data("research/kitti_object"))
        assert (recording.kind, recording.frame_count) == ("KITTI objects", 2)
        read = list(recording.events())
        order = [CameraEvent, GroundTruthEvent, PointsEvent, FrameEvent]
        assert [type(event) for event in read] == order * 2
        for camera, truth, points, frame in (read[:4], read[4:]):
            pixels = frame.decode()
            assert (camera.camera.height, camera.camera.width) == pixels.shape[:2]
            seen = ~truth.truth.ignore
            projected = corners_in_image(truth.truth, camera.camera)[seen]
            # Labels are boxes around the visible part by eye; far objects fit to the pixel.
            assert np.abs(projected - truth.truth.boxes[seen]).max() < 12.0
            assert np.median(np.abs(projected - truth.truth.boxes[seen])) < 2.0
            # The road lies at height 0 of base_link.
            in_base = np.linalg.inv(points.lidar_from_base) @ np.vstack(
                [points.points[:, :3].T, np.ones(len(points.points))]
            )
            road = in_base[2, (np.abs(in_base[1]) < 2.0) & (in_base[0] > 5.0) & (in_base[0] < 12.0)]
            assert len(road) > 500
            assert abs(np.median(road)) < 0.1

    def test_classes(self, shared_data):
        recording = open_recording(shared_data("research/kitti_object"))
        first, second = (event.truth for event in events(recording, GroundTruthEvent))
        assert [OBJECT_CLASSES[index] for index in first.class_ids] == ["pedestrian"]
        assert [OBJECT_CLASSES[index] for index in second.class_ids[:3]] == ["truck", "car", "cyclist"]
        assert second.ignore.tolist() == [False] * 3 + [True] * 4
        assert set(second.class_ids[3:]) == {255}
        assert np.isnan(second.positions[3:]).all()
        assert len({*first.ids, *second.ids}) == 8

    def test_the_folder_of_images_is_enough_to_name(self, shared_data):
        recording = open_recording(shared_data("research/kitti_object") / "image_2")
        assert recording.kind == "KITTI objects"
        assert len(events(recording, GroundTruthEvent)) == 2

    def test_an_image_without_calibration(self, shared_data, tmp_path):
        source = shared_data("research/kitti_object")
        for folder in ("image_2", "calib"):
            (tmp_path / folder).mkdir()
        shutil.copyfile(source / "image_2" / "000001.png", tmp_path / "image_2" / "000001.png")
        shutil.copyfile(source / "calib" / "000000.txt", tmp_path / "calib" / "000000.txt")
        with pytest.raises(InputError, match=r"calib/000001\.txt: missing"):
            open_recording(tmp_path)

    @pytest.mark.parametrize(
        ("file", "content", "reason"),
        [
            ("calib/000000.txt", "P2: 1 2 3\n", "no matrix P2 or .* of 3 x 4 numbers"),
            ("calib/000000.txt", "P2:" + " nan" * 12, "no matrix P2"),
            ("calib/000000.txt", SINGULAR, "a determinant is 0"),
            ("label_2/000000.txt", "Car 0 0 0 1 2 3\n", "line 1 does not hold 14 numbers"),
            ("label_2/000000.txt", "Car 0 0 0 1 2 3 x 1 1 1 1 1 1 1\n", "line 1 does not hold 14 numbers"),
            ("label_2/000000.txt", "\xff", "not a readable text file"),
            ("velodyne/000000.bin", "123", "3 bytes are no whole number of points"),
        ],
    )
    def test_damaged_files(self, shared_data, tmp_path, file, content, reason):
        folder = tmp_path / "kitti"
        shutil.copytree(shared_data("research/kitti_object"), folder, copy_function=shutil.copyfile)
        for entry in (folder, *folder.rglob("*")):
            entry.chmod(0o755)
        (folder / file).write_text(content, encoding="latin-1")
        with pytest.raises(InputError, match=f"{file}: .*{reason}"):
            list(open_recording(folder).events())


def spread_out(source, root):
    """The two frames of the object data set as a tracking sequence of its layout, with a motion of 1 m per frame."""
    (root / "calib").mkdir(parents=True)
    calibration = (source / "calib" / "000000.txt").read_text()
    for old, new in (("R0_rect:", "R_rect"), ("Tr_velo_to_cam:", "Tr_velo_cam"), ("Tr_imu_to_velo:", "Tr_imu_velo")):
        calibration = calibration.replace(old, new)
    (root / "calib" / "0007.txt").write_text(calibration)
    (root / "image_02" / "0007").mkdir(parents=True)
    for number in range(3):
        shutil.copyfile(source / "image_2" / "000000.png", root / "image_02" / "0007" / f"{number:06}.png")
    (root / "label_02").mkdir()
    labels = [
        "0 4 Car 0 1 -1.5 100 150 200 250 1.5 1.6 4.0 2.0 1.7 20.0 -1.57",
        "2 4 Van 1 0 -1.5 100 150 200 250 1.5 1.6 4.0 2.0 1.7 19.0 -1.57",
        "2 -1 DontCare -1 -1 -10 300 150 310 160 -1 -1 -1 -1000 -1000 -1000 -10",
    ]
    (root / "label_02" / "0007.txt").write_text("\n".join(labels) + "\n")
    return root / "image_02" / "0007"


def motion(north, yaw=np.pi / 2):
    """A line of an oxts file: so many metres north of a place in Karlsruhe, at 10 m/s."""
    fields = [49.0 + np.degrees(north / 6378137.0), 8.4, 110.0, 0.0, 0.0, yaw, 0, 0, 10.0, 0, 0, 0, 0, 0, 0.5]
    return " ".join(repr(float(value)) for value in [*fields, *[0] * 7, 0.1, *[0] * 7])


class TestKittiDrives:
    def test_tracking_sequence(self, shared_data, tmp_path):
        sequence = spread_out(shared_data("research/kitti_object"), tmp_path / "training")
        recording = open_recording(sequence)
        assert (recording.kind, recording.frame_count, recording.rate_hz) == ("KITTI drive", 3, 10.0)
        assert len(events(recording, CameraEvent)) == 1
        assert not events(recording, EgoEvent)
        truths = [event.truth for event in events(recording, GroundTruthEvent)]
        assert [len(truth) for truth in truths] == [1, 0, 2]
        assert truths[0].ids[0] == truths[2].ids[0] == 4
        assert truths[0].visibilities[0] == truths[2].visibilities[0] == pytest.approx(2 / 3)
        assert truths[2].ignore.tolist() == [False, True]
        # 20 m ahead of the camera, which is 1 m ahead of base_link; 2 m to the right; it looks ahead.
        np.testing.assert_allclose(truths[0].positions[0, :2], (21.1, -2.2), atol=0.5)
        assert abs(truths[0].yaws[0]) < 0.05

    def test_motion_puts_objects_on_the_map(self, shared_data, tmp_path):
        sequence = spread_out(shared_data("research/kitti_object"), tmp_path / "training")
        (tmp_path / "training" / "oxts").mkdir()
        (tmp_path / "training" / "oxts" / "0007.txt").write_text("\n".join(motion(float(n) / 2) for n in range(3)))
        recording = open_recording(sequence)
        egos = [event.ego for event in events(recording, EgoEvent)]
        np.testing.assert_allclose([(ego.x, ego.y) for ego in egos], [(0, 0), (0, 0.5), (0, 1.0)], atol=1e-5)
        assert (egos[0].yaw, egos[0].speed, egos[0].yaw_rate, egos[0].acceleration) == (np.pi / 2, 10.0, 0.1, 0.5)
        first, _, last = (event.truth for event in events(recording, GroundTruthEvent))
        # The vehicle came 1 m nearer to the standing car: on the map it stays where it was.
        np.testing.assert_allclose(first.positions[0], last.positions[0], atol=0.02)
        np.testing.assert_allclose(first.positions[0, :2], (2.2, 21.1), atol=0.5)
        assert first.yaws[0] == pytest.approx(np.pi / 2, abs=0.05)

    def test_projection_keeps_distances(self):
        """A hundredth of a degree is 1113.2 m of a great circle; less by the cosine of the latitude to the east."""
        origin = (49.0, 8.4, 0, 0, 0, 0.0)
        moved = [49.01, 8.41, 0, 0, 0, 0.0, *[0.0] * 24]
        ego = ego_state(moved, origin, 5)
        assert ego.x == pytest.approx(1113.195 * np.cos(np.radians(49.0)), rel=1e-4)
        assert ego.y == pytest.approx(1113.195, rel=3e-4)

    def raw_drive(self, source, date):
        drive = date / "drive_0001_sync"
        (drive / "image_02" / "data").mkdir(parents=True)
        (drive / "oxts" / "data").mkdir(parents=True)
        for number in (0, 2):  # a frame is missing
            shutil.copyfile(source / "image_2" / "000000.png", drive / "image_02" / "data" / f"{number:010}.png")
            (drive / "oxts" / "data" / f"{number:010}.txt").write_text(motion(float(number)))
        stamps = [f"2011-09-26 13:02:25.{fraction}\n" for fraction in ("964389445", "1", "2")]
        stamps[1:] = [line.replace("25.", "26.") for line in stamps[1:]]
        (drive / "image_02" / "timestamps.txt").write_text("".join(stamps))
        return drive

    def test_raw_drive(self, shared_data, tmp_path):
        source = shared_data("research/kitti_object")
        drive = self.raw_drive(source, tmp_path / "2011_09_26")
        recording = open_recording(drive)
        frames = events(recording, FrameEvent)
        assert [frame.stamp_ns for frame in frames] == [1_317_042_145_964_389_445, 1_317_042_146_200_000_000]
        assert [round(event.ego.y, 4) for event in events(recording, EgoEvent)] == [0.0, 2.0]
        assert recording.assumptions == ("no camera model: objects cannot be located",)

        matrices = dict(line.split(": ") for line in (source / "calib" / "000000.txt").read_text().split("\n") if line)
        lidar, imu = (
            np.reshape([float(x) for x in matrices[name].split()], (3, 4))
            for name in ("Tr_velo_to_cam", "Tr_imu_to_velo")
        )
        for name, matrix in (("velo_to_cam", lidar), ("imu_to_velo", imu)):
            rotation, shift = (" ".join(map(repr, part.ravel().tolist())) for part in (matrix[:, :3], matrix[:, 3]))
            text = f"calib_time: 15-Mar-2012 11:37:16\nR: {rotation}\nT: {shift}\n"
            (drive.parent / f"calib_{name}.txt").write_text(text)
        (drive.parent / "calib_cam_to_cam.txt").write_text(
            f"calib_time: 09-Jan-2012 13:57:47\nR_rect_00: {matrices['R0_rect']}\nP_rect_02: {matrices['P2']}\n"
        )
        (camera,) = events(open_recording(drive), CameraEvent)
        expected = events(open_recording(source), CameraEvent)[0]
        np.testing.assert_allclose(camera.camera.camera_from_base, expected.camera.camera_from_base, atol=1e-9)
        np.testing.assert_allclose(camera.camera.intrinsics, expected.camera.intrinsics)

    def test_no_motion_in_its_file(self, shared_data, tmp_path):
        drive = self.raw_drive(shared_data("research/kitti_object"), tmp_path)
        (drive / "oxts" / "data" / "0000000000.txt").write_text("")
        with pytest.raises(InputError, match=r"0000000000\.txt: empty"):
            open_recording(drive)

    def test_stamps_that_cannot_be_used(self, shared_data, tmp_path):
        drive = self.raw_drive(shared_data("research/kitti_object"), tmp_path)
        path = drive / "image_02" / "timestamps.txt"
        for content, reason in (
            ("2011-09-26 13:02:25.9\n", "1 stamps, but image 0000000002.png"),
            ("yesterday\n", "not a file of stamps"),
            ("2011-09-26 13:02:25.9\n" * 3, "do not rise"),
        ):
            path.write_text(content)
            with pytest.raises(InputError, match=reason):
                open_recording(drive)

    def test_several_sequences(self, tmp_path):
        (tmp_path / "image_02" / "0000").mkdir(parents=True)
        with pytest.raises(InputError, match=r"several KITTI sequences; name one, such as .*image_02/0000"):
            open_recording(tmp_path)
