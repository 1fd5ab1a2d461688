"""Shared frames within one process: what a writer writes a reader finds, or is told why not."""

import dataclasses
import gc
import itertools
import mmap
import os
import platform
import resource
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from l4edge_pipeline.transport import memory
from l4edge_pipeline.transport.crashes import descriptors, memory_files
from l4edge_pipeline.transport.frames import CHANNELS, FrameHandle, FrameReader, FrameUnavailable, FrameWriter

SLOTS = 4
RANDOM = np.random.default_rng(7)


@pytest.fixture
def writer():
    return FrameWriter(SLOTS)


def picture(height=6, width=9, encoding="rgb8"):
    channels = CHANNELS[encoding]
    shape = (height, width) if channels == 1 else (height, width, channels)
    return RANDOM.integers(0, 256, shape, dtype=np.uint8)


def refusal(handle, reader=None):
    with pytest.raises(FrameUnavailable) as caught:
        (reader or FrameReader()).open(handle)
    return caught.value.reason


@pytest.mark.parametrize("encoding", CHANNELS)
@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 4096), (480, 640), (1081, 1919)])
def test_a_frame_arrives_as_it_was_written(height, width, encoding, writer):
    pixels = picture(height, width, encoding)
    view = FrameReader().open(writer.write(pixels, encoding))
    np.testing.assert_array_equal(view.pixels, pixels)
    assert view.is_intact()


def test_pixels_are_written_where_they_are_read(writer):
    with writer.slot(6, 9, "rgb8") as pixels:
        pixels[...] = 1
    view = FrameReader().open(writer.handle)
    pixels[2, 3] = 7  # not allowed; here it shows that nothing was copied on the way
    assert view.pixels[2, 3].tolist() == [7, 7, 7]


def test_a_reader_cannot_write(writer):
    view = FrameReader().open(writer.write(picture(), "rgb8"))
    with pytest.raises(ValueError, match="read-only"):
        view.pixels[0, 0] = 0
    with pytest.raises(ValueError, match="WRITEABLE"):
        view.pixels.flags.writeable = True


def test_nobody_can_change_the_size_or_map_the_memory_for_writing(writer):
    handle = writer.write(picture(), "rgb8")
    other = os.open(f"/proc/self/fd/{handle.file_descriptor}", os.O_RDWR)
    try:
        for size in (0, 2 * handle.capacity):
            with pytest.raises(PermissionError):
                os.ftruncate(other, size)
        with pytest.raises(PermissionError):
            mmap.mmap(other, handle.capacity)
        with pytest.raises(PermissionError):
            os.pwrite(other, b"x", handle.offset)
    finally:
        os.close(other)


@settings(max_examples=60, deadline=None)
@given(
    slots=st.integers(2, 6),
    frames=st.lists(st.tuples(st.integers(1, 90), st.integers(1, 90), st.sampled_from(sorted(CHANNELS))), max_size=25),
)
def test_the_newest_frames_are_there_and_whatever_is_there_is_right(slots, frames):
    writer, reader, sent = FrameWriter(slots), FrameReader(), []
    for frame in frames:
        pixels = picture(*frame)
        sent.append((writer.write(pixels, frame[2]), pixels))
        for age, (handle, expected) in enumerate(reversed(sent)):
            try:
                view = reader.open(handle)
            except FrameUnavailable:
                # Within the ring only a second move to a larger one can take a frame away.
                missing_too_soon = age < slots and len({later.capacity for later, _ in sent[-age - 1 :]}) <= 2
                assert not missing_too_soon
                continue
            np.testing.assert_array_equal(view.pixels, expected)
            assert view.is_intact()
            assert age < 2 * slots


def test_a_reader_that_was_too_slow_learns_it(writer):
    reader = FrameReader()
    handle = writer.write(picture(), "rgb8")
    view = reader.open(handle)
    for _ in range(SLOTS - 1):
        writer.write(picture(), "rgb8")
        assert view.is_intact()
    with writer.slot(6, 9, "rgb8"):
        assert not view.is_intact()
        assert refusal(handle, reader) == "overwritten"
    assert not view.is_intact()


