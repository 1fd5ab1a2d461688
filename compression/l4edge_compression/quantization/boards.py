"""Which ratio of formats keeps a board's DSP blocks and logic equally busy.

This model is the project's own reconstruction. RMSMP (ICCV 2021) and ILMPQ (arXiv:2111.00155) publish the ratios of
two boards, but neither their packing of DSP blocks nor the cost of their arithmetic could be obtained. Taken from
sources are: the boards' resources and what FILM-QNN (Sun et al., FPGA 2022, tables 4 and 5) gets out of them, whose
packing and fixed-point rows are the same; and the cost of one multiply-accumulate in logic, synthesised with Yosys for
Xilinx 7-series (``synth_xilinx -nodsp``, dot products of 16, 4-bit activations; not Vivado, take them as +-20 %).

Rows of powers of two run in logic, fixed-point rows of 8 bits in DSP blocks, those of 4 bits in DSP blocks and in logic
that is left. All engines finish a layer together, so a ratio is best when none waits. Figures are modelled, not
measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from l4edge_compression.quantization.rows import Shares, shares_of
from l4edge_perception.errors import InputError

LOGIC_PER_MAC = {"pot4": 27.5, "fixed4": 33.7, "fixed8": 68.4, "sp2_4": 26.7, "pot3": 20.8}
"""Look-up tables for a multiply-accumulate with 4-bit activations, by weight format, synthesised with Yosys 0.70; of
powers of two and their sums with the sign in the adder's carry."""

LOGIC_USED = 0.78
"""Share of the look-up tables that a finished design occupies: FILM-QNN on the XC7Z020 41.3 of 53.2 thousand."""

LOGIC_BESIDE_DSP = 0.53
"""Share that a design occupies whose arithmetic is all in DSP blocks: 51 to 56 % for 4-bit weights in FILM-QNN."""

HIGH_SHARE = 0.05
"""Of 8-bit rows, as RMSMP and FILM-QNN have it."""

PUBLISHED_RATIOS: dict[str, tuple[int, int, int]] = {"xc7z020": (60, 35, 5), "xc7z045": (65, 30, 5)}
"""PoT4 : Fixed4 : Fixed8 in percent, as reported of RMSMP's own accelerator."""


@dataclass(frozen=True)
class Board:
    """What a board's programmable logic offers.

    Attributes:
        name: of the chip or board, lower case.
        dsps: DSP blocks on it.
        luts: look-up tables on it.
        clock_mhz: of the accelerator.
        dsps_used: share of the DSP blocks that a finished design occupies.
        macs_per_dsp: multiply-accumulates of 4-bit weights in each of those and each cycle; 8-bit weights get half.
        efficiency: achieved share of the peak on ResNet-18.
    """

    name: str
    dsps: int
    luts: int
    clock_mhz: float
    dsps_used: float
    macs_per_dsp: float
    efficiency: float

    @property
    def dsp_macs(self) -> float:
        """Multiply-accumulates of 4-bit weights a cycle in DSP blocks."""
        return self.dsps * self.dsps_used * self.macs_per_dsp

    @property
    def free_luts(self) -> float:
        """Look-up tables left for arithmetic beside a design that fills the DSP blocks."""
        return self.luts * (LOGIC_USED - LOGIC_BESIDE_DSP)


BOARDS: dict[str, Board] = {
    board.name: board
    for board in (
        # FILM-QNN: 208 of 220 DSP blocks used; 144 GOPS peak on them at 4 bits; 100.6 of 201.6 GOPS on ResNet-18.
        Board("xc7z020", 220, 53_200, 100, 0.95, 3.44, 0.50),
        # Size by the vendor's product table (DS190); clock and use as on the XC7Z020, whose DSP blocks are the same.
        Board("xc7z045", 900, 218_600, 100, 0.95, 3.44, 0.50),
        # FILM-QNN: 2092 of 2520; 2458 GOPS peak on DSP blocks; 778.9 of 2611 GOPS on ResNet-18.
        Board("zcu102", 2520, 274_100, 150, 0.83, 3.96, 0.30),
    )
}


