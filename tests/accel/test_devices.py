"""Boards as numbers."""

import pytest

from l4edge_accel.devices import DEVICES, device
from l4edge_perception.errors import InputError


def test_the_three_boards_are_there_with_their_sources():
    assert set(DEVICES) == {"zcu102", "xc7z045", "xc7z020"}
    for board in DEVICES.values():
        named = " ".join(board.sources)
        assert all(what in named for what in ("logic", "clock", "memory", "ports"))
        assert min(board.luts, board.dsps, board.bram18, board.clock_hz, board.ddr_bytes_per_s) > 0


def test_figures_of_the_vendor():
    assert (device("zcu102").luts, device("zcu102").dsps, device("zcu102").bram18) == (274_080, 2520, 1824)
    assert (device("xc7z020").luts, device("xc7z020").dsps, device("xc7z020").bram18) == (53_200, 220, 280)


def test_an_unknown_board_is_refused_with_those_that_exist():
    with pytest.raises(InputError, match=r"'zcu9': not known; known are zcu102, xc7z045, xc7z020"):
        device("zcu9")
