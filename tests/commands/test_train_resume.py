"""`lamina train --resume`: the same command goes on after it was killed, to the same weights."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import lamina

SOURCE = Path(str(lamina.__file__)).parents[1]
FILES = ["curves.png", "history.csv", "history.json", "results.json", "weights.safetensors"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory, images):
    """The folder of a run of 40 epochs that nobody disturbs, without --resume."""
    folder = tmp_path_factory.mktemp("whole")
    assert command(folder, images, "--out", "out").wait() == 0
    return folder / "out"


def command(folder, images, *arguments):
    """`lamina train` in a process of its own."""
    fixed = ["--data", str(images), "--image-size", "16", "--epochs", "40", "--batch-size", "8", "--seed", "3"]
    return subprocess.Popen(
        [sys.executable, "-m", "lamina", "train", *fixed, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(SOURCE), "PYTHONIOENCODING": "utf-8", "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    )


def ended_with_a_state(process, kept, number):
    """Send a signal as soon as a state of the run lies behind its beginning; gives the exit status."""
    limit = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < limit:
        if len(list(kept.glob("run-*.state"))) >= 2:
            process.send_signal(number)
            break
        time.sleep(0.005)
    return process.wait()


def test_a_killed_command_goes_on_and_ends_like_one_that_was_not(tmp_path, images, whole):
    kept = tmp_path / "kept"
    assert ended_with_a_state(command(tmp_path, images, "--resume", "kept"), kept, signal.SIGKILL) == -signal.SIGKILL
    process = command(tmp_path, images, "--resume", "kept")
    out, err = process.communicate()
    assert process.returncode == 0 and "lamina: the run in kept goes on with epoch" in err, err
    result = kept / "result"
    assert sorted(os.listdir(result)) == FILES and "Written to kept/result: " in out
    assert (result / "weights.safetensors").read_bytes() == (whole / "weights.safetensors").read_bytes()
    assert (result / "history.json").read_bytes() == (whole / "history.json").read_bytes()
    assert (result / "history.csv").read_bytes() == (whole / "history.csv").read_bytes()
    arguments = [json.loads((folder / "results.json").read_text())["arguments"] for folder in (result, whole)]
    assert arguments[0] == arguments[1]


def test_a_run_at_its_end_is_not_made_again(train, tmp_path):
    assert train("--resume", "kept")[0] == 0
    before = (tmp_path / "kept" / "result" / "results.json").read_bytes()
    status, out, err = train("--resume", "kept")
    assert (status, err) == (0, "") and "The run is at its end: kept/result" in out and "Epoch" not in out
    assert (tmp_path / "kept" / "result" / "results.json").read_bytes() == before
    status, out, _ = train("--resume", "kept", "--out", "again")  # the training is not made again, its results are
    assert status == 0 and "Epoch" not in out
    weights = [tmp_path / folder / "weights.safetensors" for folder in ("kept/result", "again")]
    assert weights[0].read_bytes() == weights[1].read_bytes()


def test_ctrl_c_leaves_a_run_that_can_go_on_and_no_results(train, tmp_path, monkeypatch):
    steps = []
    fetch = lamina.commands.jitter.Jittered.__getitem__

    def interrupts(self, index):
        steps.append(index)
        if len(steps) == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return fetch(self, index)

    with monkeypatch.context() as patched:
        patched.setattr(lamina.commands.jitter.Jittered, "__getitem__", interrupts)
        assert train("--resume", "kept")[0] == 130
    assert not (tmp_path / "kept" / "result").exists()
    status, _, err = train("--resume", "kept")
    assert status == 0 and "goes on with epoch 1, batch 3" in err
    assert train("--out", "whole")[0] == 0
    weights = [tmp_path / folder / "weights.safetensors" for folder in ("kept/result", "whole")]
    assert weights[0].read_bytes() == weights[1].read_bytes()


def test_other_arguments_are_refused(train, tmp_path):
    assert train("--resume", "kept")[0] == 0
    status, _, err = train("--resume", "kept", "--lr", "0.1", "--seed", "5")
    assert status == 2 and err.count("\n") == 1
    for words in ("The run in 'kept' was begun with other arguments", "--lr 0.003, --seed 0", "--lr 0.1, --seed 5"):
        assert words in err


@pytest.mark.parametrize("content", ["", "{", "[]", "3"])
def test_a_folder_with_something_else_is_refused(train, tmp_path, content):
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "arguments.json").write_text(content)
    status, _, err = train("--resume", "kept")
    assert status == 2 and "'kept' holds no run that can be resumed" in err and err.count("\n") == 1


def test_a_file_in_place_of_the_folder_is_refused(train, tmp_path):
    (tmp_path / "kept").write_text("mine")
    status, _, err = train("--resume", "kept")
    assert status == 2 and err.count("\n") == 1 and (tmp_path / "kept").read_text() == "mine"
