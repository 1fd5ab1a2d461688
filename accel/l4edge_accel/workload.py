"""What a network asks of an accelerator: matrix products with the formats of their operands, and the steps between."""

import math
from dataclasses import dataclass, field, replace
from typing import Dict, List, Mapping, Optional, Tuple, Union

from l4edge_perception.errors import InputError

STEPS = ("softmax", "layernorm", "gelu", "add", "pool", "move")
"""Work that is no matrix product. "move" stands for operators that only rearrange: their traffic counts."""


@dataclass(frozen=True)
class Gemm:
    """A matrix product: ``outputs`` x ``inputs`` times ``inputs`` x ``tokens``, ``repeats`` times.

    A convolution is one with a token for every output pixel and kernel height x width x channels inputs.

    Attributes:
        name: of the layer or node.
        outputs, inputs, tokens: sizes; of one group, head or repeat.
        repeats: groups, or attention heads.
        weight_rows: share of the rows in each weight format, such as {"pot4": 0.65, "fixed4": 0.35}; empty where the
            second operand is made of activations.
        activation_bits: of both operands that are activations.
        fetched: distinct input elements of one repeat: a convolution's kernel windows overlap. 0: inputs x tokens.
        kernel: height and width of a convolution's kernel.
    """

    name: str
    outputs: int
    inputs: int
    tokens: int
    repeats: int = 1
    weight_rows: Mapping[str, float] = field(default_factory=dict)
    activation_bits: int = 8
    fetched: int = 0
    kernel: Tuple[int, int] = (1, 1)

    @property
    def macs(self) -> int:
        """Multiply-accumulates of all repeats."""
        return self.outputs * self.inputs * self.tokens * self.repeats

    @property
    def of_activations(self) -> bool:
        """Whether both operands are activations, as in attention."""
        return not self.weight_rows

    @property
    def input_elements(self) -> int:
        """Elements of the first operand that have to be fetched, all repeats."""
        return (self.fetched or self.inputs * self.tokens) * self.repeats

    @property
    def weight_elements(self) -> int:
        """Elements of the second operand, all repeats."""
        return self.outputs * self.inputs * self.repeats

    @property
    def output_elements(self) -> int:
        """Elements of the result, all repeats."""
        return self.outputs * self.tokens * self.repeats


@dataclass(frozen=True)
class Step:
    """Work between matrix products.

    Attributes:
        name: of the node.
        kind: one of ``STEPS``.
        elements: values that come out of it.
        rows: groups that it reduces over, for softmax and layernorm.
    """

    name: str
    kind: str
    elements: int
    rows: int = 1


Operation = Union[Gemm, Step]


