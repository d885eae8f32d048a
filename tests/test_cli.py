"""The command line's frame: arguments, exit statuses, one line for each mistake."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

import lamina
from lamina import cli
from lamina.commands import train
from lamina.errors import ArgumentError, LaminaError

SOURCE = Path(str(lamina.__file__)).parents[1]
COMMANDS = {"module": [sys.executable, "-m", "lamina"], "script": [str(Path(sys.executable).with_name("lamina"))]}


def run(arguments, how="module", **environment):
    result = subprocess.run(
        [*COMMANDS[how], *arguments],
        env={**os.environ, "PYTHONPATH": str(SOURCE), "COLUMNS": "100", **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    return result.returncode, result.stdout, result.stderr


def test_the_installed_program_prints_its_version():
    assert run(["--version"], how="script") == (0, f"lamina {lamina.__version__}\n", "")


def test_help_says_what_train_takes_and_writes_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, out, err = run(["train", "--help"])
    assert (status, err) == (0, "")
    for option in ("data", "model", "epochs", "batch-size", "lr", "precision", "image-size", "seed", "out"):
        assert f"--{option} " in out
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["--version"], 0, None),
        (["--help"], 0, None),
        (["train", "--help"], 0, None),
        ([], 2, "lamina: the following arguments are required: COMMAND"),
        (["trian"], 2, "lamina: argument COMMAND: invalid choice: 'trian'"),
        (["train", "--epoks", "3"], 2, "lamina: unrecognized arguments: --epoks 3"),
        (["train", "--lr"], 2, "lamina train: argument --lr: expected one argument"),
        (["train", "stray"], 2, "lamina: unrecognized arguments: stray"),
    ],
)
def test_main_returns_a_status_and_says_in_one_line_what_is_wrong(arguments, status, words, capsys):
    assert cli.main(arguments) == status
    out, err = capsys.readouterr()
    if words is None:
        assert out and err == ""
    else:
        assert out == "" and err.startswith(words) and err.count("\n") == 1 and "--help" in err


def answer(monkeypatch, capsys, error):
    """What the command line says when a command raises `error`."""

    def fail(given):
        raise error

    monkeypatch.setattr(train, "run", fail)
    status = cli.main(["train"])
    out, err = capsys.readouterr()
    assert out == ""
    return status, err


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (LaminaError("It is wrong."), "It is wrong."),
        (LaminaError("It is wrong", fix="mend it"), "It is wrong. Mend it."),
        (LaminaError("It is wrong", fix="did you mean x?"), "It is wrong. Did you mean x?"),
        (LaminaError("It is wrong.", fix="seed=3"), "It is wrong. seed=3."),
        (
            ArgumentError("It is wrong.", expected="a", received="b", fix="use 'c'"),
            "It is wrong (expected a; received b). Use 'c'.",
        ),
        (ArgumentError("It is\nwrong.", received="two\n  lines"), "It is wrong (received two lines)."),
        (FileNotFoundError(2, "No such file or directory", "/a/b"), "No such file or directory: '/a/b'."),
        (OSError("the disk is gone"), "the disk is gone."),
        (MemoryError("Unable to allocate 2 TiB"), "Unable to allocate 2 TiB."),
        (MemoryError(), "MemoryError."),
    ],
)
def test_an_error_is_one_line_and_status_2(monkeypatch, capsys, error, line):
    assert answer(monkeypatch, capsys, error) == (2, f"lamina train: {line}\n")


def test_ctrl_c_is_status_130(monkeypatch, capsys):
    assert answer(monkeypatch, capsys, KeyboardInterrupt()) == (130, "lamina train: interrupted\n")


def test_an_error_of_the_library_itself_is_not_hidden(monkeypatch, capsys):
    with pytest.raises(ZeroDivisionError):
        answer(monkeypatch, capsys, ZeroDivisionError())


def test_a_command_that_ends_well_is_status_0(monkeypatch):
    given = []
    monkeypatch.setattr(train, "run", given.append)
    assert cli.main(["train", "--epochs", "3"]) == 0
    assert given[0].epochs == 3 and given[0].command == "train"


def test_without_arguments_those_of_the_process_are_used(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["lamina", "--version"])
    assert cli.main() == 0
    assert capsys.readouterr().out == f"lamina {lamina.__version__}\n"


def test_a_letter_that_the_terminal_cannot_show_stops_nothing(monkeypatch):
    written = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", written)
    monkeypatch.setattr(train, "run", lambda given: print("猫"))
    assert cli.main(["train"]) == 0
    written.flush()
    assert written.buffer.getvalue().strip() == b"?"
