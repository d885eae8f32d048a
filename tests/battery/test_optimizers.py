"""One battery over every optimizer that is registered, so that nothing new can be left out."""

from __future__ import annotations

import copy
import functools
import io
import json

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import lamina.optimizers as optimizers
from lamina.registry import OPTIMIZERS

# Classes that need arguments, and arguments with which an optimizer gets anywhere in a few steps.
ARGUMENTS = {
    "SGD": lambda cls: cls(0.05, momentum=0.9),
    "Adadelta": lambda cls: cls(10.0),
    "Adagrad": lambda cls: cls(0.3),
    "Ftrl": lambda cls: cls(0.3),
    "Adafactor": lambda cls: cls(0.1),
    "LossScaleOptimizer": lambda cls: cls(optimizers.Adam(0.05), initial_scale=8.0, dynamic_growth_steps=3),
    "TorchOptimizer": lambda cls: cls(functools.partial(torch.optim.Adam, lr=0.05, fused=True)),
}
NAMES = list(OPTIMIZERS)
RULES = [name for name in NAMES if name not in ("LossScaleOptimizer", "TorchOptimizer")]


def make(name: str) -> optimizers.Optimizer:
    cls = OPTIMIZERS[name]
    return ARGUMENTS.get(name, lambda cls: cls(0.05))(cls)


