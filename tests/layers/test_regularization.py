"""ActivityRegularization."""

from __future__ import annotations

import pytest
import torch

from lamina.layers.regularization import ActivityRegularization


def test_the_penalty_is_that_of_the_batch_divided_by_its_size():
    x = torch.tensor([[1.0, -2.0], [3.0, 0.0]])
    layer = ActivityRegularization(l1=0.5, l2=0.25)
    assert torch.equal(layer(x), x)
    assert [float(loss) for loss in layer.losses] == pytest.approx([(0.5 * 6 + 0.25 * 14) / 2])


def test_the_penalty_has_a_gradient():
    x = torch.tensor([[1.0, -2.0]], requires_grad=True)
    layer = ActivityRegularization(l2=0.5)
    layer(x)
    sum(layer.losses).backward()
    assert x.grad.tolist() == [[1.0, -2.0]]


def test_the_config_holds_the_two_numbers():
    config = ActivityRegularization(l1=0.5).get_config()
    assert (config["l1"], config["l2"]) == (0.5, 0.0) and "activity_regularizer" not in config
    layer = ActivityRegularization.from_config(config)
    layer(torch.tensor([[4.0]]))
    assert [float(loss) for loss in layer.losses] == [2.0]
