"""``l4edge accel check``: whether a configuration fits its device and can run a network."""

from pathlib import Path
from typing import Optional

import click

from l4edge_pipeline.commands.accel_compile import OWN_WEIGHTS, checked_share, parse_weights, read_model


@click.command()
@click.argument("configuration", type=click.Path(path_type=Path))
@click.option("--model", help="Predict its frame rate for this network, in the formats that it or --weights give.")
@click.option("--level", help="Of a package; its first by default.")
@click.option("--weights", default=OWN_WEIGHTS, show_default=True, help="As for compile.")
@click.option("--activations", type=int, help="Activation bits; those that the network declares by default.")
@click.option("--luts", default=0.7, show_default=True, help="Share of the LUTs that may be used.")
@click.option("--dsps", default=0.8, show_default=True, help="Share of the DSP blocks that may be used.")
def command(
    configuration: Path, model: Optional[str], level: Optional[str], weights: str, activations: Optional[int],
    luts: float, dsps: float,
) -> None:
    """Refuse a configuration that exceeds its device or, with --model, cannot run a network."""
    from l4edge_accel.configuration import read_configuration
    from l4edge_accel.limits import Limits, check_fits
    from l4edge_accel.network_cost import network_cost
    from l4edge_accel.search import reformatted

    accelerator = read_configuration(configuration)
    rows = None if weights == OWN_WEIGHTS else parse_weights(weights)
    workload = None if model is None else read_model(model, level, rows is None, None)
    limits = Limits(luts=checked_share("--luts", luts), dsps=checked_share("--dsps", dsps))
    needed = check_fits(accelerator, limits, workload)
    click.echo(
        f"{accelerator.name}: fits {accelerator.device} with {needed.luts:,.0f} LUTs, {needed.dsps:,.0f} DSP blocks, "
        f"{needed.bram18:,.0f} memory blocks (modelled)"
    )
    if workload is not None:
        if rows is not None or activations is not None:
            workload = reformatted(workload, rows, activations)
        cost = network_cost(workload, accelerator)
        click.echo(f"{workload.name}: {cost.frames_per_second:.1f} frames/s (modelled), {cost.cycles:,} cycles a frame")
