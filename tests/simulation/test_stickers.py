"""Flat pictures on objects: place, perspective, light, and what hides them."""

from dataclasses import replace

import numpy as np
import pytest

from l4edge_simulation.appearance import draw_look, stream
from l4edge_simulation.rendering.stickers import Sticker, project, stick, warp

FLAT = np.full((60, 80, 3), 50, np.uint8)
EVERYWHERE = np.ones((60, 80), bool)
WHITE = np.full((8, 8, 3), 255, np.uint8)
LIGHT = np.ones(3)


def square(left, top, edge, depth=10.0):
    """Corners of :func:`project`."""
    return np.array([
        [left, top, depth], [left + edge, top, depth], [left + edge, top + edge, depth], [left, top + edge, depth]
    ])


def test_whole_pixels_are_covered_wholly_and_others_by_their_share():
    drawn = stick(FLAT, EVERYWHERE, square(20.0, 10.0, 6.0), WHITE, LIGHT)
    assert (drawn[10:16, 20:26] == 255).all()
    assert (np.delete(drawn, np.s_[10:16], axis=0) == 50).all()
    _, coverage = warp(WHITE, square(3.5, 3.25, 2.0)[:, :2].astype(np.float32), (10, 10))
    assert coverage.sum() == pytest.approx(4.0, rel=0.3)
    assert coverage[4, 4] == 1.0 and 0.2 < coverage[4, 3] < 0.8


def test_details_smaller_than_a_pixel_become_their_mean():
    checks = (np.indices((64, 64)).sum(axis=0) % 2 * 255).astype(np.uint8)[..., None].repeat(3, axis=2)
    drawn = stick(FLAT, EVERYWHERE, square(20.0, 10.0, 4.0), checks, LIGHT)
    assert np.abs(drawn[11:13, 21:23].astype(int) - 127).max() < 8


def test_the_texture_is_read_from_its_top_left():
    texture = np.zeros((2, 2, 3), np.uint8)
    texture[0, 1] = 255  # the reader's right above
    drawn = stick(FLAT, EVERYWHERE, square(20.0, 10.0, 20.0), texture, LIGHT)
    assert drawn[13, 37].min() > 200 and drawn[13, 23].max() < 60 and drawn[27, 37].max() < 60


def test_what_is_not_seen_of_the_object_is_not_seen_of_the_sticker():
    mask = EVERYWHERE.copy()
    mask[:, 23:] = False
    drawn = stick(FLAT, mask, square(20.0, 10.0, 6.0), WHITE, LIGHT)
    assert (drawn[10:16, 20:23] == 255).all() and (drawn[:, 23:] == 50).all()
    assert stick(FLAT, EVERYWHERE, square(20.0, 10.0, 6.0, depth=-1.0), WHITE, LIGHT) is FLAT
    assert stick(FLAT, EVERYWHERE, square(500.0, 10.0, 6.0), WHITE, LIGHT) is FLAT


def test_a_reader_sees_a_sticker_unmirrored_on_front_and_rear():
    intrinsics = np.array([[100.0, 0, 40], [0, 100.0, 30], [0, 0, 1]])
    pose = np.eye(4)
    pose[:3, :3] = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])  # looks along the map's x
    pose[:3, 3] = 0.0, 0.0, 1.0
    for facing, yaw in ((1, np.pi), (-1, 0.0)):  # a sign that looks back at us; a vehicle that drives ahead of us
        sticker = Sticker(0, WHITE, (0.0, 0.0, 1.0), 2.0, 1.0, facing)
        corners = project(sticker.corners(), 10.0, 0.0, yaw, (intrinsics, pose))
        np.testing.assert_allclose(corners[:, 2], 10.0)
        np.testing.assert_allclose(corners[:, :2], [[30, 25], [50, 25], [50, 35], [30, 35]], atol=1e-9)


def test_the_sun_lights_the_side_that_it_shines_on():
    look = replace(
        draw_look("test", stream(1, "look"), "clear"), sun_direction=(-1.0, 0.0, 0.0), sun=(0.5,) * 3,
        ambient=(0.3,) * 3,
    )
    sticker = Sticker(0, WHITE, (0.0, 0.0, 1.0), 1.0, 1.0)
    np.testing.assert_allclose(sticker.lit(look, 0.0), 0.8)
    np.testing.assert_allclose(sticker.lit(look, np.pi), 0.3)
