"""The batched filter against the textbook's, pair by pair with full matrices."""

import numpy as np
import pytest

from l4edge_perception.tracking.kalman import UNKNOWN, correct, predict, start


def random_covariances(random, pairs, count):
    """(2, 2, pairs, count) positive definite ones."""
    roots = random.normal(size=(pairs, count, 2, 2))
    return (roots @ roots.swapaxes(2, 3) + 0.1 * np.eye(2)).transpose(2, 3, 0, 1)


def measurement(measured, noise):
    """(2, 3, pairs, count) positions and their covariances in one."""
    return np.concatenate((measured[:, None], noise), axis=1)


def started(measured, noise, speed_std):
    """States of new objects."""
    state = np.zeros((4, 5, *speed_std.shape))
    start(state, measurement(measured, noise), speed_std)
    return state


def certain(variance):
    """(2, 2, 1, 1) of one pair of one object: the same variance along both axes."""
    return variance * np.eye(2)[:, :, None, None]


def column(*numbers):
    """(numbers, 1, 1) of one pair of one object."""
    return np.array(numbers, float)[:, None, None]


ALL = np.ones((1, 1), dtype=bool)


def textbook_predict(mean, covariance, seconds, wander):
    transition = np.eye(4)
    transition[:2, 2:] = seconds * np.eye(2)
    power = wander**2 * np.eye(2)
    noise = np.block([[seconds**3 / 3 * power, seconds**2 / 2 * power], [seconds**2 / 2 * power, seconds * power]])
    return transition @ mean, transition @ covariance @ transition.T + noise


def textbook_correct(mean, covariance, measured, noise):
    view = np.hstack((np.eye(2), np.zeros((2, 2))))
    gain = covariance @ view.T @ np.linalg.inv(view @ covariance @ view.T + noise)
    return mean + gain @ (measured - view @ mean), (np.eye(4) - gain @ view) @ covariance


@pytest.mark.parametrize(("pairs", "count"), [(1, 1), (2, 7), (3, 5)])
def test_batch_equals_textbook(pairs, count):
    random = np.random.default_rng(count)
    measured, noise = random.normal(size=(2, pairs, count)), random_covariances(random, pairs, count)
    speed_std = random.uniform(0.5, 2.0, (pairs, count))
    state = started(measured, noise, speed_std)
    each = list(np.ndindex(pairs, count))
    expected = {
        at: (np.r_[measured[:, at[0], at[1]], np.zeros(2)], np.block([
            [noise[:, :, at[0], at[1]], np.zeros((2, 2))],
            [np.zeros((2, 2)), speed_std[at] ** 2 * np.eye(2)],
        ]))
        for at in each
    }
    for seconds in (0.1, 0.033, 0.5):
        wander = random.uniform(0.1, 3.0, (pairs, count))
        measured, noise = random.normal(size=(2, pairs, count)), random_covariances(random, pairs, count)
        known = random.uniform(size=(pairs, count)) < 0.7
        predict(state, seconds, wander)
        correct(state, measurement(measured, noise), known)
        for at in each:
            moved = textbook_predict(*expected[at], seconds, wander[at])
            here = (..., at[0], at[1])
            expected[at] = textbook_correct(*moved, measured[here], noise[here]) if known[at] else moved
            np.testing.assert_allclose(state[:, 0][here], expected[at][0], rtol=1e-9, atol=1e-12)
            np.testing.assert_allclose(state[:, 1:][here], expected[at][1], rtol=1e-9, atol=1e-12)


def test_two_short_steps_are_one_long_step():
    random = np.random.default_rng(0)
    once = started(random.normal(size=(2, 1, 3)), random_covariances(random, 1, 3), np.ones((1, 3)))
    thrice = once.copy()
    wander = np.full((1, 3), 1.7)
    predict(once, 0.3, wander)
    for _ in range(3):
        predict(thrice, 0.1, wander)
    np.testing.assert_allclose(thrice, once, atol=1e-12)


def test_what_was_not_measured_stays_exactly():
    state = started(column(3.0, 5.0), certain(UNKNOWN), np.ones((1, 1)))
    predict(state, 0.1, np.ones((1, 1)))
    before = state.copy()
    for _ in range(3):
        correct(state, measurement(column(4.0, 7.0), certain(0.0)), ~ALL)
    np.testing.assert_array_equal(state, before)


def test_unknown_position_takes_its_first_measurement():
    state = started(column(0.0, 0.0), certain(UNKNOWN), np.ones((1, 1)))
    predict(state, 2.0, np.ones((1, 1)))
    correct(state, measurement(column(1e5, -2e5), certain(0.25)), ALL)
    np.testing.assert_allclose(state[:2, 0], column(1e5, -2e5), atol=1e-3)
    np.testing.assert_allclose(state[:2, 1:3], certain(0.25), atol=1e-5)
