"""Files that are whole or not there."""

from __future__ import annotations

import os
from pathlib import Path

from lamina.atomic import atomic_path
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
    with atomic_path(os.path.realpath(path)) as part:  # a link stays one
        part.write_bytes(data)


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
