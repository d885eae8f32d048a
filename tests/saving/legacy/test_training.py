"""Losses, metrics and optimizers of old files: training goes on with the numbers that it had where it was saved."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from legacy_samples import NAMES, arrays_of, edited, loaded, numbered, run

from lamina import losses, metrics, optimizers
from lamina.errors import LoadError, UnknownNameError
from lamina.saving.legacy import LoadReport, load_h5
from lamina.saving.legacy.optimizers import OldNadam, OldRMSprop
from lamina.saving.legacy.training import compile_arguments, read_optimizer

# In graph mode tf_keras 2.11 to 2.21 multiplies Nadam's momentum product up in the wrong places; lamina's is Keras 3's.
TRAINED = [name for name in NAMES if name.startswith("train_") and name != "train_nadam"]


@pytest.mark.parametrize("name", TRAINED)
def test_two_more_steps_give_the_losses_and_weights_that_they_gave_there(name):
    arrays, (model, _) = arrays_of(name), loaded(name)
    found = [model.train_on_batch(arrays["train_x"], arrays["train_y"]) for _ in range(2)]
    np.testing.assert_allclose(found, arrays["losses"], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(run(model, numbered(name, "x"))[0], arrays["after"], rtol=1e-5, atol=1e-5)


def test_without_the_optimizers_state_the_steps_would_be_others():
    arrays, (model, _) = arrays_of("train_adam"), loaded("train_adam")
    model.compile("adam", "mse", metrics=["mae"])
    found = [model.train_on_batch(arrays["train_x"], arrays["train_y"]) for _ in range(2)]
    assert np.abs(np.asarray(found) - arrays["losses"]).max() > 1e-4


def test_the_state_of_nadam_is_restored_too():
    optimizer = loaded("train_nadam")[0].optimizer
    assert optimizer.iterations == 3 and all(float(v.abs().max()) > 0 for v in optimizer.variables)


@pytest.mark.parametrize(
    "name, kind, arguments",
    [
        ("train_sgd_momentum", optimizers.SGD, {"momentum": 0.9, "nesterov": True, "learning_rate": 0.05}),
        ("train_adamw", optimizers.AdamW, {"weight_decay": 0.1}),
        ("train_adam_ema", optimizers.Adam, {"use_ema": True, "ema_momentum": 0.99}),
        ("train_old_adam_amsgrad", optimizers.Adam, {"amsgrad": True, "clipvalue": 0.5}),
        ("train_old_rmsprop", OldRMSprop, {"rho": 0.9, "momentum": 0.0}),
        ("train_old_nadam", OldNadam, {"schedule_decay": 0.004, "learning_rate": 0.01}),
        ("train_ftrl", optimizers.Ftrl, {"l1_regularization_strength": 0.01}),
    ],
)
def test_an_optimizer_has_its_arguments(name, kind, arguments):
    optimizer = loaded(name)[0].optimizer
    assert type(optimizer) is kind and optimizer.iterations == 3
    assert {key: getattr(optimizer, key) for key in arguments} == pytest.approx(arguments, rel=1e-6)


def test_decay_becomes_a_schedule_that_goes_on_from_the_step_of_the_file():
    optimizer = loaded("train_old_adam")[0].optimizer
    assert optimizer.learning_rate == pytest.approx(0.01 / (1 + 0.05 * 3), rel=1e-6)


def test_a_schedule_is_a_schedule_again():
    optimizer = loaded("train_adam_amsgrad")[0].optimizer
    assert optimizer.learning_rate == pytest.approx(0.01 * 0.9**1.5, rel=1e-6)


def test_a_loss_scaling_optimizer_wraps_the_one_inside():
    inner = {"class_name": "Adam", "config": {"lr": 0.5}}
    config = {"inner_optimizer": inner, "dynamic": True, "initial_scale": 1024.0, "dynamic_growth_steps": 100}
    made = read_optimizer({"class_name": "LossScaleOptimizer", "config": config}, {})
    assert isinstance(made, optimizers.LossScaleOptimizer) and made.inner_optimizer.learning_rate == 0.5


@pytest.mark.parametrize("centered", [False, True])
def test_the_old_rmsprop_adds_epsilon_to_the_root(centered):
    weight, grad = torch.nn.Parameter(torch.tensor([1.0])), 3.0
    OldRMSprop(0.1, rho=0.9, epsilon=0.5, centered=centered).apply([torch.tensor([grad])], [weight])
    square, mean = 0.1 * grad**2, 0.1 * grad * centered
    assert weight.item() == pytest.approx(1 - 0.1 * grad / (np.sqrt(square - mean**2) + 0.5), rel=1e-6)


def test_an_optimizer_of_tensorflow_1_is_refused():
    with pytest.raises(LoadError, match="optimizer of TensorFlow 1"):
        read_optimizer({"class_name": "TFOptimizer", "config": {}}, {})


def read(**config):
    return compile_arguments({"optimizer_config": {"class_name": "sgd", "config": {"lr": 0.1}}, **config}, {})


@pytest.mark.parametrize(
    "given, kind",
    [
        ("kullback_leibler_divergence", "kl_divergence"),
        ("logcosh", "log_cosh"),
        ("cosine_proximity", "cosine_similarity"),
        ("mse", "mse"),
        ("categorical_crossentropy", "categorical_crossentropy"),
    ],
)
def test_losses_have_their_old_names(given, kind):
    assert read(loss=given)["loss"] == kind


def test_losses_of_classes_keep_their_arguments():
    config = {"reduction": "auto", "name": "binary_crossentropy", "from_logits": True, "label_smoothing": 0.1}
    loss = read(loss={"class_name": "BinaryCrossentropy", "config": config})["loss"]
    assert isinstance(loss, losses.BinaryCrossentropy) and loss.from_logits and loss.label_smoothing == 0.1
    huber = read(loss=[{"class_name": "Huber", "config": {"delta": 0.5, "reduction": "sum"}}])["loss"]
    assert isinstance(huber, losses.Huber) and (huber.delta, huber.reduction) == (0.5, "sum")


def test_metrics_come_in_every_form():
    wrapped = {"class_name": "MeanMetricWrapper", "config": {"name": "acc", "fn": "sparse_categorical_accuracy"}}
    area = {"class_name": "AUC", "config": {"name": "auc", "num_thresholds": 50, "curve": "PR", "dtype": "float32"}}
    found = read(loss="mse", metrics=[[wrapped, area, "mae", "accuracy"]])["metrics"]
    assert isinstance(found[0], metrics.SparseCategoricalAccuracy) and found[0].name == "acc"
    assert isinstance(found[1], metrics.AUC) and found[1].curve == "PR"
    assert found[2:] == ["mae", "accuracy"]
    assert read(metrics={"main": ["acc"], "other": [None]})["metrics"] == {"main": ["acc"]}
    assert read(metrics=[["acc"], [None]])["metrics"] == [["acc"], []]
    assert read(metrics=None)["metrics"] is None


def test_an_unknown_loss_leaves_the_model_uncompiled_and_says_so(tmp_path):
    def change(file):
        config = json.loads(file.attrs["training_config"])
        file.attrs["training_config"] = json.dumps({**config, "loss": "my_loss"})

    path, report = edited("train_adam", tmp_path / "m.h5", change), LoadReport()
    model = load_h5(path, report=report)
    assert not model.compiled and report.total == report.restored + 1
    assert "There is no loss named 'my_loss'" in str(report)
    with pytest.warns(UserWarning, match="restored 8 of 9, skipped: the training configuration: There is no loss"):
        load_h5(path)
    assert load_h5(path, custom_objects={"my_loss": lambda y, p: (y - p).square().mean(-1)}).compiled


def test_an_optimizer_state_that_does_not_fit_is_skipped_and_reported(tmp_path):
    def change(file):
        names = list(file["optimizer_weights"].attrs["weight_names"])
        file["optimizer_weights"].attrs["weight_names"] = names[:-1]

    report = LoadReport()
    model = load_h5(edited("train_adam", tmp_path / "m.h5", change), report=report)
    assert model.compiled and model.optimizer.iterations == 0
    assert report.skipped == ["the optimizer's state: 5 arrays for velocity of 6 weights"]


def test_an_unknown_optimizer_is_an_error_with_the_nearest_name():
    with pytest.raises(UnknownNameError, match="optimizer named 'Adan'"):
        read_optimizer({"class_name": "Adan", "config": {}}, {})
