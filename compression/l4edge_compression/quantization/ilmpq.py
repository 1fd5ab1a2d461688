"""ILMPQ: two precisions of fixed point inside every layer.

Chang et al., "ILMPQ: An Intra-Layer Multi-Precision Deep Neural Network Quantization framework for FPGA" (arXiv
2111.00155). Only its abstract was at hand: rows of 4 and 8 bits in every layer at one ratio is what it says; that rows
are chosen as in RMSMP is this project's reconstruction.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from l4edge_compression.quantization.config import Shares
from l4edge_compression.quantization.rmsmp import RowMixConfig
from l4edge_compression.quantization.rows import shares_of


@dataclass(frozen=True)
class IlmpqConfig(RowMixConfig):
    """Settings of ILMPQ: no rows of powers of two, 95 : 5 of 4 and 8 bits unless a board says otherwise."""

    method: ClassVar[str] = "ilmpq"

    ratio: Shares = (0, 95, 5)

    def board_shares(self, board: str) -> Shares:
        """Return the ratio that keeps the board's DSPs equally busy."""
        from l4edge_compression.quantization import boards

        return shares_of(boards.ilmpq_ratio(board))
