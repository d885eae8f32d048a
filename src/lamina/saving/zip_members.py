"""The only way in which a zip archive is opened: its table of contents is believed only where the file bears it out.

An archive may hold two members of one name, members whose bytes overlap so that a small file unfolds to a huge one,
names that lead out of the folder where they are unpacked, links, and sizes that are not true. All of these are refused.
"""

from __future__ import annotations

import os
import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

from lamina.errors import LaminaError, LoadError

MAX_MEMBERS = 500_000
MAX_RATIO = 100
"""How many times its stored bytes a member may unfold to; weights hardly reach 2, and texts 20."""

_FREE_BYTES = 2**20  # below this, nothing is too large
_HEADER = 30  # bytes before the name of a member
_PACKINGS = {zipfile.ZIP_STORED: "stored", zipfile.ZIP_DEFLATED: "deflated"}


class ZipMembers:
    """An archive that is being read. `open_zip` makes them.

    Args:
        archive: the open archive.
        name: what messages call it.
        size: of the file.
        ratio: how many times its stored bytes a member may unfold to.
    """

    def __init__(self, archive: zipfile.ZipFile, name: str, size: int, ratio: int) -> None:
        self._archive, self.name = archive, name
        self._members = archive.infolist()
        self.problems = list(_problems(self._members, name, size, ratio))
        self._by_name = {member.filename: member for member in self._members}

    def __iter__(self) -> Iterator[str]:
        """The names of the members, folders left out."""
        return iter(name for name, member in self._by_name.items() if not member.is_dir())

    def folders(self) -> Iterator[str]:
        """The names of the folders that are listed by themselves."""
        return iter(name for name, member in self._by_name.items() if member.is_dir())

    def __contains__(self, name: object) -> bool:
        return name in self._by_name

    def size(self, name: str) -> int:
        """How many bytes a member says that it unfolds to.

        Args:
            name: its name.
        """
        return self._member(name).file_size

    def is_packed(self, name: str) -> bool:
        """Whether a member is compressed.

        Args:
            name: its name.
        """
        return self._member(name).compress_type != zipfile.ZIP_STORED

    def read(self, name: str, limit: int | None = None) -> bytes:
        """A member's bytes.

        Args:
            name: its name.
            limit: how many there may be.

        Raises:
            LoadError: there is none, it is larger, damaged, or not of the size that it says.
        """
        size = self.size(name)
        if limit is not None and size > limit:
            raise LoadError(
                f"{name} in {self.name} is beyond measure.",
                expected=f"at most {limit:,} bytes",
                received=f"{size:,}",
                fix="do not load this file",
            )
        with self.open(name) as file:
            try:
                content = file.read(size + 1)
            except (OSError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error, NotImplementedError) as error:
                raise _damaged(f"{name} in {self.name}", error) from error
        if len(content) != size:
            raise _damaged(f"{name} in {self.name}", f"{len(content):,} bytes where {size:,} are announced")
        return content

    def open(self, name: str) -> IO[bytes]:
        """A member as a stream.

        Args:
            name: its name.

        Raises:
            LoadError: there is none, or it cannot be opened.
        """
        try:
            return self._archive.open(self._member(name))
        except (OSError, RuntimeError, ValueError, zipfile.BadZipFile, NotImplementedError) as error:
            if isinstance(error, LaminaError):
                raise
            raise _damaged(f"{name} in {self.name}", error) from error

    def _member(self, name: str) -> zipfile.ZipInfo:
        try:
            return self._by_name[name]
        except KeyError:
            raise LoadError(
                f"{self.name} has no member {name!r}.",
                received=", ".join(list(self._by_name)[:5]) or "an empty archive",
                fix="the file is damaged, or of another kind",
            ) from None


@contextmanager
def open_zip(
    source: str | os.PathLike[str] | IO[bytes],
    name: str | None = None,
    strict: bool = True,
    ratio: int = MAX_RATIO,
) -> Iterator[ZipMembers]:
    """Open an archive for reading.

    Args:
        source: its path, or a stream that can be searched.
        name: what messages call it; by default its path.
        strict: whether whatever is wrong with it is an error; otherwise it is listed in `problems`.
        ratio: how many times its stored bytes a member may unfold to.

    Raises:
        LoadError: it is no archive, is damaged, or holds what must not be read.

    Example:
        >>> import io
        >>> made = io.BytesIO()
        >>> with zipfile.ZipFile(made, "w") as archive:
        ...     archive.writestr("a.txt", "text")
        >>> with open_zip(made, "made") as members:
        ...     print(list(members), members.read("a.txt"))
        ['a.txt'] b'text'
    """
    label = name or (str(source) if isinstance(source, (str, os.PathLike)) else "the archive")
    try:
        archive = zipfile.ZipFile(source)  # type: ignore[arg-type]
    except FileNotFoundError:
        raise LoadError("There is no such file.", received=label, fix="check the path") from None
    except (zipfile.BadZipFile, EOFError, NotImplementedError, ValueError, OverflowError, struct.error) as error:
        raise _damaged(label, error) from error
    with archive:
        size = archive.fp.seek(0, os.SEEK_END) if archive.fp is not None else 0
        members = ZipMembers(archive, label, size, ratio)
        if strict and members.problems:
            raise members.problems[0]
        yield members


