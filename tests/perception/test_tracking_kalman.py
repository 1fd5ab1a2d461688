"""The batched filter against the textbook's, object by object with full matrices."""

import numpy as np
import pytest

from l4edge_perception.tracking.kalman import UNKNOWN, correct, predict, start


def random_covariances(random, count, size):
    roots = random.normal(size=(count, size, size))
    return roots @ roots.swapaxes(1, 2) + 0.1 * np.eye(size)


def joint(covariance):
    """The blocks (3, C, C) of one object as its full (2C, 2C) covariance."""
    return np.block([[covariance[0], covariance[1]], [covariance[1].T, covariance[2]]])


def textbook_predict(mean, covariance, seconds, wander):
    size = len(wander)
    transition = np.eye(2 * size)
    transition[:size, size:] = seconds * np.eye(size)
    power = np.diag(wander**2)
    noise = np.block([[seconds**3 / 3 * power, seconds**2 / 2 * power], [seconds**2 / 2 * power, seconds * power]])
    return transition @ mean, transition @ covariance @ transition.T + noise


def textbook_correct(mean, covariance, measured, noise):
    size = len(measured)
    view = np.hstack((np.eye(size), np.zeros((size, size))))
    gain = covariance @ view.T @ np.linalg.inv(view @ covariance @ view.T + noise)
    return mean + gain @ (measured - view @ mean), (np.eye(2 * size) - gain @ view) @ covariance


@pytest.mark.parametrize(("count", "size"), [(1, 1), (7, 2), (5, 6)])
def test_batch_equals_textbook(count, size):
    random = np.random.default_rng(size)
    measured, noise = random.normal(size=(count, size)), random_covariances(random, count, size)
    speed_std = random.uniform(0.5, 2.0, (count, size))
    means, covariances = start(measured, noise, speed_std)
    expected = [
        (np.r_[measured[row], np.zeros(size)], np.block([
            [noise[row], np.zeros((size, size))],
            [np.zeros((size, size)), np.diag(speed_std[row] ** 2)],
        ]))
        for row in range(count)
    ]
    for seconds in (0.1, 0.033, 0.5):
        wander = random.uniform(0.1, 3.0, (count, size))
        measured, noise = random.normal(size=(count, size)), random_covariances(random, count, size)
        means, covariances = predict(means, covariances, seconds, wander)
        means, covariances = correct(means, covariances, measured, noise)
        for row in range(count):
            moved = textbook_predict(*expected[row], seconds, wander[row])
            expected[row] = textbook_correct(*moved, measured[row], noise[row])
            np.testing.assert_allclose(means[row].ravel(), expected[row][0], rtol=1e-9, atol=1e-12)
            np.testing.assert_allclose(joint(covariances[row]), expected[row][1], rtol=1e-9, atol=1e-12)


def test_two_short_steps_are_one_long_step():
    random = np.random.default_rng(0)
    state = start(random.normal(size=(3, 2)), random_covariances(random, 3, 2), np.ones((3, 2)))
    wander = np.full((3, 2), 1.7)
    once = predict(*state, 0.3, wander)
    thrice = state
    for _ in range(3):
        thrice = predict(*thrice, 0.1, wander)
    np.testing.assert_allclose(thrice[0], once[0])
    np.testing.assert_allclose(thrice[1], once[1])


def test_unmeasured_coordinate_stays():
    means, covariances = start(np.array([[3.0, 5.0]]), np.eye(2)[None], np.ones((1, 2)))
    means, covariances = correct(means, covariances, np.array([[4.0, 5.0]]), np.diag([1.0, UNKNOWN])[None])
    np.testing.assert_allclose(means[0, 0], [3.5, 5.0], atol=1e-6)
    np.testing.assert_allclose(np.diag(covariances[0, 0]), [0.5, 1.0], atol=1e-6)


def test_unknown_coordinate_takes_its_first_measurement():
    means, covariances = start(np.zeros((1, 2)), UNKNOWN * np.eye(2)[None], np.ones((1, 2)))
    means, covariances = predict(means, covariances, 2.0, np.ones((1, 2)))
    means, covariances = correct(means, covariances, np.array([[1e5, -2e5]]), 0.25 * np.eye(2)[None])
    np.testing.assert_allclose(means[0, 0], [1e5, -2e5], atol=1e-3)
    np.testing.assert_allclose(covariances[0, 0], 0.25 * np.eye(2), atol=1e-5)


def test_arguments_are_left_alone():
    state = start(np.ones((2, 2)), np.tile(np.eye(2), (2, 1, 1)), np.ones((2, 2)))
    before = [part.copy() for part in state]
    predict(*state, 0.1, np.ones((2, 2)))
    correct(*state, np.zeros((2, 2)), np.tile(np.eye(2), (2, 1, 1)))
    for part, copy in zip(state, before):
        np.testing.assert_array_equal(part, copy)
