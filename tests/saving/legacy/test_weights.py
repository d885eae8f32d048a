"""Weights of old files in models that somebody has made, in order or by name, and old layouts of arrays."""

from __future__ import annotations

import json

import h5py
import numpy as np
import pytest
import torch
from legacy_samples import edited, numbered, outputs_of, path_of, run

from lamina import Model, Sequential
from lamina.errors import LoadError, WeightsError
from lamina.layers import GRU, LSTM, BatchNormalization, Bidirectional, Conv2D, Dense, Dropout, Input, Softmax
from lamina.saving.legacy import LoadReport, load_h5, load_h5_weights, save_h5, save_h5_weights, writing
from lamina.saving.legacy.layouts import Origin, converted


def mlp(**names):
    return Sequential(
        [
            Input((8,)),
            Dense(16, activation="relu", name=names.get("first", "dense")),
            Dropout(0.3),
            Dense(8, activation="elu", name=names.get("second", "dense_1")),
            Dense(3, activation="softmax", name=names.get("third", "dense_2")),
        ]
    )


def test_layers_take_weights_in_order_whatever_their_names():
    model = mlp(first="a", second="b", third="c")
    report = load_h5_weights(model, path_of("mlp"))
    assert (report.restored, report.total, report.skipped) == (6, 6, [])
    np.testing.assert_allclose(outputs_of(model, "mlp")[0], numbered("mlp", "y")[0], atol=1e-6)


def test_by_name_layers_that_are_not_in_the_file_keep_theirs_and_the_report_names_what_is_left():
    model = mlp(second="new")
    before = model.get_layer("new").get_weights()
    report = load_h5_weights(model, path_of("mlp"), by_name=True)
    assert (report.restored, report.total) == (4, 6)
    assert report.skipped == ["dense_1: the model has no layer of that name"]
    assert str(report) == "restored 4 of 6, skipped: dense_1: the model has no layer of that name"
    np.testing.assert_array_equal(before[0], model.get_layer("new").get_weights()[0])
    with h5py.File(path_of("mlp")) as file:
        expected = file["model_weights/dense_2/dense_2/kernel:0"][()]
    np.testing.assert_array_equal(model.get_layer("dense_2").get_weights()[0], expected)


def test_by_name_an_inserted_layer_moves_nothing():
    """With one more layer before it, a layer still finds its weights."""
    model = Sequential([Input((8,)), Dense(8, name="inserted"), *mlp().layers])
    load_h5_weights(model, path_of("mlp"), by_name=True)
    tail = Sequential([Input((8,)), *model.layers[1:]])
    np.testing.assert_allclose(outputs_of(tail, "mlp")[0], numbered("mlp", "y")[0], atol=1e-6)


def test_a_layer_of_another_size_is_an_error_that_changes_nothing():
    model = Sequential([Input((8,)), Dense(16, name="dense"), Dense(9, name="dense_1"), Dense(3, name="dense_2")])
    before = model.get_weights()
    for by_name in (False, True):
        with pytest.raises(WeightsError, match=r"layer 'dense_1' has another shape") as caught:
            load_h5_weights(model, path_of("mlp"), by_name=by_name)
        assert caught.value.expected == "kernel (16, 9)" and caught.value.received == "shape (16, 8)"
    for one, other in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_skip_mismatch_leaves_such_a_layer_alone_and_reports_it():
    model = Sequential([Input((8,)), Dense(16, name="dense"), Dense(9, name="dense_1"), Dense(3, name="dense_2")])
    before = model.get_layer("dense_1").get_weights()[0]
    report = load_h5_weights(model, path_of("mlp"), by_name=True, skip_mismatch=True)
    assert (report.restored, report.total) == (2, 6)
    assert [line.partition(":")[0] for line in report.skipped] == ["dense_1", "dense_2"]
    assert "another shape" in report.skipped[0]
    np.testing.assert_array_equal(before, model.get_layer("dense_1").get_weights()[0])


def test_another_number_of_layers_is_an_error_that_names_them():
    with pytest.raises(WeightsError, match="holds the weights of 3 layers, and the model has 2") as caught:
        load_h5_weights(Sequential([Input((8,)), Dense(16, name="a"), Dense(8, name="b")]), path_of("mlp"))
    assert caught.value.expected == "a, b" and caught.value.received == "dense, dense_1, dense_2"


def test_an_unbuilt_model_says_how_to_build_it():
    with pytest.raises(WeightsError, match="has 0 with weights") as caught:
        load_h5_weights(Sequential([Dense(16)]), path_of("mlp"))
    assert "model.build" in caught.value.fix


def test_a_file_without_weights_is_told(tmp_path):
    with h5py.File(tmp_path / "empty.h5", "w") as file:
        file["a"] = [1.0]
    with pytest.raises(LoadError, match="holds no weights of layers"):
        load_h5_weights(mlp(), tmp_path / "empty.h5")
    with pytest.raises(LoadError, match="holds no model"):
        load_h5(tmp_path / "empty.h5")


def test_weights_of_nested_models_lie_flat_with_statistics_behind():
    base = Sequential([Input((4,)), Dense(6), BatchNormalization(), Dense(5)], name="base")
    base.trainable = False
    head = Sequential([Input((5,)), BatchNormalization(), Dense(4), BatchNormalization()], name="head")
    head.layers[1].trainable = False
    model = Sequential([Input((4,)), base, BatchNormalization(trainable=False), head, Dense(2)])
    assert load_h5_weights(model, path_of("frozen")).skipped == []
    np.testing.assert_allclose(outputs_of(model, "frozen")[0], numbered("frozen", "y")[0], rtol=1e-5, atol=1e-5)


