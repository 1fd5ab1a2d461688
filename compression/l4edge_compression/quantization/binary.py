"""Binary weights for vision transformers, as VAQF uses them.

Sun et al., "VAQF: Fully Automatic Software-Hardware Co-Design Framework for Low-Bit Vision Transformer" (arXiv
2201.06618). What was at hand says: the linear layers of attention and MLP become binary, progressively, while
activations keep more bits, in three stages. How the mask grows, how long stages last and what the scales are is this
project's reconstruction: W = mask * alpha * sign(W) + (1 - mask) * W, alpha the mean magnitude, the mask's density
rising from 0 to 1 through stage 2; gradients pass where |W| <= 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from l4edge_compression.quantization.config import QuantizationConfig, WeightPolicy, formats_of
from l4edge_compression.quantization.graph import Layer
from l4edge_compression.quantization.modules import RowQuantizer
from l4edge_perception.errors import InputError


@dataclass(frozen=True)
class BinaryConfig(QuantizationConfig):
    """Settings of binary weights.

    Attributes:
        activation_bits: 1 to 16; null keeps activations float (W1A32).
        other_bits: of the weights that are not binary (convolutions, first and last layer): 2 to 8, fixed point.
        granularity: alpha for each ``row`` (one multiplication per output) or for the ``layer``.
        progressive: in three stages; without it, all weights are binary from the first step.
        order: which weights become binary first: at ``random``, or the ``nearest`` to their binary value.
        stages: shares of the epochs in full precision, progressively binary, and with quantized activations.
    """

    method: ClassVar[str] = "binary"

    activation_bits: int | None = 8  # type: ignore[assignment]
    other_bits: int = 8
    granularity: str = "row"
    progressive: bool = False
    order: str = "nearest"
    stages: tuple[float, ...] = (0.0, 0.6, 0.4)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 2 <= self.other_bits <= 8:
            raise InputError(f"BinaryConfig: other_bits is {self.other_bits}; must be 2 to 8")
        self.check_choice("granularity", "row", "layer")
        self.check_choice("order", "random", "nearest")
        if len(self.stages) != 3 or min(self.stages) < 0 or abs(sum(self.stages) - 1) > 1e-6:
            raise InputError(f"BinaryConfig: stages {list(self.stages)} must be three shares that sum to 1")

    def is_binary(self, layer: Layer) -> bool:
        """Whether the layer's weights become binary: linear layers other than the first and last."""
        return layer.linear and not layer.first and not layer.last

    def weights(self, layer: Layer, weight: Tensor) -> WeightPolicy:
        """Return binary levels, or fixed point for the other layers."""
        granularity: Any = self.granularity
        if self.is_binary(layer):
            return WeightPolicy(formats_of("binary"), granularity, "mean", progressive=self.progressive)
        return WeightPolicy(formats_of(f"fixed{self.other_bits}"), granularity, "absmax")

    def layer_activation_bits(self, layer: Layer) -> int:
        """Return the bits of the tensor that the layer reads: 8 at least where its weights are not binary."""
        bits = self.activation_bits or 8
        return bits if self.is_binary(layer) else max(bits, 8)


def raise_density(quantizer: RowQuantizer, weight: Tensor, density: float, order: str, seed: int) -> None:
    """Make more of a layer's weights binary; what is binary stays so.

    Args:
        quantizer: of the layer, with a mask.
        weight: (O, ...) latent weights.
        density: share of binary weights wanted, 0 to 1.
        order: ``nearest`` takes those that change least, ``random`` any.
        seed: of the random order.
    """
    if quantizer.mask is None:
        return
    wanted = round(density * weight.numel())
    missing = wanted - int(quantizer.mask.sum())
    if missing <= 0:
        return
    if order == "random":
        generator = torch.Generator().manual_seed(seed)
        distance = torch.rand(weight.shape, generator=generator).to(weight.device)
    else:
        steps = quantizer.steps().reshape(-1, *[1] * (weight.dim() - 1))
        distance = (weight.detach() - quantizer.integers(weight) * steps).abs()
    distance = distance.masked_fill(quantizer.mask, torch.inf)
    chosen = distance.flatten().topk(missing, largest=False).indices
    quantizer.mask.view(-1)[chosen] = True
