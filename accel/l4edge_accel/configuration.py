"""What the compiler decides, the simulator runs and the RTL is built from: one frozen record, kept as JSON."""

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Dict, Tuple, Union

from l4edge_accel.formats import BINARY, NumberFormat, number_format
from l4edge_perception.errors import InputError
from l4edge_perception.files import write_text
from l4edge_perception.json_records import from_json

FORMAT, VERSION = "l4edge-accelerator", 1
CORES = ("lut", "dsp")
MOST_GROUPS = 3
"""Row groups of one tile: the RTL has room for three formats side by side, what RMSMP needs."""


@dataclass(frozen=True)
class RowGroup:
    """Rows of a tile that share a number format.

    Attributes:
        format: name of the weights' format, see ``formats.number_format``.
        rows: outputs computed in parallel.
        core: ``lut`` or ``dsp``: what multiplies; only fixed point can be on DSPs.
        packing: products per DSP and cycle (1, 2 or 4; FILM-QNN's packing). The RTL computes the same integers in the
            same cycles whatever it is; it counts in resources only.
    """

    format: str
    rows: int
    core: str = "lut"
    packing: int = 1

    @property
    def number_format(self) -> NumberFormat:
        """The format itself."""
        return number_format(self.format)


@dataclass(frozen=True)
class EngineConfig:
    """One tile engine with its three streams.

    Attributes:
        name: unique in a configuration; layers are mapped to engines by it.
        groups: rows by format, in the order of the tile's outputs; Tm is the sum of their rows.
        inputs: Tn, input channels multiplied in parallel.
        lanes: Tf, tokens in parallel; the weights are shared between lanes.
        activation_bits: of one activation code.
        activation_signed: two's complement if true, else unsigned.
        accumulator_bits: of one partial sum.
        output_bits: of one output; as many as the accumulator or more: raw sums, else shifted, rounded and saturated.
        ports_in, ports_weight, ports_out: how many ports of ``port_bits`` each stream is wide.
        port_bits: of one port.
        tokens: the most tokens that buffers hold for one pass.
    """

    name: str
    groups: Tuple[RowGroup, ...]
    inputs: int
    lanes: int = 1
    activation_bits: int = 8
    activation_signed: bool = True
    accumulator_bits: int = 24
    output_bits: int = 32
    ports_in: int = 1
    ports_weight: int = 1
    ports_out: int = 1
    port_bits: int = 128
    tokens: int = 256

    @property
    def rows(self) -> int:
        """Tm: outputs computed in parallel."""
        return sum(group.rows for group in self.groups)

    @property
    def operand_bits(self) -> int:
        """Bits of an activation as a signed operand."""
        return self.activation_bits + (not self.activation_signed)

    @property
    def weight_tile_bits(self) -> int:
        """Bits of the weights of one tile, Tm x Tn."""
        return self.inputs * sum(group.rows * group.number_format.bits for group in self.groups)

    @property
    def tree_levels(self) -> int:
        """Adder levels, each with a register."""
        return math.ceil(math.log2(self.inputs))

    @property
    def has_binary(self) -> bool:
        """Whether some rows are binary: they need one more register, where twice the selected sum meets the sum."""
        return any(group.number_format.kind == BINARY for group in self.groups)

    @property
    def depth(self) -> int:
        """Cycles from a token's last read until its sum can be read: read, product, tree, accumulate."""
        return 2 + self.tree_levels + self.has_binary

    @property
    def token_groups_limit(self) -> int:
        """Words of each buffer half: groups of ``lanes`` tokens."""
        return max(2, math.ceil(self.tokens / self.lanes))

    @property
    def activations_per_beat(self) -> int:
        """Activation codes that one beat carries: whole codes per port."""
        return self.ports_in * (self.port_bits // self.activation_bits)

    @property
    def beats_per_token_group(self) -> int:
        """Beats of the activation stream for one group of ``lanes`` tokens, Tn codes each."""
        return math.ceil(self.lanes * self.inputs / self.activations_per_beat)

    @property
    def beats_per_weight_tile(self) -> int:
        """Beats of the weight stream for one tile; weights are packed without gaps."""
        return math.ceil(self.weight_tile_bits / (self.ports_weight * self.port_bits))

    @property
    def outputs_per_beat(self) -> int:
        """Outputs that one beat carries."""
        return self.ports_out * (self.port_bits // self.output_bits)

    @property
    def beats_per_output_group(self) -> int:
        """Beats of the output stream for one group of ``lanes`` tokens, Tm outputs each."""
        return math.ceil(self.lanes * self.rows / self.outputs_per_beat)

    @property
    def macs_per_cycle(self) -> int:
        """Multiply-accumulates per cycle when nothing stalls."""
        return self.rows * self.inputs * self.lanes


@dataclass(frozen=True)
class AcceleratorConfig:
    """A whole accelerator.

    Attributes:
        name: for people.
        device: name of a device of ``devices``.
        clock_hz: assumed, not the result of a timing analysis.
        engines: those that exist side by side.
    """

    name: str
    device: str
    clock_hz: float
    engines: Tuple[EngineConfig, ...]

    def engine(self, name: str) -> EngineConfig:
        """Return the engine of that name; InputError if there is none."""
        for engine in self.engines:
            if engine.name == name:
                return engine
        known = ", ".join(engine.name for engine in self.engines)
        raise InputError(f"accelerator {self.name}: no engine {name!r}; there are {known}")


def check_engine(engine: EngineConfig, place: str = "engine") -> EngineConfig:
    """Return ``engine`` if RTL can be built from it.

    Raises:
        InputError: what cannot be built, with the field.
    """
    positive = (
        "inputs", "lanes", "activation_bits", "accumulator_bits", "output_bits", "ports_in", "ports_weight",
        "ports_out", "port_bits", "tokens",
    )
    for name in positive:
        if getattr(engine, name) < 1:
            raise InputError(f"{place}: field {name}: must be at least 1, is {getattr(engine, name)}")
    if not 1 <= len(engine.groups) <= MOST_GROUPS:
        raise InputError(f"{place}: field groups: 1 to {MOST_GROUPS} row groups, are {len(engine.groups)}")
    for i, group in enumerate(engine.groups):
        number = group.number_format
        if group.rows < 1:
            raise InputError(f"{place}: field groups.{i}.rows: must be at least 1, is {group.rows}")
        if group.core not in CORES or (group.core == "dsp" and number.kind != "fixed"):
            raise InputError(f"{place}: field groups.{i}.core: {group.core!r} cannot multiply {group.format}; use lut")
        if group.packing not in {1, 2, 4}:
            raise InputError(f"{place}: field groups.{i}.packing: must be 1, 2 or 4, is {group.packing}")
    if engine.inputs < 2:
        raise InputError(f"{place}: field inputs: must be at least 2, is {engine.inputs}")
    for name in ("activation_bits", "output_bits"):
        if getattr(engine, name) > engine.port_bits:
            raise InputError(
                f"{place}: field {name}: {getattr(engine, name)} bits do not fit a port of {engine.port_bits}"
            )
    needed = accumulator_bits(engine, engine.inputs)
    if engine.accumulator_bits < needed:
        raise InputError(
            f"{place}: field accumulator_bits: one tile alone needs {needed}, are {engine.accumulator_bits}"
        )
    return engine


def accumulator_bits(engine: EngineConfig, inputs: int) -> int:
    """Bits that hold every sum of ``inputs`` products in ``engine``, sign included."""
    activation = 2 ** (engine.operand_bits - 1)
    largest = max(group.number_format.largest_magnitude for group in engine.groups) * activation * inputs
    return int(largest).bit_length() + 1


def configuration_json(configuration: AcceleratorConfig) -> Dict[str, Any]:
    """Return ``configuration`` as what ``json`` writes, with its format and version."""
    return {"format": FORMAT, "version": VERSION, **asdict(configuration)}


def configuration_from_json(value: Any, file: str) -> AcceleratorConfig:
    """Return the configuration that ``value``, read from ``file``, holds.

    Raises:
        InputError: a field is missing, unknown, of another type, or cannot be built.
    """
    if not isinstance(value, dict) or value.get("format") != FORMAT or value.get("version") != VERSION:
        raise InputError(
            f"{file}: not a configuration of an accelerator ({FORMAT}, version {VERSION}); "
            "write one with l4edge accel compile"
        )
    fields = {name: item for name, item in value.items() if name not in {"format", "version"}}
    configuration = from_json(AcceleratorConfig, fields, file)
    for i, engine in enumerate(configuration.engines):
        check_engine(engine, f"{file}: engines.{i}")
    return configuration


def read_configuration(path: Union[str, Path]) -> AcceleratorConfig:
    """Read a configuration; InputError names what is wrong with the file."""
    try:
        value = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as JSON ({error})") from error
    return configuration_from_json(value, str(path))


def write_configuration(path: Union[str, Path], configuration: AcceleratorConfig) -> None:
    """Write a configuration as JSON, whole or not at all."""
    write_text(path, json.dumps(configuration_json(configuration), indent=2) + "\n")
