"""The project's detector, on labelled drives."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import numpy_helper

from l4edge_compression.tasks import evenly
from l4edge_perception.camera.preprocessing import Preprocessor
from l4edge_perception.errors import InputError
from l4edge_perception.metrics.detection import average_precision
from l4edge_perception.models.detector import DeployedDetector, DetectorConfig, DetectorNetwork
from l4edge_perception.packages import ModelPackage, load_package
from l4edge_perception.training.dataset import Frame, read_image, read_split
from l4edge_perception.training.detector_result import detect_all


class DetectionTask:
    """A detector package and a dataset of drives (``DATASET/{train,test}``, see ``training/dataset.py``).

    Args:
        package: of the project's own detector; its first level holds the float weights.
        data: the dataset.
        judged_images: how many test images to judge on, evenly drawn, or 0 for all.
    """

    def __init__(self, package: Path, data: Path, judged_images: int = 0):
        self._package = load_package(package)
        self.network = detector_from_package(self._package)
        self.training = read_split(data, "train")
        self._judged = evenly(read_split(data, "test"), judged_images)
        self.judged_on = f"simulated drives, test split, {len(self._judged)} images"
        self._preprocess = Preprocessor(self._package.input)

    def batches(self, count: int) -> Iterator[torch.Tensor]:
        """Batches of one picture, uint8 (1, H, W, 3)."""
        for frame in evenly(self.training, count):
            yield self.tensor(frame)

    def tensor(self, frame: Frame) -> torch.Tensor:
        """The network's input for one frame, uint8 (1, H, W, 3)."""
        return torch.from_numpy(self._preprocess(read_image(frame.path))[0].copy())

    def description(self) -> ModelPackage:
        """The detector's own package."""
        return self._package

    def float_graphs(self) -> Mapping[str, bytes]:
        """The graphs of its levels."""
        return {level.name: self._package.read_graph(level) for level in self._package.levels}

    def metrics(self, package: ModelPackage, level: str) -> dict[str, float]:
        """AP50 and AP, 0..1."""
        found = detect_all(package, self._judged, level)
        result = average_precision(found, [frame.truth for frame in self._judged])
        return {"AP50": round(result.ap50, 4), "AP": round(result.ap, 4)}


def detector_from_package(package: ModelPackage) -> DeployedDetector:
    """The torch network whose weights lie in the first level of the project's detector package.

    Raises:
        InputError: the package holds another network.
    """
    level = package.level()
    graph = onnx.load_model_from_string(package.read_graph(level)).graph
    weights = {entry.name: torch.from_numpy(np.array(numpy_helper.to_array(entry))) for entry in graph.initializer}
    height, width = package.input.size
    network = DeployedDetector(DetectorNetwork(DetectorConfig(height, width, len(package.classes))))
    try:
        network.load_state_dict({name: weights[name] for name in network.state_dict()})
    except (KeyError, RuntimeError) as error:
        raise InputError(
            f"{package.path / level.graph}: not the weights of the project's detector in float ({error}); compress a "
            "network of your own as MODULE:FUNCTION"
        ) from error
    return network.eval()
