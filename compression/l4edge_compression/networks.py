"""Networks by name: those of this project, those of public checkpoints, and a user's own."""

import importlib
import sys
from collections.abc import Callable
from pathlib import Path

from torch import nn

from l4edge_perception.errors import InputError

NAMED = {
    "resnet18": "l4edge_perception.models.resnet:resnet18",
    "resnet20": "l4edge_perception.models.resnet:resnet20",
    "resnet50": "l4edge_perception.models.resnet:resnet50",
    "mobilenet_v2": "l4edge_perception.models.mobilenet:mobilenet_v2",
    "deit_tiny": "l4edge_perception.models.vision_transformer:deit_tiny",
    "deit_small": "l4edge_perception.models.vision_transformer:deit_small",
    "deit_base": "l4edge_perception.models.vision_transformer:deit_base",
}
"""Name: where the function is that makes the network, given ``class_count``."""


def make_network(name: str, class_count: int, weights: Path | None = None) -> nn.Module:
    """A network in evaluation mode.

    Args:
        name: a key of ``NAMED``, or ``MODULE:FUNCTION`` of the caller's own (also from the current folder); the
            function takes no arguments, or the number of classes.
        class_count: how many classes the network tells apart.
        weights: a checkpoint for a named network; without it weights are as the function made them.

    Raises:
        InputError: no such network, or a checkpoint that does not fit it.
    """
    if name in NAMED:
        network = _function(NAMED[name])(class_count)
    elif ":" in name:
        network = _own(name, class_count)
    else:
        known = ", ".join(NAMED)
        raise InputError(f"--model {name}: not known; give {known}, MODULE:FUNCTION, or the folder of a model package")
    if weights is not None:
        from l4edge_perception.models.checkpoints import load_weights

        load_weights(network, weights)
    elif name in NAMED:
        raise InputError(f"--model {name}: random weights are not worth compressing; name a checkpoint with --weights")
    return network.eval()


def _own(name: str, class_count: int) -> nn.Module:
    if "" not in sys.path:
        sys.path.insert(0, "")
    make = _function(name)
    try:
        network = make() if not make.__code__.co_argcount else make(class_count)
    except Exception as error:  # a user's code may raise anything
        raise InputError(f"--model {name}: the function failed: {type(error).__name__}: {error}") from error
    if not isinstance(network, nn.Module):
        raise InputError(f"--model {name}: gave {type(network).__name__}, not a torch.nn.Module")
    return network


def _function(name: str) -> Callable[..., nn.Module]:
    module, _, function = name.partition(":")
    try:
        return getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise InputError(f"--model {name}: {error}") from error
