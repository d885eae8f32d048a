from __future__ import annotations

import functools

import pytest
import torch

import lamina.optimizers
import lamina.registry
from lamina.errors import DtypeError, LaminaError, UnknownNameError
from lamina.optimizers import (
    SGD,
    Adam,
    AdamW,
    LossScaleOptimizer,
    RMSprop,
    TorchOptimizer,
    deserialize,
    get,
    schedules,
    serialize,
)


@pytest.mark.parametrize(
    ("name", "cls"),
    [
        ("adam", Adam),
        ("Adam", Adam),
        ("ADAM", Adam),
        ("sgd", SGD),
        ("rmsprop", RMSprop),
        ("RMSprop", RMSprop),
        ("RmsProp", RMSprop),
        ("rm_sprop", RMSprop),
        ("adamw", AdamW),
        ("adam_w", AdamW),
    ],
)
def test_names_are_found_in_any_case(name, cls):
    assert type(get(name)) is cls


def test_optimizers_classes_and_partials_are_taken():
    optimizer = Adam(0.5)
    assert get(optimizer) is optimizer
    assert get(None) is None
    assert type(get(SGD)) is SGD
    assert get(functools.partial(SGD, 0.25)).learning_rate == 0.25


def test_a_config_comes_back_as_an_optimizer():
    data = serialize(LossScaleOptimizer(Adam(schedules.ExponentialDecay(0.5, 10, 0.5), clipnorm=2.0)))
    again = get(data)
    assert isinstance(again, LossScaleOptimizer)
    assert again.inner_optimizer.clipnorm == 2.0
    assert again.learning_rate == 0.5
    assert type(deserialize({"class_name": "adam", "config": {"learning_rate": 0.5}})) is Adam


def test_the_form_in_which_keras_saves_is_taken():
    config = {"learning_rate": 0.25, "momentum": 0.5, "name": "SGD", "clipnorm": None}
    keras = {"module": "keras.optimizers", "class_name": "SGD", "config": config, "registered_name": None}
    optimizer = get(keras)
    assert (optimizer.learning_rate, optimizer.momentum, optimizer.name) == (0.25, 0.5, "SGD")


def test_torch_optimizers_are_adapted():
    weight = torch.nn.Parameter(torch.ones(2))
    made = torch.optim.SGD([weight], 0.5)
    scheduler = torch.optim.lr_scheduler.StepLR(made, 1)
    assert get(made).made is made
    assert get((made, scheduler)).scheduler is scheduler
    assert get([made, scheduler, "batch"]).scheduler_interval == "batch"
    for form in (torch.optim.Adam, functools.partial(torch.optim.Adam, lr=0.5), lambda p: torch.optim.Adam(p, 0.5)):
        assert isinstance(get(form), TorchOptimizer)


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(UnknownNameError, match="did you mean 'adam'"):
        get("adm")


def test_an_unknown_class_in_a_config_is_refused():
    with pytest.raises(UnknownNameError, match="no optimizer named 'Adom'"):
        deserialize({"class_name": "Adom", "config": {}})
    with pytest.raises(DtypeError, match="does not describe a optimizer|does not describe an optimizer"):
        deserialize({"lr": 0.1})


def test_an_argument_that_the_class_does_not_take_is_named():
    with pytest.raises(LaminaError, match="SGD does not take this config.*'speed'"):
        deserialize({"class_name": "SGD", "config": {"speed": 1}})


@pytest.mark.parametrize("identifier", [3, torch.nn.Linear, torch.ones(2)])
def test_what_stands_for_no_optimizer_is_refused(identifier):
    with pytest.raises(DtypeError, match="Cannot make an optimizer of this"):
        get(identifier)


def test_the_package_offers_everything_registered():
    for name in lamina.registry.OPTIMIZERS:
        assert getattr(lamina.optimizers, name) is lamina.registry.OPTIMIZERS[name]
    for name in lamina.registry.SCHEDULES:
        assert getattr(schedules, name) is lamina.registry.SCHEDULES[name]
