"""A compressed model as a model package: exported, packed, run, compared, and only then written."""

from __future__ import annotations

import dataclasses
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

import numpy as np
import onnxruntime
import torch
from torch import nn

from l4edge_compression.quantization.export import MINIMUM_ONNXRUNTIME, Export, export, multiple
from l4edge_compression.quantization.formats import level_set
from l4edge_compression.quantization.packing import pack
from l4edge_compression.quantization.parity import (
    INTEGER_OPERATORS,
    Count,
    Parity,
    compare,
    compare_arrays,
    make_session,
    self_test,
)
from l4edge_perception.errors import InputError
from l4edge_perception.graphs import count_macs
from l4edge_perception.packages import Accuracy, InputSpec, Level, ModelPackage, OutputSpec, load_package, write_package

if TYPE_CHECKING:
    from numpy.typing import NDArray

Array: TypeAlias = "NDArray[Any]"
Storage = Literal["packed4", "int8"]

COMPARED_INPUTS = 4
"""Inputs that a package is compared on; at least two, where that many are given."""

OTHER_PROCESSOR = 1
"""How many codes results may differ by on a processor whose instructions round otherwise; see ``parity.self_test``."""


@dataclass(frozen=True)
class SavedLevel:
    """What was written.

    Attributes:
        package: as it was read back.
        parity: of the level's graph.
        bytes: of its file; int8_bytes: what the same weights take one byte each.
        layers: name and the word for its rows' formats.
        float_layers: convolutions and products that onnxruntime runs in float, by kind.
    """

    package: ModelPackage
    parity: Parity
    bytes: int
    int8_bytes: int
    layers: Mapping[str, str]
    float_layers: Mapping[str, int]


def write_quantized_package(
    model: nn.Module,
    folder: str | Path,
    description: ModelPackage | None = None,
    *,
    batches: Iterable[Any],
    storage: Storage = "packed4",
    level: str = "quantized",
    accuracy: Accuracy | None = None,
    provenance: Mapping[str, Any] | None = None,
    keep_levels: bool = False,
    wrapper: nn.Module | None = None,
) -> SavedLevel:
    """Export a compressed model, compare it with the interpreter, and write its package; nothing where they differ.

    Args:
        model: after ``compress_``, calibrated; left as it is.
        folder: of the package.
        description: task, input, output, classes; its levels are not looked at. None describes a classifier of
            float32 images by the batches and the model's outputs.
        batches: inputs of the graph, tensors or arrays, (input, label) pairs too; the first few single inputs are
            compared.
        storage: ``packed4``, as many bits as formats need, or ``int8``.
        level: name of the level.
        accuracy: as measured.
        provenance: how the model was made, beside what is known here.
        keep_levels: add the level to the package that is there already, or replace one of its name.
        wrapper: what is exported instead of the model itself, for example with the camera's layout; holds the model.

    Raises:
        InputError: no inputs, a model that cannot be exported, or interpreter and onnxruntime differ.
    """
    if storage not in get_args(Storage):
        raise InputError(f"storage: is {storage!r}; must be {' or '.join(get_args(Storage))}")
    folder = Path(folder)
    inputs = _single_inputs(batches)
    exported = model if wrapper is None else wrapper
    if description is None:
        description = _describe(exported, inputs[0], folder)
    given = description.input
    made = export(
        exported, torch.from_numpy(inputs[0]), given.name, description.output.names, dynamic_batch=given.shape[0] == -1
    )
    feeds = [{given.name: value} for value in inputs]
    parity = compare(made.content, feeds)
    _require_parity(parity, str(folder))
    content = pack(made.content) if storage == "packed4" else made.content
    if content != made.content:
        _require_same(made.content, content, feeds, str(folder))
    return _write(
        folder, description, made, content, parity, feeds[0], storage=storage, level=level, accuracy=accuracy,
        provenance={**(provenance or {}), **_known(model)}, keep_levels=keep_levels,
    )


def _write(
    folder: Path, description: ModelPackage, made: Export, content: bytes, parity: Parity, feeds: Mapping[str, Array],
    *, storage: str, level: str, accuracy: Accuracy | None, provenance: Mapping[str, Any], keep_levels: bool,
) -> SavedLevel:
    words = {name: rows.word for name, rows in made.layers.items()}
    entry = Level(level, f"{level}.onnx", "", 0, count_macs(made.content, feeds), accuracy, words)
    levels: tuple[Level, ...] = (entry,)
    graphs: dict[str, bytes] = {level: content}
    before: dict[str, Any] = {}
    if keep_levels:
        present = load_package(folder)
        others = tuple(other for other in present.levels if other.name != level)
        description, levels, before = present, (*others, entry), dict(present.provenance)
        graphs.update({other.name: present.read_graph(other) for other in others})
    record = {
        **provenance,
        "storage": storage,
        "int8_bytes": len(made.content),
        "parity": parity.to_json(),
        "processor": platform.processor() or platform.machine(),
        "torch": torch.__version__,
        "onnxruntime": onnxruntime.__version__,
        "rows": row_map(made),
    }
    package = dataclasses.replace(
        description, path=folder, levels=levels, minimum_onnxruntime=_newer(description, keep_levels),
        provenance={**before, "quantized": {**before.get("quantized", {}), level: record}},
    )
    written = write_package(package, graphs)
    floats = {kind: count for kind, count in parity.runtime.items() if kind in ("Conv", "FusedConv", "Gemm", "MatMul")}
    return SavedLevel(written, parity, len(content), len(made.content), words, floats)


