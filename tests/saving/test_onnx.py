"""ONNX files: onnxruntime computes what the model computes, for any batch, under the model's names."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Any

import onnx
import onnxruntime
import pytest
import reference_models as references
import torch
from torch import nn

import lamina
from lamina import layers as L
from lamina.errors import ArgumentError, ExportError, NotBuiltError
from lamina.saving import export

CLOSE = {"rtol": 1e-5, "atol": 1e-5}
NAMES = list(references.REFERENCES)


def run(path: Path, data: Any) -> list[torch.Tensor]:
    """What onnxruntime gives for inputs in order."""
    session = onnxruntime.InferenceSession(path)
    names = [each.name for each in session.get_inputs()]
    found = session.run(None, dict(zip(names, [x.numpy() for x in references.flat(data)], strict=True)))
    return [torch.as_tensor(y) for y in found]


def assert_same(path: Path, model: Any, *batches: Any) -> None:
    for data in batches:
        expected = [y.detach() for y in references.flat(model(data))]
        torch.testing.assert_close(run(path, data), expected, **CLOSE)


def shapes(path: Path) -> dict[str, list[Any]]:
    """Sizes and names of sizes of inputs and outputs."""
    graph = onnx.load(path).graph
    return {
        value.name: [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in [*graph.input, *graph.output]
    }


@pytest.mark.parametrize("name", NAMES)
def test_a_file_gives_what_the_model_gives_for_any_batch(name, tmp_path):
    model, path = references.settled(name), tmp_path / "model.onnx"
    model.export(path)
    assert_same(path, model, *references.batches(name))
    assert [p.name for p in tmp_path.iterdir()] == ["model.onnx"]


@pytest.mark.parametrize("name", ["attention", "several"])
def test_torchs_newer_exporter_can_be_asked_for(name, tmp_path):
    model, path = references.settled(name), tmp_path / "model.onnx"
    model.export(path, dynamo=True)
    assert_same(path, model, *references.batches(name))
    assert onnx.load(path).opset_import[0].version >= 18


def test_inputs_and_outputs_have_the_models_names_and_free_sizes(tmp_path):
    model = references.settled("several")
    model.export(tmp_path / "model.onnx")
    assert shapes(tmp_path / "model.onnx") == {
        "image": ["batch", 6, 6, 1], "age": ["batch", 2], "class": ["batch", 3], "score": ["batch", 1],
    }  # fmt: skip
    text, other = L.Input((None, 3), name="text"), L.Input((4,), batch_size=2, name="left image")
    y, h = L.GRU(3, return_sequences=True, return_state=True, name="gru")(text)
    model = lamina.Model([text, other], [y, h, {"text": L.Dense(2, name="right")(other)}])
    model.export(tmp_path / "other.onnx")
    assert shapes(tmp_path / "other.onnx") == {
        "text": ["batch", "text_1", 3], "left_image": [2, 4],
        "gru": ["batch", "gru_1", 3], "gru_1": ["batch", 3], "right": [2, 2],
    }  # fmt: skip
    lamina.Model(other, {"left_image": -other, "right": other}).export(tmp_path / "third.onnx")
    assert list(shapes(tmp_path / "third.onnx")) == ["left_image", "left_image_1", "right"]
    assert_same(tmp_path / "third.onnx", lamina.Model(other, [-other, other]), torch.randn(2, 4))


@pytest.mark.parametrize("kind", [L.LSTM, L.GRU, L.SimpleRNN])
def test_recurrent_layers_stay_whole_and_take_any_number_of_steps(kind, tmp_path):
    inputs = L.Input((None, 4))
    outputs = [
        kind(3)(inputs),
        kind(3, return_sequences=True, go_backwards=True)(inputs),
        L.Bidirectional(kind(2))(inputs),
    ]
    model, path = lamina.Model(inputs, outputs), tmp_path / "model.onnx"
    model.export(path)
    assert_same(path, model, torch.randn(3, 7, 4), torch.randn(1, 1, 4))
    ops = [node.op_type for node in onnx.load(path).graph.node]
    assert sum(op == kind.__name__.removeprefix("Simple") for op in ops) == 3


def test_masks_are_part_of_the_file(tmp_path):
    ids = L.Input((None,), dtype="int64")
    x = L.Embedding(9, 4, mask_zero=True)(ids)
    y = L.Bidirectional(L.LSTM(3, return_sequences=True))(x)
    model, path = lamina.Model(ids, [y, L.GRU(3)(x), L.GlobalAveragePooling1D()(y)]), tmp_path / "model.onnx"
    model.export(path)
    data = torch.tensor([[1, 2, 0, 0, 3], [4, 0, 0, 0, 0], [1, 1, 2, 3, 4]])
    assert_same(path, model, data, data[:2, :3])


def test_sizes_of_images_may_be_free(tmp_path):
    x = inputs = L.Input((None, None, 3))
    x = L.MaxPooling2D(3, 2, padding="same")(L.Conv2D(4, 5, strides=2, padding="same", activation="relu")(x))
    x = L.UpSampling2D(3)(L.AveragePooling2D(2, padding="same")(x))
    model, path = lamina.Model(inputs, x), tmp_path / "model.onnx"
    model.export(path)
    assert_same(path, model, torch.randn(2, 37, 50, 3), torch.randn(1, 9, 8, 3))


def test_what_the_older_exporter_lacks_is_written_by_the_newer(tmp_path, capfd):
    model = lamina.Sequential([L.Input((6,)), L.RMSNormalization(), L.Dense(2)])
    model.export(tmp_path / "model.onnx")
    assert_same(tmp_path / "model.onnx", model, torch.randn(3, 6), torch.randn(1, 6))
    with pytest.raises(ExportError, match="rms_norm"):
        model.export(tmp_path / "other.onnx", dynamo=False)
    assert capfd.readouterr() == ("", "")
    assert not (tmp_path / "other.onnx").exists()


class Halves(lamina.Model):
    """A subclassed model of two inputs that asks for the type of what it is given, so that only torch follows it."""

    def __init__(self):
        super().__init__()
        self.dense = L.Dense(3)

    def call(self, inputs):
        left, right = inputs
        if isinstance(left, torch.Tensor):
            left = left * 2
        return {"sum": self.dense(left + right), "left": torch.special.expit(left)}


def test_a_subclassed_model_of_several_inputs(tmp_path):
    model, path = Halves(), tmp_path / "model.onnx"
    data = [torch.randn(3, 4), torch.randn(3, 4)]
    model(data)
    model.export(path)
    assert_same(path, model, data, [x[:1] for x in data])
    assert list(shapes(path)) == ["inputs_0", "inputs_1", "sum", "left"]


def test_a_subclassed_model_of_words_takes_whole_numbers(tmp_path):
    class Words(lamina.Model):
        def __init__(self):
            super().__init__()
            self.table, self.head = L.Embedding(9, 4), L.Dense(2)

        def call(self, ids):
            return self.head(self.table(ids).mean(1))

    model, path = Words(), tmp_path / "model.onnx"
    data = torch.randint(0, 9, (3, 5))
    model(data)
    model.export(path)
    assert_same(path, model, data, data[:1])
    model.export(path, input_signature=data.to(torch.int32))
    assert_same(path, model, data.to(torch.int32))


def test_a_signature_gives_other_sizes(tmp_path):
    model, path = references.settled("mlp"), tmp_path / "model.onnx"
    model.export(path, input_signature=(5, 12))
    assert next(iter(shapes(path).values())) == [5, 12]
    model.export(path, input_signature=[L.InputSpec(shape=(None, 12))])
    assert_same(path, model, torch.randn(3, 12))
    with pytest.raises(ArgumentError, match="input_signature"):
        model.export(path, input_signature=[(None, 12), (None, 3)])
    with pytest.raises(ArgumentError, match="input_signature"):
        model.export(path, input_signature="float32")


def test_torch_modules_and_functions_are_part_of_the_file(tmp_path):
    x = inputs = L.Input((3, 8, 8))
    x = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())(x)
    x = L.Lambda(lambda t: nn.functional.normalize(t, dim=1))(x)
    low, high = torch.chunk(x, 2, dim=1)
    model, path = lamina.Model(inputs, torch.flatten(low * torch.sin(high), 1)[:, ::3]), tmp_path / "model.onnx"
    model.export(path)
    assert_same(path, model, torch.randn(3, 3, 8, 8))


def test_the_version_of_the_operators_can_be_chosen(tmp_path):
    model = references.settled("attention")
    model.export(tmp_path / "model.onnx")
    model.export(tmp_path / "older.onnx", opset_version=15)
    versions = [onnx.load(tmp_path / name).opset_import[0].version for name in ("model.onnx", "older.onnx")]
    assert versions == [17, 15]
    assert_same(tmp_path / "older.onnx", model, references.batches("attention")[1])


def test_weights_may_go_to_a_file_beside_it(tmp_path):
    model, path = references.settled("lenet"), tmp_path / "model.onnx"
    model.export(path, external_data=True)
    assert_same(path, model, references.batches("lenet")[1])
    model = lamina.Sequential([L.Input((32,)), L.Dense(64)])
    model.export(path, external_data=True)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model.onnx", "model.onnx.data"]
    assert path.stat().st_size < 4 * model.count_params() <= 256 + (tmp_path / "model.onnx.data").stat().st_size
    assert_same(path, model, torch.randn(3, 32))


def test_a_model_too_large_for_one_file_becomes_two(tmp_path, monkeypatch):
    monkeypatch.setattr("lamina.saving.exporting.onnx_files._LIMIT", 4000)
    for units, files in [(10, ["model.onnx"]), (64, ["model.onnx", "model.onnx.data"])]:
        lamina.Sequential([L.Input((32,)), L.Dense(units)]).export(tmp_path / "model.onnx")
        assert sorted(p.name for p in tmp_path.iterdir()) == files


def test_a_failure_leaves_the_file_that_was_there(tmp_path, monkeypatch):
    model, path = references.settled("mlp"), tmp_path / "model.onnx"
    path.write_bytes(b"before")
    with pytest.raises(ArgumentError):
        model.export(path, opset=17)
    with pytest.raises(ExportError):
        lamina.Sequential([L.Input((6,)), L.RMSNormalization()]).export(path, dynamo=False)
    monkeypatch.setattr(Path, "write_bytes", lambda self, data: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        model.export(path)
    assert path.read_bytes() == b"before" and [p.name for p in tmp_path.iterdir()] == ["model.onnx"]


def test_exporting_is_silent_and_leaves_the_model_as_it_was(tmp_path, capfd):
    model = references.settled("cnn")
    model.train()
    model.layers[-1].eval()
    modes, state = [part.training for part in model.modules()], torch.get_rng_state()
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    model.export(tmp_path / "model.onnx")
    assert capfd.readouterr() == ("", "")
    model.export(tmp_path / "model.onnx", verbose=True)
    assert str(tmp_path / "model.onnx") in capfd.readouterr().out
    assert [part.training for part in model.modules()] == modes and torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(weights[name], value) for name, value in model.state_dict().items())


@pytest.mark.parametrize(
    "given, words",
    [
        ({"filepath": "model"}, [".onnx", ".pt2"]),
        ({"filepath": "model.h5"}, ["model.h5", "onnx", "torch_export"]),
        ({"filepath": "model", "format": "tf_saved_model"}, ["tf_saved_model", "torch_export", "TensorFlow"]),
        ({"filepath": "model.onnx", "opset": 13}, ["opset_version", "opset=13"]),
        ({"filepath": "model.pt2", "opset_version": 13}, ["torch_export", "opset_version"]),
    ],
)
def test_unknown_formats_and_arguments_are_refused(given, words, tmp_path):
    with pytest.raises(ArgumentError) as caught:
        references.settled("mlp").export(**{**given, "filepath": tmp_path / given["filepath"]})
    assert all(word in str(caught.value) for word in words), caught.value
    assert list(tmp_path.iterdir()) == []


def test_a_missing_package_is_named(tmp_path, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "onnx" else find(name, *rest))
    with pytest.raises(ArgumentError, match=r"(?s)no onnx.*pip install 'lamina\[onnx\]'"):
        references.settled("mlp").export(tmp_path / "model.onnx")


def test_an_unbuilt_model_is_refused(tmp_path):
    with pytest.raises(NotBuiltError, match="not built"):
        lamina.Sequential([L.Dense(3)]).export(tmp_path / "model.onnx")
    with pytest.raises(FileNotFoundError):
        export(references.settled("mlp"), tmp_path / "nowhere" / "model.onnx")


def test_onnx_is_imported_only_for_an_onnx_file():
    packages = ("onnx", "onnxscript", "onnxruntime", "torch.onnx._internal.exporter")
    code = f"import sys, lamina, lamina.saving, lamina.models; sys.exit(any(p in sys.modules for p in {packages}))"
    environment = {"PYTHONPATH": str(Path(str(lamina.__file__)).parents[1])}
    assert subprocess.run([sys.executable, "-c", code], env=environment, check=False).returncode == 0
