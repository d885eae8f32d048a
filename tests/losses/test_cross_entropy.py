from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from lamina import losses
from lamina.engine.masking import get_mask
from lamina.errors import ShapeError, TargetError


def test_binary_crossentropy_of_a_coin_is_log_two() -> None:
    np.testing.assert_allclose(losses.BinaryCrossentropy()([1.0, 0.0], [0.5, 0.5]), np.log(2), rtol=1e-6)


def test_categorical_crossentropy_is_the_log_of_the_right_share() -> None:
    y_pred = np.float32([[1, 1, 2], [1, 3, 4]])
    expected = -np.log([2 / 4, 3 / 8])
    np.testing.assert_allclose(losses.categorical_crossentropy(np.eye(3)[[2, 1]], y_pred), expected, rtol=1e-6)
    np.testing.assert_allclose(losses.sparse_categorical_crossentropy([2, 1], y_pred), expected, rtol=1e-6)


def test_label_smoothing_spreads_over_the_classes() -> None:
    y_pred = np.float32([[0.2, 0.8]])
    expected = -(0.9 * np.log(0.8) + 0.1 * np.log(0.2))
    value = losses.categorical_crossentropy([[0, 1]], y_pred, label_smoothing=0.2)
    np.testing.assert_allclose(value, [expected], rtol=1e-6)


def test_label_smoothing_counts_the_classes_along_the_class_axis() -> None:
    y_true, y_pred = torch.eye(4)[:3], torch.rand(3, 4)
    along_last = losses.categorical_crossentropy(y_true, y_pred, label_smoothing=0.2)
    along_first = losses.categorical_crossentropy(y_true.T, y_pred.T, label_smoothing=0.2, axis=0)
    torch.testing.assert_close(along_last, along_first)


def test_ignored_classes_are_left_out_of_the_mean_and_get_no_gradient() -> None:
    for from_logits in (False, True):
        y_pred = torch.rand(3, 4, requires_grad=True)
        loss = losses.SparseCategoricalCrossentropy(ignore_class=255, from_logits=from_logits)
        value = loss([1, 255, 2], y_pred)
        value.backward()
        plain = losses.SparseCategoricalCrossentropy(from_logits=from_logits)
        torch.testing.assert_close(value, plain([1, 2], y_pred.detach()[[0, 2]]))
        assert y_pred.grad is not None and y_pred.grad[1].abs().sum() == 0 and y_pred.grad[0].abs().sum() > 0


def test_ignored_classes_are_shown_by_a_mask() -> None:
    values = losses.sparse_categorical_crossentropy([1, 0], torch.rand(2, 3), ignore_class=0)
    assert get_mask(values).tolist() == [True, False] and values[1] == 0


@pytest.mark.parametrize("from_logits", [False, True])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("label", [3, -1, -100])
def test_a_label_that_is_no_class_is_named(from_logits: bool, reduction: str, label: int) -> None:
    loss = losses.SparseCategoricalCrossentropy(from_logits=from_logits, reduction=reduction)
    with pytest.raises(TargetError, match=rf"Label {label} at index 1 is not a class(.|\n)*from 0 to 2"):
        loss([0, label], torch.rand(2, 3))


@pytest.mark.parametrize(
    ("loss", "true", "pred", "words"),
    [
        ("SparseCategoricalCrossentropy", (8, 10), (8, 10), "takes class numbers, but the labels are one-hot"),
        ("CategoricalCrossentropy", (8,), (8, 10), "takes one-hot labels, but the labels are class numbers"),
        ("BinaryCrossentropy", (8,), (8, 10), "compares each of 10 outputs with a label of its own"),
    ],
)
def test_labels_of_the_wrong_form_are_refused_outside_fit_too(loss: str, true: Any, pred: Any, words: str) -> None:
    with pytest.raises(TargetError, match=words):
        getattr(losses, loss)()(torch.zeros(true), torch.rand(pred))


def test_sizes_that_differ_are_refused() -> None:
    with pytest.raises(ShapeError, match="takes one column a class"):
        losses.CategoricalCrossentropy()(torch.zeros(8, 7), torch.rand(8, 10))
    with pytest.raises(ShapeError, match="There are 7 labels for 8 predictions"):
        losses.BinaryCrossentropy()(torch.zeros(7, 2), torch.rand(8, 2))


def test_more_classes_than_float32_can_count_keep_their_numbers() -> None:
    label = 2**24 + 1
    y_pred = torch.ones(1, label + 2)
    y_pred[0, label] = 3.0
    value = losses.SparseCategoricalCrossentropy(from_logits=True)(np.array([label]), y_pred)
    np.testing.assert_allclose(value, np.log(label + 1 + np.exp(2.0)) - 2.0, rtol=1e-3)


def test_one_sample_without_a_batch_axis_does() -> None:
    torch.testing.assert_close(
        losses.sparse_categorical_crossentropy(torch.tensor(1), torch.tensor([0.2, 0.8])), -torch.tensor(0.8).log()
    )
