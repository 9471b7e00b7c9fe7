"""Laws of the quenched disorder, each a chi^2 test with a fixed seed and a false-alarm rate of 1e-3."""

import tracemalloc

import numpy as np
import pytest
from scipy import stats

from hebbian import patterns

LEVEL = 1e-3


def assert_law(counts, probabilities):
    """Pearson's chi^2 of observed counts against exact probabilities; cells of expectation < 5 are pooled."""
    counts, expected = np.asarray(counts, dtype=float), np.sum(counts) * np.asarray(probabilities)
    rare = expected < 5
    if rare.any():
        counts = np.append(counts[~rare], counts[rare].sum())
        expected = np.append(expected[~rare], expected[rare].sum())
        if expected[-1] < 1:
            assert counts[-1] <= 5  # P(Poisson(1) > 5) = 6e-4
            counts, expected = counts[:-1], expected[:-1] * counts[:-1].sum() / expected[:-1].sum()
    assert stats.chisquare(counts, expected).pvalue > LEVEL


def words(bits):
    """Counts of the 16 words of 2 x 2 neighbouring entries, from disjoint squares."""
    rows, columns = bits.shape[0] // 2 * 2, bits.shape[1] // 2 * 2
    squares = bits[:rows, :columns].reshape(rows // 2, 2, columns // 2, 2).transpose(0, 2, 1, 3).reshape(-1, 4)
    return np.bincount(squares @ [8, 4, 2, 1], minlength=16)


def word_law(p):
    return [p ** bin(word).count("1") * (1 - p) ** (4 - bin(word).count("1")) for word in range(16)]


@pytest.fixture(params=[patterns._BLOCK, 1000, 10], ids=lambda block: f"block {block}")
def block(request, monkeypatch):
    monkeypatch.setattr(patterns, "_BLOCK", request.param)


@pytest.mark.usefixtures("block")
def test_archetypes_are_independent_fair_signs():
    xi = patterns.archetypes(203, 405, rng=np.random.default_rng(1))
    assert xi.shape == (203, 405)
    assert xi.dtype == np.int8
    assert np.array_equal(np.unique(xi), [-1, 1])
    assert_law(words((xi > 0).astype(int)), word_law(0.5))


def test_archetypes_drawn_with_one_random_byte_are_equally_likely():
    # Bits are drawn eight at a time, in the order of memory; 125,000 bytes would show that one never comes.
    octets = np.packbits(patterns.archetypes(1000, 1000, rng=np.random.default_rng(1)).T.ravel() > 0)
    assert_law(np.bincount(octets, minlength=256), np.full(256, 1 / 256))


@pytest.mark.usefixtures("block")
def test_diluted_archetypes_have_the_stated_probabilities():
    xi = patterns.diluted_archetypes(203, 405, 0.3, rng=np.random.default_rng(2))
    assert xi.shape == (203, 405)
    assert xi.dtype == np.int8
    assert_law(np.bincount(xi.ravel() + 1, minlength=3), [0.35, 0.3, 0.35])
    assert_law(words((xi == 0).astype(int)), word_law(0.3))


def test_no_dilution_gives_rademacher_archetypes():
    assert np.all(patterns.diluted_archetypes(50, 60, 0.0, rng=np.random.default_rng(3)) != 0)


@pytest.mark.usefixtures("block")
def test_examples_flip_entries_independently():
    rng = np.random.default_rng(4)
    xi = patterns.archetypes(30, 101, rng=rng)
    eta = patterns.examples(xi, 0.4, 40, rng=rng)
    assert eta.shape == (30, 40, 101)
    assert eta.dtype == np.int8
    kept = (xi[:, None, :] == eta).astype(int)
    assert np.array_equal(np.abs(eta), np.ones_like(eta))
    assert_law(words(kept.reshape(-1, 101)), word_law(0.7))  # neighbours in example and site
    assert_law(words(kept.transpose(1, 2, 0).reshape(-1, 30)), word_law(0.7))  # in site and pattern


@pytest.mark.usefixtures("block")
@pytest.mark.parametrize("sign", [-1, 1])
@pytest.mark.parametrize(("quality", "M"), [(0.3, 12), (0.9, 5), (1e-3, 130)])
def test_example_sums_are_binomial(quality, M, sign):
    rng = np.random.default_rng([5, M, sign + 1])
    xi = np.full((90, 110), sign, dtype=np.int8)
    law = stats.binom.pmf(np.arange(M + 1), M, (1 + quality) / 2)
    drawn = patterns.example_sum(xi, quality, M, rng=rng)
    assert drawn.shape == xi.shape
    assert_law(np.bincount(((M + xi * drawn) // 2).ravel(), minlength=M + 1), law)
    summed = patterns.examples(xi, quality, M, rng=rng).sum(axis=1)
    assert_law(np.bincount(((M + xi * summed) // 2).ravel(), minlength=M + 1), law)


def test_example_sum_has_the_law_of_summed_examples():
    rng = np.random.default_rng(6)
    xi = patterns.archetypes(150, 200, rng=rng)
    M = 6
    drawn = patterns.example_sum(xi, 0.35, M, rng=rng)
    summed = patterns.examples(xi, 0.35, M, rng=rng).sum(axis=1)
    # Joint with the archetype: a sum blind to its sign would have the same marginal.
    table = [np.bincount(((M + s) // 2 * 2 + (xi > 0)).ravel(), minlength=2 * M + 2) for s in (drawn, summed)]
    assert stats.chi2_contingency(table).pvalue > LEVEL


@pytest.mark.usefixtures("block")
def test_example_sums_of_different_entries_are_independent():
    rng = np.random.default_rng(7)
    xi = patterns.archetypes(200, 300, rng=rng)
    kept = (xi * patterns.example_sum(xi, 0.2, 3, rng=rng) > 0).astype(int)
    assert_law(words(kept), word_law(0.6**3 + 3 * 0.6**2 * 0.4))


@pytest.mark.parametrize("M", [1, 127, 128, 32767, 32768, 2**31 - 1, 2**31, 2**62 - 1])
def test_perfect_examples_add_up_without_overflow(M):
    rng = np.random.default_rng(8)
    xi = patterns.archetypes(3, 4, rng=rng)
    sums = patterns.example_sum(xi, 1.0, M, rng=rng)
    assert sums.tolist() == [[M * entry for entry in row] for row in xi.tolist()]
    bits = next(bits for bits in (8, 16, 32, 64) if 2 ** (bits - 1) > M)
    assert sums.dtype == np.dtype(f"int{bits}")


def test_perfect_examples_are_copies():
    rng = np.random.default_rng(9)
    xi = patterns.archetypes(5, 70, rng=rng)
    assert np.array_equal(patterns.examples(xi, 1.0, 3, rng=rng), np.repeat(xi[:, None], 3, axis=1))


def test_blank_entries_stay_blank():
    rng = np.random.default_rng(10)
    xi = patterns.diluted_archetypes(20, 30, 0.5, rng=rng)
    eta, sums = patterns.examples(xi, 0.5, 4, rng=rng), patterns.example_sum(xi, 0.5, 4, rng=rng)
    assert np.array_equal(eta == 0, np.repeat((xi == 0)[:, None], 4, axis=1))
    assert not sums[xi == 0].any()


DRAWS = {
    "archetypes": lambda rng: patterns.archetypes(7, 90, rng=rng),
    "diluted_archetypes": lambda rng: patterns.diluted_archetypes(7, 90, 0.4, rng=rng),
    "examples": lambda rng: patterns.examples(np.ones((7, 90), np.int8), 0.5, 3, rng=rng),
    "example_sum": lambda rng: patterns.example_sum(np.ones((7, 90), np.int8), 0.5, 3, rng=rng),
}


@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)
def test_the_generator_alone_decides(draw):
    first, same, other = draw(np.random.default_rng(1)), draw(np.random.default_rng(1)), draw(np.random.default_rng(2))
    assert np.array_equal(first, same)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)
def test_the_generator_advances(draw):
    rng = np.random.default_rng(1)
    assert not np.array_equal(draw(rng), draw(rng))


@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)
def test_sites_are_slowest_in_memory(draw):
    drawn = draw(np.random.default_rng(1))
    assert np.moveaxis(drawn, -1, 0).flags.c_contiguous


def _peak(M, *, draw):
    xi = np.ones((400, 500), dtype=np.int8)
    tracemalloc.start()
    draw(xi, 0.5, M, rng=np.random.default_rng(1))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def test_memory_of_example_sum_does_not_grow_with_the_number_of_examples():
    # The sums themselves (8 bytes at most) and temporaries of the block.
    for M in (1, 10**3, 10**12):
        assert _peak(M, draw=patterns.example_sum) < 24 * 400 * 500


def test_memory_of_examples_stays_near_one_byte_an_entry(monkeypatch):
    monkeypatch.setattr(patterns, "_BLOCK", 1 << 16)
    assert _peak(30, draw=patterns.examples) < 1.2 * 400 * 500 * 30


def plain(name, rng, xi, number, M):
    """Draw by plain numpy, in the order in which seeds have always been read."""
    if name == "archetypes":
        octets = rng.integers(0, 256, size=-(-xi.size // 8), dtype=np.uint8)
        return (2 * np.unpackbits(octets, count=xi.size).astype(int) - 1).reshape(xi.T.shape).T
    if name == "examples":
        noise = rng.random((*xi.T.shape, M), dtype=np.float32) < np.float32((1 - number) / 2)
        return (xi.T[..., None] * np.where(noise, -1, 1)).transpose(1, 2, 0)
    return (xi.T * (2 * rng.binomial(M, (1 + number) / 2, size=xi.T.shape) - M)).T


@pytest.mark.parametrize("kind", [np.random.Philox, np.random.PCG64])
@pytest.mark.parametrize("name", ["archetypes", "examples", "example_sum"])
# On both sides of 30 expected reversals, where numpy changes its method, and perfect examples.
@pytest.mark.parametrize(
    ("quality", "M"), [(0.6, 20), (0.2, 74), (0.2, 75), (0.2, 76), (0.999, 150), (1.0, 5), (1e-9, 1)]
)
def test_a_seed_gives_what_plain_numpy_draws(name, quality, M, kind):
    ours, numpy = (np.random.Generator(kind(11)) for _ in range(2))
    xi = patterns.diluted_archetypes(130, 171, 0.2, rng=np.random.default_rng(12))
    draw = {
        "archetypes": lambda: patterns.archetypes(130, 171, rng=ours),
        "examples": lambda: patterns.examples(xi, quality, M, rng=ours),
        "example_sum": lambda: patterns.example_sum(xi, quality, M, rng=ours),
    }[name]
    for _ in range(2):
        assert np.array_equal(draw(), plain(name, numpy, xi, quality, M))
    assert ours.random() == numpy.random()


@pytest.mark.parametrize("dilution", [1e-9, 0.3, 0.999999999])
def test_a_seed_blanks_what_plain_numpy_does(dilution):
    ours, numpy = np.random.default_rng(13), np.random.default_rng(13)
    xi = patterns.archetypes(130, 171, rng=numpy)
    blank = numpy.random((171, 130), dtype=np.float32).T < np.float32(dilution)
    assert np.array_equal(patterns.diluted_archetypes(130, 171, dilution, rng=ours), np.where(blank, 0, xi))


def test_a_uniform_number_beyond_the_last_outcome_is_drawn_again():
    largest = patterns._largest_uniforms(10, 0.45)
    assert largest[-1] < 2**53 - 1
    first = np.searchsorted(largest, np.arange(1024) << 43)
    sums, words_drawn = np.zeros(3, np.int16), np.array([0, 2**64 - 1, 0], np.uint64)
    assert patterns._add_up(sums, np.ones(3, np.int8), words_drawn, 10, largest, first) == 2
    assert sums.tolist() == [10, 10, 0]


RNG = np.random.default_rng(1)
XI = np.ones((2, 3), dtype=np.int8)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: patterns.archetypes(0, 3, rng=RNG), ValueError, "K = 0 is out of range"),
        (lambda: patterns.archetypes(3, 0, rng=RNG), ValueError, "N = 0 is out of range"),
        (lambda: patterns.archetypes(3, 2.5, rng=RNG), TypeError, "N = 2.5 is not an integer"),
        (lambda: patterns.archetypes(3, 4, rng=5), TypeError, "rng = 5 is not a random generator"),
        (lambda: patterns.diluted_archetypes(3, 4, 1.0, rng=RNG), ValueError, r"dilution = 1.0 .* \[0.0, 1.0\)"),
        (lambda: patterns.diluted_archetypes(3, 4, -0.1, rng=RNG), ValueError, r"dilution = -0.1 .* \[0.0, 1.0\)"),
        (lambda: patterns.diluted_archetypes(3, 4, 0.5, rng=None), TypeError, "rng = None is not a random generator"),
        (lambda: patterns.example_sum(XI, 0.5, 2**62, rng=RNG), ValueError, r"examples = .* allowed: .* below 2\^62"),
    ],
)
def test_archetypes_refuse(call, error, message):
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize("draw", [patterns.examples, patterns.example_sum])
@pytest.mark.parametrize(
    ("xi", "quality", "M", "rng", "error", "message"),
    [
        (XI, 0.0, 3, RNG, ValueError, r"quality = 0.0 is out of range; .* \(0.0, 1.0\]"),
        (XI, 1.1, 3, RNG, ValueError, r"quality = 1.1 is out of range; .* \(0.0, 1.0\]"),
        (XI, None, 3, RNG, TypeError, "quality = None is not a real number"),
        (XI, 0.5, 0, RNG, ValueError, "examples = 0 is out of range; allowed: integers >= 1"),
        (XI, 0.5, 1.5, RNG, TypeError, "examples = 1.5 is not an integer"),
        (XI, 0.5, 3, 7, TypeError, "rng = 7 is not a random generator"),
        (XI[0], 0.5, 3, RNG, ValueError, r"xi has shape \(3,\); allowed: \(K, N\)"),
        (XI[:0], 0.5, 3, RNG, ValueError, r"xi has shape \(0, 3\); allowed: \(K, N\)"),
        (XI * 0.5, 0.5, 3, RNG, TypeError, "xi has type float64; allowed: an array of int8"),
        ([[1, -1]], 0.5, 3, RNG, TypeError, "xi has type list; allowed: an array of int8"),
    ],
)
def test_examples_refuse(draw, xi, quality, M, rng, error, message):
    with pytest.raises(error, match=message):
        draw(xi, quality, M, rng=rng)


def test_examples_that_do_not_fit_are_refused_with_the_estimate():
    with pytest.raises(MemoryError, match="the set of 2 x 1000000000000000 examples of 3 sites needs about"):
        patterns.examples(XI, 0.5, 10**15, rng=RNG)
