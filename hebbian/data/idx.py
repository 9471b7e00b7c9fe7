"""The IDX file format, in which MNIST, Fashion-MNIST and EMNIST are published."""

import gzip
import math
import os
import struct
import zlib
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from hebbian import validation

_TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_GZIP = b"\x1f\x8b"
# Deflate cannot shrink data by more than this factor (zlib's technical notes say 1032).
_GREATEST_COMPRESSION = 1040
_CHUNK = 1 << 20
# NumPy arrays have no more axes than this; the format would allow 255.
_MOST_AXES = 64


def read_idx(path: str | os.PathLike[str]) -> NDArray[Any]:
    r"""Read one array from an IDX file, gzip-compressed or not (told by its content).

    The file holds the bytes 0, 0, type, D, then D sizes as big-endian unsigned 32-bit
    integers, then the entries in C order, big-endian. Types: 08 unsigned byte, 09 signed
    byte, 0B 16-bit integer, 0C 32-bit integer, 0D 32-bit float, 0E 64-bit float.

    Parameters
    ----------
    path : path-like
        File to read.

    Returns
    -------
    ndarray, D >= 1 axes
        Of the file's type in the machine's byte order.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is not exactly one IDX array, named with what is wrong; sizes
        that the file cannot hold are refused before anything is allocated.
    MemoryError
        If the array does not fit in memory, with the estimate.

    References
    ----------
    LeCun, Cortes and Burges, "The MNIST database", section "File formats".

    Examples
    --------
    >>> import os, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "labels-idx1-ubyte")
    ...     with open(path, "wb") as file:
    ...         _ = file.write(bytes([0, 0, 8, 1, 0, 0, 0, 3, 7, 2, 1]))
    ...     read_idx(path)
    array([7, 2, 1], dtype=uint8)
    """
    if not isinstance(path, str | os.PathLike):
        raise TypeError(f"path = {path!r} is not a path; allowed: str or os.PathLike")
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"path = {str(path)!r}: there is no such file")
    size = path.stat().st_size
    with open(path, "rb") as file:
        if file.read(2) != _GZIP:
            file.seek(0)
            return _parse(file, path, size)
        file.seek(0)
        try:
            with gzip.GzipFile(fileobj=file) as stream:
                return _parse(stream, path, size * _GREATEST_COMPRESSION)
        except (gzip.BadGzipFile, zlib.error, EOFError) as error:
            raise ValueError(f"{path}: damaged gzip file ({error})") from error


def _parse(stream: BinaryIO | gzip.GzipFile, path: Path, most: int) -> NDArray[Any]:
    """Read the array from a stream that yields no more than `most` bytes."""
    magic = stream.read(4)
    if len(magic) < 4:
        raise ValueError(f"{path}: {len(magic)} bytes; an IDX file has a header of at least 8")
    if magic[:2] != b"\0\0":
        raise ValueError(f"{path}: begins with {magic[:2].hex(' ')}; an IDX file begins with 00 00")
    if magic[2] not in _TYPES:
        allowed = ", ".join(f"{code:02x}" for code in _TYPES)
        raise ValueError(f"{path}: type {magic[2]:02x} is unknown; allowed: {allowed}")
    axes = magic[3]
    if not 1 <= axes <= _MOST_AXES:
        raise ValueError(f"{path}: {axes} dimensions; allowed: 1 to {_MOST_AXES}")
    header = stream.read(4 * axes)
    if len(header) < 4 * axes:
        raise ValueError(f"{path}: truncated, {axes} sizes announced and {len(header) // 4} present")
    shape = struct.unpack(f">{axes}I", header)
    dtype = np.dtype(_TYPES[magic[2]])
    needed = math.prod(shape) * dtype.itemsize
    if needed > most:
        raise ValueError(f"{path}: truncated, shape {shape} needs {needed} bytes of data, more than the file can hold")
    validation.memory(f"{path} of shape {shape}", 2.0 * needed)
    data = bytearray()
    while len(data) < needed and (piece := stream.read(min(_CHUNK, needed - len(data)))):
        data += piece
    if len(data) < needed:
        raise ValueError(f"{path}: truncated, shape {shape} needs {needed} bytes of data and {len(data)} are present")
    # Reading on to the end also makes gzip verify its checksum.
    if stream.read(1):
        raise ValueError(f"{path}: more data than the {needed} bytes that shape {shape} needs")
    try:
        array = np.frombuffer(data, dtype).reshape(shape)
    except ValueError as error:  # an empty array whose other sizes overflow
        raise ValueError(f"{path}: shape {shape} is too large for an array") from error
    return array.astype(dtype.newbyteorder("="), copy=False)
