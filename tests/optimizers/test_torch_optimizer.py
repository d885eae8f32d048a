from __future__ import annotations

import functools
from typing import Any

import pytest
import torch
from torch.optim import lr_scheduler

from lamina.errors import ArgumentError, NotBuiltError, WeightsError
from lamina.optimizers import TorchOptimizer, schedules


def linear() -> torch.nn.Linear:
    torch.manual_seed(0)
    return torch.nn.Linear(3, 2)


def train(model: torch.nn.Module, optimizer: Any, steps: int) -> list[torch.Tensor]:
    for step in range(steps):
        optimizer.zero_grad()
        model(torch.linspace(-1, 1 + step, 12).reshape(4, 3)).square().sum().backward()
        optimizer.step()
    return [p.detach().clone() for p in model.parameters()]


@pytest.mark.parametrize(
    "make",
    [
        lambda p: torch.optim.AdamW(p, 0.1, weight_decay=0.3),
        lambda p: functools.partial(torch.optim.AdamW, lr=0.1, weight_decay=0.3),
        lambda p: lambda q: torch.optim.AdamW(q, 0.1, weight_decay=0.3),
    ],
    ids=["instance", "partial", "function"],
)
def test_it_trains_as_the_torch_optimizer_does(make):
    plain, adapted = linear(), linear()
    expected = train(plain, torch.optim.AdamW(plain.parameters(), 0.1, weight_decay=0.3), 4)
    optimizer = TorchOptimizer(make(adapted.parameters()))
    optimizer.build(adapted.parameters())
    for mine, theirs in zip(train(adapted, optimizer, 4), expected, strict=True):
        assert torch.equal(mine, theirs)
    assert optimizer.iterations == 4


def test_given_gradients_become_those_of_the_parameters():
    model = linear()
    optimizer = TorchOptimizer(functools.partial(torch.optim.SGD, lr=0.5))
    before = model.bias.detach().clone()
    optimizer.apply([None, torch.ones(2)], model.parameters())
    torch.testing.assert_close(model.bias.data, before - 0.5)
    assert model.weight.grad is None


def test_parameters_that_are_missing_or_foreign_are_counted():
    model, other = linear(), torch.nn.Linear(1, 1)
    optimizer = TorchOptimizer(torch.optim.SGD([model.weight, *other.parameters()], 0.1))
    with pytest.raises(ArgumentError, match="1 of them missing, 2 that are not the model's"):
        optimizer.build(model.parameters())
    assert not optimizer.built


def test_frozen_parameters_may_be_held_or_not():
    model = linear()
    model.weight.requires_grad_(False)
    for held in (model.parameters(), [model.bias]):
        optimizer = TorchOptimizer(torch.optim.SGD(held, 0.1))
        optimizer.build(model.parameters())
        assert len(optimizer.known()) == 1


def test_a_function_that_makes_no_optimizer_is_refused():
    with pytest.raises(ArgumentError, match="did not make one"):
        TorchOptimizer(lambda parameters: 3).build(linear().parameters())


def test_what_is_no_torch_optimizer_is_refused():
    with pytest.raises(ArgumentError, match="This is no torch optimizer"):
        TorchOptimizer("sgd")


def test_an_unknown_interval_is_refused():
    with pytest.raises(ArgumentError, match="'epoch' or 'batch'"):
        TorchOptimizer(torch.optim.SGD, scheduler_interval="step")


def test_a_scheduler_of_another_optimizer_is_refused():
    first, second = (torch.optim.SGD(linear().parameters(), 0.1) for _ in range(2))
    with pytest.raises(ArgumentError, match="The scheduler steers another optimizer"):
        TorchOptimizer(first, lr_scheduler.StepLR(second, 1))


def test_a_scheduler_of_epochs_steps_after_each():
    model = linear()
    made = torch.optim.SGD(model.parameters(), 1.0)
    optimizer = TorchOptimizer(made, lr_scheduler.StepLR(made, 1, gamma=0.5))
    optimizer.build(model.parameters())
    train(model, optimizer, 2)
    assert optimizer.learning_rate == 1.0
    optimizer.on_epoch_end({"loss": 1.0})
    assert optimizer.learning_rate == 0.5


