"""``l4edge bench``: one benchmark per module."""

import click

from l4edge_pipeline.cli import LazyGroup

BENCHMARKS = {
    "rtl": ("l4edge_pipeline.commands.bench_rtl", "Accelerator RTL against integers, cycles and resources of Python."),
    "accel": ("l4edge_pipeline.commands.bench_accel", "Accelerator models against published designs and SCALE-Sim."),
    "esb": ("l4edge_pipeline.commands.bench_esb", "Elastic number formats against published constants."),
    "offload": ("l4edge_pipeline.commands.bench_offload", "Offload node under load: killed, overfilled, fallen back."),
    "transport": ("l4edge_pipeline.commands.bench_transport", "Camera frames between processes: topic or shared."),
    "monitor": ("l4edge_pipeline.commands.bench_monitor", "The safety monitor: its price, its cuts, its faults."),
    "tracking": ("l4edge_pipeline.commands.bench_tracking", "The tracker on real recordings, beside named peers."),
    "parity": ("l4edge_pipeline.commands.bench_parity", "Integer interpreter against onnxruntime: no output differs."),
    "certification": ("l4edge_pipeline.commands.bench_certification", "Certified patch defence: attacks and rates."),
    "quantization": ("l4edge_pipeline.commands.bench_quantization", "What quantization gains and costs: time, bytes."),
}


@click.group(cls=LazyGroup, commands=BENCHMARKS)
def command() -> None:
    """Measure parts of the pipeline against named peers."""
