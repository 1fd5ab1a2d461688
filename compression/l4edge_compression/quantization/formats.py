"""Number formats of weights and activations as sets of integers, and the projection onto them.

Every format is a set of integers times a scale: the level is ``alpha * integer / largest``. So one int8 tensor with one
step per row holds fixed-point rows, power-of-two rows and all others side by side, without loss.

Sources: fixed point and power of two as in FILM-QNN (Sun et al., FPGA 2022, section 3.1) and Auto-ViT-Acc (DAC 2022);
the sums of powers of two (SP2, 4 bits) and the least exponent of PoT4 are this project's reading of Mix and Match
(Chang et al., HPCA 2021); the levels of ``apot4`` are those of the published code of APoT (Li et al., ICLR 2020).
"""

from __future__ import annotations

import functools
import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from l4edge_perception.errors import InputError

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

Rounding = Literal["nearest", "log2"]

EXPORTABLE = 127
"""The largest integer that an int8 weight of an exported graph holds."""


@dataclass(frozen=True)
class LevelSet:
    """The integers that codes of a format stand for.

    Attributes:
        name: for example ``fixed4``; :func:`level_set` finds the set by it.
        bits: of one stored code.
        integers: ascending; of weights symmetric about zero, of unsigned activations from zero on.
    """

    name: str
    bits: int
    integers: tuple[int, ...]

    @property
    def largest(self) -> int:
        """The integer that the scale alpha itself is coded as."""
        return self.integers[-1]

    @property
    def signed(self) -> bool:
        """Whether there are negative levels."""
        return self.integers[0] < 0

    @property
    def magnitudes(self) -> tuple[int, ...]:
        """The integers from zero on, ascending."""
        return tuple(integer for integer in self.integers if integer >= 0)

    @property
    def uniform(self) -> bool:
        """Whether the levels are all integers up to the largest, so that rounding finds the nearest."""
        return self.magnitudes == tuple(range(self.largest + 1))

    @property
    def power_of_two(self) -> bool:
        """Whether every level but zero is a power of two, and there is a zero."""
        first, *others = self.magnitudes
        return first == 0 and all(integer & (integer - 1) == 0 for integer in others)

    @property
    def has_zero(self) -> bool:
        """Whether zero is a level; binary and mid-rise sets have none."""
        return 0 in self.integers

    @property
    def exportable(self) -> bool:
        """Whether an int8 tensor holds the integers."""
        return self.largest <= EXPORTABLE


def _symmetric(name: str, bits: int, magnitudes: set[int]) -> LevelSet:
    return LevelSet(name, bits, tuple(sorted(magnitudes | {-magnitude for magnitude in magnitudes})))


def fixed(bits: int) -> LevelSet:
    """Return symmetric fixed point: 2^bits - 1 levels from -(2^(bits-1) - 1) on, zero among them."""
    return _symmetric(f"fixed{bits}", bits, set(range(2 ** (bits - 1))))


def power_of_two(bits: int) -> LevelSet:
    """Return powers of two and zero: 2^bits - 1 levels, the largest 2^(2^(bits-1) - 2)."""
    return _symmetric(f"pot{bits}", bits, {0} | {2**exponent for exponent in range(2 ** (bits - 1) - 1)})


def _sums(name: str, first: tuple[int, ...], second: tuple[int, ...]) -> LevelSet:
    return _symmetric(name, 4, {one + other for one in first for other in second})


LEVEL_SETS: dict[str, LevelSet] = {
    levels.name: levels
    for levels in (
        *(fixed(bits) for bits in range(2, 9)),
        power_of_two(3),
        power_of_two(4),
        _sums("sp2_4", (0, 1, 2, 4), (0, 4)),  # eighths: {0, 1/8, 1/4, 1/2} + {0, 1/2}; 1/2 comes twice
        _sums("apot4", (0, 1, 4, 8), (0, 2)),  # sixteenths: {0, 1/16, 1/4, 1/2} + {0, 1/8}, the largest 10/16
        LevelSet("binary", 1, (-1, 1)),
    )
}
"""Sets with a fixed name. Elastic significant bits go by ``esb(bits,significant)``; see ``esb.py``."""

_ELASTIC = re.compile(r"u?esb\(\d+,\d+\)(_formula)?")


