"""``l4edge accel``: networks on FPGAs. All rates and resources are modelled."""

import click

from l4edge_pipeline.cli import LazyGroup

COMMANDS = {
    "compile": ("l4edge_pipeline.commands.accel_compile", "From a network and a frame rate to an accelerator."),
    "check": ("l4edge_pipeline.commands.accel_check", "Whether a configuration fits its device and runs a network."),
    "report": ("l4edge_pipeline.commands.accel_report", "Roofline, timeline, rates and resources as one HTML file."),
}


@click.group(cls=LazyGroup, commands=COMMANDS)
def command() -> None:
    """Compile, check and report on FPGA accelerators for networks; all figures are modelled."""
