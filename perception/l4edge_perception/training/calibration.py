"""Scores that read as probabilities.

A network trained to score its boxes' overlap ranks them well, but 0.5 then does not mean "right every other time",
which is what tracking wants to read. Platt's scaling (Platt 1999, "Probabilistic outputs for support vector machines")
per class repairs that without changing any ranking within a class, and folds into the last convolutions.
"""

import copy
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from l4edge_perception.metrics.detection import judged
from l4edge_perception.models.detector import DetectorNetwork
from l4edge_perception.types import Detections, GroundTruth


class Scaling(NamedTuple):
    """New logit = gain * logit + offset, per class, (C,) each."""

    gains: np.ndarray
    offsets: np.ndarray


def fit_scaling(found: Sequence[Detections], truths: Sequence[GroundTruth], class_count: int) -> Scaling:
    """The scaling that makes scores of these detections most likely; a class seen too rarely keeps its own."""
    scores, class_ids, right = [], [], []
    for detections, truth in zip(found, truths, strict=True):
        counted, is_right = judged(detections, truth)
        scores.append(counted.scores)
        class_ids.append(counted.class_ids)
        right.append(is_right)
    all_scores = np.clip(np.concatenate(scores).astype(np.float64), 1e-6, 1 - 1e-6)
    logits = np.log(all_scores / (1 - all_scores))
    classes, labels = np.concatenate(class_ids), np.concatenate(right)
    gains, offsets = np.ones(class_count), np.zeros(class_count)
    for index in range(class_count):
        chosen = classes == index
        gains[index], offsets[index] = _logistic_fit(logits[chosen], labels[chosen])
    return Scaling(gains, offsets)


def _logistic_fit(logits: np.ndarray, labels: np.ndarray, least: int = 20, steps: int = 50) -> tuple[float, float]:
    """Gain and offset of greatest likelihood, by Newton's method; (1, 0) where there is too little to go by."""
    if min(labels.sum(), (~labels).sum()) < least:
        return 1.0, 0.0
    inputs = np.stack([logits, np.ones_like(logits)], axis=1)
    weights = np.array([1.0, 0.0])
    for _ in range(steps):
        predicted = 1 / (1 + np.exp(-inputs @ weights))
        # A prior as strong as one detection around "as it is" keeps the step finite where classes separate.
        gradient = inputs.T @ (predicted - labels) + (weights - (1.0, 0.0))
        curvature = (inputs * (predicted * (1 - predicted))[:, None]).T @ inputs + np.eye(2)
        change = np.linalg.solve(curvature, gradient)
        weights = weights - change
        if np.abs(change).max() < 1e-9:
            break
    gain, offset = (float(value) for value in weights)
    return (gain, offset) if gain > 0 else (1.0, 0.0)


def scaled(network: DetectorNetwork, scaling: Scaling) -> DetectorNetwork:
    """A copy of a network whose class logits are scaled."""
    result = copy.deepcopy(network)
    count = network.config.class_count
    gains = torch.as_tensor(scaling.gains, dtype=torch.float32)
    offsets = torch.as_tensor(scaling.offsets, dtype=torch.float32)
    with torch.no_grad():
        for name, parameter in result.outputs.named_parameters():
            # Per part of a cell: four rows for the box, then one per class.
            rows = parameter.unflatten(0, (-1, 4 + count))[:, 4:]
            if name.endswith("bias"):
                rows.mul_(gains).add_(offsets)
            else:
                rows.mul_(gains[:, None, None, None])
    return result
