"""A file is the old one or the new one, whatever happens in between."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from lamina.saving import atomic_path


@pytest.fixture
def target(tmp_path):
    """A file that is there already."""
    path = tmp_path / "weights.bin"
    path.write_text("old")
    return path


def alone(path: Path) -> bool:
    """Whether there is nothing in the folder but `path`, hidden files included."""
    return os.listdir(path.parent) == [path.name]


def test_a_new_file_appears_when_the_block_ends(tmp_path):
    path = tmp_path / "new.txt"
    with atomic_path(path) as part:
        assert part.parent == tmp_path and part.name != path.name
        part.write_text("new")
        assert not path.exists()
    assert path.read_text() == "new" and alone(path)


def test_the_old_file_is_there_until_the_block_ends(target):
    with atomic_path(str(target)) as part:
        part.write_text("new")
        assert target.read_text() == "old"
    assert target.read_text() == "new" and alone(target)


@pytest.mark.parametrize("error", [ValueError, OSError, KeyboardInterrupt, SystemExit, GeneratorExit])
@pytest.mark.parametrize("written", ["", "half of it"])
def test_an_error_in_the_block_leaves_the_old_file_alone(target, error, written):
    with pytest.raises(error), atomic_path(target) as part:
        part.write_text(written)
        raise error
    assert target.read_text() == "old" and alone(target)


@pytest.mark.parametrize("function", ["fsync", "replace"])
def test_a_system_call_that_fails_leaves_the_old_file_alone(target, monkeypatch, function):
    def fail(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, function, fail)
    with pytest.raises(OSError, match="No space left on device"), atomic_path(target) as part:
        part.write_text("new")
    monkeypatch.undo()
    assert target.read_text() == "old" and alone(target)


def test_the_content_reaches_the_disk_before_the_name_changes(target, monkeypatch):
    calls = []
    sync, replace = os.fsync, os.replace

    def record_sync(descriptor):
        calls.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        sync(descriptor)

    def record_replace(source, destination):
        calls.append("replace")
        replace(source, destination)

    monkeypatch.setattr(os, "fsync", record_sync)
    monkeypatch.setattr(os, "replace", record_replace)
    with atomic_path(target) as part:
        part.write_text("new")
    assert calls == ["file", "replace", "folder"]


@pytest.mark.parametrize("function", ["open", "fsync"])
def test_a_folder_that_cannot_be_synced_is_no_failure(target, monkeypatch, function):
    found = getattr(os, function)

    def refuse_folders(what, *args, **kwargs):
        folder = os.path.isdir(what) if isinstance(what, (str, os.PathLike)) else stat.S_ISDIR(os.fstat(what).st_mode)
        if folder:
            raise OSError(22, "Invalid argument")
        return found(what, *args, **kwargs)

    monkeypatch.setattr(os, function, refuse_folders)
    with atomic_path(target) as part:
        part.write_text("new")
    monkeypatch.undo()
    assert target.read_text() == "new" and alone(target)


def test_a_block_that_removes_its_file_is_an_error(target):
    with pytest.raises(FileNotFoundError), atomic_path(target) as part:
        part.unlink()
    assert target.read_text() == "old" and alone(target)


def test_a_folder_that_is_missing_is_named_before_anything_is_written(tmp_path):
    path = tmp_path / "missing" / "x.bin"
    with pytest.raises(FileNotFoundError, match=f"There is no such folder: '{path.parent}'"), atomic_path(path):
        raise AssertionError("the block must not run")
    assert os.listdir(tmp_path) == []


def test_a_folder_in_the_place_of_the_file_is_refused(tmp_path):
    with (
        pytest.raises(IsADirectoryError, match="This is a folder, not a file"),
        atomic_path(tmp_path),
    ):
        raise AssertionError("the block must not run")


def test_a_folder_that_takes_no_files_is_an_os_error(target, monkeypatch):
    """A stand-in for a read-only folder, which the superuser could write to."""

    def refuse(path, mode="r", *args, **kwargs):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(PermissionError, match="Permission denied"), atomic_path(target):
        raise AssertionError("the block must not run")
    monkeypatch.undo()
    assert target.read_text() == "old" and alone(target)


def test_the_file_is_as_readable_as_the_one_before_or_as_any_other(tmp_path):
    before = os.umask(0o027)
    try:
        new, old = tmp_path / "new", tmp_path / "old"
        old.write_text("old")
        old.chmod(0o604)
        for path in (new, old):
            with atomic_path(path) as part:
                part.write_text("new")
                part.chmod(0o600)  # as safetensors leaves it
    finally:
        os.umask(before)
    assert stat.S_IMODE(new.stat().st_mode) == 0o640
    assert stat.S_IMODE(old.stat().st_mode) == 0o604


def test_two_writers_of_one_file_do_not_meet(target):
    with atomic_path(target) as first, atomic_path(target) as second:
        first.write_text("first")
        second.write_text("second")
        assert first != second
    assert target.read_text() == "first" and alone(target)
