"""LayerNormalization, GroupNormalization, RMSNormalization and UnitNormalization."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from lamina.engine.masking import get_mask
from lamina.errors import ArgumentError, ShapeError
from lamina.layers.core import Masking
from lamina.layers.input import Input
from lamina.layers.sample_normalization import (
    GroupNormalization,
    LayerNormalization,
    RMSNormalization,
    UnitNormalization,
)
from lamina.models import Model


def test_layer_normalization_is_that_of_torch_nn():
    x = torch.randn(4, 5, 6)
    module = torch.nn.LayerNorm((5, 6), eps=1e-3)
    torch.nn.init.normal_(module.weight)
    torch.nn.init.normal_(module.bias)
    layer = LayerNormalization(axis=[1, 2])
    layer(x)
    layer.set_weights([module.weight.detach(), module.bias.detach()])
    torch.testing.assert_close(layer(x), module(x))


def test_rms_normalization_is_that_of_torch_nn():
    x = torch.randn(4, 6)
    layer = RMSNormalization()
    layer(x)
    layer.set_weights([torch.arange(6.0)])
    module = torch.nn.RMSNorm(6, eps=1e-6)
    module.weight.data = torch.arange(6.0)
    torch.testing.assert_close(layer(x), module(x))


@pytest.mark.parametrize("axis", [-1, 2, [1, 2], [-2, -1], [2, -2], (1,), 1])
def test_axes_may_be_counted_from_either_end_and_in_any_order(axis: Any):
    x = torch.randn(4, 5, 6) * 3 + 2
    axes = sorted({a % 3 for a in (axis if isinstance(axis, (list, tuple)) else [axis])})
    y = LayerNormalization(axis=axis, epsilon=0.0)(x)
    torch.testing.assert_close(y.mean(axes), torch.zeros_like(y.mean(axes)), atol=1e-5, rtol=0)
    torch.testing.assert_close(y.var(axes, correction=0), torch.ones_like(y.mean(axes)))


def test_gamma_and_beta_have_the_sizes_of_the_axes_and_can_be_left_out():
    x = torch.randn(4, 5, 6)
    full, bare = LayerNormalization(axis=[1, 2]), LayerNormalization(axis=[1, 2], center=False, scale=False)
    full(x), bare(x)
    assert [w.shape for w in full.trainable_weights] == [(5, 6), (5, 6)] and bare.weights == []
    only = LayerNormalization(scale=False, beta_initializer="ones")
    torch.testing.assert_close(only(x).mean(-1), torch.ones(4, 5), atol=1e-5, rtol=0)


def test_rms_scaling_divides_by_the_deviation_and_keeps_the_mean():
    x = torch.tensor([[1.0, 5.0]])
    layer = LayerNormalization(rms_scaling=True, epsilon=0.0, center=True, scale=False)
    assert layer(x).tolist() == [[0.5, 2.5]]
    assert [name for name, _ in layer._named_weights()] == ["gamma"]


def test_group_normalization_with_one_group_a_channel_is_instance_normalization():
    x = torch.randn(2, 4, 5, 3)
    y = GroupNormalization(groups=-1)(x)
    expected = torch.nn.functional.instance_norm(x.permute(0, 3, 1, 2), eps=1e-3).permute(0, 2, 3, 1)
    torch.testing.assert_close(y, expected)


def test_unit_normalization_gives_vectors_of_length_one_and_keeps_zeros():
    x = torch.randn(3, 4, requires_grad=True)
    torch.testing.assert_close(UnitNormalization()(x).norm(dim=-1), torch.ones(3))
    torch.testing.assert_close(UnitNormalization(axis=[0, 1])(x).norm(), torch.tensor(1.0))
    zero = torch.zeros(1, 4, requires_grad=True)
    y = UnitNormalization()(zero)
    y.sum().backward()
    assert y.tolist() == [[0.0] * 4] and bool(zero.grad.isfinite().all())


@pytest.mark.parametrize("layer", [LayerNormalization, UnitNormalization, lambda: GroupNormalization(1)])
def test_masks_ride_on(layer: Any):
    x = torch.tensor([[[1.0, 2.0], [0.0, 0.0]]])
    assert get_mask(layer()(Masking()(x))).tolist() == [[True, False]]


@pytest.mark.parametrize("layer", [LayerNormalization, RMSNormalization, UnitNormalization, GroupNormalization])
def test_symbolic_shapes_are_those_of_a_run(layer: Any):
    x = Input((None, 32))
    y = layer()(x)
    assert y.shape == (None, None, 32)
    assert Model(x, y)(torch.ones(2, 5, 32)).shape == (2, 5, 32)


@pytest.mark.parametrize("layer", [LayerNormalization, RMSNormalization, UnitNormalization])
@pytest.mark.parametrize("axis", ["-1", 1.5, [], None, True, [1, "2"]])
def test_an_axis_that_is_no_number_is_refused(layer: Any, axis: Any):
    with pytest.raises(ArgumentError, match="needs the axis or axes to normalize"):
        layer(axis=axis)


@pytest.mark.parametrize("axis", [3, -4, [1, 1], [1, -1]])
def test_an_axis_that_is_not_there_or_twice_is_refused(axis: Any):
    with pytest.raises(ShapeError, match="LayerNormalization cannot normalize over axis"):
        LayerNormalization(axis=axis)(torch.ones(2, 3))


@pytest.mark.parametrize("groups", [0, -2, 2.0, True, "4"])
def test_a_number_of_groups_that_is_none_is_refused(groups: Any):
    with pytest.raises(ArgumentError, match="GroupNormalization needs a number of groups"):
        GroupNormalization(groups)


@pytest.mark.parametrize(("groups", "channels"), [(4, 6), (8, 4)])
def test_groups_that_do_not_divide_the_channels_are_refused(groups: int, channels: int):
    with pytest.raises(ShapeError, match=rf"do not fall into groups(.|\n)*a multiple of {groups} on axis -1"):
        GroupNormalization(groups)(torch.ones(2, channels))


@pytest.mark.parametrize("layer", [LayerNormalization, RMSNormalization, GroupNormalization])
def test_a_negative_epsilon_is_refused(layer: Any):
    with pytest.raises(ArgumentError, match="epsilon of at least zero"):
        layer(epsilon=-1.0)


def test_another_size_on_the_axis_is_refused():
    layer = LayerNormalization()
    layer(torch.ones(2, 4))
    with pytest.raises(ShapeError, match=r"2 axes with 4 on axis 1(.|\n)*shape \(2, 5\)"):
        layer(torch.ones(2, 5))
