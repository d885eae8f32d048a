"""What `save_h5` writes has the form of Keras 2 and comes back as it was; tf_keras, where it is there, reads it."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys

import h5py
import numpy as np
import pytest
import torch
from legacy_samples import NAMES, arrays_of, loaded, numbered, outputs_of, path_of, run

import lamina
from lamina import Input, Model, Sequential, layers, losses, metrics, optimizers
from lamina.errors import ArgumentError, NotBuiltError
from lamina.optimizers.schedules import CosineDecay
from lamina.saving.legacy import LoadReport, load_h5, save_h5, save_h5_weights

# Layers of Keras 1 alone, and graphs with functions that Keras 2 has no name for.
UNWRITABLE = {"keras1_mlp", "keras1_functional", "image_operations", "operations", "operators", "lambda_layer"}


def description(path):
    with h5py.File(path) as file:
        return json.loads(file.attrs["model_config"])


def again(model, path, **options):
    save_h5(model, path, **options)
    return load_h5(path, report=LoadReport())


@pytest.mark.parametrize("name", [n for n in NAMES if n not in UNWRITABLE and not n.startswith("train_")])
def test_a_sample_comes_back_from_what_is_written_of_it(name, tmp_path):
    model, _ = loaded(name)
    found = outputs_of(again(model, tmp_path / "m.h5"), name)
    for one, other in zip(found, numbered(name, "y"), strict=True):
        tolerance = 1e-3 if name == "mixed_precision" else 1e-5
        np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", ["mlp", "lenet", "frozen", "gru", "time_distributed", "shared", "mobilenet_block"])
def test_layers_and_connections_are_written_as_tf_keras_wrote_them(name, tmp_path):
    save_h5(loaded(name)[0], tmp_path / "m.h5")
    written, original = description(tmp_path / "m.h5"), description(path_of(name))
    assert written["class_name"] == original["class_name"]
    entries = {e["config"]["name"]: e for e in written["config"]["layers"]}
    for entry in original["config"]["layers"]:
        own = entries.get(entry["config"]["name"])
        if entry["class_name"] == "InputLayer" and own is None:
            continue
        assert own["class_name"] == entry["class_name"]
        assert own.get("inbound_nodes") == entry.get("inbound_nodes")
        assert own["config"].keys() - {"layers", "trainable"} <= entry["config"].keys() | {
            "zero_output_for_mask",
            "activity_regularizer",
        }
    assert written["config"].get("output_layers") == original["config"].get("output_layers")


@pytest.mark.parametrize(
    "name", ["mlp", "frozen", "bidirectional", "nested", "rnn_cells", "return_state", "normalizations"]
)
def test_arrays_are_written_in_the_order_of_tf_keras(name, tmp_path):
    save_h5(loaded(name)[0], tmp_path / "m.h5")
    with h5py.File(tmp_path / "m.h5") as written, h5py.File(path_of(name)) as original:
        assert written["model_weights"].attrs["backend"] == "tensorflow"
        for layer in original["model_weights"]:
            one, other = written["model_weights"].get(layer), original["model_weights"][layer]
            names = list(other.attrs["weight_names"])
            if not names:
                continue
            for mine, its in zip(one.attrs["weight_names"], names, strict=True):
                np.testing.assert_array_equal(one[mine][()], other[its][()])


@pytest.mark.parametrize("name", [n for n in NAMES if n.startswith("train_") and n != "train_nadam"])
def test_training_goes_on_after_writing_and_reading(name, tmp_path):
    arrays, model = arrays_of(name), again(loaded(name)[0], tmp_path / "m.h5")
    found = [model.train_on_batch(arrays["train_x"], arrays["train_y"]) for _ in range(2)]
    np.testing.assert_allclose(found, arrays["losses"], rtol=1e-5, atol=1e-5)


def test_the_optimizer_may_be_left_out(tmp_path):
    save_h5(loaded("train_adam")[0], tmp_path / "m.h5", include_optimizer=False)
    with h5py.File(tmp_path / "m.h5") as file:
        assert "training_config" not in file.attrs and "optimizer_weights" not in file


def test_losses_metrics_and_schedules_are_described(tmp_path):
    model = Sequential([Input((3,)), layers.Dense(4)])
    loss = losses.SparseCategoricalCrossentropy(from_logits=True)
    judges = ["accuracy", metrics.TopKCategoricalAccuracy(k=2)]
    model.compile(optimizers.Adam(CosineDecay(0.1, 10)), loss, metrics=judges)
    found = again(model, tmp_path / "m.h5")
    assert found.optimizer.learning_rate == pytest.approx(0.1)
    with h5py.File(tmp_path / "m.h5") as file:
        config = json.loads(file.attrs["training_config"])
    assert config["loss"]["config"]["from_logits"] is True and config["metrics"][0] == "accuracy"
    assert config["optimizer_config"]["config"]["learning_rate"]["class_name"] == "CosineDecay"


def test_queries_values_and_keys_find_their_places(tmp_path):
    q, v, k = Input((3, 4)), Input((5, 4)), Input((5, 4))
    model = Model([q, v, k], layers.MultiHeadAttention(2, 3, name="heads")(q, v, key=k))
    data = [np.random.default_rng(i).normal(size=(2, n, 4)).astype("float32") for i, n in enumerate((3, 5, 5))]
    np.testing.assert_allclose(run(again(model, tmp_path / "m.h5"), data)[0], run(model, data)[0], atol=1e-6)
    entry = next(e for e in description(tmp_path / "m.h5")["config"]["layers"] if e["config"]["name"] == "heads")
    assert {"value", "key"} <= entry["inbound_nodes"][0][0][3].keys()


def test_a_loss_that_is_a_function_is_left_out(tmp_path):
    model = Sequential([Input((3,)), layers.Dense(4)])
    model.compile("adam", lambda y, p: (y - p).abs().mean(-1))
    assert not again(model, tmp_path / "m.h5").compiled


def operations():
    x, y = Input((4, 6), name="x"), Input((4, 6), name="y")
    d = layers.Dense(6, name="d")(x)
    outputs = [torch.relu(d) + 1, 2 - d, d * y, d / 3, -d, d @ y.transpose(1, 2), torch.cat([d, y], dim=-1)]
    outputs += [d.mean(dim=1), torch.sum(d, 1, keepdim=True), d[:, 0], d[..., 2:4], torch.softmax(d, dim=-1)]
    outputs += [d.reshape(-1, 24), torch.permute(d, (0, 2, 1)), torch.sigmoid(d).unsqueeze(-1), torch.maximum(d, y)]
    outputs += [
        torch.stack([d, y], dim=1),
        d.clamp(-0.5, 0.5),
        torch.where(d > y, d, y),
        torch.nn.functional.relu(d) ** 2,
    ]
    return Model([x, y], outputs)


def test_functions_of_torch_are_written_as_those_of_tensorflow(tmp_path):
    model, rng = operations(), np.random.default_rng(0)
    data = [rng.normal(size=(2, 4, 6)).astype("float32") for _ in range(2)]
    found = again(model, tmp_path / "m.h5")
    for one, other in zip(run(model, data), run(found, data), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-6)
    kinds = {e["config"].get("function") for e in description(tmp_path / "m.h5")["config"]["layers"]}
    assert {"nn.relu", "__operators__.add", "concat", "math.reduce_mean", "__operators__.getitem", "where"} <= kinds


@pytest.mark.parametrize(
    "layer, what",
    [
        (layers.Activation("hard_sigmoid"), "activation 'hard_sigmoid' is another one there"),
        (layers.RMSNormalization(), "Keras 2 has no RMSNormalization"),
        (layers.TorchModule(torch.nn.Linear(3, 2)), "Keras 2 has no TorchModule"),
        (layers.LayerNormalization(rms_scaling=True), "rms_scaling=True has no counterpart"),
        (layers.Activation(torch.sin), "its activation 'sin'"),
    ],
)
def test_what_keras_2_lacks_is_refused_by_name(layer, what, tmp_path):
    with pytest.raises(ArgumentError, match=what):
        save_h5(Sequential([Input((3,)), layer]), tmp_path / "m.h5")
    assert list(tmp_path.iterdir()) == []


def test_a_function_that_tensorflow_lacks_is_refused_by_name(tmp_path):
    x = Input((3,))
    with pytest.raises(ArgumentError, match="operation 'roll.*' cannot be written"):
        save_h5(Model(x, torch.roll(x, 1, 1)), tmp_path / "m.h5")


def test_an_unbuilt_model_is_refused(tmp_path):
    for write in (save_h5, save_h5_weights):
        with pytest.raises(NotBuiltError, match="no weights to save"):
            write(Sequential([layers.Dense(2)]), tmp_path / "m.h5")


def test_an_old_file_stays_whole_when_writing_fails(tmp_path):
    path = tmp_path / "m.h5"
    path.write_bytes(b"before")
    with pytest.raises(ArgumentError):
        save_h5(Sequential([Input((3,)), layers.RMSNormalization()]), path)
    assert path.read_bytes() == b"before" and len(list(tmp_path.iterdir())) == 1


PROGRAM = """
import sys, numpy as np, tf_keras
model = tf_keras.models.load_model(sys.argv[1])
np.save(sys.argv[2], model(np.load(sys.argv[3])).numpy())
"""


@pytest.mark.skipif(
    importlib.util.find_spec("tf_keras") is None,
    reason="needs tf_keras; recorded: 2.21 loads all that is written of the samples, with equal outputs and losses",
)
def test_tf_keras_reads_what_is_written(tmp_path):
    model = Sequential([Input((5, 3)), layers.Bidirectional(layers.LSTM(4)), layers.Dense(2, activation="relu")])
    save_h5(model, tmp_path / "m.h5")
    x = np.random.default_rng(0).normal(size=(2, 5, 3)).astype("float32")
    np.save(tmp_path / "x.npy", x)
    names = [str(tmp_path / name) for name in ("m.h5", "y.npy", "x.npy")]
    subprocess.run([sys.executable, "-c", PROGRAM, *names], check=True)
    np.testing.assert_allclose(np.load(tmp_path / "y.npy"), run(model, [x])[0], rtol=1e-5, atol=1e-5)


def test_the_version_that_is_written_is_a_keras_2(tmp_path):
    save_h5(lamina.Sequential([Input((3,)), layers.Dense(1)]), tmp_path / "m.h5")
    with h5py.File(tmp_path / "m.h5") as file:
        assert file.attrs["keras_version"].startswith("2.")
