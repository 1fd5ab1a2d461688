"""The network of the certification study: ResNet-18's four stages of two blocks, narrower, for 32 x 32 pixels."""

from collections import OrderedDict

import torch
from torch import Tensor, nn

from l4edge_perception.models.resnet import BasicBlock

WIDTHS = (32, 64, 96, 96)
STRIDES = (1, 2, 2, 1)


class NarrowResNet18(nn.Module):
    """ResNet-18's topology with a stem of one strided convolution: 0.8 million parameters, 27 million products.

    The stem is what a certificate masks behind: a 4 x 4 convolution of stride 2 whose cells see 4 x 4 pixels. Names of
    layers are torchvision's.

    Args:
        class_count: logits.
    """

    def __init__(self, class_count: int = 10):
        super().__init__()
        self.conv1 = nn.Conv2d(3, WIDTHS[0], 4, 2, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(WIDTHS[0])
        self.relu = nn.ReLU()
        stages: OrderedDict[str, nn.Module] = OrderedDict()
        channels = WIDTHS[0]
        for number, (width, stride) in enumerate(zip(WIDTHS, STRIDES, strict=True), 1):
            stages[f"layer{number}"] = nn.Sequential(BasicBlock(channels, width, stride), BasicBlock(width, width, 1))
            channels = width
        self.stages = nn.Sequential(stages)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(channels, class_count)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, 32, 32) to (B, class_count)."""
        features = self.stages(self.relu(self.bn1(self.conv1(images))))
        return self.fc(torch.flatten(self.avgpool(features), 1))
