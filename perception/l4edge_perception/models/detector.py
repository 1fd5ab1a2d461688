"""The camera detector: a small anchor-free network of dense convolutions.

One look at an image gives, for every cell of three grids (strides 8, 16 and 32), a box and one score per class; the
score is trained to equal the overlap of the box with the object, so it also ranks boxes by how well they sit. Most
objects are small (the median pedestrian is 8 pixels wide) and stand close together, so each cell at stride 8 answers
four times, once for each of its quarters: a grid of stride 4 without the cost of features at stride 4. The network
keeps to Conv, ReLU, Add, Concat and nearest Resize: operations that int8 kernels, deep learning accelerators and FPGA
engines all have.

Sources: one box per cell with offsets and log sizes as in YOLOX (Ge et al. 2021, arXiv 2107.08430, section 2.1); cross
stage partial blocks (Wang et al. 2020, arXiv 1911.11929); joint score as in GFL (Li et al. 2020, arXiv 2006.04388).
"""

import copy
import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

STRIDES = (8, 16, 32)
"""Pixels per cell of the three output grids."""

DIVISIONS = (2, 1, 1)
"""Into how many parts each grid's cells are divided, down and across, with an answer for each part."""

PRIOR_SCORE = 0.01
"""Score of every cell before training, so that the many empty cells do not drown the first steps."""


@dataclass(frozen=True)
class DetectorConfig:
    """Size of the network.

    Attributes:
        height, width: input image in pixels, multiples of the largest stride. The cameras' 360 rows are letterboxed.
        class_count: number of classes C.
        channels: width after the stem (stride 4) and of the stages at strides 8, 16 and 32.
        depths: residual blocks per stage.
        head_channels: width of the neck and the heads.
    """

    height: int = 384
    width: int = 640
    class_count: int = 6
    channels: tuple[int, int, int, int] = (32, 64, 96, 128)
    depths: tuple[int, int, int] = (1, 1, 1)
    head_channels: int = 64


class ConvolutionUnit(nn.Module):
    """Convolution, batch normalization, ReLU."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int = 3, stride: int = 1, padding: int = -1):
        super().__init__()
        padding = kernel // 2 if padding < 0 else padding
        self.convolution = nn.Conv2d(in_channels, out_channels, kernel, stride, padding, bias=False)
        nn.init.kaiming_normal_(self.convolution.weight, nonlinearity="relu")
        self.normalization: nn.Module = nn.BatchNorm2d(out_channels, eps=1e-3, momentum=0.03)
        self.activation = nn.ReLU(inplace=True)

    def forward(self, features: Tensor) -> Tensor:
        """(B, in, H, W) to (B, out, H / stride, W / stride)."""
        return self.activation(self.normalization(self.convolution(features)))


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions beside the identity."""

    def __init__(self, channels: int):
        super().__init__()
        self.first = ConvolutionUnit(channels, channels)
        self.second = ConvolutionUnit(channels, channels)

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, H, W) to the same."""
        return features + self.second(self.first(features))


class PartialStage(nn.Module):
    """Half of the channels pass through residual blocks, the other half goes round them."""

    def __init__(self, channels: int, depth: int):
        super().__init__()
        half = channels // 2
        self.bypass = ConvolutionUnit(channels, half, 1)
        self.entry = ConvolutionUnit(channels, half, 1)
        self.blocks = nn.Sequential(*(ResidualBlock(half) for _ in range(depth)))
        self.exit = ConvolutionUnit(2 * half, channels, 1)

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, H, W) to the same."""
        return self.exit(torch.cat([self.bypass(features), self.blocks(self.entry(features))], dim=1))


