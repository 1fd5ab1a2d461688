"""SCALE-Sim 3.0.0 on matrix products, in a process of its own, and its closed form.

The wheel comes without any configuration or layout file; both are written here. A layout file is needed although none
of its entries is used. Its command line writes traces of some 140 MB whatever it is told, so its class is called.
"""

import csv
import io
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Sequence

LIMIT_S = 900

NEEDS = "make it with `python3 scripts/environment.py --scalesim`, or name a Python with --scalesim-python"
OWN_ENVIRONMENT = Path(sys.prefix).parent / ".venv-scalesim" / "bin" / "python"
"""What scripts/environment.py makes beside this environment: SCALE-Sim fails with numpy 2.4 and newer."""

_PROGRAM = """\
import importlib.metadata, json, time
from scalesim.scale_sim import scalesim
peer = scalesim(save_disk_space=True, verbose=False, config="scale.cfg", topology="topology.csv", layout="layout.csv",
                input_type_gemm=True)
started = time.process_time()
peer.run_scale(top_path="out")
seconds = time.process_time() - started
versions = {name: importlib.metadata.version(name) for name in ("scalesim", "numpy")}
print(json.dumps({"seconds": seconds, "version": versions["scalesim"], "numpy": versions["numpy"]}))
"""
"""What the other process runs. Imports are not timed, progress bars and traces are off."""

_CONFIGURATION = """\
[general]
run_name = product
[architecture_presets]
ArrayHeight = {array}
ArrayWidth = {array}
IfmapSramSzkB = 512
FilterSramSzkB = 512
OfmapSramSzkB = 512
IfmapOffset = 0
FilterOffset = 10000000
OfmapOffset = 20000000
Dataflow = ws
Bandwidth = 64
ReadRequestBuffer = 64
WriteRequestBuffer = 64
[layout]
IfmapCustomLayout = False
FilterCustomLayout = False
IfmapSRAMBankBandwidth = 10
IfmapSRAMBankNum = 10
IfmapSRAMBankPort = 2
FilterSRAMBankBandwidth = 10
FilterSRAMBankNum = 10
FilterSRAMBankPort = 2
[sparsity]
SparsitySupport = false
SparseRep = ellpack_block
OptimizedMapping = false
BlockSize = 8
RandomNumberGeneratorSeed = 40
[run_presets]
InterfaceBandwidth = CALC
UseRamulatorTrace = False
"""


class Product(NamedTuple):
    """A matrix product: ``outputs`` x ``inputs`` times ``inputs`` x ``tokens``."""

    outputs: int
    inputs: int
    tokens: int


def default_python() -> str:
    """The Python of SCALE-Sim's own environment, or this one where there is none."""
    return str(OWN_ENVIRONMENT) if OWN_ENVIRONMENT.exists() else sys.executable


def run(products: Sequence[Product], array: int, python: str) -> Dict[str, Any]:
    """Run SCALE-Sim on products, weight-stationary on ``array`` x ``array``.

    Args:
        products: each as a layer of its own.
        array: rows and columns.
        python: interpreter that has SCALE-Sim.

    Returns:
        ``version`` and that of ``numpy``, processor ``seconds`` for all products, ``layers`` as :func:`read_report`
        has them; or ``skipped`` with the reason.
    """
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        (place / "scale.cfg").write_text(_CONFIGURATION.format(array=array), encoding="utf-8")
        layers = "".join(f"l{i}, {one.tokens}, {one.outputs}, {one.inputs},\n" for i, one in enumerate(products))
        (place / "topology.csv").write_text("Layer, M, N, K,\n" + layers, encoding="utf-8")
        (place / "layout.csv").write_text("Layer,\n", encoding="utf-8")
        # An environment of its own: not the modules that this process finds by PYTHONPATH.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        try:
            done = subprocess.run(
                [python, "-c", _PROGRAM], cwd=folder, env=environment, capture_output=True, text=True,
                timeout=LIMIT_S, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return {"skipped": f"not done after {LIMIT_S} s"}
        except OSError as error:
            return {"skipped": f"{python} cannot be started ({error.strerror}); {NEEDS}"}
        if done.returncode:
            lines = done.stderr.strip().splitlines()
            return {"skipped": f"it failed: {lines[-1] if lines else 'no output'}; {NEEDS}"}
        report = (place / "out" / "product" / "COMPUTE_REPORT.csv").read_text(encoding="utf-8")
    return {**json.loads(done.stdout.splitlines()[-1]), "layers": read_report(report)}


def read_report(text: str) -> List[Dict[str, int]]:
    """Cycles of every layer in a COMPUTE_REPORT.csv.

    Returns:
        Per layer ``cycles`` of the array, ``prefetch_cycles`` before it starts, and ``stall_cycles`` among the former.
        SCALE-Sim counts cycles from 0 and reports the last one's number; here it is how many there are.
    """
    rows = csv.DictReader(io.StringIO(text), skipinitialspace=True)
    return [
        {
            "cycles": int(row["Total Cycles"]) + 1,
            "prefetch_cycles": int(row["Total Cycles (incl. prefetch)"]) - int(row["Total Cycles"]),
            "stall_cycles": int(row["Stall Cycles"]),
        }
        for row in rows
    ]


def closed_form_cycles(product: Product, array: int) -> int:
    """Cycles of a weight-stationary systolic array that overlaps nothing: every fold loads, fills, streams and drains.

    A fold loads its weights in ``array`` cycles; the last of ``tokens`` enters ``tokens`` - 1 cycles after the first,
    and leaves by the farthest corner 2 x ``array`` - 1 cycles after it entered.
    """
    folds = -(-product.outputs // array) * -(-product.inputs // array)
    return folds * (product.tokens + not_overlapped(array))


def not_overlapped(array: int) -> int:
    """Cycles of a fold in which no token enters the array."""
    return 3 * array - 2
