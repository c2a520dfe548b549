"""Arrays of .npy and .npz files, with limits on the memory that a file may ask for."""

import math
import os
import zipfile
from typing import IO, Any

import numpy as np

ALWAYS_ALLOWED = 64 * 2**20
"""A file of any size may expand to this many bytes."""

MAX_EXPANSION = 100
"""Most bytes in memory for each byte of a file, beyond `ALWAYS_ALLOWED`."""


def max_content(path) -> int:
    """The most bytes that the content of a file may take: 64 MiB, or 100 times the file."""
    return max(ALWAYS_ALLOWED, MAX_EXPANSION * os.path.getsize(path))


def check_content_size(asked: int, path, remedy: str) -> None:
    """Raise `ValueError` if the content is out of proportion to its file."""
    if asked > max_content(path):
        raise ValueError(
            f"its content of {asked / 2**20:,.0f} MiB is more than {MAX_EXPANSION} times the "
            f"file, as in damaged or hostile files: {remedy}"
        )


def read_npy(path) -> np.ndarray:
    """The array of an .npy file; refuse pickles and headers that promise more than is there."""
    with open(path, "rb") as file:
        return _read_array(file, os.path.getsize(path))


def read_npz(path) -> dict[str, np.ndarray]:
    """All arrays of an .npz file; check their sizes before reading any, and refuse pickles."""
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        asked = sum(member.file_size for member in members)
        check_content_size(asked, path, "write it with numpy.savez, which does not compress")
        arrays = {}
        for member in members:
            with archive.open(member) as file:
                name = member.filename.removesuffix(".npy")
                arrays[name] = _read_array(file, member.file_size)
                file.read(1)  # zipfile compares the checksum at the end of a member
        return arrays


def _read_array(file: IO[bytes], size: int) -> np.ndarray:
    """One array of a stream of `size` bytes."""
    start: Any = np.lib.format
    version = start.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"version {version} of the format stores records, not numbers")
    read_header = start.read_array_header_1_0 if version == (1, 0) else start.read_array_header_2_0
    shape, fortran, dtype = read_header(file)
    if dtype.hasobject:
        raise ValueError("it holds Python objects; reading them would run code")
    if min(shape, default=0) < 0:
        raise ValueError(f"its header has the shape {shape}")
    count = math.prod(shape)
    # Count an element of no bytes as one byte, and ignore empty axes: both hide a huge header.
    asked, there = math.prod(n for n in shape if n) * max(dtype.itemsize, 1), size - file.tell()
    if asked > there and (count or asked > ALWAYS_ALLOWED):
        raise ValueError(
            f"its header says {dtype} of shape {shape}, {asked:,} bytes, and {there:,} are there"
        )
    content = file.read(count * dtype.itemsize)
    array = np.frombuffer(bytearray(content), dtype, count) if count else np.empty(0, dtype)
    return array.reshape(shape[::-1]).T if fortran else array.reshape(shape)
