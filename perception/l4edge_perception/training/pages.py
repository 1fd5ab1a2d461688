"""What trainings write of a package into its page."""

from collections.abc import Callable
from pathlib import Path

import click

from l4edge_perception.files import write_text
from l4edge_perception.packages import ModelPackage, load_package
from l4edge_perception.pages import replaced

BEGIN = "<!-- figures: written by l4edge_perception.training.detector_page -->"
END = "<!-- end of figures -->"


def updated(page: str, measured: str, file: str) -> str:
    """A page whose figures stand in one place, replaced. Raises InputError if their place is not marked."""
    return replaced(page, BEGIN, END, measured, file)


def package_page(figures: Callable[[ModelPackage], str]) -> click.Command:
    """The command that writes what ``figures`` says of a package into a page."""

    @click.command()
    @click.argument("package", type=click.Path(path_type=Path))
    @click.argument("page", type=click.Path(path_type=Path))
    def command(package: Path, page: Path) -> None:
        """Write the figures of PACKAGE into PAGE."""
        write_text(page, updated(page.read_text(encoding="utf-8"), figures(load_package(package)), str(page)))

    return command
