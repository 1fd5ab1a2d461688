"""Where quantizers stand in a model, and how the model computes with them.

One quantizer per tensor, behind the operation that makes it, shared by all that read it. A tensor is quantized when a
layer, a product of activations, a sum, an average or a concatenation reads it, or when a layer's result leaves the
network; what moves numbers without changing them (max pooling, reshaping, nearest resizing ...) moves the codes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, fx, nn

from l4edge_compression.quantization import tracing


@dataclass(frozen=True)
class Layer:
    """A layer whose weights are quantized.

    Attributes:
        name: of the module in the model.
        linear: a linear layer; else a convolution.
        first: reads the network's input, with no other layer before it.
        last: its result leaves the network, with no other layer behind it.
    """

    name: str
    linear: bool
    first: bool
    last: bool


@dataclass(frozen=True)
class Spot:
    """A tensor, or several with one scale, that a quantizer is put behind.

    Attributes:
        name: key in ``model.quantizers``.
        nodes: names of the operations that make the tensors.
        bits: of the codes.
        multiplied: whether a layer or a product reads it; its bits are the method's, the others' are joint bits.
        input: the network's input, before any layer.
    """

    name: str
    nodes: tuple[str, ...]
    bits: int
    multiplied: bool
    input: bool


@dataclass(frozen=True)
class Bits:
    """How many bits tensors get.

    Attributes:
        multiplied: of a tensor that the layer of this name, or a product (empty name), reads.
        inputs: of the network's input.
        joint: of tensors that only sums, averages and the like read.
        outputs: of results that leave the network; None leaves them float.
        sums: which sums read integers, see ``config.QuantizationConfig``.
    """

    multiplied: Callable[[str], int]
    inputs: int
    joint: int
    outputs: int | None
    sums: str = "auto"


def find_layers(graph: fx.Graph, model: nn.Module, excluded: Callable[[str], bool]) -> list[Layer]:
    """Return the layers that are quantized, in order of computation."""
    names: dict[str, bool] = {}
    for node in graph.nodes:
        module = tracing.module_of(node, model)
        if tracing.quantizable(module) and not excluded(str(node.target)):
            names[str(node.target)] = isinstance(module, nn.Linear)
    calls = [node for node in graph.nodes if node.op == "call_module" and node.target in names]
    behind = _reached(calls, lambda node: node.all_input_nodes, graph, forward=True)
    before = _reached(calls, lambda node: list(node.users), graph, forward=False)
    layers = []
    for name, linear in names.items():
        own = [node for node in calls if node.target == name]
        first = any(not behind[node] and not _from_parameters(node) for node in own)
        layers.append(Layer(name, linear, first, any(not before[node] for node in own)))
    return layers


def _from_parameters(node: fx.Node) -> bool:
    return all(tracing.is_parameter(source) for source in node.all_input_nodes)


def _reached(
    calls: list[fx.Node], neighbours: Callable[[fx.Node], list[fx.Node]], graph: fx.Graph, forward: bool
) -> dict[fx.Node, bool]:
    """Return for each node whether a layer lies before it (forward) or behind it."""
    layers = set(calls)
    result: dict[fx.Node, bool] = {}
    for node in graph.nodes if forward else reversed(graph.nodes):
        result[node] = any(other in layers or result[other] for other in neighbours(node))
    return result


class _Planner:
    """Collects which tensors are to be quantized and which of them must share a scale."""

    def __init__(self, graph: fx.Graph, model: nn.Module, layers: Mapping[str, Layer], bits: Bits):
        self.graph, self.model, self.layers, self.bits = graph, model, layers, bits
        self.wanted: dict[fx.Node, tuple[int, bool]] = {}
        self.leader: dict[fx.Node, fx.Node] = {}
        calls = [node for node in graph.nodes if self._is_layer(node)]
        self.behind = _reached(calls, lambda node: node.all_input_nodes, graph, forward=True)

    def _is_layer(self, node: fx.Node) -> bool:
        return node.op == "call_module" and node.target in self.layers

    def plan(self) -> list[Spot]:
        leaving = {origin for node in self._outputs() for origin in self.origins(node)}
        for node in self.graph.nodes:
            if self._is_layer(node):
                self._want(tracing.operands(node)[:1], self.bits.multiplied(str(node.target)), True)
            elif tracing.is_product(node):
                self._want(tracing.operands(node), self.bits.multiplied(""), True)
            elif self._integer_sum(node):
                self._want(list(node.args[:2]), self.bits.joint, False)
            elif tracing.is_pool(node, self.model):
                self._want(tracing.operands(node)[:1], self.bits.joint, False)
        # A convolution is computed with integers only where its result becomes integers, too.
        for node in list(self.graph.nodes):
            if self._is_layer(node) and not self.layers[str(node.target)].linear:
                end = tracing.extended(node, self.model)
                if end not in self.wanted and end not in leaving:
                    self._want([end], self.bits.joint, False)
        if self.bits.outputs is not None:
            for node in self._outputs():
                origins = self.origins(node)
                if all(origin in self.wanted or self._integer_result(origin) for origin in origins):
                    self._want([node], self.bits.outputs, False)
        return self._spots()

    def _integer_sum(self, node: fx.Node) -> bool:
        if not tracing.is_sum(node) or self.bits.sums == "none":
            return False
        return self.bits.sums == "all" or not tracing.read_by_layer_norm(node, self.model)

    def _outputs(self) -> list[fx.Node]:
        return [source for node in self.graph.nodes if node.op == "output" for source in node.all_input_nodes]

    def _integer_result(self, origin: fx.Node) -> bool:
        """Whether an operation on integers made this, so that its result can leave as integers."""
        if self._integer_sum(origin) or tracing.is_pool(origin, self.model) or tracing.is_product(origin):
            return True
        return any(
            tracing.extended(node, self.model) is origin for node in self.graph.nodes if self._is_layer(node)
        )

    def origins(self, node: fx.Node) -> list[fx.Node]:
        """Return the operations that made a tensor's numbers: one, or several where tensors were joined."""
        if tracing.is_join(node):
            found = [origin for source in tracing.operands(node) for origin in self.origins(source)]
            return list(dict.fromkeys(found))
        if tracing.passes_integers(node, self.model):
            return self.origins(node.all_input_nodes[0])
        return [node]

    def _want(self, nodes: list[Any], bits: int, multiplied: bool) -> None:
        for node in nodes:
            origins = self.origins(node)
            for origin in origins:
                before_bits, before_multiplied = self.wanted.get(origin, (0, False))
                if multiplied == before_multiplied:
                    bits_now = max(bits, before_bits)
                else:
                    # What is multiplied decides; joint bits are for what nothing multiplies.
                    bits_now = bits if multiplied else before_bits
                self.wanted[origin] = (bits_now, multiplied or before_multiplied)
                self._join(origins[0], origin)

    def _find(self, node: fx.Node) -> fx.Node:
        while self.leader.get(node, node) is not node:
            node = self.leader[node]
        return node

    def _join(self, one: fx.Node, other: fx.Node) -> None:
        self.leader.setdefault(one, one)
        self.leader.setdefault(other, other)
        self.leader[self._find(other)] = self._find(one)

    def _spots(self) -> list[Spot]:
        groups: dict[fx.Node, list[fx.Node]] = {}
        for node in self.graph.nodes:
            if node in self.wanted:
                groups.setdefault(self._find(node), []).append(node)
        spots = []
        for members in groups.values():
            multiplied = any(self.wanted[node][1] for node in members)
            bits = max(bits for bits, is_multiplied in map(self.wanted.__getitem__, members)
                       if is_multiplied == multiplied)
            is_input = all(not self.behind[node] and not self._is_layer(node) for node in members)
            is_input = is_input and not all(map(tracing.is_parameter, members))
            name = re.sub(r"\W", "_", members[0].name)
            names = tuple(node.name for node in members)
            spots.append(Spot(name, names, self.bits.inputs if is_input else bits, multiplied, is_input))
        return spots


