"""`fit(resume=...)`: when states are written, what is done with those that are damaged, and what is said."""

from __future__ import annotations

import errno
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from interruption import DiesAt, fit, same

import lamina
from lamina.callbacks import BackupAndRestore, Callback, LambdaCallback
from lamina.errors import ArgumentError, DtypeError, LoadError, WriteError
from lamina.saving.states import read_state, write_state
from lamina.training import Resume, resuming

X = np.random.RandomState(0).randn(20, 4).astype("float32")
Y = X.sum(1, keepdims=True)
ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


def make() -> Any:
    """Five batches an epoch, four epochs, and random numbers."""
    model = lamina.Sequential([lamina.Input((4,)), lamina.layers.Dropout(0.5), lamina.layers.Dense(1)])
    model.compile("adam", "mse")
    return model, {"x": X, "y": Y, "batch_size": 4, "epochs": 4}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return fit(make, tmp_path_factory.mktemp("whole"))


def files(folder: Path) -> list[str]:
    """What is in a folder, but for the lock."""
    return sorted(name for name in os.listdir(folder) if name != "lock")


def places(folder: Path) -> list[tuple[int, int]]:
    """The epoch and batch of each state in a folder."""
    found = [read_state(folder / name)["place"] for name in files(folder)]
    return [(place["epoch"], place["done"]) for place in found]


# ---------------------------------------------------------------------- when
class Clock:
    """A second a batch, and so many for a state."""

    def __init__(self, monkeypatch: Any, write: float = 0.0) -> None:
        self.now = 1000.0
        monkeypatch.setattr(resuming.time, "monotonic", lambda: self.now)
        monkeypatch.setattr(resuming, "write_state", self.write)
        self.seconds = write
        self.written: list[tuple[int, int]] = []

    def write(self, path: Any, state: Any) -> None:
        self.now += self.seconds
        self.written.append((state["place"]["epoch"], state["place"]["done"]))

    def batch(self) -> Callback:
        def passes(batch: int, logs: Any) -> None:
            self.now += 1.0

        return LambdaCallback(on_train_batch_end=passes)


def written(monkeypatch: Any, folder: Any, write: float = 0.0, **options: Any) -> list[tuple[int, int]]:
    clock = Clock(monkeypatch, write)
    fit(make, Resume(folder, **options), callbacks=[clock.batch()])
    return clock.written


def test_a_state_is_written_at_the_beginning_and_after_each_epoch(monkeypatch, tmp_path):
    assert written(monkeypatch, tmp_path) == [(0, 0), (1, 0), (2, 0), (3, 0), (4, 0)]


def test_and_after_so_many_batches_counted_across_epochs(monkeypatch, tmp_path):
    found = written(monkeypatch, tmp_path, every_batches=4)
    assert found == [(0, 0), (0, 4), (1, 0), (1, 3), (2, 0), (2, 2), (3, 0), (3, 1), (3, 5), (4, 0)]


def test_and_after_so_many_seconds_since_the_last(monkeypatch, tmp_path):
    found = written(monkeypatch, tmp_path, every_seconds=3)
    assert found == [(0, 0), (0, 3), (1, 0), (1, 3), (2, 0), (2, 3), (3, 0), (3, 3), (4, 0)]


def test_states_that_are_slow_to_write_are_put_off(monkeypatch, tmp_path):
    """Half a second of each ten at most, but the end of the training is always kept."""
    assert written(monkeypatch, tmp_path, write=0.5, max_share=0.05, every_seconds=1) == [
        (0, 0),
        (1, 5),
        (3, 5),
        (4, 0),
    ]
    assert len(written(monkeypatch, tmp_path, write=0.5, max_share=None)) == 5


def test_those_that_are_asked_for_by_number_are_not(monkeypatch, tmp_path):
    assert (2, 2) in written(monkeypatch, tmp_path, write=9.0, every_batches=4)


@pytest.mark.parametrize("keep", [1, 2, 3])
def test_the_newest_states_stay(tmp_path, keep):
    fit(make, Resume(tmp_path, keep=keep, max_share=None))
    assert places(tmp_path) == [(2, 0), (3, 0), (4, 0)][-keep:]


def test_an_older_state_is_removed_when_the_new_one_is_there(tmp_path, monkeypatch):
    seen = []
    unlink = Path.unlink

    def watched(path: Path, **options: Any) -> None:
        if path.suffix == ".state":
            seen.append(files(path.parent))
        unlink(path, **options)

    monkeypatch.setattr(Path, "unlink", watched)
    fit(make, Resume(tmp_path, keep=1, max_share=None))
    assert len(seen) == 4 and all(len(found) == 2 for found in seen)


def test_ctrl_c_writes_where_it_came(tmp_path, whole):
    def interrupts(batch: int, logs: Any) -> None:
        if model_steps.append(batch) or len(model_steps) == 8:
            os.kill(os.getpid(), signal.SIGINT)

    model_steps: list[int] = []
    callback = LambdaCallback(on_train_batch_end=interrupts)
    fit(make, Resume(tmp_path), callbacks=[callback], on_interrupt="stop")
    assert places(tmp_path)[-1] == (1, 3)
    assert same(whole, fit(make, tmp_path))


