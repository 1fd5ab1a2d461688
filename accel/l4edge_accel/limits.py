"""What a design may use of a board, and whether one does not use more."""

from dataclasses import dataclass, field
from typing import Optional

import numpy as np

from l4edge_accel.configuration import AcceleratorConfig, check_engine
from l4edge_accel.devices import Device, device
from l4edge_accel.network_cost import ROW_STEPS
from l4edge_accel.resources import Resources, engine_resources
from l4edge_accel.workload import Workload
from l4edge_perception.errors import InputError


@dataclass(frozen=True)
class Limits:
    """What a design may use of a board, and what stands on it anyway.

    Attributes:
        luts, dsps, bram18: shares. Logic beyond 60 to 70 % is hard to route.
        shell: what is there besides engines: memory access and control; an assumption.
        row_steps: softmax and layer normalization, where a network has them; an assumption.
    """

    luts: float = 0.7
    dsps: float = 0.8
    bram18: float = 0.9
    shell: Resources = field(default_factory=lambda: Resources(luts=8_000, ffs=12_000, dsps=0, bram18=16))
    row_steps: Resources = field(default_factory=lambda: Resources(luts=12_000, ffs=18_000, dsps=64, bram18=48))

    def taken(self, workload: Optional[Workload]) -> Resources:
        """What is there besides engines; without a workload, for any."""
        if workload is not None and not any(step.kind in ROW_STEPS for step in workload.steps):
            return self.shell
        return self.shell + self.row_steps

    def room(self, board: Device, workload: Optional[Workload] = None) -> np.ndarray:
        """(3,) LUTs, DSPs and memory blocks that engines may use."""
        whole = np.array([board.luts * self.luts, board.dsps * self.dsps, board.bram18 * self.bram18])
        return whole - vector(self.taken(workload))


def check_fits(
    accelerator: AcceleratorConfig, limits: Optional[Limits] = None, workload: Optional[Workload] = None
) -> Resources:
    """What an accelerator occupies with all that ``workload`` (None: any) needs besides engines.

    Raises:
        InputError: an engine that cannot be built, or more of something than ``limits`` leave of the device.
    """
    limits = limits or Limits()
    board = device(accelerator.device)
    for engine in accelerator.engines:
        check_engine(engine, f"{accelerator.name}: engine {engine.name}")
    needed = sum((engine_resources(engine) for engine in accelerator.engines), Resources())
    for name, need, has in zip(
        ("LUTs", "DSP blocks", "memory blocks"), vector(needed), limits.room(board, workload)
    ):
        if need > has:
            raise InputError(
                f"{accelerator.name}: needs {need:,.0f} {name}, of which {board.name} leaves {has:,.0f} for engines; "
                "make its tiles smaller, or raise the limit"
            )
    return needed + limits.taken(workload)


def vector(resources: Resources) -> np.ndarray:
    """(3,) LUTs, DSP blocks and memory blocks."""
    return np.array([resources.luts, resources.dsps, resources.bram18], float)
