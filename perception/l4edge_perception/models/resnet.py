"""Residual networks: torchvision's ResNet-18 and ResNet-50, and the ResNet-20 for pictures of 32 x 32 pixels.

Parameter names and shapes are torchvision's (``conv1``, ``bn1``, ``layer1.0.conv1``, ``layer2.0.downsample.0``), so
public checkpoints load. ResNet-20 has the same names, with three stages and 1x1 convolutions where the width doubles.

Source: He et al. 2015, arXiv 1512.03385, table 1 and section 4.2; a bottleneck strides in its 3x3 convolution,
as in torchvision.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside the identity, or beside a 1x1 convolution where the shape changes."""

    expansion = 1

    def __init__(self, in_channels: int, channels: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.downsample = _downsample(in_channels, channels, stride)

    def forward(self, features: Tensor) -> Tensor:
        """(B, in, H, W) to (B, channels, H / stride, W / stride)."""
        shortcut = features if self.downsample is None else self.downsample(features)
        inner = self.relu(self.bn1(self.conv1(features)))
        return self.relu(self.bn2(self.conv2(inner)) + shortcut)


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions beside the identity, or beside a 1x1 convolution where the shape changes."""

    expansion = 4

    def __init__(self, in_channels: int, channels: int, stride: int):
        super().__init__()
        out_channels = channels * self.expansion
        self.conv1 = nn.Conv2d(in_channels, channels, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv3 = nn.Conv2d(channels, out_channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _downsample(in_channels, out_channels, stride)

    def forward(self, features: Tensor) -> Tensor:
        """(B, in, H, W) to (B, 4 * channels, H / stride, W / stride)."""
        shortcut = features if self.downsample is None else self.downsample(features)
        inner = self.relu(self.bn1(self.conv1(features)))
        inner = self.relu(self.bn2(self.conv2(inner)))
        return self.relu(self.bn3(self.conv3(inner)) + shortcut)


def _downsample(in_channels: int, out_channels: int, stride: int) -> nn.Sequential | None:
    if stride == 1 and in_channels == out_channels:
        return None
    return nn.Sequential(nn.Conv2d(in_channels, out_channels, 1, stride, bias=False), nn.BatchNorm2d(out_channels))


class ResNet(nn.Module):
    """Four stages after a stem at a quarter of the resolution.

    Args:
        block: of which the stages are made.
        depths: blocks per stage, four.
        class_count: logits.
    """

    def __init__(self, block: type[BasicBlock] | type[Bottleneck], depths: Sequence[int], class_count: int = 1000):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        widths = [64] + [channels * block.expansion for channels in (64, 128, 256, 512)]
        self.layer1 = _stage(block, widths[0], 64, depths[0], 1)
        self.layer2 = _stage(block, widths[1], 128, depths[1], 2)
        self.layer3 = _stage(block, widths[2], 256, depths[2], 2)
        self.layer4 = _stage(block, widths[3], 512, depths[3], 2)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(widths[4], class_count)
        _initialize(self)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) to (B, class_count)."""
        features = self.maxpool(self.relu(self.bn1(self.conv1(images))))
        features = self.layer4(self.layer3(self.layer2(self.layer1(features))))
        return self.fc(torch.flatten(self.avgpool(features), 1))


class SmallResNet(nn.Module):
    """Three stages of 16, 32 and 64 channels at full, half and quarter resolution, for small pictures.

    Args:
        depth: blocks per stage; three make ResNet-20.
        class_count: logits.
    """

    def __init__(self, depth: int = 3, class_count: int = 10):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.relu = nn.ReLU(inplace=True)
        self.layer1 = _stage(BasicBlock, 16, 16, depth, 1)
        self.layer2 = _stage(BasicBlock, 16, 32, depth, 2)
        self.layer3 = _stage(BasicBlock, 32, 64, depth, 2)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(64, class_count)
        _initialize(self)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) to (B, class_count)."""
        features = self.layer3(self.layer2(self.layer1(self.relu(self.bn1(self.conv1(images))))))
        return self.fc(torch.flatten(self.avgpool(features), 1))


def _stage(
    block: type[BasicBlock] | type[Bottleneck], in_channels: int, channels: int, depth: int, stride: int
) -> nn.Sequential:
    first = block(in_channels, channels, stride)
    return nn.Sequential(first, *(block(channels * block.expansion, channels, 1) for _ in range(depth - 1)))


def _initialize(network: nn.Module) -> None:
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


def resnet18(class_count: int = 1000) -> ResNet:
    """ResNet-18: 11,689,512 parameters with 1000 classes."""
    return ResNet(BasicBlock, (2, 2, 2, 2), class_count)


def resnet50(class_count: int = 1000) -> ResNet:
    """ResNet-50: 25,557,032 parameters with 1000 classes."""
    return ResNet(Bottleneck, (3, 4, 6, 3), class_count)


def resnet20(class_count: int = 10) -> SmallResNet:
    """ResNet-20 for 32 x 32 pixels: 272,474 parameters with 10 classes."""
    return SmallResNet(3, class_count)
