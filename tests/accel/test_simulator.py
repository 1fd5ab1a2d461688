"""The event simulation: equal to the cycle recursion of the RTL where it must be, and never faster than it may be."""

import heapq
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from l4edge_accel.configuration import AcceleratorConfig, EngineConfig, RowGroup
from l4edge_accel.cycles import (
    MemoryModel,
    TileCounts,
    TileTimes,
    exact_cycles,
    expected_cycles,
    random_streams,
    timeline,
)
from l4edge_accel.events import STALLS, STREAMS, Block, Machine
from l4edge_accel.memory import TICKS, UNLIMITED, MemorySystem, Server, memory_of
from l4edge_accel.network_cost import Assumptions, engine_for, layer_tiles, network_cost
from l4edge_accel.schedule import plan
from l4edge_accel.simulator import simulate
from l4edge_accel.workload import Gemm, Step, Workload, deit, named_workloads
from l4edge_perception.errors import InputError

LINEAR = EngineConfig("linear", (RowGroup("binary", 64),), 32, accumulator_bits=24, output_bits=8)
ATTENTION = EngineConfig("attention", (RowGroup("fixed8", 32, "dsp"),), 16, accumulator_bits=32, output_bits=8)
TWO = AcceleratorConfig("two", "zcu102", 150e6, (LINEAR, ATTENTION))


def small() -> Workload:
    """A transformer of one block, quick to walk through."""
    return deit("small", 96, 3, depth=1, tokens=65, classes=10).quantized({"binary": 1.0}, 8, {"fixed8": 1.0}, 8)


def alone(block: Block, memory: MemorySystem, latencies=None):
    server = Server()
    machine = Machine(0, memory, server)
    machine.start(block, 0, latencies)
    while True:
        time, turn = heapq.heappop(machine.events)
        if machine.event(turn % STREAMS, time):
            return machine.outcome(time), server.served / TICKS


@st.composite
def layers(draw):
    groups = draw(st.integers(1, 40))
    counts = TileCounts(draw(st.integers(1, 7)), draw(st.integers(1, 6)), groups)
    parts = [draw(st.integers(1, 70)) for _ in range(3)]
    return counts, TileTimes(parts[0], parts[1], max(groups, 2), parts[2], groups + draw(st.integers(3, 9)))


@settings(max_examples=80, deadline=None)
@given(layers())
def test_one_layer_on_an_unlimited_memory_takes_the_cycles_of_the_rtl(layer):
    run, _ = alone(Block(*layer, (0, 0, 0)), UNLIMITED)
    expected = timeline(*layer)
    assert run.cycles == expected.cycles
    assert run.compute == (expected.compute[0, 0], expected.compute[-1, 1])
    ends = [expected.activations[-1, 1], expected.weights[-1, 1], expected.output[-1, 1]]
    assert [end for _, end in run.transfers] == ends
    assert run.waits == (0, 0, 0)
    assert run.stalls[STALLS.index("memory")] == 0
    assert run.busy + sum(run.stalls) == run.cycles


@settings(max_examples=60, deadline=None)
@given(layers(), st.integers(1, 20), st.integers(0, 20), st.integers(1, 20), st.integers(0, 99))
def test_with_the_pauses_of_the_rtl_it_takes_the_cycles_of_the_rtl(layer, burst, least, more, seed):
    model = MemoryModel(burst, least, least + more)
    streams = random_streams(model, *layer, np.random.default_rng(seed))
    pauses = [stream.pauses.tolist() for stream in streams]
    memory = MemorySystem(burst_beats=burst, latency=least, most_latency=least + more, outstanding=1)
    run, _ = alone(Block(*layer, (0, 0, 0)), memory, pauses)
    assert run.cycles == timeline(*layer, streams).cycles
    assert run.busy + sum(run.stalls) == run.cycles


