"""Files that are whole or not there."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

from lamina.errors import ArgumentError


def write_whole(path: Path, data: bytes) -> None:
    """Write a file at once: another one of its name is replaced when the new one is complete.

    Args:
        path: the file.
        data: what it holds.

    Raises:
        ArgumentError: its folder does not exist, or it is a folder itself.
    """
    check_place(path)
    path = Path(os.path.realpath(path))  # a link stays one
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name[:40]}-", suffix=".part", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.chmod(temporary, 0o666 & ~_umask())  # mkstemp's files are for their owner alone
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def check_place(path: Path) -> None:
    """Refuse a file that cannot be written where it should be.

    Args:
        path: the file.

    Raises:
        ArgumentError: its folder does not exist, or it is a folder itself.
    """
    if not path.parent.is_dir():
        raise ArgumentError(
            "The folder of to_file does not exist.",
            expected="a file in a folder that exists",
            received=f"'{path}'",
            fix=f"make the folder '{path.parent}' first",
        )
    if path.is_dir():
        raise ArgumentError(
            "to_file is a folder.",
            expected="the name of a file",
            received=f"'{path}'",
            fix="add a name such as model.png",
        )


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
