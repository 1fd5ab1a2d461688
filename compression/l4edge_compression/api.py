"""The one verb, and the settings it takes: ``compress_(model, config, data)``.

::

    from l4edge_compression.api import RmsmpConfig, compress_, save_package

    compress_(model, RmsmpConfig(ratio=(65, 30, 5)), data=batches)  # post-training: done
    save_package(model, "models/mine")

For quantization-aware training go on with the training loop as it is; ``qat.Schedule`` says when rows are due.
"""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from l4edge_compression.defense.training.config import OcclusionConfig, ScaleCertConfig
from l4edge_compression.defense.training.sparsifying import sparsify_
from l4edge_compression.quantization.assigning import Loss, reassign_rows
from l4edge_compression.quantization.baselines import ApotConfig, FixedConfig, PotConfig
from l4edge_compression.quantization.binary import BinaryConfig
from l4edge_compression.quantization.calibrating import calibrate, check_data, reestimate_normalization
from l4edge_compression.quantization.config import QuantizationConfig
from l4edge_compression.quantization.esb_config import EsbConfig
from l4edge_compression.quantization.ilmpq import IlmpqConfig
from l4edge_compression.quantization.placing import (
    activation_quantizers,
    compression_of,
    place_,
    quantized_layers,
    row_assignments,
    take_out_,
)
from l4edge_compression.quantization.qat import Schedule, begin_epoch, parameter_groups
from l4edge_compression.quantization.rmsmp import RmsmpConfig
from l4edge_perception.errors import InputError
from l4edge_perception.json_records import from_json

__all__ = [
    "CERTIFYING", "METHODS", "ApotConfig", "BinaryConfig", "EsbConfig", "FixedConfig", "IlmpqConfig", "LayerSummary",
    "OcclusionConfig", "PotConfig", "QuantizationConfig", "RmsmpConfig", "ScaleCertConfig", "Schedule", "begin_epoch",
    "compress_", "config_from_json", "config_to_json", "describe", "dump_config", "parameter_groups", "quantizing",
    "read_config", "reassign_rows", "restore_", "row_assignments", "save_package",
]

METHODS: dict[str, type[QuantizationConfig]] = {
    kind.method: kind for kind in (
        RmsmpConfig, IlmpqConfig, EsbConfig, BinaryConfig, FixedConfig, PotConfig, ApotConfig,
    )
}
"""The settings of each method that quantizes, by its name."""

CERTIFYING: dict[str, type[ScaleCertConfig]] = {ScaleCertConfig.method: ScaleCertConfig}
"""The settings of methods that make a model certifiable."""

Model = TypeVar("Model", bound=nn.Module)


def compress_(
    model: Model,
    config: QuantizationConfig | ScaleCertConfig,
    data: Iterable[Any] | None = None,
    loss_function: Loss | None = None,
) -> Model:
    """Quantize a model in place, and return it.

    Its Conv2d and Linear layers get quantized weights, the tensors between them quantizers under ``model.quantizers``;
    names of parameters stay. With data, everything is calibrated and post-training quantization is done. With a
    ScaleCertConfig it gets a sparse stem instead, see ``defense.training.sparsifying.sparsify_``.

    Args:
        model: any that ``torch.fx`` can trace.
        config: settings of the method.
        data: batches of inputs, or (inputs, labels) pairs; gone through more than once unless it is an iterator, whose
            batches are then kept. None, where the settings say that training batches are observed.
        loss_function: of (outputs, labels), for scores of rows; without it labels are not looked at.

    Raises:
        InputError: model, settings or data cannot be used; the message says which and why. The model is then as it was.
    """
    if isinstance(config, ScaleCertConfig):
        return sparsify_(model, config, data)
    if not isinstance(config, QuantizationConfig):
        raise InputError(
            f"config: {type(config).__name__} is none; use one of {', '.join(sorted({**METHODS, **CERTIFYING}))}"
        )
    if data is None and not config.observe_in_training:
        raise InputError(
            "data: compress_ needs batches to calibrate with; give data, or set observe_in_training to a number of "
            "training batches"
        )
    batches = list(data) if isinstance(data, Iterator) else data
    if hasattr(model, "compression"):
        raise InputError(f"model {type(model).__name__}: is compressed already; start from the float model")
    if batches is not None:
        check_data(model, batches)
    place_(model, config)
    try:
        with _keeping_random_state(config.seed):
            mixed = reassign_rows(model, batches, loss_function)
            for layer, module in quantized_layers(model):
                if layer.name not in mixed:
                    module.row_quantizer.fit(module.weight)
            if batches is not None:
                calibrate(model, batches)
                if config.normalization == "reestimate":
                    reestimate_normalization(model, batches)
    except BaseException:
        take_out_(model)
        raise
    _activations_off(model, config)
    return model


