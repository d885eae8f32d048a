"""Training images that differ from pass to pass."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lamina.commands.jitter import Jittered

RANDOM = np.random.RandomState(0)
X = RANDOM.rand(7, 6, 8, 3).astype("float32")
Y = np.arange(7)


def whole_pass(batches: Jittered) -> tuple[torch.Tensor, torch.Tensor]:
    parts = [batches[i] for i in range(len(batches))]
    return torch.cat([x for x, _ in parts]), torch.cat([y for _, y in parts])


def test_each_image_comes_once_a_pass_with_its_class_in_a_new_order():
    batches = Jittered(X, Y, batch_size=3, seed=0, turn=0, zoom=0, shift=0)
    orders = []
    for _ in range(3):
        x, y = whole_pass(batches)
        assert sorted(y.tolist()) == Y.tolist() and x.dtype == torch.float32
        np.testing.assert_allclose(x, X[y], atol=1e-5)
        orders.append(y.tolist())
        batches.on_epoch_end()
    assert orders[0] != orders[1] != orders[2]


@pytest.mark.parametrize(("size", "sizes"), [(3, [3, 3, 1]), (7, [7]), (100, [7]), (1, [1] * 7)])
def test_batches_have_the_size_that_was_asked_for(size, sizes):
    batches = Jittered(X, Y, batch_size=size, seed=0)
    assert [tuple(batches[i][0].shape) for i in range(len(batches))] == [(n, 6, 8, 3) for n in sizes]


def test_a_seed_repeats_the_images():
    one, same, other = (whole_pass(Jittered(X, Y, batch_size=3, seed=seed)) for seed in (1, 1, 2))
    assert torch.equal(one[0], same[0]) and torch.equal(one[1], same[1])
    assert not torch.equal(one[0], other[0])


@pytest.mark.parametrize("amount", ["turn", "zoom", "shift"])
def test_each_amount_changes_images_and_keeps_their_range(amount):
    batches = Jittered(X, Y, batch_size=7, seed=0, **{"turn": 0, "zoom": 0, "shift": 0, amount: 0.2})
    x, y = batches[0]
    assert (x - torch.from_numpy(X[y])).abs().amax((1, 2, 3)).min() > 1e-3
    assert x.min() >= 0 and x.max() <= 1


def test_a_move_is_a_move():
    """A single bright column moves by at most the share of half the image that was asked for."""
    image = np.zeros((200, 9, 9, 1), "float32")
    image[:, :, 4] = 1
    x, _ = Jittered(image, np.zeros(200, int), batch_size=200, seed=0, turn=0, zoom=0, shift=4 / 9)[0]
    centre = (x[..., 0].mean(1) * torch.arange(9.0)).sum(1) / x[..., 0].mean(1).sum(1)
    assert centre.min() >= 2 - 1e-3 and centre.max() <= 6 + 1e-3
    assert centre.min() < 3 and centre.max() > 5
