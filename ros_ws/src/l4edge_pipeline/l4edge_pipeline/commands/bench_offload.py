"""``l4edge bench offload``: an offload node at its modelled rate, killed and overfilled, beside the driving chain."""

import json
import math
import multiprocessing
import os
import platform
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple

import click

from l4edge_perception.errors import InputError

BATCH = 8
"""Crops in a request of the load: as many as the classifier reads of one frame."""
DEADLINE_OF_MODELLED = 6.0
"""Deadline of such a request: so many times the modelled time of its work."""
BURST_OF_LIMIT = 4
"""The queue is overfilled with so many times the requests that it has room for."""
READY_S = 120.0
LOOK_S = 0.02

EVENTS: Sequence[Tuple[float, str]] = (
    (0.10, "overfill"), (0.25, "kill"), (0.28, "restart"), (0.42, "overfill"), (0.55, "calm"), (0.70, "kill"),
    (0.73, "restart"), (0.85, "busy"), (0.92, "overfill"),
)
"""Share of the time, and what happens then. At the whole modelled rate a queue has no room for anybody else; when it is
calm, a quarter of that rate leaves room for the chain."""
CALM = 0.25


@click.command()
@click.option("--seconds", type=click.FloatRange(min=1.0), default=60.0, show_default=True, help="Under load.")
@click.option("--recording", type=click.Path(path_type=Path), default=Path("examples/demo_drive"), show_default=True,
              help="Drive that the chain replays meanwhile at its own pace, as often as it fits.")
@click.option("--chain/--no-chain", default=True, show_default=True, help="Run the driving chain beside the load.")
@click.option("--load", "share", type=click.FloatRange(min=0.0), default=1.0, show_default=True,
              help="Requests at so many times the modelled rate.")
@click.option("--accelerator", type=click.Path(path_type=Path),
              help="Configuration that `l4edge accel compile` wrote; without it two small engines on an XC7Z020.")
@click.option("--keep", type=click.Path(path_type=Path), help="Folder that keeps the runs.")
@click.option("--json", "as_json", is_flag=True, help="Print the results as JSON.")
def command(seconds: float, recording: Path, chain: bool, share: float, accelerator: Optional[Path],
            keep: Optional[Path], as_json: bool) -> None:
    """Load an offload node as much as its modelled device can bear, and watch who gets an answer.

    The network that reads signs runs on a simulated accelerator, paced by its modelled time. A load of requests keeps
    it busy at its whole modelled rate, for a while at a quarter of it. Three times its queue is overfilled, twice it is
    killed and started again. Beside it the driving chain replays a drive with its signs offloaded to the same node;
    before that once without. No board was tested.
    """
    from l4edge_pipeline.stages import default_path

    folder = keep or Path(tempfile.mkdtemp(prefix="l4edge_bench_offload_"))
    try:
        results = measure(seconds, recording if chain else None, share, accelerator, default_path().resolve(), folder)
    finally:
        if keep is None:
            shutil.rmtree(folder, ignore_errors=True)
    if as_json:
        print(json.dumps(results, indent=2))
    else:
        _print_table(results)


