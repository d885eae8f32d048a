from __future__ import annotations

import numpy as np
import pytest
import torch

from lamina.errors import ArgumentError, NotBuiltError, WeightsError
from lamina.optimizers import SGD, Adam, Optimizer, RMSprop, schedules


def parameters(*values: float) -> list[torch.nn.Parameter]:
    return [torch.nn.Parameter(torch.tensor([value])) for value in values]


def grads(*values: float | None) -> list[torch.Tensor | None]:
    return [None if value is None else torch.tensor([value]) for value in values]


def test_a_rule_of_ones_own_needs_update_only():
    class Halve(Optimizer):
        def update(self, group, grads, learning_rate, step):
            torch._foreach_mul_(group.parameters, learning_rate**step)

    (weight,) = parameters(8.0)
    optimizer = Halve(0.5)
    optimizer.apply(grads(1.0), [weight])
    optimizer.apply(grads(1.0), [weight])
    assert weight.item() == 1.0
    assert optimizer.name == "halve"


def test_a_rule_without_update_says_so():
    (weight,) = parameters(1.0)
    with pytest.raises(NotImplementedError, match="Optimizer must define update"):
        Optimizer(0.1).apply(grads(1.0), [weight])


def test_names_are_numbered():
    assert [Adam().name, Adam().name, RMSprop().name, Adam(name="mine").name] == ["adam", "adam_1", "rm_sprop", "mine"]


def test_a_parameter_without_a_gradient_stays():
    a, b = parameters(1.0, 1.0)
    optimizer = Adam(0.5, weight_decay=0.1)
    optimizer.apply(grads(None, 1.0), [a, b])
    assert a.item() == 1.0
    assert b.item() < 1.0
    assert optimizer.variables[0].item() == 0.0


def test_frozen_parameters_are_ignored_for_good():
    a, frozen = parameters(1.0, 1.0)
    frozen.requires_grad_(False)
    optimizer = SGD(0.5)
    optimizer.build([a, frozen])
    frozen.requires_grad_(True)
    frozen.grad = torch.ones(1)
    a.grad = torch.ones(1)
    optimizer.step()
    assert (a.item(), frozen.item()) == (0.5, 1.0)


def test_a_parameter_frozen_later_stays():
    a, b = parameters(1.0, 1.0)
    optimizer = SGD(0.5, momentum=0.9)
    optimizer.build([a, b])
    b.requires_grad_(False)
    for _ in range(2):
        a.grad = torch.ones(1)
        optimizer.step()
    assert a.item() < 0.5
    assert b.item() == 1.0


def test_building_again_changes_nothing():
    a, b = parameters(1.0, 1.0)
    optimizer = SGD(0.5, momentum=0.9)
    optimizer.build([a])
    kept = optimizer.variables[0]
    optimizer.build([a, b])
    assert optimizer.variables[0] is kept
    assert len(optimizer.known()) == 1


def test_the_rate_can_be_read_and_set():
    optimizer = SGD(0.5)
    for value in (0.25, np.float32(0.125), torch.tensor(0.0625), 1):
        optimizer.learning_rate = value
        assert type(optimizer.learning_rate) is float
        assert optimizer.learning_rate == float(value)


def test_a_schedule_is_read_at_the_present_step():
    (weight,) = parameters(0.0)
    optimizer = SGD(1.0)
    optimizer.learning_rate = schedules.PiecewiseConstantDecay([0, 1], [4.0, 2.0, 1.0])
    seen = []
    for _ in range(4):
        seen.append(optimizer.learning_rate)
        optimizer.apply(grads(-1.0), [weight])
    assert seen == [4.0, 2.0, 1.0, 1.0]
    assert weight.item() == 8.0


def test_a_schedule_is_not_overruled_by_a_number():
    optimizer = SGD(schedules.CosineDecay(0.1, 10))
    with pytest.raises(ArgumentError, match="follows a schedule, so it cannot be set to a number"):
        optimizer.learning_rate = 0.5
    optimizer.learning_rate = schedules.CosineDecay(0.5, 10)
    assert optimizer.learning_rate == 0.5


def test_accumulation_updates_with_the_average_of_every_kth_step():
    (weight,) = parameters(0.0)
    optimizer = SGD(1.0, gradient_accumulation_steps=3)
    seen = []
    for value in (-3.0, -6.0, -9.0, -1.0, -1.0, -1.0):
        optimizer.apply(grads(value), [weight])
        seen.append((weight.item(), optimizer.iterations))
    assert seen == [(0, 0), (0, 0), (6, 1), (6, 1), (6, 1), (7, 2)]


def test_the_average_is_kept_and_adopted_at_the_end():
    (weight,) = parameters(0.0)
    optimizer = SGD(1.0, use_ema=True, ema_momentum=0.75)
    for value in (-4.0, -4.0):
        optimizer.apply(grads(value), [weight])
    assert (weight.item(), optimizer.variables[0].item()) == (8.0, 5.0)
    optimizer.finalize_variable_values([weight])
    assert weight.item() == 5.0


def test_the_average_overwrites_every_so_many_updates():
    (weight,) = parameters(0.0)
    optimizer = SGD(1.0, use_ema=True, ema_momentum=0.75, ema_overwrite_frequency=2)
    seen = []
    for _ in range(3):
        optimizer.apply(grads(-4.0), [weight])
        seen.append(weight.item())
    assert seen == [4.0, 5.0, 9.0]


