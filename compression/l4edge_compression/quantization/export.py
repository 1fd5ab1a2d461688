"""From a quantized torch model to an ONNX graph that onnxruntime runs as integers.

uint8 activations, int8 weights with a step per row, int32 biases, explicit zero points, opset 17: what every
onnxruntime from 1.16 on (and older ones) loads. docs/integer_semantics.md describes the form.
"""

from __future__ import annotations

import copy
import tempfile
import warnings
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
import torch
from torch import Tensor, nn

from l4edge_compression.quantization.modules import ActivationQuantizer, RowQuantizer
from l4edge_compression.quantization.rewriting import rewrite
from l4edge_perception.errors import InputError
from l4edge_perception.models.constant_shapes import fold_shapes

OPSET = 17
"""The first with LayerNormalization; onnxruntime 1.16, the last for JetPack 5, reads up to 19."""

MINIMUM_ONNXRUNTIME = "1.16.0"


WIDEST_CODE = 64
"""Codes of narrow formats are multiplied by a whole number up to this, their steps divided by it: the same weights, but
a bias in units of the sums is rounded more finely. Pairs of products of such codes with 8-bit activations still fit
16 bits, which processors without VNNI need."""


class _WeightFunction(torch.autograd.Function):
    """Codes times steps; in the exported graph a DequantizeLinear of int8 along axis 0."""

    @staticmethod
    def forward(_: Any, codes: Tensor, steps: Tensor) -> Tensor:
        return codes.float() * steps.reshape(-1, *[1] * (codes.dim() - 1))

    @staticmethod
    def symbolic(g: Any, codes: Any, steps: Any) -> Any:
        sizes = steps.type().sizes()
        zeros = g.op("Constant", value_t=torch.zeros(sizes, dtype=torch.int8))
        return g.op("DequantizeLinear", codes, steps, zeros, axis_i=0).setType(
            codes.type().with_dtype(torch.float32)
        )


class _ActivationFunction(torch.autograd.Function):
    """Codes of a tensor and back; QuantizeLinear, Clip, perhaps a look-up, DequantizeLinear."""

    @staticmethod
    def forward(_: Any, values: Tensor, scale: float, zero_point: int, top: int, table: Tensor | None) -> Tensor:
        codes = (values / torch.tensor(scale)).round().add(zero_point).clamp(0, top)
        if table is not None:
            codes = table[codes.long()].float()
        return (codes - zero_point) * torch.tensor(scale)

    @staticmethod
    def symbolic(g: Any, values: Any, scale: float, zero_point: int, top: int, table: Any) -> Any:
        factor = g.op("Constant", value_t=torch.tensor(scale, dtype=torch.float32))
        zero = g.op("Constant", value_t=torch.tensor(zero_point, dtype=torch.uint8))
        codes = g.op("QuantizeLinear", values, factor, zero)
        if top < 255:
            least = g.op("Constant", value_t=torch.tensor(0, dtype=torch.uint8))
            most = g.op("Constant", value_t=torch.tensor(top, dtype=torch.uint8))
            codes = g.op("Clip", codes, least, most)
        if table is not None:
            codes = g.op("Gather", table, g.op("Cast", codes, to_i=6), axis_i=0)
        return g.op("DequantizeLinear", codes, factor, zero).setType(values.type())


class _Rows(nn.Module):
    """Stands for a RowQuantizer while a graph is traced."""

    def __init__(self, codes: Tensor, steps: Tensor):
        super().__init__()
        self.register_buffer("codes", codes)
        self.register_buffer("steps", steps)

    def forward(self, weight: Tensor) -> Tensor:
        del weight
        return _WeightFunction.apply(self.codes, self.steps)


class _Activation(nn.Module):
    """Stands for an ActivationQuantizer while a graph is traced."""

    def __init__(self, scale: float, zero_point: int, top: int, table: Tensor | None):
        super().__init__()
        self.grid = (scale, zero_point, top)
        self.register_buffer("table", table)

    def forward(self, values: Tensor) -> Tensor:
        return _ActivationFunction.apply(values, *self.grid, self.table)


