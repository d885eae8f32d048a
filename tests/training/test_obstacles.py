"""What keeps a model from being compiled unasked."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import lamina
from lamina import layers, metrics
from lamina.training.obstacles import obstacle_to_compiling, setting_of


def net(*inside: Any, shape: tuple[int, ...] = (4,)) -> Any:
    model = lamina.Sequential([layers.Input(shape), *inside, layers.Dense(1)])
    model.compile("sgd", "mse", metrics=["mae"])
    return model


@pytest.mark.parametrize(
    "inside",
    [
        lambda: [layers.Dense(3, kernel_regularizer="l2", kernel_constraint="non_neg")],
        lambda: [layers.BatchNormalization()],
        lambda: [layers.Dropout(0.5)],
        lambda: [torch.nn.BatchNorm1d(4), torch.nn.Dropout(0.5)],
        lambda: [layers.Dense(3, dtype="mixed_bfloat16")],
        lambda: [lamina.Sequential([layers.Input((4,)), layers.Dense(2)])],
    ],
    ids=range(6),
)
def test_ordinary_layers_are_no_obstacle(inside):
    assert obstacle_to_compiling(net(*inside())) is None


@pytest.mark.parametrize(
    "layer",
    [
        lambda: layers.LSTM(2),
        lambda: layers.GRU(2),
        lambda: layers.RNN(layers.SimpleRNNCell(2)),
        lambda: layers.Bidirectional(layers.LSTM(2)),
    ],
    ids=range(4),
)
def test_recurrent_layers_stay_with_cudnn(layer):
    assert "is recurrent" in str(obstacle_to_compiling(net(layer(), shape=(5, 4))))


def test_a_recurrent_layer_of_torch_stays_with_cudnn():
    class Net(lamina.Model):
        def __init__(self):
            super().__init__()
            self.inner = torch.nn.LSTM(4, 2, batch_first=True)

        def call(self, x):
            return self.inner(x)[0]

    assert str(obstacle_to_compiling(Net())).startswith("'inner' is recurrent")


def test_a_generator_of_a_layers_own_is_an_obstacle():
    assert "random generator of its own" in str(obstacle_to_compiling(net(layers.Dropout(0.5, seed=1))))


@pytest.mark.parametrize(
    "register",
    [
        lambda m: m.layers[-1].register_forward_hook(lambda *args: None),
        lambda m: m.layers[-1].register_forward_pre_hook(lambda *args: None),
        lambda m: m.register_full_backward_hook(lambda *args: None),
        lambda m: m.layers[-1].register_full_backward_pre_hook(lambda *args: None),
    ],
    ids=range(4),
)
def test_hooks_are_an_obstacle_while_they_are_there(register):
    model = net()
    handle = register(model)
    assert "has hooks" in str(obstacle_to_compiling(model))
    handle.remove()
    assert obstacle_to_compiling(model) is None


def test_a_metric_inside_is_an_obstacle_and_those_of_compile_are_none():
    model = net()
    model.layers[-1].seen = metrics.Mean(name="seen")
    assert str(obstacle_to_compiling(model)).startswith("'dense' keeps a metric")
    other = net()
    other.own = metrics.Mean(name="own")
    assert "keeps a metric" in str(obstacle_to_compiling(other))


def test_a_train_step_of_the_users_is_an_obstacle():
    class Own(lamina.Sequential):
        def train_step(self, data):
            return super().train_step(data)

    assert "train_step is overridden" in str(obstacle_to_compiling(Own([layers.Input((4,)), layers.Dense(1)])))
    model = net()
    model.__dict__["train_step"] = lambda data: {}
    assert "train_step is overridden" in str(obstacle_to_compiling(model))


def test_who_asks_for_deterministic_algorithms_gets_no_choice_by_the_clock():
    model = net()
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    try:
        assert "deterministic" in str(obstacle_to_compiling(model))
    finally:
        torch.use_deterministic_algorithms(before)


def test_freezing_modes_dtypes_and_autocast_make_another_setting():
    model = net(layers.BatchNormalization())
    seen = [setting_of(model)]
    model.train()
    seen.append(setting_of(model))
    model.layers[0].eval()
    seen.append(setting_of(model))
    model.layers[0].trainable = False
    seen.append(setting_of(model))
    model.double()
    seen.append(setting_of(model))
    torch.set_autocast_enabled("cuda", True)
    try:
        seen.append(setting_of(model))
    finally:
        torch.set_autocast_enabled("cuda", False)
    assert len(set(seen)) == len(seen)
    assert setting_of(model) == seen[-2]
