"""MobileNetV2, with torchvision's parameter names (``features.1.conv.0.0``, ``classifier.1``), so its checkpoints load.

Source: Sandler et al. 2018, arXiv 1801.04381, table 2.
"""

import torch
from torch import Tensor, nn

STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
"""Expansion, output channels, blocks and stride of the first block, stage by stage."""

LAST_CHANNELS = 1280


def _unit(in_channels: int, out_channels: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """Convolution, batch normalization, ReLU6."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU6(inplace=True),
    )


class InvertedResidual(nn.Module):
    """Wider by a 1x1 convolution, filtered channel by channel, narrow again; beside the identity where shapes agree."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, expansion: int):
        super().__init__()
        hidden = in_channels * expansion
        self.keeps_shape = stride == 1 and in_channels == out_channels
        widening = [_unit(in_channels, hidden, 1)] if expansion != 1 else []
        self.conv = nn.Sequential(
            *widening,
            _unit(hidden, hidden, 3, stride, groups=hidden),
            nn.Conv2d(hidden, out_channels, 1, bias=False),
            nn.BatchNorm2d(out_channels),
        )

    def forward(self, features: Tensor) -> Tensor:
        """(B, in, H, W) to (B, out, H / stride, W / stride)."""
        return features + self.conv(features) if self.keeps_shape else self.conv(features)


class MobileNetV2(nn.Module):
    """The network at width 1: 3,504,872 parameters with 1000 classes."""

    def __init__(self, class_count: int = 1000):
        super().__init__()
        layers: list[nn.Module] = [_unit(3, 32, 3, 2)]
        channels = 32
        for expansion, out_channels, depth, stride in STAGES:
            for index in range(depth):
                layers.append(InvertedResidual(channels, out_channels, stride if index == 0 else 1, expansion))
                channels = out_channels
        self.features = nn.Sequential(*layers, _unit(channels, LAST_CHANNELS, 1))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(LAST_CHANNELS, class_count))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")
            elif isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=0.01)
                nn.init.zeros_(module.bias)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) to (B, class_count)."""
        return self.classifier(torch.flatten(self.avgpool(self.features(images)), 1))


def mobilenet_v2(class_count: int = 1000) -> MobileNetV2:
    """MobileNetV2: 3,504,872 parameters with 1000 classes."""
    return MobileNetV2(class_count)
