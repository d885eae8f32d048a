"""The names by which kernels know activations."""

from __future__ import annotations

import functools

import pytest
import torch

from lamina import activations
from lamina.activations.fused import kernel_name
from lamina.kernels.images import ACTIVATIONS
from lamina.registry import ACTIVATIONS as REGISTERED


def test_a_name_is_that_of_the_function_which_the_kernel_computes():
    x = torch.linspace(-4, 4, 33)
    for name, function in ACTIVATIONS.items():
        activation = activations.get(name)
        assert kernel_name(activation) == name
        torch.testing.assert_close(function(x), activation(x))


def test_no_activation_given_is_the_linear_one():
    assert kernel_name(activations.get(None)) == "linear"


@pytest.mark.parametrize("name", sorted(set(REGISTERED) - set(ACTIVATIONS)))
def test_other_activations_have_no_name(name):
    found = kernel_name(REGISTERED[name])
    # Another name of the same function is no other function.
    assert found is None or REGISTERED[name] is REGISTERED[found]


def test_functions_that_only_look_alike_have_no_name():
    alike = (torch.relu, functools.partial(activations.relu, negative_slope=0.1), lambda x: x, abs, None, "relu")
    assert [kernel_name(function) for function in alike] == [None] * 6