def restore_(model: Model, config: QuantizationConfig, state: dict[str, Any]) -> Model:
    """Quantize a float model as a checkpoint says: ``state_dict()`` of a compressed one. It needs no data.

    Raises:
        InputError: the checkpoint does not fit model and settings.
    """
    place_(model, config)
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        take_out_(model)
        raise InputError(f"state: does not fit the model and its settings: {error}".replace("\n", " ")) from error
    return model


class _keeping_random_state:  # noqa: N801 - reads as a verb
    """Whatever is random inside the block follows the seed, and what is random outside does not notice."""

    def __init__(self, seed: int):
        self.seed = seed

    def __enter__(self) -> None:
        self.state = torch.get_rng_state()
        torch.manual_seed(self.seed)

    def __exit__(self, *_: object) -> None:
        torch.set_rng_state(self.state)


def _activations_off(model: nn.Module, config: QuantizationConfig) -> None:
    if isinstance(config, BinaryConfig) and config.activation_bits is None:
        for quantizer in activation_quantizers(model):
            quantizer.state = "off"


def config_to_json(config: QuantizationConfig | ScaleCertConfig) -> dict[str, Any]:
    """Return the settings as JSON values, with the method's name."""
    return {"method": config.method, **json.loads(json.dumps(dataclasses.asdict(config)))}


def config_from_json(value: Any, file: str = "config") -> QuantizationConfig | ScaleCertConfig:
    """Return settings from JSON values; the inverse of :func:`config_to_json`. Fields left out have their defaults.

    Raises:
        InputError: unknown method or field, or a value of another type.
    """
    fields = dict(value) if isinstance(value, dict) else {}
    method = fields.pop("method", None)
    known: dict[str, type[QuantizationConfig | ScaleCertConfig]] = {**METHODS, **CERTIFYING}
    if method not in known:
        raise InputError(f"{file}: field method: is {method!r}; must be one of {', '.join(known)}")
    result: QuantizationConfig | ScaleCertConfig = from_json(known[method], fields, file)
    return result


def quantizing(config: QuantizationConfig | ScaleCertConfig, file: str = "config") -> QuantizationConfig:
    """Return settings that must be a quantization's.

    Raises:
        InputError: they are of a method that does something else.
    """
    if not isinstance(config, QuantizationConfig):
        raise InputError(
            f"{file}: field method: is {config.method!r}, which does not quantize; must be one of {', '.join(METHODS)}"
        )
    return config


def dump_config(config: QuantizationConfig | ScaleCertConfig) -> str:
    """Return the settings as a JSON text."""
    return json.dumps(config_to_json(config), indent=2) + "\n"


def read_config(path: str | Path) -> QuantizationConfig | ScaleCertConfig:
    """Read settings from a JSON file, as :func:`dump_config` writes them.

    Raises:
        InputError: no such file, not JSON, or not settings.
    """
    try:
        value = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); give a file of settings") from error
    except ValueError as error:
        raise InputError(f"{path}: is not JSON: {error}") from error
    return config_from_json(value, str(path))


@dataclass(frozen=True)
class LayerSummary:
    """How one layer is quantized.

    Attributes:
        name: of the layer.
        schemes: number of rows in each format.
        row_schemes: the format of each row, in order.
        bits_per_weight: mean over the weights.
    """

    name: str
    schemes: dict[str, int]
    row_schemes: tuple[str, ...]
    bits_per_weight: float


def describe(model: nn.Module) -> list[LayerSummary]:
    """Return how each layer of a compressed model is quantized, in order of computation.

    Raises:
        InputError: the model is not compressed.
    """
    summaries = []
    for layer, module in quantized_layers(model):
        quantizer = module.row_quantizer
        names = quantizer.row_formats()
        bits: Tensor = torch.tensor([float(levels.bits) for levels in quantizer.formats])
        mean = float(bits[quantizer.assignment.cpu()].mean())
        summaries.append(LayerSummary(layer.name, dict(Counter(names)), tuple(names), mean))
    return summaries


def save_package(model: nn.Module, folder: str | Path, **options: Any) -> Any:
    """Write a compressed model as a model package; see ``quantization.export.save_package`` for the options.

    Raises:
        InputError: the model is not compressed or not calibrated, or the package fails its parity check. Nothing is
            written then.
    """
    from l4edge_compression.quantization import export

    compression_of(model)
    return export.save_package(model, folder, **options)
