"""What all methods have in common: the settings of activations, and which layers are treated how."""

from __future__ import annotations

import dataclasses
import fnmatch
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, TypeVar

from torch import Tensor

from l4edge_compression.quantization.esb import Reference
from l4edge_compression.quantization.formats import LevelSet, Rounding, level_set
from l4edge_compression.quantization.graph import Layer
from l4edge_compression.quantization.modules import ActivationQuantizer, Granularity
from l4edge_compression.quantization.observers import Calibration
from l4edge_compression.quantization.row_scales import ScaleRule
from l4edge_perception.errors import InputError

Score = Literal["fisher", "hessian", "output_error", "weight"]
Shares = tuple[float, float, float]
Self = TypeVar("Self", bound="QuantizationConfig")


@dataclass(frozen=True)
class WeightPolicy:
    """How the weights of one layer are quantized.

    Attributes:
        formats: that rows may have.
        granularity, rule, rounding, reference: of the scales, see ``modules.RowQuantizer``.
        ratio: shares of rows in the three formats; None where there is one format.
        progressive: becomes binary step by step.
    """

    formats: tuple[LevelSet, ...]
    granularity: Granularity = "row"
    rule: ScaleRule = "absmax"
    rounding: Rounding = "nearest"
    reference: Reference = "normal"
    ratio: Shares | None = None
    progressive: bool = False


@dataclass(frozen=True)
class QuantizationConfig:
    """Settings that every method has.

    Attributes:
        activation_bits: of tensors that layers and products read, 1 to 16. Graphs that run as integers take up to 8.
        input_bits: of the network's input. Whole numbers from 0 to 255 stay as they are with 8.
        output_bits: of the results of layers that leave the network; null leaves them float.
        joint_bits: of tensors that no multiplication reads (operands of residual sums, averages).
        sums: which sums are computed with integers: ``auto``, all but those that a LayerNorm reads (the residual stream
            of a transformer, whose few large channels leave 8 bits no resolution); ``all``; or ``none``.
        calibration: how ranges of activations are chosen: least squared error, percentile, or everything.
        activation_scale: ``learned`` by gradient in training, or ``observed`` once.
        observe_in_training: where there is no calibration data, watch this many training batches first.
        ends: ``same`` treats the first and last layers like the others (RMSMP), ``8bit`` gives them 8 bits.
        exclude: layers left in float, names or patterns such as ``head.*``.
        overrides: other settings for some layers, pattern to fields; the first pattern that fits counts.
        unsupported: what to do with layers that cannot be quantized: ``error``, or leave them ``float``.
        normalization: ``reestimate`` measures batch normalization's statistics anew behind quantized layers.
        seed: of everything random.
    """

    method: ClassVar[str] = ""

    activation_bits: int = 4
    input_bits: int = 8
    output_bits: int | None = 8
    joint_bits: int = 8
    sums: str = "auto"
    calibration: str = "mse"
    activation_scale: str = "learned"
    observe_in_training: int = 0
    ends: str = "same"
    exclude: tuple[str, ...] = ()
    overrides: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    unsupported: str = "error"
    normalization: str = "keep"
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("activation_bits", "input_bits", "joint_bits", "output_bits"):
            bits = getattr(self, name)
            if bits is not None and not 1 <= bits <= 16:
                raise InputError(f"{type(self).__name__}: {name} is {bits}; must be 1 to 16")
        self.check_choice("sums", "auto", "all", "none")
        self.check_choice("calibration", "mse", "percentile", "absmax")
        self.check_choice("activation_scale", "learned", "observed")
        self.check_choice("ends", "same", "8bit")
        self.check_choice("unsupported", "error", "float")
        self.check_choice("normalization", "keep", "reestimate")
        if self.observe_in_training < 0:
            raise InputError(f"{type(self).__name__}: observe_in_training is negative; give a number of batches")
        for pattern, fields in self.overrides.items():
            known = {entry.name for entry in dataclasses.fields(self)} - {"overrides", "exclude", "seed", "unsupported"}
            for name in fields:
                if name not in known:
                    raise InputError(
                        f"{type(self).__name__}: overrides of {pattern}: field {name} is unknown; fields here are "
                        f"{', '.join(sorted(known))}"
                    )
            dataclasses.replace(self, overrides={}, **fields)

    def check_choice(self, name: str, *choices: str) -> None:
        """Raise an InputError where a field is none of the choices."""
        value = getattr(self, name)
        if value not in choices:
            raise InputError(f"{type(self).__name__}: {name} is {value!r}; must be {' or '.join(choices)}")

    def excludes(self, name: str) -> bool:
        """Whether the layer of this name stays float."""
        return any(fnmatch.fnmatchcase(name, pattern) for pattern in self.exclude)

    def for_layer(self: Self, name: str) -> Self:
        """Return the settings of one layer, with the overrides that name it."""
        for pattern, fields in self.overrides.items():
            if fnmatch.fnmatchcase(name, pattern):
                return dataclasses.replace(self, overrides={}, **fields)
        return self

    def wide(self, layer: Layer) -> bool:
        """Whether the layer gets 8 bits for being the first or the last."""
        return self.ends == "8bit" and (layer.first or layer.last)

    def weights(self, layer: Layer, weight: Tensor) -> WeightPolicy:
        """Return how the layer's weight is quantized; the settings are those of :meth:`for_layer`."""
        raise NotImplementedError

    def layer_activation_bits(self, layer: Layer) -> int:
        """Return the bits of the tensor that the layer reads."""
        return max(self.activation_bits, 8) if self.wide(layer) else self.activation_bits

    def activation(self, name: str, bits: int, *, multiplied: bool, is_input: bool) -> ActivationQuantizer:
        """Return the quantizer of one tensor."""
        del multiplied
        calibration: Calibration = self.calibration  # type: ignore[assignment]
        return ActivationQuantizer(
            bits, name=name, calibration="absmax" if is_input else calibration, pixels=is_input,
            learned=self.activation_scale == "learned" and not is_input, observe=self.observe_in_training,
        )


def formats_of(*names: str) -> tuple[LevelSet, ...]:
    """Return the level sets of these names."""
    return tuple(level_set(name) for name in names)


EIGHT_BITS = WeightPolicy(formats_of("fixed8"), granularity="row", rule="absmax")
"""Of first and last layers that get 8 bits."""