@settings(max_examples=60, deadline=None)
@given(layers(), st.floats(0.2, 40), st.integers(0, 50), st.integers(1, 4), st.integers(0, 60_000))
def test_no_memory_makes_a_layer_faster_than_its_bounds(layer, rate, latency, outstanding, size):
    memory = MemorySystem(rate, 16, latency, outstanding=outstanding)
    beats = Block(*layer, (0, 0, 0)).beats()
    ticks = tuple(memory.ticks_per_beat(size, count) for count in beats)
    run, served = alone(Block(*layer, ticks), memory)
    assert run.cycles >= timeline(*layer).cycles
    assert run.cycles >= served >= 3 * size / rate
    assert run.busy + sum(run.stalls) == run.cycles


def test_random_latency_is_near_the_mean_that_the_model_expects():
    errors = []
    for seed in range(12):
        generator = np.random.default_rng(seed)
        groups = int(generator.integers(8, 60))
        counts = TileCounts(int(generator.integers(2, 6)), int(generator.integers(3, 8)), groups)
        parts = generator.integers(8, 80, 3).tolist()
        times = TileTimes(parts[0], parts[1], groups, parts[2], groups + 8)
        expected = expected_cycles(counts, times, MemoryModel(16, 0, 24), draws=4, seed=100 + seed)
        fixed, _ = alone(Block(counts, times, (0, 0, 0)), MemorySystem(latency=12, outstanding=1))
        errors.append(abs(fixed.cycles / expected - 1))
    assert np.mean(errors) < 0.05
    assert max(errors) < 0.12


def test_engines_in_turns_take_the_cycles_of_the_recursion_and_the_bytes_of_the_analytic_model():
    workload = small()
    run = simulate(workload, TWO, UNLIMITED, side_by_side=False)
    cost = network_cost(workload, TWO)
    assert run.cycles == pytest.approx(cost.cycles, rel=0.01), "its closed form has corner cases"
    assert [layer.name for layer in run.layers] == [layer.name for layer in cost.layers]
    assert run.cycles == sum(layer.occupied for layer in run.layers)
    layers = {layer.name: layer for layer in run.layers}
    for gemm in workload.gemms:
        counts, times = layer_tiles(gemm, engine_for(gemm, TWO), Assumptions())
        assert layers[gemm.name].occupied == gemm.repeats * exact_cycles(counts, times)
    assert run.bytes_moved == cost.bytes_moved


@pytest.mark.parametrize("rate", [2.0, 24.0])
def test_known_blocks_are_exactly_what_walking_gives(rate):
    memory = MemorySystem(rate, latency=30)
    for count in (1, 3):
        known = simulate(small(), TWO, memory, inferences=count, interval_cycles=2_001)
        assert known == simulate(small(), TWO, memory, inferences=count, interval_cycles=2_001, recall=False)


def test_a_layer_is_accounted_for_cycle_by_cycle():
    run = simulate(small(), TWO)
    for layer in run.layers:
        assert layer.compute.busy + sum(layer.stalls.values()) == layer.occupied
        assert layer.start < layer.end <= run.cycles
        assert layer.start <= layer.compute.start < layer.compute.end <= layer.end
    for number, engine in enumerate(run.engines):
        own = [layer for layer in run.layers if layer.engines == (engine.name,)]
        assert engine.busy == sum(layer.compute.busy for layer in own), number
        assert engine.busy + engine.stalled == sum(layer.occupied for layer in own) <= run.cycles


def test_a_slower_memory_makes_the_network_slower_and_the_bytes_take_their_time():
    cycles = []
    for rate in (64.0, 8.0, 2.0):
        run = simulate(small(), TWO, MemorySystem(rate, latency=40))
        assert run.cycles >= run.bytes_moved / rate
        assert 0 < run.memory_busy <= 1
        cycles.append(run.cycles)
    assert cycles == sorted(cycles)
    assert cycles[-1] > 2 * cycles[0]


def test_heads_overlap_with_softmax_but_layers_wait_for_what_they_need():
    run = simulate(small(), TWO)
    layers = {layer.name: layer for layer in run.layers}
    scores, softmax, mix = (layers["blocks.0." + name] for name in ("scores", "softmax", "mix"))
    assert scores.start < softmax.start < scores.end
    assert mix.end > softmax.end
    assert layers["blocks.0.proj"].start >= mix.end
    assert scores.start >= layers["blocks.0.qkv"].end
    in_turns = simulate(small(), TWO, side_by_side=False)
    assert run.cycles < in_turns.cycles


