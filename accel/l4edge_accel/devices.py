"""FPGA boards as numbers."""

from dataclasses import dataclass
from typing import Dict, Tuple

from l4edge_perception.errors import InputError


@dataclass(frozen=True)
class Device:
    """What a board's programmable logic offers.

    Attributes:
        name: of the chip or board, lower case.
        luts, flip_flops, bram18, dsps: how many there are; a 36 kb block of memory counts as two of 18 kb.
        clock_hz: of the accelerator, unless a design says otherwise.
        ddr_bytes_per_s: peak rate of the memory that the processor and the logic share.
        ports, port_bits: connections between logic and memory that designs use by default, and their width.
        memory_ports: how many there are in all.
        sources: where each figure is from.
    """

    name: str
    luts: int
    flip_flops: int
    bram18: int
    dsps: int
    clock_hz: float
    ddr_bytes_per_s: float
    ports: int
    port_bits: int
    memory_ports: int
    sources: Tuple[str, ...]


DEVICES: Dict[str, Device] = {
    device.name: device
    for device in (
        Device(
            "zcu102", 274_080, 548_160, 1824, 2520, 150e6, 17.0e9, 4, 128, 6,
            (
                "logic, memory blocks, DSP blocks: AMD DS891 (XCZU9EG), and FINN's platform table to three digits",
                "clock: FILM-QNN (FPGA 2022)",
                "memory: 64 bits of DDR4-2133, the slower of two board revisions; an assumption",
                "ports: six memory ports of 128 bits (AMD DS891), four of them without coherency, which designs use",
            ),
        ),
        Device(
            "xc7z045", 218_600, 437_200, 1090, 900, 100e6, 4.2e9, 4, 64, 4,
            (
                "logic, memory blocks, DSP blocks: AMD DS190",
                "clock: as FILM-QNN on the XC7Z020, whose generation it is; an assumption",
                "memory: 32 bits of DDR3-1066 on the processor's side; an assumption",
                "ports: the four high-performance AXI ports of the processing system, 64 bits each",
            ),
        ),
        Device(
            "xc7z020", 53_200, 106_400, 280, 220, 100e6, 2.1e9, 4, 64, 4,
            (
                "logic, memory blocks, DSP blocks: AMD DS190, and PYNQ-Z1's reference manual",
                "clock: FILM-QNN (FPGA 2022)",
                "memory: 16 bits of DDR3 at up to 1066 Mb/s (PYNQ-Z1's reference manual)",
                "ports: the four high-performance AXI ports of the processing system, 64 bits each",
            ),
        ),
    )
}


def device(name: str) -> Device:
    """The device of that name. Raises InputError for an unknown one."""
    if name not in DEVICES:
        raise InputError(f"device {name!r}: not known; known are {', '.join(DEVICES)}")
    return DEVICES[name]
