"""``l4edge bench monitor``: what the safety monitor costs the driving chain, and whether its faults are noticed."""

import json
import multiprocessing
import os
import platform
import shutil
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any, Dict, List, Optional, Sequence, Tuple

import click

from l4edge_perception.errors import InputError

WARM_UP_FRAMES = 10
CUT_RESERVE_MS = 70.0
"""In the run with cuts: the monitor gets so much less time that not everything can be covered."""
FAULTS_S = 150.0
"""For all faults together. What this leaves no time for, because no state is certified, counts as not noticed."""


@click.command()
@click.option("--recording", type=click.Path(path_type=Path), default=Path("examples/demo_drive"), show_default=True,
              help="Drive to replay at its own pace.")
@click.option("--runs", type=click.IntRange(0), default=5, show_default=True,
              help="Replays without and with the monitor, in turns.")
@click.option("--repeats", type=click.IntRange(0), default=3, show_default=True, help="Times each fault is tried.")
@click.option("--level", help="Operating point of the detector in the driving chain.")
@click.option("--stages", type=click.Path(path_type=Path), help="Another table of stages.")
@click.option("--keep", type=click.Path(path_type=Path), help="Folder that keeps the runs.")
@click.option("--json", "as_json", is_flag=True, help="Print the results as JSON.")
def command(recording: Path, runs: int, repeats: int, level: Optional[str], stages: Optional[Path],
            keep: Optional[Path], as_json: bool) -> None:
    """Measure the safety monitor with the whole pipeline beside it.

    After one replay that warms the machine up, replays take turns without and with the monitor; the chain's growth is
    that of the median over the replays, so that one pause of the machine decides nothing. One more cuts the monitor's
    time short and counts certificates that speak of more than was covered. Then the monitor is killed, frozen, slowed,
    given numbers that are none, pictures of another size, no detections and a model file that changes under it, each
    from a certified state on; its consumer must hold everything for uncertified within two periods.
    """
    from l4edge_pipeline.stages import default_path

    folder = keep or Path(tempfile.mkdtemp(prefix="l4edge_bench_monitor_"))
    try:
        results = measure(recording, runs, repeats, level, (stages or default_path()).resolve(), folder)
    finally:
        if keep is None:
            shutil.rmtree(folder, ignore_errors=True)
    if as_json:
        print(json.dumps(results, indent=2))
    else:
        _print_table(results)


def measure(
    recording: Path, runs: int, repeats: int, level: Optional[str], stages: Path, folder: Path
) -> Dict[str, Any]:
    """Run everything and return what the command prints as JSON."""
    try:
        from l4edge_pipeline.nodes import benchmark_monitor  # noqa: F401
    except ImportError as error:
        raise InputError(f"{error.name}: not installed; run this where ROS 2 and l4edge_msgs are") from error
    before = os.getloadavg()[0]
    results: Dict[str, Any] = {
        "machine": f"{platform.machine()}, {os.cpu_count()} processors, Linux {platform.release()}",
        "recording": str(recording),
        **_replays(recording.resolve(), runs, level, stages, folder),
        **_faults(recording.resolve(), repeats, stages, folder),
    }
    results["load"] = [round(before, 1), round(os.getloadavg()[0], 1)]
    return results


