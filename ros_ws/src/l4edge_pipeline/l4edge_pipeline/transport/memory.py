"""The few kernel calls behind shared frames: sealed memory files, memory barriers, and which boot this is.

Everything here is Linux. Where a call is missing the functions raise :class:`FrameUnavailable`, never anything else.
"""

import ctypes
import fcntl
import functools
import mmap
import os
import platform
import stat
from typing import Tuple

NAME = "l4edge_frames"
"""How the memory files are called in ``/proc/PID/fd`` and ``/proc/PID/maps`` (``/memfd:l4edge_frames``)."""

# Python names these from 3.9 (fcntl) and 3.10 (mmap) on; the kernel's numbers are the same on x86-64 and AArch64.
_F_ADD_SEALS = 1033
_F_GET_SEALS = 1034
_SEALS = 0x1 | 0x2 | 0x4 | 0x10  # no more seals; no shrinking; no growing; no new writer (Linux 5.1)
_MAP_POPULATE = 0x8000

_MEMBARRIER_NUMBERS = {"x86_64": 324, "aarch64": 283}
_MEMBARRIER_GLOBAL_EXPEDITED = 2
_MEMBARRIER_REGISTER_GLOBAL_EXPEDITED = 4


class FrameUnavailable(Exception):  # noqa: N818 (an expected end of a frame, which a stage counts and goes on)
    """A shared frame cannot be had. A stage drops and counts it and waits for the next one.

    Attributes:
        reason: one word to count by: ``unsupported`` (this machine has no such memory), ``memory`` (none left),
            ``elsewhere`` (another machine or boot), ``refused`` (another user), ``gone`` (the writer ended or moved
            on), ``overwritten`` (the slot holds no frame or another one), ``malformed`` (no such frame can be).
    """

    def __init__(self, reason: str, text: str):
        super().__init__(text)
        self.reason = reason


@functools.lru_cache(maxsize=None)
def boot_id() -> str:
    """Return the kernel's random name of this boot; no other machine has it, nor this one after a restart."""
    try:
        with open("/proc/sys/kernel/random/boot_id") as stream:
            return stream.read().strip()
    except OSError as error:
        raise FrameUnavailable("unsupported", f"shared frames need /proc: {error}") from error


@functools.lru_cache(maxsize=None)
def _membarrier():
    number = _MEMBARRIER_NUMBERS.get(platform.machine())
    if number is None:
        raise FrameUnavailable("unsupported", "shared frames know no memory barrier for " + platform.machine())
    system_call = ctypes.CDLL(None, use_errno=True).syscall
    system_call.restype = ctypes.c_long
    if system_call(number, _MEMBARRIER_REGISTER_GLOBAL_EXPEDITED, 0, 0) != 0:
        text = f"shared frames need membarrier(2), Linux 4.16: {os.strerror(ctypes.get_errno())}"
        raise FrameUnavailable("unsupported", text)
    return functools.partial(system_call, number, _MEMBARRIER_GLOBAL_EXPEDITED, 0, 0)


def memory_barrier() -> None:
    """Order all memory accesses of this thread before the call against all after it, for every other processor.

    Python has no fences, and entering the kernel is none by itself. membarrier(2) is documented to be one; with the
    process registered, the documentation's guarantee covers the calling thread too. It costs about a microsecond.
    """
    _membarrier()()


def require_support() -> None:
    """Raise :class:`FrameUnavailable` where shared frames cannot work, so that it shows before the first frame."""
    if not hasattr(os, "memfd_create"):
        raise FrameUnavailable("unsupported", "shared frames need os.memfd_create: Linux and Python 3.8")
    boot_id()
    memory_barrier()


def create(size: int) -> Tuple[int, mmap.mmap]:
    """Reserve ``size`` bytes of memory without a name in any file system and map them for writing.

    The pages are taken at once: a frame never waits for one, and a lack of memory is an error here instead of a
    bus error later. Sealing makes the size final, so that no reader can be hit by a truncation, and keeps every
    other process from writing.

    Returns:
        The file descriptor that readers open through ``/proc``, and the mapping.
    """
    try:
        descriptor = os.memfd_create(NAME, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    except OSError as error:
        raise FrameUnavailable("unsupported", f"no memory file: {error}") from error
    try:
        os.ftruncate(descriptor, size)
        os.posix_fallocate(descriptor, 0, size)
        mapping = mmap.mmap(descriptor, size, flags=mmap.MAP_SHARED | _MAP_POPULATE)
        fcntl.fcntl(descriptor, _F_ADD_SEALS, _SEALS)
    except OSError as error:
        os.close(descriptor)
        raise FrameUnavailable("memory", f"no {size} bytes of sealed memory: {error}") from error
    return descriptor, mapping


def identify(process_id: int, descriptor: int) -> int:
    """Return the inode of the file that a process has open.

    Raises:
        FrameUnavailable: the process ended, closed the file, or belongs to another user.
    """
    path = f"/proc/{process_id}/fd/{descriptor}"
    try:
        status = os.stat(path)
    except PermissionError as error:
        raise FrameUnavailable("refused", f"{path}: the writer runs as another user") from error
    except OSError as error:
        raise FrameUnavailable("gone", f"{path}: the writer ended or replaced its memory") from error
    if not stat.S_ISREG(status.st_mode):  # opening something else could block
        raise FrameUnavailable("gone", f"{path} is no memory file")
    return status.st_ino


def map_other(process_id: int, descriptor: int, inode: int, size: int) -> mmap.mmap:
    """Map another process's memory file read-only, after checking that it is the one meant and sealed.

    Raises:
        FrameUnavailable: the descriptor stands for something else by now.
    """
    path = f"/proc/{process_id}/fd/{descriptor}"
    try:
        opened = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise FrameUnavailable("gone", f"{path}: {error.strerror}") from error
    try:
        status = os.fstat(opened)
        if status.st_ino != inode or status.st_size != size or _seals(opened) & _SEALS != _SEALS:
            raise FrameUnavailable("gone", f"{path} is not the sealed memory file of {size} bytes (any more)")
        return mmap.mmap(opened, size, flags=mmap.MAP_SHARED | _MAP_POPULATE, prot=mmap.PROT_READ)
    except OSError as error:
        raise FrameUnavailable("memory", f"{path} cannot be mapped: {error}") from error
    finally:
        os.close(opened)


def _seals(descriptor: int) -> int:
    try:
        return fcntl.fcntl(descriptor, _F_GET_SEALS)
    except OSError:  # no memory file at all
        return 0
