"""How many rows of each format a board carries: the ratio that RMSMP and ILMPQ take from the hardware.

FILM-QNN (section 5) fills DSPs first and then what is left of the LUTs; RMSMP's ratio of PoT to fixed-point rows
follows from the same division. How rows are counted here is this project's own reconstruction: fixed-point rows go to
DSPs, the asked share of all rows with 8 bits, and PoT rows to LUTs, until either is used up. All rows of a tile finish
together, so the ratio of rows is the ratio of a layer's rows that keeps every core busy.
"""

from dataclasses import dataclass
from typing import Optional, Tuple

from l4edge_accel.configuration import EngineConfig, RowGroup
from l4edge_accel.resources import Resources, array_resources
from l4edge_perception.errors import InputError


@dataclass(frozen=True)
class BoardRatio:
    """Rows per tile of PoT4 on LUTs, fixed4 and fixed8 on DSPs, and what the array of them occupies (modelled)."""

    pot4: int
    fixed4: int
    fixed8: int
    engine: EngineConfig
    resources: Resources

    @property
    def shares(self) -> Tuple[float, float, float]:
        """PoT4 : fixed4 : fixed8, adding up to 1."""
        total = self.pot4 + self.fixed4 + self.fixed8
        return self.pot4 / total, self.fixed4 / total, self.fixed8 / total


def board_ratio(
    luts: float, dsps: int, inputs: int, activation_bits: int = 8, eight_bit_share: float = 0.05,
    packing: Tuple[int, int] = (1, 1), lanes: int = 1,
) -> BoardRatio:
    """Return the most rows that fit, PoT4 on LUTs beside fixed point on DSPs.

    Args:
        luts, dsps: what the array may take of a board.
        inputs: Tn. lanes: Tf.
        eight_bit_share: of all rows, at least this part has 8 bits.
        packing: products per DSP of fixed4 and of fixed8.

    Raises:
        InputError: not even one row of each fits.
    """
    best: Optional[BoardRatio] = None
    total = 3
    while True:
        found = _rows(total, luts, dsps, inputs, activation_bits, eight_bit_share, packing, lanes)
        if found is None:
            break
        best = found
        total += 1
    if best is None:
        raise InputError(
            f"board ratio: no tile with {inputs} inputs fits {luts:.0f} LUTs and {dsps} DSPs; use fewer inputs"
        )
    return best


def _rows(
    total: int, luts: float, dsps: int, inputs: int, activation_bits: int, share: float, packing: Tuple[int, int],
    lanes: int,
) -> Optional[BoardRatio]:
    eight = max(1, -int(-total * share // 1))
    width = inputs * lanes
    left = dsps - eight * width / packing[1]
    four = min(total - eight - 1, int(left * packing[0] // width))
    pot = total - eight - four
    if left < 0 or four < 1 or pot < 1:
        return None
    groups = (
        RowGroup("pot4", pot), RowGroup("fixed4", four, "dsp", packing[0]),
        RowGroup("fixed8", eight, "dsp", packing[1]),
    )
    engine = EngineConfig("mixed", groups, inputs, lanes, activation_bits, accumulator_bits=32)
    resources = array_resources(engine)
    return BoardRatio(pot, four, eight, engine, resources) if resources.luts <= luts else None
