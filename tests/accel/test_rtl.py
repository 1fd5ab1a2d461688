"""One small accelerator, built and run: integers, cycles, back-pressure. The full set is `make test-rtl`."""

import numpy as np
import pytest

from l4edge_accel.configuration import EngineConfig, RowGroup
from l4edge_accel.cycles import MemoryModel
from l4edge_accel.rtl import build
from l4edge_accel.rtl.check import Pace, random_layer, run_layers
from l4edge_perception.errors import InputError

REASON = build.missing_tools()
needs_tools = pytest.mark.skipif(bool(REASON), reason=REASON or "all there")

ENGINE = EngineConfig(
    "small", (RowGroup("pot4", 2), RowGroup("esb(5,2)", 1), RowGroup("binary", 2)), inputs=3, lanes=2,
    activation_bits=4, accumulator_bits=20, output_bits=8, ports_weight=2, port_bits=36, tokens=12,
)
SHIFT = 2


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("build")


@pytest.fixture(scope="module")
def outcomes(cache):
    generator = np.random.default_rng(5)
    layers, paces = [], []
    shapes = [([2, 1, 2], 3, 2), ([1, 0, 0], 1, 1), ([5, 2, 4], 10, 11), ([0, 3, 1], 7, 12), ([9, 1, 1], 4, 5)]
    for i, (rows, inputs, tokens) in enumerate(shapes):
        for pace in (Pace(), Pace(stall_percent=40, seed=i), Pace(MemoryModel(3, 0, 7), seed=i)):
            layers.append(random_layer(ENGINE, rows, inputs, tokens, generator, extreme=i == 4, shift=SHIFT))
            paces.append(pace)
    return run_layers(ENGINE, layers, paces, SHIFT, cache)


@needs_tools
def test_no_integer_differs(outcomes):
    assert sum(outcome.outputs for outcome in outcomes) > 1000
    assert [outcome.mismatches for outcome in outcomes] == [0] * len(outcomes)


@needs_tools
def test_a_wrong_integer_would_be_noticed(cache):
    layer = random_layer(ENGINE, [2, 1, 2], 3, 2, np.random.default_rng(6), shift=SHIFT)
    wrong = layer.outputs.copy()
    wrong[0, 0, 1, 3] += 1
    (outcome,) = run_layers(ENGINE, [layer._replace(outputs=wrong)], [Pace()], SHIFT, cache)
    assert outcome.mismatches == 1


@needs_tools
def test_cycles_are_those_of_the_formula(outcomes):
    known = [outcome for outcome in outcomes if outcome.predicted is not None]
    assert len(known) == 10
    assert [outcome.cycles for outcome in known] == [outcome.predicted for outcome in known]


@needs_tools
def test_streams_keep_their_rules(outcomes):
    assert sum(outcome.violations for outcome in outcomes) == 0


def test_a_missing_tool_is_named(monkeypatch):
    monkeypatch.setattr(build.shutil, "which", lambda name: None)
    with pytest.raises(InputError, match="RTL: "):
        build.verilator_root()


def test_parameters_name_every_format_and_size():
    values = build.parameters(ENGINE)
    assert (values["KIND_A"], values["BITS_A"], values["ROWS_A"]) == (2, 4, 2)
    assert (values["KIND_B"], values["BITS_B"], values["SIGNIFICANT_B"]) == (3, 5, 2)
    assert (values["KIND_C"], values["TERMS"], values["LANES"], values["DEPTH"]) == (0, 3, 2, 6)
