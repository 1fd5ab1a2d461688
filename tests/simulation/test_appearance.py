"""Splits share nothing."""

import itertools

import numpy as np
import pytest

from l4edge_simulation.appearance import (
    FAMILIES,
    FIRST_SEEDS,
    LOOKS,
    draw_camera,
    draw_look,
    drive_seed,
    paint_colour,
    stream,
)

SPLITS = list(FAMILIES)


@pytest.mark.parametrize(("one", "other"), list(itertools.combinations(SPLITS, 2)))
def test_splits_share_neither_seeds_nor_families(one, other):
    assert not set(FAMILIES[one]) & set(FAMILIES[other])
    assert abs(FIRST_SEEDS[one] - FIRST_SEEDS[other]) >= 1_000_000
    drawn = [{paint_colour(split, np.random.default_rng(seed)) for seed in range(300)} for split in (one, other)]
    assert not drawn[0] & drawn[1]


@pytest.mark.parametrize("index", [-1, 1_000_000])
def test_drives_beyond_a_split_are_refused(index):
    with pytest.raises(ValueError, match="0 to 999999"):
        drive_seed("train", index)


def test_concerns_of_a_drive_have_streams_of_their_own():
    assert stream(3, "layout").random() == stream(3, "layout").random()
    assert stream(3, "layout").random() != stream(3, "traffic").random()


@pytest.mark.parametrize("name", LOOKS)
def test_looks_are_possible_light(name):
    for seed in range(20):
        look = draw_look("test", np.random.default_rng(seed), name)
        assert look.name == name
        assert look.sun_direction[2] < 0.0
        assert np.linalg.norm(look.sun_direction) == pytest.approx(1.0)
        assert look.fog_range[0] < look.fog_range[1]


def test_cameras_look_ahead():
    for seed in range(50):
        camera = draw_camera(np.random.default_rng(seed), 640, 360)
        pose = camera.base_from_camera()
        assert pose[:3, 2] == pytest.approx([1.0, 0.0, 0.0], abs=0.08)  # its z axis is the vehicle's x
        assert pose[:3, 1] == pytest.approx([0.0, 0.0, -1.0], abs=0.08)  # its y axis is down
        assert np.linalg.det(pose[:3, :3]) == pytest.approx(1.0)
        assert 1.2 <= pose[2, 3] <= 1.8
