from __future__ import annotations

import functools

import pytest
import torch

from lamina.errors import ArgumentError, WeightsError
from lamina.optimizers import SGD, Adam, LossScaleOptimizer, Nadam, schedules

INF = float("inf")


def step(optimizer: LossScaleOptimizer, weight: torch.nn.Parameter, grad: float) -> None:
    """One step whose gradient, before the loss is scaled, is `grad`."""
    optimizer.build([weight])
    optimizer.zero_grad()
    optimizer.scale_loss((weight * grad).sum()).backward()
    optimizer.step()


@pytest.fixture
def weight() -> torch.nn.Parameter:
    return torch.nn.Parameter(torch.zeros(40))


def test_the_scale_cancels_out(weight):
    optimizer = LossScaleOptimizer(SGD(0.5), initial_scale=1024.0)
    step(optimizer, weight, 2.0)
    assert weight[0].item() == -1.0
    assert weight.grad[0].item() == 2048.0


def test_the_scale_grows_after_finite_steps_and_shrinks_after_others(weight):
    optimizer = LossScaleOptimizer(SGD(0.5), initial_scale=8.0, dynamic_growth_steps=2)
    scales = []
    for grad in (1.0, 1.0, 1.0, INF, 1.0, float("nan"), 1.0, 1.0):
        step(optimizer, weight, grad)
        scales.append(optimizer.dynamic_scale.item())
    assert scales == [8, 16, 16, 8, 8, 4, 4, 8]
    assert optimizer.skipped_steps.item() == 2
    assert optimizer.iterations == 6
    assert weight[0].item() == -3.0


def test_a_bad_gradient_of_one_parameter_skips_all():
    good, bad = torch.nn.Parameter(torch.zeros(3)), torch.nn.Parameter(torch.zeros(2))
    optimizer = LossScaleOptimizer(SGD(0.5), initial_scale=2.0)
    optimizer.apply([torch.ones(3), torch.tensor([1.0, INF])], [good, bad])
    assert torch.equal(good.data, torch.zeros(3))
    assert torch.equal(bad.data, torch.zeros(2))
    optimizer.apply([torch.ones(3), None])
    assert good[0].item() == -0.5
    assert bad[0].item() == 0.0


@pytest.mark.parametrize("make", [Adam, Nadam, functools.partial(SGD, momentum=0.9)])
def test_corrections_of_the_first_steps_do_not_count_skipped_ones(make, weight):
    straight = torch.nn.Parameter(torch.zeros(40))
    plain, scaled = make(0.1), LossScaleOptimizer(make(0.1))
    for _ in range(3):
        step(scaled, weight, INF)
    for grad in (1.0, -3.0):
        plain.apply([torch.full((40,), grad)], [straight])
        step(scaled, weight, grad)
    torch.testing.assert_close(weight, straight, rtol=1e-6, atol=1e-7)


def test_a_round_of_accumulation_with_a_bad_gradient_is_discarded(weight):
    optimizer = LossScaleOptimizer(SGD(1.0, gradient_accumulation_steps=2), initial_scale=4.0)
    for grad in (1.0, INF, -2.0, -4.0):
        step(optimizer, weight, grad)
    assert weight[0].item() == 3.0
    assert optimizer.skipped_steps.item() == 1
    assert optimizer.iterations == 1


def test_the_average_starts_at_the_first_update_that_counts(weight):
    optimizer = LossScaleOptimizer(SGD(1.0, use_ema=True, ema_momentum=0.75), initial_scale=4.0)
    for grad in (INF, -4.0, INF, -4.0):
        step(optimizer, weight, grad)
    assert optimizer.use_ema
    optimizer.finalize_variable_values([weight])
    assert weight[0].item() == 5.0


def test_decay_of_a_skipped_step_does_not_count():
    weight = torch.nn.Parameter(torch.ones(3))
    optimizer = LossScaleOptimizer(Adam(0.5, weight_decay=0.5))
    step(optimizer, weight, INF)
    assert torch.equal(weight.data, torch.ones(3))


def test_half_precision_gradients_that_would_vanish_survive():
    weight = torch.nn.Parameter(torch.ones(4))
    inputs = torch.full((4,), 2e-4, dtype=torch.float16)

    def loss() -> torch.Tensor:
        return (weight.half() * inputs).float().sum() * 1e-4

    loss().backward()
    assert weight.grad.abs().max() == 0
    optimizer = LossScaleOptimizer(SGD(1e7))
    optimizer.build([weight])
    optimizer.scale_loss(loss()).backward()
    optimizer.step()
    torch.testing.assert_close(weight.data, torch.full((4,), 0.8), rtol=1e-3, atol=0)


def test_the_scaled_loss_of_half_precision_does_not_overflow():
    assert LossScaleOptimizer(SGD()).scale_loss(torch.tensor(4.0, dtype=torch.float16)).item() == 4 * 32768