def test_inferences_use_engines_that_others_leave_idle():
    one, three = simulate(small(), TWO), simulate(small(), TWO, inferences=3)
    assert three.frames_per_second > 1.2 * one.frames_per_second
    assert three.cycles >= max(engine.busy + engine.stalled for engine in three.engines)
    assert min(three.latencies) >= one.latencies[0]
    late = simulate(small(), TWO, inferences=2, interval_cycles=one.cycles)
    assert late.latencies[0] == one.cycles
    assert late.arrivals == (0, one.cycles)


def contest(rate: float, engines: int):
    gemms = [Gemm(f"g{number}", 512, 256, 128, weight_rows={"fixed8": 1.0}) for number in range(2)]
    workload = Workload("two products", tuple(gemms))
    board = [replace(ATTENTION, name=f"engine{number}") for number in range(engines)]
    free = {"g1": ()}
    return simulate(workload, AcceleratorConfig("c", "zcu102", 150e6, tuple(board)), MemorySystem(rate, latency=20),
                    dependencies=free)


def test_two_engines_share_the_memory_and_slow_each_other_down():
    wide, alone_ = contest(1000.0, 2), contest(1000.0, 1)
    assert wide.cycles < 0.55 * alone_.cycles
    narrow = contest(8.0, 2)
    ends = sorted(layer.end for layer in narrow.layers)
    assert narrow.memory_busy > 0.95
    assert narrow.cycles >= narrow.bytes_moved / 8.0
    assert ends[0] > 0.9 * ends[1], "none of them is favoured"
    stalled = sum(layer.stalls.get("memory", 0) for layer in narrow.layers)
    assert stalled > 0.4 * sum(layer.occupied for layer in narrow.layers)


def test_random_latencies_depend_on_the_seed_alone():
    memory = MemorySystem(32.0, latency=5, most_latency=60, seed=3)
    workload = replace(small(), operations=small().operations[:3])
    assert simulate(workload, TWO, memory) == simulate(workload, TWO, memory)
    assert simulate(workload, TWO, memory).cycles != simulate(workload, TWO, replace(memory, seed=4)).cycles


def test_a_residual_network_runs_its_branches_as_the_network_allows():
    workload = named_workloads()["resnet18"]
    order = plan(workload)
    names = [operation.name for operation in workload.operations]
    place = names.index("layer2.0.downsample")
    assert names[order.follows[place][0]] == names[names.index("layer2.0.conv1") - 1]
    assert {names[one] for one in order.follows[place + 1]} == {"layer2.0.conv2", "layer2.0.downsample"}


def test_memory_of_a_board_is_bounded_by_its_ports():
    assert memory_of(TWO).bytes_per_cycle == 4 * 128 / 8
    narrow = memory_of(replace(TWO, device="xc7z020", clock_hz=100e6))
    assert narrow.bytes_per_cycle == pytest.approx(2.1e9 * 0.7 / 100e6)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"memory": MemorySystem(0.0)}, "bytes_per_cycle"),
        ({"memory": MemorySystem(outstanding=0)}, "outstanding"),
        ({"memory": MemorySystem(latency=5, most_latency=4)}, "most_latency"),
        ({"inferences": 0}, "at least one"),
        ({"dependencies": {"head": ["nothing"]}}, "nothing"),
        ({"dependencies": {"nobody": []}}, "nobody"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments, words):
    with pytest.raises(InputError, match=words):
        simulate(small(), TWO, **arguments)


def test_an_operation_that_no_engine_runs_is_named():
    workload = Workload("w", (Step("s", "softmax", 10), Gemm("odd", 4, 4, 4, weight_rows={"pot4": 1.0})))
    with pytest.raises(InputError, match="odd"):
        simulate(workload, TWO)
