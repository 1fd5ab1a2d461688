"""Ratios from a board's resources."""

import dataclasses

import pytest

from l4edge_compression.quantization.boards import (
    BOARDS,
    PUBLISHED_RATIOS,
    board_of,
    ilmpq_ratio,
    macs_per_cycle,
    modelled_gops,
    ratio_for_board,
    rmsmp_ratio,
)
from l4edge_perception.errors import InputError


def test_fixed_point_alone_reaches_what_film_qnn_published():
    # FILM-QNN, table 5: ResNet-18 with 95 % 4-bit and 5 % 8-bit rows.
    assert modelled_gops(BOARDS["xc7z020"], (0, 95, 5), efficiency=0.5) == pytest.approx(100.6, rel=0.15)
    assert modelled_gops(BOARDS["zcu102"], (0, 95, 5)) == pytest.approx(778.9, rel=0.15)


def test_peaks_of_film_qnn():
    # Table 4: 144 GOPS with DSP blocks alone; 201.6 with logic; 129.6 for 8 bits with both.
    board = BOARDS["xc7z020"]
    alone = dataclasses.replace(board, luts=1)
    assert modelled_gops(alone, (0, 100, 0), efficiency=1) == pytest.approx(144, rel=0.02)
    assert modelled_gops(board, (0, 100, 0), efficiency=1) == pytest.approx(201.6, rel=0.15)


@pytest.mark.parametrize("name", BOARDS)
def test_the_ratio_of_a_board_is_the_fastest_and_leaves_nothing_idle(name):
    board, best = BOARDS[name], ratio_for_board(name)
    assert sum(best) == pytest.approx(1)
    assert best[2] == pytest.approx(0.05)
    fastest = macs_per_cycle(board, best)
    for low in range(0, 96, 5):
        assert fastest >= macs_per_cycle(board, (low, 95 - low, 5)) * (1 - 1e-6)
    for smaller in (dataclasses.replace(board, luts=board.luts // 2), dataclasses.replace(board, dsps=board.dsps // 2)):
        assert macs_per_cycle(smaller, best) < 0.75 * fastest


def test_published_ratios_lie_between_packed_and_single_multiplications():
    for name, published in PUBLISHED_RATIOS.items():
        packed, single = rmsmp_ratio(name)[0], rmsmp_ratio(name, packed=False)[0]
        assert packed < published[0] / 100 < single


def test_a_board_with_more_logic_gets_more_powers_of_two():
    assert ratio_for_board("xc7z020")[0] > ratio_for_board("zcu102")[0]


def test_fixed_point_ratio():
    assert ilmpq_ratio("XC7Z020") == pytest.approx((0, 0.95, 0.05))
    assert rmsmp_ratio("zcu102", high=1) == (0, 0, 1)


@pytest.mark.parametrize("name", ["vck190", "", None])
def test_unknown_board(name):
    with pytest.raises(InputError, match="xc7z020"):
        board_of(name)


def test_share_of_high_rows_beyond_its_range():
    for ratio in (rmsmp_ratio, ilmpq_ratio):
        with pytest.raises(InputError, match="share"):
            ratio("zcu102", high=5)
