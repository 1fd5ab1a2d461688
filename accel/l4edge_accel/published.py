"""Designs from papers, predicted by the cost model: how far it is off where somebody built and measured.

A prediction knows of a design what its paper's tables say: network, formats, board, clock, DSP blocks, how many
products share one, and the multiple that tiles keep to. It takes the tile that the model finds fastest under these, as
the papers do; the tiles that were built are not known. All designs share one set of :class:`Constants`.

One constant is fitted, ``PASS_OVERHEAD``, to the three designs with ``fitted``; :func:`fitted_overhead` does it again.
Choices of structure were made with the same three rates in view: columns of kernels count as channels where channels
are few, all memory ports of the device are used, and there are no MACs on LUTs beside the DSP blocks. The other designs
took no part in the fit, but their rates were seen when the number of ports was chosen.
"""

import itertools
import math
from dataclasses import dataclass, field, replace
from typing import Dict, Iterator, Mapping, Optional, Sequence, Tuple

from l4edge_accel.configuration import AcceleratorConfig, EngineConfig, RowGroup
from l4edge_accel.devices import Device, device
from l4edge_accel.network_cost import LINE_BUFFER, Assumptions, NetworkCost, gemm_cost, network_cost
from l4edge_accel.resources import buffer_resources
from l4edge_accel.workload import Gemm, Workload, named_workloads

FILM_QNN = "FILM-QNN (FPGA 2022), tables of designs and resources"
AUTO_VIT_ACC = "Auto-ViT-Acc (FPL 2022), table of designs"

DSP_PACKING: Mapping[str, int] = {"fixed4": 4, "fixed8": 2}
"""Products per DSP block and cycle with activations of up to 5 bits (FILM-QNN, figure of the packing)."""

PORT_SPLITS = {
    4: ((1, 1, 1), (2, 1, 1), (1, 2, 1), (1, 1, 2)),
    6: ((2, 2, 2), (3, 2, 1), (2, 3, 1), (1, 4, 1), (4, 1, 1)),
}
"""Ports for activations, weights and results, by how many the device has."""

TOKEN_BUFFERS = (3136, 1568, 784, 392, 256)
"""Pixels of a tile that are looked at, rows of ResNet's maps; the most that the board's memory holds is taken."""

MOST_INPUTS = 128

PASS_OVERHEAD = 60
"""Cycles between tile passes: draining the pipeline, handing over buffers, the memory's latency. Fitted, see above."""

OVERHEADS = range(0, 121, 10)
"""What the fit chooses from."""
WIDE_ROWS = (1, 2, 3, 4, 5, 6, 8, 10, 12)
"""Rows of a tile for 8-bit weights that are looked at, where a design has two formats."""


@dataclass(frozen=True)
class Constants:
    """What all predictions share.

    Attributes:
        assumptions: of the cost model.
        bram18_share: of the board's memory blocks that buffers may take.
    """

    assumptions: Assumptions = field(
        default_factory=lambda: Assumptions(convolutions=LINE_BUFFER, pass_overhead=PASS_OVERHEAD)
    )
    bram18_share: float = 0.9


def constants_with(overhead: int) -> Constants:
    """The constants with another pass overhead."""
    return Constants(Assumptions(convolutions=LINE_BUFFER, pass_overhead=overhead))


@dataclass(frozen=True)
class PublishedDesign:
    """A design as its paper describes it.

    Attributes:
        name, source: what it is, and where the figures are from.
        network: name of the workload.
        device: name of the board's chip.
        clock_hz: of the accelerator.
        weights: share of the rows in each format.
        activation_bits: of all layers.
        activation_signed: whether activations have a sign.
        dsps: DSP blocks that it uses.
        tile_multiple: tiles are multiples of it in outputs and inputs (FILM-QNN's packing of data).
        frames_per_second: measured by its authors.
        fitted: whether the constant was fitted to its rate, too.
        lut_macs: multipliers on LUTs that the paper's peaks leave room for; an argument of :func:`predict`.
    """

    name: str
    source: str
    network: str
    device: str
    clock_hz: float
    weights: Mapping[str, float]
    activation_bits: int
    activation_signed: bool
    dsps: int
    tile_multiple: int
    frames_per_second: float
    fitted: bool
    lut_macs: int = 0


def _film_qnn(network: str, title: str, board: str, frames_per_second: float, fitted: bool) -> PublishedDesign:
    small = board == "xc7z020"
    clock, dsps, multiple, lut_macs = (100e6, 208, 6, 288) if small else (150e6, 2092, 8, 510)
    name = f"FILM-QNN {title} 95/5 W4/W8 A5 {board.upper()}"
    weights = {"fixed4": 0.95, "fixed8": 0.05}
    return PublishedDesign(
        name, FILM_QNN, network, board, clock, weights, 5, False, dsps, multiple, frames_per_second, fitted, lut_macs
    )


def _auto_vit_acc(network: str, title: str, dsps: int, frames_per_second: float, fitted: bool) -> PublishedDesign:
    name = f"Auto-ViT-Acc {title} fixed W4A4 ZCU102"
    weights = {"fixed4": 1.0}
    return PublishedDesign(
        name, AUTO_VIT_ACC, network, "zcu102", 150e6, weights, 4, True, dsps, 8, frames_per_second, fitted
    )


