"""Errors that a user can act on.

Every failure that a user's input can cause is raised as an :class:`InputError`; the command line prints its
message as one line and exits with 2. Anything else that escapes is a defect of this project.
"""

import contextlib
import sys
from typing import Iterator


class InputError(Exception):
    """Something handed in by the user cannot be used.

    The message names the file, topic or field, says what is wrong with it and what to do.
    """


@contextlib.contextmanager
def exit_on_input_error(before: str = "l4edge: error") -> Iterator[None]:
    """For the outermost block of a program: a fault of the input ends it with one line on stderr and exit code 2.

    Args:
        before: what the line begins with.
    """
    try:
        yield
    except InputError as error:
        print(f"{before}: {error}", file=sys.stderr)
        sys.exit(2)
