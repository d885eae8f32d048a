"""The scores behind probabilities are known to a loss while a gradient is wanted, and forgotten when they are stale."""

from __future__ import annotations

import pytest
import torch

from lamina import dtypes, losses
from lamina.activations import log_softmax, softmax
from lamina.activations.logits import carried, logits_of, with_logits
from lamina.layers import Activation, Dense, Input, Softmax, TimeDistributed
from lamina.models import Model


def scores(*shape):
    return torch.randn(*shape).requires_grad_()


def carries(y):
    return any("logits" in name for name in vars(y))


def test_softmax_along_the_last_axis_keeps_its_scores():
    x = scores(2, 3, 4)
    assert logits_of(softmax(x)) is x and logits_of(softmax(x, axis=2)) is x
    assert logits_of(softmax(x, axis=1)) is None and logits_of(softmax(x, axis=(1, 2))) is None
    assert logits_of(log_softmax(x)) is None


def test_nothing_is_attached_where_no_gradient_is_wanted():
    x = scores(2, 3)
    assert not carries(softmax(torch.randn(2, 3))) and not carries(softmax(x.detach()))
    with torch.no_grad():
        assert not carries(softmax(x))
    assert carries(softmax(x))


@pytest.mark.parametrize("change", [lambda y: y.mul_(0.5), lambda y: y.clamp_(0.2), lambda y: y[0].zero_()])
def test_a_change_of_the_probabilities_forgets_the_scores(change):
    y = softmax(scores(2, 3))
    assert logits_of(y) is not None
    with torch.no_grad():
        change(y)
    assert logits_of(y) is None and logits_of(carried(y, y.double(), lambda x: x.double())) is None


def test_a_change_of_the_scores_forgets_them():
    x = scores(2, 3) * 1
    y = softmax(x)
    expected = -y.detach()[:, 0].log().mean()
    with torch.no_grad():
        x[:, 0] += 5.0
    assert logits_of(y) is None
    torch.testing.assert_close(losses.SparseCategoricalCrossentropy()([0, 0], y), expected)


@pytest.mark.parametrize("make", [torch.clone, torch.detach, lambda y: y * 1, lambda y: y[:1], lambda y: y.view(6)])
def test_what_is_made_of_probabilities_has_no_scores(make):
    assert logits_of(make(softmax(scores(2, 3)))) is None


@pytest.mark.parametrize("value", [None, [0.5, 0.5], torch.rand(2, 3)])
def test_anything_may_be_asked_for_its_scores(value):
    assert logits_of(value) is None


def test_scores_are_carried_along_changed_in_the_same_way():
    x = scores(6, 3)
    y = softmax(x)
    apart = carried(y, y.unflatten(0, (2, 3)), lambda z: z.unflatten(0, (2, 3)))
    assert torch.equal(logits_of(apart), x.unflatten(0, (2, 3)))
    assert carried(y, y, lambda z: z * 7) is y and logits_of(y) is x
    plain = y * 1
    assert logits_of(carried(plain, plain.double(), lambda z: z.double())) is None
    assert logits_of(with_logits(torch.ones(2), x)) is x


@pytest.mark.parametrize("wait", [lambda y, seen: y.retain_grad(), lambda y, seen: y.register_hook(seen.append)])
def test_who_waits_for_the_gradient_of_the_probabilities_gets_it(wait):
    x, seen = scores(2, 3), []
    y = softmax(x)
    wait(y, seen)
    losses.SparseCategoricalCrossentropy(reduction="sum")([0, 2], y).backward()
    gradient = y.grad if y.retains_grad else seen[0]
    # The loss divides by the sum of the probabilities: -1/p of the right class, and 1 for every class.
    expected = torch.ones(2, 3)
    expected[[0, 1], [0, 2]] -= 1 / y.detach()[[0, 1], [0, 2]]
    torch.testing.assert_close(gradient, expected)
    torch.testing.assert_close(x.grad, y.detach() - torch.eye(3)[[0, 2]], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "last", [lambda: Dense(3, activation="softmax"), lambda: TimeDistributed(Dense(3, activation="softmax"))]
)
def test_a_model_that_ends_in_softmax_keeps_its_scores(last):
    x = Input((4, 5))
    model = Model(x, last()(x))
    data = torch.randn(2, 4, 5)
    y = model(data)
    torch.testing.assert_close(torch.softmax(logits_of(y), -1), y)
    with torch.no_grad():
        assert not carries(model(data))


@pytest.mark.parametrize("layer", [lambda: Activation("softmax"), Softmax])
def test_the_layers_of_softmax_keep_their_scores(layer):
    x = Input((4, 5))
    y = Model(x, layer()(Dense(3)(x)))(torch.randn(2, 4, 5))
    torch.testing.assert_close(torch.softmax(logits_of(y), -1), y)


def test_scores_of_mixed_precision_reach_the_loss_in_its_dtype():
    dtypes.set_global_policy("mixed_bfloat16")
    x = Input((5,))
    model = Model(x, Dense(3, activation="softmax")(x))
    y = model(torch.randn(4, 5))
    loss = losses.SparseCategoricalCrossentropy()
    value = loss([0, 1, 2, 0], y)
    assert value.dtype is torch.float32
    reference = losses.SparseCategoricalCrossentropy(from_logits=True)([0, 1, 2, 0], logits_of(y).float())
    torch.testing.assert_close(value, reference)
    value.backward()
    assert torch.isfinite(model.layers[-1].kernel.grad).all() and model.layers[-1].kernel.grad.abs().sum() > 0