def test_what_a_callback_stops_is_over(tmp_path):
    class Stops(Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            self.model.stop_training = self.model.optimizer.iterations == 8

    one = fit(make, Resume(tmp_path, every_batches=1, keep=9), callbacks=[Stops()])
    assert one.history.epoch == [0, 1]
    assert same(one, fit(make, tmp_path, DiesAt(1)))
    os.remove(tmp_path / files(tmp_path)[-1])  # killed before the epoch came to its end: no other batch is trained
    dies = DiesAt(1)
    assert same(one, fit(make, tmp_path, dies)) and dies.seen == 0


# ---------------------------------------------------------------------- damage
def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def another_version(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"lamina state 1", b"lamina state 9"))


DAMAGES = {
    "cut": cut,
    "flipped": flip,
    "empty": lambda path: path.write_bytes(b""),
    "foreign": lambda path: torch.save({"a": 1}, path),
    "another version": another_version,
    "zeros": lambda path: path.write_bytes(bytes(path.stat().st_size)),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_the_state_before_is_taken_if_the_last_is_damaged_and_it_is_said(damage, tmp_path, whole, capsys):
    fit(make, tmp_path, DiesAt(9))
    last, before = (tmp_path / name for name in files(tmp_path)[::-1])
    DAMAGES[damage](last)
    assert same(whole, fit(make, tmp_path))
    said = capsys.readouterr().err
    assert said.startswith(f"lamina: {last.name}: ") and f"goes on from the state before, {before.name}.\n" in said


@pytest.mark.parametrize("damage", DAMAGES)
def test_without_a_whole_state_it_is_an_error_and_nothing_is_changed(damage, tmp_path):
    fit(make, tmp_path, DiesAt(9))
    for path in tmp_path.glob("*.state"):
        DAMAGES[damage](path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(
        LoadError, match="No state of the run in .* can be read(.|\n)*run-(.|\n)*fix: +pass another folder"
    ):
        fit(make, tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_state_of_something_else_is_refused(tmp_path):
    write_state(tmp_path / "run-00000001.state", {"weights": torch.ones(1)})
    with pytest.raises(LoadError, match="holds a run that this training cannot go on with"):
        fit(make, tmp_path)


def test_what_a_process_left_that_was_killed_while_it_wrote_is_removed(tmp_path, whole):
    fit(make, tmp_path, DiesAt(9))
    (tmp_path / ".run-00000009.state.0123abcd.part").write_bytes(b"half")
    (tmp_path / "mine.part").write_bytes(b"mine")
    assert same(whole, fit(make, tmp_path))
    assert [name for name in files(tmp_path) if "part" in name] == ["mine.part"]


# ---------------------------------------------------------------------- places that cannot be written
def full(monkeypatch: Any, after: int) -> None:
    """The disk has room for so many more states, and for the beginning of another."""
    real, count = os.fsync, [0]

    def fsync(descriptor: int) -> None:
        count[0] += 1
        if count[0] > 2 * after:  # the file, and its folder
            raise OSError(errno.ENOSPC, "No space left on device")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)


def test_a_full_disk_ends_the_training_and_leaves_the_last_state(tmp_path, monkeypatch, whole):
    full(monkeypatch, after=3)
    with pytest.raises(WriteError, match=r"run-00000004.state cannot be written.(.|\n)*No space left(.|\n)*free some"):
        fit(make, tmp_path)
    assert files(tmp_path) == ["run-00000002.state", "run-00000003.state"] and places(tmp_path) == [(0, 2), (0, 4)]
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    assert same(whole, fit(make, tmp_path))


def test_a_file_that_may_not_grow_is_a_write_error_too(tmp_path):
    """The kernel's own refusal, in a process whose files may have 3,000 bytes."""
    program = (
        "import resource, signal, sys; sys.path[:0] = ['src', 'tests/support', 'tests/training']\n"
        "import test_resuming as t\n"
        f"t.fit(t.make, {str(tmp_path)!r}, t.DiesAt(3))\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))\n"
        f"t.fit(t.make, {str(tmp_path)!r})"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "WriteError" in done.stderr and "File too large" in done.stderr, done.stderr
    assert files(tmp_path) == ["run-00000001.state", "run-00000002.state"] and places(tmp_path) == [(0, 0), (0, 2)]


def test_a_file_in_place_of_the_folder_is_an_error_before_anything_is_trained(tmp_path):
    (tmp_path / "file").write_text("mine")
    for path in (tmp_path / "file", tmp_path / "file" / "deeper"):
        dies = DiesAt(1)
        with pytest.raises(WriteError, match=f"{path} cannot be written(.|\n)*pass a folder to resume="):
            fit(make, path, dies)
        assert dies.seen == 0
    assert (tmp_path / "file").read_text() == "mine"


def test_a_folder_that_takes_no_files_is_an_error_before_anything_is_trained(tmp_path, monkeypatch):
    def refuse(path: Any, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
        raise PermissionError(13, "Permission denied", str(path))

    dies = DiesAt(1)
    with monkeypatch.context() as patched, pytest.raises(WriteError, match="Permission denied"):
        patched.setattr("builtins.open", refuse)
        fit(make, tmp_path / "new", dies)
    assert dies.seen == 0 and files(tmp_path / "new") == []


def test_a_state_that_no_file_can_hold_is_named(tmp_path):
    class Careless(Callback):
        def get_state(self) -> dict[str, Any]:
            return {"things": [object()]}

    with pytest.raises(DtypeError, match=r"the state of Careless 1\['things'\]\[0\] cannot be written"):
        fit(make, tmp_path, callbacks=[Careless()])
    assert files(tmp_path) == []


def test_another_process_is_kept_out_and_let_in_when_this_one_is_killed(tmp_path, whole):
    program = (
        "import sys, time; sys.path[:0] = ['src', 'tests/support', 'tests/training']\n"
        "import test_resuming as t\n"
        "waits = t.LambdaCallback(on_train_batch_end=lambda batch, logs: batch == 3 and time.sleep(60))\n"
        f"t.fit(t.make, {str(tmp_path)!r}, callbacks=[waits])"
    )
    other = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT)
    limit = time.monotonic() + 60
    while len(files(tmp_path)) < 2 and time.monotonic() < limit:
        time.sleep(0.01)
    try:
        with pytest.raises(LoadError, match="Another process is training in"):
            fit(make, tmp_path)
    finally:
        other.kill()
        other.wait()
    assert same(whole, fit(make, tmp_path))


# ---------------------------------------------------------------------- what is said, and how it is asked for
def test_it_is_said_where_a_run_goes_on(tmp_path, capsys):
    fit(make, tmp_path, DiesAt(9), verbose=2)
    assert capsys.readouterr().err == ""
    fit(make, tmp_path, verbose=2)
    assert capsys.readouterr().err == f"lamina: the run in {tmp_path} goes on with epoch 2, batch 4.\n"
    fit(make, tmp_path, verbose=2)
    assert capsys.readouterr().err == f"lamina: the run in {tmp_path} is at its end.\n"
    fit(make, tmp_path, verbose=0)
    assert capsys.readouterr().err == ""


def test_another_version_of_torch_is_said(tmp_path, monkeypatch, capsys):
    with monkeypatch.context() as patched:
        patched.setattr(resuming.torch, "__version__", "2.0.0")
        fit(make, tmp_path, DiesAt(9))
    fit(make, tmp_path)
    assert "begun with torch 2.0.0; torch" in capsys.readouterr().err


@pytest.mark.parametrize("options", [{"every_batches": 0}, {"keep": 0}, {"every_seconds": 0}, {"max_share": 2}])
def test_wrong_arguments_are_refused(options):
    with pytest.raises(ArgumentError):
        Resume("folder", **options)


@pytest.mark.parametrize("path", ["", None, 3])
def test_a_folder_is_needed(path):
    with pytest.raises(ArgumentError, match="needs a folder"):
        Resume(path)


def test_time_alone_costs_a_clock_a_batch():
    """What `fit` adds to a batch when nothing is to be written."""
    run = resuming.Run(Resume("x", every_seconds=math.inf), None, None, says=False)  # type: ignore[arg-type]
    run._due = math.inf
    began = time.perf_counter()
    for _ in range(10_000):
        run.after_batch(0, 1, None, None)
    assert time.perf_counter() - began < 0.2  # 20 microseconds each; about half of one where it was written


# ---------------------------------------------------------------------- BackupAndRestore
def backed_up(folder: Path, dies: Any = None, **options: Any) -> Any:
    backup = BackupAndRestore(folder, **options)
    return fit(make, None, dies, callbacks=[backup]), backup


@pytest.mark.parametrize("dies", [{"batches": 3}, {"batches": 9}, {"epoch": 2}])
@pytest.mark.parametrize("save_freq", ["epoch", 2])
def test_keras_words_do_the_same(tmp_path, whole, dies, save_freq):
    backed_up(tmp_path / "b", DiesAt(**dies), save_freq=save_freq)
    model, backup = backed_up(tmp_path / "b", save_freq=save_freq)
    assert same(whole, model) and backup.restored_epoch == dies.get("batches", 14) // 5


def test_the_files_are_removed_at_the_end_unless_they_are_to_stay(tmp_path):
    backed_up(tmp_path / "a", DiesAt(7))
    assert files(tmp_path / "a") == ["run-00000002.state"]
    backed_up(tmp_path / "a")
    backed_up(tmp_path / "b", delete_checkpoint=False, double_checkpoint=True)
    assert files(tmp_path) == ["b"] and len(files(tmp_path / "b")) == 2


def test_one_of_the_two_ways_is_enough(tmp_path):
    with pytest.raises(ArgumentError, match="keeps the state of a run in one place"):
        fit(make, tmp_path / "a", callbacks=[BackupAndRestore(tmp_path / "b")])
