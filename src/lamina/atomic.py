"""Writing a file so that a reader, or a power cut, sees the old one or the new one and nothing between."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A path in the same folder to write to; when the block ends well, the file there takes the place of `path`.

    The file is as readable for others as the one that it replaces, or as any new file.

    Args:
        path: the file to be written. Its folder must exist.

    Raises:
        OSError: the file cannot be written; `path` is then what it was.

    Example:
        >>> import tempfile
        >>> target = Path(tempfile.mkdtemp()) / "note.txt"
        >>> with atomic_path(target) as part:
        ...     _ = part.write_text("done")
        >>> target.read_text(), [p.name for p in target.parent.iterdir()]
        ('done', ['note.txt'])
    """
    target = Path(path)
    part = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
    if not target.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, "There is no such folder", str(target.parent))
    if target.is_dir():
        raise IsADirectoryError(errno.EISDIR, "This is a folder, not a file", str(target))
    try:
        with open(part, "xb"):
            pass
        mode = stat.S_IMODE((target if target.exists() else part).stat().st_mode)
        yield part
        if stat.S_IMODE(part.stat().st_mode) != mode:  # safetensors makes its files unreadable for others
            part.chmod(mode)
        sync(part)
        os.replace(part, target)
    finally:
        part.unlink(missing_ok=True)
    sync(target.parent)


def sync(path: str | os.PathLike[str]) -> None:
    """Have a file's content on the disk, or the names in a folder, where folders can be synced.

    Args:
        path: the file or folder.

    Raises:
        OSError: the file cannot be written; a folder is whole either way.
    """
    if not os.path.isdir(path):
        with open(path, "rb+") as written:  # Windows syncs only what could be written to
            os.fsync(written.fileno())
        return
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
