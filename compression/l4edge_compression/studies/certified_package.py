"""The certified package of the study's network, and the margins that its numerics ask for."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from l4edge_compression.defense.attacks.graphs import GraphNetwork
from l4edge_compression.defense.locality import stem_locality
from l4edge_compression.defense.numerics import (
    largest_difference,
    margin_for,
    saliency_difference,
    saliency_margin_for,
)
from l4edge_compression.defense.packages import CertifiedPackage, write_certified
from l4edge_compression.defense.scalecert import ScaleCertSettings
from l4edge_compression.defense.sessions import graph_runner
from l4edge_compression.defense.training.export import certified_graphs
from l4edge_compression.defense.training.sparse_stem import kept_count
from l4edge_compression.defense.training.sparsifying import sparse_stem
from l4edge_compression.studies.pictures import MEAN, STD, Pictures

SAMPLES = 64
"""Training pictures that numerics are compared on."""


def pixels(pictures: Pictures, count: int | None = None, begin: int = 0) -> np.ndarray:
    """(N, 32, 32, 3) uint8 of some pictures."""
    end = None if count is None else begin + count
    return np.ascontiguousarray(pictures.images[begin:end].permute(0, 2, 3, 1).numpy())


def shuffled(pictures: Pictures, seed: int = 0) -> Pictures:
    """The same pictures in another order: those of a data set lie class by class."""
    order = torch.randperm(len(pictures.labels), generator=torch.Generator().manual_seed(seed))
    return Pictures(pictures.images[order], pictures.labels[order], pictures.classes)


def write_study_package(
    folder: Path, network: nn.Module, pictures: dict[str, Pictures], result: dict[str, Any]
) -> CertifiedPackage:
    """Export stem and head, derive what certificates must know of them, and write it all.

    Raises:
        InputError: the stem is not local, or the package would not be readable.
        RuntimeError: onnxruntime disagrees with torch.
    """
    selection, samples = sparse_stem(network), pixels(shuffled(pictures["train"]), SAMPLES)
    config = selection.config
    parts = certified_graphs(network, samples, MEAN, STD, half=True)
    place = stem_locality(parts["stem"], samples.shape[1:3])
    cells = place.map_size[0] * place.map_size[1]
    keep = float(selection.threshold) if config.rule == "threshold" else float(kept_count(cells, config.keep))
    differences = numeric_differences(parts, samples, keep if config.rule == "threshold" else 0.0)
    settings = ScaleCertSettings(
        input_size=place.input_size,
        patch=config.patch,
        counts=config.counts,
        receptive_field=place.receptive_field,
        stride=place.stride,
        offset=place.offset,
        map_size=place.map_size,
        rule=config.rule,
        keep=keep,
        confidence=config.confidence,
        margin=max(config.margin, margin_for(differences["logits"])),
        saliency_margin=saliency_margin_for(differences["saliency"]),
        layout=place.layout,
    )
    kept = ("made_by", "data", "network", "config", "seed", "epochs", "pass_images", "device", "torch", "seconds")
    provenance = {name: result[name] for name in kept if name in result}
    return write_certified(
        folder, "scalecert", settings, parts, pictures["test"].classes, measured={"differences": differences},
        provenance=provenance,
    )


def numeric_differences(parts: dict[str, bytes], images: np.ndarray, threshold: float) -> dict[str, float]:
    """How far onnxruntime at batch sizes 1 and 7 is from torch at once, in logits and in saliencies of cells."""
    stem, head = (graph_runner(parts[name], 1, name) for name in ("stem", "head"))
    torch_stem, torch_head = (torch_runner(parts[name]) for name in ("stem", "head"))
    features = np.asarray(stem(images))
    features = features * (np.abs(features).sum(1, keepdims=True) > threshold)
    return {
        "logits": largest_difference(torch_head, head, features.astype(np.float32)),
        "saliency": saliency_difference(torch_stem, stem, images),
    }


def torch_runner(graph: bytes, kind: type[GraphNetwork] = GraphNetwork) -> Callable[[np.ndarray], np.ndarray]:
    """A graph on torch, as certificates call it; ``kind`` reads it."""
    network = kind(graph)

    def run(tensors: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            found: np.ndarray = network(torch.from_numpy(tensors.astype(np.float32))).numpy()
        return found

    return run
