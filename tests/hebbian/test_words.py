"""Words of a stream are those that numpy draws, in whatever state the generator is."""

import numpy as np
import pytest

from hebbian.words import words_32, words_64

GENERATORS = {
    "Philox": np.random.Philox,
    "PCG64": np.random.PCG64,
    "MT19937": np.random.MT19937,
}
# Counts around a word, the four words of a counter and the counters that are computed at once.
COUNTS = (0, 1, 2, 3, 4, 5, 7, 8, 9, 255, 256, 257, 511, 512, 513, 1000)


@pytest.mark.parametrize("kind", GENERATORS)
def test_any_sequence_of_draws_gives_the_words_of_numpy(kind):
    ours, plain = (np.random.Generator(GENERATORS[kind](1)) for _ in range(2))
    for bits, count in np.random.default_rng(2).permutation([(b, n) for b in (32, 64) for n in COUNTS]).tolist():
        drawn = (words_32 if bits == 32 else words_64)(ours, count)
        expected = plain.integers(0, 2**bits, size=count, dtype=f"u{bits // 8}")
        assert drawn.dtype == expected.dtype
        assert np.array_equal(drawn, expected)
    assert ours.random() == plain.random()
    assert ours.integers(0, 2**32, dtype=np.uint32) == plain.integers(0, 2**32, dtype=np.uint32)


@pytest.mark.parametrize("carries", [1, 2, 3, 4])
def test_a_counter_carries_into_its_next_words(carries):
    ours, plain = (np.random.Generator(np.random.Philox(3)) for _ in range(2))
    for rng in (ours, plain):
        state = rng.bit_generator.state
        state["state"]["counter"][:carries] = 2**64 - 1
        state["state"]["counter"][0] -= np.uint64(9)
        rng.bit_generator.state = state
    assert np.array_equal(words_64(ours, 100), plain.integers(0, 2**64, size=100, dtype=np.uint64))
    assert ours.random() == plain.random()