def _replays(recording: Path, runs: int, level: Optional[str], stages: Path, folder: Path) -> Dict[str, Any]:
    from l4edge_pipeline.safety.evaluation import chain_latencies, overclaims, read_run, verdict_delays
    from l4edge_pipeline.stages import load_stages
    from l4edge_pipeline.timing.statistics import percentile

    if not runs:
        return {}
    latencies: Dict[bool, List[List[float]]] = {False: [], True: []}
    delays: List[Optional[float]] = []
    at_monitor: List[Optional[float]] = []
    verdicts: List[Any] = []
    _replay(recording, folder / "warm_up", level, stages, True)
    for turn in range(runs):
        for monitor in (False, True) if turn % 2 == 0 else (True, False):
            run = folder / f"{'with' if monitor else 'without'}_{turn}"
            _replay(recording, run, level, stages, monitor)
            records, said = read_run(run)
            table = load_stages(stages, monitor)
            latencies[monitor].append(chain_latencies(records, table, WARM_UP_FRAMES))
            if monitor:
                delays += verdict_delays(records, WARM_UP_FRAMES)
                at_monitor += verdict_delays(records, WARM_UP_FRAMES, from_stage="safety")
                verdicts += said
    _replay(recording, folder / "cut", level, stages, True, {"safety_monitor": {"reserve_ms": CUT_RESERVE_MS}})
    _, cut = read_run(folder / "cut")

    def spread(monitor: bool) -> Dict[str, Any]:
        found: Dict[str, Any] = {"frames": sum(len(run) for run in latencies[monitor])}
        for share in (50, 99):
            of_runs = [value for run in latencies[monitor] for value in [percentile(run, share)] if value is not None]
            found[f"p{share}_ms"] = median(of_runs) if of_runs else None
            found[f"p{share}_ms_of_runs"] = [round(value, 2) for value in of_runs]
        return found

    without, beside = spread(False), spread(True)
    deadline_ms = load_stages(stages, True).stages["safety"].deadline_ms
    given = [value for value in delays if value is not None]
    return {
        "runs": runs,
        "frames": len(delays),
        "verdict_in_time": _share(sum(value <= deadline_ms for value in given), len(delays)),
        "verdict_p50_ms": percentile(given, 50),
        "verdict_p99_ms": percentile(given, 99),
        "verdict_in_time_from_its_own_arrival": _share(
            sum(value is not None and value <= deadline_ms for value in at_monitor), len(at_monitor)
        ),
        "chain_p50_growth": _growth(without["p50_ms"], beside["p50_ms"]),
        "chain_p99_growth": _growth(without["p99_ms"], beside["p99_ms"]),
        "chain": {"without": without, "with": beside},
        "verdicts": _counted(verdicts),
        "verdicts_when_cut": _counted(cut),
        "deadline_cuts": sum(_is_cut(verdict) for verdict in verdicts + cut),
        "certificates_beyond_covered": sum(overclaims(verdict) for verdict in verdicts + cut),
    }


def _is_cut(verdict: Any) -> bool:
    return bool(verdict.passes_done < verdict.passes_required)


def _replay(
    recording: Path, folder: Path, level: Optional[str], stages: Path, monitor: bool,
    parameters: Optional[Dict[str, Dict[str, Any]]] = None,
) -> None:
    from l4edge_pipeline.replay.options import ReplayOptions
    from l4edge_pipeline.replay.session import replay

    folder.mkdir(parents=True, exist_ok=True)
    files: List[Path] = []
    if parameters:
        files.append(folder / "parameters.yaml")
        content = {f"/{node}": {"ros__parameters": values} for node, values in parameters.items()}
        files[0].write_text(json.dumps(content), encoding="utf-8")  # JSON is YAML
    options = ReplayOptions(
        recording=recording, stages_file=stages, parameters=files, level=level, monitor=monitor
    )
    replay(options, folder, lambda _: None)