def test_a_scheduler_of_batches_steps_with_the_optimizer():
    model = linear()
    halve = functools.partial(lr_scheduler.ExponentialLR, gamma=0.5)
    optimizer = TorchOptimizer(functools.partial(torch.optim.SGD, lr=1.0), halve, "batch")
    optimizer.build(model.parameters())
    train(model, optimizer, 2)
    optimizer.on_epoch_end()
    assert optimizer.learning_rate == 0.25


def test_one_cycle_steps_with_the_batches_by_itself():
    model = linear()
    cycle = functools.partial(lr_scheduler.OneCycleLR, max_lr=1.0, total_steps=10)
    optimizer = TorchOptimizer(functools.partial(torch.optim.SGD, lr=0.1), cycle)
    optimizer.build(model.parameters())
    before = optimizer.learning_rate
    train(model, optimizer, 1)
    assert optimizer.learning_rate > before


@pytest.mark.parametrize(
    ("monitor", "logs"),
    [(None, {"loss": 0.0, "val_loss": 1.0}), (None, {"loss": 1.0}), ("mae", {"loss": 0.0, "mae": torch.tensor(1.0)})],
)
def test_reduce_on_plateau_is_given_what_it_watches(monitor, logs):
    plateau = functools.partial(lr_scheduler.ReduceLROnPlateau, patience=0, factor=0.5)
    optimizer = TorchOptimizer(functools.partial(torch.optim.SGD, lr=1.0), plateau, monitor=monitor)
    optimizer.build(linear().parameters())
    for _ in range(2):
        optimizer.on_epoch_end({**logs, "loss": logs["loss"] - 1 if "val_loss" in logs else logs["loss"]})
    assert optimizer.learning_rate == 0.5


def test_reduce_on_plateau_without_anything_to_watch_is_refused():
    optimizer = TorchOptimizer(torch.optim.SGD, lr_scheduler.ReduceLROnPlateau, monitor="mae")
    optimizer.build(linear().parameters())
    with pytest.raises(ArgumentError, match=r"'mae' in the epoch's logs\n  received: logs of \['loss'\]"):
        optimizer.on_epoch_end({"loss": 1.0})


def test_setting_the_rate_keeps_the_proportions_of_groups():
    model = linear()
    groups = [{"params": [model.weight]}, {"params": [model.bias], "lr": 0.25}]
    optimizer = TorchOptimizer(torch.optim.SGD(groups, lr=0.5))
    optimizer.build(model.parameters())
    optimizer.learning_rate = 1.0
    assert [group["lr"] for group in optimizer.made.param_groups] == [1.0, 0.5]
    optimizer.learning_rate = 0.0
    optimizer.learning_rate = 0.125
    assert [group["lr"] for group in optimizer.made.param_groups] == [0.125, 0.125]


def test_a_rate_in_a_tensor_stays_one():
    model = linear()
    optimizer = TorchOptimizer(torch.optim.Adam(model.parameters(), lr=torch.tensor(0.5), capturable=False))
    optimizer.learning_rate = 0.25
    assert isinstance(optimizer.made.param_groups[0]["lr"], torch.Tensor)
    assert optimizer.learning_rate == 0.25


def test_a_schedule_of_laminas_is_refused():
    optimizer = TorchOptimizer(torch.optim.SGD(linear().parameters(), 0.1))
    with pytest.raises(ArgumentError, match="takes its schedule from torch"):
        optimizer.learning_rate = schedules.CosineDecay(0.1, 10)


def test_an_optimizer_not_made_yet_says_so():
    optimizer = TorchOptimizer(lambda parameters: torch.optim.SGD(parameters, 0.1))
    assert optimizer.variables == []
    for ask in (lambda: optimizer.learning_rate, optimizer.step):
        with pytest.raises(NotBuiltError, match="does not know its parameters yet"):
            ask()


@pytest.mark.parametrize(
    ("factory", "rate"),
    [(torch.optim.Adam, 0.001), (torch.optim.SGD, 0.001), (functools.partial(torch.optim.SGD, lr=0.5), 0.5)],
)
def test_the_rate_can_be_read_before_the_optimizer_is_made(factory, rate):
    assert TorchOptimizer(factory).learning_rate == rate


