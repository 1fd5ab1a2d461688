"""Parity over every layer type, every method and whole networks: what ``l4edge bench parity`` prints."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import torch
from torch import nn

from l4edge_compression.api import METHODS, compress_
from l4edge_compression.quantization import layer_graphs
from l4edge_compression.quantization.export import export
from l4edge_compression.quantization.packing import pack
from l4edge_compression.quantization.parity import (
    INTEGER_OPERATORS,
    Count,
    Parity,
    compare,
    compare_arrays,
    make_session,
)
from l4edge_perception.models.mobilenet import mobilenet_v2
from l4edge_perception.models.resnet import resnet18, resnet20
from l4edge_perception.models.vision_transformer import deit_tiny

LEAST_OUTPUTS = 1_000_000
"""How many outputs each kind of layer is compared on."""

GROUPS = ("convolution", "Gemm", "add", "pool")
"""Kinds of layers that this number holds for; a layer type belongs to the one that its name contains."""

NETWORKS: Mapping[str, tuple[Callable[..., nn.Module], int]] = {
    "resnet18": (resnet18, 128),
    "mobilenet_v2": (mobilenet_v2, 96),
    "deit_tiny": (deit_tiny, 224),
}
"""Name, what makes the network, and height and width of its images."""

Say = Callable[[str], None]


def measure(seed: int = 0, quick: bool = False, say: Say = lambda _: None) -> dict[str, Any]:
    """Compare interpreter and onnxruntime.

    Args:
        seed: of all weights and inputs.
        quick: every layer type once, and ResNet-20 as the only network.
        say: is told what is being compared.

    Returns:
        JSON object: ``outputs`` and ``mismatches`` of integer operators, the same by layer type (``operators``), by
        method and by network; ``float_operators`` apart; ``exact``.
    """
    random = np.random.default_rng(seed)
    operators: dict[str, Count] = {}
    methods: dict[str, Count] = {}
    for name, method, layer in _layers(random, quick):
        say(f"{name}, {method}")
        counted = compare(layer.content, [layer.feeds]).outputs
        operators[name] = operators.get(name, Count()) + counted
        if name in layer_graphs.EXACT and name.startswith(("convolution", "Gemm")):
            methods[method] = methods.get(method, Count()) + counted
    networks = {}
    for name, method in _network_runs(quick):
        say(f"{name}, {method}")
        found = compare_network(name, method, seed)
        networks[f"{name} {method}"] = found
        integer = Count(found["outputs"], found["mismatches"], found["largest"])
        methods[method] = methods.get(method, Count()) + integer
    exact = {name: count for name, count in operators.items() if name in layer_graphs.EXACT}
    floats = {name: count for name, count in operators.items() if name not in exact}
    for found in networks.values():
        for kind, values in found["float_operators"].items():
            floats[kind] = floats.get(kind, Count()) + Count(**values)
    total = sum(exact.values(), Count())
    for found in networks.values():
        total += Count(found["outputs"], found["mismatches"], found["largest"])
    return {
        "outputs": total.outputs,
        "mismatches": total.mismatches,
        "exact": total.mismatches == 0,
        "enough": quick or all(_group(exact, group).outputs >= LEAST_OUTPUTS for group in GROUPS),
        "groups": {group: asdict(_group(exact, group)) for group in GROUPS},
        "operators": {name: asdict(count) for name, count in exact.items()},
        "float_operators": {name: asdict(count) for name, count in floats.items()},
        "methods": {name: asdict(count) for name, count in methods.items()},
        "networks": networks,
        "seed": seed,
    }


def _group(counts: Mapping[str, Count], group: str) -> Count:
    return sum((count for name, count in counts.items() if group in name), Count())


def _layers(random: np.random.Generator, quick: bool) -> Iterator[tuple[str, str, layer_graphs.Layer]]:
    """Layer type, method and a graph, until every group has enough outputs."""
    for name, draws in {**layer_graphs.EXACT, **layer_graphs.CLOSE}.items():
        with_weights = name.startswith(("convolution", "Gemm"))
        for method in layer_graphs.FORMATS if with_weights else ("activations",):
            for draw in draws:
                yield name, method, draw(random, method)
    if quick:
        return
    for name, repeats in (("Gemm", 2), ("add", 5), ("max pool", 12), ("average pool", 12), ("global pool", 50)):
        for index in range(repeats):
            for draw in layer_graphs.EXACT[name]:
                methods = list(layer_graphs.FORMATS) if name == "Gemm" else ["activations"]
                method = methods[index % len(methods)]
                yield name, method, draw(random, method)


def _network_runs(quick: bool) -> list[tuple[str, str]]:
    if quick:
        return [("resnet20", "rmsmp")]
    others = [("resnet20", method) for method in METHODS if method != "rmsmp"]
    return [(name, "rmsmp") for name in NETWORKS] + others + [("deit_tiny", "binary")]


def compare_network(name: str, method: str, seed: int) -> dict[str, Any]:
    """Compare a whole network with random weights and random normalizations, calibrated on random images.

    Returns:
        JSON object: outputs and mismatches of its integer operators, of its float operators, of its results where the
        interpreter runs on its own, and what onnxruntime runs.
    """
    torch.manual_seed(seed)
    make, size = NETWORKS.get(name, (resnet20, 32))
    model = randomized(make(10))
    images = torch.randn(2, 3, size, size)
    config = METHODS[method]()
    settings: dict[str, Any] = {"calibration": "absmax", **({"score": "weight"} if hasattr(config, "score") else {})}
    compress_(model, replace(config, **settings), [images])
    made = export(model, images[:1])
    feeds = [{"image": image[None].numpy()} for image in images]
    parity = compare(made.content, feeds)
    packed = pack(made.content)
    sessions = make_session(made.content), make_session(packed)
    repacked = Count()
    for batch in feeds:
        repacked += compare_arrays(sessions[0].run(None, batch)[0], sessions[1].run(None, batch)[0])
    return {**_summary(parity), "packed": asdict(repacked), "packed_bytes": len(packed), "bytes": len(made.content)}


def _summary(parity: Parity) -> dict[str, Any]:
    integer = sum((count for kind, count in parity.operators.items() if kind in INTEGER_OPERATORS), Count())
    floats = {kind: asdict(count) for kind, count in parity.operators.items() if kind not in INTEGER_OPERATORS}
    return {
        **asdict(integer),
        "results": asdict(parity.outputs),
        "operators": {kind: asdict(count) for kind, count in parity.operators.items() if kind in INTEGER_OPERATORS},
        "float_operators": floats,
        "runtime": dict(parity.runtime),
    }


def randomized(model: nn.Module) -> nn.Module:
    """Give batch normalizations random statistics and factors, some negative, so that folding them is tried."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d) and module.running_mean is not None and module.running_var is not None:
            module.running_mean.normal_(0, 0.2)
            module.running_var.uniform_(0.5, 2)
            nn.init.normal_(module.weight, 1, 0.5)
            nn.init.normal_(module.bias, 0, 0.3)
    return model.eval()
