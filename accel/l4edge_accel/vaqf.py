"""From a network and a frame rate to an activation width and an accelerator, as VAQF (arXiv 2201.06618) does it.

Of the paper only the abstract could be had: structure and frame rate go in, activation precision and the accelerator's
parameters come out. Search, cycles and resources are this project's own. Two engines work in turns: one for linear
layers, whose weights are binary (or in any other format, or mixed by row) and whose arithmetic is logic; one of DSP
blocks for products of two activations in attention, for the patch embedding and for the head.

The frame rate is not monotone in the width: what fits a port's width changes from one to the next. So all widths are
evaluated, and all tiles and port splits of a grid, instead of bisecting (``search``).
"""

from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Mapping, Optional, Sequence, Tuple

from l4edge_accel.devices import device
from l4edge_accel.limits import Limits
from l4edge_accel.network_cost import Assumptions
from l4edge_accel.search import Design, Search, reformatted
from l4edge_accel.simulator import simulate
from l4edge_accel.workload import Workload
from l4edge_perception.errors import InputError

WIDTHS = tuple(range(1, 17))
"""Activation widths that are looked at, bits."""

BINARY_WEIGHTS: Mapping[str, float] = MappingProxyType({"binary": 1.0})
"""What VAQF gives the linear layers."""


@dataclass(frozen=True)
class Answer:
    """What the compiler says.

    Attributes:
        workload, device: names.
        frames_per_second: asked for.
        chosen: the design with the most activation bits that meets it, in the cost model and simulated, or None.
        fastest: the fastest of all widths.
        designs: the fastest of each width, narrowest first; those that the cost model lets meet the rate are simulated
            until one is chosen.
    """

    workload: str
    device: str
    frames_per_second: float
    chosen: Optional[Design]
    fastest: Design
    designs: Tuple[Design, ...]

    @property
    def shortfall(self) -> float:
        """Share of the asked rate that even the fastest design lacks; 0 where it is met."""
        return max(0.0, 1.0 - self.fastest.frames_per_second / self.frames_per_second)


def compile_accelerator(
    workload: Workload,
    frames_per_second: float,
    board: str = "zcu102",
    weights: Optional[Mapping[str, float]] = BINARY_WEIGHTS,
    *,
    clock_hz: Optional[float] = None,
    limits: Optional[Limits] = None,
    assumptions: Optional[Assumptions] = None,
    widths: Sequence[int] = WIDTHS,
) -> Answer:
    """Find the largest activation width that meets a frame rate, and its accelerator.

    The cost model, which knows no streams that wait for each other's memory, says which widths may do; the event
    simulation, layer after layer as there, has to confirm it, from the widest down until one does.

    Args:
        workload: what to run; formats are set here.
        frames_per_second: to reach, one inference after the other.
        board: name of a device.
        weights: share of rows in each weight format, for all layers but the first and the last, which get fixed point;
            None: each layer keeps the formats that the workload declares.
        clock_hz: of the accelerator; None: the device's.
        limits: of resources.
        assumptions: of the cost model.
        widths: activation widths to look at.

    Raises:
        InputError: an unknown device or format, a rate that is not above 0, or no design that fits the device at all.
    """
    if not frames_per_second > 0:
        raise InputError(f"frame rate: {frames_per_second} is not above 0")
    target, limits, assumptions = device(board), limits or Limits(), assumptions or Assumptions()
    clock = clock_hz or target.clock_hz
    search = Search(workload, weights, target, clock, limits, assumptions)
    designs = [found for width in widths if (found := search.best(width)) is not None]
    if not designs:
        raise InputError(f"{target.name}: not even the smallest engines for {workload.name} fit the device")
    chosen: Optional[Design] = None
    for index in sorted(range(len(designs)), key=lambda one: -designs[one].activation_bits):
        if designs[index].cost.frames_per_second >= frames_per_second:
            designs[index] = _simulated(designs[index], workload, weights, assumptions)
            if designs[index].frames_per_second >= frames_per_second:
                chosen = designs[index]
                break
    return Answer(
        workload.name,
        target.name,
        frames_per_second,
        chosen,
        max(designs, key=lambda design: design.frames_per_second),
        tuple(designs),
    )


def _simulated(
    design: Design, workload: Workload, weights: Optional[Mapping[str, float]], assumptions: Assumptions
) -> Design:
    """The design with its simulated rate."""
    quantized = reformatted(workload, weights, design.activation_bits)
    run = simulate(quantized, design.accelerator, assumptions=assumptions, side_by_side=False)
    return replace(design, simulated_fps=run.frames_per_second)
