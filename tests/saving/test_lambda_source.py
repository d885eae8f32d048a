"""Functions as text in files: small ones come back and compute the same, and no text does more than compute."""

from __future__ import annotations

import json
import math
import zipfile

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hostile_files import nothing_happens
from torch import nn

import lamina
from lamina import layers
from lamina.errors import LoadError
from lamina.saving import inspect_model, load_model
from lamina.saving.lambda_source import function_from, source_of

SCALE = 2.5
ELSEWHERE = [1]


def half(x):
    """Half of it."""
    return x / 2


def typed(x: torch.Tensor, power: int = 2) -> torch.Tensor:
    return x**power


def two_steps(x):
    y = x + 1
    return y * 2


FUNCTIONS = {
    "arithmetic": lambda x: x * 2 + 1 - x / 3,
    "a comparison": lambda x: x * (x > 0),
    "slices": lambda x: x[:, 1:3],
    "an ellipsis": lambda x: x[..., None, -1],
    "torch": lambda x: torch.relu(x).sum(dim=-1, keepdim=True),
    "functional": lambda x: F.softmax(x, dim=-1),
    "nn": lambda x: nn.functional.normalize(x, dim=1),
    "a global number": lambda x: x * SCALE,
    "a condition": lambda x: x if x.ndim == 2 else x[None],
    "a list": lambda x: torch.cat([x, x * 2, torch.zeros_like(x)], dim=-1),
    "a shape": lambda x: x.reshape(x.shape[0], 2, 2),
    "a dtype": lambda x: x.to(torch.float64),
    "einsum": lambda x: torch.einsum("bi,bj->bij", x, x),
    "matrix products": lambda x: x @ x.T,
    "a default": lambda x, scale=3.0: x * scale,
    "and, or": lambda x: x.abs() & ~x.abs() if x.dtype == torch.int64 else -x,
    "a chain": lambda x: x + (1 if 0 < x.ndim <= 2 else 0),
    "builtins": lambda x: x[: min(1, len(x.shape))],
    "a def": half,
    "a typed def": typed,
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_small_function_comes_back_and_computes_the_same(name):
    function = FUNCTIONS[name]
    text = source_of(function)
    assert text is not None and text.startswith("lambda x")
    again = function_from(text)
    x = torch.randn(3, 4)
    assert torch.equal(again(x), function(x)) and source_of(again) == text
    assert again.__name__ == "<lambda>"


NOT_WRITTEN = {
    "two statements": two_steps,
    "a global list": lambda x: x + ELSEWHERE[0],
    "another module": lambda x: x * np.float32(2),
    "a function of one's own": lambda x: half(x),
    "an inner function": lambda x: (lambda y: y + 1)(x),
    "a comprehension": lambda x: torch.stack([x * i for i in (1, 2)]),
    "a method that writes": lambda x: x.add_(1),
    "a star": lambda *x: x[0],
    "a file": lambda x: torch.load("x"),
    "a builtin": print,
    "an object": torch.nn.ReLU(),
    "math": lambda x: x * math.pi,
}


@pytest.mark.parametrize("name", NOT_WRITTEN)
def test_what_is_more_than_an_expression_is_not_written(name):
    assert source_of(NOT_WRITTEN[name]) is None


def test_a_function_that_closes_over_something_is_not_written():
    factor = 3
    assert source_of(lambda x: x * factor) is None


def test_one_of_two_lambdas_in_a_line_is_told_from_the_other():
    one, two = (lambda x: x + 1), (lambda x: x - 1)
    assert source_of(one) == "lambda x: x + 1" and source_of(two) == "lambda x: x - 1"


HOSTILE = [
    "__import__('os').system('touch canary')",
    "lambda x: __import__('os').system('touch canary')",
    "lambda x: open('canary', 'w')",
    "lambda x: eval('1')",
    "lambda x: exec('1')",
    "lambda x: x.__class__",
    "lambda x: x.__class__.__mro__[-1].__subclasses__()",
    "lambda x: ().__class__",
    "lambda x: ''.join(['a'])",
    "lambda x: '{0.__class__}'.format(x)",
    "lambda x: torch.load('canary')",
    "lambda x: torch.save(x, 'canary')",
    "lambda x: torch.hub.load('a', 'b')",
    "lambda x: torch.os.system('touch canary')",
    "lambda x: torch.__builtins__",
    "lambda x: torch.nn.functional.torch.os.system('ls')",
    "lambda x: torch.relu.__globals__",
    "lambda x: torch",
    "lambda x: x.register_hook(torch.relu)",
    "lambda x: x.apply_(abs)",
    "lambda x: x.numpy().tofile('canary')",
    "lambda x: x.storage()",
    "lambda x: getattr(x, 'shape')",
    "lambda x: globals()",
    "lambda x: (lambda: 1)()",
    "lambda x: [i for i in (1,)]",
    "lambda x: (y := 1)",
    "lambda x: f'{x}'",
    "lambda x: {**x}",
    "lambda x: {1: 2}",
    "lambda x: torch.relu(*x)",
    "lambda x: torch.relu(**x)",
    "lambda x: x(1)",
    "lambda x: torch.relu(x)(1)",
    "lambda x: (yield)",
    "lambda x: await_",
    "lambda *x: x",
    "lambda **x: x",
    "lambda x=open('canary', 'w'): x",
    "lambda x, y=__import__('os'): x",
    "lambda x: 1j",
    "lambda x: b'a'",
    "lambda x: " + "9" * 300,
    "lambda x: " + "(" * 300 + "x" + ")" * 300,
    "lambda x: " + "-" * 1900 + "x",
    "lambda x: x; import os",
    "import os",
    "",
    "lambda x: x" + " " * 3000,
    "lambda x:\0 x",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_a_text_that_does_more_is_refused_before_it_is_called(text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with nothing_happens(tmp_path), pytest.raises(LoadError, match="does more than compute") as caught:
        function_from(text)
    assert caught.value.fix and not (tmp_path / "canary").exists()


@pytest.mark.parametrize(
    "text",
    [
        "lambda x: 9 ** 9 ** 9",
        "lambda x: '%99999999999d' % 1",
        "lambda x: 'a' * 10 ** 9",
        "lambda x: [1] * 10 ** 9",
        "lambda x: (1, 2).shape",
        "lambda x: 'a'.size",
        "lambda x: x.shape.max()",
    ],
)
def test_numbers_and_texts_cannot_become_huge_and_have_no_methods(text):
    with pytest.raises(LoadError, match="does more than compute"):
        function_from(text)(torch.ones(2))


def test_nothing_but_text_is_taken():
    for value in (None, 3, b"lambda x: x", ["lambda x: x"]):
        with pytest.raises(LoadError, match="does more than compute"):
            function_from(value)


# ---------------------------------------------------------------------- in files
def saved(tmp_path, function):
    model = lamina.Sequential([lamina.Input((4,)), layers.Lambda(function, name="mine"), layers.Dense(2)])
    model.save(tmp_path / "m.keras")
    return model


def test_a_lambda_is_loaded_from_its_text_only_if_asked_to(tmp_path):
    model = saved(tmp_path, lambda x: torch.relu(x) * 2)
    with pytest.raises(LoadError, match="nobody has passed") as caught:
        load_model(tmp_path / "m.keras")
    assert "safe_mode=False" in caught.value.fix and "torch.relu(x) * 2" in caught.value.fix
    with pytest.raises(LoadError):
        load_model(tmp_path / "m.keras", safe_mode=True)
    again = load_model(tmp_path / "m.keras", safe_mode=False)
    x = np.random.randn(5, 4).astype("float32")
    np.testing.assert_allclose(again.predict(x, verbose=0), model.predict(x, verbose=0), rtol=1e-6)
    again.save(tmp_path / "again.keras")
    assert load_model(tmp_path / "again.keras", safe_mode=False).count_params() == model.count_params()


def test_what_the_user_passes_goes_before_the_text(tmp_path):
    saved(tmp_path, half)
    loaded = load_model(tmp_path / "m.keras", custom_objects={"half": half}, safe_mode=False)
    assert loaded.get_layer("mine").function is half


def test_a_function_that_cannot_be_written_is_saved_by_name_as_before(tmp_path):
    saved(tmp_path, two_steps)
    with zipfile.ZipFile(tmp_path / "m.keras") as archive:
        assert '"source"' not in archive.read("config.json").decode()
    with pytest.raises(LoadError, match="two_steps"):
        load_model(tmp_path / "m.keras", safe_mode=False)


@pytest.mark.parametrize("text", HOSTILE[:20])
def test_a_hostile_text_in_a_file_is_refused_in_either_mode(text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    saved(tmp_path, half)
    with zipfile.ZipFile(tmp_path / "m.keras") as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(parts["config.json"])
    config["config"]["layers"][1]["config"]["function"]["source"] = text
    parts["config.json"] = json.dumps(config).encode()
    with zipfile.ZipFile(tmp_path / "evil.keras", "w") as archive:
        for name, data in parts.items():
            archive.writestr(name, data)
    for safe_mode in (True, False):
        with nothing_happens(tmp_path), pytest.raises(LoadError):
            load_model(tmp_path / "evil.keras", safe_mode=safe_mode)
    assert [risk for risk in inspect_model(tmp_path / "evil.keras").risks if "as text" in risk.what and risk.grave]
    assert inspect_model(tmp_path / "m.keras").is_harmless
    assert not (tmp_path / "canary").exists()
