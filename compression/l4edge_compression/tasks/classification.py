"""Classifiers of pictures, on a folder with one subfolder per class."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import nn

from l4edge_compression.tasks import evenly
from l4edge_perception.camera.preprocessing import Preprocessor
from l4edge_perception.errors import InputError
from l4edge_perception.graphs import count_macs
from l4edge_perception.inference import Session
from l4edge_perception.models.export import export_graph
from l4edge_perception.packages import InputSpec, Level, ModelPackage, OutputSpec
from l4edge_perception.training.dataset import read_image

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")
BATCH = 16


class ClassificationTask:
    """A classifier and ``DATA/train/CLASS/*.jpg`` (for calibration), ``DATA/test/CLASS/*.jpg`` (to be judged on).

    Args:
        network: (B, 3, H, W) float32 to (B, classes) logits.
        name: of the package.
        data: the folder.
        size: height and width of the network's input.
        judged_images: how many test pictures to judge on, evenly drawn, or 0 for all.
        mean, std: normalization of the network, for pixels in 0..1.
    """

    def __init__(
        self,
        network: nn.Module,
        name: str,
        data: Path,
        size: tuple[int, int],
        judged_images: int = 0,
        mean: tuple[float, ...] = IMAGENET_MEAN,
        std: tuple[float, ...] = IMAGENET_STD,
    ):
        self.network = network.eval()
        self._name = name
        self._size = size
        self.classes, self._training = labelled_pictures(data / "train")
        test_classes, judged = labelled_pictures(data / "test")
        if test_classes != self.classes:
            raise InputError(f"{data}: train and test have other classes; give both the same subfolders")
        self._judged = evenly(judged, judged_images)
        self.judged_on = f"{data.name}, test, {len(self._judged)} pictures"
        self._input = InputSpec(
            name="image", shape=(1, 3, *size), dtype="float32", layout="NCHW", scale=1 / 255, mean=mean, std=std
        )
        self._preprocess = Preprocessor(self._input)

    def batches(self, count: int) -> Iterator[torch.Tensor]:
        """Batches of up to 16 pictures, float32 (B, 3, H, W)."""
        chosen = evenly(self._training, count)
        for start in range(0, len(chosen), BATCH):
            tensors = [self._preprocess(read_image(path))[0].copy() for path, _ in chosen[start : start + BATCH]]
            yield torch.from_numpy(np.concatenate(tensors))

    def description(self) -> ModelPackage:
        """A package with one level, "full"."""
        graph = self.float_graphs()["full"]
        macs = count_macs(graph, {"image": np.zeros(self._input.shape, np.float32)})
        return ModelPackage(
            path=Path(),
            name=self._name,
            task="classification",
            input=self._input,
            output=OutputSpec(("logits",), ((1, len(self.classes)),), "logits"),
            classes=self.classes,
            class_map=(),
            levels=(Level("full", "full.onnx", "", 0, macs),),
            minimum_onnxruntime="1.16.0",
            provenance={},
        )

    def float_graphs(self) -> Mapping[str, bytes]:
        """The float export."""
        with torch.no_grad():
            example = torch.zeros(self._input.shape)
            count = self.network(example).shape[1]
            if count != len(self.classes):
                raise InputError(f"the network tells {count} classes, the data has {len(self.classes)} subfolders")
            return {"full": export_graph(self.network, example, "image", "logits")}

    def metrics(self, package: ModelPackage, level: str) -> dict[str, float]:
        """Share of the pictures whose class has the highest logit, 0..1."""
        session = Session(package, level)
        right = [
            int(session.run(self._preprocess(read_image(path))[0])[0].argmax()) == label for path, label in self._judged
        ]
        return {"top-1": round(float(np.mean(right)), 4)}


Labelled = list[tuple[Path, int]]


def labelled_pictures(folder: Path) -> tuple[tuple[str, ...], Labelled]:
    """Class names and (file, class index) of ``folder/CLASS/*``. Raises InputError where there are none."""
    classes = tuple(sorted(path.name for path in folder.iterdir() if path.is_dir())) if folder.is_dir() else ()
    pictures = [
        (path, index)
        for index, name in enumerate(classes)
        for path in sorted((folder / name).iterdir())
        if path.suffix.lower() in SUFFIXES
    ]
    if not pictures:
        raise InputError(f"{folder}: no pictures; expected {folder}/CLASS/*.jpg")
    return classes, pictures
