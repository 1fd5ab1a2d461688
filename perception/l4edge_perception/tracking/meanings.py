"""What a sign means or a light shows, from all its sightings together.

Sightings are taken as independent: their log probabilities add up. What a sign means does not change, so all count
alike. A light changes, so what was seen is forgotten with a time constant.
"""

import math

import numpy as np

from l4edge_perception.types import MEANINGS, OBJECT_CLASSES

LEAST_PROBABILITY = 0.01
"""No single sighting says less of a meaning than this."""

LONGEST_LEAD = 12.0
"""How far, in log probability, a meaning may fall behind the likeliest: so many sightings of the contrary bring it
back, however long something else was seen."""

LIGHT_MEMORY_S = 0.4
"""Time constant with which sightings of a light are forgotten."""

STANDS_STILL = OBJECT_CLASSES.index("sign")


def forgotten(evidence: np.ndarray, class_ids: np.ndarray, seconds: float) -> np.ndarray:
    """(N, meanings) evidence ``seconds`` later: that on lights fades towards knowing nothing, all zeros."""
    keep = np.where(class_ids == STANDS_STILL, 1.0, math.exp(-seconds / LIGHT_MEMORY_S))
    return evidence * keep[:, None]


def with_sightings(evidence: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Evidence (N, meanings) after a sighting each; a row of zero probabilities says nothing.

    Evidence is log probability relative to the likeliest meaning: 0 for that one, negative for the others.
    """
    read = np.any(probabilities, axis=1, keepdims=True)
    added = evidence + np.where(read, np.log(np.maximum(probabilities, LEAST_PROBABILITY)), 0.0)
    return np.maximum(added - added.max(axis=1, keepdims=True), -LONGEST_LEAD)


def probabilities_of(evidence: np.ndarray) -> np.ndarray:
    """(N, meanings) float32 probabilities of evidence; a row of zeros where there is none."""
    shares = np.exp(evidence)
    shares /= shares.sum(axis=1, keepdims=True)
    return np.where(np.any(evidence, axis=1, keepdims=True), shares, 0.0).astype(np.float32)


def no_evidence(count: int) -> np.ndarray:
    """Of ``count`` objects nothing is known."""
    return np.zeros((count, len(MEANINGS)))
