"""Camera frames from one process to others of the same machine, without sending the pixels.

A writer owns a ring of slots in an anonymous memory file and publishes a :class:`FrameHandle`; a reader maps the file
and looks at the pixels where they lie. Nobody waits for anybody: a writer reuses the oldest slot, and a reader
that was too slow learns it from the slot's generation. ``docs/transport.md`` holds the reasons.

Layout of a memory file: one line of 64 bytes with magic, slot count and slot bytes; one such line per slot with its
generation; then, from a page boundary, the slots. All numbers are unsigned 64-bit integers in native byte order.
"""

import contextlib
import dataclasses
import mmap
import operator
import os
import time
import weakref
from typing import Any, Dict, Iterator, Optional, Tuple

import numpy as np

from l4edge_pipeline.transport.memory import (
    FrameUnavailable,
    boot_id,
    create,
    identify,
    map_other,
    memory_barrier,
    require_support,
)

__all__ = ["CHANNELS", "FrameHandle", "FrameReader", "FrameUnavailable", "FrameView", "FrameWriter"]

CHANNELS = {"rgb8": 3, "bgr8": 3, "mono8": 1}
"""Encoding, named as in sensor_msgs/Image: bytes of one pixel."""

_MAGIC = int.from_bytes(b"l4frame1", "little")
_LINE = 64  # bytes of a cache line, so that no two generations share one
_WORDS = _LINE // 8
_OPENS_BETWEEN_SWEEPS = 32


@dataclasses.dataclass(frozen=True)
class FrameHandle:
    """Where one frame lies: the fields of l4edge_msgs/SharedFrame, documented there, less header and sequence.

    ``vars(handle)`` gives them by name.
    """

    height: int
    width: int
    encoding: str
    step: int
    boot_id: str
    process_id: int
    file_descriptor: int
    slot: int
    offset: int
    generation: int
    capacity: int

    @classmethod
    def from_message(cls, message: Any) -> "FrameHandle":
        """Take the fields out of a SharedFrame message, or anything with attributes of the same names."""
        return cls(*_FIELDS_OF(message))


_FIELDS_OF = operator.attrgetter(*(field.name for field in dataclasses.fields(FrameHandle)))


def _shape(height: int, width: int, encoding: str) -> Tuple[int, ...]:
    channels = CHANNELS.get(encoding)
    if channels is None or height < 1 or width < 1:
        text = "no frame of {} x {} {!r} (known: {})".format(width, height, encoding, ", ".join(CHANNELS))
        raise FrameUnavailable("malformed", text)
    return (height, width) if channels == 1 else (height, width, channels)


