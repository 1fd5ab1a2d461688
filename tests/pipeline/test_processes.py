"""Child processes: none outlives its parent, a death is told in one line."""

import os
import signal
import subprocess
import sys
import time

import pytest

from l4edge_perception.errors import InputError
from l4edge_pipeline.replay.processes import ProcessGroup, describe_death, wait_while
from l4edge_pipeline.replay.supervisor import RESTARTS, Supervisor

SLEEPER = "import time\ntime.sleep(60)\n"
REFUSER = "import sys\nprint('l4edge: error: no such package', file=sys.stderr)\nsys.exit(2)\n"
POLITE = """import signal, sys, time
signal.signal(signal.SIGINT, lambda *_: sys.exit(0))
print("ready", flush=True)
time.sleep(60)
"""


@pytest.fixture
def group(tmp_path, monkeypatch):
    for name, code in (("sleeper", SLEEPER), ("refuser", REFUSER), ("polite", POLITE)):
        (tmp_path / (name + ".py")).write_text(code)
    with ProcessGroup(tmp_path / "logs", {"PYTHONPATH": str(tmp_path)}) as group:
        yield group


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as stream:
            return stream.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_death_names_node_cause_and_log(group):
    child = group.start("detection", ["refuser"])
    child.process.wait(10)
    assert group.dead() is child
    text = describe_death(child)
    assert "node detection" in text and "no such package" in text and str(child.log) in text and "\n" not in text


def test_killed_node_is_told_by_its_signal(group):
    child = group.start("detection", ["sleeper"])
    child.process.send_signal(signal.SIGKILL)
    child.process.wait(10)
    assert "was ended by SIGKILL" in describe_death(child)


def test_stop_asks_and_waits(group):
    child = group.start("control", ["polite"], pipe=True)
    assert child.process.stdout.readline() == b"ready\n"
    group.stop("control")
    assert child.process.returncode == 0 and "control" not in group.children


def test_stop_reports_a_node_that_ended_badly(group):
    child = group.start("control", ["refuser"])
    child.process.wait(10)
    with pytest.raises(InputError, match="node control ended with exit code 2"):
        group.stop("control")


def test_children_end_with_a_killed_parent(tmp_path):
    (tmp_path / "sleeper.py").write_text(SLEEPER)
    code = (
        "import sys, time; from pathlib import Path; from l4edge_pipeline.replay.processes import ProcessGroup\n"
        "group = ProcessGroup(Path({0!r}) / 'logs', {{'PYTHONPATH': {0!r}}})\n"
        "print(group.start('a', ['sleeper']).process.pid, flush=True); time.sleep(60)"
    ).format(str(tmp_path))
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    pid = int(parent.stdout.readline())
    assert alive(pid)
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    assert wait_while(lambda: alive(pid), 10.0)


def test_supervisor_starts_a_dead_node_again_until_it_gives_up(group):
    starts = []

    def start(name):
        starts.append(name)
        group.start(name, ["sleeper"])

    start("detection")
    said = []
    supervisor = Supervisor(group, start, said.append)
    for _ in range(RESTARTS):
        kill(group, "detection")
        supervisor.check()
    assert len(starts) == 1 + RESTARTS and len(said) == RESTARTS
    kill(group, "detection")
    with pytest.raises(InputError, match="SIGKILL"):
        supervisor.check()


def test_supervisor_does_not_repeat_a_refusal(group):
    group.start("detection", ["refuser"]).process.wait(10)
    supervisor = Supervisor(group, lambda name: pytest.fail("started again"), lambda line: None)
    with pytest.raises(InputError, match="no such package"):
        supervisor.check()


def kill(group, name):
    process = group.children[name].process
    process.kill()
    process.wait()
    time.sleep(0.01)
