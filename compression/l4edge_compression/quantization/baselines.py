"""What the published systems are compared with: one format for all rows.

Fixed point with learned steps is LSQ (Esser et al., ICLR 2020); with 8 bits and no training it is ordinary post-
training quantization. Powers of two alone, and APoT's sums of two of them (Li et al., ICLR 2020) on the levels of its
published code; unlike there, weights are not normalized before they are quantized.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from l4edge_compression.quantization.config import EIGHT_BITS, QuantizationConfig, WeightPolicy, formats_of
from l4edge_compression.quantization.graph import Layer
from l4edge_perception.errors import InputError


@dataclass(frozen=True)
class OneFormatConfig(QuantizationConfig):
    """Settings of methods with one format for all rows.

    Attributes:
        granularity: one scale for the layer or for each row.
        scale: ``absmax``, ``mse`` or ``learned``.
    """

    granularity: str = "row"
    scale: str = "learned"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_choice("granularity", "layer", "row")
        self.check_choice("scale", "absmax", "mse", "learned")
        formats_of(self.format_name())

    def format_name(self) -> str:
        """Return the name of the weights' format."""
        raise NotImplementedError

    def rounding(self) -> str:
        """Return how powers of two are rounded."""
        return "nearest"

    def weights(self, layer: Layer, weight: Tensor) -> WeightPolicy:
        """Return the one format."""
        if self.wide(layer):
            return EIGHT_BITS
        return WeightPolicy(
            formats_of(self.format_name()),
            granularity=self.granularity,  # type: ignore[arg-type]
            rule=self.scale,  # type: ignore[arg-type]
            rounding=self.rounding(),  # type: ignore[arg-type]
        )


@dataclass(frozen=True)
class FixedConfig(OneFormatConfig):
    """Fixed point of 2 to 8 bits. W8A8 post-training: ``FixedConfig(weight_bits=8, activation_bits=8)``."""

    method: ClassVar[str] = "fixed"

    weight_bits: int = 4

    def __post_init__(self) -> None:
        if not 2 <= self.weight_bits <= 8:
            raise InputError(f"FixedConfig: weight_bits is {self.weight_bits}; must be 2 to 8")
        super().__post_init__()

    def format_name(self) -> str:
        """Return for example fixed4."""
        return f"fixed{self.weight_bits}"


@dataclass(frozen=True)
class PotConfig(OneFormatConfig):
    """Powers of two of 3 or 4 bits, rounded to the nearest level or the nearest exponent (``log2``)."""

    method: ClassVar[str] = "pot"

    weight_bits: int = 4
    pot_rounding: str = "nearest"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_choice("pot_rounding", "nearest", "log2")

    def format_name(self) -> str:
        """Return for example pot4."""
        return f"pot{self.weight_bits}"

    def rounding(self) -> str:
        """Return how powers of two are rounded."""
        return self.pot_rounding


@dataclass(frozen=True)
class ApotConfig(OneFormatConfig):
    """Sums of two powers of two: APoT's levels, or those of Mix and Match (``sp2_4``)."""

    method: ClassVar[str] = "apot"

    levels: str = "apot4"

    def format_name(self) -> str:
        """Return the levels' name."""
        return self.levels
