"""Data files: those that come with the package, and those that are downloaded, checked and kept."""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
import urllib.parse
import urllib.request
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from lamina.datasets.extracting import extract_archive
from lamina.errors import ArgumentError, LoadError
from lamina.saving.npz import read_npz
from lamina.saving.zip_members import unsafe_name

HOME = "LAMINA_HOME"
"""The variable that names the folder for downloads."""

_LENGTHS = {32: "md5", 40: "sha1", 64: "sha256", 128: "sha512"}
_SCHEMES = ("http", "https", "ftp", "file")


def packaged_arrays(filename: str) -> dict[str, np.ndarray[Any, Any]]:
    """The named arrays of a `.npz` file in this package; one that holds pickled objects is refused."""
    with (resources.files("lamina.datasets") / filename).open("rb") as file:
        return read_npz(file, filename)  # type: ignore[arg-type]


def get_file(
    fname: str | os.PathLike[str] | None = None,
    origin: str | None = None,
    untar: bool = False,
    md5_hash: str | None = None,
    file_hash: str | None = None,
    cache_subdir: str = "datasets",
    hash_algorithm: str = "auto",
    extract: bool = False,
    archive_format: str | None = "auto",
    cache_dir: str | os.PathLike[str] | None = None,
    force_download: bool = False,
) -> str:
    """Download a file unless it is there already, check it, and unpack it if asked to.

    A file is there whole or not at all, and only if it has the hash that was given. Archives are unpacked by
    `extract_archive`, which writes nothing outside of their folder. Without a hash, whoever controls the address or the
    way to it decides what the file is.

    Args:
        fname: its name here; by default the last part of `origin`. With `extract`, a name without a dot is that of the
            folder.
        origin: its address: http, https, ftp or file.
        untar: an older word for `extract`, of tar archives.
        md5_hash: an older word for `file_hash`, of MD5.
        file_hash: what it must hash to, in hexadecimal digits.
        cache_subdir: the folder in `cache_dir`.
        hash_algorithm: `"sha256"`, `"md5"`, or another of hashlib's; `"auto"` tells them by their length.
        extract: whether to unpack an archive.
        archive_format: `"tar"`, `"zip"`, or `"auto"` for whichever it is.
        cache_dir: where files are kept; by default what the variable `LAMINA_HOME` says, or `~/.lamina`.
        force_download: whether to download it even if it is there.

    Returns:
        The path of the file, or of the folder that it was unpacked to.

    Raises:
        ArgumentError: there is no address, or a name or hash is none.
        LoadError: it cannot be downloaded, is not what the hash says, or must not be unpacked.

    Example:
        >>> folder = tempfile.mkdtemp()
        >>> _ = Path(folder, "digits.csv").write_text("1,2,3")
        >>> path = get_file(origin=Path(folder, "digits.csv").as_uri(), cache_dir=folder)
        >>> os.path.relpath(path, folder).replace(os.sep, "/"), Path(path).read_text()
        ('datasets/digits.csv', '1,2,3')
    """
    if not origin:
        raise ArgumentError("There is nothing to download.", expected="an address", fix="origin='https://...'")
    name = _checked_name(fname, origin)
    known = _checked_hash(file_hash, hash_algorithm) if file_hash is not None else _checked_hash(md5_hash, "md5")
    folder = Path(cache_dir or os.environ.get(HOME) or Path.home() / ".lamina").expanduser() / cache_subdir
    target, unpacked = folder / name, folder / name
    if extract or untar:
        bare = fname is None or "." not in name
        target = folder / (f"{name}_archive" if bare else name)
        unpacked = folder / (name if bare else f"{name.partition('.')[0]}_extracted")
    folder.mkdir(parents=True, exist_ok=True)
    is_new = force_download or not _is_there(target, known)
    if is_new:
        _download(origin, target, known)
    if not (extract or untar):
        return str(target)
    if is_new or not unpacked.is_dir():
        extract_archive(target, unpacked, "tar" if untar else archive_format or "auto")
    return str(unpacked)


def _checked_name(fname: str | os.PathLike[str] | None, origin: str) -> str:
    """The name of the file here, which is no path."""
    parts = urllib.parse.urlsplit(origin)
    name = os.fspath(fname) if fname is not None else urllib.parse.unquote(parts.path).rpartition("/")[2]
    if parts.scheme not in _SCHEMES:
        raise ArgumentError(
            "Nothing can be downloaded from there.",
            expected="an address of " + ", ".join(_SCHEMES),
            received=repr(origin),
            fix="origin='https://...'",
        )
    if not name or "/" in name or name in (".", "..") or unsafe_name(name) is not None:
        raise ArgumentError(
            "A download needs a name, and not a path.",
            expected="a file's name; its folder is given by cache_dir and cache_subdir",
            received=repr(name),
            fix="fname='data.npz'",
        )
    return name


def _checked_hash(digits: str | None, algorithm: str) -> str | None:
    """A hash as pooch has it, with the name of its algorithm."""
    if digits is None:
        return None
    digits = digits.strip().lower()
    found = _LENGTHS.get(len(digits)) if algorithm == "auto" else algorithm
    if found is None or not re.fullmatch(r"[0-9a-f]+", digits):
        raise ArgumentError(
            "This is no hash of a file.",
            expected="hexadecimal digits: 64 for sha256, 32 for md5",
            received=repr(digits),
            fix="print one with: sha256sum FILE",
        )
    return f"{found}:{digits}"


def _is_there(target: Path, known: str | None) -> bool:
    """Whether the file has been downloaded, and is the right one."""
    if not target.is_file():
        return False
    return known is None or _hash_of(target, known.partition(":")[0]) == known


def _hash_of(path: Path, algorithm: str) -> str:
    """The hash of a file, with the name of its algorithm."""
    import pooch

    try:
        return f"{algorithm}:{pooch.file_hash(str(path), alg=algorithm)}"
    except ValueError as error:
        raise ArgumentError(
            "There is no such hash.",
            expected="'sha256' or 'md5'",
            received=repr(algorithm),
            fix="hash_algorithm='auto'",
        ) from error


def _download(origin: str, target: Path, known: str | None) -> None:
    """Download to a place beside the final one, check, then move it there."""
    import pooch

    pooch.get_logger().setLevel("WARNING")
    with contextlib.ExitStack() as stack:
        part = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=".part-", dir=target.parent)))
        try:
            downloader = _copy if urllib.parse.urlsplit(origin).scheme == "file" else None
            pooch.retrieve(origin, None, fname="part", path=part, downloader=downloader)
        except Exception as error:  # requests, ftplib and the system each fail in their own way
            raise LoadError(
                f"{origin} cannot be downloaded.",
                received=f"{type(error).__name__}: {(str(error).strip() or 'no reason').splitlines()[0][:200]}",
                fix="check the address and the network, and try again",
            ) from error
        if known is not None:
            found = _hash_of(part / "part", known.partition(":")[0])
            if found != known:
                raise LoadError(
                    f"{origin} is not the file that was expected.",
                    expected=known,
                    received=found,
                    fix="check the address; if the file was replaced by its authors, ask them for its new hash",
                )
        os.replace(part / "part", target)


def _copy(url: str, output: str | os.PathLike[str], pooch: Any) -> None:
    """What pooch calls for a file on this machine."""
    parts = urllib.parse.urlsplit(url)
    if parts.netloc not in ("", "localhost"):
        raise ValueError(f"{parts.netloc} is another machine")
    with open(urllib.request.url2pathname(parts.path), "rb") as source, open(output, "wb") as file:
        while block := source.read(2**20):
            file.write(block)
