"""`lamina convert`: what can become another format does; what cannot is refused before anything is written."""

from __future__ import annotations

import itertools
import os

import numpy as np
import pytest
import torch

import lamina
from lamina import cli

WHOLE = ("m.keras", "m.h5")
TENSORS = ("w.safetensors", "w.npz", "w.pt")
X = np.linspace(-1, 1, 12).reshape(4, 3).astype("float32")


def network():
    model = lamina.Sequential([lamina.Input((3,)), lamina.layers.Dense(4, activation="tanh"), lamina.layers.Dense(2)])
    model.compile("adam", "mse")
    model.fit(X, np.ones((4, 2), "float32"), verbose=0)
    return model


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def convert(*arguments):
    return cli.main(["convert", *arguments])


@pytest.mark.parametrize(("source", "target"), itertools.permutations(("a.keras", "a.h5", "b.keras", "b.h5"), 2))
def test_whole_models_become_whole_models_with_their_training(folder, source, target):
    model = network()
    model.save(source)
    assert convert(source, target) == 0
    loaded = lamina.saving.load_model(target)
    np.testing.assert_allclose(loaded.predict(X, verbose=0), model.predict(X, verbose=0), atol=1e-6)
    y = np.zeros((4, 2), "float32")
    losses = [m.fit(X, y, epochs=2, verbose=0, shuffle=False).history["loss"] for m in (model, loaded)]
    np.testing.assert_allclose(*losses, rtol=1e-5)


@pytest.mark.parametrize("source", WHOLE)
@pytest.mark.parametrize("target", [*TENSORS, "w.weights.h5"])
def test_weights_leave_a_model_and_come_back_to_it(folder, source, target):
    model = network()
    model.save(source)
    assert convert(source, target) == 0
    fresh = network()
    fresh.save("fresh.keras")
    assert convert(target, "back.h5", "--model", "fresh.keras") == 0
    found = lamina.saving.load_model("back.h5").predict(X, verbose=0)
    np.testing.assert_allclose(found, model.predict(X, verbose=0), atol=1e-6)


@pytest.mark.parametrize(("source", "target"), itertools.permutations(TENSORS, 2))
def test_tensors_by_name_become_one_another_without_a_model(folder, source, target):
    module = torch.nn.Linear(3, 2)
    lamina.saving.save_weights(module, source)
    assert convert(source, target) == 0
    other = torch.nn.Linear(3, 2)
    lamina.saving.load_weights(other, target)
    assert torch.equal(module.weight, other.weight) and torch.equal(module.bias, other.bias)


def test_an_architecture_leaves_a_model_and_makes_a_new_one(folder):
    network().save("m.keras")
    assert convert("m.keras", "m.json") == 0 and convert("m.json", "n.h5") == 0
    assert lamina.saving.load_model("n.h5").count_params() == 26


def test_a_model_becomes_a_program(folder):
    onnxruntime = pytest.importorskip("onnxruntime")
    model = network()
    model.save("m.keras")
    assert convert("m.keras", "m.onnx") == 0
    session = onnxruntime.InferenceSession("m.onnx")
    (found,) = session.run(None, {session.get_inputs()[0].name: X})
    np.testing.assert_allclose(found, model.predict(X, verbose=0), atol=1e-5)


def test_what_was_left_out_is_said(folder, capsys):
    network().save_weights("w.npz")
    other = lamina.Sequential([lamina.Input((3,)), lamina.layers.Dense(4), lamina.layers.Dense(5)])
    other.save("other.keras")
    assert convert("w.npz", "n.keras", "--model", "other.keras", "--skip-mismatch") == 0
    assert "restored 2 of 4, skipped: " in capsys.readouterr().out.replace("\n", " ")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["m.keras", "m.txt"], "'m.txt' has no ending that says a format"),
        (["m.keras", "m.yaml"], "'m.yaml' has no ending that says a format"),
        (["none.keras", "n.h5"], "There is no file 'none.keras'"),
        (["there.h5", "n.keras"], "'there.h5' cannot be read as"),
        (["m.keras", "there.h5"], "'there.h5' is there already. Pass --overwrite"),
        (["w.npz", "n.keras"], "'w.npz' holds weights alone, which do not say what they belong to"),
        (["w.weights.h5", "w.pt"], "'w.weights.h5' holds weights alone"),
        (["text.txt", "n.keras"], "'text.txt' has no ending that says a format"),
    ],
)
def test_mistakes_are_one_line_and_write_nothing(folder, capsys, arguments, words):
    model = network()
    model.save("m.keras")
    model.save_weights("w.npz")
    model.save_weights("w.weights.h5")
    for name in ("there.h5", "text.txt"):
        (folder / name).write_text("no")
    before = sorted(os.listdir())
    capsys.readouterr()
    assert convert(*arguments) == 2
    error = capsys.readouterr().err
    assert words.replace("'", "") in error.replace("'", "") and error.count("\n") == 1
    assert sorted(os.listdir()) == before