DESIGNS: Tuple[PublishedDesign, ...] = (
    _film_qnn("resnet18", "ResNet-18", "xc7z020", 27.8, True),
    _film_qnn("resnet18", "ResNet-18", "zcu102", 214.8, True),
    _auto_vit_acc("deit_base", "DeiT-base", 2064, 47.5, True),
    _film_qnn("resnet50", "ResNet-50", "xc7z020", 13.3, False),
    _film_qnn("resnet50", "ResNet-50", "zcu102", 109.1, False),
    _auto_vit_acc("deit_small", "DeiT-small", 1933, 130.3, False),
)


@dataclass(frozen=True)
class Prediction:
    """What the model says of a published design.

    Attributes:
        design: the design.
        accelerator: the one whose rate is predicted.
        cost: modelled.
    """

    design: PublishedDesign
    accelerator: AcceleratorConfig
    cost: NetworkCost

    @property
    def error(self) -> float:
        """Relative: predicted over measured, less 1."""
        return self.cost.frames_per_second / self.design.frames_per_second - 1.0


def predict(design: PublishedDesign, constants: Optional[Constants] = None, lut_macs: int = 0) -> Prediction:
    """Predict a design's frame rate.

    Args:
        design: the design.
        constants: shared by all.
        lut_macs: multipliers on LUTs beside the DSP blocks.
    """
    constants = constants or Constants()
    board = device(design.device)
    workload = named_workloads()[design.network].quantized(design.weights, design.activation_bits)
    layers = _shapes(workload)
    best: Optional[EngineConfig] = None
    fewest = math.inf
    for engine in _engines(design, board, constants, lut_macs):
        cycles = 0.0
        for gemm, count in layers:
            cycles += count * gemm_cost(gemm, engine, board, design.clock_hz, constants.assumptions).cycles
            if cycles >= fewest:
                break
        else:
            best, fewest = engine, cycles
    if best is None:
        raise ValueError(f"{design.name}: no tile fits {design.dsps} DSP blocks")
    accelerator = AcceleratorConfig(design.name, board.name, design.clock_hz, (best,))
    return Prediction(design, accelerator, network_cost(workload, accelerator, constants.assumptions))


def fitted_overhead(designs: Sequence[PublishedDesign], among: Sequence[int] = OVERHEADS) -> int:
    """The pass overhead of ``among`` with the least sum of squared errors over ``designs``."""

    def badness(overhead: int) -> float:
        return sum(predict(design, constants_with(overhead)).error ** 2 for design in designs)

    return min(among, key=badness)


def _shapes(workload: Workload) -> Tuple[Tuple[Gemm, int], ...]:
    """The different matrix products and how often each comes, most work first."""
    found: Dict[Tuple[object, ...], Tuple[Gemm, int]] = {}
    for gemm in workload.gemms:
        key = (gemm.outputs, gemm.inputs, gemm.tokens, gemm.repeats, gemm.kernel, gemm.fetched)
        found[key] = (gemm, found[key][1] + 1 if key in found else 1)
    return tuple(sorted(found.values(), key=lambda entry: -entry[0].macs * entry[1]))


def _engines(
    design: PublishedDesign, board: Device, constants: Constants, lut_macs: int
) -> Iterator[EngineConfig]:
    """Engines that use the design's DSP blocks as far as the multiple of its tiles lets them."""
    multiple = design.tile_multiple
    buffers = TOKEN_BUFFERS if design.network.startswith("resnet") else TOKEN_BUFFERS[-1:]
    for inputs in range(multiple, MOST_INPUTS + 1, multiple):
        for wide in WIDE_ROWS if "fixed8" in design.weights else (0,):
            groups = _groups(design, inputs, wide, lut_macs)
            if groups is None:
                continue
            for split in PORT_SPLITS[board.memory_ports]:
                engine = EngineConfig(
                    "engine", groups, inputs, 1, design.activation_bits, design.activation_signed, 24,
                    design.activation_bits, *split, port_bits=board.port_bits,
                )
                sizes = (replace(engine, tokens=tokens) for tokens in buffers)
                room = constants.bram18_share * board.bram18
                yield from itertools.islice((size for size in sizes if buffer_resources(size).bram18 <= room), 1)


def _groups(design: PublishedDesign, inputs: int, wide: int, lut_macs: int) -> Optional[Tuple[RowGroup, ...]]:
    on_luts = lut_macs // inputs
    narrow = int((design.dsps - wide * inputs / DSP_PACKING["fixed8"]) * DSP_PACKING["fixed4"] // inputs)
    rows = (narrow + on_luts + wide) // design.tile_multiple * design.tile_multiple
    narrow = rows - on_luts - wide
    if narrow < 1:
        return None
    groups = [RowGroup("fixed4", narrow, "dsp", DSP_PACKING["fixed4"])]
    if on_luts:
        groups.append(RowGroup("fixed4", on_luts, "lut"))
    if wide:
        groups.append(RowGroup("fixed8", wide, "dsp", DSP_PACKING["fixed8"]))
    return tuple(groups)
