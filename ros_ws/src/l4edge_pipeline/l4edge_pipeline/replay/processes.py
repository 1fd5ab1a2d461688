"""Child processes that end with their parent, and a clear word about one that dies."""

import ctypes
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Container, Dict, List, Mapping, Optional

from l4edge_perception.errors import InputError

PR_SET_PDEATHSIG = 1
STOP_S = 10.0
"""How long a node may take to finish what it holds; a recorder that closes a bag needs the most."""


@dataclass
class Child:
    """A running node."""

    name: str
    arguments: List[str]
    process: subprocess.Popen
    log: Path


class ProcessGroup:
    """The nodes of one run. As a context manager it leaves no process behind, whatever happens.

    Args:
        logs: folder that takes one log file a node.
        environment: of all nodes, on top of this process's own.
    """

    def __init__(self, logs: Path, environment: Mapping[str, str]):
        self._logs = logs
        self._environment = {**os.environ, **environment}
        self.children: Dict[str, Child] = {}
        logs.mkdir(parents=True, exist_ok=True)

    def __enter__(self) -> "ProcessGroup":
        return self

    def __exit__(self, *_: object) -> None:
        for child in self.children.values():
            if child.process.poll() is None:
                child.process.kill()
        for child in self.children.values():
            child.process.wait()

    def start(self, name: str, arguments: List[str], pipe: bool = False) -> Child:
        """Start ``python -m arguments``; with ``pipe`` its standard output can be read from the child."""
        log = self._logs / (name + ".log")
        with log.open("ab") as stream:
            process = subprocess.Popen(
                [sys.executable, "-m", *arguments], env=self._environment, stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE if pipe else stream, stderr=stream,
                preexec_fn=_end_with_parent,  # noqa: PLW1509 - one system call, nothing that a thread could hold
                start_new_session=True,
            )
        child = Child(name, arguments, process, log)
        self.children[name] = child
        return child

    def dead(self, spared: Container[str] = ()) -> Optional[Child]:
        """A node that has ended by itself, if any but those ``spared``."""
        for child in self.children.values():
            if child.name not in spared and child.process.poll() is not None:
                return child
        return None

    def stop(self, name: str) -> None:
        """Ask a node to finish and wait for it.

        Raises:
            InputError: it did not end in time, or it ended with a fault.
        """
        child = self.children.pop(name)
        child.process.send_signal(signal.SIGINT)
        try:
            child.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            child.process.kill()
            child.process.wait()
            raise InputError(f"node {name} did not end within {STOP_S:.0f} s; see {child.log}") from None
        if child.process.returncode != 0:
            raise InputError(describe_death(child))


def describe_death(child: Child) -> str:
    """One line: which node, how it ended, what it said last, where the rest is."""
    code = child.process.returncode
    how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
    lines = child.log.read_text(errors="replace").strip().splitlines()
    last = ": {}".format(lines[-1].replace("l4edge: error: ", "")) if lines else ""
    return f"node {child.name} {how}{last} (its log: {child.log})"


def wait_while(condition: Callable[[], bool], seconds: float, step: float = 0.02) -> bool:
    """Whether ``condition()`` turned false within ``seconds``."""
    give_up = time.monotonic() + seconds
    while condition():
        if time.monotonic() > give_up:
            return False
        time.sleep(step)
    return True


def _end_with_parent() -> None:
    # The kernel ends the node when the parent dies, even by SIGKILL.
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
