"""Rows of weights as torch modules, and the layers that use them; activations are beside, in ``activations.py``.

The forward pass computes with integers times a step, in float32 and exactly as the exported graph stores them; the
backward pass is straight through inside the range (LSQ, Esser et al., ICLR 2020, for learned scales).
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from l4edge_compression.quantization.activations import ActivationQuantizer
from l4edge_compression.quantization.esb import Reference
from l4edge_compression.quantization.formats import LevelSet, Rounding, project
from l4edge_compression.quantization.row_scales import ScaleRule, row_scales
from l4edge_compression.quantization.scales import learned_scale_factor
from l4edge_compression.quantization.straight_through import Rows, column
from l4edge_perception.errors import InputError

__all__ = ["ActivationQuantizer", "Granularity", "QuantizedConv2d", "QuantizedLinear", "RowQuantizer"]

Granularity = Literal["layer", "row"]
_SEARCH_EVERY = 100  # steps of training between two searches of least error; weights move little in between
_LEAST_SCALE = 1e-8


class RowQuantizer(nn.Module):
    """Quantizes the weights of one layer, every row (output channel, neuron) to its own format.

    Attributes:
        formats: the formats that rows may have.
        assignment: (O,) which of the formats each row has.
        scale: (O,) alpha of each row, the value of its largest level; equal for all with granularity ``layer``.
        mask: like the weight; where not set, weights stay float. Only while a layer becomes binary step by step.
        enabled: off, weights pass as they are.
    """

    assignment: Tensor
    scale: Tensor
    mask: Tensor | None

    def __init__(
        self,
        formats: tuple[LevelSet, ...],
        weight: Tensor,
        *,
        granularity: Granularity = "layer",
        rule: ScaleRule = "absmax",
        rounding: Rounding = "nearest",
        reference: Reference = "normal",
        progressive: bool = False,
        name: str = "weight",
        fitted: bool = True,
    ):
        """Start with all rows in the first format, and scales fitted to the weight, (O, ...), or not yet."""
        super().__init__()
        self.formats = tuple(formats)
        self.granularity = granularity
        self.rule = rule
        self.rounding: Rounding = rounding
        self.reference: Reference = reference
        self.name = name
        self.enabled = True
        self._steps = 0
        rows = len(weight)
        self.register_buffer("assignment", torch.zeros(rows, dtype=torch.long, device=weight.device))
        start = torch.ones(rows, dtype=torch.float32, device=weight.device)
        if rule == "learned":
            self.scale = nn.Parameter(start)
        else:
            self.register_buffer("scale", start)
        mask = torch.zeros_like(weight, dtype=torch.bool) if progressive else None
        self.register_buffer("mask", mask)
        if fitted:
            self.fit(weight)

    def extra_repr(self) -> str:
        """Say formats and scale rule where the module is printed."""
        return f"{'/'.join(levels.name for levels in self.formats)}, {self.rule} per {self.granularity}"

    def assign(self, assignment: Tensor, weight: Tensor) -> None:
        """Give each row the format of this index, (O,), and fit the scales again unless they are learned."""
        before = self.assignment.clone()
        self.assignment.copy_(assignment)
        if self.rule != "learned" or not self._steps:
            self.fit(weight)
        elif self.granularity == "row" and bool((before != self.assignment).any()):
            # A row that changes its format starts from a fitted scale; the others keep what they learned.
            with torch.no_grad():
                self.scale.copy_(torch.where(before != self.assignment, self._fitted(weight), self.scale))

    def fit(self, weight: Tensor) -> None:
        """Fit the scales to a weight, (O, ...); learned ones to the least squared error."""
        with torch.no_grad():
            self.scale.copy_(self._fitted(weight))

    def _fitted(self, weight: Tensor) -> Tensor:
        return row_scales(
            weight, self.formats, self.assignment, self.rule, self.granularity, self.rounding, self.reference, self.name
        ).clamp(min=_LEAST_SCALE)

    def row_formats(self) -> list[str]:
        """Return the name of each row's format."""
        return [self.formats[index].name for index in self.assignment.tolist()]

    def steps(self) -> Tensor:
        """Return (O,) float32 what one integer step is worth in each row."""
        largest = torch.tensor([float(levels.largest) for levels in self.formats], device=self.scale.device)
        return self.scale.detach().abs().clamp(min=_LEAST_SCALE) / largest[self.assignment]

    def integers(self, weight: Tensor) -> Tensor:
        """Return the integer of every weight, as float32 of the same shape."""
        normalized = weight.detach() / column(self.scale.detach().abs().clamp(min=_LEAST_SCALE), weight)
        if len(self.formats) == 1:
            return project(self.formats[0], normalized, self._rounding_of(self.formats[0]))
        result = torch.empty_like(normalized)
        for index, levels in enumerate(self.formats):
            rows = (self.assignment == index).nonzero().squeeze(1)
            if len(rows):
                result[rows] = project(levels, normalized[rows], self._rounding_of(levels))
        return result

    def _rounding_of(self, levels: LevelSet) -> Rounding:
        return self.rounding if levels.power_of_two and not levels.uniform else "nearest"

    def codes(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Return int8 codes like the weight and (O,) float32 steps; ``weight_q = codes * step``.

        Raises:
            InputError: a format has integers beyond int8, or the layer is not wholly quantized yet.
        """
        for index, levels in enumerate(self.formats):
            if not levels.exportable and bool((self.assignment == index).any()):
                raise InputError(f"{levels.name}: integers to {levels.largest} do not fit int8; choose fewer bits")
        if self.mask is not None and not bool(self.mask.all()):
            raise InputError("some weights are still float (progressive binarization); finish it before the export")
        return self.integers(weight).to(torch.int8), self.steps()

    def forward(self, weight: Tensor) -> Tensor:
        """(O, ...) float to the same shape, on the rows' levels."""
        if not self.enabled:
            return weight
        if self.training and torch.is_grad_enabled():
            self._follow(weight)
        levels = self.integers(weight) * column(self.steps(), weight)
        limit = column(self._limit(), weight)
        result = Rows.apply(weight, self.scale, levels, limit, self.granularity == "layer", self._factor(weight))
        if self.mask is not None:
            result = torch.where(self.mask, result, weight)
        return result

    def _follow(self, weight: Tensor) -> None:
        """Scales that are not learned follow the weights through training."""
        if self.rule != "learned" and (self.rule != "mse" or self._steps % _SEARCH_EVERY == 0):
            self.fit(weight)
        self._steps += 1

    def _factor(self, weight: Tensor) -> float:
        """What a learned scale's gradient is multiplied by, so that its step has the size that LSQ gives it."""
        if self.rule != "learned":
            return 1.0
        count = weight.numel() if self.granularity == "layer" else weight[0].numel()
        return learned_scale_factor(count, min(len(levels.magnitudes) - levels.has_zero for levels in self.formats))

    def _limit(self) -> Tensor:
        """Return (O,) up to which magnitude gradients pass: the scale; 1 for binary rows, whose scale is a mean."""
        scale = self.scale.detach().abs().clamp(min=_LEAST_SCALE)
        binary = torch.tensor([levels.bits == 1 for levels in self.formats], device=scale.device)
        return torch.where(binary[self.assignment], torch.ones_like(scale), scale)


class QuantizedConv2d(nn.Conv2d):
    """A convolution whose weights pass a :class:`RowQuantizer`."""

    row_quantizer: RowQuantizer

    def forward(self, values: Tensor) -> Tensor:
        """(B, C, H, W) to (B, O, H', W')."""
        return self._conv_forward(values, self.row_quantizer(self.weight), self.bias)


class QuantizedLinear(nn.Linear):
    """A linear layer whose weights pass a :class:`RowQuantizer`."""

    row_quantizer: RowQuantizer

    def forward(self, values: Tensor) -> Tensor:
        """(..., I) to (..., O)."""
        return functional.linear(values, self.row_quantizer(self.weight), self.bias)
