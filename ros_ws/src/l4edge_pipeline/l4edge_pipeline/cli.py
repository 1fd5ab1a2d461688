"""The ``l4edge`` command: one entry, each verb in a module of its own that is loaded only when it is called."""

import importlib
from typing import List, Optional

import click

from l4edge_perception.errors import exit_on_input_error

COMMANDS = {
    "run": ("l4edge_pipeline.commands.run", "Start the pipeline on live topics."),
    "replay": ("l4edge_pipeline.commands.replay", "Drive a recording through the pipeline and write a report."),
    "bag": ("l4edge_pipeline.commands.bag", "Turn a video, an image folder or KITTI folders into a rosbag2."),
    "models": ("l4edge_pipeline.commands.models", "Import, inspect and check model packages."),
    "accel": ("l4edge_pipeline.commands.accel", "Compile and check FPGA accelerators for networks."),
    "compress": ("l4edge_compression.command", "Quantize a network and tell what that costs."),
    "simulate": ("l4edge_simulation.command", "Record a drive through the simulated world."),
    "demo": ("l4edge_pipeline.commands.demo", "Show attacks on the simulated vehicle, and what stops them."),
    "bench": ("l4edge_pipeline.commands.bench", "Measure parts of the pipeline against named peers."),
}
"""Verb: (module that holds ``command``, a click command; its line in the help)."""


class LazyGroup(click.Group):
    """A click group whose commands are imported when they are called, so that ``--help`` answers at once."""

    def __init__(self, commands, **settings):
        super().__init__(**settings)
        self.lazy_commands = commands

    def list_commands(self, context: click.Context) -> List[str]:
        """Return the names of all commands."""
        return list(self.lazy_commands)

    def get_command(self, context: click.Context, name: str) -> Optional[click.Command]:
        """Import one command."""
        if name not in self.lazy_commands:
            return None
        return importlib.import_module(self.lazy_commands[name][0]).command

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the table of commands without importing any."""
        rows = [(name, text) for name, (_, text) in self.lazy_commands.items()]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


@click.group(cls=LazyGroup, commands=COMMANDS, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="l4edge")
def command() -> None:
    """A level-4 driving pipeline that fits one edge card."""


def main(arguments: Optional[List[str]] = None) -> None:
    """Run one command. A fault of the input ends in one line on stderr and exit code 2."""
    with exit_on_input_error():
        command.main(args=arguments, prog_name="l4edge")


if __name__ == "__main__":
    main()