def measure(
    seconds: float, recording: Optional[Path], share: float, accelerator: Optional[Path], stages: Path, folder: Path
) -> Dict[str, Any]:
    """Run everything and return what the command prints as JSON.

    Raises:
        InputError: ROS 2 is not here, or the node does not come up.
    """
    try:
        from l4edge_pipeline.nodes import benchmark_offload as nodes
    except ImportError as error:
        raise InputError(f"{error.name}: not installed; run this where ROS 2 and l4edge_msgs are") from error
    from l4edge_accel.configuration import read_configuration
    from l4edge_accel.offload.backend import modelled_seconds, quantized_level
    from l4edge_perception.packages import load_package
    from l4edge_pipeline.replay.graph import environment
    from l4edge_pipeline.report.offloading import chain_summary, request_summary
    from l4edge_pipeline.resources import find_package

    before = os.getloadavg()[0]
    package = find_package("sign_classifier").resolve()
    level = quantized_level(load_package(package)).name
    modelled_s = modelled_seconds(package, level, read_configuration(accelerator) if accelerator else None)
    os.environ.update(environment(folder / "offload"))
    without = _replayed(recording, stages, folder / "without", None, lambda _: None) if recording else None
    load = nodes.Load(str(package), level, BATCH, 1e3 * DEADLINE_OF_MODELLED * BATCH * modelled_s, str(stages))
    values = {"seconds_per_inference": modelled_s, "package": str(package), "level": level,
              "accelerator": str(accelerator.resolve()) if accelerator else ""}
    rate_hz = share / (BATCH * modelled_s)
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    player = context.Process(target=nodes.play, args=(theirs, load), daemon=True)
    player.start()
    try:
        under_load = _under_load(ours, stages, folder, values, rate_hz, seconds, recording)
    except (EOFError, ConnectionError) as error:
        raise click.ClickException("the benchmark's client ended early; its own message is above") from error
    finally:
        player.join(timeout=10)
        player.kill()
    return {
        "machine": f"{platform.machine()}, {os.cpu_count()} processors, Linux {platform.release()}",
        "load_average": [round(before, 1), round(os.getloadavg()[0], 1)],
        "hardware_tested": False,
        "backend": under_load.status["backend"],
        "modelled_s_per_inference": modelled_s,
        "seconds": round(under_load.seconds, 1),
        "offered_hz": rate_hz,
        "batch": BATCH,
        "events": under_load.events,
        "requests": request_summary(under_load.books),
        **chain_summary(without, under_load.runs),
    }


class _UnderLoad(NamedTuple):
    """What the load gave: the node's status before it, how long it lasted, what happened, its books, the replays."""

    status: Dict[str, Any]
    seconds: float
    events: List[Dict[str, Any]]
    books: Any
    runs: List[Dict[str, Any]]


def _under_load(
    client: Any, stages: Path, folder: Path, values: Dict[str, Any], rate_hz: float, seconds: float,
    recording: Optional[Path],
) -> _UnderLoad:
    from l4edge_pipeline.replay.graph import Graph, environment
    from l4edge_pipeline.replay.processes import ProcessGroup
    from l4edge_pipeline.stages import OFFLOAD

    events: List[Dict[str, Any]] = []
    with ProcessGroup(folder / "offload", environment(folder / "offload")) as group:
        graph = Graph(group, stages)
        graph.start(OFFLOAD, values)
        status = _wait_until_ready(client, group)

        def act(what: str, at_s: float) -> None:
            events.append({"at_s": round(at_s, 1), "what": what})
            if what == "kill":
                child = group.children.pop(OFFLOAD)
                child.process.kill()
                child.process.wait()
            elif what == "restart":
                graph.start(OFFLOAD, values)
                if recording is None:  # a chain goes on meanwhile; here nothing else would happen
                    _wait_until_ready(client, group)
            elif what in ("calm", "busy"):
                client.send("rate {}".format(rate_hz * (CALM if what == "calm" else 1.0)))
            else:
                client.send("burst {}".format(BURST_OF_LIMIT * status["queue_limit"]))

        client.send(f"rate {rate_hz}")
        began = time.monotonic()
        runs = _drive(recording, stages, folder, seconds, act)
        under_load_s = time.monotonic() - began
        client.send("end")
        books = client.recv()
        group.stop(OFFLOAD)
    return _UnderLoad(status, under_load_s, events, books, runs)


def _wait_until_ready(connection: Any, group: Any) -> Dict[str, Any]:
    from l4edge_pipeline.replay.processes import describe_death

    give_up = time.monotonic() + READY_S
    while time.monotonic() < give_up:
        dead = group.dead()
        if dead is not None:
            raise InputError(describe_death(dead))
        connection.send("ready")
        status: Optional[Dict[str, Any]] = connection.recv()
        if status is not None:
            return status
        time.sleep(0.1)
    raise InputError(f"the offload node was not ready within {READY_S:.0f} s")


