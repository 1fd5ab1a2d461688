"""Cuts a traced model behind its stem, into the two networks that certificates run."""

from __future__ import annotations

from typing import Any

import torch
from torch import fx, nn

from l4edge_compression.defense.training.sparse_stem import SparseStem
from l4edge_perception.errors import InputError


class _Tracer(fx.Tracer):
    def is_leaf_module(self, module: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(module, SparseStem) or super().is_leaf_module(module, module_qualified_name)


def traced(model: nn.Module) -> fx.Graph:
    """The operations of a model, a sparse stem's end as one of them.

    Raises:
        InputError: the model cannot be traced.
    """
    try:
        return _Tracer().trace(model)
    except Exception as error:  # tracing runs the model's own code
        raise InputError(
            f"model {type(model).__name__}: torch.fx cannot trace it ({error}); a stem is cut from a traced model only"
        ) from error


def call_of(graph: fx.Graph, name: str) -> fx.Node:
    """The one call of a module in a graph.

    Raises:
        InputError: it is not called, or more than once.
    """
    calls = [node for node in graph.nodes if node.op == "call_module" and node.target == name]
    if len(calls) != 1:
        raise InputError(
            f"after: module {name!r} is called {len(calls)} times; name a module that the model calls once, as the end "
            "of its stem"
        )
    return calls[0]


def upstream(node: fx.Node) -> set[fx.Node]:
    """The nodes that a node's result depends on, with itself."""
    found, waiting = {node}, [node]
    while waiting:
        for before in waiting.pop().all_input_nodes:
            if before not in found:
                found.add(before)
                waiting.append(before)
    return found


def stem_modules(graph: fx.Graph, name: str) -> list[str]:
    """Names of the modules that the stem ending in a module calls, in order.

    Raises:
        InputError: what is behind the stem reads something else from before its end.
    """
    end = call_of(graph, name)
    before = upstream(end)
    for node in before - {end}:
        outside = [user for user in node.users if user not in before and user.op != "output"]
        if outside or any(user.op == "output" for user in node.users):
            raise InputError(
                f"after: {name}: {node.name} is read beside it, by {', '.join(map(str, node.users))}; choose a module "
                "that everything passes through"
            )
    return [str(node.target) for node in graph.nodes if node in before and node.op == "call_module"]


def split(model: nn.Module, name: str) -> tuple[nn.Module, nn.Module]:
    """The stem without its selection, and the head, both sharing the model's parameters.

    Args:
        model: with a :class:`SparseStem` of this name.
        name: of the module that ends the stem.

    Returns:
        (B, 3, H, W) to (B, C, H', W'), and (B, C, H', W') to (B, classes).
    """
    graph = traced(model)
    stem_modules(graph, name)
    end = call_of(graph, name)
    before = upstream(end)
    return _part(model, graph, before, end, first=True), _part(model, graph, before, end, first=False)


def _part(model: nn.Module, graph: fx.Graph, before: set[fx.Node], end: fx.Node, *, first: bool) -> nn.Module:
    part = fx.Graph()
    copies: dict[fx.Node, fx.Node] = {}
    if not first:
        copies[end] = part.placeholder("features")
    for node in graph.nodes:
        if node is end:
            if first:
                inner = part.call_module(f"{end.target}.stem", tuple(copies[each] for each in end.all_input_nodes))
                part.output(inner)
        elif node.op == "placeholder":
            if first:
                copies[node] = part.placeholder(node.name)
        elif (node in before) == first:
            copies[node] = part.node_copy(node, lambda each: copies[each])
    holder: dict[str, Any] = {}
    for node in part.nodes:
        if node.op == "call_module":
            holder[str(node.target)] = model.get_submodule(str(node.target))
        elif node.op == "get_attr":
            holder[str(node.target)] = _attribute(model, str(node.target))
    return fx.GraphModule(holder, part).train(model.training)


def _attribute(model: nn.Module, name: str) -> torch.Tensor:
    owner, _, last = name.rpartition(".")
    value: torch.Tensor = getattr(model.get_submodule(owner), last)
    return value
