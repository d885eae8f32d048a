"""`lamina plot`: arguments become a picture, mistakes a line."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from lamina import cli
from lamina.commands import plot

PROGRAM = """
from lamina.layers import Dense, Input
from lamina.models import Sequential

net = Sequential([Input((4,)), Dense(3, activation="relu", name="first"), Dense(2, name="last")], name="net")
"""


@pytest.fixture
def program(tmp_path, monkeypatch):
    (tmp_path / "program.py").write_text(PROGRAM)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_model_of_a_program_is_drawn(program, capsys):
    assert cli.main(["plot", "program.py:net", "-o", "net.svg", "--show-shapes", "--show-layer-names"]) == 0
    out, err = capsys.readouterr()
    assert (out, err) == ("Written: net.svg\n", "")
    text = (program / "net.svg").read_text()
    assert "first" in text and "(None, 4)" in text and "relu" not in text


def test_every_option_reaches_the_picture(program, monkeypatch):
    seen = {}

    def record(model, to_file, **options):
        seen.update(options)
        return SimpleNamespace(path=to_file)

    monkeypatch.setattr(plot, "plot_model", record)
    flags = "--show-shapes --show-dtype --show-layer-names --show-layer-activations --show-trainable --expand-nested"
    assert cli.main(["plot", "program.py:net", *flags.split(), "--no-fold", "--rankdir", "LR", "--dpi", "72"]) == 0
    names = [flag.removeprefix("--").replace("-", "_") for flag in flags.split()]
    assert seen == {**dict.fromkeys(names, True), "fold": False, "rankdir": "LR", "dpi": 72, "input_size": None}
    assert cli.main(["plot", "program.py:net"]) == 0
    assert seen == {**dict.fromkeys(names, False), "fold": None, "rankdir": "TB", "dpi": 200, "input_size": None}
    assert cli.main(["plot", "program.py:net", "--input-size", "3,32,32"]) == 0
    assert seen["input_size"] == (3, 32, 32)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["-o", "net.gif"], "lamina plot: plot_model does not write this kind of file"),
        (["-o", "no/net.png"], "lamina plot: The folder of to_file does not exist"),
        (["--rankdir", "UP"], "lamina plot: argument --rankdir: invalid choice: 'UP'"),
        (["--dpi", "0"], "lamina plot: dpi is the number of pixels an inch"),
        (["--dpi", "many"], "lamina plot: argument --dpi: invalid float value: 'many'"),
    ],
)
def test_a_mistake_is_one_line(arguments, words, program, capsys):
    assert cli.main(["plot", "program.py:net", *arguments]) == 2
    err = capsys.readouterr().err
    assert err.startswith(words) and err.count("\n") == 1
    assert [file.name for file in program.iterdir() if file.name != "__pycache__"] == ["program.py"]


def test_help_names_every_option(capsys):
    assert cli.main(["plot", "--help"]) == 0
    out = capsys.readouterr().out
    for option in ("--output", "--show-shapes", "--rankdir", "--expand-nested", "--no-fold", "--dpi"):
        assert option in out