def _problems(members: list[zipfile.ZipInfo], name: str, size: int, ratio: int) -> Iterator[LoadError]:
    """Everything that is wrong with an archive's table of contents."""
    if len(members) > MAX_MEMBERS:
        yield _refused(name, "holds too many members", f"at most {MAX_MEMBERS:,}", f"{len(members):,}")
        return
    seen: set[str] = set()
    for member in members:
        shown = repr(member.filename[:120])
        if member.filename in seen:
            yield _refused(name, "holds two members of one name", "each once", shown)
        seen.add(member.filename)
        why = unsafe_name(member.filename) or unsafe_name(member.orig_filename)
        if why:
            yield _refused(name, f"has a member whose name {why}", "a name inside the archive", shown)
        kind = stat.S_IFMT(member.external_attr >> 16)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            yield _refused(name, "has a member that is no file", "files and folders", f"{shown}, {kind_name(kind)}")
        if member.flag_bits & 1:
            yield _refused(name, "has an encrypted member", "plain ones", shown)
        if member.compress_type not in _PACKINGS:
            method = f"{shown}, method {member.compress_type}"
            yield _refused(name, "is packed in an unusual way", "stored or deflated members", method)
        packed = member.compress_type != zipfile.ZIP_STORED
        limit = member.compress_size * ratio + _FREE_BYTES if packed else member.compress_size
        if member.file_size > limit:
            claim = f"{shown}: {member.compress_size:,} bytes that claim to be {member.file_size:,}"
            yield _refused(name, "unfolds to far more than it holds", f"at most {limit:,} bytes", claim)
    yield from _overlaps(members, name, size)


def _overlaps(members: list[zipfile.ZipInfo], name: str, size: int) -> Iterator[LoadError]:
    """Members that share bytes with another one, or that lie outside of the file."""
    end, before = 0, None
    for member in sorted(members, key=lambda m: m.header_offset):
        if member.header_offset < end and before is not None:
            pair = f"{before.filename[:60]!r} and {member.filename[:60]!r}"
            yield _refused(name, "has members that overlap", "members one after the other", pair)
        end, before = member.header_offset + _HEADER + len(member.filename) + member.compress_size, member
        if end > size or member.header_offset < 0:
            yield _refused(name, "has a member outside of the file", f"{size:,} bytes", repr(member.filename[:120]))


def unsafe_name(name: str) -> str | None:
    """Why a name in an archive must not be used as a path, or `None`.

    Args:
        name: the name.

    Example:
        >>> unsafe_name("a/b.txt"), unsafe_name("../b.txt"), unsafe_name("C:/b.txt")
        (None, 'leads out of the folder', 'is absolute')
    """
    parts = re.split(r"[/\\]", name)
    if not name or "\0" in name or any(ord(character) < 32 for character in name):
        return "has characters that no path has"
    if name[0] in "/\\" or re.match(r"[A-Za-z]:", name):
        return "is absolute"
    if ".." in parts:
        return "leads out of the folder"
    if "\\" in name:
        return "has a backslash"
    return None


def kind_name(mode: int) -> str:
    """What a file of that kind is called.

    Args:
        mode: the kind's bits.
    """
    names = {stat.S_IFLNK: "a link", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device", stat.S_IFIFO: "a pipe"}
    return names.get(mode, "something special")


def _refused(name: str, what: str, expected: str, received: str) -> LoadError:
    return LoadError(f"{name} {what}.", expected=expected, received=received, fix="do not load this file")


def _damaged(name: str, error: Any) -> LoadError:
    return LoadError(
        f"{name} cannot be read as a zip archive.",
        expected="a whole archive",
        received=(str(error).strip() or type(error).__name__).splitlines()[0][:200],
        fix="the file may be cut short or damaged; get it again",
    )