def _first_slot(slot_count: int) -> int:
    """Return the offset of the first slot's pixels."""
    return -(-_LINE * (1 + slot_count) // mmap.PAGESIZE) * mmap.PAGESIZE


class _Ring:
    """One memory file of the writer."""

    def __init__(self, slot_count: int, slot_bytes: int):
        # Whole pages, so that rows of all slots start alike and the kernel's and our idea of the size agree.
        self.slot_bytes = -(-slot_bytes // mmap.PAGESIZE) * mmap.PAGESIZE
        self.capacity = _first_slot(slot_count) + slot_count * self.slot_bytes
        self.descriptor, self.mapping = create(self.capacity)
        self.words = np.frombuffer(self.mapping, np.uint64, _WORDS * (1 + slot_count))
        self.words[:3] = _MAGIC, slot_count, self.slot_bytes
        # Without the descriptor nobody can open the file any more; who still maps it keeps its memory.
        weakref.finalize(self, os.close, self.descriptor)


class FrameWriter:
    """Hands out slots of shared memory to fill. For one thread; one writer per stream of frames.

    Args:
        slot_count: frames that exist at a time, the one being written included. A reader has the time of
            ``slot_count - 1`` frames before the one it looks at is overwritten.
        slot_bytes: what to reserve for one frame in advance; otherwise the first frame decides. A larger frame
            moves the ring to a new memory file. The old one stays open while its frames would still be in
            the ring, or until the next such move, so at most two exist at a time.
    """

    def __init__(self, slot_count: int = 8, slot_bytes: int = 0):
        if slot_count < 2:
            raise ValueError("a ring needs two slots: one to write while the other is read")
        require_support()
        self._handle: Optional[FrameHandle] = None
        self._slot_count = slot_count
        self._count = 0
        # From the clock, so that no generation comes again in this boot: a handle whose process id and descriptor
        # were taken over by a later writer cannot take one of its frames for its own.
        self._generation = 2 * time.monotonic_ns()
        self._previous: Optional[_Ring] = None
        self._previous_until = 0
        self._ring = _Ring(slot_count, slot_bytes) if slot_bytes else None

    @property
    def handle(self) -> FrameHandle:
        """The frame that was completed last."""
        if self._handle is None:
            raise ValueError("no frame has been completed yet")
        return self._handle

    def _ring_for(self, size: int) -> _Ring:
        if self._count >= self._previous_until:
            self._previous = None
        if self._ring is None or size > self._ring.slot_bytes:
            self._previous, self._ring = self._ring, _Ring(self._slot_count, size)
            self._previous_until = self._count + self._slot_count
        return self._ring

    @contextlib.contextmanager
    def slot(self, height: int, width: int, encoding: str) -> Iterator[np.ndarray]:
        """Give the next slot to write a frame into; after the block ``self.handle`` names the frame.

        If the block raises, the slot stays marked as being written and ``self.handle`` is unchanged.

        Yields:
            uint8 array (height, width, 3), or (height, width) for mono8, with what an earlier frame left in it.
            It is the shared memory itself: do not touch it after the block.

        Raises:
            FrameUnavailable: an encoding that is not in ``CHANNELS``, or no memory for a larger frame.
        """
        shape = _shape(height, width, encoding)
        size = height * width * CHANNELS[encoding]
        ring = self._ring_for(size)
        index = self._count % self._slot_count
        offset = _first_slot(self._slot_count) + index * ring.slot_bytes
        self._count += 1
        self._generation += 2
        word = _WORDS * (1 + index)
        ring.words[word] = self._generation - 1
        memory_barrier()  # who sees a pixel of this frame also sees that the last one is gone
        yield np.frombuffer(ring.mapping, np.uint8, size, offset).reshape(shape)
        # No barrier here: a reader learns of the frame by a message, and every way to pass one orders memory.
        ring.words[word] = self._generation
        self._handle = FrameHandle(
            height=height, width=width, encoding=encoding, step=size // height,
            boot_id=boot_id(), process_id=os.getpid(), file_descriptor=ring.descriptor,
            slot=index, offset=offset, generation=self._generation, capacity=ring.capacity,
        )

    def write(self, pixels: np.ndarray, encoding: str) -> FrameHandle:
        """Copy ``pixels``, uint8 (height, width, 3) or (height, width) for mono8, into the next slot."""
        height, width = pixels.shape[:2]
        if pixels.dtype != np.uint8 or pixels.shape != _shape(height, width, encoding):
            raise FrameUnavailable("malformed", f"{pixels.dtype} {pixels.shape} is no {encoding} frame")
        with self.slot(height, width, encoding) as shared:
            np.copyto(shared, pixels)
        return self.handle

    def close(self) -> None:
        """Free the memory, apart from what readers still map. The writer starts anew when used again."""
        self._previous = self._ring = self._handle = None


class FrameView:
    """One frame in the memory of the process that wrote it.

    Attributes:
        pixels: read-only uint8 array (height, width, 3), or (height, width) for mono8. It stays readable for as
            long as it is referred to, even after its writer has ended.
    """

    def __init__(self, pixels: np.ndarray, words: np.ndarray, word: int, generation: int):
        self.pixels = pixels
        self._words = words
        self._word = word
        self._generation = generation

    def is_intact(self) -> bool:
        """Tell whether everything read from ``pixels`` until now belonged to this frame.

        Ask after use, before anything made from the pixels is passed on.
        """
        memory_barrier()  # no read of the pixels may happen after the read of the generation
        return int(self._words[self._word]) == self._generation


class _Mapping:
    """One memory file of some writer, as a reader sees it."""

    def __init__(self, process_id: int, descriptor: int, inode: int, capacity: int):
        self.inode = inode
        self.memory = map_other(process_id, descriptor, inode, capacity)
        self.capacity = capacity
        header = self.memory[:_LINE].ljust(_LINE, b"\0")
        magic, self.slot_count, self.slot_bytes = np.frombuffer(header, np.uint64, 3).tolist()
        if magic != _MAGIC or _first_slot(self.slot_count) + self.slot_count * self.slot_bytes != capacity:
            raise FrameUnavailable("gone", f"process {process_id}: descriptor {descriptor} holds no frames")
        self.words = np.frombuffer(self.memory, np.uint64, _WORDS * (1 + self.slot_count))
        self._pixels: Dict[Tuple[Any, ...], np.ndarray] = {}

    def holds(self, handle: FrameHandle) -> bool:
        """Tell whether the frame of ``handle`` lies here, whole: no other frame has its generation."""
        if handle.generation % 2 or handle.slot not in range(self.slot_count):
            return False
        return int(self.words[_WORDS * (1 + handle.slot)]) == handle.generation

    def pixels(self, handle: FrameHandle) -> np.ndarray:
        """Return the array that ``handle`` describes, after checking that it lies within its slot."""
        # A camera keeps its format: the few arrays that the slots ever hold are checked and made once.
        key = (handle.slot, handle.height, handle.width, handle.encoding, handle.step, handle.offset, handle.capacity)
        pixels = self._pixels.get(key)
        if pixels is None:
            if len(self._pixels) >= self.slot_count:
                self._pixels.clear()
            pixels = self._pixels[key] = self._checked(handle)
        return pixels

    def _checked(self, handle: FrameHandle) -> np.ndarray:
        shape = _shape(handle.height, handle.width, handle.encoding)
        size = handle.height * handle.width * CHANNELS[handle.encoding]
        offset = _first_slot(self.slot_count) + handle.slot * self.slot_bytes
        if (
            handle.capacity != self.capacity
            or handle.offset != offset
            or size > self.slot_bytes
            or handle.step * handle.height != size
        ):
            raise FrameUnavailable("malformed", f"{handle} does not fit its memory file")
        return np.frombuffer(self.memory, np.uint8, size, offset).reshape(shape)


class FrameReader:
    """Looks up frames by their handles. For one thread; one reader serves any number of writers."""

    def __init__(self) -> None:
        require_support()
        self._mappings: Dict[Tuple[int, int], _Mapping] = {}
        self._opens = 0

    def open(self, handle: FrameHandle) -> FrameView:
        """Find the pixels of ``handle``. Nothing is copied.

        Raises:
            FrameUnavailable: the frame cannot be had (any more); its ``reason`` says why.
        """
        if handle.boot_id != boot_id():
            raise FrameUnavailable("elsewhere", "the frame lies in another machine's memory, or was there last boot")
        key = (handle.process_id, handle.file_descriptor)
        self._opens += 1
        if self._opens % _OPENS_BETWEEN_SWEEPS == 0:
            self.drop_dead()
        mapping = self._mappings.get(key)
        if mapping is None or not mapping.holds(handle):
            self.drop_dead()  # process id and descriptor may belong to another file by now
            mapping = self._mappings.get(key)
            if mapping is None:
                mapping = self._mappings[key] = _Mapping(*key, identify(*key), handle.capacity)
        if not mapping.holds(handle):
            raise FrameUnavailable("overwritten", "the writer has reused the frame's slot")
        return FrameView(mapping.pixels(handle), mapping.words, _WORDS * (1 + handle.slot), handle.generation)

    def drop_dead(self) -> None:
        """Unmap what no writer holds open any more, as soon as no view refers to it.

        :meth:`open` does this now and then; a stage that may get no frames for long can call it as well.
        """
        for key, mapping in list(self._mappings.items()):
            try:
                alive = identify(*key) == mapping.inode
            except FrameUnavailable:
                alive = False
            if not alive:
                del self._mappings[key]

    def close(self) -> None:
        """Unmap everything, as soon as no view refers to it."""
        self._mappings.clear()
