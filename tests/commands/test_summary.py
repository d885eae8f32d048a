"""`lamina summary`, from arguments to what is written."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from script_modules import forget_modules_of

import lamina
from lamina import cli
from lamina.commands import summary
from lamina.inspection import Failure, Report, Row

SOURCE = Path(str(lamina.__file__)).parents[1]
SCRIPT = """
import torch
from lamina.layers import Dense, Input
from lamina.models import Sequential
print("said by the script")
inner = Sequential([Input((4,)), Dense(3, name="deep")], name="inner")
model = Sequential([Input((4,)), inner, Dense(2, name="last", trainable=False)], name="net")
unbuilt = Sequential([Dense(2)], name="unbuilt")
plain = torch.nn.Linear(2, 2)
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "net_script.py").write_text(SCRIPT)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    forget_modules_of(tmp_path)


@pytest.fixture
def run(folder, capsys):
    def run(*arguments, name="model"):
        status = cli.main(["summary", f"net_script.py:{name}", *arguments])
        return status, *capsys.readouterr()

    return run


def test_the_table_is_written_and_nothing_else(run):
    status, out, err = run()
    assert status == 0 and err == "said by the script\n"
    assert out.splitlines()[0] == "Sequential: net" and "last (Dense)" in out and "deep" not in out
    assert "Total params: 23 (92.00 B)" in out and "\x1b" not in out


def test_options_reach_the_table(run):
    assert "\n  deep (Dense)" in run("--expand-nested")[1]
    titles = run("--show-trainable", "--flops", "--memory")[1].splitlines()[1]
    assert titles.split()[-3:] == ["Trained", "FLOPs", "Memory"]
    assert "Output Shape" in run("--style", "keras2")[1] and "Sequential-1" in run("--style", "torch")[1]
    lines = run("--style", "keras2", "--line-length", "70")[1].splitlines()
    assert lines[0] == "_" * 70


@pytest.mark.parametrize(("arguments", "fold"), [((), None), (("--no-fold",), False)])
def test_folding_is_up_to_the_table_unless_refused(run, monkeypatch, arguments, fold):
    seen = []
    monkeypatch.setattr(summary, "print_report", lambda report, **options: seen.append(options["fold"]))
    assert run(*arguments)[0] == 0 and seen == [fold]


@pytest.mark.parametrize(
    ("sizes", "expected"), [([], None), (["3,32,32"], (3, 32, 32)), (["(4,)", "8x8x1"], [(4,), (8, 8, 1)])]
)
def test_sizes_of_inputs_are_handed_on(run, monkeypatch, sizes, expected):
    seen = []

    def measured(model, input_size, **options):
        seen.append(input_size)
        return Report("net", "Net", [], 0, 0, 0)

    monkeypatch.setattr(summary, "measure", measured)
    assert run(*[word for size in sizes for word in ("--input-size", size)])[0] == 0
    assert seen == [expected]


def test_markdown_html_and_json(run):
    assert "| last (Dense) | (None, 2) | 8 | no |" in run("--format", "markdown", "--show-trainable")[1]
    assert run("--format", "html")[1].startswith('<div class="lamina-summary">')
    status, out, _ = run("--format", "json", "--expand-nested")
    data = json.loads(out)
    assert status == 0 and data["total_params"] == 23
    assert [row["name"] for row in data["rows"]] == ["inner", "deep", "last"]


def test_numbers_that_json_does_not_have_are_text(run, monkeypatch):
    row = Row("a", "Dense", call_shapes=[{1: (None, 2)}], config={"limit": float("inf"), "none": float("nan")})
    monkeypatch.setattr(summary, "measure", lambda *args, **options: Report("net", "Net", [row], 0, 0, 0))
    data = json.loads(run("--format", "json")[1], parse_constant=pytest.fail)
    assert data["rows"][0]["config"] == {"limit": "inf", "none": "nan"}
    assert data["rows"][0]["call_shapes"] == [{"1": [None, 2]}]


@pytest.mark.parametrize("form", summary.FORMATS)
def test_a_model_that_fails_is_shown_and_status_2(run, monkeypatch, form):
    report = Report("net", "Net", [Row("a", "Dense", failed=True)], 0, 0, 0, failure=Failure("a", "It does not fit."))
    monkeypatch.setattr(summary, "measure", lambda *args, **options: report)
    status, out, _ = run("--format", form)
    assert status == 2 and "It does not fit." in out and ("FAILED" in out or form == "json")


@pytest.mark.parametrize("name", ["unbuilt", "plain"])
def test_a_model_without_an_input_shape_is_told_how_to_get_one(run, name):
    status, out, err = run(name=name)
    assert (status, out) == (2, "")
    assert err.startswith("said by the script\nlamina summary: ") and err.count("\n") == 2
    assert "--input-size 3,32,32 gives it, say" in err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--input-size", "3,a"], "argument --input-size: '3,a' is no shape, such as 3,32,32"),
        (["--input-size", "0,3"], "'0,3' is no shape"),
        (["--line-length", "-1"], "'-1' is no whole number above zero"),
        (["--line-length", "0"], "'0' is no whole number above zero"),
        (["--style", "keras3"], "argument --style: invalid choice: 'keras3'"),
        (["--format", "pdf"], "argument --format: invalid choice: 'pdf'"),
        (["--format", "json", "--style", "torch"], "--style is for tables (received --format json)"),
        (["--format", "html", "--line-length", "80"], "--line-length is for tables (received --format html)"),
    ],
)
def test_mistakes_are_one_line_and_status_2(run, arguments, words):
    status, out, err = run(*arguments)
    assert (status, out) == (2, "") and words in err and err.count("\n") == 1 and err.startswith("lamina summary: ")


def test_a_target_that_is_nowhere_is_one_line_and_status_2(folder, capsys):
    for text in ("net_scrip.py:model", "net_script.py:modl", "net_script.py", "nope:model"):
        assert cli.main(["summary", text]) == 2
        out, err = capsys.readouterr()
        assert out == "" and err.replace("said by the script\n", "").count("\n") == 1


def test_the_program_itself(folder):
    result = subprocess.run(
        [sys.executable, "-m", "lamina", "summary", "net_script.py:model", "--style", "keras2"],
        env={**os.environ, "PYTHONPATH": str(SOURCE), "PYTHONIOENCODING": "utf-8", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    assert (result.returncode, result.stderr) == (0, "said by the script\n")
    assert result.stdout.splitlines()[3] == "inner (Sequential)           (None, 3)                 15        "
