"""A float graph quantized statically by onnxruntime: uint8 activations, int8 weights, as QDQ."""

import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from l4edge_perception.errors import InputError
from l4edge_perception.graphs import graph_signature

LAYERS = ("Conv", "Gemm", "MatMul", "Add")
"""What is quantized; normalizations, softmax and the like stay in float."""


class _Reader(CalibrationDataReader):
    def __init__(self, name: str, tensors: np.ndarray) -> None:
        self._entries = iter([{name: tensor[None]} for tensor in tensors])

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self._entries, None)


def quantized(graph: bytes, tensors: np.ndarray) -> bytes:
    """The graph in int8, with scales from the ranges that its tensors have on some inputs.

    Weights have one scale per output channel and seven bits, so that processors without VNNI, which add products in
    pairs in 16 bits, give the same sums.

    Args:
        graph: content of a float ONNX file with one input.
        tensors: (N, ...) inputs to calibrate on.

    Raises:
        InputError: no inputs to calibrate on, or a graph of several inputs.
    """
    inputs, _ = graph_signature(graph, "graph")
    if len(inputs) != 1:
        raise InputError(f"graph: has {len(inputs)} inputs; static quantization is for graphs of one")
    if not len(tensors):
        raise InputError("graph: no inputs to calibrate on; give some dozens")
    with tempfile.TemporaryDirectory() as folder, _quiet():
        given, folded, written = (Path(folder) / name for name in ("float.onnx", "folded.onnx", "int8.onnx"))
        given.write_bytes(graph)
        quant_pre_process(given, folded, skip_symbolic_shape=True)
        quantize_static(
            folded, written, _Reader(inputs[0].name, tensors), quant_format=QuantFormat.QDQ,
            activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8, per_channel=True, reduce_range=True,
            op_types_to_quantize=list(LAYERS),
        )
        return written.read_bytes()


@contextmanager
def _quiet() -> Iterator[None]:
    """Without onnxruntime's hints on standard error, which are for those who write such code."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
