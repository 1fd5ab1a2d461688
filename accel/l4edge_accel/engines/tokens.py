"""Token selection beside the tile engines, as HeatViT (Dong et al., HPCA 2023) has it.

The selector's own layers are small matrix products and run on the tile engines. What is left is here: to choose tokens
by
their score, to gather them so that what follows is dense and shorter, and to fold the others into one packaged token.
How the
gather unit works in detail is this project's own reconstruction: it reads one score per cycle, then copies kept tokens
and adds up the others, one beat per cycle.
"""

import math
from typing import NamedTuple

import numpy as np

from l4edge_accel.configuration import EngineConfig
from l4edge_perception.errors import InputError

PACKAGE_BITS = 16
"""Fraction bits of the weight with which a token enters the packaged one."""


class Selection(NamedTuple):
    """What the selector hands on.

    Attributes:
        tokens: (N, K + 1) int64: the tokens kept, in their order, and the packaged one last.
        kept: (K,) their indices.
    """

    tokens: np.ndarray
    kept: np.ndarray


def select_tokens(activations: np.ndarray, scores: np.ndarray, keep: int, always: int = 1) -> Selection:
    """Keep the tokens of the highest score and package the others, in exact integers.

    Args:
        activations: (N, F) integers.
        scores: (F,) integers from 0 on, the higher the more important; of equals the earlier token is kept.
        keep: tokens kept, K. always: so many first tokens are kept whatever their score (the class token).

    Raises:
        InputError: sizes do not match.
    """
    tokens = activations.shape[1]
    if scores.shape != (tokens,) or not always <= keep <= tokens or (scores < 0).any():
        raise InputError(
            f"tokens: {keep} of {tokens} with {scores.shape} scores; keep {always} to {tokens}, a score from 0 on each"
        )
    ranked = always + np.argsort(-scores[always:], kind="stable")[: keep - always]
    kept = np.sort(np.concatenate([np.arange(always), ranked]))
    others = np.setdiff1d(np.arange(tokens), kept)
    weights = scores[others].astype(np.int64)
    total = int(weights.sum())
    if total:
        sums = activations[:, others].astype(np.int64) @ weights
        # One reciprocal, then a product and a shift per input: what hardware does instead of dividing.
        reciprocal = (1 << PACKAGE_BITS) // total
        package = (sums * reciprocal + (1 << (PACKAGE_BITS - 1))) >> PACKAGE_BITS
    else:
        package = np.zeros(activations.shape[0], np.int64)
    return Selection(np.concatenate([activations[:, kept], package[:, None]], axis=1).astype(np.int64), kept)


def selection_cycles(engine: EngineConfig, inputs: int, tokens: int) -> int:
    """Return the modelled cycles of choosing and gathering: a score per cycle, then each token's beats once."""
    beats = math.ceil(inputs / engine.activations_per_beat)
    return tokens + tokens * beats + PACKAGE_BITS


def selection_bytes(engine: EngineConfig, inputs: int, tokens: int, keep: int) -> int:
    """Return the bytes read and written by the gather: all tokens in, the kept ones and the packaged one out."""
    return math.ceil(inputs * engine.activation_bits / 8) * (tokens + keep + 1)
