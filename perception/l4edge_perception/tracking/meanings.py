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
    """(meanings, N) evidence ``seconds`` later: that on lights fades towards knowing nothing, all zeros."""
    return evidence * np.where(class_ids == STANDS_STILL, 1.0, math.exp(-seconds / LIGHT_MEMORY_S))


def with_sightings(evidence: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Evidence (meanings, N) after a sighting each; a column of zero probabilities says nothing.

    Evidence is log probability relative to the likeliest meaning: 0 for that one, negative for the others.
    """
    read = probabilities.any(axis=0)
    added = evidence + np.where(read, np.log(np.maximum(probabilities, LEAST_PROBABILITY)), 0.0)
    return np.maximum(added - added.max(axis=0), -LONGEST_LEAD)


def probabilities_of(evidence: np.ndarray) -> np.ndarray:
    """(meanings, N) float32 probabilities of evidence; a column of zeros where there is none."""
    if not np.count_nonzero(evidence):
        return np.zeros(evidence.shape, dtype=np.float32)
    shares = np.exp(evidence)
    shares /= shares.sum(axis=0)
    return np.where(evidence.any(axis=0), shares, 0.0).astype(np.float32)


def no_evidence(count: int) -> np.ndarray:
    """(meanings, N) evidence on ``count`` objects of which nothing is known."""
    return np.zeros((len(MEANINGS), count))
