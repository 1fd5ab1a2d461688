"""From a trained network to a model package: folded, checked against onnxruntime, measured, written."""

import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from torch import nn

from l4edge_perception.camera.preprocessing import Preprocessor
from l4edge_perception.graphs import count_macs
from l4edge_perception.models.constant_shapes import fold_shapes
from l4edge_perception.models.detector import DIVISIONS, STRIDES, DeployedDetector, DetectorConfig, DetectorNetwork
from l4edge_perception.packages import Accuracy, InputSpec, Level, ModelPackage, OutputSpec, write_package
from l4edge_perception.types import OBJECT_CLASSES

OPSET = 13
"""The oldest that has all operations used here: every onnxruntime from 1.6 on reads it."""

SCORE_THRESHOLD = 0.1
"""What the shipped package reports: scores are probabilities, and tracking makes use of unlikely boxes, too."""

PARITY = 2e-3
"""Largest difference allowed between torch and onnxruntime, in cells, log sizes and logits."""


def export_graph(
    model: nn.Module, example: torch.Tensor, input_name: str, output_name: str, any_batch: bool = False
) -> bytes:
    """The ONNX file of a module in evaluation mode, traced on an example of the final shape.

    With ``any_batch`` the graph takes any number of what the example has in its first axis.
    """
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        # The tracing exporter is kept on purpose: the newer one needs two more packages for the same graph.
        warnings.simplefilter("ignore")
        path = Path(folder) / "graph.onnx"
        torch.onnx.export(
            model.eval(),
            (example,),
            path,
            input_names=[input_name],
            output_names=[output_name],
            opset_version=OPSET,
            dynamic_axes={input_name: {0: "batch"}, output_name: {0: "batch"}} if any_batch else None,
            dynamo=False,
        )
        return fold_shapes(path.read_bytes())


def check_parity(model: nn.Module, graph: bytes, tensors: list[np.ndarray]) -> float:
    """Largest absolute difference between torch and onnxruntime over some inputs; RuntimeError above ``PARITY``."""
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    worst = 0.0
    for tensor in tensors:
        with torch.no_grad():
            expected = model(torch.from_numpy(tensor)).numpy()
        worst = max(worst, float(np.abs(session.run(None, {name: tensor})[0] - expected).max()))
    if not worst <= PARITY:
        raise RuntimeError(f"onnxruntime differs from torch by {worst:.2g}, more than {PARITY}; nothing was written")
    return worst


def input_spec(config: DetectorConfig) -> InputSpec:
    """How pictures reach the network: with black bars where their aspect is another."""
    shape = (1, config.height, config.width, 3)
    return InputSpec(name="image", shape=shape, dtype="uint8", layout="NHWC", resize="letterbox")


def export_detector(
    network: DetectorNetwork,
    path: Path,
    pictures: list[np.ndarray],
    accuracy: Accuracy | None,
    provenance: Mapping[str, Any],
) -> ModelPackage:
    """Write the package of a trained detector.

    Args:
        network: trained; left as it is.
        path: folder of the package.
        pictures: (H, W, 3) uint8 RGB images on which torch and onnxruntime must agree.
        accuracy: as measured, or None.
        provenance: how the network was made.
    """
    model = DeployedDetector(network)
    tensor = input_spec(network.config)
    example = torch.zeros(tensor.shape, dtype=torch.uint8)
    graph = export_graph(model, example, tensor.name, "predictions")
    preprocess = Preprocessor(tensor)
    difference = check_parity(model, graph, [preprocess(picture)[0].copy() for picture in pictures])
    with torch.no_grad():
        output_shape = tuple(model(example).shape)
    package = ModelPackage(
        path=path,
        name="detector",
        task="detection_2d",
        input=tensor,
        output=OutputSpec(
            names=("predictions",),
            shapes=(output_shape,),
            decoder="grid",
            parameters={
                "strides": list(STRIDES),
                "divisions": list(DIVISIONS),
                "score_threshold": SCORE_THRESHOLD,
                "overlap": 0.6,
                "limit": 100,
            },
        ),
        classes=OBJECT_CLASSES,
        class_map=tuple(range(len(OBJECT_CLASSES))),
        levels=(
            Level(
                name="full",
                graph="full.onnx",
                sha256="",
                bytes=0,
                macs=count_macs(graph, {tensor.name: example.numpy()}),
                accuracy=accuracy,
            ),
        ),
        minimum_onnxruntime="1.16.0",
        provenance={**provenance, "torch_onnxruntime_difference": difference, "torch": torch.__version__},
    )
    return write_package(package, {"full": graph})
