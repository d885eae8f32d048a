"""ReLU, LeakyReLU, PReLU, ELU and Softmax as layers."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from lamina.engine.masking import get_mask, set_mask
from lamina.errors import ArgumentError, ShapeError
from lamina.layers.activation import ELU, LeakyReLU, PReLU, ReLU, Softmax
from lamina.layers.core import Masking
from lamina.layers.input import Input
from lamina.models import Model

X = torch.tensor([[-3.0, -0.5, 0.0, 0.5, 8.0]])


def test_relu_has_a_ceiling_a_leak_and_a_threshold():
    assert ReLU()(X).tolist() == [[0.0, 0.0, 0.0, 0.5, 8.0]]
    assert ReLU(max_value=6.0)(X).tolist() == [[0.0, 0.0, 0.0, 0.5, 6.0]]
    assert ReLU(6.0, 0.5, 1.0)(X).tolist() == [[-2.0, -0.75, -0.5, -0.25, 6.0]]


def test_leaky_relu_and_elu_are_those_of_torch():
    assert torch.equal(LeakyReLU()(X), torch.nn.functional.leaky_relu(X, 0.3))
    assert torch.equal(ELU(0.5)(X), torch.nn.functional.elu(X, 0.5))


@pytest.mark.parametrize("axes", [None, [1, 2], 1, [-1], (1,)])
def test_prelu_has_an_alpha_for_each_place_that_is_not_shared(axes: Any):
    layer = PReLU(alpha_initializer="random_normal", shared_axes=axes)
    x = torch.randn(2, 3, 4, 5)
    shared = {a % 4 for a in ([] if axes is None else [axes] if isinstance(axes, int) else axes)}
    y = layer(x)
    assert layer.alpha.shape == tuple(1 if axis in shared else x.shape[axis] for axis in (1, 2, 3))
    torch.testing.assert_close(y, torch.where(x > 0, x, layer.alpha * x))


def test_prelu_with_shared_space_is_that_of_torch_nn():
    module = torch.nn.PReLU(5)
    torch.nn.init.normal_(module.weight)
    x = torch.randn(2, 3, 4, 5)
    layer = PReLU(shared_axes=[1, 2])
    layer(x)
    layer.set_weights([module.weight.detach().reshape(1, 1, 5)])
    torch.testing.assert_close(layer(x), module(x.movedim(-1, 1)).movedim(1, -1))
    assert layer(torch.randn(2, 7, 9, 5)).shape == (2, 7, 9, 5)


def test_prelu_may_meet_unknown_sizes_along_shared_axes_only():
    assert PReLU(shared_axes=[1, 2])(Input((None, None, 3))).shape == (None, None, None, 3)
    with pytest.raises(ArgumentError, match="'alpha' cannot be made"):
        PReLU()(Input((None, 3)))


@pytest.mark.parametrize("axes", [[0], 3, [-3], [1, 7]])
def test_prelu_refuses_axes_that_are_not_there(axes: Any):
    with pytest.raises(ShapeError, match=r"PReLU cannot share alpha along these axes(.|\n)*axes from 1 to 2"):
        PReLU(shared_axes=axes)(torch.ones(2, 3, 4))


@pytest.mark.parametrize("axis", [-1, 1, (1, 2), [2], [-1, 1]])
def test_softmax_sums_to_one_over_its_axes(axis: Any):
    y = Softmax(axis)(torch.randn(2, 3, 4))
    axes = (axis,) if isinstance(axis, int) else tuple(axis)
    torch.testing.assert_close(y.sum(axes), torch.ones_like(y.sum(axes)))
    assert float(y.min()) > 0


@pytest.mark.parametrize("axis", [-1, (1, 2)])
@pytest.mark.parametrize("shape", [(2, 3, 4), (3, 4), (1, 1, 4), (2, 3, 1)])
def test_softmax_shares_one_among_what_the_mask_leaves(axis: Any, shape: tuple[int, ...]):
    x = torch.randn(2, 3, 4, dtype=torch.float64)
    mask = torch.rand(shape) > 0.4
    y = Softmax(axis)(x, mask=mask)
    odds = torch.where(mask, x.exp(), 0.0)
    total = odds.sum(axis, keepdim=True)
    torch.testing.assert_close(y, torch.where(total > 0, odds / total.clamp_min(1e-300), 0.0))


def test_softmax_takes_a_mask_of_numbers():
    y = Softmax()(torch.zeros(1, 4), mask=torch.tensor([[1.0, 0.0, 0.6, 0.5]]))
    assert y.tolist() == [[0.5, 0.0, 0.5, 0.0]]


def test_softmax_where_nothing_is_left_is_zero_and_so_is_its_gradient():
    x = torch.randn(2, 3, requires_grad=True)
    y = Softmax()(x, mask=torch.tensor([[True, True, True], [False, False, False]]))
    (y * torch.randn(2, 3)).sum().backward()
    assert y[1].tolist() == [0.0] * 3 and x.grad[1].tolist() == [0.0] * 3 and bool(x.grad.isfinite().all())


def test_softmax_gives_zero_at_the_steps_that_its_input_masks():
    x = set_mask(torch.randn(2, 3, 4), torch.tensor([[True, True, False], [True, False, False]]))
    y = Softmax()(x)
    torch.testing.assert_close(y.sum(-1), torch.tensor([[1.0, 1.0, 0.0], [1.0, 0.0, 0.0]]))


@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 4, 1), (3, 3, 4)])
def test_softmax_refuses_a_mask_that_does_not_broadcast(shape: tuple[int, ...]):
    with pytest.raises(ShapeError, match=r"does not fit the input of Softmax(.|\n)*broadcasts to \(2, 3, 4\)"):
        Softmax()(torch.ones(2, 3, 4), mask=torch.ones(shape, dtype=torch.bool))


@pytest.mark.parametrize("layer", [ReLU, LeakyReLU, PReLU, ELU, Softmax])
def test_shape_and_mask_are_those_of_the_input(layer: Any):
    x = Input((3, 4))
    y = layer()(Masking()(x))
    assert y.shape == (None, 3, 4)
    data = torch.randn(2, 3, 4)
    data[:, 2] = 0.0
    assert get_mask(Model(x, y)(data)).tolist() == [[True, True, False]] * 2


@pytest.mark.parametrize(
    ("layer", "kwargs", "argument"),
    [
        (ReLU, {"max_value": -1.0}, "max_value"),
        (ReLU, {"negative_slope": None}, "negative_slope"),
        (ReLU, {"threshold": -1.0}, "threshold"),
        (LeakyReLU, {"negative_slope": -0.1}, "negative_slope"),
    ],
)
def test_arguments_below_zero_are_refused(layer: Any, kwargs: dict[str, Any], argument: str):
    with pytest.raises(ArgumentError, match=f"{layer.__name__} needs {argument} of at least zero"):
        layer(**kwargs)
