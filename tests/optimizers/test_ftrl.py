from __future__ import annotations

import pytest
import torch

from lamina.errors import ArgumentError
from lamina.optimizers import Ftrl


def test_l1_makes_small_weights_zero():
    weight = torch.nn.Parameter(torch.tensor([0.001, 5.0]))
    Ftrl(0.1, l1_regularization_strength=1.0).apply([torch.tensor([0.1, -3.0])], [weight])
    assert weight[0].item() == 0.0
    assert weight[1].item() > 1.0


@pytest.mark.parametrize(
    ("argument", "value", "words"),
    [
        ("learning_rate_power", 0.5, "learning_rate_power <= 0"),
        ("initial_accumulator_value", -1.0, "initial_accumulator_value >= 0"),
        ("l1_regularization_strength", -1.0, "l1_regularization_strength >= 0"),
        ("l2_regularization_strength", -1.0, "l2_regularization_strength >= 0"),
        ("l2_shrinkage_regularization_strength", -1.0, "l2_shrinkage_regularization_strength >= 0"),
    ],
)
def test_an_argument_of_the_wrong_sign_is_refused(argument, value, words):
    with pytest.raises(ArgumentError, match=words):
        Ftrl(**{argument: value})
