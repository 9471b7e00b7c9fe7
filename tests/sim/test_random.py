import numpy as np
import pytest
from numba import uint64
from scipy import stats

from sim import random

# Known answers of philox4x32-10, from the file kat_vectors of Random123 (Salmon et al., SC 2011).
KNOWN = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


@pytest.mark.parametrize(("counter", "key", "expected"), KNOWN)
def test_philox_known_answers(counter, key, expected):
    assert random.philox(*map(uint64, (*counter, *key))) == expected


def test_uniforms_are_uniform_and_addressed():
    # Kolmogorov-Smirnov at a false-alarm rate of 1e-3 with a fixed seed.
    key = np.array(random.kernel_key(1, (2, 3), "dynamics"))
    first, other = np.empty(100_001), np.empty(100_001)
    random.fill_uniforms(first, 7, 0, 5, key)
    assert stats.kstest(first, "uniform").pvalue > 1e-3
    assert 0 <= first.min() < first.max() < 1
    for address in ((8, 0, 5), (7, 1, 5), (7, 0, 6)):
        random.fill_uniforms(other, *address, key)
        assert abs(np.corrcoef(first, other)[0, 1]) < 4 / np.sqrt(first.size)


def test_a_uniform_does_not_depend_on_how_many_are_drawn():
    key = np.array(random.kernel_key(1, (0,), "dynamics"))
    short, long = np.empty(11), np.empty(100)
    random.fill_uniforms(short, 3, 1, 4, key)
    random.fill_uniforms(long, 3, 1, 4, key)
    np.testing.assert_array_equal(short, long[:11])


def test_sites_cover_the_network_evenly():
    # Chi-square at a false-alarm rate of 1e-3 with a fixed seed.
    key = np.array(random.kernel_key(1, (0,), "dynamics"))
    counts, sites = np.zeros(37, dtype=int), np.empty(37, dtype=np.uint32)
    for sweep in range(2000):
        random.fill_sites(sites, sweep, 0, 0, key)
        counts += np.bincount(sites, minlength=37)
    assert stats.chisquare(counts).pvalue > 1e-3


def test_streams_differ_by_every_part_of_the_address():
    base = (1, (2, 3), "patterns", 0)
    others = [
        (2, (2, 3), "patterns", 0),
        (1, (3, 2), "patterns", 0),
        (1, (2, 3), "initial", 0),
        (1, (2, 3), "patterns", 1),
    ]
    draws = [random.stream(*address).integers(2**63) for address in (base, *others)]
    assert len(set(draws)) == len(draws)
    assert random.stream(*base).integers(2**63) == draws[0]


def test_kernel_keys_differ_by_every_part_of_the_address():
    addresses = [(1, (2, 3), "dynamics"), (2, (2, 3), "dynamics"), (1, (2, 4), "dynamics"), (1, (2, 3), "initial")]
    assert len({random.kernel_key(*address) for address in addresses}) == len(addresses)


def test_bad_addresses_are_named():
    with pytest.raises(ValueError, match="seed = -1"):
        random.stream(-1, (0,), "patterns")
    with pytest.raises(TypeError, match="task"):
        random.stream(1, (0.5,), "patterns")
