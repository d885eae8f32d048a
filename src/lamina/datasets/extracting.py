"""Unpacking archives of data: plain files, into one new folder, and nothing outside of it."""

from __future__ import annotations

import os
import secrets
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from lamina.errors import ArgumentError, LaminaError, LoadError
from lamina.saving.zip_members import open_zip, unsafe_name

FORMATS = ("auto", "tar", "zip")
MAX_RATIO = 1100
"""How many times its bytes an archive may unfold to: what deflate can reach at best is 1032."""

_FREE_BYTES = 2**20  # below this, nothing is too large
_BLOCK = 2**20


def extract_archive(path: str | os.PathLike[str], folder: str | os.PathLike[str], archive_format: str = "auto") -> None:
    """Unpack a tar or zip archive into a new folder, whole or not at all.

    Names that lead out of the folder, links of either kind, devices, and archives that unfold to far more than they can
    hold are refused; nothing of such an archive is left behind.

    Args:
        path: the archive.
        folder: where to; what is there is replaced.
        archive_format: `"tar"` (also compressed by gzip, bzip2 or xz), `"zip"`, or `"auto"` for whichever it is.

    Raises:
        ArgumentError: there is no such format.
        LoadError: the file is no such archive, is damaged, or must not be unpacked.

    Example:
        >>> import tempfile
        >>> place = Path(tempfile.mkdtemp())
        >>> with zipfile.ZipFile(place / "data.zip", "w") as archive:
        ...     archive.writestr("cats/1.txt", "meow")
        >>> extract_archive(place / "data.zip", place / "data")
        >>> (place / "data" / "cats" / "1.txt").read_text()
        'meow'
    """
    if archive_format not in FORMATS:
        raise ArgumentError(
            "There is no such format of archives.",
            expected="one of " + ", ".join(map(repr, FORMATS)),
            received=repr(archive_format),
            fix="archive_format='auto'",
        )
    final = Path(os.path.abspath(folder))
    part = final.with_name(f".{final.name}.{secrets.token_hex(4)}.part")
    part.mkdir(parents=True)
    try:
        if archive_format != "zip" and _is_tar(path):
            _unpack(_tar_members(path), path, part)
        elif archive_format != "tar" and zipfile.is_zipfile(path):
            _unpack(_zip_members(path), path, part)
        else:
            raise LoadError(
                f"{path} is no archive that can be unpacked.",
                expected="a tar or zip archive" if archive_format == "auto" else f"a {archive_format} archive",
                fix="check that it is the right file, or load it without extract=True",
            )
        if final.is_symlink() or final.is_file():
            final.unlink()
        elif final.exists():
            shutil.rmtree(final)
        os.replace(part, final)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _is_tar(path: str | os.PathLike[str]) -> bool:
    """Whether a file begins as a tar archive does."""
    try:
        return tarfile.is_tarfile(path)
    except (OSError, EOFError, zlib.error, tarfile.TarError):
        return False


def _unpack(members: Iterator[tuple[str, int, IO[bytes] | None]], path: Any, folder: Path) -> None:
    """Write members, folders without a stream, under a folder that is new."""
    limit = min(os.stat(path).st_size * MAX_RATIO + _FREE_BYTES, shutil.disk_usage(folder).free)
    total = 0
    try:
        for name, size, stream in members:
            total += size
            if total > limit:
                raise _refused(path, "unfolds to too much", f"at most {limit:,} bytes", f"more, with {name[:120]!r}")
            target = folder.joinpath(*[part for part in name.split("/") if part not in ("", ".")])
            if stream is None:
                target.mkdir(parents=True, exist_ok=True)
            elif target == folder:
                raise _refused(path, "has a member without a name", "names of files", repr(name[:120]))
            else:
                target.parent.mkdir(parents=True, exist_ok=True)
                _copy(stream, size, target, f"{name} in {path}")
    except LaminaError:
        raise
    except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
        raise _refused(path, "has two members of one name", "each once", str(error.filename)[-120:]) from error
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, ValueError, OverflowError) as error:
        raise LoadError(
            f"{path} is a damaged archive.",
            received=(str(error).strip() or type(error).__name__).splitlines()[0][:200],
            fix="download it again: force_download=True",
        ) from error


def _copy(stream: IO[bytes], size: int, target: Path, name: str) -> None:
    """Write as many bytes as were announced, and not one more."""
    left = size
    with stream, open(target, "xb") as file:
        while block := stream.read(min(_BLOCK, left + 1)):
            left -= len(block)
            if left < 0:
                break
            file.write(block)
    if left:
        raise LoadError(
            f"{name} is not of the size that the archive says.", expected=f"{size:,} bytes", fix="download it again"
        )


def _tar_members(path: Any) -> Iterator[tuple[str, int, IO[bytes] | None]]:
    """The members of a tar archive, read from its beginning to its end."""
    with tarfile.open(path, "r:*") as archive:
        for member in archive:
            _check_name(path, member.name)
            if member.isdir():
                yield member.name, 0, None
            elif member.isreg() and not member.issparse():
                yield member.name, member.size, archive.extractfile(member)
            else:
                links = member.issym() or member.islnk()
                kind = f"a link to {member.linkname[:80]!r}" if links else "a device or another special file"
                received = f"{member.name[:80]!r}, {kind}"
                raise _refused(path, "has a member that is no file", "files and folders", received)
            archive.members = []  # tarfile would keep a record of each


def _zip_members(path: Any) -> Iterator[tuple[str, int, IO[bytes] | None]]:
    """The members of a zip archive; `open_zip` has looked at them."""
    with open_zip(path, ratio=MAX_RATIO) as archive:
        for name in archive.folders():
            yield name, 0, None
        for name in archive:
            yield name, archive.size(name), archive.open(name)


def _check_name(path: Any, name: str) -> None:
    """Refuse a name that leads out of the folder."""
    why = unsafe_name(name)
    if why is not None:
        raise _refused(path, f"has a member whose name {why}", "names inside the archive", repr(name[:120]))


def _refused(path: Any, what: str, expected: str, received: str) -> LoadError:
    return LoadError(f"{path} {what}.", expected=expected, received=received, fix="do not unpack this file")
