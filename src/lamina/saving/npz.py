"""Arrays in NumPy's `.npy` and `.npz` files, read without pickles and without believing a shape that is not filled."""

from __future__ import annotations

import io
import math
import os
from typing import Any

import numpy as np

from lamina.errors import LoadError
from lamina.saving.zip_members import ZipMembers, open_zip

MAX_HEADER = 2**16
_KINDS = "biufcSU"


def read_npz(source: str | os.PathLike[str] | io.BufferedIOBase, name: str | None = None) -> dict[str, np.ndarray]:
    """The arrays of a `.npz` file by name.

    Args:
        source: its path, or a stream that can be searched.
        name: what messages call it; by default its path.

    Raises:
        LoadError: it is no such file, is damaged, holds Python objects, or claims more than it holds.

    Example:
        >>> made = io.BytesIO()
        >>> np.savez(made, x=np.arange(3))
        >>> read_npz(made, "made")
        {'x': array([0, 1, 2])}
    """
    with open_zip(source, name) as members:  # type: ignore[arg-type]
        return {_bare(member): _array(members, member) for member in members}


def npy_header(head: bytes, size: int, name: str) -> tuple[tuple[int, ...], np.dtype[Any], bool, int]:
    """What a `.npy` file says about its array.

    Args:
        head: the first bytes of the file, `MAX_HEADER` of them if there are so many.
        size: of the file.
        name: what messages call it.

    Returns:
        The shape, the dtype, whether columns come first, and where the numbers begin.

    Raises:
        LoadError: it is no such file, holds Python objects, or claims more or less than it holds.
    """
    stream = io.BytesIO(head)
    try:
        version = np.lib.format.read_magic(stream)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, columns_first, dtype = read(stream)
    except Exception as error:  # the header is Python's text, whose parser fails in ways of its own
        raise _wrong(name, "the header of an array", _first_line(error)) from error
    if dtype.hasobject or dtype.kind not in _KINDS or dtype.subdtype is not None:
        raise _wrong(name, "numbers", f"dtype {dtype}, Python objects" if dtype.hasobject else f"dtype {dtype}")
    if any(not isinstance(axis, int) or axis < 0 for axis in shape):
        raise _wrong(name, "sizes from 0", f"shape {shape}")
    claimed, held = math.prod(shape) * dtype.itemsize, size - stream.tell()
    if claimed != held:
        raise _wrong(name, f"{held:,} bytes of numbers, as many as there are", f"shape {shape} of {dtype}, {claimed:,}")
    return shape, dtype, columns_first, stream.tell()


def _array(members: ZipMembers, member: str) -> np.ndarray:
    """One array of an archive; its header is read, and judged, before its numbers."""
    label, size = f"{member} in {members.name}", members.size(member)
    with members.open(member) as file:
        try:
            head = file.read(min(size, MAX_HEADER))
        except Exception as error:
            raise _wrong(label, "a member that is whole", _first_line(error)) from error
    shape, dtype, columns_first, start = npy_header(head, size, label)
    try:
        flat = np.frombuffer(members.read(member), dtype, offset=start) if math.prod(shape) else np.empty(0, dtype)
        return flat.reshape(shape, order="F" if columns_first else "C").copy()
    except (ValueError, MemoryError) as error:
        if isinstance(error, LoadError):
            raise
        raise _wrong(label, "an array that fits into memory", _first_line(error)) from error


def _bare(member: str) -> str:
    return member.removesuffix(".npy")


def _wrong(name: str, expected: str, received: str) -> LoadError:
    return LoadError(
        f"{name} is no array that can be read.", expected=expected, received=received, fix="do not load this file"
    )


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