class Network(torch.nn.Module):
    """Weights of several shapes, those of two dimensions and more with the last axis first in memory; one frozen."""

    def __init__(self, permuted: bool = True) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        for i, shape in enumerate([(6, 4), (4,), (3, 1, 2, 5), (1, 3), (2,)]):
            value = torch.randn(shape, generator=generator)
            if permuted and len(shape) > 1:
                value = value.movedim(-1, 0).contiguous().movedim(0, -1)
            self.register_parameter(f"w{i}", torch.nn.Parameter(value, requires_grad=i != 4))

    def loss(self, step: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(step)
        terms = [(p - 0.5 - 0.1 * torch.randn(p.shape, generator=generator)).square().sum() for p in self.parameters()]
        return torch.stack(terms).sum()

    def values(self) -> list[torch.Tensor]:
        return [p.detach().clone() for p in self.parameters()]


def train(network: Network, optimizer: optimizers.Optimizer, steps: range) -> list[torch.Tensor]:
    optimizer.build(network.parameters(), names=dict(network.named_parameters()))
    for step in steps:
        optimizer.zero_grad()
        optimizer.scale_loss(network.loss(step)).backward()
        optimizer.step()
    return network.values()


def assert_equal(mine: list[torch.Tensor], theirs: list[torch.Tensor]) -> None:
    for a, b in zip(mine, theirs, strict=True):
        assert torch.equal(a, b)


class NoWaiting(TorchDispatchMode):
    """Fails on the operators that make the host wait for a device."""

    WAITING = ("_local_scalar_dense", "nonzero", "equal", "is_nonzero", "masked_select")

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        assert func.overloadpacket.__name__ not in self.WAITING, f"{func} waits for the device"
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("name", NAMES)
def test_it_is_found_by_its_name_in_any_case(name):
    cls = OPTIMIZERS[name]
    for spelling in (name, name.lower(), name.upper()):
        config = make(name).get_config()
        assert type(optimizers.deserialize({"class_name": spelling, "config": config})) is cls


@pytest.mark.parametrize("name", NAMES)
def test_it_brings_the_loss_down_and_leaves_frozen_weights_alone(name):
    network = Network()
    before, frozen = network.loss(0).item(), network.w4.clone()
    train(network, make(name), range(60))
    assert network.loss(0).item() < 0.5 * before
    assert torch.equal(network.w4, frozen)


@pytest.mark.parametrize("name", NAMES)
def test_memory_layout_does_not_change_the_numbers(name):
    permuted, plain = Network(permuted=True), Network(permuted=False)
    assert not permuted.w2.is_contiguous()
    for a, b in zip(train(permuted, make(name), range(5)), train(plain, make(name), range(5)), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_its_config_makes_an_optimizer_that_trains_alike(name):
    first = make(name)
    config = json.loads(json.dumps(optimizers.serialize(first)))
    second = optimizers.deserialize(config)
    assert optimizers.serialize(second) == config
    assert_equal(train(Network(), first, range(4)), train(Network(), second, range(4)))


@pytest.mark.parametrize("name", NAMES)
def test_it_goes_on_bit_for_bit_after_saving_and_loading(name):
    straight = train(Network(), make(name), range(8))
    network, optimizer = Network(), make(name)
    train(network, optimizer, range(5))
    file = io.BytesIO()
    torch.save({"weights": network.state_dict(), "optimizer": optimizer.state_dict()}, file)
    file.seek(0)
    saved = torch.load(file, weights_only=True)
    resumed, fresh = Network(permuted=False), make(name)
    resumed.load_state_dict(saved["weights"])
    resumed = _in_layout_of(Network(), resumed)
    fresh.load_state_dict(saved["optimizer"])
    assert_equal(train(resumed, fresh, range(5, 8)), straight)
    assert fresh.iterations == 8


def _in_layout_of(like: Network, network: Network) -> Network:
    like.load_state_dict(network.state_dict())
    return like


@pytest.mark.parametrize("name", NAMES)
def test_a_deep_copy_trains_apart_and_alike(name):
    network, optimizer = Network(), make(name)
    train(network, optimizer, range(3))
    twin, copied = copy.deepcopy((network, optimizer))
    assert_equal(train(twin, copied, range(3, 6)), train(network, optimizer, range(3, 6)))


@pytest.mark.parametrize("name", NAMES)
def test_a_step_never_waits_for_the_device(name):
    network, optimizer = Network(), make(name)
    train(network, optimizer, range(1))
    before = network.values()
    optimizer.zero_grad()
    optimizer.scale_loss(network.loss(1)).backward()
    with NoWaiting():
        optimizer.step()
    assert not torch.equal(network.w0, before[0])


@pytest.mark.parametrize("name", RULES)
def test_a_step_with_every_option_never_waits_for_the_device(name):
    cls, network = OPTIMIZERS[name], Network()
    optimizer = cls(
        optimizers.schedules.CosineDecay(0.1, 10),
        weight_decay=0.1,
        global_clipnorm=1.0,
        use_ema=True,
        ema_overwrite_frequency=2,
        gradient_accumulation_steps=2,
    )
    scaled = optimizers.LossScaleOptimizer(optimizer, initial_scale=4.0)
    train(network, scaled, range(1))
    before = network.values()
    scaled.zero_grad()
    scaled.scale_loss(network.loss(1)).backward()
    with NoWaiting():
        scaled.step()
    assert not torch.equal(network.w0, before[0])


@pytest.mark.parametrize("options", [{}, {"weight_decay": 0.1}, {"global_clipnorm": 0.5}, {"clipvalue": 0.1}], ids=str)
@pytest.mark.parametrize("name", RULES)
def test_apply_leaves_the_gradients_as_they_were(name, options):
    network, optimizer = Network(), OPTIMIZERS[name](0.05, **options)
    parameters = list(network.parameters())[:4]
    grads = torch.autograd.grad(network.loss(0), parameters)
    copies, before = [g.clone() for g in grads], network.values()
    optimizer.apply(grads, parameters)
    assert_equal(list(grads), copies)
    assert not torch.equal(network.w0, before[0])


@pytest.mark.parametrize("name", RULES)
def test_a_skipped_step_changes_nothing_at_all(name):
    """After an infinite gradient, parameters and state are what they were, and the next update is none the wiser."""
    options = {"weight_decay": 0.1, "use_ema": True, "ema_overwrite_frequency": 5}
    smooth = optimizers.LossScaleOptimizer(OPTIMIZERS[name](0.05, **options), initial_scale=2.0)
    stumbling = optimizers.LossScaleOptimizer(OPTIMIZERS[name](0.05, **options), initial_scale=4.0)
    a, b = Network(), Network()
    _stumble(b, stumbling)
    assert_equal(b.values(), a.values())
    train(a, smooth, range(3))
    train(b, stumbling, range(3))
    for mine, other in zip(
        b.values() + stumbling.inner_optimizer.variables, a.values() + smooth.inner_optimizer.variables, strict=True
    ):
        torch.testing.assert_close(mine, other, rtol=1e-6, atol=1e-7)
    before = [t.clone() for t in b.values() + stumbling.inner_optimizer.variables]
    _stumble(b, stumbling)
    assert_equal(b.values() + stumbling.inner_optimizer.variables, before)
    assert stumbling.skipped_steps.item() == 2
    assert stumbling.iterations == smooth.iterations == 3


def _stumble(network: Network, optimizer: optimizers.LossScaleOptimizer) -> None:
    optimizer.build(network.parameters())
    optimizer.zero_grad()
    optimizer.scale_loss(network.loss(0) + network.w1.sum() * float("inf")).backward()
    optimizer.step()


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16], ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_other_dtypes_follow_single_precision(name, dtype):
    network, optimizer = Network().to(dtype), make(name)
    expected = train(Network(), make(name), range(3))
    tolerance = 0.05 if dtype == torch.bfloat16 else 1e-4
    for mine, single in zip(train(network, optimizer, range(3)), expected, strict=True):
        assert mine.dtype == dtype
        torch.testing.assert_close(mine.float(), single, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", NAMES)
def test_parameters_of_mixed_dtypes_are_moved_together(name):
    network, optimizer = Network(), make(name)
    network.w1.data = network.w1.data.double()
    network.w3.data = network.w3.data.bfloat16()
    before = network.values()
    train(network, optimizer, range(2))
    for value, old in zip(network.values()[:4], before, strict=False):
        assert value.dtype == old.dtype
        assert not torch.equal(value, old)
        assert value.isfinite().all()
