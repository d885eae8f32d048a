from __future__ import annotations

import numpy as np
import pytest
import torch

from lamina import losses
from lamina.errors import ShapeError, TargetError


def test_labels_of_zero_and_one_are_read_as_signs() -> None:
    y_pred = [[0.3, -0.2], [1.5, 0.4]]
    for loss in (losses.Hinge(), losses.SquaredHinge()):
        torch.testing.assert_close(loss([[0, 1], [1, 0]], y_pred), loss([[-1, 1], [1, -1]], y_pred))


def test_other_labels_are_taken_as_they_are() -> None:
    np.testing.assert_allclose(losses.hinge([[2.0, 0.0]], [[0.25, 0.5]]), [(0.5 + 1.0) / 2])
    np.testing.assert_allclose(losses.squared_hinge([[2.0, 0.0]], [[0.25, 0.5]]), [(0.25 + 1.0) / 2])


def test_scores_beyond_the_margin_cost_nothing() -> None:
    assert losses.hinge([[1.0, -1.0]], [[1.0, -3.0]]) == 0
    assert losses.categorical_hinge([[0, 1]], [[0.0, 1.0]]) == 0


def test_the_best_wrong_class_is_what_counts() -> None:
    np.testing.assert_allclose(losses.categorical_hinge([[0, 1, 0]], [[0.2, 0.7, 0.3]]), [0.3 - 0.7 + 1], rtol=1e-6)


def test_shapes_that_do_not_pair_are_refused() -> None:
    with pytest.raises(ShapeError, match="squared_hinge compares each label with one prediction"):
        losses.squared_hinge(torch.zeros(3), torch.zeros(3, 2))
    with pytest.raises(TargetError, match="categorical_hinge takes one-hot labels"):
        losses.categorical_hinge(torch.zeros(3), torch.zeros(3, 2))