def _drive(
    recording: Optional[Path], stages: Path, folder: Path, seconds: float, act: Callable[[str, float], None]
) -> List[Dict[str, Any]]:
    """Let the time pass, with or without the chain; what happens in it happens at its share of the time or frames."""
    pending, began = list(EVENTS), time.monotonic()

    def pass_by(share: float) -> None:
        while pending and pending[0][0] <= share:
            act(pending.pop(0)[1], time.monotonic() - began)

    if recording is None:
        passed_s = 0.0
        while passed_s < seconds:
            pass_by(passed_s / seconds)  # however long that takes
            time.sleep(LOOK_S)
            passed_s += LOOK_S
        return []
    from l4edge_perception.recordings.reader import open_recording

    source = open_recording(recording, None, {})
    rate_hz = 10.0
    count = max(1, math.ceil(seconds * rate_hz / max(1, source.frame_count)))
    whole = count * source.frame_count
    runs = []
    for turn in range(count):
        done = turn * source.frame_count

        def progress(offered: int, done: int = done) -> None:
            pass_by((done + offered) / whole)

        runs.append(_replayed(recording, stages, folder / f"with_{turn}", "signs", progress))
    return runs


def _replayed(
    recording: Path, stages: Path, folder: Path, offload: Optional[str], on_progress: Callable[[int], None]
) -> Dict[str, Any]:
    """One replay: latencies of its chain, its misses, and who read the signs."""
    from l4edge_pipeline.replay.options import ReplayOptions
    from l4edge_pipeline.replay.session import replay
    from l4edge_pipeline.report.offloading import read_misses
    from l4edge_pipeline.stages import load_stages

    folder.mkdir(parents=True, exist_ok=True)
    options = ReplayOptions(recording=recording.resolve(), stages_file=stages, offload=offload, offload_node=False)
    if offload is None:  # the same network, on the CPU
        from l4edge_accel.offload.backend import quantized_level
        from l4edge_perception.packages import load_package
        from l4edge_pipeline.resources import find_package

        package = find_package("sign_classifier").resolve()
        options = ReplayOptions(
            recording=recording.resolve(), stages_file=stages, classifier=str(package),
            classifier_level=quantized_level(load_package(package)).name,
        )
    replay(options, folder, on_progress)
    return read_misses(folder, load_stages(stages))


def _print_table(results: Dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    console.print("{backend}: {modelled_s_per_inference:.2e} s an inference (modelled); no board was tested".format(
        **results))
    requests = results["requests"]
    title = "{seconds} s, {offered_hz:.0f} requests of {batch} a second".format(**results)
    table = Table("requests", "count", title=title)
    for name in ("sent", "answered", "refused", "timed_out", "cancelled", "unaccounted", "wrong_answers"):
        table.add_row(name.replace("_", " "), str(requests[name]))
    for reason, count in requests["reasons"].items():
        table.add_row("  " + reason, str(count))
    console.print(table)
    console.print("events: " + ", ".join("{what} at {at_s} s".format(**event) for event in results["events"]))
    if "chain" in results:
        table = Table("chain", "frames", "p50 [ms]", "p99 [ms]", "late", "incomplete", "misses")
        for name, row in results["chain"].items():
            table.add_row(name + " offloading", str(row["frames"]), f"{row['p50_ms']:.1f}", f"{row['p99_ms']:.1f}",
                          str(row["late"]), str(row["incomplete"]), f"{row['misses_share']:.2%}")
        console.print(table)
        console.print("signs read: {signs_read}".format(**results))
    console.print("[dim]{machine}, load {load_average[0]} to {load_average[1]}".format(**results))
