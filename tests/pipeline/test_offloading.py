"""What offloading adds to the table of stages, to the supervisor of a live run and to what a benchmark reports."""

from collections import Counter
from types import SimpleNamespace

import pytest

from l4edge_pipeline.replay.processes import ProcessGroup, wait_while
from l4edge_pipeline.replay.supervisor import RESTARTS, Supervisor
from l4edge_pipeline.report.offloading import chain_summary, request_summary
from l4edge_pipeline.stages import OFFLOAD, load_stages


def test_the_offload_node_is_part_of_a_run_only_when_asked_for():
    assert OFFLOAD not in load_stages().services
    assert OFFLOAD not in load_stages(monitor=True).services
    service = load_stages(offload=True).services[OFFLOAD]
    assert set(service.inputs) == {"offload_request"} and set(service.outputs) == {"offload_answer", "offload_status"}
    assert load_stages(offload=True).stages == load_stages().stages


@pytest.mark.parametrize("dispensable", [True, False])
def test_a_node_nobody_depends_on_does_not_end_a_run(tmp_path, dispensable):
    (tmp_path / "mortal.py").write_text("import sys\nsys.exit(1)\n")
    lines = []
    with ProcessGroup(tmp_path / "logs", {"PYTHONPATH": str(tmp_path)}) as group:

        def start(name):
            group.start(name, ["mortal"])

        supervisor = Supervisor(group, start, lines.append, dispensable=("mortal",) if dispensable else ())
        start("mortal")
        ended = "ended with exit code 1"
        for _ in range(RESTARTS + dispensable):
            assert wait_while(lambda: group.dead() is None, 20.0)
            supervisor.check()
        if dispensable:
            supervisor.check()
            assert supervisor.given_up == {"mortal"}
            assert lines[-1].endswith("the pipeline goes on without it")
        else:
            assert wait_while(lambda: group.dead() is None, 20.0)
            with pytest.raises(Exception, match=ended):
                supervisor.check()
    assert len(lines) == RESTARTS + dispensable


def test_requests_without_an_end_show():
    books = SimpleNamespace(
        sent=10, ends=Counter(answered=4, refused=3, timed_out=2), reasons=Counter({"queue full": 3}), wrong=0,
        late_words=0, modelled_s=[0.005] * 4, wall_s=[0.001, 0.002, 0.003, 0.006], latency_ms=[6.0, 7.0, 8.0, 9.0],
    )
    summary = request_summary(books)
    assert summary["unaccounted"] == 1
    assert (summary["answered"], summary["cancelled"], summary["slower_than_modelled"]) == (4, 0, 1)
    assert (summary["latency_p50_ms"], summary["modelled_p50_ms"]) == (7.0, 5.0)


def test_frames_that_never_arrive_count_as_missed():
    run = {"frames": 100, "incomplete": 1, "late": 2, "latencies_ms": [50.0] * 97 + [120.0] * 2,
           "signs": {"offloaded": 3, "away": 4}}
    summary = chain_summary(run, [run, run])
    assert summary["chain_deadline_misses"] == 0.03
    assert summary["chain"]["with"]["frames"] == 200 and summary["chain"]["without"]["frames"] == 100
    assert summary["signs_read"] == {"offloaded": 6, "away": 8}
    assert chain_summary(None, []) == {}