def test_other_variables_cannot_adopt_the_average():
    a, b = parameters(1.0, 1.0)
    optimizer = SGD(use_ema=True)
    optimizer.build([a])
    with pytest.raises(WeightsError, match="not the variables that the optimizer was built on"):
        optimizer.finalize_variable_values([b])


def test_without_averaging_the_end_changes_nothing():
    (weight,) = parameters(3.0)
    SGD().finalize_variable_values([weight])
    assert weight.item() == 3.0


def test_a_constant_loss_scale_cancels_out():
    (weight,) = parameters(1.0)
    optimizer = SGD(0.5, loss_scale_factor=8.0)
    optimizer.build([weight])
    optimizer.scale_loss(weight.sum()).backward()
    assert weight.grad.item() == 8.0
    optimizer.step()
    assert weight.item() == 0.5


def test_decay_is_apart_from_the_gradient_and_spares_what_is_excluded():
    a, b = parameters(1.0, 1.0)
    optimizer = SGD(0.5, weight_decay=0.5)
    optimizer.exclude_from_weight_decay(var_list=[b])
    optimizer.apply(grads(0.0, 0.0), [a, b])
    assert (a.item(), b.item()) == (0.75, 1.0)
    optimizer.exclude_from_weight_decay()
    optimizer.apply(grads(0.0, 0.0))
    assert (a.item(), b.item()) == (0.5625, 0.75)


def test_exclusion_by_name_needs_names_in_build():
    optimizer = SGD(0.5, weight_decay=0.5)
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    with pytest.raises(ArgumentError, match=r"names=dict\(model.named_parameters\(\)\)"):
        optimizer.build(parameters(1.0))
    assert not optimizer.built
    (weight,) = parameters(1.0)
    optimizer.build([weight], names={"dense/bias": weight})
    optimizer.apply(grads(0.0))
    assert weight.item() == 1.0


def test_a_state_loaded_before_build_waits_for_it():
    a, b = parameters(1.0, 1.0)
    first = Adam(0.5)
    first.apply(grads(1.0), [a])
    first.learning_rate = 0.125
    second = Adam(0.5)
    second.load_state_dict(first.state_dict())
    assert second.iterations == 0
    first.apply(grads(5.0))
    second.build([b])
    assert (second.iterations, second.learning_rate) == (1, 0.125)
    assert [t.item() for t in second.variables] == pytest.approx([0.1, 0.001])


def test_a_state_from_before_the_first_step_is_an_empty_one():
    (weight,) = parameters(1.0)
    optimizer = Adam(0.5)
    optimizer.load_state_dict(Adam(0.25).state_dict())
    optimizer.build([weight])
    assert (optimizer.iterations, optimizer.learning_rate) == (0, 0.25)


def test_the_rate_of_a_state_does_not_overrule_a_schedule():
    (a,) = parameters(1.0)
    first, second = SGD(0.5), SGD(schedules.CosineDecay(0.25, 10))
    first.build([a]), second.build([a])
    second.load_state_dict(first.state_dict())
    assert second.learning_rate == 0.25
    assert second.state_dict()["learning_rate"] is None


def test_a_state_amid_accumulation_goes_on():
    a, b = parameters(0.0, 0.0)
    first, second = (SGD(1.0, gradient_accumulation_steps=2) for _ in range(2))
    first.apply(grads(-2.0), [a])
    second.build([b])
    second.load_state_dict(first.state_dict())
    second.apply(grads(-4.0))
    assert b.item() == 3.0
    assert second.iterations == 1


def test_state_of_other_arguments_is_refused():
    (a,) = parameters(1.0)
    first, second = SGD(0.5, momentum=0.9), SGD(0.5)
    first.build([a]), second.build([a])
    with pytest.raises(WeightsError, match="made with the same arguments"):
        second.load_state_dict(first.state_dict())
    with pytest.raises(WeightsError, match="without"):
        second.load_state_dict({"state": {}})


def test_state_is_not_there_before_build():
    assert SGD(momentum=0.9).variables == []
    with pytest.raises(NotBuiltError, match="does not know its parameters yet"):
        _ = SGD().state


def test_the_config_holds_the_present_rate_and_schedules_as_data():
    optimizer = SGD(0.5)
    optimizer.learning_rate = 0.25
    assert optimizer.get_config()["learning_rate"] == 0.25
    config = SGD(schedules.CosineDecay(0.1, 10)).get_config()
    assert config["learning_rate"]["class_name"] == "CosineDecay"
    assert SGD.from_config(config).learning_rate == 0.1


def test_it_shows_its_name_and_rate():
    assert repr(Adam(0.5)) == "<Adam 'adam', learning_rate=0.5>"


def test_a_model_that_changes_its_dtype_goes_on():
    model = torch.nn.Linear(3, 2)
    optimizer = Adam(0.1)
    optimizer.build(model.parameters())
    for dtype in (torch.float32, torch.float64):
        model.to(dtype)
        optimizer.zero_grad()
        model(torch.ones(4, 3, dtype=dtype)).square().sum().backward()
        optimizer.step()
    assert optimizer.variables[0].dtype == torch.float64
    assert model.weight.isfinite().all()
    assert optimizer.iterations == 2


def test_parameters_in_slices_of_memory_are_moved_right():
    """Such parameters have gaps between their numbers, so the fused kernels, which walk raw memory, are out."""
    whole = torch.ones(4, 4)
    part = whole[:, :2].requires_grad_()
    optimizer = Adam(0.5)
    optimizer.apply([torch.ones(4, 2)], [part])
    torch.testing.assert_close(whole[:, :2], torch.full((4, 2), 0.5))
    assert torch.equal(whole[:, 2:], torch.ones(4, 2))
