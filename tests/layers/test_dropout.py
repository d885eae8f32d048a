"""Dropout by statistics, modes, seeds and shapes of noise."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch

from lamina.engine.masking import get_mask
from lamina.errors import ArgumentError, ShapeError
from lamina.layers.core import Masking
from lamina.layers.dropout import AlphaDropout, Dropout, SpatialDropout1D, SpatialDropout2D, SpatialDropout3D
from lamina.layers.input import Input
from lamina.models import Model

EVERY = [Dropout, AlphaDropout, SpatialDropout1D]


@pytest.mark.parametrize("layer", EVERY)
def test_inference_gives_the_input_itself(layer: Any):
    x = torch.randn(2, 3, 4)
    assert layer(0.5)(x) is x and layer(0.5)(x, training=False) is x
    assert layer(0.0)(x, training=True) is x


@pytest.mark.parametrize("layer", EVERY)
def test_an_argument_wins_over_the_mode(layer: Any):
    noisy, x = layer(0.5), torch.ones(4, 5, 50)
    noisy.train()
    assert noisy(x, training=False) is x
    assert not torch.equal(noisy(x), x)
    noisy.eval()
    assert noisy(x) is x and not torch.equal(noisy(x, training=True), x)


@pytest.mark.parametrize("seed", [None, 3])
@pytest.mark.parametrize("rate", [0.1, 0.5, 0.8])
def test_dropout_drops_its_share_and_keeps_the_mean(rate: float, seed: int | None):
    y = Dropout(rate, seed=seed)(torch.ones(200_000), training=True)
    assert (y == 0).float().mean().item() == pytest.approx(rate, abs=0.005)
    assert y.max().item() == pytest.approx(1 / (1 - rate))
    assert y.mean().item() == pytest.approx(1.0, abs=0.02)


@pytest.mark.parametrize("seed", [None, 3])
def test_a_rate_of_one_drops_everything(seed: int | None):
    assert Dropout(1.0, seed=seed)(torch.ones(5), training=True).tolist() == [0.0] * 5


def test_gradients_reach_what_is_kept_and_nothing_else():
    for layer in (Dropout(0.5), Dropout(0.5, seed=1), SpatialDropout1D(0.5)):
        x = torch.ones(4, 5, 6, requires_grad=True)
        y = layer(x, training=True)
        y.sum().backward()
        torch.testing.assert_close(x.grad, y.detach())


@pytest.mark.parametrize("layer", EVERY)
def test_a_seed_repeats_itself_and_goes_on(layer: Any):
    x = torch.ones(4, 5, 50)
    a, b = layer(0.5, seed=7), layer(0.5, seed=7)
    torch.manual_seed(1)
    first = a(x, training=True)
    torch.manual_seed(2)
    assert torch.equal(first, b(x, training=True))
    assert not torch.equal(first, a(x, training=True))
    assert not torch.equal(first, layer(0.5, seed=8)(x, training=True))


@pytest.mark.parametrize("layer", EVERY)
def test_a_seeded_layer_leaves_the_global_generator_alone_and_an_unseeded_one_follows_it(layer: Any):
    x, seeded, unseeded = torch.ones(4, 5, 50), layer(0.5, seed=7), layer(0.5)
    torch.manual_seed(0)
    seeded(x, training=True)
    first = unseeded(x, training=True)
    torch.manual_seed(0)
    assert torch.equal(unseeded(x, training=True), first)


def test_a_copy_of_a_seeded_layer_goes_on_from_where_it_was():
    layer, x = Dropout(0.5, seed=7), torch.ones(50)
    layer(x, training=True)
    twin = copy.deepcopy(layer)
    assert torch.equal(layer(x, training=True), twin(x, training=True))


def test_noise_shape_ties_places_together():
    y = Dropout(0.5, noise_shape=(None, 1, None), seed=1)(torch.ones(6, 7, 8), training=True)
    assert bool((y == y[:, :1]).all()) and set(y.unique().tolist()) == {0.0, 2.0}
    y = Dropout(0.5, noise_shape=[6, 1, 1])(torch.ones(6, 7, 8), training=True)
    assert bool((y == y[:, :1, :1]).all())


@pytest.mark.parametrize(
    ("layer", "shape", "format"),
    [
        (SpatialDropout1D, (20, 4, 30), None),
        (SpatialDropout2D, (20, 4, 3, 30), "channels_last"),
        (SpatialDropout2D, (20, 30, 4, 3), "channels_first"),
        (SpatialDropout3D, (20, 2, 3, 2, 30), "channels_last"),
        (SpatialDropout3D, (20, 30, 2, 3, 2), "channels_first"),
    ],
)
def test_spatial_dropout_drops_whole_channels(layer: Any, shape: tuple[int, ...], format: str | None):
    kwargs = {} if format is None else {"data_format": format}
    y = layer(0.3, **kwargs)(torch.ones(shape), training=True)
    maps = y.movedim(1 if format == "channels_first" else -1, 1).flatten(2)  # (N, C, places)
    assert bool((maps == maps[..., :1]).all())
    assert (maps[..., 0] == 0).float().mean().item() == pytest.approx(0.3, abs=0.06)
    assert y.max().item() == pytest.approx(1 / 0.7)


@pytest.mark.parametrize("rate", [0.1, 0.5])
def test_alpha_dropout_keeps_mean_and_variance(rate: float):
    y = AlphaDropout(rate)(torch.randn(400_000), training=True)
    assert y.mean().item() == pytest.approx(0.0, abs=0.02) and y.std().item() == pytest.approx(1.0, abs=0.02)


def test_alpha_dropout_takes_the_values_of_torch_and_ties_places():
    x = torch.linspace(-1, 1, 24).reshape(2, 3, 4)
    dropped = set(torch.nn.functional.alpha_dropout(torch.zeros(1000), 0.3, True).unique().tolist())
    ours = AlphaDropout(0.3)(torch.zeros(1000), training=True).unique().tolist()
    assert sorted(ours) == pytest.approx(sorted(dropped))
    y = AlphaDropout(0.5, noise_shape=(2, 1, 4), seed=1)(x * 0, training=True)
    assert bool((y == y[:, :1]).all())


@pytest.mark.parametrize("layer", EVERY)
def test_the_rate_may_change_between_calls(layer: Any):
    noisy, x = layer(0.5), torch.ones(4, 5, 50)
    noisy.rate = 0.0
    assert noisy(x, training=True) is x


@pytest.mark.parametrize("layer", EVERY)
def test_masks_ride_on_in_both_modes(layer: Any):
    x = Masking()(torch.tensor([[[1.0, 2.0], [0.0, 0.0]]]))
    for training in (True, False):
        assert get_mask(layer(0.5)(x, training=training)).tolist() == [[True, False]]


def test_whole_numbers_pass_with_their_dtype():
    x = Input((4,), dtype="int64")
    y = Dropout(0.5)(x)
    assert y.dtype is torch.int64 and Model(x, y)(torch.arange(4)[None]).dtype is torch.int64


@pytest.mark.parametrize("layer", EVERY)
@pytest.mark.parametrize("rate", [-0.1, 1.1, 30, float("nan")])
def test_a_rate_that_is_no_share_is_refused(layer: Any, rate: float):
    with pytest.raises(ArgumentError, match=f"{layer.__name__} needs a rate from 0 to 1"):
        layer(rate)


def test_per_cent_are_told_from_shares():
    with pytest.raises(ArgumentError, match=r"Dropout\(0.3\), if per cent were meant"):
        Dropout(30)


def test_alpha_dropout_cannot_drop_everything():
    with pytest.raises(ArgumentError, match="0 <= rate < 1"):
        AlphaDropout(1.0)


@pytest.mark.parametrize("layer", [Dropout, AlphaDropout])
@pytest.mark.parametrize("shape", ["2,1", (2, 0), (1.5,), (-1, 2), 3])
def test_a_shape_of_noise_that_is_none_is_refused(layer: Any, shape: Any):
    with pytest.raises(ArgumentError, match="cannot draw its noise in this shape"):
        layer(0.5, noise_shape=shape)


@pytest.mark.parametrize("seed", ["1", 1.5, True])
def test_a_seed_that_is_no_whole_number_is_refused(seed: Any):
    with pytest.raises(ArgumentError, match="Dropout cannot start from this seed"):
        Dropout(0.5, seed=seed)


@pytest.mark.parametrize(("layer", "ndim"), [(SpatialDropout1D, 3), (SpatialDropout2D, 4), (SpatialDropout3D, 5)])
def test_another_number_of_axes_is_refused(layer: Any, ndim: int):
    with pytest.raises(ShapeError, match=f"{layer.__name__} cannot take this input"):
        layer(0.5)(torch.ones((2,) * (ndim - 1)), training=True)
