from __future__ import annotations

import functools

import numpy as np
import pytest
import torch
from torch import Tensor

from lamina import losses
from lamina.errors import ArgumentError, DtypeError, ShapeError, UnknownNameError
from lamina.losses.wrapper import check_function, function_name
from lamina.registry import LOSSES


def quartic(y_true: Tensor, y_pred: Tensor, scale: float = 1.0) -> Tensor:
    return scale * ((y_true - y_pred) ** 4).mean(dim=-1)


Y_TRUE, Y_PRED = np.array([1, 2, 3]), torch.tensor([[1.0], [2.0], [5.0]])


def test_a_function_gets_labels_in_the_shape_and_dtype_of_predictions() -> None:
    loss = losses.as_loss(quartic)
    assert loss.name == "quartic"
    torch.testing.assert_close(loss(Y_TRUE, Y_PRED), torch.tensor(16.0 / 3))
    torch.testing.assert_close(loss(Y_TRUE, Y_PRED.reshape(3)), loss(Y_TRUE[:, None], Y_PRED))


def test_weights_weigh_what_a_function_gives() -> None:
    assert losses.as_loss(quartic)(Y_TRUE, Y_PRED, [1.0, 1.0, 0.0]) == 0


def test_further_arguments_are_passed_on_and_kept_in_the_config() -> None:
    loss = losses.LossFunctionWrapper(quartic, scale=3.0)
    assert loss(Y_TRUE, Y_PRED) == 16.0
    config = loss.get_config()
    assert config["fn"] == "quartic" and config["scale"] == 3.0


def test_a_function_that_gives_one_number_for_the_batch_does() -> None:
    assert losses.as_loss(lambda y_true, y_pred: (y_pred - y_true).sum())(Y_TRUE, Y_PRED) == 2.0


def test_a_function_that_compares_all_with_all_is_refused() -> None:
    with pytest.raises(ShapeError, match="'lambda' compared every label with every prediction"):
        losses.as_loss(lambda y_true, y_pred: (y_true.reshape(-1) - y_pred) ** 2)(Y_TRUE, Y_PRED)


def test_a_function_that_gives_no_tensor_is_refused() -> None:
    with pytest.raises(DtypeError, match="'lambda' must return a tensor"):
        losses.as_loss(lambda y_true, y_pred: 0.0)(Y_TRUE, Y_PRED)


def test_a_function_of_torch_that_takes_predictions_first_is_refused() -> None:
    with pytest.raises(ArgumentError, match="mse_loss takes predictions first(.|\n)*loss module of torch.nn"):
        losses.as_loss(torch.nn.functional.mse_loss)


def test_what_cannot_be_called_is_refused() -> None:
    with pytest.raises(ArgumentError, match=r"This is no loss function(.|\n)*3 of type int"):
        check_function(3, "loss")


def test_a_registered_function_comes_back_from_its_config() -> None:
    with pytest.raises(UnknownNameError, match="no loss named 'quartic'"):
        losses.deserialize(losses.serialize(losses.as_loss(quartic)))
    LOSSES.register()(quartic)
    try:
        loss = losses.deserialize(losses.serialize(losses.LossFunctionWrapper(quartic, scale=2.0)))
        torch.testing.assert_close(loss(Y_TRUE, Y_PRED), torch.tensor(32.0 / 3))
        assert losses.as_loss("quartic").fn is quartic and losses.get("quartic") is quartic
    finally:
        LOSSES._objects.pop("quartic")
        LOSSES._names.pop("quartic")


def test_names_are_those_of_functions_in_snake_case() -> None:
    class MyLoss:
        def __call__(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
            return y_pred

    assert function_name(functools.partial(quartic, scale=2.0)) == "quartic"
    assert function_name(MyLoss()) == "my_loss"
    assert function_name(lambda a, b: a) == "lambda"
