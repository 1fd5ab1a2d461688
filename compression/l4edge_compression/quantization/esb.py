"""Elastic significant bits (ESB): number formats between powers of two and fixed point, and how they are aligned.

A format (b, k) has b bits, k of them significant (the mantissa without its hidden one): sign, e = b - 1 - k exponent
bits, 1 to 4 of them, and k mantissa bits, with numbers below 1 evenly spaced. Gong et al., "Elastic Significant Bit
Quantization and Acceleration for Deep Neural Networks", IEEE TPDS 33(11), 2022, arXiv:2109.03513; the format and the
constants are those of the author's published code (github.com/GongCheng1919/autoqnn-pytorch, MIT licence).

Two things are this project's own: formats without sign for activations behind ReLU, and the alignment of real tensors.
Means are not subtracted (the published code may), so that zero stays zero.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from l4edge_compression.quantization.expectation import Distribution, expected_error
from l4edge_compression.quantization.formats import LevelSet
from l4edge_compression.quantization.minima import Minimum, SampledError, local_minima
from l4edge_perception.errors import InputError

if TYPE_CHECKING:
    import torch
    from numpy.typing import ArrayLike, NDArray

Reference = Literal["normal", "half_normal", "data"]
Granularity = Literal["tensor", "channel"]

MOST_EXPONENT_BITS = 4
SAME_ERROR = 1e-9
"""Relative difference below which two errors are equal, and the format with the smaller multiplier is taken."""


@dataclass(frozen=True)
class ElasticFormat:
    """One (b, k) format.

    Attributes:
        bits: b, of a stored code.
        significant: k.
        signed: with a sign bit (weights); without it, the bit goes to the exponent, e = b - k (activations).
        formula: what a signed format with one exponent bit is: by the general formula fixed point with a zero, or as
            in the published code an offset uniform grid, 0.5, 1.5, ... on either side, without a zero.
    """

    bits: int
    significant: int
    signed: bool = True
    formula: bool = False

    def __post_init__(self) -> None:
        bits = max(2, min(9, self.bits))
        least, most = _significant_range(bits, self.signed)
        if bits != self.bits or not least <= self.significant <= most:
            raise InputError(
                f"ESB format ({self.bits},{self.significant}): there is no such format; take 2 to 9 bits, of which "
                f"{least} to {most} significant for {bits} bits"
            )

    @property
    def exponent_bits(self) -> int:
        """How many bits are left for the exponent."""
        return self.bits - int(self.signed) - self.significant

    @property
    def midrise(self) -> bool:
        """Whether the levels are the offset uniform grid of the published code."""
        return self.signed and self.exponent_bits == 1 and not self.formula

    @property
    def largest_exponent(self) -> int:
        """N = 2^e - 2, the exponent of the largest numbers."""
        return 2**self.exponent_bits - 2

    @property
    def largest_value(self) -> float:
        """The largest value c = 2^(N+1) - 2^(N-k), in units of the published alpha."""
        if self.midrise:
            return 2 ** (self.bits - 1) - 0.5
        return 2.0 ** (self.largest_exponent + 1) - 2.0 ** (self.largest_exponent - self.significant)

    @property
    def name(self) -> str:
        """Such as ``esb(5,2)``; ``uesb`` without sign, ``_formula`` where that makes a difference."""
        suffix = "_formula" if self.formula and self.signed and self.exponent_bits == 1 else ""
        return f"{'' if self.signed else 'u'}esb({self.bits},{self.significant}){suffix}"

    @property
    def unit(self) -> int:
        """The integer that stands for the value 1."""
        return 2 if self.midrise else 2**self.significant

    def level_set(self) -> LevelSet:
        """Return the levels as integers, values times :attr:`unit`: 2^b - 1 of them with a zero, else 2^b."""
        if self.midrise:
            magnitudes = list(range(1, 2**self.bits, 2))
        else:
            mantissas = range(2**self.significant)
            magnitudes = [
                mantissa if exponent == 0 else (2**self.significant + mantissa) << (exponent - 1)
                for exponent in range(self.largest_exponent + 2) for mantissa in mantissas
            ]
        signs = (1, -1) if self.signed else (1,)
        integers = tuple(sorted({sign * magnitude for sign in signs for magnitude in magnitudes}))
        return LevelSet(self.name, self.bits, integers)

    def shift_and_round(self, values: ArrayLike) -> NDArray[np.float64]:
        """Return values on the grid, computed as hardware does: exponent, shift, round half to even, clip.

        The same as projecting onto :meth:`level_set`, but for ties of the offset grid, which the published code rounds
        half to even and the projection towards zero.
        """
        numbers = np.asarray(values, np.float64)
        if self.midrise:
            rounded = np.rint(numbers - 0.5) + 0.5
        else:
            exponents = np.clip(np.frexp(np.abs(numbers))[1] - 1, 0, self.largest_exponent)
            steps = np.ldexp(1.0, exponents - self.significant)
            rounded = np.rint(numbers / steps) * steps
        return np.clip(rounded, -self.largest_value if self.signed else 0.0, self.largest_value)


def _significant_range(bits: int, signed: bool) -> tuple[int, int]:
    most = bits - 1 - int(signed)
    return max(0, most + 1 - MOST_EXPONENT_BITS), most


def named_format(name: str) -> ElasticFormat:
    """Return the format of a name such as ``esb(5,2)``.

    Raises:
        InputError: the name is none, or there is no such format.
    """
    match = re.fullmatch(r"(u?)esb\((\d+),(\d+)\)(_formula)?", name)
    if match is None:
        raise InputError(f"ESB format {name!r}: unknown; write esb(bits,significant) such as esb(5,2)")
    return ElasticFormat(int(match[2]), int(match[3]), signed=not match[1], formula=bool(match[4]))


def candidates(bits: int, signed: bool = True, largest: int | None = None) -> tuple[ElasticFormat, ...]:
    """Return the formats of so many bits, few significant bits first.

    Args:
        bits: 2 to 9.
        signed: for weights.
        largest: leave out formats with a larger integer, such as 127 for weights that shall be exported.

    Raises:
        InputError: there is no format of so many bits.
    """
    if not 2 <= bits <= 9:
        raise InputError(f"ESB: there are no formats of {bits} bits; take 2 to 9")
    least, most = _significant_range(bits, signed)
    formats = (ElasticFormat(bits, significant, signed) for significant in range(least, most + 1))
    return tuple(each for each in formats if largest is None or each.level_set().largest <= largest)


@functools.lru_cache(maxsize=128)
def align(elastic: ElasticFormat, distribution: Distribution = "normal") -> tuple[Minimum, ...]:
    """Align a format with a standard distribution (the paper's distribution difference aligner), least error first.

    Signed formats on N(0, 1), those without sign on its magnitudes. Formats of many exponent bits have a local minimum
    for nearly every doubling of alpha. The error is in closed form; see ``expectation.py``. Alpha is the published one:
    what the value 1 stands for, in standard deviations.

    Raises:
        InputError: a signed format with the half-normal distribution, or the other way round.
    """
    if (distribution == "normal") != elastic.signed:
        kind = "signed" if elastic.signed else "unsigned"
        raise InputError(f"ESB alignment: {distribution} does not go with the {kind} format {elastic.name}")
    levels = elastic.level_set()
    return _search(lambda alphas: expected_error(levels, alphas * elastic.largest_value), elastic, 4.0)


def align_samples(elastic: ElasticFormat, numbers: ArrayLike) -> tuple[Minimum, ...]:
    """Align a format with the numbers of a tensor, least error first; all local minima to within the search grid.

    Args:
        elastic: the format.
        numbers: any shape, finite, not all zero.

    Returns:
        Minima, alpha and error relative to the root mean square and the mean square of the numbers.

    Raises:
        InputError: there are no such numbers.
    """
    flat = np.asarray(numbers, np.float64).ravel()
    power = float(np.mean(flat**2)) if flat.size else 0.0
    if not np.isfinite(power) or power == 0:
        raise InputError("ESB alignment: the tensor is empty, all zero or not finite; check the weights")
    levels = elastic.level_set()
    signed = np.abs(flat) if elastic.signed else np.maximum(flat, 0)
    lost = power - float(np.mean(signed**2))  # what lies below zero becomes zero
    magnitudes = signed / np.sqrt(power)
    error = SampledError(magnitudes, levels, lost / power)
    reach = 1.3 * float(magnitudes.max()) / elastic.largest_value
    return _search(lambda alphas: error(alphas / elastic.unit), elastic, max(4.0, reach))


def _search(
    error: Callable[[NDArray[np.float64]], NDArray[np.float64]], elastic: ElasticFormat, most: float
) -> tuple[Minimum, ...]:
    """Search from where the largest level lies at half a standard deviation on."""
    return local_minima(error, 0.5 / elastic.largest_value, most)


def aligned_scales(rows: torch.Tensor, elastic: ElasticFormat, reference: Reference = "normal") -> torch.Tensor:
    """Return what the largest level of a format stands for in each row.

    Args:
        rows: (rows, n) finite; one row for a scale of the whole tensor, a row for each channel otherwise.
        elastic: the format.
        reference: align with N(0, 1), the half-normal distribution, or each row's own numbers (``data``).

    Returns:
        (rows,) positive scales, alpha times :attr:`ElasticFormat.largest_value`. With ``half_normal`` the zeros of a
        row do not count in its root mean square: behind ReLU they are many, and every format has them.
    """
    from l4edge_compression.quantization import scales

    levels = elastic.level_set()
    if reference == "data":
        return scales.least_error_scales(rows if elastic.signed else rows.clamp(min=0), levels)
    alpha = align(elastic, reference)[0].alpha
    exact = rows.double() if elastic.signed else rows.double().clamp(min=0)
    count = (exact > 0).sum(dim=1).clamp(min=1) if reference == "half_normal" else exact.shape[1]
    deviations = ((exact**2).sum(dim=1) / count).sqrt().to(rows.dtype)
    return scales.positive(deviations * (alpha * elastic.largest_value), levels)


def choose_format(
    weight: torch.Tensor,
    bits: int,
    reference: Reference = "data",
    per: Granularity = "channel",
    signed: bool = True,
    largest: int | None = None,
    name: str = "weight",
) -> tuple[ElasticFormat, torch.Tensor]:
    """Return the format of so many bits with the least squared error on a tensor once aligned, and its scales.

    Of formats with the same error, that with fewer significant bits is taken: its multiplier is smaller.

    Args:
        weight: (rows, ...).
        bits: 2 to 9.
        reference: what to align with, see :func:`aligned_scales`.
        per: one scale for the ``tensor`` or one for each ``channel`` (row).
        signed: False for activations behind ReLU.
        largest: see :func:`candidates`.
        name: of the layer, for messages.

    Returns:
        The format, and (rows,) scales, of equal values for ``tensor``.

    Raises:
        InputError: the weight is unusable, or no format fits.
    """
    from l4edge_compression.quantization import scales

    matrix = scales.as_rows(weight, name)
    rows = matrix.reshape(1, -1) if per == "tensor" else matrix
    best: tuple[float, ElasticFormat, torch.Tensor] | None = None
    for elastic in candidates(bits, signed, largest):
        alphas = aligned_scales(rows, elastic, reference)
        error = float(scales.squared_errors(rows, elastic.level_set(), alphas).sum())
        if best is None or error < best[0] * (1 - SAME_ERROR):
            best = error, elastic, alphas
    if best is None:
        raise InputError(f"{name}: no ESB format of {bits} bits has integers up to {largest}; use other bits")
    return best[1], best[2].expand(len(matrix)).clone()
