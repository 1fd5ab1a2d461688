import numpy as np
import pytest

from l4edge_perception.errors import InputError
from l4edge_perception.training.augmentation import AugmentationConfig, Labels, augment, cut_band
from l4edge_perception.training.dataset import read_drive, read_split, summarise

STILL = AugmentationConfig(flip=0, zoom=0, colour=0, fault=0)
BLACK = np.zeros((36, 64, 3), np.uint8)


def labels(*boxes, ignore=None):
    count = len(boxes)
    return Labels(
        np.array(boxes, np.float32).reshape(-1, 4), np.arange(count), np.array(ignore or [False] * count, bool)
    )


def painted(*boxes):
    """A black picture with white boxes at whole pixels."""
    pixels = BLACK.copy()
    for left, top, right, bottom in boxes:
        pixels[top:bottom, left:right] = 255
    return pixels


def white_box(pixels):
    """The box around all pixels brighter than half."""
    rows, columns = np.nonzero(pixels[:, :, 0] > 127)
    return columns.min(), rows.min(), columns.max() + 1, rows.max() + 1


BOX = (20, 10, 40, 22)


@pytest.mark.parametrize(
    "config",
    [
        STILL,
        AugmentationConfig(flip=1, zoom=0, colour=0, fault=0),
        AugmentationConfig(flip=0, zoom=1, colour=0, fault=0),
        AugmentationConfig(flip=1, zoom=1, zoom_range=(0.7, 1.2), colour=0, fault=0),
    ],
    ids=["still", "flipped", "zoomed", "both"],
)
@pytest.mark.parametrize("canvas", [(36, 64), (40, 64), (36, 80), (72, 128)])
@pytest.mark.parametrize("seed", range(3))
def test_labels_go_where_the_pixels_go(config, canvas, seed):
    pixels, moved = augment(painted(BOX), labels(BOX), canvas, np.random.default_rng(seed), config)
    assert pixels.shape == (*canvas, 3)
    # Half of a pixel on each side is what resampling leaves open.
    np.testing.assert_allclose(moved.boxes[0], white_box(pixels), atol=1.01)


def test_colours_and_faults_leave_labels_alone_and_bars_black():
    config = AugmentationConfig(flip=0, zoom=0, colour=1, fault=1)
    picture = np.full((36, 64, 3), 128, np.uint8)
    changed = 0
    for seed in range(8):
        pixels, moved = augment(picture, labels(BOX), (40, 64), np.random.default_rng(seed), config)
        assert pixels.dtype == np.uint8
        assert not pixels[:2].any() and not pixels[38:].any()
        np.testing.assert_array_equal(moved.boxes[0], np.add(BOX, (0, 2, 0, 2)))
        changed += not np.array_equal(pixels[2:38], picture)
    assert changed == 8


def test_what_is_cut_off_or_too_small_is_ignored_or_gone():
    boxes = labels((0, 0, 10, 10), (0, 12, 10, 24), (0, 30, 10, 36), (0, 11, 10, 13))
    # Rows 13 to 33 of 36.
    generator = np.random.default_rng(0)
    while True:
        state = generator.bit_generator.state
        if generator.integers(0, 17) == 13:
            break
    generator.bit_generator.state = state
    pixels, cut = cut_band(painted((0, 12, 10, 24)), boxes, 20, generator, AugmentationConfig(smallest_part=0.6))
    assert pixels.shape == (20, 64, 3)
    np.testing.assert_array_equal(cut.boxes, [[0, 0, 10, 11], [0, 17, 10, 20]])
    assert cut.class_ids.tolist() == [1, 2]
    assert cut.ignore.tolist() == [False, True]  # half of the third is left


def test_ignored_stays_ignored():
    _, moved = augment(BLACK, labels(BOX, ignore=[True]), (36, 64), np.random.default_rng(0), STILL)
    assert moved.ignore.tolist() == [True]


def test_pictures_without_objects():
    _, moved = augment(BLACK, labels(), (40, 64), np.random.default_rng(0), AugmentationConfig(zoom=1))
    assert moved.boxes.shape == (0, 4)


def write_drive(folder, frames=3, images=None, **changes):
    import cv2

    (folder / "images").mkdir(parents=True)
    for number in range(frames if images is None else images):
        cv2.imwrite(str(folder / "images" / f"{number:06d}.jpg"), BLACK)
    fields = {
        "frame": np.array([2, 0, 2], np.int32),
        "ids": np.array([5, 6, 7]),
        "class_ids": np.array([0, 1, 2], np.int32),
        "boxes": np.arange(12, dtype=np.float32).reshape(3, 4),
        "visibilities": np.ones(3, np.float32),
        "positions": np.zeros((3, 3)),
        "yaws": np.zeros(3),
        "velocities": np.zeros((3, 2)),
        "sizes": np.ones((3, 3), np.float32),
        "ignore": np.array([False, True, False]),
        "attributes": np.array(["", "", "stop"]),
        "stamps_ns": np.arange(frames) * 100,
        **changes,
    }
    np.savez(folder / "ground_truth.npz", **{name: values for name, values in fields.items() if values is not None})
    return folder


def test_a_drive_is_read_frame_by_frame(tmp_path):
    frames = read_drive(write_drive(tmp_path / "drive"))
    assert [frame.truth.ids.tolist() for frame in frames] == [[6], [], [5, 7]]
    assert [frame.truth.stamp_ns for frame in frames] == [0, 100, 200]
    assert frames[2].truth.attributes == ("", "stop")
    assert frames[1].path.name == "000001.jpg"


@pytest.mark.parametrize(
    ("more", "message"),
    [({"images": 2}, r"000002\.jpg: missing"), ({"boxes": None}, "not a complete ground truth file")],
)
def test_an_incomplete_drive_is_an_input_error(tmp_path, more, message):
    with pytest.raises(InputError, match=message):
        read_drive(write_drive(tmp_path / "drive", **more))


def test_a_dataset_without_drives_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match="no drives"):
        read_split(tmp_path, "train")


def test_summary_counts_what_counts_and_names_the_labels(tmp_path):
    for split in ("train", "validation", "test"):
        write_drive(tmp_path / split / "drive_000000")
    summary = summarise(tmp_path)
    assert summary["train"]["frames"] == 3 and summary["train"]["drives"] == 1
    assert summary["test"]["objects"] == {
        "car": 1, "truck": 0, "pedestrian": 1, "cyclist": 0, "sign": 0, "light": 0
    }  # fmt: skip
    write_drive(tmp_path / "test" / "drive_000001", yaws=np.ones(3))
    assert summarise(tmp_path)["labels_sha256"] != summary["labels_sha256"]
