from dataclasses import replace

import numpy as np
import pytest

from l4edge_perception.errors import InputError
from l4edge_perception.inference import Session, engine_providers
from l4edge_perception.packages import InputSpec, write_package

ANSWER = np.arange(30, dtype=np.float32).reshape(1, 10, 3)
PICTURE = np.zeros((1, 8, 8, 3), np.uint8)
CPU, CUDA, TENSORRT = "CPUExecutionProvider", "CUDAExecutionProvider", "TensorrtExecutionProvider"


@pytest.fixture
def package(tmp_path, tiny_graphs):
    return tiny_graphs.detector(tmp_path / "package", {"full": ANSWER, "small": ANSWER / 2})


def test_levels_switch_without_loading(package):
    session = Session(package)
    for level in package.levels:
        (package.path / level.graph).unlink()
    assert session.level.name == "full"
    np.testing.assert_array_equal(session.run(PICTURE)[0], ANSWER)
    session.switch("small")
    assert session.level.name == "small"
    np.testing.assert_array_equal(session.run(PICTURE)[0], ANSWER / 2)
    session.switch("full")
    np.testing.assert_array_equal(session.run(PICTURE)[0], ANSWER)


def test_a_session_can_begin_at_any_level(package):
    assert Session(package, level="small").level.name == "small"
    with pytest.raises(InputError, match="no level 'tiny'"):
        Session(package, level="tiny")


def test_an_unknown_level_leaves_the_session_as_it_was(package):
    session = Session(package)
    with pytest.raises(InputError, match="no level 'tiny'"):
        session.switch("tiny")
    assert session.level.name == "full"
    np.testing.assert_array_equal(session.run(PICTURE)[0], ANSWER)


def test_outputs_are_allocated_once(package):
    session = Session(package)
    assert session.run(PICTURE)[0] is session.run(PICTURE)[0]


def test_outputs_of_changing_size(package, tiny_graphs):
    output = replace(package.output, shapes=((4, -1),))
    changing = replace(package, output=output, levels=package.levels[:1])
    session = Session(write_package(changing, {"full": tiny_graphs.counting()}))
    picture = PICTURE.copy()
    assert session.run(picture)[0].shape == (4, 0)
    picture[0, 1, 2, 0] = picture[0, 3, 4, 1] = 9
    np.testing.assert_array_equal(session.run(picture)[0], [[0, 0], [1, 3], [2, 4], [0, 1]])


def test_a_tensor_that_is_not_contiguous_is_read_right(package, tiny_graphs):
    weights = np.zeros((1, 3, 3, 3), np.float32)
    weights[0, :, 1, 1] = (1, 10, 100)
    summing = replace(
        package,
        input=InputSpec("image", (1, 3, 4, 4), "float32", "NCHW"),
        output=replace(package.output, names=("features",), shapes=((1, 1, 4, 4),)),
        levels=package.levels[:1],
    )
    session = Session(write_package(summing, {"full": tiny_graphs.convolution(weights, 4)}))
    picture = np.random.default_rng(0).random((1, 4, 4, 3), dtype=np.float32)
    expected = picture @ np.array([1, 10, 100], np.float32)
    np.testing.assert_allclose(session.run(picture.transpose(0, 3, 1, 2))[0][:, 0], expected, rtol=1e-5)


@pytest.mark.parametrize(
    "tensor", [PICTURE[0], PICTURE.astype(np.float32), np.zeros((1, 8, 9, 3), np.uint8)], ids=["axes", "dtype", "size"]
)
def test_a_wrong_tensor_is_an_input_error(package, tensor):
    with pytest.raises(InputError, match=r"input image wants uint8 \[1, 8, 8, 3\]"):
        Session(package).run(tensor)


def test_a_graph_that_was_altered_after_reading_is_not_run(package):
    (package.path / "full.onnx").write_bytes(b"nonsense")
    with pytest.raises(InputError, match="sha256 differs"):
        Session(package)


def test_threads_must_be_positive(package):
    with pytest.raises(InputError, match="threads"):
        Session(package, threads=0)


@pytest.mark.parametrize(
    ("engine", "available", "expected"),
    [
        ("cpu", [CUDA, CPU], [CPU]),
        ("gpu", [TENSORRT, CUDA, CPU], [TENSORRT, CUDA, CPU]),
        ("gpu", [CUDA, CPU], [CUDA, CPU]),
        ("dla0", [TENSORRT, CUDA, CPU], [TENSORRT, CUDA, CPU]),
    ],
)
def test_providers_of_an_engine(engine, available, expected):
    assert [name for name, _ in engine_providers(engine, available)] == expected


@pytest.mark.parametrize(("engine", "core"), [("dla0", 0), ("dla1", 1)])
def test_each_accelerator_has_its_own_core(engine, core):
    options = dict(engine_providers(engine, [TENSORRT, CPU]))[TENSORRT]
    assert options["trt_dla_enable"] and options["trt_dla_core"] == core


@pytest.mark.parametrize(
    ("engine", "available", "message"),
    [
        ("gpu", [CPU], "engine gpu: this onnxruntime has only CPUExecutionProvider"),
        ("dla1", [CUDA, CPU], "engine dla1"),
        ("fpga", [CPU], "engine 'fpga' cannot run a network here"),
    ],
)
def test_an_engine_that_is_not_here_is_an_input_error(engine, available, message):
    with pytest.raises(InputError, match=message):
        engine_providers(engine, available)