def test_a_rate_set_before_the_optimizer_is_made_waits_for_it():
    """A LearningRateScheduler sets the rate before the first batch, and build comes with that batch."""
    optimizer = TorchOptimizer(torch.optim.SGD)
    optimizer.learning_rate = torch.tensor(0.25)
    assert optimizer.learning_rate == 0.25
    optimizer.build(linear().parameters())
    assert optimizer.made.param_groups[0]["lr"] == optimizer.learning_rate == 0.25


def test_a_state_from_before_the_optimizer_was_made_is_an_empty_one():
    model, optimizer = linear(), TorchOptimizer(torch.optim.SGD)
    optimizer.load_state_dict(TorchOptimizer(torch.optim.SGD).state_dict())
    optimizer.build(model.parameters())
    train(model, optimizer, 1)
    assert optimizer.iterations == 1


def test_lbfgs_takes_a_closure_and_misses_it():
    model = linear()
    optimizer = TorchOptimizer(torch.optim.LBFGS(model.parameters(), max_iter=5))
    optimizer.build(model.parameters())

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = model(torch.ones(1, 3)).square().sum()
        loss.backward()
        return loss

    assert optimizer.step(closure).item() > closure().item()
    with pytest.raises(ArgumentError, match="LBFGS evaluates the loss several times"):
        optimizer.step()


def test_steps_without_gradients_are_refused():
    optimizer = TorchOptimizer(torch.optim.SGD)
    optimizer.build(linear().parameters())
    with pytest.raises(ArgumentError, match="No parameter has a gradient"):
        optimizer.step()
    optimizer.advance([])
    assert optimizer.iterations == 0


def test_state_and_schedule_go_on_also_when_loaded_before_build():
    def make() -> TorchOptimizer:
        decay = functools.partial(lr_scheduler.ExponentialLR, gamma=0.5)
        return TorchOptimizer(functools.partial(torch.optim.Adam, lr=0.1), decay, "batch")

    model, twin = linear(), linear()
    first, second = make(), make()
    first.build(model.parameters())
    train(model, first, 3)
    twin.load_state_dict(model.state_dict())
    second.load_state_dict(first.state_dict())
    second.build(twin.parameters())
    assert (second.iterations, second.learning_rate) == (3, 0.0125)
    for mine, other in zip(train(twin, second, 2), train(model, first, 2), strict=True):
        assert torch.equal(mine, other)
    assert {tuple(t.shape) for t in first.variables} == {(), (2, 3), (2,)}


def test_state_of_another_kind_is_refused():
    with pytest.raises(WeightsError, match="a dict without"):
        TorchOptimizer(torch.optim.SGD).load_state_dict({"steps": 1})


def test_the_config_makes_the_same_classes_with_the_same_arguments():
    model = linear()
    made = torch.optim.SGD(model.parameters(), 0.5, momentum=0.25)
    config = TorchOptimizer(made, lr_scheduler.StepLR(made, 3, gamma=0.5), name="mine").get_config()
    again = TorchOptimizer.from_config(config)
    again.build(model.parameters())
    assert isinstance(again.made, torch.optim.SGD)
    assert again.made.defaults == made.defaults
    assert again.get_config() == config
    assert config["scheduler"] == {"class_name": "StepLR", "config": {"step_size": 3, "gamma": 0.5}}


def test_it_shows_the_class_of_the_optimizer():
    optimizer = TorchOptimizer(torch.optim.SGD)
    assert repr(optimizer) == "<TorchOptimizer 'torch_optimizer' of SGD, not built>"
    optimizer.build(linear().parameters())
    assert repr(optimizer) == "<TorchOptimizer 'torch_optimizer' of SGD>"


def test_exclusion_from_decay_is_a_matter_of_groups():
    with pytest.raises(ArgumentError, match="a setting of its parameter groups"):
        TorchOptimizer(torch.optim.AdamW).exclude_from_weight_decay(var_names=["bias"])