@dataclass(frozen=True)
class LayerRows:
    """How the rows of one layer are stored.

    Attributes:
        formats: names of the formats that occur. assignment: index into them, one per row.
    """

    formats: tuple[str, ...]
    assignment: tuple[int, ...]

    @property
    def word(self) -> str:
        """Such as ``pot4 42, fixed4 19, fixed8 3``; one name alone where all rows have one format."""
        counts = Counter(self.assignment)
        if len(counts) == 1:
            return self.formats[self.assignment[0]]
        return ", ".join(f"{name} {counts[index]}" for index, name in enumerate(self.formats) if counts[index])


@dataclass(frozen=True)
class Export:
    """An exported graph.

    Attributes:
        content: the ONNX file, weights as int8.
        layers: name of each quantized layer and how its rows are stored.
        operators: kind of operator and how many there are in the file.
    """

    content: bytes
    layers: Mapping[str, LayerRows]
    operators: Mapping[str, int]


def export(
    model: nn.Module,
    example: Tensor,
    input_name: str = "image",
    output_names: tuple[str, ...] = ("predictions",),
    dynamic_batch: bool = False,
) -> Export:
    """The ONNX graph of a compressed model.

    Args:
        model: after ``compress_``, calibrated; left as it is.
        example: an input of the final shape and type; pixels may be uint8.
        input_name, output_names: of the graph.
        dynamic_batch: leave the first size of input and outputs open.

    Raises:
        InputError: a quantizer has no scale yet or more than 8 bits, or a format does not fit int8; names it.
    """
    prepared = copy.deepcopy(model).eval().cpu()
    layers = _replace_quantizers(prepared)
    if not layers:
        raise InputError("export: no layer of the model is quantized; call compress_ first")
    names = [input_name, *output_names]
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(), torch.no_grad():
        # The tracing exporter is kept on purpose: the newer one needs two more packages for the same graph.
        warnings.simplefilter("ignore")
        path = Path(folder) / "graph.onnx"
        torch.onnx.export(
            prepared, (example,), path, input_names=[input_name], output_names=list(output_names), opset_version=OPSET,
            dynamo=False, dynamic_axes={name: {0: "batch"} for name in names} if dynamic_batch else None,
            # Shared constants stay apart by name: a graph rewritten layer by layer must not change another layer.
            do_constant_folding=True, autograd_inlining=False,
        )
        content = rewrite(fold_shapes(path.read_bytes()))
    counts = Counter(node.op_type for node in onnx.load_from_string(content).graph.node)
    return Export(content, layers, dict(sorted(counts.items())))


def _replace_quantizers(model: nn.Module) -> dict[str, LayerRows]:
    """Put stand-ins that can be traced in the place of every quantizer; returns the layers' rows."""
    layers = {}
    for name, module in list(model.named_modules()):
        rows = getattr(module, "row_quantizer", None)
        if isinstance(rows, RowQuantizer):
            try:
                codes, steps = rows.codes(module.weight.detach())
            except InputError as error:
                raise InputError(f"layer {name}: {error}") from error
            formats, assignment = rows.formats, rows.assignment.cpu()
            factors = torch.tensor([multiple(levels.largest) for levels in formats])[assignment]
            codes = codes * factors.to(torch.int8).reshape(-1, *[1] * (codes.dim() - 1))
            steps = steps / factors
            layers[name] = LayerRows(tuple(levels.name for levels in formats), tuple(assignment.tolist()))
            module.row_quantizer = _Rows(codes, steps)
        for child_name, child in list(module.named_children()):
            if isinstance(child, ActivationQuantizer):
                setattr(module, child_name, _stand_in(child))
    return layers


def multiple(largest: int) -> int:
    """By what the codes of a format are multiplied, given its largest integer."""
    return max(1, WIDEST_CODE // largest)


def _stand_in(quantizer: ActivationQuantizer) -> nn.Module:
    if quantizer.state == "off":
        return nn.Identity()
    scale, zero_point, top, table = quantizer.parameters_for_export()
    if top > 255:
        raise InputError(
            f"{quantizer.name}: {quantizer.bits} bits do not fit the uint8 tensors of an exported graph; use at most 8"
        )
    return _Activation(scale, zero_point, top, table)


def save_package(model: nn.Module, folder: str | Path, **options: Any) -> Any:
    """Write a compressed model as a model package; the options are those of ``saving.write_quantized_package``."""
    from l4edge_compression.quantization.saving import write_quantized_package

    return write_quantized_package(model, folder, **options)
