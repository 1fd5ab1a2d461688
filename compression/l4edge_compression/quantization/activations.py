"""Tensors between layers as unsigned codes.

The forward pass computes with integers times a scale, in float32 and exactly as the exported graph does; the backward
pass is straight through inside the range.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn

from l4edge_compression.quantization.formats import LevelSet, project
from l4edge_compression.quantization.observers import Calibration, RangeObserver
from l4edge_compression.quantization.straight_through import Codes
from l4edge_perception.errors import InputError

State = Literal["off", "observe", "quantize"]

_STATES: tuple[State, ...] = ("off", "observe", "quantize")
_LEAST_SCALE = 1e-8


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
        return torch.tensor([_STATES.index(self.state), self.observer is not None, self.remaining])

    def set_extra_state(self, state: Tensor) -> None:
        """Continue in the state of a checkpoint."""
        index, waiting, self.remaining = state.tolist()
        self.state = _STATES[index]
        self._zero_point = int(self.zero_point)
        # Switched off before it has observed anything, it still has to: binary training begins so.
        self.observer = RangeObserver() if waiting else None
