"""What is left when a writer is killed inside a frame, or a reader while it looks at one: measured, not argued."""

import multiprocessing
import os
import re
import signal
from multiprocessing.connection import Connection
from typing import Any, Callable, Dict, Set, Tuple

import numpy as np

from l4edge_pipeline.transport.frames import FrameReader, FrameUnavailable, FrameWriter
from l4edge_pipeline.transport.memory import NAME, identify

_SHAPE = (270, 480, 3)
_SLOTS = 4
_MAPPED = re.compile(r"\s(\d+)\s+/memfd:" + NAME)  # inode and name at the end of a line of /proc/PID/maps


def memory_files() -> Set[int]:
    """Return the inodes of all memory files of frames that any process of this user maps or holds open."""
    inodes: Set[int] = set()
    for process_id in filter(str.isdigit, os.listdir("/proc")):
        folder = f"/proc/{process_id}"
        try:
            with open(folder + "/maps") as stream:
                inodes.update(int(inode) for inode in _MAPPED.findall(stream.read()))
            for descriptor in os.listdir(folder + "/fd"):
                path = f"{folder}/fd/{descriptor}"
                if os.readlink(path).startswith("/memfd:" + NAME):
                    inodes.add(os.stat(path).st_ino)
        except OSError:  # it ended meanwhile, or is another user's
            continue
    return inodes


def descriptors() -> int:
    """Return how many file descriptors this process has open."""
    return len(os.listdir("/proc/self/fd"))


def _picture(number: int) -> np.ndarray:
    return np.full(_SHAPE, number % 251, np.uint8)


def _write_forever(connection: Connection) -> None:
    """Hand over one whole frame, then never finish the next ones."""
    writer = FrameWriter(_SLOTS)
    connection.send(writer.write(_picture(1), "rgb8"))
    with writer.slot(*_SHAPE[:2], "rgb8") as pixels:
        connection.send("inside a frame")
        while True:
            np.add(pixels, 1, out=pixels)


def _read_forever(connection: Connection) -> None:
    """Never stop looking at the first frame."""
    view = FrameReader().open(connection.recv())
    connection.send("inside a frame")
    while True:
        view.pixels.sum()


def _start(target: Callable[[Connection], None]) -> Tuple[Any, Connection]:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=target, args=(theirs,), daemon=True)
    process.start()
    theirs.close()
    return process, ours


def _kill(process: Any) -> None:
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    process.close()


def kill_writers(times: int) -> Dict[str, int]:
    """Kill ``times`` writers inside a frame while one reader lives on.

    Returns:
        ``kills``; ``failures``: times that the reader lost a frame it was looking at, or still found one after it
        had dropped the dead; ``leaked_descriptors`` of the reader; ``leaked_memory_files``.
    """
    reader = FrameReader()
    failures = 0
    seen: Set[int] = set()
    _kill(_start(_write_forever)[0])  # what multiprocessing opens once is no leak
    before = descriptors()
    for _ in range(times):
        process, connection = _start(_write_forever)
        handle = connection.recv()
        view = reader.open(handle)
        seen.add(identify(handle.process_id, handle.file_descriptor))
        connection.recv()
        _kill(process)
        connection.close()
        failures += not (np.array_equal(view.pixels, _picture(1)) and view.is_intact())
        del view
        reader.drop_dead()
        try:
            reader.open(handle)
            failures += 1
        except FrameUnavailable as error:
            failures += error.reason != "gone"
    leaked = {"leaked_descriptors": descriptors() - before, "leaked_memory_files": len(seen & memory_files())}
    return dict(kills=times, failures=failures, **leaked)


def kill_readers(times: int) -> Dict[str, int]:
    """Kill ``times`` readers that look at a frame while one writer lives on.

    Returns:
        ``kills``; ``failures``: rounds after which a frame of the writer did not arrive whole;
        ``leaked_descriptors`` of the writer; ``leaked_memory_files`` after the writer has closed too.
    """
    failures = 0
    seen: Set[int] = set()
    _kill(_start(_read_forever)[0])
    before = descriptors()
    writer, reader = FrameWriter(_SLOTS), FrameReader()
    for number in range(times):
        process, connection = _start(_read_forever)
        connection.send(writer.write(_picture(number), "rgb8"))
        connection.recv()
        _kill(process)
        connection.close()
        for later in range(number, number + 2 * _SLOTS):
            view = reader.open(writer.write(_picture(later), "rgb8"))
            failures += not (np.array_equal(view.pixels, _picture(later)) and view.is_intact())
            del view
    seen.add(identify(writer.handle.process_id, writer.handle.file_descriptor))
    writer.close()
    reader.close()
    leaked = {"leaked_descriptors": descriptors() - before, "leaked_memory_files": len(seen & memory_files())}
    return dict(kills=times, failures=failures, **leaked)
