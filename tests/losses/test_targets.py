from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from lamina import losses
from lamina.errors import ShapeError, TargetError

FITTING: list[tuple[str, Any, Any]] = [
    ("SparseCategoricalCrossentropy", (8,), (8, 10)),
    ("SparseCategoricalCrossentropy", (8, 1), (8, 10)),
    ("SparseCategoricalCrossentropy", (8, 5), (8, 5, 10)),
    ("SparseCategoricalCrossentropy", (None, 5, 1), (None, 5, 10)),
    ("CategoricalCrossentropy", (8, 10), (8, 10)),
    ("CategoricalCrossentropy", (None, None, 10), (8, 5, 10)),
    ("BinaryCrossentropy", (8,), (8, 1)),
    ("BinaryCrossentropy", (8, 1), (8,)),
    ("BinaryCrossentropy", (8, 10), (8, 10)),
    ("MeanSquaredError", (8,), (8, 1)),
    ("MeanSquaredError", (8, 1), (8,)),
    ("MeanSquaredError", (8,), (8,)),
    ("MeanSquaredError", (8, 1, 1, 3), (8, 4, 4, 3)),
    ("Circle", (8,), (8, 10)),
    ("CTC", (8, 3), (8, 5, 10)),
]


@pytest.mark.parametrize(("name", "true", "pred"), FITTING)
def test_labels_that_fit_pass(name: str, true: Any, pred: Any) -> None:
    losses.check_targets(getattr(losses, name)(), true, torch.int64, pred, "out")


WRONG: list[tuple[str, Any, Any, type[Exception], str]] = [
    (
        "SparseCategoricalCrossentropy", (8, 10), (8, 10), TargetError,
        (r"takes class numbers, but the labels of output 'out' are one-hot(.|\n)*shape \(8,\), integers from 0 to 9"
        r"(.|\n)*received: shape \(8, 10\)(.|\n)*use CategoricalCrossentropy, or pass y.argmax\(axis=-1\)"),
    ),
    (
        "CategoricalCrossentropy", (8,), (8, 10), TargetError,
        (r"takes one-hot labels, but the labels of output 'out' are class numbers(.|\n)*shape \(8, 10\)"
        r"(.|\n)*use SparseCategoricalCrossentropy, or pass lamina.utils.to_categorical\(y, 10\)"),
    ),
    ("CategoricalCrossentropy", (8, 1), (8, 10), TargetError, "are class numbers"),
    (
        "BinaryCrossentropy", (8,), (8, 10), TargetError,
        (r"compares each of 10 outputs with a label of its own, but the labels of output 'out' have one a sample"
        r"(.|\n)*use SparseCategoricalCrossentropy; for one yes or no give the last layer 1 unit"),
    ),
    ("BinaryCrossentropy", (8, 1), (8, 10), TargetError, "compares each of 10 outputs"),
    ("BinaryCrossentropy", (8, 3), (8, 10), ShapeError, "compares each prediction with a label of its own"),
    ("SparseCategoricalCrossentropy", (8,), (8, 1), TargetError, "over 1 class cannot learn(.|\n)*BinaryCrossentropy"),
    ("CategoricalCrossentropy", (8, 1), (8, 1), TargetError, "over 1 class cannot learn"),
    ("CategoricalCrossentropy", (8, 7), (8, 10), ShapeError, "takes one column a class"),
    ("SparseCategoricalCrossentropy", (8, 7), (8, 10), ShapeError, "takes one class number a prediction"),
    ("SparseCategoricalCrossentropy", (8,), (8,), ShapeError, "needs predictions with an axis of classes"),
    ("MeanSquaredError", (8,), (8, 3), ShapeError, r"compares each prediction(.|\n)*predictions of shape \(8, 3"),
    ("MeanSquaredError", (8, 1), (8, 3), ShapeError, "make the units of the last layer and the columns"),
    ("MeanSquaredError", (8, 2), (8, 3), ShapeError, "compares each prediction with a label of its own"),
    ("MeanSquaredError", (7, 3), (8, 3), ShapeError, "There are 7 labels for 8 predictions"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "true", "pred", "error", "words"), WRONG)
def test_labels_of_another_form_are_refused(name: str, true: Any, pred: Any, error: Any, words: str) -> None:
    with pytest.raises(error, match=words):
        losses.check_targets(getattr(losses, name)(), true, torch.int64, pred, "out")


def test_the_class_axis_of_the_loss_counts() -> None:
    loss = losses.SparseCategoricalCrossentropy(axis=1)
    losses.check_targets(loss, (8, 5), torch.int64, (8, 10, 5))
    losses.check_targets(loss, (8, 1, 5), torch.int64, (8, 10, 5))
    with pytest.raises(ShapeError, match="takes one class number a prediction"):
        losses.check_targets(loss, (8, 10), torch.int64, (8, 10, 5))


@pytest.mark.parametrize("dtype", [np.dtype("<U3"), np.dtype(object), "object", "str"])
def test_words_for_labels_are_refused(dtype: Any) -> None:
    with pytest.raises(TargetError, match=r"computed from numbers(.|\n)*number the classes first"):
        losses.check_targets(losses.MeanSquaredError(), (8,), dtype, (8, 1))


@pytest.mark.parametrize("dtype", [np.dtype("uint8"), "bfloat16", torch.bfloat16, bool])
def test_numbers_of_any_dtype_pass(dtype: Any) -> None:
    losses.check_targets(losses.MeanSquaredError(), (8,), dtype, (8, 1))


def test_losses_that_say_nothing_of_their_labels_are_taken_at_their_word() -> None:
    losses.check_targets(losses.as_loss(lambda y_true, y_pred: y_pred), (8, 3, 3), np.dtype("float32"), (8, 10))
    losses.check_targets(lambda y_true, y_pred: y_pred, (8,), torch.float32, (8, 10))


@pytest.mark.parametrize("array", [np.array, torch.tensor])
def test_labels_in_range_pass(array: Any) -> None:
    losses.check_label_range(array([0, 9, 3]), 10)
    losses.check_label_range(array([0.0, 9.0]), 10)
    losses.check_label_range(array([True, False]), 1)
    losses.check_label_range(array([0, 255]), 10, ignore_class=255)
    losses.check_label_range(array([]), 10)


def test_labels_elsewhere_than_in_the_hosts_memory_are_not_read() -> None:
    losses.check_label_range(torch.tensor([99], device="meta"), 10)


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ([0, 3, 10], r"Label 10 at index 2 is not a class of output 'out'(.|\n)*0 to 9, for 10 classes(.|\n)*11 units"),
        ([1, 5, 10], r"\(1 of 3 labels is outside\)(.|\n)*numbered from 1: pass y - 1"),
        ([-1, 12, 0], r"Label -1 at index 0(.|\n)*2 of 3 labels are outside(.|\n)*np.unique"),
        ([0.0, 1.5], "Label 1.5 at index 1 is not a class"),
        ([0.0, float("nan")], "Label nan at index 1 is not a class"),
        ([[0, 1], [2, 10]], r"Label 10 at index \(1, 1\)"),
        ([0, float("inf")], "Label inf at index 1"),
    ],
)
@pytest.mark.parametrize("array", [np.array, torch.tensor, lambda x: torch.tensor(x, dtype=torch.bfloat16)])
def test_labels_out_of_range_are_named(labels: Any, words: str, array: Any) -> None:
    with pytest.raises(
        TargetError, match=words.replace(r"Label 10 at", r"Label 10(\.0)? at").replace("Label -1", r"Label -1(\.0)?")
    ):
        losses.check_label_range(array(labels), 10, "out")