def test_a_long_list_of_names_is_cut_into_several_attributes(tmp_path, monkeypatch):
    monkeypatch.setattr(writing, "_MOST_BYTES", 24)
    model = mlp()
    save_h5(model, tmp_path / "m.h5")
    with h5py.File(tmp_path / "m.h5") as file:
        assert {"layer_names0", "layer_names1"} <= set(file["model_weights"].attrs)
    found = load_h5(tmp_path / "m.h5")
    x = np.ones((2, 8), "float32")
    np.testing.assert_array_equal(run(found, [x])[0], run(model, [x])[0])


def test_a_slash_in_a_name_becomes_a_line_and_still_finds_its_weights(tmp_path):
    def change(file):
        group = file["model_weights"]
        names = [name.replace("dense_1", "block/dense_1") for name in group.attrs["layer_names"]]
        group.attrs["layer_names"] = names
        group.create_group("block")
        group.move("dense_1", "block/dense_1")
        text = file.attrs["model_config"].replace('"name": "dense_1"', '"name": "block/dense_1"')
        file.attrs["model_config"] = text

    path = edited("mlp", tmp_path / "m.h5", change)
    model = load_h5(path, compile=False)
    assert [layer.name for layer in model.layers] == ["dense", "dropout", "block_dense_1", "dense_2"]
    np.testing.assert_allclose(outputs_of(model, "mlp")[0], numbered("mlp", "y")[0], atol=1e-6)
    assert load_h5_weights(mlp(second="block_dense_1"), path, by_name=True).skipped == []


def test_weights_alone_come_back_from_a_file_of_weights(tmp_path):
    model = load_h5(path_of("time_distributed"))
    save_h5_weights(model, tmp_path / "w.h5")
    other = load_h5(path_of("time_distributed"))
    for tensor in other.weights:
        tensor.data.zero_()
    report = LoadReport()
    assert load_h5_weights(other, tmp_path / "w.h5", report=report) is report and report.restored == len(other.weights)
    for one, two in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)


# ---------------------------------------------------------------------- layouts
RNG = np.random.default_rng(0)


def test_cudnn_kernels_are_turned_gate_by_gate():
    kernel, recurrent, bias = RNG.normal(size=(2, 12)), RNG.normal(size=(3, 12)), RNG.normal(size=24)
    cell = LSTM(3).cell
    found = converted(cell, [kernel, recurrent, bias], [(2, 12), (3, 12), (12,)], Origin("2.2", "tensorflow"))
    gate = kernel[:, 3:6]
    np.testing.assert_array_equal(found[0][:, 3:6], gate.ravel().reshape(3, 2).T)
    np.testing.assert_array_equal(found[1][:, 3:6], recurrent[:, 3:6].T)
    np.testing.assert_allclose(found[2], bias[:12] + bias[12:])


def test_a_gru_of_another_kind_is_told_by_its_bias():
    model = Sequential([Input((3, 2)), GRU(4, name="gru")])
    with pytest.raises(WeightsError, match="another reset_after") as caught:
        converted(
            model.layers[0].cell,
            [np.zeros((2, 12)), np.zeros((4, 12)), np.zeros(12)],
            [(2, 12), (4, 12), (2, 12)],
            Origin("2.2", ""),
        )
    assert "reset_after=False" in caught.value.fix


@pytest.mark.parametrize("backend, mirrored", [("theano", True), ("tensorflow", False), ("cntk", False)])
def test_only_theano_mirrors_kernels(backend, mirrored):
    layer = Sequential([Input((5, 5, 2)), Conv2D(4, 3)]).layers[0]
    kernel = RNG.normal(size=(3, 3, 2, 4))
    found = converted(layer, [kernel, np.zeros(4)], [(3, 3, 2, 4), (4,)], Origin("2.1.0", backend))[0]
    np.testing.assert_array_equal(found, kernel[::-1, ::-1] if mirrored else kernel)


def test_halves_of_a_bidirectional_layer_do_not_change_places():
    x = Input((4, 3))
    model = Model(x, Bidirectional(LSTM(2), name="both")(x))
    arrays = [RNG.normal(size=s).astype("float32") for s in [(3, 8), (2, 8), (8,)] * 2]
    model.set_weights(arrays)
    layer = model.get_layer("both")
    np.testing.assert_array_equal(layer.forward_layer.get_weights()[0], arrays[0])
    np.testing.assert_array_equal(layer.backward_layer.get_weights()[0], arrays[3])


def test_arrays_far_larger_than_their_layer_are_not_read(tmp_path):
    def change(file):
        group = file["model_weights/dense/dense"]
        del group["kernel:0"]
        group.create_dataset("kernel:0", (4000, 4000), "float32", compression="gzip", fillvalue=1.0)[...] = 0.0

    with pytest.raises(WeightsError, match="larger than the layer's"):
        load_h5(edited("mlp", tmp_path / "m.h5", change))


def test_a_config_of_another_size_than_the_weights_takes_no_memory(tmp_path):
    def change(file):
        config = json.loads(file.attrs["model_config"])
        config["config"]["layers"][1]["config"]["units"] = 900_000_000
        file.attrs["model_config"] = json.dumps(config)

    with pytest.raises(LoadError, match="larger than the weights in it"):
        load_h5(edited("mlp", tmp_path / "m.h5", change))


def test_softmax_has_no_weights_to_miss():
    model = Sequential([Input((8,)), *mlp().layers, Softmax()])
    assert load_h5_weights(model, path_of("mlp")).restored == 6
    assert torch.isfinite(torch.as_tensor(run(model, [np.ones((1, 8), "float32")])[0])).all()
