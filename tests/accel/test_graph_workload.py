"""Workloads from ONNX graphs and model packages."""

from pathlib import Path

import pytest

onnx = pytest.importorskip("onnx", reason="onnx belongs to the extra training")

from onnx import TensorProto, helper  # noqa: E402

from l4edge_accel.graph_workload import read_workload  # noqa: E402
from l4edge_perception.errors import InputError  # noqa: E402

MODELS = Path(__file__).resolve().parents[2] / "models"


def _write(path, nodes, constants, shape=(1, 3, 16, 16), output_rank=4):
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, [None] * output_rank)],
        [
            helper.make_tensor(name, TensorProto.FLOAT, sizes, [0.01] * _count(sizes))
            for name, sizes in constants.items()
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    path.write_bytes(model.SerializeToString())
    return path


def _count(sizes):
    count = 1
    for size in sizes:
        count *= size
    return count


def test_convolutions_depthwise_ones_and_steps(tmp_path):
    nodes = [
        helper.make_node("Conv", ["image", "w1"], ["a"], name="first", strides=[2, 2], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["b"], name="relu"),
        helper.make_node("Conv", ["b", "w2"], ["c"], name="depthwise", group=8, pads=[1, 1, 1, 1]),
        helper.make_node("GlobalAveragePool", ["c"], ["out"], name="pool"),
    ]
    workload = read_workload(_write(tmp_path / "net.onnx", nodes, {"w1": (8, 3, 3, 3), "w2": (8, 1, 3, 3)}))
    first, depthwise = workload.gemms
    assert (first.name, first.outputs, first.inputs, first.tokens, first.repeats) == ("first", 8, 27, 64, 1)
    assert (first.kernel, first.input_elements) == ((3, 3), 3 * 16 * 16)
    assert (first.weight_rows, first.activation_bits) == ({"fixed16": 1.0}, 16)
    assert (depthwise.outputs, depthwise.inputs, depthwise.tokens, depthwise.repeats) == (1, 9, 64, 8)
    assert [step.kind for step in workload.steps] == ["add", "pool"]


def test_products_of_activations_are_told_from_layers(tmp_path):
    nodes = [
        helper.make_node("MatMul", ["image", "w"], ["q"], name="layer"),
        helper.make_node("Transpose", ["q"], ["k"], name="turn", perm=[0, 1, 3, 2]),
        helper.make_node("MatMul", ["q", "k"], ["s"], name="scores"),
        helper.make_node("Softmax", ["s"], ["out"], name="softmax"),
    ]
    workload = read_workload(_write(tmp_path / "net.onnx", nodes, {"w": (32, 24)}, shape=(1, 2, 10, 32)))
    layer, scores = workload.gemms
    assert (layer.outputs, layer.inputs, layer.tokens, layer.of_activations) == (24, 32, 20, False)
    assert (scores.outputs, scores.inputs, scores.tokens, scores.repeats) == (10, 24, 10, 2)
    assert scores.of_activations
    assert [(step.kind, step.elements) for step in workload.steps] == [("move", 480), ("softmax", 200)]


def test_an_operator_without_engine_is_named_with_its_node(tmp_path):
    nodes = [
        helper.make_node("Conv", ["image", "w1"], ["a"], name="first"),
        helper.make_node("Einsum", ["a", "a"], ["out"], name="odd one", equation="bchw,bchw->bchw"),
    ]
    file = _write(tmp_path / "net.onnx", nodes, {"w1": (8, 3, 3, 3)})
    with pytest.raises(InputError, match=r"node 'odd one': no engine for operator Einsum; .*MatMul"):
        read_workload(file)


def test_what_is_no_graph_is_refused(tmp_path):
    (tmp_path / "text.onnx").write_text("no graph")
    with pytest.raises(InputError, match="not an ONNX graph"):
        read_workload(tmp_path / "text.onnx")
    with pytest.raises(InputError, match="no such ONNX file or model package"):
        read_workload(tmp_path / "missing.onnx")


def test_a_package_brings_its_formats():
    workload = read_workload(MODELS / "sign_classifier", "rmsmp", quantized=True)
    rows = {gemm.name: gemm for gemm in workload.gemms}["network.patch_embed.conv1"].weight_rows
    assert rows == {"pot4": 10 / 16, "fixed4": 5 / 16, "fixed8": 1 / 16}
    assert any(gemm.of_activations for gemm in workload.gemms)
    assert workload.macs == 8_677_152  # what the manifest says


def test_a_package_that_is_not_quantized_is_refused_where_formats_are_needed():
    with pytest.raises(InputError, match=r"level 'full' does not say how its layers are quantized; .*rmsmp, w1a8"):
        read_workload(MODELS / "sign_classifier", "full", quantized=True)