def find_spots(graph: fx.Graph, model: nn.Module, layers: list[Layer], bits: Bits) -> list[Spot]:
    """Return where quantizers belong, in order of computation."""
    return _Planner(graph, model, {layer.name: layer for layer in layers}, bits).plan()


def insert_quantizers(graph: fx.Graph, spots: list[Spot]) -> None:
    """Put calls of ``quantizers.NAME`` behind the operations that the spots name; all readers read the result."""
    nodes = {node.name: node for node in graph.nodes}
    placeholders = [node for node in graph.nodes if node.op == "placeholder"]
    for spot in spots:
        for name in spot.nodes:
            origin = nodes[name]
            with graph.inserting_after(placeholders[-1] if origin.op == "placeholder" else origin):
                quantized = graph.call_module(f"quantizers.{spot.name}", (origin,))
            origin.replace_all_uses_with(quantized, delete_user_cb=lambda user, kept=quantized: user is not kept)


def bind(model: nn.Module, graph: fx.Graph) -> None:
    """Let the model compute by the graph from now on. It stays an instance of its class, and can be copied."""
    compiled = fx.GraphModule(model, graph)
    kind = type(model)
    described = {"__module__": kind.__module__, "__doc__": kind.__doc__}
    model.__class__ = type(kind.__name__, (kind,), {"forward": type(compiled).forward, **described})


def example_device(model: nn.Module) -> Any:
    """Return the device of the model's parameters, None where it has none."""
    parameter: Tensor | None = next(model.parameters(), None)
    return None if parameter is None else parameter.device