def board_of(name: str) -> Board:
    """Return a board by its name.

    Raises:
        InputError: there is no model of it.
    """
    try:
        return BOARDS[name.lower()]
    except (KeyError, AttributeError) as error:
        raise InputError(f"board {name!r}: unknown; use one of {', '.join(BOARDS)}, or give a ratio") from error


def macs_per_cycle(board: Board, ratio: Sequence[float], packed: bool = True) -> float:
    """Return the multiply-accumulates a cycle at the peak when all engines finish a layer together.

    Args:
        board: the board.
        ratio: shares of (PoT4, Fixed4, Fixed8) rows.
        packed: whether DSP blocks do several multiplications at once, as in FILM-QNN; otherwise one each.

    Raises:
        InputError: the ratio is unusable.
    """
    low, middle, high = shares_of(ratio)
    blocks = board.dsps * board.dsps_used
    fours = board.macs_per_dsp if packed else 1.0
    eights = board.macs_per_dsp / 2 if packed else 1.0
    # Seconds of a resource for one unit of work, with a share `moved` of the 4-bit rows in logic.
    def busiest(moved: float) -> tuple[float, float]:
        dsp = ((middle - moved) / fours + high / eights) / blocks
        logic = (low * LOGIC_PER_MAC["pot4"] + moved * LOGIC_PER_MAC["fixed4"]) / board.free_luts
        return dsp, logic

    least, most = 0.0, middle
    for _ in range(60):  # halving: DSP time falls and logic time rises with what is moved
        between = (least + most) / 2
        dsp, logic = busiest(between)
        least, most = (between, most) if dsp > logic else (least, between)
    return 1 / max(busiest((least + most) / 2))


def modelled_gops(board: Board, ratio: Sequence[float], efficiency: float | None = None, packed: bool = True) -> float:
    """Return modelled 10^9 operations a second, two for each multiply-accumulate, on a network like ResNet-18.

    Args:
        board: the board.
        ratio: shares of (PoT4, Fixed4, Fixed8) rows.
        efficiency: share of the peak that is achieved; the board's own if None.
        packed: see :func:`macs_per_cycle`.
    """
    share = board.efficiency if efficiency is None else efficiency
    return 2 * macs_per_cycle(board, ratio, packed) * board.clock_mhz / 1000 * share


def rmsmp_ratio(name: str, high: float = HIGH_SHARE, packed: bool = True) -> Shares:
    """Return the shares of (PoT4, Fixed4, Fixed8) rows with the highest throughput, in whole percent.

    Of ratios that are equally fast, that with fewer rows of powers of two is taken: they cost accuracy. Without packing
    there are fewer multiplications in DSP blocks, and more rows belong in logic; the published ratios lie between.

    Raises:
        InputError: unknown board, or a share of high rows beyond 0 to 1.
    """
    board = board_of(name)
    if not 0 <= high <= 1:
        raise InputError(f"board {name}: {high} is no share of high rows; give one from 0 to 1")
    choices = [(low / 100, 1 - high - low / 100, high) for low in range(int((1 - high) * 100 + 1e-9) + 1)]
    choices = [(low, max(0.0, middle), eight) for low, middle, eight in choices]
    best = max(choices, key=lambda ratio: (round(macs_per_cycle(board, ratio, packed), 3), -ratio[0]))
    return shares_of([round(share, 6) for share in best])


def ilmpq_ratio(name: str, high: float = HIGH_SHARE) -> Shares:
    """Return (0, Fixed4, Fixed8) for a board: the share of 8-bit rows is for accuracy, all boards run it in DSP blocks.

    Raises:
        InputError: as :func:`rmsmp_ratio`.
    """
    board_of(name)
    if not 0 <= high <= 1:
        raise InputError(f"board {name}: {high} is no share of high rows; give one from 0 to 1")
    return shares_of([0.0, 1 - high, high])


def ratio_for_board(name: str) -> Shares:
    """Return the shares of (PoT4, Fixed4, Fixed8) rows that suit a board; :func:`rmsmp_ratio` with its defaults."""
    return rmsmp_ratio(name)
