"""Number formats of weights as hardware stores them: bit patterns (codes) and the integers they stand for.

Binary weights as in VAQF (Sun et al. 2022): code 1 is +1, code 0 is -1. Fixed point is two's complement. Powers of two
(PoT, as in RMSMP and Auto-ViT-Acc) are a sign and an exponent, exponent 0 meaning zero. Elastic significant bits (ESB,
Gong et al. 2022) are a sign, an exponent and a mantissa with subnormals; how the fields are laid out in a code is this
project's own reconstruction.
"""

import re
from dataclasses import dataclass
from typing import Dict, Tuple

import numpy as np

from l4edge_perception.errors import InputError

BINARY, FIXED, POWER_OF_TWO, ELASTIC = "binary", "fixed", "pot", "esb"
KINDS = (BINARY, FIXED, POWER_OF_TWO, ELASTIC)
"""The order is the number that the RTL knows a kind by."""


@dataclass(frozen=True)
class NumberFormat:
    """How a weight is stored.

    Attributes:
        name: for example ``fixed4`` or ``esb(5,2)``; :func:`number_format` finds the format by it.
        bits: of one code.
        kind: one of ``KINDS``.
        significant: mantissa bits of an elastic format, else 0.
    """

    name: str
    bits: int
    kind: str
    significant: int = 0

    @property
    def exponent_bits(self) -> int:
        """Bits of a code that hold an exponent."""
        return self.bits - 1 - self.significant if self.kind in {POWER_OF_TWO, ELASTIC} else 0

    @property
    def largest_shift(self) -> int:
        """The most that a multiplier of this format shifts a product to the left."""
        if self.kind == POWER_OF_TWO:
            return 2**self.exponent_bits - 2
        return max(0, 2**self.exponent_bits - 2) if self.kind == ELASTIC else 0

    def integers(self, codes: np.ndarray) -> np.ndarray:
        """Return what codes stand for: int64 of the same shape. Codes are unsigned, below 2^bits."""
        codes = np.asarray(codes, np.int64)
        if self.kind == BINARY:
            return 2 * codes - 1
        if self.kind == FIXED:
            return np.where(codes >= 2 ** (self.bits - 1), codes - 2**self.bits, codes)
        sign = codes >> (self.bits - 1)
        exponent = (codes >> self.significant) & (2**self.exponent_bits - 1)
        mantissa = codes & (2**self.significant - 1)
        hidden = 1 << self.significant
        magnitude = np.where(exponent == 0, mantissa, (hidden + mantissa) << np.maximum(exponent - 1, 0))
        return np.where(sign == 1, -magnitude, magnitude)

    def codes(self, integers: np.ndarray) -> np.ndarray:
        """Return the codes of integers: int64 of the same shape; zero gets the code 0 where two codes mean zero.

        Raises:
            InputError: an integer that the format does not hold.
        """
        integers = np.asarray(integers, np.int64)
        # Of two codes for zero the lower one is written last.
        everything = np.arange(2**self.bits, dtype=np.int64)[::-1]
        values = self.integers(everything)
        least, largest = int(values.min()), int(values.max())
        table = np.full(largest - least + 1, -1, np.int64)
        table[values - least] = everything
        inside = (integers >= least) & (integers <= largest)
        found = np.where(inside, table[np.clip(integers - least, 0, largest - least)], -1)
        if (found < 0).any():
            wrong = int(integers[found < 0].ravel()[0])
            raise InputError(f"weight {wrong}: {self.name} does not hold it; choose a format that does for this row")
        return found

    def holds(self, integers: np.ndarray) -> bool:
        """Whether every one of these integers has a code."""
        try:
            self.codes(integers)
        except InputError:
            return False
        return True

    @property
    def largest_magnitude(self) -> int:
        """The largest magnitude among all codes."""
        return int(np.abs(self.integers(np.arange(2**self.bits))).max())

    def term_bits(self, activation_bits: int) -> int:
        """Bits of a signed product with an activation of that many bits, its sign included, as the RTL keeps it."""
        if self.kind == BINARY:
            return activation_bits
        if self.kind == FIXED:
            return activation_bits + self.bits
        mantissa = self.significant + 1 if self.kind == ELASTIC else 0
        return activation_bits + mantissa + self.largest_shift


NAMED: Dict[str, NumberFormat] = {
    **{f"fixed{bits}": NumberFormat(f"fixed{bits}", bits, FIXED) for bits in range(2, 17)},
    **{f"pot{bits}": NumberFormat(f"pot{bits}", bits, POWER_OF_TWO) for bits in (3, 4)},
    "binary": NumberFormat("binary", 1, BINARY),
}
"""Formats with a fixed name. Elastic ones go by ``esb(bits,significant)``."""

_ELASTIC = re.compile(r"esb\((\d+),(\d+)\)")
ELASTIC_EXPONENT_BITS = (1, 4)


def number_format(name: str) -> NumberFormat:
    """Return the format of this name.

    Raises:
        InputError: no format has this name; the message lists those that exist.
    """
    if name in NAMED:
        return NAMED[name]
    match = _ELASTIC.fullmatch(name) if isinstance(name, str) else None
    if match:
        bits, significant = int(match[1]), int(match[2])
        least, most = ELASTIC_EXPONENT_BITS
        # One exponent bit is plain fixed point by the formula, and the author's code means another grid by it.
        if least < bits - 1 - significant <= most and significant >= 1:
            return NumberFormat(name, bits, ELASTIC, significant)
        raise InputError(
            f"number format {name!r}: needs 2 to {most} exponent bits (bits - 1 - significant) and significant >= 1"
        )
    known = ", ".join(NAMED)
    raise InputError(f"number format {name!r}: unknown; use one of {known}, or esb(bits,significant) such as esb(5,2)")


BENCHED: Tuple[str, ...] = ("binary", "fixed4", "fixed8", "pot4", "esb(4,1)", "esb(5,2)", "esb(6,3)")
"""The formats whose RTL is compared with these integers, each by itself and together as rows of one tile."""
