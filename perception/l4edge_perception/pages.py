"""Figures on the documentation's pages: written between two lines that mark their place, never by hand."""

from typing import Mapping

from l4edge_perception.errors import InputError


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
