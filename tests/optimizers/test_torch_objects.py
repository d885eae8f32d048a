from __future__ import annotations

import functools

import pytest
import torch
from torch.optim import lr_scheduler

from lamina.errors import LoadError
from lamina.optimizers.torch_objects import describe, make_again


def sgd(**arguments: float) -> torch.optim.SGD:
    return torch.optim.SGD([torch.nn.Parameter(torch.ones(2))], **arguments)


@pytest.mark.parametrize(
    ("thing", "config"),
    [
        (torch.optim.Adam, {}),
        (functools.partial(torch.optim.Adam, lr=0.5, betas=(0.8, 0.9)), {"lr": 0.5, "betas": (0.8, 0.9)}),
        (functools.partial(torch.optim.Adam, lr=torch.tensor(0.5)), {"lr": 0.5}),
        (functools.partial(torch.optim.Adam, [torch.ones(1)]), None),
        (functools.partial(lr_scheduler.LambdaLR, lr_lambda=lambda epoch: 0.5), None),
    ],
)
def test_classes_and_partials_are_described_by_their_arguments(thing, config):
    described = describe(thing)
    assert described is not None
    assert described["config"] == config


def test_the_arguments_of_an_instance_are_told_from_it():
    described = describe(sgd(lr=0.5, momentum=0.25))
    assert described is not None
    assert described["class_name"] == "SGD"
    assert described["config"]["momentum"] == 0.25
    assert "params" not in described["config"]


def test_the_arguments_of_a_scheduler_are_told_if_it_keeps_them_all():
    made = sgd(lr=0.5)
    assert describe(lr_scheduler.ExponentialLR(made, 0.5)) == {"class_name": "ExponentialLR", "config": {"gamma": 0.5}}
    assert describe(lr_scheduler.ReduceLROnPlateau(made)) == {"class_name": "ReduceLROnPlateau", "config": None}
    assert describe(lr_scheduler.MultiStepLR(made, [3])) == {"class_name": "MultiStepLR", "config": None}


def test_groups_with_settings_of_their_own_have_no_config():
    a, b = torch.nn.Parameter(torch.ones(2)), torch.nn.Parameter(torch.ones(2))
    made = torch.optim.SGD([{"params": [a]}, {"params": [b], "lr": 0.1}], lr=0.5)
    assert describe(made) == {"class_name": "SGD", "config": None}


def test_nothing_is_described_by_nothing():
    assert describe(None) is None
    assert make_again(None, torch.optim, torch.optim.Optimizer) is None


def test_a_description_makes_a_partial_of_the_class():
    made = make_again({"class_name": "SGD", "config": {"lr": 0.5}}, torch.optim, torch.optim.Optimizer)
    assert made.func is torch.optim.SGD
    assert made.keywords == {"lr": 0.5}


@pytest.mark.parametrize(
    "described",
    [
        {"class_name": "lr_scheduler", "config": {}},
        {"class_name": "Tensor", "config": {}},
        {"class_name": "__builtins__", "config": {}},
        {"class_name": "SGD", "config": None},
    ],
    ids=lambda described: described["class_name"],
)
def test_nothing_but_torchs_own_optimizers_is_made(described):
    with pytest.raises(LoadError, match="cannot be made again"):
        make_again(described, torch.optim, torch.optim.Optimizer)
