"""Tiny ONNX graphs, encoded by hand so that no test needs the onnx package, and packages made of them."""

import struct
from pathlib import Path

import numpy as np
import pytest

from l4edge_perception.packages import InputSpec, Level, ModelPackage, OutputSpec, write_package
from l4edge_perception.types import OBJECT_CLASSES

ELEMENT = {"float32": 1, "uint8": 2}


def _varint(value):
    encoded = b""
    while value > 0x7F:
        encoded += bytes([value & 0x7F | 0x80])
        value >>= 7
    return encoded + bytes([value])


def _number(field, value):
    return _varint(field << 3) + _varint(value)


def _chunk(field, content):
    content = content.encode() if isinstance(content, str) else content
    return _varint(field << 3 | 2) + _varint(len(content)) + content


def _value(name, dtype, shape):
    sizes = b"".join(_chunk(1, _chunk(2, size) if isinstance(size, str) else _number(1, size)) for size in shape)
    tensor = _number(1, ELEMENT[dtype]) + _chunk(2, sizes)
    return _chunk(1, name) + _chunk(2, _chunk(1, tensor))


def _node(operation, inputs, outputs, attributes=b""):
    names = b"".join(_chunk(1, name) for name in inputs) + b"".join(_chunk(2, name) for name in outputs)
    return _chunk(1, names + _chunk(4, operation) + attributes)


def _model(nodes, inputs, outputs, constants):
    initializers = b"".join(
        _chunk(
            5,
            b"".join(_number(1, size) for size in values.shape)
            + _number(2, 1)
            + _chunk(8, name)
            + _chunk(9, struct.pack(f"<{values.size}f", *values.ravel())),
        )
        for name, values in constants.items()
    )
    graph = nodes + _chunk(2, "graph") + initializers
    graph += b"".join(_chunk(11, value) for value in inputs) + b"".join(_chunk(12, value) for value in outputs)
    return _number(1, 8) + _chunk(7, graph) + _chunk(8, _chunk(1, "") + _number(2, 13))


def constant_graph(values, shape=(1, 8, 8, 3), dtype="uint8"):
    """A graph that gives ``values`` plus a picture's first pixel's first channel times zero, whatever it is shown.

    The zero keeps the output from being a constant that onnxruntime would compute only once.
    """
    values = np.asarray(values, np.float32)
    zeros = {"values": values, "zero": np.zeros((), np.float32)}
    cast = _chunk(5, _chunk(1, "to") + _number(3, 1) + _number(20, 2))
    keep = _chunk(5, _chunk(1, "keepdims") + _number(3, 0) + _number(20, 2))
    nodes = (
        _node("Cast", ["image"], ["real"], cast)
        + _node("ReduceMax", ["real"], ["largest"], keep)
        + _node("Mul", ["largest", "zero"], ["nothing"])
        + _node("Add", ["values", "nothing"], ["predictions"])
    )
    output = _value("predictions", "float32", values.shape)
    return _model(nodes, [_value("image", dtype, shape)], [output], zeros)


def counting_graph(shape=(1, 8, 8, 3)):
    """A graph whose output (4, n) are the places of the n values of a picture that are not zero."""
    cast = _chunk(5, _chunk(1, "to") + _number(3, 1) + _number(20, 2))
    nodes = (
        _node("Cast", ["image"], ["real"], cast)
        + _node("NonZero", ["real"], ["places"])
        + _node("Cast", ["places"], ["predictions"], cast)
    )
    output = _value("predictions", "float32", (4, "n"))
    return _model(nodes, [_value("image", "uint8", shape)], [output], {})


def convolution_graph(weights, size):
    """A graph of one 3x3 convolution, padded by one, of a float32 picture (1, 3, size, size)."""
    pads = _chunk(1, "pads") + b"".join(_number(8, 1) for _ in range(4)) + _number(20, 7)
    node = _node("Conv", ["image", "weights"], ["features"], _chunk(5, pads))
    output = _value("features", "float32", (1, weights.shape[0], size, size))
    return _model(node, [_value("image", "float32", (1, 3, size, size))], [output], {"weights": weights})


def constant_detector(path, outputs, decoder="yolov8", shape=(1, 8, 8, 3), **more):
    """A package of a detector that sees the same in every picture, one level per entry of ``outputs``."""
    outputs = {name: np.asarray(values, np.float32) for name, values in outputs.items()}
    input_fields = {"dtype": "uint8", "layout": "NHWC", **more.pop("input", {})}
    first = next(iter(outputs.values()))
    fields = {
        "name": "constant",
        "task": "detection_2d",
        "input": InputSpec("image", shape, **input_fields),
        "output": OutputSpec(
            ("predictions",),
            (first.shape,),
            decoder,
            more.pop("parameters", {}),
        ),
        "classes": OBJECT_CLASSES,
        "class_map": tuple(range(6)),
        "levels": tuple(Level(name, name + ".onnx", "", 0, macs=7) for name in outputs),
        "minimum_onnxruntime": "1.16.0",
        "provenance": {"made_by": "test"},
        **more,
    }
    graphs = {name: constant_graph(values, shape, input_fields["dtype"]) for name, values in outputs.items()}
    return write_package(ModelPackage(path=path, **fields), graphs)


@pytest.fixture
def tiny_graphs():
    """The makers above, for test modules, which cannot import a conftest."""

    class Makers:
        constant = staticmethod(constant_graph)
        counting = staticmethod(counting_graph)
        convolution = staticmethod(convolution_graph)
        detector = staticmethod(constant_detector)

    return Makers


@pytest.fixture
def shipped_detector():
    """The folder of the detector that ships."""
    return Path(__file__).resolve().parents[2] / "models" / "detector"
