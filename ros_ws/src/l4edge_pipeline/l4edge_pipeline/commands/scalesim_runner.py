"""SCALE-Sim 3.0.0 on one matrix product, in a process of its own.

The wheel comes without any configuration or layout file; both are written here. A layout file is needed although none
of its entries is used.
"""

import importlib.util
import re
import resource
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path
from typing import Any, Dict

LIMIT_S = 900

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


def run(outputs: int, inputs: int, tokens: int, array: int) -> Dict[str, Any]:
    """Cycles and processor seconds of SCALE-Sim, weight-stationary; or ``skipped`` with the reason."""
    if importlib.util.find_spec("scalesim") is None:
        return {"skipped": "not installed; pip install scalesim==3.0.0"}
    version = metadata.version("scalesim")
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        (place / "scale.cfg").write_text(_CONFIGURATION.format(array=array), encoding="utf-8")
        (place / "topology.csv").write_text(
            f"Layer, M, N, K,\nproduct, {tokens}, {outputs}, {inputs},\n", encoding="utf-8"
        )
        (place / "layout.csv").write_text("Layer,\n", encoding="utf-8")
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        try:
            done = subprocess.run(
                [sys.executable, "-m", "scalesim.scale", "-c", "scale.cfg", "-t", "topology.csv", "-l", "layout.csv",
                 "-p", "out", "-i", "gemm", "-s", "N"],
                cwd=folder, capture_output=True, text=True, timeout=LIMIT_S, check=False,
            )
        except subprocess.TimeoutExpired:
            return {"version": version, "skipped": f"not done after {LIMIT_S} s"}
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    found = re.search(r"Total cycles:\s*(\d+)", done.stdout) or re.search(r"Compute cycles:\s*(\d+)", done.stdout)
    if done.returncode or not found:
        lines = (done.stderr or done.stdout).strip().splitlines()
        return {"version": version, "skipped": f"it failed: {lines[-1] if lines else 'no output'}"}
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"version": version, "cycles": int(found[1]), "seconds": seconds}
