"""The IDX reader: round trips of a writer of our own, and every way a file can be damaged."""

import gzip
import struct
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from hebbian.data import read_idx

CODES = {"u1": 0x08, "i1": 0x09, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}


def header(code, shape):
    return bytes([0, 0, code, len(shape)]) + struct.pack(f">{len(shape)}I", *shape)


def idx_bytes(array):
    code = CODES[array.dtype.str[1:]]
    return header(code, array.shape) + array.astype(array.dtype.newbyteorder(">")).tobytes()


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("idx") / "file-idx"


def write(path, content, compressed=False):
    path.write_bytes(gzip.compress(content, 6) if compressed else content)
    return path


@settings(deadline=None)
@given(
    st.sampled_from(sorted(CODES)).flatmap(
        lambda dtype: arrays.arrays(dtype, arrays.array_shapes(max_dims=5, max_side=4, min_side=0))
    ),
    st.booleans(),
)
def test_round_trip(path, array, compressed):
    result = read_idx(write(path, idx_bytes(array), compressed))
    assert result.dtype == array.dtype
    assert result.dtype.isnative
    assert result.shape == array.shape
    assert result.tobytes() == array.tobytes()  # bit for bit, nan included


def test_large_file_of_several_chunks(path):
    array = np.random.default_rng(1).integers(0, 256, size=(3, 1 << 20), dtype=np.uint8)
    for compressed in (False, True):
        assert np.array_equal(read_idx(write(path, idx_bytes(array), compressed)), array)


def test_result_may_be_written_to(path):
    result = read_idx(str(write(path, idx_bytes(np.arange(3, dtype=np.uint8)))))
    result += 1
    assert result.tolist() == [1, 2, 3]


CONTENT = idx_bytes(np.arange(60, dtype=np.int16).reshape(3, 4, 5))


def read_or_refuse(path):
    """Read; a file that is refused must be named."""
    try:
        return read_idx(path)
    except ValueError as error:
        message = str(error)
    assert message.startswith(str(path))
    return None


@settings(max_examples=400, deadline=5000)
@given(st.booleans(), st.data())
def test_changed_bytes_are_refused_or_read(path, compressed, data):
    content = bytearray(gzip.compress(CONTENT) if compressed else CONTENT)
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    result = read_or_refuse(path)
    assert result is None or result.size <= 120


@settings(deadline=5000)
@given(st.booleans(), st.data())
def test_every_truncation_is_refused(path, compressed, data):
    content = gzip.compress(CONTENT) if compressed else CONTENT
    path.write_bytes(content[: data.draw(st.integers(0, len(content) - 1))])
    assert read_or_refuse(path) is None


@settings(max_examples=200, deadline=5000)
@given(st.binary(max_size=200), st.sampled_from([b"", b"\0\0", b"\0\0\x08\x01", b"\0\0\x0e\x03", b"\x1f\x8b\x08"]))
def test_any_bytes_are_refused_or_read(path, content, start):
    path.write_bytes(start + content)
    read_or_refuse(path)


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "0 bytes; an IDX file has a header"),
        (b"\0\0\x08", "3 bytes; an IDX file has a header"),
        (b"PK\3\4" + bytes(20), "begins with 50 4b; an IDX file begins with 00 00"),
        (b"\0\1" + CONTENT[2:], "begins with 00 01"),
        (header(0x0A, (1,)) + b"\0", "type 0a is unknown; allowed: 08, 09, 0b, 0c, 0d, 0e"),
        (b"\0\0\x08\0\0", "0 dimensions; allowed: 1 to 64"),
        (header(0x08, (1,) * 65) + b"\0", "65 dimensions; allowed: 1 to 64"),
        (CONTENT[:11], "truncated, 3 sizes announced and 1 present"),
        (CONTENT[:-1], r"truncated, shape \(3, 4, 5\) needs 120 bytes of data"),
        (CONTENT[:16], r"truncated, shape \(3, 4, 5\) needs 120 bytes of data"),
        (CONTENT + b"\0", r"more data than the 120 bytes that shape \(3, 4, 5\) needs"),
        (header(0x08, (0, *[2**32 - 1] * 4)), r"shape \(0, 4294967295, .*\) is too large"),
    ],
)
def test_malformed_files_are_refused_by_name(path, content, message, compressed):
    write(path, content, compressed)
    with pytest.raises(ValueError, match=message) as caught:
        read_idx(path)
    assert str(caught.value).startswith(str(path))


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("shape", [(2**32 - 1,), (2**32 - 1,) * 3, (2**32 - 1,) * 64, (70000, 28, 28)])
def test_absurd_sizes_are_refused_before_memory_is_taken(path, shape, compressed):
    write(path, header(0x0E, shape) + bytes(100), compressed)
    tracemalloc.start()
    with pytest.raises(ValueError, match="truncated, shape"):
        read_idx(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 20


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[:-1],  # part of the checksum
        lambda content: content[:-8] + bytes([content[-8] ^ 1]) + content[-7:],  # checksum
        lambda content: content[:-1] + bytes([content[-1] ^ 1]),  # length
        lambda content: content[:14] + bytes([content[14] ^ 255]) + content[15:],  # data
        lambda content: content[:2] + b"\x07" + content[3:],  # compression method
        lambda content: content[:5],
        lambda content: content + b"garbage",
    ],
)
def test_damaged_gzip_files_are_refused_by_name(path, damage):
    path.write_bytes(damage(gzip.compress(CONTENT)))
    with pytest.raises(ValueError, match=r"damaged gzip file|truncated") as caught:
        read_idx(path)
    assert str(caught.value).startswith(str(path))


def test_gzip_is_told_by_content_not_by_name(tmp_path):
    array = np.arange(3, dtype=np.uint8)
    assert np.array_equal(read_idx(write(tmp_path / "plain.gz", idx_bytes(array))), array)
    assert np.array_equal(read_idx(write(tmp_path / "compressed", idx_bytes(array), compressed=True)), array)


def test_a_missing_file_is_named(tmp_path):
    for path in (tmp_path / "absent", tmp_path):
        with pytest.raises(FileNotFoundError, match=r"path = .*: there is no such file") as caught:
            read_idx(path)
        assert str(path) in str(caught.value)


def test_a_path_is_expected():
    with pytest.raises(TypeError, match=r"path = 3 is not a path; allowed: str or os\.PathLike"):
        read_idx(3)


def test_a_file_beyond_the_memory_is_refused(path, monkeypatch):
    monkeypatch.setattr("hebbian.validation.available_memory", lambda: 100.0)
    with pytest.raises(MemoryError, match=r"file-idx of shape .* needs about"):
        read_idx(write(path, CONTENT))
