"""The sign classifier split where certification covers windows: a sparse first layer, and the rest."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from l4edge_compression.defense.training.config import OcclusionConfig, ScaleCertConfig
from l4edge_compression.defense.training.sparse_stem import SparseStem, saliency
from l4edge_perception.models.sign_classifier import config_of, for_pixels, new_network
from l4edge_perception.models.vision_transformer import VisionTransformer

SOFTNESS = 0.5
"""Width of the smooth step that gradients see in place of the selection."""

PATCH_PX = 10
"""Edge of the patch, 2.4 % of a crop of 64 x 64 pixels."""

RECEPTIVE_FIELD, STRIDE, OFFSET = 2, 2, 0
"""Of the first layer's cells, in pixels: 2 x 2 each, side by side."""

FRACTION_BITS = 24
"""Whole numbers up to 2 to this power are exact in float32."""


class CertifiedSignClassifier(nn.Module):
    """A :class:`VisionTransformer` with the stem of the sign classifier, of whose first layer few cells are used.

    Args:
        network: its ``patch_embed`` is a :class:`l4edge_perception.models.sign_classifier.Stem`.
        threshold: a cell is kept from this sum of its channels on.
    """

    def __init__(self, network: VisionTransformer, threshold: float):
        super().__init__()
        self.network = network
        # Windows are drawn by the training here, which looks for bad ones: this module has to draw none.
        settings = ScaleCertConfig(
            after="sparse", patch=(PATCH_PX, PATCH_PX), train_stem=True,
            occlusion=OcclusionConfig(shares=(1.0, 0.0, 0.0), level="features"),
        )
        self.sparse = SparseStem(nn.ReLU(), settings)
        self.sparse.threshold.fill_(threshold)

    @property
    def threshold(self) -> float:
        """From which on a cell is kept."""
        return float(self.sparse.threshold)

    def stem(self, images: Tensor) -> Tensor:
        """(B, 3, S, S) to (B, C, S / 2, S / 2), not selected yet."""
        layers: Any = self.network.patch_embed
        features: Tensor = self.sparse.stem(layers.bn1(layers.conv1(images)))
        return features

    def selected(self, features: Tensor) -> Tensor:
        """The features of important cells, 0 elsewhere. The step has no slope; gradients see a smooth one instead."""
        if not torch.is_grad_enabled():
            return self.sparse.select(features)
        soft = torch.sigmoid((saliency(features) - self.threshold) / SOFTNESS).unsqueeze(1)
        return self.sparse.select(features) + features * (soft - soft.detach())

    def head(self, features: Tensor) -> Tensor:
        """(B, C, S / 2, S / 2) selected features to (B, meanings) logits."""
        layers: Any = self.network.patch_embed
        features = torch.relu(layers.bn2(layers.conv2(features)))
        features = torch.relu(layers.bn3(layers.conv3(features)))
        return self.network.from_patches(layers.proj(features).flatten(2).transpose(1, 2))

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, S, S) to (B, meanings) logits."""
        return self.head(self.selected(self.stem(images)))


class PixelsToLogits(nn.Module):
    """(B, S, S, 3) uint8 crops to (B, meanings) logits."""

    def __init__(self, classifier: CertifiedSignClassifier):
        super().__init__()
        self.classifier = classifier

    def forward(self, pixels: Tensor) -> Tensor:
        """Crops to logits."""
        features = self.classifier.stem(pixels.permute(0, 3, 1, 2).float())
        kept = features.sum(dim=1, keepdim=True) > self.classifier.sparse.threshold
        return self.classifier.head(features * kept.float())


class PixelsToFeatures(nn.Module):
    """(B, S, S, 3) uint8 crops to (B, C, S / 2, S / 2) features, not selected yet."""

    def __init__(self, classifier: CertifiedSignClassifier):
        super().__init__()
        self.classifier = classifier

    def forward(self, pixels: Tensor) -> Tensor:
        """Crops to features."""
        return self.classifier.stem(pixels.permute(0, 3, 1, 2).float())


class FeaturesToLogits(nn.Module):
    """(B, C, S / 2, S / 2) selected features to (B, meanings) logits."""

    def __init__(self, classifier: CertifiedSignClassifier):
        super().__init__()
        self.classifier = classifier

    def forward(self, features: Tensor) -> Tensor:
        """Features to logits."""
        return self.classifier.head(features)


def new_certified(content: Mapping[str, Any], threshold: float, depth: int) -> CertifiedSignClassifier:
    """The float network of a checkpoint, its first ``depth`` blocks, with the selection behind its first layer."""
    network = new_network(config_of(content["config"]["network"]))
    network.load_state_dict(content["average"])
    network.blocks = nn.Sequential(*list(network.blocks)[:depth])
    return CertifiedSignClassifier(network, threshold).eval()


def deployed(classifier: CertifiedSignClassifier, temperature: float) -> CertifiedSignClassifier:
    """A copy for pixels 0..255 whose logits read as probabilities and whose first layer is exact.

    Args:
        classifier: trained; left as it is.
        temperature: what its logits are divided by.
    """
    network = for_pixels(classifier.network)
    with torch.no_grad():
        network.head.weight.div_(temperature)
        network.head.bias.div_(temperature)
    step = make_exact_(network.get_submodule("patch_embed.conv1"))
    # Half a step lies between any two sums: no cell is ever at the threshold.
    return CertifiedSignClassifier(network, (math.floor(classifier.threshold / step) + 0.5) * step).eval()


def make_exact_(convolution: nn.Module) -> float:
    """Round weights and bias so that float32 adds whole pixels up without rounding, in any order.

    Then cells do not depend on the engine, the batch, or the order in which it adds: the same cells are kept
    everywhere, and cells outside a patch's shadow stay the same to the last bit.

    Returns:
        The step whose multiples all of the layer's outputs are, a power of two.
    """
    assert isinstance(convolution, nn.Conv2d)  # noqa: S101 - for the type checker
    assert convolution.bias is not None  # noqa: S101
    weight, bias = convolution.weight, convolution.bias
    with torch.no_grad():
        largest = float((255.0 * weight.abs().sum(dim=(1, 2, 3)) + bias.abs()).max())
        # All channels of a cell are added up, too; saliencies near the threshold are far below this bound.
        step = math.ldexp(1.0, math.ceil(math.log2(1.01 * largest)) - FRACTION_BITS)
        weight.copy_((weight / step).round() * step)
        bias.copy_((bias / step).round() * step)
    return step


def load_trained(checkpoint: Path) -> tuple[CertifiedSignClassifier, Mapping[str, Any]]:
    """The averaged network of a training with occlusion, and its whole checkpoint."""
    content = torch.load(checkpoint, weights_only=True, map_location="cpu")
    start = content["start"]
    network = new_network(config_of(start))
    network.blocks = nn.Sequential(*list(network.blocks)[: content["config"]["depth"]])
    classifier = CertifiedSignClassifier(network, content["config"]["threshold"])
    classifier.load_state_dict(content["average"])
    return classifier.eval(), content
