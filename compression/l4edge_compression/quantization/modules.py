"""Quantizers as torch modules: rows of weights, activations, and the layers that use them.

The forward pass computes with integers times a step, in float32 and exactly as the exported graph stores them; the
backward pass is straight through inside the range (LSQ, Esser et al., ICLR 2020, for learned scales).
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from l4edge_compression.quantization.esb import Reference
from l4edge_compression.quantization.formats import LevelSet, Rounding, project
from l4edge_compression.quantization.observers import Calibration, RangeObserver
from l4edge_compression.quantization.row_scales import ScaleRule, row_scales
from l4edge_compression.quantization.scales import learned_scale_factor
from l4edge_compression.quantization.straight_through import Codes, Rows, column
from l4edge_perception.errors import InputError

Granularity = Literal["layer", "row"]
State = Literal["off", "observe", "quantize"]

_STATES: tuple[State, ...] = ("off", "observe", "quantize")
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
    ):
        """Start with all rows in the first format and scales fitted to the weight, (O, ...)."""
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
        """Up to which magnitude gradients pass, (O,): the scale; 1 for binary rows, whose scale is a mean."""
        scale = self.scale.detach().abs().clamp(min=_LEAST_SCALE)
        binary = torch.tensor([levels.bits == 1 for levels in self.formats], device=scale.device)
        return torch.where(binary[self.assignment], scale.clamp(min=1.0), scale)


class ActivationQuantizer(nn.Module):
    """Quantizes one tensor to unsigned codes with one scale and zero point.

    ``code = clamp(round(x / scale) + zero_point, 0, top)``, ties to even; with a table the code becomes table[code].

    Attributes:
        bits: of a code; top = 2^bits - 1, or the largest entry of the table.
        state: ``observe`` watches and passes on, ``quantize`` quantizes, ``off`` passes on.
        scale: () learned by gradient where its requires_grad is set.
        zero_point: () long.
        table: (top + 1,) uint8 level of each code, or none.
    """

    scale: nn.Parameter
    zero_point: Tensor
    table: Tensor | None

    def __init__(
        self,
        bits: int,
        *,
        name: str = "activation",
        calibration: Calibration = "mse",
        symmetric: bool = False,
        learned: bool = False,
        levels: LevelSet | None = None,
        alpha: float | None = None,
        momentum: float | None = None,
        observe: int = 0,
        pixels: bool = False,
    ):
        """Start observing.

        Args:
            bits: 1 to 16.
            name: of the tensor, for errors.
            calibration: how the range is chosen.
            symmetric: zero in the middle of the codes.
            learned: let the optimizer move the scale.
            levels: unsigned levels to keep of the codes (elastic significant bits).
            alpha: of the levels, in root mean squares of the tensor; none searches the data.
            momentum: with alpha, let the scale follow the batches of training this slowly (0.9 to 0.99).
            observe: number of training batches after which quantizing begins by itself; 0 waits for :meth:`finish`.
            pixels: keep whole numbers from 0 to 255 as they are (images).

        Raises:
            InputError: bits or levels out of range.
        """
        super().__init__()
        if not 1 <= bits <= 16:
            raise InputError(f"{name}: activation_bits is {bits}; must be 1 to 16")
        if levels is not None and (levels.signed or levels.largest > 255):
            raise InputError(f"{name}: activation levels {levels.name} do not fit 0..255; choose fewer bits")
        self.bits = bits
        self.name = name
        self.calibration: Calibration = calibration
        self.symmetric = symmetric
        self.alpha = alpha
        self.momentum = momentum
        self.remaining = observe
        self.pixels = pixels
        self.state: State = "observe"
        self.observer: RangeObserver | None = RangeObserver()
        self.scale = nn.Parameter(torch.ones(()), requires_grad=learned)
        self.register_buffer("zero_point", torch.zeros((), dtype=torch.long))
        table = None
        if levels is not None:
            codes = torch.arange(levels.largest + 1, dtype=torch.float32) / levels.largest
            table = project(levels, codes).to(torch.uint8)
        self.register_buffer("table", table)
        self._zero_point = 0

    def extra_repr(self) -> str:
        """Say bits and state where the module is printed."""
        return f"bits={self.bits}, state={self.state}, zero_point={self._zero_point}"

    @property
    def top(self) -> int:
        """The largest code."""
        return 2**self.bits - 1 if self.table is None else len(self.table) - 1

    def finish(self) -> None:
        """Choose scale and zero point from what was observed, and quantize from now on.

        Raises:
            InputError: nothing was observed.
        """
        if self.observer is None:
            return
        grid = self.observer.grid(self.bits, self.calibration, self.symmetric)
        scale, zero_point = grid.scale, grid.zero_point
        if self.table is not None:
            if self.observer.low < 0:
                self.table = None  # these levels are unsigned: a tensor with negative values is fixed point
            else:
                scale, zero_point = self._table_scale(self.observer, self.table), 0
        elif self.pixels and self.observer.integral and self.bits == 8:
            scale, zero_point = 1.0, 0
        with torch.no_grad():
            self.scale.fill_(scale)
            self.zero_point.fill_(zero_point)
        self._zero_point = zero_point
        self.observer = None
        self.state = "quantize"

    def _table_scale(self, observer: RangeObserver, table: Tensor) -> float:
        if self.alpha is not None:
            return self.alpha * max(observer.root_mean_square, _LEAST_SCALE) / self.top
        return observer.table_scale(table.cpu(), observer.high / self.top or 1.0)

    def forward(self, values: Tensor) -> Tensor:
        """Any shape to the same."""
        if self.state == "off":
            return values
        if self.observer is not None and self.state == "observe":
            self.observer.update(values, self.name)
            if self.training and self.remaining:
                self.remaining -= 1
                if not self.remaining:
                    self.finish()
            if self.state == "observe":
                return values
        if self.training and self.table is not None and self.momentum is not None and self.alpha is not None:
            positive = values.detach().clamp(min=0)
            spread = positive.norm() / positive.count_nonzero().clamp(min=1).sqrt()
            self.scale.data.lerp_(self.alpha * spread.clamp(min=_LEAST_SCALE) / self.top, 1 - self.momentum)
        count = values.numel() // max(len(values), 1) if values.dim() else 1
        factor = (max(count, 1) * self.top) ** -0.5  # LSQ, section 2.2; count is of one example
        scale = self.scale.abs().clamp(min=_LEAST_SCALE)
        low = -self._zero_point
        return Codes.apply(values, scale, low, self.top + low, self.table, factor)

    def parameters_for_export(self) -> tuple[float, int, int, Tensor | None]:
        """Return scale (a float32 number), zero point, largest code and table.

        Raises:
            InputError: not calibrated yet.
        """
        if self.state != "quantize":
            raise InputError(f"{self.name}: has no scale yet; calibrate the model with data before the export")
        return float(self.scale.detach().abs().clamp(min=_LEAST_SCALE)), self._zero_point, self.top, self.table

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *arguments: Any) -> None:
        if prefix + "table" not in state_dict:
            self.table = None  # the tensor turned out to have negative values; see finish
        super()._load_from_state_dict(state_dict, prefix, *arguments)

    def get_extra_state(self) -> Tensor:
        """Return what a checkpoint needs beside the tensors: the state."""
        return torch.tensor(_STATES.index(self.state))

    def set_extra_state(self, state: Tensor) -> None:
        """Continue in the state of a checkpoint."""
        self.state = _STATES[int(state)]
        self._zero_point = int(self.zero_point)
        self.observer = RangeObserver() if self.state == "observe" else None


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
