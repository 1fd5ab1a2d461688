"""The classifier of signs and lights: a small vision transformer over crops, and its way into a model package."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from l4edge_perception.graphs import count_macs
from l4edge_perception.models.export import check_parity, export_graph
from l4edge_perception.models.vision_transformer import VisionTransformer
from l4edge_perception.packages import Accuracy, InputSpec, Level, ModelPackage, OutputSpec, write_package
from l4edge_perception.types import MEANINGS

MIDDLE, SPREAD = 128.0, 64.0
"""Pixels enter training as (pixel - MIDDLE) / SPREAD; the shipped network has this in its first layer."""

PATCH = 16
"""Edge of the pixels that a token stands for."""

PLACE_SPREAD = 0.5
"""Standard deviation that the tokens' places begin with."""

ENLARGEMENT = 1.25
"""Edge of a crop over the longer edge of its box."""

LEAST_HEIGHT_PX = 16.0
"""Lower boxes are not read."""

LIMIT = 8
"""Most crops of a picture."""


@dataclass(frozen=True)
class SignClassifierConfig:
    """Sizes of the transformer, see :class:`VisionTransformer`.

    Attributes:
        crop: edge of its input in pixels, a multiple of 16, the edge of a token's patch.
        stem: channels of the first three convolutions.
    """

    crop: int = 64
    width: int = 96
    depth: int = 4
    heads: int = 3
    expansion: float = 2.0
    stem: tuple[int, int, int] = (16, 32, 64)


class Stem(nn.Module):
    """Four convolutions instead of one over whole patches; each token stands for 16 x 16 pixels.

    Patches alone left the digits of speed limits unread for thousands of steps. Xiao et al. 2021, arXiv 2106.14881,
    section 4: early convolutions make transformers easier to train.
    """

    def __init__(self, channels: tuple[int, int, int], width: int):
        super().__init__()
        first, second, third = channels
        # Without padding, so that the scaling of pixels can become part of it.
        self.conv1 = nn.Conv2d(3, first, 2, 2, bias=False)
        self.bn1 = nn.BatchNorm2d(first)
        self.conv2 = nn.Conv2d(first, second, 3, 2, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(second)
        self.conv3 = nn.Conv2d(second, third, 3, 2, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(third)
        self.proj = nn.Conv2d(third, width, 3, 2, 1)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) to (B, H / 16 * W / 16, width)."""
        features = torch.relu(self.bn1(self.conv1(images)))
        features = torch.relu(self.bn2(self.conv2(features)))
        features = torch.relu(self.bn3(self.conv3(features)))
        return self.proj(features).flatten(2).transpose(1, 2)


def new_network(config: SignClassifierConfig) -> VisionTransformer:
    """An untrained network for crops whose pixels are (pixel - MIDDLE) / SPREAD."""
    network = VisionTransformer(
        config.crop, PATCH, config.width, config.depth, config.heads, len(MEANINGS), config.expansion
    )
    network.patch_embed = Stem(config.stem, config.width)  # type: ignore[assignment]
    # Tokens come with values of about 1 here: places that begin as small as usual (0.02) would long go unnoticed.
    nn.init.normal_(network.pos_embed, std=PLACE_SPREAD)
    return network


def for_pixels(network: VisionTransformer) -> VisionTransformer:
    """A copy in evaluation mode that takes pixels 0..255 as they are: the first layer does the scaling.

    Batch normalizations become part of the convolutions before them.
    """
    folded = copy.deepcopy(network).eval()
    stem = folded.patch_embed
    for convolution, normalization in (("conv1", "bn1"), ("conv2", "bn2"), ("conv3", "bn3")):
        fused = nn.utils.fuse_conv_bn_eval(getattr(stem, convolution), getattr(stem, normalization))
        setattr(stem, convolution, fused)
        setattr(stem, normalization, nn.Identity())
    first = stem.conv1
    assert isinstance(first, nn.Conv2d)  # noqa: S101 - for the type checker
    assert first.bias is not None  # noqa: S101
    with torch.no_grad():
        first.weight /= SPREAD
        first.bias -= MIDDLE * first.weight.sum(dim=(1, 2, 3))
    return folded


class DeployedClassifier(nn.Module):
    """The network as it is shipped: (B, crop, crop, 3) uint8 in, (B, meanings) logits out.

    Args:
        network: for pixels 0..255, as of :func:`for_pixels`, possibly quantized since.
    """

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, pixels: Tensor) -> Tensor:
        """Crops to logits."""
        return self.network(pixels.permute(0, 3, 1, 2).float())


def config_of(fields: Mapping[str, Any]) -> SignClassifierConfig:
    """The sizes as a checkpoint or a result file holds them."""
    return SignClassifierConfig(**{**fields, "stem": tuple(fields["stem"])})


def load_network(checkpoint: Path) -> VisionTransformer:
    """The trained network of a run, ready for pixels 0..255, from its ``checkpoint.pt``."""
    content = torch.load(checkpoint, weights_only=True, map_location="cpu")
    network = new_network(config_of(content["config"]["network"]))
    network.load_state_dict(content["average"])
    return for_pixels(network)


def export_classifier(
    network: VisionTransformer,
    config: SignClassifierConfig,
    path: Path,
    crops: np.ndarray,
    temperature: float,
    accuracy: Accuracy | None,
    provenance: Mapping[str, Any],
) -> ModelPackage:
    """Write the package of a trained classifier with the level ``full``.

    Args:
        network: trained; left as it is.
        config: its sizes.
        path: folder of the package.
        crops: (K, crop, crop, 3) uint8 on which torch and onnxruntime must agree.
        temperature: what logits are divided by so that they read as probabilities.
        accuracy: as measured, or None.
        provenance: how the network was made.
    """
    model = DeployedClassifier(for_pixels(network)).eval()
    graph = export_graph(model, torch.from_numpy(crops[:2].copy()), "crops", "logits", any_batch=True)
    difference = check_parity(model, graph, [crops[:1].copy(), crops.copy()])
    package = ModelPackage(
        path=path,
        name="sign_classifier",
        task="classification",
        input=input_spec(config),
        output=output_spec(temperature),
        classes=MEANINGS,
        class_map=(),
        levels=(Level("full", "full.onnx", "", 0, count_macs(graph, {"crops": crops[:1].copy()}), accuracy),),
        minimum_onnxruntime="1.16.0",
        provenance={**provenance, "torch_onnxruntime_difference": difference, "torch": torch.__version__},
    )
    return write_package(package, {"full": graph})


def input_spec(config: SignClassifierConfig) -> InputSpec:
    """Any number of crops."""
    return InputSpec(name="crops", shape=(-1, config.crop, config.crop, 3), dtype="uint8", layout="NHWC")


def output_spec(temperature: float) -> OutputSpec:
    """Logits, and how boxes are cut and read."""
    parameters = {
        "enlargement": ENLARGEMENT,
        "least_height_px": LEAST_HEIGHT_PX,
        "limit": LIMIT,
        "temperature": round(temperature, 4),
    }
    return OutputSpec(("logits",), ((-1, len(MEANINGS)),), "softmax", parameters)