def row_map(made: Export) -> dict[str, Any]:
    """Per layer: formats, by what the file's codes of each are multiplied, and the format of every row in order.

    Rows are hexadecimal digits, indices into the formats; ``0*64`` is 64 rows of one format.
    """
    layers = {}
    for name, rows in made.layers.items():
        factors = [multiple(level_set(other).largest) for other in rows.formats]
        digits = "".join(format(index, "x") for index in rows.assignment)
        digits = f"{digits[0]}*{len(digits)}" if len(set(digits)) == 1 else digits
        layers[name] = {"formats": list(rows.formats), "multiples": factors, "rows": digits}
    return layers


def read_rows(entry: Mapping[str, Any]) -> list[str]:
    """The format of every row of a layer, from :func:`row_map`'s entry."""
    digits = str(entry["rows"])
    if "*" in digits:
        digit, _, count = digits.partition("*")
        digits = digit * int(count)
    return [str(entry["formats"][int(digit, 16)]) for digit in digits]


def _newer(description: ModelPackage, keep_levels: bool) -> str:
    versions = [MINIMUM_ONNXRUNTIME] + ([description.minimum_onnxruntime] if keep_levels else [])
    return max(versions, key=lambda version: [int(part) for part in version.split(".")[:3] if part.isdigit()])


def _single_inputs(batches: Iterable[Any]) -> list[Array]:
    """The first few inputs, each a batch of one."""
    found: list[Array] = []
    for batch in batches:
        value = batch[0] if isinstance(batch, (tuple, list)) else batch
        array = value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else np.asarray(value)
        found += [np.ascontiguousarray(array[index : index + 1]) for index in range(len(array))]
        if len(found) >= COMPARED_INPUTS:
            break
    if not found:
        raise InputError("batches: empty; give at least one input to compare the package on")
    return found[:COMPARED_INPUTS]


def _describe(model: nn.Module, example: Array, folder: Path) -> ModelPackage:
    """A classifier of images like the example."""
    if example.ndim != 4 or example.shape[1] != 3:
        raise InputError(
            f"description: cannot be guessed for inputs of shape {list(example.shape)}; give a ModelPackage"
        )
    was_training = model.training
    with torch.no_grad():
        output = model.eval()(torch.from_numpy(example))
    model.train(was_training)
    if not isinstance(output, torch.Tensor) or output.dim() != 2:
        raise InputError("description: cannot be guessed for outputs that are no (batch, classes); give a ModelPackage")
    return ModelPackage(
        path=folder,
        name=folder.name,
        task="classification",
        input=InputSpec("image", tuple(example.shape), str(example.dtype), "NCHW"),
        output=OutputSpec(("predictions",), (tuple(output.shape),), "logits"),
        classes=tuple(str(index) for index in range(output.shape[1])),
        class_map=(),
        levels=(),
        minimum_onnxruntime=MINIMUM_ONNXRUNTIME,
        provenance={},
    )


def _require_parity(parity: Parity, place: str) -> None:
    allowed = 0 if self_test().exact else OTHER_PROCESSOR
    for kind, count in parity.operators.items():
        if count.largest > (allowed if kind in INTEGER_OPERATORS else OTHER_PROCESSOR):
            raise InputError(
                f"{place}: integer interpreter and onnxruntime {parity.onnxruntime} differ in {count.mismatches} of "
                f"{count.outputs} results of {kind}, by up to {count.largest:g}; nothing was written"
            )


def _require_same(first: bytes, second: bytes, batches: Sequence[Mapping[str, Array]], place: str) -> None:
    sessions = make_session(first), make_session(second)
    total = Count()
    for feeds in batches:
        for one, other in zip(*(session.run(None, dict(feeds)) for session in sessions), strict=True):
            total += compare_arrays(one, other)
    if total.mismatches:
        raise InputError(
            f"{place}: packed and plain weights differ in {total.mismatches} of {total.outputs} outputs, by up to "
            f"{total.largest:g}; nothing was written"
        )


def _known(model: nn.Module) -> dict[str, Any]:
    """The method's settings, where the model carries them."""
    from l4edge_compression import api

    config = getattr(getattr(model, "compression", None), "config", None)
    return {"config": api.config_to_json(config)} if config is not None else {}
