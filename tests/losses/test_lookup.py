from __future__ import annotations

from typing import Any

import pytest
import torch

from lamina import losses
from lamina.errors import ArgumentError, DtypeError, UnknownNameError
from lamina.losses.base import Loss
from lamina.losses.lookup import kind_of_labels


def test_every_kind_of_identifier_becomes_a_loss() -> None:
    instance = losses.Huber(delta=2.0)
    assert losses.as_loss(instance) is instance
    for identifier in ("huber", "Huber", losses.Huber, {"class_name": "Huber", "config": {}}):
        assert type(losses.as_loss(identifier)) is losses.Huber
    for identifier in (losses.huber, torch.nn.HuberLoss(), torch.nn.HuberLoss, lambda y_true, y_pred: y_pred):
        assert isinstance(losses.as_loss(identifier), Loss)


def test_get_leaves_functions_modules_and_none_alone() -> None:
    module = torch.nn.MSELoss()
    assert losses.get(module) is module and losses.get(losses.mse) is losses.mse and losses.get(None) is None


def test_a_misspelt_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match=r"named 'mean_sqared_error'(.|\n)*did you mean 'mean_squared_error'"):
        losses.as_loss("mean_sqared_error")


def test_what_is_no_loss_is_refused() -> None:
    with pytest.raises(DtypeError, match="Cannot make a loss"):
        losses.as_loss(3)
    with pytest.raises(ArgumentError, match="There is no loss here"):
        losses.as_loss(None)


@pytest.mark.parametrize(
    ("true", "pred", "kind"),
    [
        ((8,), (8, 1), "binary"),
        ((8,), (8,), "binary"),
        ((8, 1), (8, 10), "class_index"),
        ((8, 5), (8, 5, 10), "class_index"),
        ((8, 10), (8, 10), "one_hot"),
        ((None, 10), (None, 10), "one_hot"),
    ],
)
def test_shapes_say_what_crossentropy_means(true: Any, pred: Any, kind: str) -> None:
    assert kind_of_labels("ce", true, pred) == kind
    assert (
        losses.as_loss("ce", true, pred).target_form == losses.as_loss("CrossEntropy", true, pred).target_form == kind
    )


def test_without_shapes_crossentropy_means_nothing() -> None:
    with pytest.raises(ArgumentError, match="What 'ce' means depends on the shapes"):
        losses.as_loss("ce")


def test_what_is_serialized_comes_back() -> None:
    loss = losses.deserialize(losses.serialize(losses.CosineSimilarity(axis=1, reduction="sum", name="angle")))
    assert (loss.axis, loss.reduction, loss.name) == (1, "sum", "angle")
    assert losses.serialize(None) is None and losses.deserialize("mse").name == "mean_squared_error"
