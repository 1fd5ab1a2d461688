"""Shared frames between processes: at full speed, through kills, across users. Run as a script it is the writer."""

import collections
import contextlib
import dataclasses
import json
import os
import select
import subprocess
import sys
import time

import numpy as np
import pytest

from l4edge_pipeline.transport import crashes
from l4edge_pipeline.transport.frames import FrameHandle, FrameReader, FrameUnavailable, FrameWriter
from l4edge_pipeline.transport.memory import identify

NOBODY = 65534


@contextlib.contextmanager
def child(*arguments):
    """A process that runs this file; ends with the block."""
    command = [sys.executable, __file__, *map(str, arguments)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) as process:
        try:
            yield process
        finally:
            process.kill()


def ask(process):
    """The handle of the newest frame."""
    process.stdin.write("\n")
    return FrameHandle(**json.loads(process.stdout.readline()))


def pattern(number, height, width):
    """A picture in which no row looks like another or like that of the next number."""
    rows = np.arange(height, dtype=np.uint8)[:, None, None]
    return np.broadcast_to(rows + np.uint8(number % 251), (height, width, 3))


def write_sizes():
    """One frame of another size each time one is asked for."""
    writer, sizes = FrameWriter(4), np.random.default_rng(3).integers(1, 700, (10_000, 2))
    for number, (height, width) in enumerate(sizes.tolist()):
        sys.stdin.readline()
        handle = writer.write(pattern(number, height, width), "rgb8")
        print(json.dumps(dataclasses.asdict(handle)), flush=True)


def write_forever(slots, height, width):
    """Frames as fast as they can be written; the newest is named to whoever asks."""
    writer, number = FrameWriter(slots), 0
    while True:
        with writer.slot(height, width, "rgb8") as pixels:
            pixels.fill(number % 251)
        number += 1
        if select.select([sys.stdin], [], [], 0.0)[0]:
            sys.stdin.readline()
            print(json.dumps(dataclasses.asdict(writer.handle)), flush=True)


def read_as_nobody():
    """Say why another user's frame cannot be had."""
    os.setuid(NOBODY)
    try:
        FrameReader().open(FrameHandle(**json.loads(sys.stdin.readline())))
    except FrameUnavailable as error:
        print(error.reason, flush=True)


def test_frames_of_any_size_arrive_whole():
    reader, opened = FrameReader(), []
    with child("sizes") as writer:
        for number in range(120):
            handle = ask(writer)
            view = reader.open(handle)
            np.testing.assert_array_equal(view.pixels, pattern(number, handle.height, handle.width))
            assert view.is_intact()
            opened.append(crashes.descriptors())
    assert max(opened[10:]) <= max(opened[:10]) + 2


def test_no_torn_frame_passes_for_whole():
    """A ring of two slots, and a writer that waits for nobody: most frames are overwritten while they are read."""
    reader = FrameReader()
    intact = torn_and_told = 0
    refusals = collections.Counter()
    give_up = time.monotonic() + 60
    with child("forever", 2, 1080, 1920) as writer:
        while min(intact, torn_and_told) < 10 and time.monotonic() < give_up:
            try:
                view = reader.open(ask(writer))
            except FrameUnavailable as error:
                refusals[error.reason] += 1
                continue
            copy = view.pixels[::3].copy()
            whole_by_generation = view.is_intact()
            whole = copy.min() == copy.max()
            assert whole or not whole_by_generation
            intact += whole_by_generation
            torn_and_told += not whole
    assert intact >= 10
    assert torn_and_told >= 10, f"{intact} intact, {refusals}: the test never saw what it is about"
    assert set(refusals) <= {"overwritten"}


def test_a_killed_writer_leaves_nothing_and_its_reader_goes_on():
    assert crashes.kill_writers(3) == {
        "kills": 3, "failures": 0, "leaked_descriptors": 0, "leaked_memory_files": 0,
    }


def test_a_killed_reader_leaves_nothing_and_its_writer_goes_on():
    assert crashes.kill_readers(3) == {
        "kills": 3, "failures": 0, "leaked_descriptors": 0, "leaked_memory_files": 0,
    }


def test_what_a_process_holds_is_seen_and_a_kill_frees_it():
    """That the two tests above would notice a leak."""
    with child("sizes") as writer:
        handle = ask(writer)
        inode = identify(handle.process_id, handle.file_descriptor)
        assert inode in crashes.memory_files()
        writer.kill()
        writer.wait()
    assert inode not in crashes.memory_files()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_another_users_frame_is_refused():
    writer = FrameWriter(2)
    handle = writer.write(pattern(0, 4, 5), "rgb8")
    with child("nobody") as reader:
        reader.stdin.write(json.dumps(dataclasses.asdict(handle)) + "\n")
        assert reader.stdout.readline().strip() == "refused"


if __name__ == "__main__":
    role, *numbers = sys.argv[1:]
    {"sizes": write_sizes, "forever": write_forever, "nobody": read_as_nobody}[role](*map(int, numbers))
