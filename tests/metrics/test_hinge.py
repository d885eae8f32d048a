from __future__ import annotations

import pytest
import torch

from lamina import losses, metrics
from lamina.errors import TargetError


@pytest.mark.parametrize("name", ["Hinge", "SquaredHinge", "CategoricalHinge"])
def test_a_metric_over_one_batch_is_the_loss_of_that_name(name: str) -> None:
    y_true, y_pred = torch.eye(4)[[0, 3, 1]], torch.randn(3, 4)
    torch.testing.assert_close(getattr(metrics, name)()(y_true, y_pred), getattr(losses, name)()(y_true, y_pred))


def test_class_numbers_are_refused_by_the_categorical_one() -> None:
    with pytest.raises(TargetError, match="categorical_hinge takes one-hot labels"):
        metrics.CategoricalHinge()(torch.zeros(3), torch.zeros(3, 2))
