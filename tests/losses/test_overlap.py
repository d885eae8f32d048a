from __future__ import annotations

import numpy as np
import pytest
import torch

from lamina import losses


def test_full_overlap_costs_nothing_and_none_costs_one() -> None:
    mask = torch.tensor([[1.0, 1.0, 0.0]])
    for loss in (losses.Dice(), losses.Tversky()):
        np.testing.assert_allclose(loss(mask, mask), 0.0, atol=1e-6)
        np.testing.assert_allclose(loss(mask, 1 - mask), 1.0, atol=1e-6)


def test_tversky_of_equal_weights_is_dice() -> None:
    y_true, y_pred = torch.randint(0, 2, (4, 5)).float(), torch.rand(4, 5)
    torch.testing.assert_close(losses.tversky(y_true, y_pred), losses.dice(y_true, y_pred))


def test_alpha_weighs_misses_and_beta_false_alarms() -> None:
    missed = losses.tversky([[1.0, 1.0]], [[1.0, 0.0]], alpha=3.0, beta=0.0)
    false = losses.tversky([[1.0, 0.0]], [[1.0, 1.0]], alpha=0.0, beta=3.0)
    assert missed.item() == pytest.approx(0.75) and false.item() == pytest.approx(0.75)


def test_axes_say_what_is_summed() -> None:
    y_true, y_pred = torch.randint(0, 2, (4, 5, 6)).float(), torch.rand(4, 5, 6)
    each = losses.dice(y_true, y_pred, axis=[1, 2])
    assert each.shape == (4,)
    torch.testing.assert_close(each[0], losses.dice(y_true[0], y_pred[0]))
