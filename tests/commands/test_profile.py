"""`lamina profile`: a table, figures in a file, one line for each mistake."""

from __future__ import annotations

import json

import pytest

from lamina.cli import main

NETWORKS = """
import torch


class Two(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = torch.nn.Linear(2, 4), torch.nn.Linear(3, 4)

    def forward(self, x, y):
        return self.a(x) + self.b(y)


one, two = torch.nn.Sequential(torch.nn.Linear(3, 2)), Two()
"""


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    """Runs `lamina profile`; gives the exit status, stdout and stderr."""

    (tmp_path / "net.py").write_text(NETWORKS)
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        return main(["profile", *arguments]), *capsys.readouterr()

    return call


def test_a_table_is_shown(run):
    status, out, err = run("net.py:one", "--input-size", "3", "--batch-size", "4")
    assert (status, err) == (0, "")
    assert "Sequential: Sequential, a step of training, batch of 4" in out and "0 (Linear)" in out


def test_figures_are_written_to_a_file(run, tmp_path):
    status, out, _ = run("net.py:two", "--input-size", "2", "--input-size", "(3,)", "--no-train", "--json", "a.json")
    assert status == 0 and "inference" in out
    found = json.loads((tmp_path / "a.json").read_text())
    assert found["input_shapes"] == [[32, 2], [32, 3]] and not found["train"]
    assert {row["name"] for row in found["rows"]} == {"a", "b", "outside layers"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "the following arguments are required: TARGET"),
        (["net.py:one", "--input-size", "3,y"], "'3,y' is no shape, such as 3,32,32"),
        (["net.py:one", "--input-size", "0"], "'0' is no shape"),
        (["net.py:one", "--batch-size", "0"], "no whole number above zero"),
        (["net.py:one"], "--input-size 3,32,32 gives it"),
        (["net.py:one", "--input-size", "4"], "Sequential fails at '0'"),
        (["nothing.py", "--input-size", "4"], "nothing.py"),
        (["net.py:one", "--input-size", "3", "--json", "no/such/a.json"], "There is no such folder"),
    ],
)
def test_a_mistake_is_one_line(run, arguments, words):
    status, out, err = run(*arguments)
    assert (status, out) == (2, "") and words in err and err.count("\n") == 1
