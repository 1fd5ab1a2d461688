import json

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from l4edge_perception.camera.detector import Detector
from l4edge_perception.camera.foreign import (
    COCO_CLASSES,
    choose_layout,
    class_map,
    import_detector,
    picture_layout,
    possible_layouts,
    read_classes,
)
from l4edge_perception.errors import InputError
from l4edge_perception.graphs import TensorSpec
from l4edge_perception.packages import load_package
from l4edge_perception.types import OBJECT_CLASSES
from l4edge_pipeline.commands.models import command


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("car", "car"),
        ("bus", "truck"),
        ("truck", "truck"),
        ("person", "pedestrian"),
        ("bicycle", "cyclist"),
        ("motorcycle", "cyclist"),
        ("stop sign", "sign"),
        ("traffic light", "light"),
        ("Car", "car"),
    ],
)
def test_foreign_classes_count_as_ours(name, expected):
    assert class_map([name]) == (OBJECT_CLASSES.index(expected),)


def test_coco_has_80_classes_of_which_8_are_used():
    mapped = class_map(COCO_CLASSES)
    assert len(mapped) == 80
    assert sum(index >= 0 for index in mapped) == 8


# An input of 640 x 640 has 80^2 + 40^2 + 20^2 = 8400 cells.
@pytest.mark.parametrize(
    ("output", "classes", "expected"),
    [
        ((1, 85, 22, 22), 80, ["fastestdet"]),
        ((1, 25200, 85), 80, ["yolov5"]),
        ((1, 8400, 85), 80, ["yolox"]),
        ((1, 84, 8400), 80, ["yolov8"]),
        ((1, 84, -1), 80, ["yolov8"]),
        ((1, 300, 6), 80, ["end_to_end"]),
        ((1, -1, 6), 80, ["end_to_end"]),
        ((1, -1, 85), 80, ["yolov5", "yolox"]),
        ((1, -1, 6), 1, ["yolov5", "yolox", "end_to_end"]),
        ((1, 8400, 6), 1, ["yolox"]),
        ((1, 84, 8400), 20, []),
        ((1, 84, 100), 80, []),
        ((1, 85, 22, 22), 20, []),
        ((1, 1000), 80, []),
    ],
)
def test_layouts_are_told_from_shapes(output, classes, expected):
    assert possible_layouts(output, (640, 640), classes) == expected


@pytest.mark.parametrize(
    ("output", "wanted", "message"),
    [
        ((1, -1, 85), "auto", "could be yolov5 or yolox; say which with --layout"),
        ((1, 84, 77), "auto", "no known layout"),
        ((1, 84, 8400), "yolox", "does not fit .* what fits: yolov8"),
        ((1, 84, 8400), "yolov9", "unknown; known are fastestdet"),
    ],
)
def test_a_layout_that_cannot_be_chosen(output, wanted, message):
    with pytest.raises(InputError, match=message):
        choose_layout(TensorSpec("out", "float32", output), (640, 640), 80, wanted)


def test_an_ambiguous_layout_can_be_named():
    spec = TensorSpec("out", "float32", (1, -1, 85))
    assert choose_layout(spec, (640, 640), 80, "yolov5") == "yolov5"


@pytest.mark.parametrize(
    ("dtype", "shape", "message"),
    [
        ("float32", (1, 3, -1, 640), "one picture of a fixed size"),
        ("float32", (4, 3, 640, 640), "one picture"),
        ("float32", (1, 1, 640, 640), "one picture"),
        ("float32", (1, 3), "one picture"),
        ("float16", (1, 3, 640, 640), "must be float32 or uint8"),
    ],
)
def test_inputs_that_are_no_picture(dtype, shape, message):
    with pytest.raises(InputError, match=message):
        picture_layout(TensorSpec("image", dtype, shape), "file.onnx")


@pytest.mark.parametrize(("shape", "layout"), [((1, 3, 8, 8), "NCHW"), ((1, 8, 8, 3), "NHWC")])
def test_layout_of_the_input(shape, layout):
    assert picture_layout(TensorSpec("image", "float32", shape), "file.onnx") == layout


def test_classes_from_a_file(tmp_path):
    names = tmp_path / "names.txt"
    names.write_text("car\n\n person \n")
    assert read_classes(str(names)) == ("car", "person")
    names.write_text("\n")
    with pytest.raises(InputError, match="no class names"):
        read_classes(str(names))
    with pytest.raises(InputError, match="not readable"):
        read_classes(str(tmp_path / "nowhere"))