def _faults(recording: Path, repeats: int, stages: Path, folder: Path) -> Dict[str, Any]:
    if not repeats:
        return {}
    from l4edge_pipeline.nodes import benchmark_monitor as nodes
    from l4edge_pipeline.replay.graph import Graph, environment
    from l4edge_pipeline.replay.processes import ProcessGroup
    from l4edge_pipeline.resources import find_package
    from l4edge_pipeline.safety.playlist import make_playlist
    from l4edge_pipeline.safety.trials import FROZEN, KILLED, SLOWED, WRONG_HASH, Bench, Trial
    from l4edge_pipeline.stages import load_stages

    table = load_stages(stages, True)
    safety = table.stages["safety"]
    period_ms = 1e3 / safety.rate_hz
    packages = folder / "packages"
    copies: Dict[str, str] = {}
    for role, name in (("signs", safety.package), ("detector", "detector")):
        copies[role] = str(packages / role)
        shutil.copytree(str(find_package(str(name))), copies[role])
    settings = environment(folder / "faults")
    os.environ.update(settings)
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    playlist = make_playlist(recording, safety.rate_hz)
    player = context.Process(target=nodes.play, args=(theirs, playlist, str(stages)), daemon=True)
    player.start()
    faults = (KILLED, FROZEN, SLOWED, WRONG_HASH, *nodes.INPUT_FAULTS)
    trials: List[Trial] = []

    def hear() -> Tuple[int, List[Any]]:
        ours.send("beliefs")
        answer: Tuple[int, List[Any]] = ours.recv()
        return answer

    try:
        with ProcessGroup(folder / "faults", settings) as group:
            graph = Graph(group, stages)
            bench = Bench(group, graph, copies, packages, ours.send, hear, period_ms)
            until = time.monotonic() + FAULTS_S
            trials += [
                bench.trial(fault) if time.monotonic() < until else Trial(fault, False) for fault in faults * repeats
            ]
        ours.send("end")
    except (EOFError, ConnectionError) as error:
        raise click.ClickException("the player of the benchmark ended early; its own message is above") from error
    finally:
        player.join(timeout=10)
        player.kill()
    return {
        "period_ms": period_ms,
        "faults_tried": len(trials),
        "faults_uncertified_in_time": sum(trial.in_time(period_ms) for trial in trials),
        "faults": {fault: _of_fault([trial for trial in trials if trial.fault == fault], period_ms)
                   for fault in faults},
    }


def _of_fault(trials: Sequence[Any], period_ms: float) -> Dict[str, Any]:
    return {
        "tried": len(trials),
        "from_a_certified_state": sum(trial.tried for trial in trials),
        "uncertified_in_time": sum(trial.in_time(period_ms) for trial in trials),
        "after_ms": [trial.after_ms for trial in trials],
        "relapses": sum(trial.relapses for trial in trials),
        "reasons": sorted({trial.reason for trial in trials if trial.reason}),
    }


def _counted(verdicts: Sequence[Any]) -> Dict[str, int]:
    counts: Dict[str, int] = {}
    for verdict in verdicts:
        name = f"{verdict.verdict.name.lower()} ({verdict.reason})"
        counts[name] = counts.get(name, 0) + 1
    return counts


def _share(part: int, whole: int) -> Optional[float]:
    return round(part / whole, 4) if whole else None


def _growth(before: Optional[float], after: Optional[float]) -> Optional[float]:
    return None if not before or after is None else round(after / before - 1, 4)


def _print_table(results: Dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    if "chain" in results:
        table = Table("chain", "frames", "p50 [ms]", "p99 [ms]", title="The driving chain without and with the monitor")
        for name, row in results["chain"].items():
            table.add_row(name, str(row["frames"]), f"{row['p50_ms']:.1f}", f"{row['p99_ms']:.1f}")
        console.print(table)
        console.print(
            "growth: p50 {chain_p50_growth:+.1%}, p99 {chain_p99_growth:+.1%}; verdict in time for "
            "{verdict_in_time:.2%} of {frames} frames (p99 {verdict_p99_ms:.1f} ms); {deadline_cuts} frames cut short, "
            "{certificates_beyond_covered} certificates beyond what was covered".format(**results)
        )
        console.print("verdicts: {verdicts}; when cut: {verdicts_when_cut}".format(**results))
    if "faults" in results:
        table = Table("fault", "tried", "uncertified in time", "after [ms]", "reason", title="Faults of the monitor")
        for name, row in results["faults"].items():
            table.add_row(name, str(row["tried"]), str(row["uncertified_in_time"]),
                          ", ".join(map(str, row["after_ms"])), ", ".join(row["reasons"]))
        console.print(table)
        console.print("{faults_uncertified_in_time} of {faults_tried} uncertified within two periods".format(**results))
    console.print("[dim]{machine}, load {load[0]} to {load[1]}".format(**results))