def test_a_frame_whose_writer_failed_inside_is_never_announced(writer):
    handle = writer.write(picture(), "rgb8")
    with pytest.raises(OSError, match="camera"), writer.slot(6, 9, "rgb8"):
        raise OSError("camera unplugged")
    assert writer.handle == handle
    unfinished = dataclasses.replace(
        handle, slot=1, offset=handle.offset + mmap.PAGESIZE, generation=handle.generation + 1)
    assert refusal(unfinished) == "overwritten"
    view = FrameReader().open(writer.write(picture(), "rgb8"))
    assert view.is_intact()


def test_a_handle_exists_only_after_the_first_frame():
    with pytest.raises(ValueError, match="no frame"):
        FrameWriter(SLOTS).handle  # noqa: B018


def test_frames_before_a_change_of_size_stay_until_they_would_have_left_the_ring(writer):
    reader = FrameReader()
    small = writer.write(picture(), "rgb8")
    seen = reader.open(small)
    for _ in range(SLOTS):
        writer.write(picture(60, 90), "rgb8")
        assert FrameReader().open(small).is_intact()
    writer.write(picture(60, 90), "rgb8")
    assert refusal(small) == "gone"
    assert seen.is_intact()


def test_nothing_accumulates_over_frames_and_sizes(writer):
    reader = FrameReader()
    gc.collect()
    before, opened = descriptors(), 0
    sizes = [*range(10, 410, 8), *range(400, 10, -8)]
    for number, size in enumerate(itertools.islice(itertools.cycle(sizes), 2000)):
        pixels = np.full((size, 40), number % 251, np.uint8)
        view = reader.open(writer.write(pixels, "mono8"))
        assert view.pixels[-1, -1] == number % 251
        opened = max(opened, descriptors() - before)
    # A file has a descriptor and a mapping at the writer's and a mapping at the reader's; two files, one outgoing.
    assert opened <= 7
    del view
    writer.close()
    reader.close()
    assert descriptors() == before


def test_memory_is_given_back_without_being_asked_to():
    writer = FrameWriter(SLOTS)
    handle = writer.write(picture(), "rgb8")
    inode = memory.identify(os.getpid(), handle.file_descriptor)
    assert inode in memory_files()
    del writer
    assert inode not in memory_files()
    assert refusal(handle) == "gone"


def test_a_reader_lets_go_of_memory_that_its_writer_has_left(writer):
    reader = FrameReader()
    handle = writer.write(picture(), "rgb8")
    inode = memory.identify(os.getpid(), handle.file_descriptor)
    view = reader.open(handle)
    writer.close()
    reader.drop_dead()
    assert view.is_intact()  # who still looks may look on
    assert inode in memory_files()
    del view
    assert inode not in memory_files()


def test_a_later_writer_with_the_same_process_id_and_descriptor_is_another_one():
    reader = FrameReader()
    first = FrameWriter(SLOTS)
    old = first.write(picture(), "rgb8")
    reader.open(old)
    first.close()
    second, pixels = FrameWriter(SLOTS), picture()
    new = second.write(pixels, "rgb8")
    assert (new.process_id, new.file_descriptor, new.slot) == (old.process_id, old.file_descriptor, old.slot)
    np.testing.assert_array_equal(reader.open(new).pixels, pixels)
    assert refusal(old, reader) == "overwritten"
    assert refusal(old) == "overwritten"


@pytest.mark.parametrize(("change", "reason"), [
    ({"boot_id": "00000000-0000-0000-0000-000000000000"}, "elsewhere"),
    ({"process_id": 2**22 + 1}, "gone"),
    ({"process_id": 0}, "gone"),
    ({"file_descriptor": 2**31 - 1}, "gone"),
    ({"file_descriptor": -1}, "gone"),
    ({"slot": SLOTS}, "overwritten"),
    ({"slot": 2**32 - 1}, "overwritten"),
    ({"offset": 0}, "malformed"),
    ({"offset": 2**63}, "malformed"),
    ({"height": 2**31}, "malformed"),
    ({"height": 0}, "malformed"),
    ({"width": 2**31, "step": 3 * 2**31}, "malformed"),
    ({"encoding": "bayer_rggb8"}, "malformed"),
    ({"step": 26}, "malformed"),
    ({"capacity": 0}, "gone"),
    ({"capacity": 2**63}, "gone"),
    ({"generation": 2}, "overwritten"),
])
def test_a_wrong_handle_is_refused(change, reason, writer):
    handle = dataclasses.replace(writer.write(picture(), "rgb8"), **change)
    assert refusal(handle) == reason