@pytest.fixture
def foreign_detector(tmp_path, tiny_graphs):
    """An ONNX file that sees one person in every 64 x 64 picture, in the manner of YOLOv8 with 2 classes."""
    output = np.zeros((1, 6, 84), np.float32)
    output[0, :, 3] = (32, 32, 16, 32, 0.2, 0.8)
    path = tmp_path / "foreign.onnx"
    path.write_bytes(tiny_graphs.constant(output, shape=(1, 3, 64, 64), dtype="float32"))
    return path


def test_a_foreign_detector_becomes_a_package(foreign_detector, tmp_path):
    package = import_detector(foreign_detector, tmp_path / "package", "foreign", classes=("dog", "person"))
    assert package.output.decoder == "yolov8"
    assert package.class_map == (-1, 2)
    assert package.input.scale == pytest.approx(1 / 255)
    found = Detector(package).detect(np.zeros((64, 64, 3), np.uint8), 0)
    np.testing.assert_allclose(found.boxes, [[24, 16, 40, 48]])
    assert found.class_ids.tolist() == [2]


def test_the_user_knows_better(foreign_detector, tmp_path):
    package = import_detector(
        foreign_detector,
        tmp_path / "package",
        "foreign",
        classes=("dog", "person"),
        colour_order="BGR",
        resize="stretch",
        scale=2.0,
    )
    assert (package.input.colour_order, package.input.resize, package.input.scale) == ("BGR", "stretch", 2.0)


def run(*arguments):
    return CliRunner().invoke(command, [str(argument) for argument in arguments], catch_exceptions=True)


def test_import_inspect_check(foreign_detector, tmp_path):
    names = tmp_path / "names.txt"
    names.write_text("dog\nperson\n")
    out = tmp_path / "package"
    result = run("import", foreign_detector, "--name", "foreign", "--classes", names, "--out", out)
    assert result.exit_code == 0, result.output
    assert "yolov8, 1 of 2 classes used" in result.output
    result = run("inspect", out)
    assert result.exit_code == 0 and "not measured" in result.output
    result = run("inspect", out, "--json")
    assert json.loads(result.output)["input"]["shape"] == [1, 3, 64, 64]
    result = run("check", out)
    assert result.exit_code == 0 and "level full runs" in result.output
    result = run("check", out, "--json")
    assert json.loads(result.output)["levels"][0]["shapes"] == [[1, 6, 84]]


def test_check_finds_values_that_are_no_numbers(tmp_path, tiny_graphs):
    package = tiny_graphs.detector(tmp_path / "package", {"full": np.full((1, 10, 3), np.nan)})
    result = run("check", package.path)
    assert isinstance(result.exception, InputError) and "not finite" in str(result.exception)


@pytest.mark.parametrize("verb", ["check", "inspect"])
def test_a_folder_that_is_no_package(tmp_path, verb):
    result = run(verb, tmp_path)
    assert isinstance(result.exception, InputError) and "manifest.json: no such file" in str(result.exception)


def test_a_file_that_is_no_graph(tmp_path):
    (tmp_path / "text.onnx").write_text("nonsense")
    result = run("import", tmp_path / "text.onnx", "--name", "text", "--out", tmp_path / "package")
    assert isinstance(result.exception, InputError) and "cannot load it" in str(result.exception)
    assert not (tmp_path / "package").exists()


def test_fastestdet_finds_the_cars_of_a_real_road(shared_data, tmp_path):
    graph = shared_data("permissive/detector") / "FastestDet.onnx"
    package = load_package(import_detector(graph, tmp_path / "package", "fastestdet").path)
    assert package.output.decoder == "fastestdet"
    assert package.levels[0].macs == pytest.approx(121.5e6, rel=0.01)
    picture = cv2.imread(str(shared_data("permissive/driving_video") / "solidWhiteCurve.jpg"))
    found = Detector(package).detect(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), 0)
    cars = found.boxes[(found.class_ids == 0) & (found.scores > 0.6)]
    # The two nearest cars, outlined by hand to a few pixels.
    for expected in ((106, 300, 178, 355), (188, 302, 272, 355)):
        assert any(overlap(box, expected) > 0.7 for box in cars)


def overlap(first, second):
    """Intersection over union of two boxes."""
    size = np.minimum(first[2:], second[2:]) - np.maximum(first[:2], second[:2])
    inside = np.prod(np.maximum(size, 0))
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (first, second)]
    return inside / (sum(areas) - inside)
