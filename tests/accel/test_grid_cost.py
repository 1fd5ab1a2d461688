"""Cycles of many engines at once against the cost model's, engine by engine."""

import numpy as np
import pytest

from l4edge_accel.configuration import EngineConfig, RowGroup
from l4edge_accel.devices import device
from l4edge_accel.grid_cost import grid_cycles
from l4edge_accel.network_cost import LINE_BUFFER, Assumptions, gemm_cost
from l4edge_accel.workload import Gemm, named_workloads, with_fewer_tokens

WORKLOADS = named_workloads()
MIXED = {"pot4": 0.65, "fixed4": 0.3, "fixed8": 0.05}


def _engines(seed: int, formats, count: int = 40):
    """Engines with any tiles, lanes, ports and buffers, those of a narrow port and of a small buffer among them."""
    generator = np.random.default_rng(seed)

    def pick(*values: int) -> int:
        return int(generator.choice(values))

    return [
        EngineConfig(
            "any", tuple(RowGroup(name, pick(1, 3, 8, 24)) for name in formats), pick(2, 7, 16, 128), pick(1, 2, 4), 8,
            True, 24, pick(8, 24, 32), pick(1, 2), pick(1, 2), pick(1, 2), port_bits=128, tokens=pick(4, 60, 256),
        )
        for _ in range(count)
    ]  # fmt: skip


@pytest.mark.parametrize("assumptions", [Assumptions(), Assumptions(0.05, convolutions=LINE_BUFFER, pass_overhead=60)])
@pytest.mark.parametrize(
    ("network", "formats"), [("deit_tiny", {"fixed8": 1.0}), ("resnet18", MIXED), ("resnet50", {"fixed4": 1.0})]
)
def test_each_engine_takes_the_cycles_of_the_cost_model(network, formats, assumptions):
    workload = WORKLOADS[network].quantized(formats, 8)
    if network == "deit_tiny":
        workload = with_fewer_tokens(workload, 197, {3: 0.7, 6: 0.5})
    layers = [(gemm, 1 + index % 3) for index, gemm in enumerate(workload.gemms)][:30]
    engines, board = _engines(1, formats), device("xc7z020")
    found = grid_cycles(layers, engines, board, 150e6, assumptions)
    for engine, cycles in zip(engines, found):
        costs = [count * gemm_cost(gemm, engine, board, 150e6, assumptions).cycles for gemm, count in layers]
        assert cycles == sum(costs), engine


def test_no_layers_take_no_cycles():
    assert grid_cycles([], _engines(2, ["binary"], 3), device("zcu102"), 150e6, Assumptions()).tolist() == [0, 0, 0]


def test_a_slow_memory_counts():
    layers = [(Gemm("any", 64, 64, 64, 1, {"fixed8": 1.0}), 1)]
    engines = _engines(3, ["fixed8"], 5)
    quick, slow = (grid_cycles(layers, engines, device("zcu102"), 150e6, Assumptions(share)) for share in (1.0, 0.001))
    assert (slow > quick).all()
