"""BatchNormalization: modes, moving averages, masks, freezing, and its errors."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from lamina.engine.masking import get_mask, set_mask
from lamina.errors import ArgumentError, ShapeError
from lamina.layers.core import Dense, Masking
from lamina.layers.input import Input
from lamina.layers.normalization import BatchNormalization
from lamina.models import Model, Sequential


def built(shape: tuple[int, ...] = (4, 3), **kwargs: Any) -> BatchNormalization:
    layer = BatchNormalization(**kwargs)
    layer.build(shape)
    return layer


def test_weights_come_in_the_order_of_keras():
    layer = built(renorm=True)
    names = [name for name, _ in layer._named_weights()]
    assert names == [
        "gamma",
        "beta",
        "moving_mean",
        "moving_variance",
        "moving_stddev",
        "renorm_mean",
        "renorm_stddev",
    ]
    assert len(layer.trainable_weights) == 2 and len(layer.non_trainable_weights) == 5


@pytest.mark.parametrize(("center", "scale", "count"), [(True, False, 1), (False, True, 1), (False, False, 0)])
def test_gamma_and_beta_can_be_left_out(center: bool, scale: bool, count: int):
    layer = built(center=center, scale=scale)
    x = torch.randn(4, 3) * 5
    assert len(layer.trainable_weights) == count
    y = layer(x, training=True)
    torch.testing.assert_close(y.mean(0), torch.zeros(3), atol=1e-6, rtol=0)
    torch.testing.assert_close(y.var(0, correction=0), torch.ones(3), atol=1e-3, rtol=0)


def test_a_fresh_layer_uses_the_moving_averages_and_leaves_them_alone():
    layer, x = built(), torch.randn(4, 3) + 5
    torch.testing.assert_close(layer(x), x / (1 + 1e-3) ** 0.5)
    assert layer.moving_mean.tolist() == [0.0] * 3 and layer.moving_variance.tolist() == [1.0] * 3


def test_training_moves_the_averages_towards_the_biased_statistics_of_the_batch():
    layer, x = built(momentum=0.75), torch.randn(4, 3) * 2 + 5
    layer(x, training=True)
    torch.testing.assert_close(layer.moving_mean, 0.25 * x.mean(0))
    torch.testing.assert_close(layer.moving_variance, 0.75 + 0.25 * x.var(0, correction=0))


def test_the_averages_are_updated_in_place():
    layer = built()
    before = layer.moving_mean.data_ptr()
    layer(torch.ones(4, 3), training=True)
    assert layer.moving_mean.data_ptr() == before and layer.moving_mean.tolist() != [0.0] * 3


def test_an_argument_wins_over_the_mode():
    layer, x = built(), torch.randn(4, 3) + 5
    layer.train()
    quiet = layer(x, training=False)
    assert layer.moving_mean.tolist() == [0.0] * 3
    torch.testing.assert_close(quiet, x / (1 + 1e-3) ** 0.5)
    loud = layer(x)
    assert layer.moving_mean.abs().sum() > 0 and not torch.allclose(loud, quiet)


def test_a_frozen_layer_computes_as_at_inference_while_training():
    layer, x = built(), torch.randn(4, 3) + 5
    layer.trainable = False
    layer.train()
    torch.testing.assert_close(layer(x), x / (1 + 1e-3) ** 0.5)
    torch.testing.assert_close(layer(x, training=True), x / (1 + 1e-3) ** 0.5)
    assert layer.moving_mean.tolist() == [0.0] * 3 and layer.trainable_weights == []
    layer.trainable = True
    layer(x)
    assert layer.moving_mean.abs().sum() > 0


def test_a_training_step_reads_nothing_back_to_the_host():
    class Forbid(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if any(word in str(func) for word in ("_local_scalar_dense", "nonzero", "masked_select")):
                raise AssertionError(f"{func} makes the host wait")
            return func(*args, **(kwargs or {}))

    x = torch.randn(4, 5, 3, requires_grad=True)
    mask = torch.ones(4, 5, dtype=torch.bool)
    for layer in (built((4, 5, 3)), built((4, 5, 3), renorm=True)):
        with Forbid():
            layer(x, training=True).sum().backward()
            layer(x, training=True, mask=mask).sum().backward()
            layer(x)


def test_masked_steps_do_not_count():
    layer, x = built((2, 3, 3), momentum=0.0), torch.randn(2, 3, 3)
    mask = torch.tensor([[True, True, False], [True, False, False]])
    y = layer(x, training=True, mask=mask)
    kept = x[mask]
    torch.testing.assert_close(layer.moving_mean, kept.mean(0))
    torch.testing.assert_close(layer.moving_variance, kept.var(0, correction=0))
    torch.testing.assert_close(y[mask].mean(0), torch.zeros(3), atol=1e-5, rtol=0)


def test_a_mask_that_rides_on_the_input_counts_and_rides_on():
    layer = built((2, 3, 3), momentum=0.0).train()
    x = torch.randn(2, 3, 3)
    x[:, 2] = 0.0
    y = layer(Masking()(x))
    torch.testing.assert_close(layer.moving_mean, x[:, :2].reshape(-1, 3).mean(0))
    assert get_mask(y).tolist() == [[True, True, False]] * 2


def test_a_mask_over_all_leading_axes_of_an_image_is_taken_too():
    layer, x = built((2, 2, 2, 3), momentum=0.0), torch.randn(2, 2, 2, 3)
    mask = torch.rand(2, 2, 2) > 0.5
    layer(x, training=True, mask=mask)
    torch.testing.assert_close(layer.moving_mean, x[mask].mean(0))
    samples = torch.tensor([True, False])
    layer(x, training=True, mask=samples)
    torch.testing.assert_close(layer.moving_mean, x[0].reshape(-1, 3).mean(0))


def test_a_mask_given_as_an_argument_is_forgotten_after_the_call():
    layer, x = built((2, 3, 3), momentum=0.0), torch.randn(2, 3, 3)
    layer(x, training=True, mask=torch.tensor([[True, False, False]] * 2))
    layer(x, training=True)
    torch.testing.assert_close(layer.moving_mean, x.reshape(-1, 3).mean(0))


@pytest.mark.parametrize("shape", [(2, 3, 3), (2, 4), (3,), (2, 3, 3, 1)])
def test_a_mask_of_another_shape_is_refused(shape: tuple[int, ...]):
    with pytest.raises(ShapeError, match="mask does not fit the input of BatchNormalization"):
        built((2, 3, 3))(torch.randn(2, 3, 3), training=True, mask=torch.ones(shape, dtype=torch.bool))


def test_renormalization_with_limits_that_leave_no_room_is_plain_batch_normalization():
    x = torch.randn(8, 3) * 2 + 1
    pinned = {"rmin": 1.0, "rmax": 1.0, "dmax": 0.0}
    plain, renormed = built((8, 3)), built((8, 3), renorm=True, renorm_clipping=pinned)
    torch.testing.assert_close(renormed(x, training=True), plain(x, training=True))
    torch.testing.assert_close(renormed.moving_mean, plain.moving_mean)


def test_renormalization_without_limits_normalizes_by_the_averages_before_the_step():
    x = torch.randn(8, 3) * 2 + 1
    layer = built((8, 3), renorm=True)
    torch.testing.assert_close(layer(x, training=True), x)  # the averages begin at mean 0 and deviation 1
    torch.testing.assert_close(layer.renorm_stddev, 0.99 + 0.01 * (x.var(0, correction=0) + 1e-3).sqrt())


def test_regularizers_and_constraints_are_kept():
    layer = built(gamma_regularizer="l2", beta_constraint="non_neg", beta_initializer="ones")
    assert [loss.item() for loss in layer.losses] == pytest.approx([0.03])
    assert [weight is layer.beta for weight, _ in layer.constrained_weights()] == [True]


def test_a_symbolic_call_gives_the_shape_with_its_unknown_sizes():
    x = Input((None, 7, 3))
    layer = BatchNormalization()
    y = layer(x)
    assert y.shape == (None, None, 7, 3) and layer.gamma.shape == (3,)
    assert Model(x, y)(torch.ones(2, 5, 7, 3)).shape == (2, 5, 7, 3)


def test_a_model_trains_through_it():
    model = Sequential([Dense(8, activation="relu"), BatchNormalization(), Dense(1)])
    x = torch.randn(64, 4) * 10 + 3
    target = x.sum(1, keepdim=True)
    model(x)
    model.train()
    optimizer = torch.optim.Adam(model.parameters(), 0.05)
    losses = []
    for _ in range(60):
        loss = (model(x) - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 4


def test_a_copy_has_averages_of_its_own():
    layer = built()
    twin = copy.deepcopy(layer)
    layer(torch.ones(4, 3), training=True)
    assert twin.moving_mean.tolist() == [0.0] * 3


def test_compiled_training_moves_the_averages_as_eager_training_does():
    layer = built()
    twin, x = copy.deepcopy(layer), torch.randn(4, 3)
    expected = layer(x, training=True)
    compiled = torch.compile(twin, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(x, training=True), expected)
    torch.testing.assert_close(twin.moving_variance, layer.moving_variance)


@pytest.mark.parametrize(
    "kwargs", [{}, {"scale": False}, {"center": False}, {"center": False, "scale": False}, {"renorm": True}], ids=str
)
@pytest.mark.parametrize("masked", [False, True])
def test_bfloat16_data_keep_statistics_of_float32(kwargs: dict[str, Any], masked: bool):
    layer = BatchNormalization(dtype="mixed_bfloat16", momentum=0.0, renorm_momentum=0.0, **kwargs)
    x = torch.randn(512, 2, 3) + 3
    mask = torch.ones(512, 2, dtype=torch.bool) if masked else None
    layer(x, training=True, mask=mask)  # renormalization begins with the averages that it comes to
    y = layer(x.bfloat16(), training=True, mask=mask)
    assert layer.moving_mean.dtype is layer.moving_variance.dtype is torch.float32 and y.dtype is torch.bfloat16
    x = x.flatten(0, 1)
    torch.testing.assert_close(layer.moving_mean, x.mean(0), atol=2e-3, rtol=0)
    assert y.detach().float().mean().abs().item() < 1e-2


def test_the_mask_of_a_direct_call_is_found_without_the_long_path():
    layer = built((2, 3, 3))
    assert layer._direct
    x = set_mask(torch.randn(2, 3, 3), torch.tensor([[True, False, False]] * 2))
    layer.momentum = 0.0
    layer.train()(x)
    np.testing.assert_allclose(layer.moving_mean.numpy(), x[:, 0].mean(0).numpy(), rtol=1e-6)


@pytest.mark.parametrize(
    ("kwargs", "words"),
    [
        ({"momentum": 1.5}, "momentum from 0 to 1"),
        ({"renorm_momentum": -0.1}, "renorm_momentum from 0 to 1"),
        ({"epsilon": -1.0}, "epsilon of at least zero"),
        ({"synchronized": True}, "cannot average its statistics over devices"),
        ({"renorm": True, "renorm_clipping": {"r": 1.0}}, "no limits for batch renormalization"),
        ({"renorm": True, "renorm_clipping": {"rmin": 2.0, "rmax": 1.0}}, "no limits for batch renormalization"),
        ({"renorm": True, "renorm_clipping": {"dmax": -1.0}}, "no limits for batch renormalization"),
    ],
)
def test_an_argument_out_of_range_is_refused(kwargs: dict[str, Any], words: str):
    with pytest.raises(ArgumentError, match=words):
        BatchNormalization(**kwargs)


def test_an_axis_that_is_not_there_is_refused():
    with pytest.raises(ShapeError, match=r"cannot normalize over axis 4(.|\n)*axes from -2 to 1"):
        BatchNormalization(axis=4)(torch.ones(2, 3))


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("channels", [1, 5])
def test_another_number_of_channels_is_refused(channels: int, training: bool, affine: bool):
    layer = built(name="bn", center=affine, scale=affine)
    words = rf"Layer 'bn'(.|\n)*2 axes with 3 on axis -1(.|\n)*shape \(4, {channels}\)"
    with pytest.raises(ShapeError, match=words):
        layer(torch.ones(4, channels), training=training)
    assert layer.moving_mean.tolist() == [0.0] * 3


def test_unknown_channels_are_refused():
    with pytest.raises(ArgumentError, match="a size of its shape is not known"):
        BatchNormalization()(Input((4, None)))
