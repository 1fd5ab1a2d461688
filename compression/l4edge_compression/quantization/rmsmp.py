"""RMSMP: rows of powers of two, of 4-bit and of 8-bit fixed point in every layer, at one ratio.

Chang et al., "RMSMP: A Novel Deep Neural Network Quantization Framework with Row-wise Mixed Schemes and Multiple
Precisions", ICCV 2021 (arXiv 2111.00153): the ratio holds in every layer, the first and last included; scores choose
the 8-bit rows, variance divides the others; assignments are renewed every ten epochs. Shares of epochs with frozen
rows, the rounding of counts and the scale rules are this project's reconstruction; the paper's own settings were not
at hand.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from l4edge_compression.quantization.config import (
    EIGHT_BITS,
    QuantizationConfig,
    Shares,
    WeightPolicy,
    formats_of,
)
from l4edge_compression.quantization.graph import Layer
from l4edge_compression.quantization.rows import shares_of
from l4edge_perception.errors import InputError


@dataclass(frozen=True)
class RowMixConfig(QuantizationConfig):
    """Settings of methods that mix formats by row.

    Attributes:
        ratio: shares of rows in the low, middle and high format, in percent or of 1.
        board: take the ratio for this FPGA instead (xc7z020, xc7z045, zcu102).
        low, middle, high: the formats.
        score: what chooses the rows of the high format: diagonal Fisher, Hessian eigenvalues, output error, or the
            squared error of the weights alone.
        rule: ``ratio`` fills the shares; ``crossover`` gives the low format only to rows where it has less error.
        few_rows: what happens in layers with too few rows for a share: ``lose`` the share, or ``error``.
        granularity: one scale for the layer or for each row.
        scale: ``absmax``, ``mse`` or ``learned``.
        pot_rounding: of powers of two, to the ``nearest`` level or exponent (``log2``).
        reassign_every: epochs between two assignments.
        freeze_last: share of the epochs, at the end, in which rows keep their formats.
    """

    ratio: Shares = (65, 30, 5)
    board: str | None = None
    low: str = "pot4"
    middle: str = "fixed4"
    high: str = "fixed8"
    score: str = "fisher"
    rule: str = "ratio"
    few_rows: str = "lose"
    granularity: str = "layer"
    scale: str = "absmax"
    pot_rounding: str = "nearest"
    reassign_every: int = 10
    freeze_last: float = 0.33

    def __post_init__(self) -> None:
        super().__post_init__()
        shares_of(self.ratio, f"{type(self).__name__}: ratio")
        formats_of(self.low, self.middle, self.high)
        self.check_choice("score", "fisher", "hessian", "output_error", "weight")
        self.check_choice("rule", "ratio", "crossover")
        self.check_choice("few_rows", "lose", "error")
        self.check_choice("granularity", "layer", "row")
        self.check_choice("scale", "absmax", "mse", "learned")
        self.check_choice("pot_rounding", "nearest", "log2")
        if self.reassign_every < 1:
            raise InputError(f"{type(self).__name__}: reassign_every is {self.reassign_every}; give 1 or more epochs")
        if not 0 <= self.freeze_last <= 1:
            raise InputError(f"{type(self).__name__}: freeze_last is {self.freeze_last}; must be a share from 0 to 1")
        if self.board is not None:
            self.shares()

    def shares(self) -> Shares:
        """Return the shares of low, middle and high rows, summing to 1: the board's where one is named."""
        if self.board is None:
            return shares_of(self.ratio)
        return self.board_shares(self.board)

    def board_shares(self, board: str) -> Shares:
        """Return the shares for a board."""
        raise NotImplementedError

    def weights(self, layer: Layer, weight: Tensor) -> WeightPolicy:
        """Return the three formats at the ratio."""
        if self.wide(layer):
            return EIGHT_BITS
        return WeightPolicy(
            formats_of(self.low, self.middle, self.high),
            granularity=self.granularity,  # type: ignore[arg-type]
            rule=self.scale,  # type: ignore[arg-type]
            rounding=self.pot_rounding,  # type: ignore[arg-type]
            ratio=self.shares(),
        )


@dataclass(frozen=True)
class RmsmpConfig(RowMixConfig):
    """Settings of RMSMP; see the base classes."""

    method: ClassVar[str] = "rmsmp"

    def board_shares(self, board: str) -> Shares:
        """Return the ratio that keeps the board's DSP and LUT engines equally busy."""
        from l4edge_compression.quantization import boards

        return shares_of(boards.rmsmp_ratio(board))
