from __future__ import annotations

import torch

from lamina import losses


def test_gamma_zero_is_the_plain_cross_entropy() -> None:
    y_true, y_pred = torch.tensor([[1.0], [0.0]]), torch.tensor([[0.3], [0.6]])
    torch.testing.assert_close(
        losses.BinaryFocalCrossentropy(gamma=0.0)(y_true, y_pred), losses.BinaryCrossentropy()(y_true, y_pred)
    )
    y_true, y_pred = torch.eye(3), torch.rand(3, 3)
    torch.testing.assert_close(
        losses.CategoricalFocalCrossentropy(gamma=0.0, alpha=1.0)(y_true, y_pred),
        losses.CategoricalCrossentropy()(y_true, y_pred),
    )


def test_samples_that_are_right_weigh_little() -> None:
    values = losses.BinaryFocalCrossentropy(reduction="none")([[1.0], [1.0]], [[0.9], [0.1]])
    plain = losses.BinaryCrossentropy(reduction="none")([[1.0], [1.0]], [[0.9], [0.1]])
    torch.testing.assert_close(values / plain, torch.tensor([0.01, 0.81]))


def test_class_balancing_weighs_ones_by_alpha() -> None:
    plain = losses.BinaryFocalCrossentropy(reduction="none")([[1.0], [0.0]], [[0.5], [0.5]])
    balanced = losses.BinaryFocalCrossentropy(True, alpha=0.1, reduction="none")([[1.0], [0.0]], [[0.5], [0.5]])
    torch.testing.assert_close(balanced / plain, torch.tensor([0.1, 0.9]))


def test_alpha_may_be_one_a_class() -> None:
    values = losses.CategoricalFocalCrossentropy(alpha=[1.0, 3.0], reduction="none")(
        torch.eye(2), torch.full((2, 2), 0.5)
    )
    torch.testing.assert_close(values[1], 3 * values[0])
