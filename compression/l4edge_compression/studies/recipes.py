"""What the study on CIFAR-10 trains: two networks, the methods, and the recipe that all methods of a network share."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from l4edge_compression.api import (
    BinaryConfig,
    EsbConfig,
    FixedConfig,
    IlmpqConfig,
    PotConfig,
    QuantizationConfig,
    RmsmpConfig,
)
from l4edge_perception.errors import InputError
from l4edge_perception.models.resnet import resnet20
from l4edge_perception.models.vision_transformer import VisionTransformer

SCRATCH = "fp32"
"""The method that starts from nothing; all others start from what it left."""

OBSERVED_BATCHES = 8
"""Training batches that activations of binary networks are watched for before they are quantized."""


@dataclass(frozen=True)
class Recipe:
    """How a network is trained.

    Attributes:
        optimizer: ``sgd`` (Nesterov momentum 0.9) or ``adamw``.
        scratch_rate: highest learning rate from random weights, reached after a fifth of the steps.
        tuning_rate: learning rate at the start of training on from a checkpoint.
        weight_decay: of weights; none on biases, normalizations and scales.
        scale_rate: learning rate of learned scales relative to the others'. LSQ's factor makes 1 right for SGD; Adam's
            steps know nothing of a parameter's size.
        largest_gradient: norm to which gradients are cut, 0 for no limit.
    """

    optimizer: str
    scratch_rate: float
    tuning_rate: float
    weight_decay: float
    scale_rate: float
    largest_gradient: float


RECIPES = {
    "resnet20": Recipe("sgd", 0.2, 0.02, 5e-4, 1.0, 0.0),
    "vit": Recipe("adamw", 1.5e-3, 5e-4, 0.05, 0.1, 1.0),
}

VIT = {"image_size": 32, "patch_size": 4, "width": 96, "depth": 4, "heads": 3}
"""The small vision transformer: 64 patches, 460 thousand parameters."""


def make_network(name: str, class_count: int) -> nn.Module:
    """A network of the study with random weights."""
    if name == "vit":
        return VisionTransformer(**VIT, class_count=class_count)
    return resnet20(class_count)


def _binary(bits: int | None, progressive: bool) -> BinaryConfig:
    return BinaryConfig(activation_bits=bits, progressive=progressive, observe_in_training=OBSERVED_BATCHES)


_CONVOLUTIONAL: dict[str, Callable[[int], QuantizationConfig]] = {
    "fixed-w4a4": lambda seed: FixedConfig(seed=seed),
    "pot-w4a4": lambda seed: PotConfig(seed=seed),
    "rmsmp": lambda seed: RmsmpConfig(granularity="row", scale="learned", seed=seed),
    "ilmpq": lambda seed: IlmpqConfig(granularity="row", scale="learned", seed=seed),
    # Activations need no sign: its bit makes one more of them significant, and two remain for the exponent.
    "esb-4-1": lambda seed: EsbConfig(ends="same", bits=4, significant=1, activation_levels=(4, 2), seed=seed),
    "esb-5-2": lambda seed: EsbConfig(ends="same", bits=5, significant=2, activation_levels=(5, 3), seed=seed),
}
_ANY: dict[str, Callable[[int], QuantizationConfig]] = {
    "w8a8-ptq": lambda seed: FixedConfig(weight_bits=8, activation_bits=8, scale="mse", seed=seed),
}
_TRANSFORMER: dict[str, Callable[[int], QuantizationConfig]] = {
    "w1a32": lambda seed: _binary(None, progressive=True),
    "w1a8": lambda seed: _binary(8, progressive=True),
    "w1a6": lambda seed: _binary(6, progressive=True),
    "progressive": lambda seed: _binary(8, progressive=True),
    "one-shot": lambda seed: _binary(8, progressive=False),
}
_METHODS = {"resnet20": {**_CONVOLUTIONAL, **_ANY}, "vit": {**_TRANSFORMER, **_ANY}}

METHODS = (SCRATCH, "fp32-longer", *_CONVOLUTIONAL, *_ANY, *_TRANSFORMER)


def method_config(network: str, method: str, seed: int) -> QuantizationConfig | None:
    """The settings of a method; None for the float ones.

    Raises:
        InputError: the method is not for this network.
    """
    if method in {SCRATCH, "fp32-longer"}:
        return None
    if method not in _METHODS[network]:
        raise InputError(f"--method {method}: not for {network}; use one of {', '.join(_METHODS[network])}")
    return _METHODS[network][method](seed)


def is_trained(method: str) -> bool:
    """Whether a method trains at all; post-training quantization does not."""
    return not method.endswith("-ptq")


def rate(recipe: Recipe, from_scratch: bool, progress: float) -> float:
    """The learning rate at a share 0..1 of all steps: half a cosine down, behind a linear rise when from scratch."""
    if not from_scratch:
        return recipe.tuning_rate * 0.5 * (1 + math.cos(math.pi * progress))
    rise = 0.2
    if progress < rise:
        return recipe.scratch_rate * progress / rise
    return recipe.scratch_rate * 0.5 * (1 + math.cos(math.pi * (progress - rise) / (1 - rise)))
