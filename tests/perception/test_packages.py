import json

import numpy as np
import pytest

from l4edge_perception.errors import InputError
from l4edge_perception.graphs import count_macs, graph_signature
from l4edge_perception.packages import Accuracy, Level, load_package, write_package

ANSWER = np.arange(30).reshape(1, 10, 3)


@pytest.fixture
def package(tmp_path, tiny_graphs):
    return tiny_graphs.detector(tmp_path / "package", {"full": ANSWER, "small": ANSWER / 2})


def edit(package, change):
    """Apply ``change`` to the manifest's JSON object."""
    path = package.path / "manifest.json"
    manifest = json.loads(path.read_text())
    change(manifest)
    path.write_text(json.dumps(manifest))


def test_what_was_written_is_read_back(package):
    assert load_package(package.path) == package
    assert [level.name for level in package.levels] == ["full", "small"]
    assert package.levels[0].bytes == (package.path / "full.onnx").stat().st_size
    assert package.input.size == (8, 8)


def test_accuracy_and_schemes_survive(tmp_path, tiny_graphs):
    level = Level(
        "full",
        "full.onnx",
        "",
        0,
        macs=5,
        accuracy=Accuracy({"AP50": 0.5}, "a set", 3, "a machine"),
        schemes={"stem": "int8"},
    )
    package = tiny_graphs.detector(tmp_path / "package", {"full": ANSWER}, levels=(level,))
    assert load_package(package.path).levels[0].accuracy == level.accuracy
    assert load_package(package.path).levels[0].schemes == {"stem": "int8"}


def test_levels_are_found_by_name(package):
    assert package.level().name == "full"
    assert package.level("small").name == "small"
    with pytest.raises(InputError, match="no level 'tiny'; it has full, small"):
        package.level("tiny")


def set_in(*path_and_value):
    """A change that sets the field at a path of keys."""
    *path, value = path_and_value

    def change(manifest):
        for key in path[:-1]:
            manifest = manifest[key]
        manifest[path[-1]] = value

    return change


def drop(name):
    return lambda manifest: manifest.pop(name)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (set_in("format", "tarball"), "field format"),
        (set_in("version", 2), "field version: 2 is unknown"),
        (drop("version"), "field version: None is unknown"),
        (drop("classes"), "field classes: missing"),
        (set_in("colour", "red"), "field colour: unknown"),
        (set_in("input", "shape", "large"), "field input.shape: must be a list"),
        (set_in("input", "shape", [1, 8, 8.5, 3]), "field input.shape.2: must be a whole number"),
        (set_in("input", "shape", [2, 8, 8, 3]), "field input.shape"),
        (set_in("input", "shape", [1, 16, 8, 3]), "full.onnx: inputs are"),
        (set_in("input", "dtype", "float32"), "full.onnx: inputs are"),
        (set_in("input", "dtype", "int4"), "field input.dtype"),
        (set_in("input", "layout", "NCHW"), "field input.shape"),
        (set_in("input", "colour_order", "CMYK"), "field input.colour_order"),
        (set_in("input", "resize", "crop"), "field input.resize"),
        (set_in("input", "std", [1, 0, 1]), "field input.std"),
        (set_in("output", "shapes", [[1, 10, 4]]), "full.onnx: outputs are"),
        (set_in("output", "names", ["boxes"]), "full.onnx: outputs are"),
        (set_in("output", "names", []), "field output.shapes"),
        (set_in("task", "cooking"), "field task"),
        (set_in("class_map", [0, 1]), "field class_map: must be one index per class"),
        (set_in("class_map", [0, 1, 2, 3, 4, 6]), "field class_map: must be indices"),
        (set_in("levels", []), "field levels"),
        (set_in("levels", 1, "name", "full"), "field levels"),
        (set_in("levels", 0, "macs", -1), "field levels.macs"),
        (set_in("levels", 0, "macs", True), "field levels.0.macs: must be a whole number"),
        (set_in("levels", 0, "bytes", 3), "levels.full.bytes is 3"),
        (set_in("levels", 0, "graph", "../full.onnx"), "field levels.graph"),
        (set_in("levels", 0, "graph", "other.onnx"), "other.onnx: graph of level 'full' cannot be read"),
        (set_in("levels", 0, "sha256", "0" * 64), "sha256 differs from levels.full.sha256"),
        (set_in("levels", 0, "accuracy", {"metrics": {}}), "field levels.0.accuracy.dataset: missing"),
        (set_in("minimum_onnxruntime", "99.0"), "field minimum_onnxruntime: needs 99.0"),
        (set_in("minimum_onnxruntime", "new"), "field minimum_onnxruntime"),
    ],
)
def test_a_manifest_that_cannot_be_trusted_is_rejected(package, change, message):
    edit(package, change)
    with pytest.raises(InputError) as caught:
        load_package(package.path)
    assert message in str(caught.value)
    assert str(package.path) in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"), [("{", "not readable JSON"), ("[]", "no model package"), ("\xff", "not readable JSON")]
)
def test_a_manifest_that_is_no_json_object_is_rejected(package, content, message):
    (package.path / "manifest.json").write_bytes(content.encode("latin-1"))
    with pytest.raises(InputError, match=message):
        load_package(package.path)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(InputError, match="nowhere"):
        load_package(tmp_path / "nowhere")


def test_an_altered_graph_is_rejected(package):
    path = package.path / "small.onnx"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(InputError, match=r"small\.onnx: sha256 differs"):
        load_package(package.path)


def test_a_graph_that_is_none_is_not_written_over_a_good_package(package):
    with pytest.raises(InputError, match="cannot load it"):
        write_package(package, {"full": b"nonsense", "small": b"nonsense"})
    assert load_package(package.path) == package
    assert [path.name for path in package.path.parent.iterdir()] == ["package"]


def test_signature_of_a_graph(tiny_graphs):
    inputs, outputs = graph_signature(tiny_graphs.counting(), "graph")
    assert inputs == (("image", "uint8", (1, 8, 8, 3)),)
    assert outputs == (("predictions", "float32", (4, -1)),)


def test_macs_of_a_convolution(tiny_graphs):
    graph = tiny_graphs.convolution(np.ones((4, 3, 3, 3), np.float32), 10)
    picture = {"image": np.zeros((1, 3, 10, 10), np.float32)}
    assert count_macs(graph, picture) == 10 * 10 * 4 * 3 * 3 * 3