def level_set(name: str) -> LevelSet:
    """Return the set of this name.

    Raises:
        InputError: no set has this name; the message lists those that exist.
    """
    if name in LEVEL_SETS:
        return LEVEL_SETS[name]
    if isinstance(name, str) and _ELASTIC.fullmatch(name):
        from l4edge_compression.quantization import esb

        return esb.named_format(name).level_set()
    known = ", ".join(LEVEL_SETS)
    raise InputError(f"number format {name!r}: unknown; use one of {known}, or esb(bits,significant) such as esb(5,2)")


def boundaries(levels: LevelSet, rounding: Rounding = "nearest") -> list[tuple[float, bool]]:
    """Return where, in integers, one magnitude ends and the next begins, and whether a tie goes to the larger one.

    ``nearest`` puts the boundary halfway. A tie goes to the level that is an even multiple of the gap: round half to
    even where levels are uniform, and what shifting and rounding to even gives where they are a floating-point grid. A
    tie with no even multiple goes to the smaller level. ``log2`` rounds the exponent, so the boundary between two
    powers of two is their geometric mean; what rounds to an exponent below the least is zero.

    Raises:
        InputError: ``log2`` for a set that is not of powers of two, or an unknown rounding.
    """
    if rounding not in {"nearest", "log2"}:
        raise InputError(f"rounding {rounding!r}: unknown; use nearest or log2")
    if rounding == "log2" and not levels.power_of_two:
        raise InputError(f"rounding log2: {levels.name} is not made of powers of two; use nearest")
    pairs = zip(levels.magnitudes, levels.magnitudes[1:], strict=False)
    if rounding == "log2":
        return [(upper * math.sqrt(0.5), True) for _, upper in pairs]
    return [((lower + upper) / 2, _upper_is_even(lower, upper)) for lower, upper in pairs]


def _upper_is_even(lower: int, upper: int) -> bool:
    multiple, remainder = divmod(upper, upper - lower)
    return remainder == 0 and multiple % 2 == 0


@functools.lru_cache(maxsize=256)
def _limits(levels: LevelSet, rounding: Rounding, double: bool) -> NDArray[np.floating]:
    """The greatest number that still belongs to each magnitude but the last."""
    kind = np.float64 if double else np.float32
    limits = [
        np.nextafter(kind(limit), kind(0)) if tie_goes_up else kind(limit)
        for limit, tie_goes_up in boundaries(levels, rounding)
    ]
    return np.asarray(limits, kind)


def project(levels: LevelSet, normalized: torch.Tensor, rounding: Rounding = "nearest") -> torch.Tensor:
    """Return the integers of the levels nearest to numbers.

    Args:
        levels: the set.
        normalized: number / alpha, any shape, float; what is beyond -1 to 1 is clipped.
        rounding: ``nearest`` level, or nearest exponent (``log2``, sets of powers of two only).

    Returns:
        Integers as a float tensor of the input's shape and kind. Sets without zero project zero to their least
        positive level. What is not a number stays so where levels are uniform and is not defined elsewhere.
    """
    import torch

    kind = normalized.dtype
    exact = normalized if kind in {torch.float32, torch.float64} else normalized.float()
    scaled = exact * levels.largest
    if levels.uniform and rounding == "nearest":
        least = -levels.largest if levels.signed else 0
        return scaled.round().clamp(least, levels.largest).to(kind)
    if levels.name == "binary":
        return torch.where(scaled < 0, -1.0, 1.0).to(kind)
    limits = torch.from_numpy(_limits(levels, rounding, exact.dtype == torch.float64)).to(exact.device)
    table = torch.tensor(levels.magnitudes, dtype=exact.dtype, device=exact.device)
    if not levels.signed:
        return table[torch.bucketize(scaled.clamp(min=0), limits)].to(kind)
    magnitudes = table[torch.bucketize(scaled.abs().contiguous(), limits)]
    return torch.where(scaled < 0, -magnitudes, magnitudes).to(kind)


def project_array(
    levels: LevelSet, normalized: NDArray[np.floating], rounding: Rounding = "nearest"
) -> NDArray[np.floating]:
    """Do what :func:`project` does, for numpy arrays and without torch; the same bits for the same kind of floats."""
    exact = np.asarray(normalized)
    if exact.dtype not in (np.float32, np.float64):
        exact = exact.astype(np.float32)
    scaled = exact * exact.dtype.type(levels.largest)
    limits = _limits(levels, rounding, exact.dtype == np.float64)
    table = np.asarray(levels.magnitudes, exact.dtype)
    if not levels.signed:
        return table[np.searchsorted(limits, np.maximum(scaled, 0))]
    magnitudes = table[np.searchsorted(limits, np.abs(scaled))]
    return np.where(scaled < 0, -magnitudes, magnitudes)
