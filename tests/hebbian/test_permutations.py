import numpy as np
import pytest

from hebbian.permutations import PermutationTask, exact_match, round_output

MOVED = [2, 0, 3, 1]


def test_bit_i_moves_to_where_the_permutation_says():
    task = PermutationTask(4, MOVED)
    X, Y = task.train()
    np.testing.assert_array_equal(X, np.eye(4))
    assert all(Y[i, MOVED[i]] == 1 for i in range(4))
    assert Y.sum() == 4
    A = task.inputs()
    np.testing.assert_array_equal(task.target(A)[:, MOVED], A)
    np.testing.assert_array_equal(task.target(A), A @ Y)


def test_all_words_are_listed_once():
    task = PermutationTask(5)
    A = task.inputs()
    assert A.shape == (31, 5)
    assert len(np.unique(A, axis=0)) == 31
    assert A.any(1).all()
    np.testing.assert_array_equal(np.unique(task.inputs((2, 4)).sum(1), return_counts=True), [[2, 4], [10, 5]])


def test_draws_are_even_over_words():
    task = PermutationTask(4)
    A = task.inputs((1, 2), 20_000, np.random.default_rng(0))
    words, counts = np.unique(A, axis=0, return_counts=True)
    assert set(words.sum(1)) == {1, 2}
    # Ten words of probability 1/10: five deviations, a false-alarm rate of 6e-6.
    assert len(words) == 10
    assert abs(counts - 2000).max() < 5 * np.sqrt(20_000 * 0.1 * 0.9)


def test_permutations_are_drawn_from_the_generator():
    drawn = {PermutationTask(3, rng=np.random.default_rng(seed)).permutation for seed in range(50)}
    assert len(drawn) == 6
    assert PermutationTask(3, rng=np.random.default_rng(7)) == PermutationTask(3, rng=np.random.default_rng(7))


def test_inputs_have_unit_length_and_targets_do_not():
    task = PermutationTask(6)
    A = task.inputs(3)
    np.testing.assert_allclose(np.linalg.norm(task.encode(A), axis=1), 1, rtol=1e-15)
    np.testing.assert_array_equal(task.target(A).sum(1), 3)


def test_a_tie_counts_as_zero_and_one_wrong_bit_spoils_a_word():
    F = np.array([[0.0, 0.1], [0.1, -0.1], [0.1, 0.1]])
    np.testing.assert_array_equal(round_output(F), [[0, 1], [1, 0], [1, 1]])
    np.testing.assert_array_equal(exact_match(F, [[0, 1], [1, 1], [1, 1]]), [True, False, True])
    assert exact_match(np.stack([F, -F]), np.array([[0, 1], [1, 1], [1, 1]])).shape == (2, 3)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"k": 1}, ValueError, "k = 1 is out of range"),
        ({"k": 2.0}, TypeError, r"k = 2\.0 is not an integer"),
        ({"k": 3, "permutation": [0, 1, 1]}, ValueError, r"permutation = \[0, 1, 1\]"),
        ({"k": 3, "permutation": [0, 1]}, ValueError, "0 to 2, once each"),
        ({"k": 3, "permutation": [0.0, 1.0, 2.0]}, ValueError, "permutation"),
        ({"k": 3, "permutation": [0, 1, 2], "rng": np.random.default_rng(0)}, ValueError, "both given"),
        ({"k": 3, "rng": 5}, TypeError, "rng = 5"),
    ],
)
def test_tasks_that_are_none_are_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        PermutationTask(**arguments)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda task: task.encode([[0, 0, 0], [1, 0, 0]]), ValueError, "A has no one in row 0"),
        (lambda task: task.encode([[0, 2, 0]]), ValueError, r"A has an entry 2\.0"),
        (lambda task: task.target([[0, 1]]), ValueError, r"A has shape \(1, 2\)"),
        (lambda task: task.inputs(0), ValueError, "n_ones = 0"),
        (lambda task: task.inputs((1, 4)), ValueError, "n_ones = 4"),
        (lambda task: task.inputs(()), ValueError, "n_ones is empty"),
        (lambda task: task.inputs(1, 0, np.random.default_rng(0)), ValueError, "count = 0"),
        (lambda task: task.inputs(1, 5), TypeError, "rng = None"),
        (lambda _: PermutationTask(30).inputs(), ValueError, "1073741823 words of k = 30 bits"),
    ],
)
def test_words_that_are_none_are_refused(call, error, message):
    with pytest.raises(error, match=message):
        call(PermutationTask(3))