def test_the_inner_optimizer_answers_for_rate_decay_and_epochs():
    optimizer = LossScaleOptimizer("sgd")
    optimizer.learning_rate = 0.25
    assert optimizer.inner_optimizer.learning_rate == optimizer.learning_rate == 0.25
    a, b = torch.nn.Parameter(torch.ones(1)), torch.nn.Parameter(torch.ones(1))
    decaying = LossScaleOptimizer(SGD(0.5, weight_decay=0.5))
    decaying.exclude_from_weight_decay(var_list=[a])
    decaying.apply([torch.zeros(1), torch.zeros(1)], [a, b])
    assert (a.item(), b.item()) == (1.0, 0.75)
    halving = functools.partial(torch.optim.lr_scheduler.StepLR, step_size=1, gamma=0.5)
    adapted = LossScaleOptimizer((functools.partial(torch.optim.SGD, lr=0.5), halving))
    adapted.apply([torch.zeros(1)], [a])
    adapted.on_epoch_end({})
    assert adapted.learning_rate == 0.25


def test_a_constant_scale_inside_is_switched_off():
    inner = SGD(loss_scale_factor=4.0)
    LossScaleOptimizer(inner)
    assert inner.loss_scale_factor is None


def test_a_state_goes_on_also_when_loaded_before_build(weight):
    other = torch.nn.Parameter(torch.zeros(40))
    first = LossScaleOptimizer(Adam(0.5), initial_scale=8.0, dynamic_growth_steps=2)
    for grad in (1.0, INF, 1.0):
        step(first, weight, grad)
    second = LossScaleOptimizer(Adam(0.5), initial_scale=8.0, dynamic_growth_steps=2)
    second.load_state_dict(first.state_dict())
    other.data.copy_(weight.data)
    for optimizer, moved in ((first, weight), (second, other)):
        step(optimizer, moved, 2.0)
    assert torch.equal(weight, other)
    assert second.dynamic_scale.item() == first.dynamic_scale.item() == 8.0
    assert second.skipped_steps.item() == 1
    assert [t.tolist() for t in first.variables] == [t.tolist() for t in second.variables]


def test_state_without_a_scale_is_refused():
    with pytest.raises(WeightsError, match="a dict without"):
        LossScaleOptimizer(SGD()).load_state_dict(SGD().state_dict())


def test_the_config_holds_the_inner_optimizer():
    optimizer = LossScaleOptimizer(Adam(schedules.CosineDecay(0.1, 10)), initial_scale=64.0, dynamic_growth_steps=5)
    config = optimizer.get_config()
    assert set(config) == {"name", "inner_optimizer", "initial_scale", "dynamic_growth_steps"}
    again = LossScaleOptimizer.from_config(config)
    assert again.get_config() == config
    assert isinstance(again.inner_optimizer, Adam)


@pytest.mark.parametrize("inner", [None, LossScaleOptimizer(SGD())], ids=["nothing", "another scale"])
def test_what_cannot_be_scaled_is_refused(inner):
    with pytest.raises(ArgumentError, match="inner optimizer cannot be scaled"):
        LossScaleOptimizer(inner)


@pytest.mark.parametrize("argument", ["initial_scale", "dynamic_growth_steps"])
def test_numbers_that_are_not_positive_are_refused(argument):
    with pytest.raises(ArgumentError, match=f"{argument} > 0"):
        LossScaleOptimizer(SGD(), **{argument: 0})


def test_steps_without_gradients_are_refused(weight):
    optimizer = LossScaleOptimizer(SGD())
    optimizer.build([weight])
    with pytest.raises(ArgumentError, match="No parameter has a gradient"):
        optimizer.step()


@pytest.mark.parametrize("fused", [True, False])
def test_a_torch_optimizer_skips_too(fused, weight):
    """Torch's fused SGD would start its momentum from uninitialized memory after a skipped first step."""
    for cls in (functools.partial(torch.optim.SGD, momentum=0.9), torch.optim.Adam):
        weight.data.zero_()
        optimizer = LossScaleOptimizer(functools.partial(cls, lr=0.5, fused=fused))
        step(optimizer, weight, INF)
        assert torch.equal(weight.data, torch.zeros(40))
        assert fused and cls is torch.optim.Adam or optimizer.inner_optimizer.variables == []
        step(optimizer, weight, -1.0)
        torch.testing.assert_close(weight.data, torch.full((40,), 0.5))
        assert optimizer.skipped_steps.item() == 1


def test_it_shows_what_it_wraps():
    assert repr(LossScaleOptimizer(SGD(0.5))).endswith("around <SGD 'sgd', learning_rate=0.5>>")


def test_a_torch_scheduler_of_batches_waits_for_an_update_that_counts(weight):
    halving = functools.partial(torch.optim.lr_scheduler.StepLR, step_size=1, gamma=0.5)
    optimizer = LossScaleOptimizer((functools.partial(torch.optim.SGD, lr=1.0), halving, "batch"))
    step(optimizer, weight, INF)
    assert optimizer.learning_rate == 1.0
    step(optimizer, weight, 1.0)
    assert optimizer.learning_rate == 0.5
    assert optimizer.iterations == 1
