"""The folder of a run: whole or not there."""

from __future__ import annotations

import json
import math
import os
import stat
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lamina.commands.run_folder import RunFolder
from lamina.errors import ArgumentError

FILES = ["curves.png", "history.csv", "history.json", "results.json", "weights.safetensors"]


class Model:
    """Writes some bytes as its weights."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error

    def save_weights(self, path):
        if self.error is not None:
            raise self.error
        path.write_bytes(b"weights")


def history(**values: Any) -> Any:
    """What `fit` returns after as many epochs as `loss` has values."""
    values = values or {"loss": [0.5, 0.25], "val_loss": [0.75, 0.5]}
    return SimpleNamespace(epoch=list(range(len(values.get("loss", [])))), history=values)


def write(folder: RunFolder, kept: Any = None, model: Any = None, **results: Any) -> None:
    folder.write(model or Model(), kept or history(), results, [[1, 0], [0, 1]])


def found_in(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


# ---------------------------------------------------------------------- where
def test_nothing_is_there_until_it_is_written(tmp_path):
    folder = RunFolder(tmp_path / "a" / "b")
    assert found_in(tmp_path) == [] and folder.names == []
    write(folder)
    assert found_in(tmp_path) == ["a"] and found_in(tmp_path / "a") == ["b"]
    assert found_in(tmp_path / "a" / "b") == folder.names == FILES


def test_a_relative_place_is_kept_as_it_was_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = RunFolder(Path("x/../out"))
    write(folder)
    assert found_in(tmp_path) == ["out"] and str(folder.path) == "x/../out"


def test_the_current_folder_may_be_filled_while_it_is_empty(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    write(RunFolder(Path(".")))
    assert found_in(tmp_path) == ["here"] and found_in(tmp_path / "here") == FILES
    with pytest.raises(ArgumentError, match="exists already"):
        RunFolder(tmp_path / "here")


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (lambda path: path.write_text("x"), "a file"),
        (lambda path: (path.mkdir(), (path / ".hidden").touch()), "a folder with files"),
        (lambda path: path.symlink_to("nowhere"), "a link"),
        (lambda path: (path.with_name("real").mkdir(), path.symlink_to("real")), "a link"),
    ],
    ids=["file", "folder", "dead link", "link"],
)
def test_what_is_there_is_not_touched(tmp_path, make, kind):
    make(tmp_path / "out")
    before = found_in(tmp_path)
    with pytest.raises(ArgumentError, match="exists already") as caught:
        RunFolder(tmp_path / "out")
    assert caught.value.received == kind
    assert found_in(tmp_path) == before


def test_a_mount_point_is_refused_though_it_is_empty(tmp_path, monkeypatch):
    """It could not be replaced by the finished folder when all is done."""
    (tmp_path / "out").mkdir()
    monkeypatch.setattr(os.path, "ismount", lambda path: Path(path) == tmp_path / "out")
    with pytest.raises(ArgumentError, match="exists already") as caught:
        RunFolder(tmp_path / "out")
    assert caught.value.received == "a mount point"


def test_a_file_on_the_way_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ArgumentError, match=f"Nothing can be written under '{tmp_path / 'file'}'") as caught:
        RunFolder(tmp_path / "file" / "out")
    assert caught.value.received == "Not a directory" and found_in(tmp_path) == ["file"]


def test_a_name_that_the_disk_cannot_hold_is_refused_at_once(tmp_path):
    with pytest.raises(ArgumentError, match="Nothing can be written under") as caught:
        RunFolder(tmp_path / ("x" * 250))
    assert caught.value.received == "File name too long" and found_in(tmp_path) == []


def test_a_folder_without_the_right_to_write_is_refused_at_once(tmp_path, monkeypatch):
    def refuse(self, *args, **kwargs):
        raise OSError(30, "Read-only file system", str(self))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(ArgumentError, match=f"Nothing can be written under '{tmp_path}'") as caught:
        RunFolder(tmp_path / "a" / "b" / "out")
    assert caught.value.received == "Read-only file system"


def test_the_folder_has_the_mode_of_any_other(tmp_path):
    before = os.umask(0o027)
    try:
        write(RunFolder(tmp_path / "out"))
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == 0o750


def test_a_place_that_is_taken_meanwhile_gets_a_number(tmp_path):
    folder, other = RunFolder(tmp_path / "out"), RunFolder(tmp_path / "out")
    write(folder)
    write(other, kept=history(loss=[9.0]))
    assert (folder.path, other.path) == (tmp_path / "out", tmp_path / "out-1")
    assert found_in(tmp_path) == ["out", "out-1"]
    assert json.loads((tmp_path / "out-1" / "history.json").read_text())["loss"] == [9.0]
    (tmp_path / "file").touch()
    third = RunFolder(tmp_path / "third")
    (tmp_path / "third").touch()
    write(third)
    assert third.path == tmp_path / "third-1" and (tmp_path / "third").is_file()


# ---------------------------------------------------------------------- whole or not at all
@pytest.mark.parametrize("error", [OSError(28, "No space left"), KeyboardInterrupt(), ValueError("odd")], ids=repr)
@pytest.mark.parametrize("empty", [False, True])
def test_a_failure_leaves_everything_as_it_was(tmp_path, error, empty):
    (tmp_path / "old").mkdir()
    target = tmp_path / ("old" if empty else "old/new/deep")
    folder = RunFolder(target)
    with pytest.raises(type(error)):
        write(folder, model=Model(error))
    assert found_in(tmp_path) == ["old"] and found_in(tmp_path / "old") == []


def test_a_failure_of_the_last_step_leaves_everything_as_it_was(tmp_path, monkeypatch):
    def fail(source, target):
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "replace", fail)
    folder = RunFolder(tmp_path / "a" / "out")
    with pytest.raises(OSError, match="cross-device"):
        write(folder)
    assert found_in(tmp_path) == []


def test_a_parent_that_somebody_else_uses_stays(tmp_path):
    class Other(Model):
        def save_weights(self, path):
            (tmp_path / "a" / "theirs").touch()
            raise OSError("full")

    with pytest.raises(OSError, match="full"):
        write(RunFolder(tmp_path / "a" / "b" / "out"), model=Other())
    assert found_in(tmp_path / "a") == ["theirs"]


# ---------------------------------------------------------------------- what
def test_both_files_hold_the_history(tmp_path):
    folder = RunFolder(tmp_path / "out")
    write(folder)
    assert (tmp_path / "out" / "history.csv").read_bytes() == b"epoch,loss,val_loss\r\n0,0.5,0.75\r\n1,0.25,0.5\r\n"
    expected = {"epoch": [0, 1], "loss": [0.5, 0.25], "val_loss": [0.75, 0.5]}
    assert json.loads((tmp_path / "out" / "history.json").read_text()) == expected


def test_what_an_interrupted_epoch_lacks_stays_empty(tmp_path):
    kept = history(loss=[0.5, 0.25], val_loss=[0.75])
    write(RunFolder(tmp_path / "out"), kept)
    assert (tmp_path / "out" / "history.csv").read_text().splitlines()[1:] == ["0,0.5,0.75", "1,0.25,"]
    assert json.loads((tmp_path / "out" / "history.json").read_text())["val_loss"] == [0.75, None]
    assert kept.history["val_loss"] == [0.75], "the history itself is not changed"


def test_numbers_that_json_lacks_are_null_and_stay_in_the_csv(tmp_path):
    write(
        RunFolder(tmp_path / "out"), history(loss=[1.0, math.nan, math.inf]), share=math.nan, lists=[[1.5, -math.inf]]
    )
    assert "NaN" not in (tmp_path / "out" / "history.json").read_text()
    assert json.loads((tmp_path / "out" / "history.json").read_text())["loss"] == [1.0, None, None]
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert results == {"share": None, "lists": [[1.5, None]], "confusion": [[1, 0], [0, 1]]}
    assert (tmp_path / "out" / "history.csv").read_text().splitlines()[2:] == ["1,nan", "2,inf"]


def test_names_in_any_script_can_be_read_in_the_file(tmp_path):
    write(RunFolder(tmp_path / "out"), classes=["猫", "chat", os.fsdecode(b"\xff")])
    text = (tmp_path / "out" / "results.json").read_text(encoding="utf-8")
    assert "猫" in text and json.loads(text)["classes"] == ["猫", "chat", "\udcff"]


def test_a_run_that_was_stopped_before_its_first_epoch_has_no_curves(tmp_path):
    write(RunFolder(tmp_path / "out"), SimpleNamespace(epoch=[], history={}))
    assert found_in(tmp_path / "out") == [name for name in FILES if name != "curves.png"]
    assert (tmp_path / "out" / "history.csv").read_text().strip() == "epoch"


@pytest.mark.parametrize(
    "values",
    [
        {"loss": [0.5]},
        {"loss": [0.5, 0.2], "accuracy": [0.1, 0.9], "val_loss": [1.0], "val_accuracy": [0.4]},
        {"loss": [math.nan, math.inf], "val_loss": [math.nan, math.nan]},
        {"loss": [0.5, 0.2], "val_loss": []},
    ],
    ids=["one epoch", "interrupted", "not finite", "never validated"],
)
def test_curves_are_drawn_without_a_warning(tmp_path, values, recwarn):
    write(RunFolder(tmp_path / "out"), history(**values))
    with Image.open(tmp_path / "out" / "curves.png") as picture:
        assert picture.format == "PNG" and np.asarray(picture.convert("L")).std() > 5
    assert [str(warning.message) for warning in recwarn] == []
