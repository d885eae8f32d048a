"""The heaps of an HDF5 file, which hold texts of any length: looked at first, because HDF5 never returns from some.

A heap is a row of objects, each of which says how long it is. The library goes from one to the next until it is behind
the last. Where an object takes no room at all, or more than there is, the library goes round in a circle, or astray.
"""

from __future__ import annotations

import mmap
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager

from lamina.errors import LoadError

_BEGIN = re.compile(rb"GCOL\x01")


def refuse_broken_heaps(source: str | os.PathLike[str] | bytes, length_size: int, name: str) -> None:
    """Raise if HDF5 would look for the texts of a file without end.

    Args:
        source: the file's path, or its bytes.
        length_size: how many bytes the file uses for lengths.
        name: what the message calls it.

    Raises:
        LoadError: a heap is damaged.
    """
    place = broken_heap(source, length_size)
    if place is not None:
        raise LoadError(
            f"{name} does not have at byte {place} what belongs there.",
            expected="a heap of texts whose sizes add up",
            received="an object that takes no room, or more than there is",
            fix="do not load this file",
        )


def broken_heap(source: str | os.PathLike[str] | bytes, length_size: int) -> int | None:
    """Where in a file the first heap is that HDF5 could not walk through; `None` if there is none.

    Args:
        source: the file's path, or its bytes.
        length_size: how many bytes the file uses for lengths.

    Example:
        >>> heap = b"GCOL" + bytes([1, 0, 0, 0]) + (64).to_bytes(8, "little")
        >>> broken_heap(heap + bytes([1, 0, 0, 0, 0, 0, 0, 0, 2]).ljust(24, bytes(1)) + (0).to_bytes(24, "little"), 8)
        0
    """
    with _content(source) as content:
        for match in _BEGIN.finditer(content):
            if not _is_sound(content, match.start(), length_size):
                return match.start()
    return None


def _is_sound(content: bytes | mmap.mmap, begin: int, length_size: int) -> bool:
    """Whether each object of a heap ends behind its beginning, and within the heap."""

    def number(at: int, length: int) -> int:
        return int.from_bytes(content[at : at + length], "little")

    header = _aligned(8 + length_size)
    end = begin + number(begin + 8, length_size)
    at = begin + header
    while at + header <= min(end, len(content)):  # what is shorter is the free rest
        index, size = number(at, 2), number(at + 8, length_size)
        step = header + _aligned(size) if index else size
        if not 0 < step <= end - at:
            return False
        at += step
    return True


def _aligned(size: int) -> int:
    """`size` rounded up to whole words of eight bytes."""
    return (size + 7) // 8 * 8


@contextmanager
def _content(source: str | os.PathLike[str] | bytes) -> Iterator[bytes | mmap.mmap]:
    """The bytes of a file, without a copy of them."""
    if isinstance(source, bytes):
        yield source
        return
    with open(source, "rb") as file:
        if os.fstat(file.fileno()).st_size == 0:
            yield b""
            return
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
            yield mapped