class DetectorNetwork(nn.Module):
    """Images in, raw boxes and class logits per cell out; ``l4edge_perception.camera.decoders.grid`` reads them."""

    def __init__(self, config: DetectorConfig):
        super().__init__()
        self.config = config
        quarter, eighth, sixteenth, coarse = config.channels
        head = config.head_channels
        # A large first kernel at stride 4 costs a quarter of two 3x3 steps: no feature map at stride 2 exists.
        self.stem = ConvolutionUnit(3, quarter, kernel=6, stride=4, padding=1)
        self.stage8 = self._stage(quarter, eighth, config.depths[0])
        self.stage16 = self._stage(eighth, sixteenth, config.depths[1])
        self.stage32 = self._stage(sixteenth, coarse, config.depths[2])
        self.lateral32 = ConvolutionUnit(coarse, head, 1)
        self.merge16 = ConvolutionUnit(sixteenth + head, head, 1)
        self.merge8 = ConvolutionUnit(eighth + head, head, 1)
        self.heads = nn.ModuleList(ConvolutionUnit(head, head) for _ in STRIDES)
        self.outputs = nn.ModuleList(_output_layer(head, config.class_count, parts**2) for parts in DIVISIONS)

    @staticmethod
    def _stage(in_channels: int, out_channels: int, depth: int) -> nn.Sequential:
        return nn.Sequential(ConvolutionUnit(in_channels, out_channels, stride=2), PartialStage(out_channels, depth))

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) in 0..255, H and W multiples of 32, to (B, 4 + C, N): offset x y, log size, C logits."""
        features8 = self.stage8(self.stem(images))
        features16 = self.stage16(features8)
        features32 = self.stage32(features16)
        neck32 = self.lateral32(features32)
        neck16 = self.merge16(torch.cat([features16, _doubled(neck32)], dim=1))
        neck8 = self.merge8(torch.cat([features8, _doubled(neck16)], dim=1))
        levels = zip((neck8, neck16, neck32), self.heads, self.outputs, strict=True)
        return torch.cat([self._as_cells(output(head(neck))) for neck, head, output in levels], dim=2)

    def _as_cells(self, answers: Tensor) -> Tensor:
        """(B, parts * (4 + C), H, W) to (B, 4 + C, parts * H * W), part by part."""
        # No size is asked for, so that the forward pass can be traced.
        by_part = answers.unflatten(1, (-1, 4 + self.config.class_count)).flatten(3)
        return by_part.transpose(1, 2).flatten(2)


def _output_layer(in_channels: int, class_count: int, parts: int) -> nn.Conv2d:
    """The last convolution of a grid, set to begin with middling boxes and next to no score anywhere."""
    layer = nn.Conv2d(in_channels, parts * (4 + class_count), 1)
    nn.init.normal_(layer.weight, std=0.01)
    # Offsets of zero; sizes of e = 2.7 cells, the middle of what a grid is for.
    bias = [0.0, 0.0, 1.0, 1.0] + [math.log(PRIOR_SCORE / (1 - PRIOR_SCORE))] * class_count
    layer.bias = nn.Parameter(torch.tensor(bias * parts))
    return layer


def _doubled(features: Tensor) -> Tensor:
    return functional.interpolate(features, scale_factor=2.0, mode="nearest")


class DeployedDetector(nn.Module):
    """The network as it is shipped: camera pixels in, batch normalization folded.

    The given network is left as it is.
    """

    def __init__(self, network: DetectorNetwork):
        super().__init__()
        self.network = fold_normalization(network)

    def forward(self, pixels: Tensor) -> Tensor:
        """(1, H, W, 3) uint8 to (1, 4 + C, N) float32."""
        return self.network(pixels.permute(0, 3, 1, 2).float())


def fold_normalization(network: DetectorNetwork) -> DetectorNetwork:
    """A copy in evaluation mode whose batch normalizations are part of the convolutions before them."""
    folded = copy.deepcopy(network).eval()
    for module in folded.modules():
        if isinstance(module, ConvolutionUnit) and isinstance(module.normalization, nn.BatchNorm2d):
            module.convolution = nn.utils.fuse_conv_bn_eval(module.convolution, module.normalization)
            module.normalization = nn.Identity()
    return folded
