"""Resource models: their fit to the counts that are kept, recomputed without synthesis."""

import dataclasses

import pytest

from l4edge_accel import resources
from l4edge_accel.configuration import EngineConfig, RowGroup
from l4edge_accel.engines.mixed import board_ratio
from l4edge_accel.rtl import fitting, synthesis
from l4edge_perception.errors import InputError

ENGINE = EngineConfig("one", (RowGroup("fixed8", 4, "dsp"),), inputs=16)


@pytest.fixture(scope="module")
def points():
    return synthesis.read_results()


def test_errors_on_points_left_out(points):
    for name, errors in fitting.leave_one_out(points).items():
        assert errors["lut_error_mean"] <= 0.05, name
        assert errors["lut_error_max"] <= 0.12, name
        assert errors["ff_error_max"] <= 0.01, name


def test_constants_are_those_of_the_kept_counts(points):
    assert fitting.fit(points) == resources.constants()


def test_every_format_has_points(points):
    models = {point["model"] for point in points}
    assert set(synthesis.SINGLE) | {"fixed8 on DSPs", fitting.MIXED} <= models


def test_whole_accelerators_are_roughly_what_is_modelled(points):
    whole = fitting.whole_accelerators(points)
    assert len(whole) == 4
    for one in whole:
        assert abs(one["modelled_luts"] / one["luts"] - 1) <= 0.20, one["name"]
        assert abs(one["modelled_ffs"] / one["ffs"] - 1) <= 0.20, one["name"]
    assert all(one["modelled_bram18"] == one["bram18"] for one in whole if one["bram18"] > 1)


def test_packing_saves_dsps():
    assert resources.array_resources(ENGINE).dsps == 64
    packed = dataclasses.replace(ENGINE, groups=(RowGroup("fixed8", 4, "dsp", 2),))
    assert resources.array_resources(packed).dsps == 32


def test_more_of_anything_never_costs_less():
    base = resources.engine_resources(ENGINE)
    for change in ({"inputs": 32}, {"lanes": 2}, {"tokens": 1000}, {"activation_bits": 9}, {"port_bits": 256}):
        more = resources.engine_resources(dataclasses.replace(ENGINE, **change))
        assert more.ffs >= base.ffs and more.luts >= base.luts * 0.95 and more.bram18 >= base.bram18, change


@pytest.mark.parametrize(
    ("width", "depth", "expected"), [(36, 512, 1), (72, 512, 2), (8, 2048, 1), (1, 16384, 1), (37, 512, 2)]
)
def test_block_memories(width, depth, expected):
    assert resources.bram18(width, depth) == expected


def test_more_luts_carry_more_powers_of_two():
    small, large = (board_ratio(luts, 220, 16, 4) for luts in (20e3, 40e3))
    assert large.shares[0] > small.shares[0]
    for ratio, luts in ((small, 20e3), (large, 40e3)):
        assert ratio.resources.luts <= luts and ratio.resources.dsps <= 220
        assert ratio.shares[2] >= 0.05 or ratio.fixed8 == 1


def test_packing_carries_more_fixed_point():
    plain, packed = (board_ratio(40e3, 220, 16, 4, packing=packing) for packing in ((1, 1), (4, 2)))
    assert packed.fixed4 + packed.fixed8 > 2 * (plain.fixed4 + plain.fixed8)


def test_a_board_that_is_too_small_is_named():
    with pytest.raises(InputError, match="board ratio"):
        board_ratio(100, 220, 16)


def test_missing_results_are_named(tmp_path):
    with pytest.raises(InputError, match="no synthesis results"):
        synthesis.read_results(tmp_path / "none.json")


def test_counts_that_are_kept_outlive_a_synthesis_that_breaks_off(tmp_path, points, monkeypatch):
    file = tmp_path / "kept.json"
    synthesis.write_results(points, file)
    before, runs = file.read_bytes(), []

    def breaks_off(engines, module=synthesis.ARRAY):
        runs.append(module)
        if len(runs) == 2:
            raise InputError("synthesis: yosys failed")
        return [dict.fromkeys(("luts", "ffs", "dsps"), 1) for _ in engines]

    monkeypatch.setattr(synthesis, "synthesize", breaks_off)
    with pytest.raises(InputError, match="yosys failed"):
        synthesis.sweep(again=True, path=file)
    assert file.read_bytes() == before
    assert {point["luts"] for point in synthesis.sweep(again=True, path=file)} == {1}  # from the third run on it works
    assert len(synthesis.read_results(file)) == len(points)
