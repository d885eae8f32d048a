"""The only way in which an HDF5 file is opened: nothing outside of it is read, and nothing large is believed.

A file may name other files (external and soft links, external storage, virtual datasets), claim arrays that it does not
hold (a shape of terabytes over no bytes), and ask for filters that load code. All of these are refused here, by name.
"""

from __future__ import annotations

import io
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from lamina.errors import LaminaError, LoadError
from lamina.saving.hdf5_attributes import Unreadable, has_loose_texts, read_attribute
from lamina.saving.hdf5_heaps import refuse_broken_heaps, refuse_false_lengths

MAX_OBJECTS = 200_000
MAX_DEPTH = 64
MAX_WAYS = 16
MAX_RATIO = 1100
"""How many times its stored bytes an array may be: what deflate can reach at best is 1032."""

MAX_READINGS = 16
"""How often the bytes of a file may be read: arrays that share their bytes would be read again and again."""

_FREE_BYTES = 2**16  # below this, nothing is too large for what is stored
_FILTERS = {1, 2, 3, 32000}  # deflate, shuffle, fletcher32, lzf: those that HDF5 and h5py bring themselves


class Group:
    """A group of a file that is being read.

    Args:
        file: the file it belongs to.
        group: h5py's group.
        path: its name in the file.
    """

    def __init__(self, file: Hdf5File, group: Any, path: str) -> None:
        self._file, self._group, self.path = file, group, path

    def __iter__(self) -> Iterator[str]:
        """The names of the members, in the order in which they were written where the file knows it."""
        return iter(list(self._group))

    def __len__(self) -> int:
        return len(self._group)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and bool(name) and name in self._group

    @property
    def attributes(self) -> Mapping[str, Any]:
        """The attributes: texts, numbers and arrays of them."""
        return {name: self.attribute(name) for name in self.attribute_names()}

    def attribute_names(self) -> list[str]:
        """The names of the attributes."""
        return list(self._group.attrs)

    def attribute(self, name: str) -> Any:
        """One attribute: a text, a number, or a list of them.

        Args:
            name: its name.

        Raises:
            LoadError: there is none, it is something else, or too large.
        """
        return self._file.attribute_of(self._group, name, self.path)

    def group(self, name: str) -> Group:
        """A group inside.

        Args:
            name: its name, which may lead through groups, parted by `/`.

        Raises:
            LoadError: there is none, or it is a link.
        """
        found, path = self._member(name)
        if not _is_group(found):
            raise _wrong(self._file.name, path, "a group", "an array")
        return Group(self._file, found, path)

    def array(self, name: str, shape: tuple[int, ...] | None = None) -> np.ndarray:
        """An array inside, read.

        Args:
            name: its name, which may lead through groups.
            shape: what it must have; checked before anything is read.

        Raises:
            LoadError: there is none, or it is a link, has another shape, lies elsewhere, or is larger than what is
                stored for it.
        """
        found, path = self._array(name)
        return self._file.read(found, path, shape)

    def is_group(self, name: str) -> bool:
        """Whether a member is a group.

        Args:
            name: its name.
        """
        return _is_group(self._member(name)[0])

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape that an array claims.

        Args:
            name: its name.
        """
        found, path = self._array(name)
        self._file.check(found, path)
        return tuple(found.shape)

    def dtype(self, name: str) -> np.dtype:
        """The dtype of an array.

        Args:
            name: its name.
        """
        found, path = self._array(name)
        self._file.check(found, path)
        return found.dtype

    def claim(self, name: str) -> tuple[tuple[int, ...], np.dtype]:
        """The shape and dtype that an array claims, whether or not it may be read.

        Args:
            name: its name.
        """
        found, path = self._member(name)
        if _is_group(found) or found.shape is None:
            raise _wrong(self._file.name, path, "an array", "a group" if _is_group(found) else "nothing")
        return tuple(found.shape), found.dtype

    def arrays(self) -> Iterator[str]:
        """The paths of all arrays below, without reading them."""
        for name in self:
            if self.is_group(name):
                yield from (f"{name}/{inner}" for inner in self.group(name).arrays())
            else:
                yield name

    def _array(self, name: str) -> tuple[Any, str]:
        """A member that is an array."""
        found, path = self._member(name)
        if _is_group(found):
            raise _wrong(self._file.name, path, "an array", "a group")
        return found, path

    def _member(self, name: str) -> tuple[Any, str]:
        """A member, reached through hard links only."""
        found, path = self._group, self.path
        for part in name.split("/"):
            path = f"{path.rstrip('/')}/{part}"
            found = self._file.member(found, part, path)
        return found, path


class Hdf5File(Group):
    """An open file. `open_hdf5` makes them.

    Args:
        file: h5py's file.
        name: what messages call it.
        source: its path, or its bytes.
    """

    def __init__(self, file: Any, name: str, source: str | os.PathLike[str] | bytes) -> None:
        super().__init__(self, file, "/")
        self.name = name
        self._source: Any = source
        self._names_seen: set[str] = set()
        self._ways: dict[int, set[str]] = {}
        self._seen = 0
        self._taken = 0
        self._size = int(file.id.get_filesize())

    def member(self, group: Any, name: str, path: str) -> Any:
        """What lies in a group under a name, if it is there itself and no link.

        Args:
            group: h5py's group.
            name: one name.
            path: where that is.

        Raises:
            LoadError: nothing is there, or a link, or the file is nested or filled beyond measure.
        """
        import h5py

        self._seen += 1
        if path.count("/") > MAX_DEPTH or self._seen > MAX_OBJECTS:
            raise LoadError(
                f"{self.name} is nested or filled beyond measure.",
                expected=f"at most {MAX_DEPTH} levels and {MAX_OBJECTS:,} objects",
                received=path[:120],
                fix="do not load this file",
            )
        link = group.get(name, getlink=True) if isinstance(group, h5py.Group) and name else None
        if link is None:
            raise _wrong(self.name, path, "an object of that name", "nothing")
        if not isinstance(link, h5py.HardLink):
            kind = type(link).__name__
            raise LoadError(
                f"{self.name} holds a link at {path}, which could lead to other files.",
                expected="data in the file itself",
                received=kind,
                fix="do not load this file, or copy the data into it",
            )
        found = group[name]
        if not isinstance(found, (h5py.Group, h5py.Dataset)):
            raise _wrong(self.name, path, "a group or an array", type(found).__name__)
        if isinstance(found, h5py.Group):
            self._note_way(found, path)
        return found

    def check(self, dataset: Any, path: str) -> None:
        """Refuse an array that lies elsewhere, needs code to be read, or claims more than is stored.

        Args:
            dataset: h5py's dataset.
            path: where it is.

        Raises:
            LoadError: it is one of these.
        """
        layout = dataset.id.get_create_plist()
        if layout.get_external_count() or dataset.is_virtual:
            raise LoadError(
                f"{self.name} keeps the array {path} in other files.",
                expected="data in the file itself",
                received="external storage" if layout.get_external_count() else "a virtual dataset",
                fix="do not load this file",
            )
        filters = [layout.get_filter(i)[0] for i in range(layout.get_nfilters())]
        strange = [number for number in filters if number not in _FILTERS]
        if strange:
            raise _wrong(self.name, path, "deflate, shuffle, fletcher32 or lzf", f"filter {strange[0]}")
        if dataset.shape is None:
            raise _wrong(self.name, path, "an array", "an empty dataspace")
        # Two bytes without fields are how Keras keeps bfloat16, which HDF5 has no type for.
        opaque = dataset.dtype.kind == "V" and dataset.dtype.itemsize == 2 and dataset.dtype.names is None
        if dataset.dtype.hasobject or not (dataset.dtype.kind in "biufcSU" or opaque):
            raise _wrong(self.name, path, "numbers", f"dtype {dataset.dtype}")
        # Chunks may share their bytes, and then claim more together than the file is long.
        stored, claimed = min(dataset.id.get_storage_size(), self._size), _bytes_of(dataset.shape, dataset.dtype)
        limit = max(_FREE_BYTES, stored * (MAX_RATIO if filters else 1))
        if claimed > limit:
            raise LoadError(
                f"{self.name} claims more for the array {path} than it holds.",
                expected=f"at most {limit:,} bytes for the {stored:,} that are stored",
                received=f"shape {tuple(dataset.shape)} of {dataset.dtype}, {claimed:,} bytes",
                fix="do not load this file",
            )

    def read(self, dataset: Any, path: str, shape: tuple[int, ...] | None) -> np.ndarray:
        """An array, once it is known to be harmless.

        Args:
            dataset: h5py's dataset.
            path: where it is.
            shape: what it must have, or `None`.

        Raises:
            LoadError: it is not harmless, has another shape, or cannot be read.
        """
        self.check(dataset, path)
        if shape is not None and tuple(dataset.shape) != tuple(shape):
            raise _wrong(self.name, path, f"shape {tuple(shape)}", f"shape {tuple(dataset.shape)}")
        self._taken += min(dataset.id.get_storage_size(), _bytes_of(dataset.shape, dataset.dtype))
        if self._taken > MAX_READINGS * self._size + _FREE_BYTES:
            raise LoadError(
                f"{self.name} has arrays that share their bytes.",
                expected=f"at most {MAX_READINGS} times the {self._size:,} bytes of the file",
                received=f"{self._taken:,} with {path}",
                fix="do not load this file",
            )
        return np.asarray(dataset[()])

    def attribute_of(self, owner: Any, name: str, path: str) -> Any:
        """An attribute: a text, a number, or an array of them.

        Args:
            owner: h5py's group or dataset.
            name: the attribute's name.
            path: where the owner is.

        Raises:
            LoadError: it is something else, or too large.
        """
        try:
            if has_loose_texts(owner, name):
                sizes = self._group.id.get_create_plist().get_sizes()
                if not self._names_seen:
                    refuse_broken_heaps(self._source, sizes[1], self.name)
                if name not in self._names_seen:
                    refuse_false_lengths(self._source, name, sizes, self.name)
                    self._names_seen.add(name)
            return read_attribute(owner, name)
        except Unreadable as error:
            raise _wrong(self.name, f"{path}@{name}", *error.args) from None

    def _note_way(self, group: Any, path: str) -> None:
        """Refuse groups that hold each other: the ways to them double at each level."""
        import h5py

        ways = self._ways.setdefault(h5py.h5o.get_info(group.id).addr, set())
        ways.add(path)
        if len(ways) > MAX_WAYS:
            raise LoadError(
                f"{self.name} is nested or filled beyond measure.",
                expected=f"groups to which at most {MAX_WAYS} ways lead",
                received=f"one more, {path[:120]}",
                fix="do not load this file",
            )


@contextmanager
def open_hdf5(source: str | os.PathLike[str] | bytes, name: str | None = None) -> Iterator[Hdf5File]:
    """Open a file for reading.

    Args:
        source: its path, or its bytes, as from an archive.
        name: what messages call it; by default its path.

    Raises:
        LoadError: it is no HDF5 file, is damaged, or holds what must not be read.

    Example:
        >>> import h5py, io
        >>> made = io.BytesIO()
        >>> with h5py.File(made, "w") as file:
        ...     file["a/b"] = [1.0, 2.0]
        >>> with open_hdf5(made.getvalue(), "made") as file:
        ...     print(list(file.arrays()), file.array("a/b").tolist())
        ['a/b'] [1.0, 2.0]
    """
    import h5py

    label = name or (os.fspath(source) if not isinstance(source, bytes) else "the file")
    target: Any = io.BytesIO(source) if isinstance(source, bytes) else os.fspath(source)
    try:
        with h5py.File(target, "r") as file:
            yield Hdf5File(file, str(label), source)
    except LaminaError:
        raise
    except FileNotFoundError:
        raise LoadError("There is no such file.", received=str(label), fix="check the path") from None
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, OverflowError, MemoryError, UnicodeError) as error:
        raise LoadError(
            f"{label} cannot be read as HDF5.",
            expected="a whole HDF5 file",
            received=(str(error).strip() or type(error).__name__).splitlines()[0][:200],
            fix="the file may be cut short or damaged; get it again",
        ) from error


def _bytes_of(shape: tuple[int, ...], dtype: np.dtype) -> int:
    """How much memory an array of that shape takes."""
    return math.prod(shape) * dtype.itemsize


def _is_group(found: Any) -> bool:
    """Whether an object of h5py's is a group."""
    import h5py

    return isinstance(found, h5py.Group)


def _wrong(name: str, path: str, expected: str, received: str) -> LoadError:
    return LoadError(
        f"{name} does not have at {path} what belongs there.",
        expected=expected,
        received=received,
        fix="the file is damaged, or of another kind",
    )
