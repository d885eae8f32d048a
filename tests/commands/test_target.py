"""What a command line may name as a model, and what it says of anything else."""

from __future__ import annotations

import sys

import pytest
import torch
from script_modules import forget_modules_of

import lamina
from lamina.commands.target import load_target
from lamina.errors import ArgumentError, LoadError

SCRIPT = """
import dataclasses
import torch
from beside import WIDTH

@dataclasses.dataclass
class Config:
    width: int = WIDTH

model = torch.nn.Linear(2, WIDTH)
number = 3
ran_as = __name__

class Net(torch.nn.Linear):
    def __init__(self, width=4):
        super().__init__(2, width)

class Needs(torch.nn.Module):
    def __init__(self, width, depth, *more, name=None):
        super().__init__()

def make():
    return torch.nn.Linear(2, Config().width)

def breaks():
    raise ValueError("no way")

def nothing():
    return None

class Holder:
    inner = model
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with scripts, and modules of the same names forgotten afterwards."""
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "script_net.py").write_text(SCRIPT)
    (tmp_path / "sub" / "beside.py").write_text("WIDTH = 5\n")
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    forget_modules_of(tmp_path)


def write(folder, name, text):
    (folder / name).write_text(text)


@pytest.mark.parametrize(("name", "width"), [("model", 5), ("Net", 4), ("make", 5), ("Holder.inner", 5)])
def test_a_script_names_a_model_or_what_makes_one(folder, name, width):
    model = load_target(f"sub/script_net.py:{name}")
    assert isinstance(model, torch.nn.Linear) and model.out_features == width
    assert load_target(f"{folder}/sub/script_net.py:{name}").out_features == width


def test_a_script_is_a_module_of_its_own_name_and_leaves_nothing_behind(folder):
    load_target("sub/script_net.py:model")
    assert sys.modules["script_net"].ran_as == "script_net"
    assert sorted(path.name for path in (folder / "sub").iterdir()) == ["beside.py", "script_net.py"]


def test_a_script_does_not_take_the_place_of_a_module_that_is_in_use(folder):
    write(folder, "json.py", "import json, torch\nmodel = torch.nn.Linear(len(json.dumps([])), 1)\n")
    assert load_target("json.py:model").in_features == 2
    assert hasattr(sys.modules["json"], "dumps")


def test_a_module_is_imported_from_the_working_folder_or_elsewhere(folder):
    write(folder, "plain_net.py", "import torch\nmodel = torch.nn.Linear(2, 7)\n")
    assert load_target("plain_net:model").out_features == 7
    assert isinstance(load_target("torch.nn:Identity"), torch.nn.Identity)


def message(text):
    with pytest.raises(ArgumentError) as caught:
        load_target(text)
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("modle", ["There is no 'modle' in 'sub/script_net.py'", "such as model, Net, Needs", "did you mean model?"]),
        ("Holder.iner", ["There is no 'Holder.iner'", "did you mean inner?"]),
        ("number", ["'number' in 'sub/script_net.py' is no model", "a torch.nn.Module", "int '3'"]),
        ("nothing", ["'nothing' in 'sub/script_net.py' makes no model", "NoneType"]),
        ("Config", ["'Config' in 'sub/script_net.py' makes no model", "received: Config"]),
        ("Needs", ["'Needs' in 'sub/script_net.py' cannot be called without", "a class that needs width, depth"]),
        ("breaks", ["Line 26 of 'sub/script_net.py', 'raise ValueError(\"no way\")', raises ValueError: no way"]),
    ],
)  # fmt: skip
def test_a_name_of_no_model_is_refused(folder, name, words):
    said = message(f"sub/script_net.py:{name}")
    assert all(word in said for word in words), said


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("x = 1\n\nx / 0\n", "Line 3 of 'wrong.py', 'x / 0', raises ZeroDivisionError: division by zero"),
        ("x = 1\ny = (\n", "Line 2 of 'wrong.py', 'y = (', raises SyntaxError: '(' was never closed"),
        ("import no_such_thing_here\n", "raises ModuleNotFoundError: No module named 'no_such_thing_here'"),
        ("import sys\nsys.exit(3)\n", "'wrong.py' ends by itself, with sys.exit(3), before there is a model"),
        ("def deep():\n    raise KeyError\n\nimport torch\ntorch.nn.Module().apply(lambda m: deep())\n",
         "Line 2 of 'wrong.py', 'raise KeyError', raises KeyError"),
        ("import torch\ntorch.ones(2).reshape(3)\n", "Line 2 of 'wrong.py', 'torch.ones(2).reshape(3)', raises"),
    ],
)  # fmt: skip
def test_a_script_that_fails_says_where(folder, script, words):
    write(folder, "wrong.py", script)
    assert words in message("wrong.py:model")
    assert "wrong" not in sys.modules


def test_a_script_that_is_interrupted_is_no_mistake(folder):
    write(folder, "stops.py", "raise KeyboardInterrupt\n")
    with pytest.raises(KeyboardInterrupt):
        load_target("stops.py:model")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("sub/script_nett.py:model", ["There is no file 'sub/script_nett.py'", "did you mean 'sub/script_net.py'?"]),
        ("nowhere/script.py:model", ["There is no file 'nowhere/script.py'", "FILE.py:NAME or package.module:NAME"]),
        (
            "sub/script_net.py",
            ["'sub/script_net.py' is a script, and no", "write 'sub/script_net.py:model', say"],
        ),
        ("sub", ["'sub' is a folder, and no model", "FILE.py:NAME"]),
        ("nope.keras", ["There is no file 'nope.keras'"]),
        ("no/pe", ["There is no file 'no/pe'"]),
        ("resnet", ["'resnet' names no model", "FILE.py:NAME or package.module:NAME"]),
        ("sub/script_net.py:", ["'sub/script_net.py:' names no model"]),
        (":model", ["':model' names no model"]),
        ("no_such_module:model", ["There is no module 'no_such_module'"]),
        ("torch.nnn:Linear", ["There is no module 'torch.nnn'"]),
        ("torch nn:Linear", ["'torch nn' is no module's name"]),
        ("torch.nn:Linaer", ["There is no 'Linaer' in module 'torch.nn'", "did you mean Linear?"]),
    ],
)
def test_what_is_nowhere_is_said_to_be(folder, text, words):
    said = message(text)
    assert all(word in said for word in words), said


def test_a_module_that_needs_another_one_says_which(folder):
    write(folder, "needing.py", "import no_such_thing_here\n")
    assert message("needing:model") == "Module 'needing' needs 'no_such_thing_here', which is not installed"


def test_saved_models_are_read_from_their_files(tmp_path):
    model = lamina.Sequential([lamina.Input((3,)), lamina.layers.Dense(2)])
    for name in ("model.keras", "model.h5"):
        model.save(tmp_path / name)
        assert load_target(str(tmp_path / name)).count_params() == 8
    write(tmp_path, "model.json", model.to_json())
    assert load_target(str(tmp_path / "model.json")).count_params() == 8
    write(tmp_path, "bad.keras", "")
    with pytest.raises(LoadError, match="cannot be read as a .keras file"):
        load_target(str(tmp_path / "bad.keras"))
    write(tmp_path, "weights.pt", "")
    with pytest.raises(LoadError, match="holds no model that can be looked at"):
        load_target(str(tmp_path / "weights.pt"))
    assert "is no Python script" in message(f"{tmp_path / 'model.keras'}:model")
