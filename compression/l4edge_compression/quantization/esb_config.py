"""ESB: elastic significant bits, of weights and activations.

Gong et al., "Elastic Significant Bit Quantization and Acceleration for Deep Neural Networks", IEEE TPDS 33(11), 2022
(arXiv 2109.03513). Formats and alignment follow the authors' published code; that activations behind ReLU use formats
without sign aligned with the half-normal distribution, and that the first and last layers have 8 bits, is this
project's reconstruction. Patent CN111768002B is shown as active: ask a lawyer before commercial use.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from l4edge_compression.quantization import esb
from l4edge_compression.quantization.config import EIGHT_BITS, QuantizationConfig, WeightPolicy
from l4edge_compression.quantization.formats import EXPORTABLE
from l4edge_compression.quantization.graph import Layer
from l4edge_compression.quantization.modules import ActivationQuantizer
from l4edge_perception.errors import InputError

LARGEST_CODE = 255
"""Activations are stored as unsigned integers of 8 bits."""


@dataclass(frozen=True)
class EsbConfig(QuantizationConfig):
    """Settings of ESB.

    Attributes:
        bits, significant: b and k of the weights; k null searches for each layer the one of least error.
        activation_levels: [b, k] of activations behind ReLU (formats without sign); null keeps them fixed point of
            ``activation_bits``. Tensors with negative values, and those that nothing multiplies, are fixed point.
        per: one scale for the ``tensor`` or for each ``channel``.
        reference: what formats are aligned with: the ``normal`` distribution, or the ``data``.
        momentum: of the activations' running scale in training.
    """

    method: ClassVar[str] = "esb"

    ends: str = "8bit"
    bits: int = 4
    significant: int | None = 1
    activation_levels: tuple[int, ...] | None = None
    per: str = "channel"
    reference: str = "normal"
    momentum: float = 0.95

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_choice("per", "tensor", "channel")
        self.check_choice("reference", "normal", "data")
        if self.significant is None:
            esb.candidates(self.bits, largest=EXPORTABLE)
        else:
            esb.ElasticFormat(self.bits, self.significant)
        self._unsigned()

    def _unsigned(self) -> esb.ElasticFormat | None:
        if self.activation_levels is None:
            return None
        if len(self.activation_levels) != 2:
            raise InputError(f"EsbConfig: activation_levels {list(self.activation_levels)}; give [bits, significant]")
        bits, significant = self.activation_levels
        fitting = esb.candidates(bits, signed=False, largest=LARGEST_CODE)
        elastic = esb.ElasticFormat(bits, significant, signed=False)
        if elastic not in fitting:
            known = ", ".join(f"[{each.bits}, {each.significant}]" for each in fitting)
            raise InputError(
                f"EsbConfig: activation_levels [{bits}, {significant}] reach beyond integers of 8 bits; use "
                f"{known or 'fewer bits'}"
            )
        return elastic

    def weights(self, layer: Layer, weight: Tensor) -> WeightPolicy:
        """Return the format, of the layer's own k where that is searched."""
        if self.wide(layer):
            return EIGHT_BITS
        reference: Any = self.reference
        per: Any = self.per
        if self.significant is None:
            elastic, _ = esb.choose_format(weight, self.bits, "data", per, largest=EXPORTABLE, name=layer.name)
        else:
            elastic = esb.ElasticFormat(self.bits, self.significant)
        granularity: Any = "layer" if self.per == "tensor" else "row"
        return WeightPolicy((elastic.level_set(),), granularity, "aligned", reference=reference)

    def layer_activation_bits(self, layer: Layer) -> int:
        """Return the bits of the tensor that the layer reads."""
        bits = self.activation_bits if self.activation_levels is None else self.activation_levels[0]
        return max(bits, 8) if self.wide(layer) else bits

    def activation(self, name: str, bits: int, *, multiplied: bool, is_input: bool) -> ActivationQuantizer:
        """Return a quantizer with elastic levels where they are asked for."""
        elastic = self._unsigned()
        if elastic is None or not multiplied or is_input or bits != elastic.bits:
            return super().activation(name, bits, multiplied=multiplied, is_input=is_input)
        alpha = None
        if self.reference == "normal":
            alpha = esb.align(elastic, "half_normal")[0].alpha * elastic.largest_value
        return ActivationQuantizer(
            bits, name=name, levels=elastic.level_set(), alpha=alpha, learned=False,
            momentum=self.momentum if alpha is not None else None, observe=self.observe_in_training,
        )
