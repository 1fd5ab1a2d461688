"""Files and folders that appear whole or not at all."""

import contextlib
import os
import shutil
import tempfile
from pathlib import Path
from typing import Iterator, Union


def write_bytes(path: Union[str, Path], content: bytes) -> None:
    """Replace ``path`` by ``content`` in one step; a reader sees the old file or the new one, never a part."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=str(path.parent), prefix=path.name + ".", suffix=".part")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        # mkstemp makes files private; a published file follows the user's umask like any other.
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)
        os.replace(temporary, str(path))
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise


def write_text(path: Union[str, Path], content: str) -> None:
    """Like :func:`write_bytes`, for UTF-8 text."""
    write_bytes(path, content.encode("utf-8"))


@contextlib.contextmanager
def new_folder(path: Union[str, Path]) -> Iterator[Path]:
    """Fill a folder under a temporary name ending in ``.part`` and give it its name when the block ends well.

    An existing folder of that name is replaced only then. If the block raises, the unfinished folder is removed
    and an existing one stays as it was.
    """
    path = Path(path)
    unfinished = path.with_name(path.name + ".part")
    shutil.rmtree(str(unfinished), ignore_errors=True)
    unfinished.mkdir(parents=True)
    try:
        yield unfinished
    except BaseException:
        shutil.rmtree(str(unfinished), ignore_errors=True)
        raise
    if path.exists():
        replaced = path.with_name(path.name + ".replaced")
        shutil.rmtree(str(replaced), ignore_errors=True)
        os.replace(str(path), str(replaced))
        os.replace(str(unfinished), str(path))
        shutil.rmtree(str(replaced), ignore_errors=True)
    else:
        os.replace(str(unfinished), str(path))
