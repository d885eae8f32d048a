"""The heaps of an HDF5 file, which hold texts of any length: looked at first, because HDF5 never returns from some.

A heap is a row of objects, each of which says how long it is. The library goes from one to the next until it is behind
the last. Where an object takes no room at all, or more than there is, the library goes round in a circle, or astray.
"""

from __future__ import annotations

import math
import mmap
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager

from lamina.errors import LoadError

MAX_BYTES = 256 * 2**20
"""How long the texts of an attribute may be together."""

_BEGIN = re.compile(rb"GCOL\x01")
_LOOSE = 9  # the class of types whose values are of any length


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


def refuse_false_lengths(
    source: str | os.PathLike[str] | bytes, attribute: str, sizes: tuple[int, int], name: str
) -> None:
    """Raise if the texts of an attribute say that they are long: HDF5 would take as much memory before it looks.

    They stand behind the attribute's name, each as its length, the place of its heap, and its number there.

    Args:
        source: the file's path, or its bytes.
        attribute: its name; wherever it stands in the file, it is looked at.
        sizes: how many bytes the file uses for places, and for lengths.
        name: what the message calls the file.

    Raises:
        LoadError: a length is false, or all of them are beyond measure.
    """
    anchor = attribute.encode("utf-8", "surrogateescape") + b"\0"
    with _content(source) as content:
        at = content.find(anchor)
        while at >= 0:
            lengths = _lengths_behind(content, at, len(anchor), sizes)
            if lengths and (max(lengths) > len(content) or sum(lengths) > MAX_BYTES):
                raise LoadError(
                    f"{name} claims more for the attribute {attribute[:80]!r} than it holds.",
                    expected=f"texts of at most {MAX_BYTES:,} bytes together, and shorter than the file",
                    received=f"{len(lengths):,} texts of {sum(lengths):,} bytes",
                    fix="do not load this file",
                )
            at = content.find(anchor, at + 1)


def _lengths_behind(content: bytes | mmap.mmap, at: int, length: int, sizes: tuple[int, int]) -> list[int]:
    """The lengths of the texts of an attribute whose name is at a place; none, if that is no attribute of texts."""

    def number(place: int, count: int) -> int:
        return int.from_bytes(content[place : place + count], "little")

    begin = at - 9 if at >= 9 and content[at - 9] == 3 else at - 8
    if begin < 0 or content[begin] not in (1, 2, 3) or number(begin + 2, 2) != length:
        return []
    version, is_shared = content[begin], content[begin + 1] & 1
    parts = [length, number(begin + 4, 2), number(begin + 6, 2)]  # of the name, of the type, of the shape
    if version == 1:
        parts = [_aligned(part) for part in parts]
    kind, shape = at + parts[0], at + parts[0] + parts[1]
    if number(kind, 1) & 0x0F != _LOOSE and not (version > 1 and is_shared):
        return []
    dims = shape + (8 if number(shape, 1) == 1 else 4)
    count = math.prod(number(dims + axis * sizes[1], sizes[1]) for axis in range(min(number(shape + 1, 1), 32)))
    step, first = 8 + sizes[0], at + sum(parts)
    return [number(first + place * step, 4) for place in range(min(count, (len(content) - first) // step))]


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
