from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lamina import losses
from lamina.engine.masking import set_mask
from lamina.errors import ArgumentError, LoadError, ShapeError, TargetError
from lamina.losses.torch_loss import TorchLoss


class Mine(nn.Module):
    """A loss of the user's, in torch's order."""

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return (input - 2 * target).square().mean()


def test_a_class_or_an_instance_becomes_a_loss_with_its_name() -> None:
    assert losses.as_loss(nn.CrossEntropyLoss).name == "cross_entropy_loss"
    assert isinstance(losses.as_loss(nn.CrossEntropyLoss()), TorchLoss)


def test_predictions_come_first_in_a_module_of_the_user() -> None:
    assert losses.as_loss(Mine())([1.0, 1.0], [4.0, 4.0]) == 4.0


@pytest.mark.parametrize("module", [nn.MSELoss(), nn.L1Loss(), nn.BCEWithLogitsLoss(), nn.HuberLoss()])
def test_labels_meet_predictions_one_by_one(module: nn.Module) -> None:
    y_true, y_pred = np.array([1, 0, 1]), torch.tensor([[0.5], [0.25], [2.0]])
    expected = module(y_pred, torch.tensor([[1.0], [0.0], [1.0]]))
    loss = losses.as_loss(module)
    for labels in (y_true, y_true[:, None], y_true.astype("float64"), torch.tensor(y_true)):
        torch.testing.assert_close(loss(labels, y_pred), expected)


def test_labels_and_predictions_that_do_not_pair_are_refused() -> None:
    with pytest.raises(ShapeError, match="torch.nn.MSELoss compares each label with one prediction"):
        losses.as_loss(nn.MSELoss())(torch.zeros(3), torch.zeros(3, 2))


def test_float_class_numbers_and_columns_do_for_cross_entropy() -> None:
    y_pred = torch.randn(3, 4)
    expected = nn.CrossEntropyLoss()(y_pred, torch.tensor([0, 3, 1]))
    for labels in ([0.0, 3.0, 1.0], [[0], [3], [1]], np.uint8([0, 3, 1])):
        torch.testing.assert_close(losses.as_loss(nn.CrossEntropyLoss())(labels, y_pred), expected)


def test_weights_act_where_the_module_does_not_average() -> None:
    y_pred = torch.randn(3, 4)
    loss = losses.as_loss(nn.CrossEntropyLoss(reduction="none"))
    values = nn.CrossEntropyLoss(reduction="none")(y_pred, torch.tensor([0, 3, 1]))
    torch.testing.assert_close(loss([0, 3, 1], y_pred), values.mean())
    torch.testing.assert_close(loss([0, 3, 1], y_pred, [0.0, 2.0, 1.0]), (2 * values[1] + values[2]) / 3)


def test_weights_and_masks_are_refused_where_the_module_averages() -> None:
    loss = losses.as_loss(nn.CrossEntropyLoss())
    words = r"averages over the samples itself, so {} cannot act(.|\n)*CrossEntropyLoss\(reduction='none'\)"
    with pytest.raises(ArgumentError, match=words.format("weights")):
        loss([0, 1], torch.zeros(2, 3), torch.ones(2))
    with pytest.raises(ArgumentError, match=words.format("a mask")):
        loss([0, 1], set_mask(torch.zeros(2, 3), torch.ones(2, dtype=torch.bool)))


@pytest.mark.parametrize("module", [nn.TripletMarginLoss(), nn.CTCLoss(), nn.GaussianNLLLoss(), nn.ReLU()])
def test_modules_that_need_something_else_are_refused(module: nn.Module) -> None:
    with pytest.raises(ArgumentError, match="cannot be a model's loss as it is"):
        losses.as_loss(module)


def test_what_is_no_module_is_refused() -> None:
    with pytest.raises(ArgumentError, match="This is no loss module"):
        TorchLoss(3)  # type: ignore[arg-type]


MODULES: list[Any] = [
    nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0, 3.0]), ignore_index=1, label_smoothing=0.1),
    nn.BCEWithLogitsLoss(pos_weight=torch.tensor([2.0])),
    nn.HuberLoss(delta=0.3),
    nn.MSELoss(reduction="sum"),
    nn.PoissonNLLLoss(log_input=False, full=True, eps=1e-4),
]


@pytest.mark.parametrize("module", MODULES, ids=lambda m: type(m).__name__)
def test_losses_of_torch_come_back_from_their_configs(module: nn.Module) -> None:
    again = losses.deserialize(json.loads(json.dumps(losses.serialize(module))))
    by_class = isinstance(module, nn.CrossEntropyLoss)
    y_true, y_pred = (torch.tensor([0, 1, 2]) if by_class else torch.rand(3, 3)), torch.rand(3, 3) + 0.1
    torch.testing.assert_close(again(y_true, y_pred), losses.as_loss(module)(y_true, y_pred))


def test_a_config_can_name_no_other_class() -> None:
    with pytest.raises(LoadError, match=r"'Mine' is no loss of torch.nn(.|\n)*compile with the module itself"):
        losses.deserialize(losses.serialize(Mine()))
    with pytest.raises(LoadError, match="'Linear' is no loss of torch.nn"):
        TorchLoss({"class_name": "Linear", "config": {"in_features": 1, "out_features": 1}})


@pytest.mark.parametrize(
    ("module", "true", "pred", "words"),
    [
        (nn.NLLLoss(), (8, 10), (8, 10), "torch.nn.NLLLoss takes class numbers, but the labels are one-hot"),
        (nn.CrossEntropyLoss(), (8, 7), (8, 10), "torch.nn.CrossEntropyLoss takes one class number a prediction"),
        (nn.BCELoss(), (8,), (8, 10), "torch.nn.BCELoss compares each of 10 outputs"),
        (nn.MSELoss(), (8,), (8, 10), "torch.nn.MSELoss compares each prediction"),
    ],
)
def test_labels_are_checked_for_losses_of_torch_too(module: nn.Module, true: Any, pred: Any, words: str) -> None:
    with pytest.raises((TargetError, ShapeError), match=words):
        losses.check_targets(losses.as_loss(module), true, torch.int64, pred)


def test_cross_entropy_takes_both_forms_and_other_modules_anything() -> None:
    cross_entropy = losses.as_loss(nn.CrossEntropyLoss())
    for true in [(8,), (8, 1), (8, 10)]:
        losses.check_targets(cross_entropy, true, torch.int64, (8, 10))
    losses.check_targets(losses.as_loss(Mine()), (8, 3, 3), torch.float32, (8, 10))


def test_class_weights_follow_the_predictions() -> None:
    loss = losses.as_loss(nn.CrossEntropyLoss(weight=torch.ones(4)))
    value = loss(torch.zeros(3, dtype=torch.int64, device="meta"), torch.zeros(3, 4, device="meta"))
    assert value.device.type == "meta"