@dataclass(frozen=True)
class Workload:
    """One inference of a network, in order.

    Attributes:
        name: of the network.
        operations: what it does.
    """

    name: str
    operations: Tuple[Operation, ...]

    @property
    def gemms(self) -> Tuple[Gemm, ...]:
        """The matrix products."""
        return tuple(operation for operation in self.operations if isinstance(operation, Gemm))

    @property
    def steps(self) -> Tuple[Step, ...]:
        """The rest."""
        return tuple(operation for operation in self.operations if isinstance(operation, Step))

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one inference."""
        return sum(gemm.macs for gemm in self.gemms)

    def quantized(
        self,
        weight_rows: Mapping[str, float],
        activation_bits: int,
        ends: Optional[Mapping[str, float]] = None,
        end_bits: int = 8,
    ) -> "Workload":
        """The same with other formats.

        Args:
            weight_rows: share of the rows in each format, for all layers but the ends.
            activation_bits: of those layers, and of products of two activations.
            ends: formats of the first and the last layer with weights; None: as the others.
            end_bits: activation bits of the ends.
        """
        with_weights = [gemm.name for gemm in self.gemms if not gemm.of_activations]
        outer = {with_weights[0], with_weights[-1]} if ends is not None and with_weights else set()

        def changed(operation: Operation) -> Operation:
            if isinstance(operation, Step):
                return operation
            if operation.of_activations:
                return replace(operation, activation_bits=activation_bits)
            if operation.name in outer:
                return replace(operation, weight_rows=dict(ends or {}), activation_bits=end_bits)
            return replace(operation, weight_rows=dict(weight_rows), activation_bits=activation_bits)

        return replace(self, operations=tuple(changed(operation) for operation in self.operations))


def deit(name: str, width: int, heads: int, depth: int = 12, tokens: int = 197, classes: int = 1000) -> Workload:
    """A vision transformer of the DeiT form (Touvron et al. 2021, table 1) on 224 x 224 pixels, patches of 16."""
    float_rows = {"fixed8": 1.0}
    head = width // heads
    operations: List[Operation] = [Gemm("patch_embed", width, 3 * 16 * 16, tokens - 1, 1, float_rows)]
    for block in range(depth):
        where = f"blocks.{block}."
        operations += [
            Step(where + "norm1", "layernorm", tokens * width, tokens),
            Gemm(where + "qkv", 3 * width, width, tokens, 1, float_rows),
            Gemm(where + "scores", tokens, head, tokens, heads),
            Step(where + "softmax", "softmax", heads * tokens * tokens, heads * tokens),
            Gemm(where + "mix", head, tokens, tokens, heads),
            Gemm(where + "proj", width, width, tokens, 1, float_rows),
            Step(where + "add1", "add", tokens * width),
            Step(where + "norm2", "layernorm", tokens * width, tokens),
            Gemm(where + "fc1", 4 * width, width, tokens, 1, float_rows),
            Step(where + "gelu", "gelu", 4 * tokens * width),
            Gemm(where + "fc2", width, 4 * width, tokens, 1, float_rows),
            Step(where + "add2", "add", tokens * width),
        ]
    operations += [Step("norm", "layernorm", width, 1), Gemm("head", classes, width, 1, 1, float_rows)]
    return Workload(name, tuple(operations))


def resnet18(classes: int = 1000, pixels: int = 224) -> Workload:
    """ResNet-18 (He et al. 2016, table 1): two blocks of two convolutions in each stage."""
    return _resnet("resnet18", (2, 2, 2, 2), 1, classes, pixels)


def resnet50(classes: int = 1000, pixels: int = 224) -> Workload:
    """ResNet-50 (He et al. 2016, table 1) with the stride in the 3 x 3 convolutions, as torchvision has it."""
    return _resnet("resnet50", (3, 4, 6, 3), 4, classes, pixels)


def _convolution(name: str, channels: int, outputs: int, kernel: int, size: int, stride: int = 1) -> Gemm:
    out = math.ceil(size / stride)
    fetched = channels * (size * size if kernel > 1 else out * out)  # a 1 x 1 kernel skips what its stride skips
    rows = {"fixed8": 1.0}
    return Gemm(name, outputs, channels * kernel * kernel, out * out, 1, rows, 8, fetched, (kernel, kernel))


def _resnet(name: str, blocks: Tuple[int, ...], widening: int, classes: int, pixels: int) -> Workload:
    """``widening`` 1: blocks of two 3 x 3 convolutions; more: bottlenecks that widen by that factor."""
    size = math.ceil(pixels / 2)
    operations: List[Operation] = [
        _convolution("conv1", 3, 64, 7, pixels, 2), Step("maxpool", "pool", 64 * math.ceil(size / 2) ** 2)
    ]
    size, channels = math.ceil(size / 2), 64
    for stage, count in enumerate(blocks, start=1):
        width = 64 * 2 ** (stage - 1)
        outputs = width * widening
        for block in range(count):
            stride = 2 if stage > 1 and block == 0 else 1
            where, out = f"layer{stage}.{block}.", math.ceil(size / stride)
            if widening == 1:
                operations += [
                    _convolution(where + "conv1", channels, width, 3, size, stride),
                    _convolution(where + "conv2", width, width, 3, out),
                ]
            else:
                operations += [
                    _convolution(where + "conv1", channels, width, 1, size),
                    _convolution(where + "conv2", width, width, 3, size, stride),
                    _convolution(where + "conv3", width, outputs, 1, out),
                ]
            if channels != outputs:
                operations.append(_convolution(where + "downsample", channels, outputs, 1, size, stride))
            operations.append(Step(where + "add", "add", outputs * out * out))
            size, channels = out, outputs
    operations += [Step("avgpool", "pool", channels), Gemm("fc", classes, channels, 1, 1, {"fixed8": 1.0})]
    return Workload(name, tuple(operations))


def with_fewer_tokens(workload: Workload, tokens: int, kept: Mapping[int, float]) -> Workload:
    """A vision transformer whose token selectors drop tokens, as HeatViT (HPCA 2023) and SPViT do.

    From a selector on, the dropped tokens are gone: kept ones are packed, so that later products are dense and shorter.
    The selectors themselves, a few small layers that reuse the engine, are not counted.

    Args:
        workload: of the form that :func:`deit` makes: operations are named ``blocks.<number>.<what>``.
        tokens: it has now, class token included.
        kept: block with a selector before it: share of the original tokens that go on, above 0 and at most 1.

    Raises:
        InputError: a block that the workload lacks, or a share out of range.
    """
    blocks = {_block(operation.name) for operation in workload.operations} - {-1}
    for block, share in kept.items():
        if block not in blocks:
            known = f"blocks are 0 to {max(blocks)}" if blocks else "it is no vision transformer known by name"
            raise InputError(f"token selector: {workload.name} has no block {block}; {known}")
        if not 0.0 < share <= 1.0:
            raise InputError(f"token selector: block {block}: share {share} is not above 0 and at most 1")
    operations = []
    for operation in workload.operations:
        shares = [kept[block] for block in sorted(kept) if block <= _block(operation.name)]
        left = max(1, math.ceil(tokens * shares[-1])) if shares else tokens
        operations.append(_shortened(operation, tokens, left))
    return replace(workload, operations=tuple(operations))


def _block(name: str) -> int:
    parts = name.split(".")
    return int(parts[1]) if parts[0] == "blocks" and len(parts) > 2 and parts[1].isdigit() else -1


def _shortened(operation: Operation, tokens: int, left: int) -> Operation:
    if left == tokens:
        return operation
    if isinstance(operation, Gemm):
        if operation.name.endswith(".scores"):
            return replace(operation, outputs=left, tokens=left)
        if operation.name.endswith(".mix"):
            return replace(operation, inputs=left, tokens=left)
        return replace(operation, tokens=left)
    # Softmax is over pairs of tokens, all others are over tokens.
    times = 2 if operation.kind == "softmax" else 1
    elements = operation.elements // tokens**times * left**times
    return replace(operation, elements=elements, rows=operation.rows // tokens * left)


def named_workloads() -> Dict[str, Workload]:
    """The networks that need no file."""
    return {
        "deit_tiny": deit("deit_tiny", 192, 3),
        "deit_small": deit("deit_small", 384, 6),
        "deit_base": deit("deit_base", 768, 12),
        "resnet18": resnet18(),
        "resnet50": resnet50(),
    }
