"""Errors that a user can act on.

Every failure that a user's input can cause is raised as an :class:`InputError`; the command line prints its
message as one line and exits with 2. Anything else that escapes is a defect of this project.
"""


class InputError(Exception):
    """Something handed in by the user cannot be used.

    The message names the file, topic or field, says what is wrong with it and what to do.
    """
