"""GaussianDropout and GaussianNoise by statistics, modes and seeds."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from lamina.engine.masking import get_mask
from lamina.errors import ArgumentError
from lamina.layers.core import Masking
from lamina.layers.noise import GaussianDropout, GaussianNoise, Noise

BOTH = [GaussianDropout, GaussianNoise]


@pytest.mark.parametrize("layer", BOTH)
def test_inference_gives_the_input_itself(layer: Any):
    x = torch.randn(5)
    assert layer(0.5)(x) is x and layer(0.5)(x, training=False) is x and layer(0)(x, training=True) is x


@pytest.mark.parametrize("seed", [None, 3])
@pytest.mark.parametrize("rate", [0.2, 0.5])
def test_gaussian_dropout_multiplies_by_noise_with_the_variance_of_dropout(rate: float, seed: int | None):
    x = torch.full((200_000,), 3.0)
    y = GaussianDropout(rate, seed=seed)(x, training=True)
    assert y.mean().item() == pytest.approx(3.0, abs=0.05)
    assert y.std().item() == pytest.approx(3 * (rate / (1 - rate)) ** 0.5, rel=0.02)


@pytest.mark.parametrize("stddev", [0.3, 2.0])
def test_gaussian_noise_is_added(stddev: float):
    x = torch.full((200_000,), 3.0)
    y = GaussianNoise(stddev)(x, training=True)
    assert y.mean().item() == pytest.approx(3.0, abs=0.05) and y.std().item() == pytest.approx(stddev, rel=0.02)


def test_gradients_pass_through_the_noise():
    x = torch.ones(50, requires_grad=True)
    y = GaussianDropout(0.5, seed=1)(x, training=True)
    y.sum().backward()
    torch.testing.assert_close(x.grad, y.detach())
    x.grad = None
    GaussianNoise(0.5)(x, training=True).sum().backward()
    assert x.grad.tolist() == [1.0] * 50


@pytest.mark.parametrize("layer", BOTH)
def test_a_seed_repeats_itself_and_goes_on(layer: Any):
    x, a, b = torch.ones(50), layer(0.5, seed=7), layer(0.5, seed=7)
    first = a(x, training=True)
    assert torch.equal(first, b(x, training=True)) and not torch.equal(first, a(x, training=True))


@pytest.mark.parametrize("layer", BOTH)
def test_noise_has_the_dtype_and_the_mask_of_the_input(layer: Any):
    x = Masking()(torch.tensor([[[1.0, 2.0], [0.0, 0.0]]]))
    assert get_mask(layer(0.5)(x, training=True)).tolist() == [[True, False]]
    assert layer(0.5)(torch.ones(3, dtype=torch.float64), training=True).dtype is torch.float64


def test_arguments_out_of_range_are_refused():
    with pytest.raises(ArgumentError, match=r"GaussianDropout needs a rate from 0 to 1(.|\n)*0 <= rate < 1"):
        GaussianDropout(1.0)
    with pytest.raises(ArgumentError, match="a standard deviation of at least zero"):
        GaussianNoise(-0.1)
    with pytest.raises(ArgumentError, match="GaussianNoise cannot start from this seed"):
        GaussianNoise(0.1, seed="1")


def test_a_subclass_says_what_happens():
    class Silent(Noise):
        rate = 0.5

    with pytest.raises(NotImplementedError, match=r"Silent does not define disturbed"):
        Silent(None)(torch.ones(3), training=True)