def _unsealed(path):
    descriptor = os.memfd_create("other")
    os.ftruncate(descriptor, mmap.PAGESIZE)
    return descriptor


def _sealed_by_others(path):
    return memory.create(mmap.PAGESIZE)[0]


def _ordinary(path):
    path.write_bytes(bytes(mmap.PAGESIZE))
    return os.open(path, os.O_RDONLY)


def _pipe(path):
    os.mkfifo(path)
    return os.open(path, os.O_RDONLY | os.O_NONBLOCK)


def _folder(path):
    path.mkdir()
    return os.open(path, os.O_RDONLY)


@pytest.mark.parametrize("make", [_unsealed, _sealed_by_others, _ordinary, _pipe, _folder])
def test_a_descriptor_that_is_no_ring_of_frames_is_refused(make, tmp_path, writer):
    handle = writer.write(picture(), "rgb8")
    descriptor = make(tmp_path / "other")
    before = descriptors()
    try:
        strange = dataclasses.replace(handle, file_descriptor=descriptor, capacity=mmap.PAGESIZE)
        assert refusal(strange) == "gone"
        gc.collect()  # the exception knew the mapping
        assert descriptors() <= before
    finally:
        os.close(descriptor)


@pytest.mark.parametrize(("pixels", "encoding"), [
    (np.zeros((4, 5), np.uint8), "rgb8"),
    (np.zeros((4, 5, 3), np.uint8), "mono8"),
    (np.zeros((4, 5, 4), np.uint8), "rgb8"),
    (np.zeros((4, 5, 3), np.float32), "rgb8"),
    (np.zeros((0, 5, 3), np.uint8), "rgb8"),
    (np.zeros((4, 5, 3), np.uint8), "jpeg"),
])
def test_a_writer_takes_only_what_it_can_describe(pixels, encoding):
    with pytest.raises(FrameUnavailable, match="frame") as caught:
        FrameWriter(SLOTS).write(pixels, encoding)
    assert caught.value.reason == "malformed"


def test_a_ring_of_one_slot_makes_no_sense():
    with pytest.raises(ValueError, match="two slots"):
        FrameWriter(1)


def test_a_lack_of_memory_is_told_and_leaves_the_old_ring_in_use(writer):
    handle = writer.write(picture(), "rgb8")
    before, limits = descriptors(), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, limits[1]))
    try:
        with pytest.raises(FrameUnavailable) as caught:
            writer.write(picture(1000, 1000), "rgb8")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert caught.value.reason == "memory"
    assert descriptors() == before
    assert FrameReader().open(handle).is_intact()
    assert FrameReader().open(writer.write(picture(), "rgb8")).is_intact()


@pytest.mark.parametrize("end", [FrameWriter, FrameReader])
@pytest.mark.parametrize("lack", ["memfd_create", "membarrier"])
def test_a_machine_without_the_means_says_so_at_once(end, lack, monkeypatch):
    memory._membarrier.cache_clear()
    if lack == "memfd_create":
        monkeypatch.delattr(os, "memfd_create")
    else:
        monkeypatch.setattr(platform, "machine", lambda: "vax")
    with pytest.raises(FrameUnavailable, match=r"memfd_create|vax") as caught:
        end()
    assert caught.value.reason == "unsupported"


def test_a_handle_travels_in_a_message(writer):
    handle = writer.write(picture(), "rgb8")
    message = SimpleNamespace(header=None, sequence=3, **vars(handle))
    assert FrameHandle.from_message(message) == handle
