"""``l4edge bench transport``: what it takes to pass a camera frame to another process."""

import json
import multiprocessing
import os
import platform
from typing import Any, Dict, List, Optional, Tuple

import click

from l4edge_perception.errors import InputError

FRAMES_PER_TURN = 20
MEMORY_FOLDER = "/dev/shm"  # noqa: S108 (looked at, not written to)


@click.command()
@click.option("--frames", type=click.IntRange(1), default=200, show_default=True, help="Frames of each variant.")
@click.option("--rate", type=click.FloatRange(1, 100), default=10.0, show_default=True, help="Frames per second.")
@click.option("--executor", type=click.Choice(["events", "single"]), default="events", show_default=True,
              help="rclpy's executor in the subscriber.")
@click.option("--kills", type=click.IntRange(0), default=20, show_default=True,
              help="Writers, and readers, to kill inside a frame.")
@click.option("--json", "as_json", is_flag=True, help="Print the results as JSON.")
def command(frames: int, rate: float, executor: str, kills: int, as_json: bool) -> None:
    """Pass 1920x1080 rgb8 frames between processes, as sensor_msgs/Image and as shared frames, and kill both ends.

    The variants take turns in one run. Latency counts from the complete frame in the publisher's memory to a verified
    array in the subscriber's hands. Frames that were sent but never arrived are lost; a frame that passed for whole
    and was not is torn.
    """
    results = measure(frames, rate, executor, kills)
    if as_json:
        print(json.dumps(results, indent=2))
    else:
        _print_table(results)


def measure(frames: int, rate: float, executor: str, kills: int) -> Dict[str, Any]:
    """Run the benchmark and return what the command prints as JSON."""
    try:
        from l4edge_pipeline.nodes import benchmark_transport as nodes
    except ImportError as error:
        raise InputError(f"{error.name}: not installed; run this where ROS 2 and l4edge_msgs are") from error
    from l4edge_pipeline.transport import crashes

    files_before = set(os.listdir(MEMORY_FOLDER))
    before = os.getloadavg()[0]
    turns = -(-frames // FRAMES_PER_TURN)
    plan = nodes.Plan(
        rounds=1 + turns, frames=FRAMES_PER_TURN, rate=rate, executor=executor,
        namespace=f"/bench_{os.getpid()}", domain=1 + os.getpid() % 100,
    )
    published, received = _run(nodes, plan)
    sent = turns * FRAMES_PER_TURN
    variants = {name: _summary(latencies, sent) for name, latencies in received.latencies_ms.items()}
    plain = _best_plain(variants)
    killed = {"writers": crashes.kill_writers(kills), "readers": crashes.kill_readers(kills)}
    # Fast DDS keeps files of its own there; they are not this transport's.
    files = [name for name in set(os.listdir(MEMORY_FOLDER)) - files_before if "fastdds" not in name]
    leaked = {
        "files": len(files),
        "descriptors": max(0, published.opened_descriptors) + max(0, received.opened_descriptors)
        + sum(end["leaked_descriptors"] for end in killed.values()),
        "memory_files": int(published.inode in crashes.memory_files())
        + sum(end["leaked_memory_files"] for end in killed.values()),
    }
    shared, in_place = variants["shared"], variants["shared_in_place"]
    best = variants[plain] if plain else _summary([], sent)
    return {
        "machine": f"{platform.machine()}, {os.cpu_count()} processors, Linux {platform.release()}",
        "load": [round(before, 1), round(os.getloadavg()[0], 1)],
        "middleware_profile": os.environ.get("FASTDDS_DEFAULT_PROFILES_FILE", "default"),
        "executor": executor,
        "rate_hz": rate,
        "frames": sent,
        "plain": plain,
        "plain_p50_ms": best["p50_ms"],
        "plain_p99_ms": best["p99_ms"],
        "shared_p50_ms": shared["p50_ms"],
        "shared_p99_ms": shared["p99_ms"],
        "shared_in_place_p50_ms": in_place["p50_ms"],
        "shared_in_place_p99_ms": in_place["p99_ms"],
        "ratio": _ratio(best, shared),
        "ratio_in_place": _ratio(best, in_place),
        "torn": received.torn,
        "lost": shared["lost"] + in_place["lost"],
        "leaked": sum(leaked.values()),
        "crash_failures": sum(end["failures"] for end in killed.values()),
        "variants": variants,
        "leaks": leaked,
        "killed": killed,
    }


def _run(nodes: Any, plan: Any) -> Tuple[Any, Any]:
    """Run both nodes to their end; return what the publisher and what the subscriber had to say."""
    context = multiprocessing.get_context("spawn")
    processes, connections = [], []
    for target in (nodes.publish, nodes.subscribe):
        ours, theirs = context.Pipe()
        process = context.Process(target=target, args=(theirs, plan), daemon=True)
        process.start()
        theirs.close()
        processes.append(process)
        connections.append(ours)
    publisher, subscriber = connections
    try:
        published = publisher.recv()
        subscriber.send("end")
        received = subscriber.recv()
        publisher.send("end")
    except (EOFError, ConnectionError) as error:
        raise click.ClickException("a node of the benchmark ended early; its own message is above") from error
    finally:
        for process in processes:
            process.join(timeout=10)
            process.kill()
            process.join()
    return published, received


def _summary(latencies_ms: List[float], sent: int) -> Dict[str, Any]:
    import numpy as np

    p50, p99 = (round(float(rank), 3) for rank in np.percentile(latencies_ms or [np.nan], [50, 99]))
    received = len(latencies_ms)
    return {
        "p50_ms": p50 if received else None, "p99_ms": p99 if received else None,
        "received": received, "lost": sent - received,
    }


def _best_plain(variants: Dict[str, Dict[str, Any]]) -> Optional[str]:
    """Return the fastest plain variant that delivered at least half of its frames."""
    usable = [name for name, row in variants.items() if name.startswith("plain") and row["received"] >= row["lost"]]
    return min(usable, key=lambda name: variants[name]["p50_ms"], default=None)


def _ratio(plain: Dict[str, Any], shared: Dict[str, Any]) -> Optional[float]:
    if plain["p50_ms"] is None or shared["p50_ms"] is None:
        return None
    return round(plain["p50_ms"] / shared["p50_ms"], 1)


def _print_table(results: Dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("variant", "p50 [ms]", "p99 [ms]", "received", "lost", title="1920x1080 rgb8 between two processes")
    for name, row in results["variants"].items():
        table.add_row(name, *(str(row[key]) for key in ("p50_ms", "p99_ms", "received", "lost")))
    console = Console()
    console.print(table)
    ratios = "{plain} : shared {ratio}, in place {ratio_in_place}; torn {torn}, leaked {leaked}"
    console.print(ratios.format(**results))
    for end, row in results["killed"].items():
        console.print("{kills} {end} killed inside a frame: {failures} failures".format(end=end, **row))
    console.print("[dim]{machine}, load {load[0]} to {load[1]}, {executor} executor, {rate_hz} Hz".format(**results))
