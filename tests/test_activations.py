"""Activations: their arguments, their numbers at the edges, and the ways to name them."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from lamina import activations
from lamina.configurable import Configurable
from lamina.errors import DtypeError, ShapeError, UnknownNameError
from lamina.registry import ACTIVATIONS, LAYERS

VECTORWISE = {"softmax", "log_softmax", "sparsemax", "glu"}


def callable_on_one_tensor(name: str) -> Callable[[Tensor], Tensor]:
    """The activation `name`, with values for the arguments that have no default."""
    function = ACTIVATIONS[name]
    return functools.partial(function, threshold=0.5, default_value=-1.0) if name == "threshold" else function


def sample(name: str, dtype: torch.dtype = torch.float32, largest: float = 1e30) -> Tensor:
    """Inputs from the tiny to the huge, in pairs for activations that work on vectors."""
    sizes = torch.tensor([0.0, 1e-30, 0.5, 1.0, 3.0, 6.0, 20.0, 100.0, 300.0, 3e4, largest], dtype=torch.float64)
    values = torch.cat([-sizes.flip(0), sizes]).to(dtype)
    return torch.stack([values, values.flip(0)], dim=1) if name in VECTORWISE else values


# Numbers


def test_relu_of_every_combination_of_arguments_follows_its_definition():
    x = np.linspace(-3, 9, 49)
    for slope in (0.0, 0.25):
        for ceiling in (None, 2.0, 6.0):
            for place in (0.0, 1.0):
                leaked = np.where(x < place, slope * (x - place), 0.0) if slope else 0.0
                passed = np.where(x > place, x, 0.0)
                passed = passed if ceiling is None else np.minimum(passed, ceiling)
                got = activations.relu(torch.tensor(x), slope, ceiling, place)
                np.testing.assert_allclose(got.numpy(), passed + leaked, atol=1e-12)


def test_a_plain_relu_is_torch_relu():
    x = torch.randn(50)
    assert torch.equal(activations.relu(x), torch.relu(x))
    assert torch.equal(activations.relu(x, negative_slope=0.3), torch.nn.functional.leaky_relu(x, 0.3))


def test_softmax_over_several_axes_sums_to_one_over_all_of_them_together():
    x = torch.randn(2, 3, 4, dtype=torch.float64)
    expected = torch.softmax(x.transpose(0, 1).reshape(3, 8), dim=1).reshape(3, 2, 4).transpose(0, 1)
    torch.testing.assert_close(activations.softmax(x, axis=(0, 2)), expected)
    torch.testing.assert_close(activations.log_softmax(x, axis=[0, 2]), expected.log())
    torch.testing.assert_close(activations.softmax(x, axis=None), torch.softmax(x.flatten(), 0).view(2, 3, 4))


def test_softmax_over_several_axes_takes_scores_of_any_size():
    x = torch.tensor([[1e4, 0.0], [-1e4, 1e4]])
    assert activations.softmax(x, axis=(0, 1)).tolist() == [[0.5, 0.0], [0.0, 0.5]]


def test_sparsemax_is_the_nearest_point_of_the_simplex():
    x = torch.randn(20, 7, dtype=torch.float64) * 2
    low, high = x.amin(1, keepdim=True) - 1, x.amax(1, keepdim=True)
    for _ in range(80):  # bisection for the threshold at which the result sums to 1
        middle = (low + high) / 2
        too_much = (x - middle).clamp(min=0).sum(1, keepdim=True) > 1
        low, high = torch.where(too_much, middle, low), torch.where(too_much, high, middle)
    torch.testing.assert_close(activations.sparsemax(x), (x - low).clamp(min=0))
    torch.testing.assert_close(activations.sparsemax(x.T, axis=0), (x - low).clamp(min=0).T)


def test_sparsemax_of_huge_scores_still_sums_to_one():
    x = torch.tensor([[1e8, 0.0, -1e8], [1e30, 1e30, -1e30]])
    assert activations.sparsemax(x).tolist() == [[1.0, 0.0, 0.0], [0.5, 0.5, 0.0]]


def test_the_gradient_of_sparsemax_is_that_of_finite_differences():
    x = torch.tensor([[0.3, 0.2, -2.0, 0.9]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(activations.sparsemax, (x,))


def test_squareplus_neither_overflows_nor_underflows_in_half_precision():
    x = torch.tensor([-6e4, -300.0, 300.0, 6e4], dtype=torch.float16)
    assert activations.squareplus(x).tolist() == [0.0, 0.0, 300.0, 6e4]


def test_squareplus_without_smoothness_is_relu():
    assert activations.squareplus(torch.tensor([-2.0, 3.0]), b=0).tolist() == [0.0, 3.0]


def test_glu_halves_the_axis_that_it_is_given():
    x = torch.randn(4, 6)
    torch.testing.assert_close(activations.glu(x, axis=0), x[:2] * torch.sigmoid(x[2:]))
    torch.testing.assert_close(activations.glu(x), x[:, :3] * torch.sigmoid(x[:, 3:]))


def test_linear_gives_back_the_very_tensor():
    x = torch.randn(3)
    assert activations.linear(x) is x


@pytest.mark.parametrize("name", list(ACTIVATIONS))
def test_an_activation_gives_no_nan_and_no_nan_gradient_however_large_its_input(name: str):
    x = sample(name).requires_grad_()
    y = callable_on_one_tensor(name)(x)
    y.sum().backward()
    assert not y.isnan().any()
    assert not x.grad.isnan().any()
    assert y.isfinite().all() or name == "exponential"


@pytest.mark.parametrize("name", list(ACTIVATIONS))
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_an_activation_keeps_the_dtype_and_agrees_with_float32(name: str, dtype: torch.dtype):
    x = sample(name, torch.float16, largest=5.0).clamp(-9, 9)  # numbers that all the dtypes hold
    x = x.to(torch.bfloat16).to(dtype)
    y = callable_on_one_tensor(name)(x)
    assert y.dtype == dtype
    torch.testing.assert_close(y.float(), callable_on_one_tensor(name)(x.float()), rtol=2e-2, atol=2e-2)


@pytest.mark.parametrize("name", list(ACTIVATIONS))
def test_an_activation_compiles_as_one_graph(name: str):
    function = callable_on_one_tensor(name)
    x = torch.randn(4, 6)
    compiled = torch.compile(lambda t: function(t), fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(x), function(x))
    torch._dynamo.reset()


# Names


@pytest.mark.parametrize("name", list(ACTIVATIONS))
def test_an_activation_goes_to_its_name_and_back(name: str):
    function = activations.get(name)
    assert function is getattr(activations, name)
    assert activations.serialize(function) == name
    assert activations.deserialize(name) is function


@pytest.mark.parametrize("name", list(ACTIVATIONS))
def test_an_activation_documents_its_arguments_and_gives_an_example(name: str):
    doc = inspect.getdoc(ACTIVATIONS[name])
    for argument in inspect.signature(ACTIVATIONS[name]).parameters:
        assert f"\n    {argument}: " in doc
    assert "Returns:" in doc
    assert ">>> " in doc


def test_the_second_names_of_keras_stand_for_the_same_functions():
    assert activations.get("swish") is activations.swish is activations.silu
    assert activations.get("hard_swish") is activations.hard_swish is activations.hard_silu


def test_none_is_linear():
    assert activations.get(None) is activations.linear


def test_a_function_stands_for_itself():
    def double(x: Tensor) -> Tensor:
        return 2 * x

    assert activations.get(double) is double
    assert activations.serialize(double) == "double"


def test_a_torch_module_and_a_class_of_one_are_activations():
    module = torch.nn.LeakyReLU(0.3)
    assert activations.get(module) is module
    made = activations.get(torch.nn.GELU)
    assert isinstance(made, torch.nn.GELU)
    x = torch.randn(5)
    torch.testing.assert_close(made(x), activations.gelu(x))


class Steep(Configurable):
    """Stands for a layer that is used as an activation."""

    def __init__(self, slope: float = 2.0) -> None:
        self.slope = slope

    def __call__(self, x: Tensor) -> Tensor:
        return self.slope * x


def test_a_layer_used_as_an_activation_goes_to_its_config_and_back(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(LAYERS._objects, "Steep", Steep)
    monkeypatch.setitem(LAYERS._names, "Steep", "Steep")
    config = activations.serialize(activations.get(Steep(3.0)))
    assert config == {"class_name": "Steep", "config": {"slope": 3.0}}
    assert activations.get(config)(torch.tensor(2.0)).item() == 6.0


def test_the_config_of_a_function_as_keras_writes_it_is_understood():
    config = {"module": "builtins", "class_name": "function", "config": "relu", "registered_name": "function"}
    assert activations.get(config) is activations.relu
    assert activations.deserialize(config) is activations.relu


# Mistakes


def test_an_unknown_name_brings_the_nearest_one():
    with pytest.raises(UnknownNameError, match="There is no activation named 'rellu'") as caught:
        activations.get("rellu")
    assert "did you mean 'relu'?" in str(caught.value)


def test_an_unknown_class_in_a_config_is_named():
    with pytest.raises(UnknownNameError, match="There is no activation named 'Nothing'"):
        activations.get({"class_name": "Nothing", "config": {}})


def test_a_number_is_no_activation():
    with pytest.raises(DtypeError, match="Cannot make an? activation of this"):
        activations.get(3)


def test_a_class_whose_objects_cannot_be_called_is_no_activation():
    with pytest.raises(DtypeError, match="An activation must be something that can be called on a tensor"):
        activations.get(dict)


def test_glu_of_an_odd_axis_says_how_many_units_it_takes():
    with pytest.raises(ShapeError, match="glu splits an axis into two halves, and this one is odd") as caught:
        activations.glu(torch.ones(2, 5))
    assert "give the layer before it 6 units instead of 5" in str(caught.value)
