"""Figures on the documentation's pages: written between two lines that mark their place, never by hand."""

from collections.abc import Callable, Mapping
from pathlib import Path

import click

from l4edge_perception.errors import InputError
from l4edge_perception.files import write_text
from l4edge_perception.packages import ModelPackage, load_package

BEGIN = "<!-- figures: written by l4edge_perception.training.detector_page -->"
END = "<!-- end of figures -->"


def replaced(page: str, begin_line: str, end_line: str, measured: str, file: str) -> str:
    """The page with other text between two lines. Raises InputError if one of them is missing."""
    before, begin, rest = page.partition(begin_line)
    _, end, after = rest.partition(end_line)
    if not begin or not end:
        wanted = "put them where the figures belong"
        raise InputError(f"{file}: the lines {begin_line} and {end_line} are missing; {wanted}")
    return f"{before}{begin_line}\n{measured}\n{end_line}{after}"


def replaced_parts(page: str, begin_line: str, end_line: str, parts: Mapping[str, str], file: str) -> str:
    """The page with other text in several places; both lines hold a ``{}`` for the name of the place.

    Raises:
        InputError: a place is not marked.
    """
    for name, measured in parts.items():
        page = replaced(page, begin_line.format(name), end_line.format(name), measured, file)
    return page


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
