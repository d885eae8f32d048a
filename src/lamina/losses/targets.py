"""Whether labels have the form that a loss takes, told before the first step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple, NoReturn

import numpy as np
import torch
from torch import Tensor

from lamina.errors import ShapeError, TargetError

TargetForm = Literal["elementwise", "binary", "one_hot", "class_index", "class_index_or_one_hot"]
Shape = tuple["int | None", ...]


class _Case(NamedTuple):
    """One loss on one output: its name, the two shapes, the class axis, and words for where it is."""

    loss: str
    true: Shape
    pred: Shape
    axis: int
    labels: str

    @property
    def classes(self) -> int | None:
        return self.pred[self.axis] if self.pred else None

    @property
    def class_index_shape(self) -> Shape:
        axis = self.axis % max(len(self.pred), 1)
        return self.pred[:axis] + self.pred[axis + 1 :]


def check_targets(
    loss: Any,
    y_true_shape: Sequence[int | None],
    y_true_dtype: Any,
    y_pred_shape: Sequence[int | None],
    output_name: str | None = None,
) -> None:
    """Refuse labels whose shape or dtype is not what `loss` takes. Looks at no values, so it never waits.

    Args:
        loss: a `Loss`; anything else, or one that says nothing of its labels, is taken at its word.
        y_true_shape: the shape of the labels, the batch axis first; `None` for an unknown size.
        y_true_dtype: their dtype, of torch's or NumPy's.
        y_pred_shape: the shape of the predictions.
        output_name: the model's output, for the message.

    Raises:
        TargetError: the labels are of another form, such as one-hot where class numbers belong.
        ShapeError: they are of the right form, but of other sizes.

    Example:
        >>> from lamina.losses.cross_entropy import SparseCategoricalCrossentropy
        >>> check_targets(SparseCategoricalCrossentropy(), (32, 1), torch.int64, (32, 10))
        >>> check_targets(SparseCategoricalCrossentropy(), (32, 10), torch.float32, (32, 10), "digit")
        Traceback (most recent call last):
        lamina.errors.TargetError: SparseCategoricalCrossentropy takes class numbers, but the labels ... are one-hot.
          expected: shape (32,), integers from 0 to 9
          received: shape (32, 10)
          fix:      use CategoricalCrossentropy, or pass y.argmax(axis=-1)
    """
    labels = f"the labels of output {output_name!r}" if output_name else "the labels"
    words = isinstance(y_true_dtype, np.dtype) and y_true_dtype.kind not in "biufc"
    if words or y_true_dtype in ("object", "str"):
        raise TargetError(
            f"A loss is computed from numbers, but {labels} hold something else.",
            expected="integers or floats",
            received=f"dtype {y_true_dtype}",
            fix="number the classes first: names, y = np.unique(y, return_inverse=True)",
        )
    form = getattr(loss, "target_form", None)
    if form is not None:
        name = getattr(loss, "display_name", type(loss).__name__)
        check_shapes(form, name, y_true_shape, y_pred_shape, getattr(loss, "axis", -1), labels)


def check_shapes(
    form: TargetForm,
    loss: str,
    y_true_shape: Sequence[int | None],
    y_pred_shape: Sequence[int | None],
    axis: Any = -1,
    labels: str = "the labels",
) -> None:
    """Refuse labels whose shape does not go with that of the predictions.

    Args:
        form: how labels and predictions go together.
        loss: the loss or function, for the message.
        y_true_shape: the shape of the labels.
        y_pred_shape: the shape of the predictions.
        axis: the class axis of the predictions; anything but an integer stands for the last.
        labels: words for the labels, for the message.

    Raises:
        TargetError: the labels are of another form.
        ShapeError: the labels are of other sizes.

    Example:
        >>> check_shapes("binary", "BinaryCrossentropy", (8,), (8, 1))
    """
    true, pred = tuple(y_true_shape), tuple(y_pred_shape)
    case = _Case(loss, true, pred, axis if isinstance(axis, int) else -1, labels)
    if true and pred and None not in (true[0], pred[0]) and true[0] != pred[0]:
        _wrong_sizes(case, f"There are {true[0]} labels for {pred[0]} predictions.", _text(pred[:1] + true[1:]))
    _CHECKS[form](case)


def _check_elementwise(case: _Case) -> None:
    for true in (case.true, case.true + (1,)):
        if len(true) == len(case.pred) and (not true or _same(true[-1:], case.pred[-1:])):
            return
    if not case.true or _same(case.true, case.pred + (1,)):
        return
    _wrong_sizes(case, f"{case.loss} compares each prediction with a label of its own.", _text(case.pred))


def _check_binary(case: _Case) -> None:
    if any(_same(a, b) for a, b in _alignments(case)):
        return
    if case.classes is not None and case.classes > 1 and _is_class_index(case):
        raise TargetError(
            f"{case.loss} compares each of {case.classes} outputs with a label of its own, but {case.labels} "
            "have one a sample.",
            expected=f"shape {_text(case.pred)}, zeros and ones",
            received=f"shape {_text(case.true)}",
            fix=f"for {case.classes} exclusive classes {_other_form(case, 'Sparse')}; for one yes or no give the "
            "last layer 1 unit",
        )
    _wrong_sizes(case, f"{case.loss} compares each prediction with a label of its own.", _text(case.pred))


def _check_one_hot(case: _Case) -> None:
    _refuse_single_class(case)
    if _same(case.true, case.pred):
        return
    if _is_class_index(case):
        raise TargetError(
            f"{case.loss} takes one-hot labels, but {case.labels} are class numbers.",
            expected=f"shape {_text(case.pred)}, a one in the column of the class",
            received=f"shape {_text(case.true)}",
            fix=f"{_other_form(case, 'Sparse')}, or pass lamina.utils.to_categorical(y, {case.classes})",
        )
    _wrong_sizes(case, f"{case.loss} takes one column a class.", _text(case.pred))


def _check_class_index(case: _Case) -> None:
    _refuse_single_class(case)
    if _is_class_index(case):
        return
    wanted = f"{_text(case.class_index_shape)}, integers from 0 to {(case.classes or 0) - 1}"
    if _same(case.true, case.pred):
        raise TargetError(
            f"{case.loss} takes class numbers, but {case.labels} are one-hot.",
            expected=f"shape {wanted}",
            received=f"shape {_text(case.true)}",
            fix=f"{_other_form(case, '')}, or pass y.argmax(axis=-1)",
        )
    _wrong_sizes(case, f"{case.loss} takes one class number a prediction.", wanted)


def _check_class_index_or_one_hot(case: _Case) -> None:
    _refuse_single_class(case)
    if not _same(case.true, case.pred):
        _check_class_index(case)


_CHECKS: dict[str, Callable[[_Case], None]] = {
    "elementwise": _check_elementwise,
    "binary": _check_binary,
    "one_hot": _check_one_hot,
    "class_index": _check_class_index,
    "class_index_or_one_hot": _check_class_index_or_one_hot,
}


def _refuse_single_class(case: _Case) -> None:
    """One class leaves nothing to choose: its probability is 1 whatever the network does."""
    if len(case.pred) < 2:
        raise ShapeError(
            f"{case.loss} needs predictions with an axis of classes.",
            expected="predictions of shape (samples, classes)",
            received=f"predictions of shape {_text(case.pred)}",
            fix="end the model with a layer of one unit a class",
        )
    if case.classes == 1:
        raise TargetError(
            f"{case.loss} over 1 class cannot learn: the probability of the only class is always 1.",
            expected="one unit a class in the last layer, 2 or more",
            received=f"predictions of shape {_text(case.pred)}",
            fix="for a yes or no use BinaryCrossentropy and a sigmoid; else give the last layer one unit a class",
        )


def _other_form(case: _Case, prefix: Literal["Sparse", ""]) -> str:
    """Advice to use the loss or metric of the same kind for labels of the other form."""
    name = case.loss.lower().replace("_", "")
    kind = ("TopK" if "topk" in name else "") + "Categorical" + ("Accuracy" if "accuracy" in name else "Crossentropy")
    return f"use {prefix}{kind}"


def _is_class_index(case: _Case) -> bool:
    """Whether the labels have the predictions' shape without the class axis, or with one of size 1 there."""
    shape = case.class_index_shape
    axis = case.axis % max(len(case.pred), 1)
    return _same(case.true, shape) or _same(case.true, (*shape[:axis], 1, *shape[axis:]))


def _alignments(case: _Case) -> list[tuple[Shape, Shape]]:
    """The two shapes as they are, and with an axis of size 1 at the end of either."""
    return [(case.true, case.pred), ((*case.true, 1), case.pred), (case.true, (*case.pred, 1))]


def _same(a: Shape, b: Shape) -> bool:
    """Whether two shapes can be equal, an unknown size being any."""
    return len(a) == len(b) and all(x is None or y is None or x == y for x, y in zip(a, b, strict=True))


def _text(shape: Shape) -> str:
    return str(tuple(shape))


def _wrong_sizes(case: _Case, what: str, expected: str) -> NoReturn:
    raise ShapeError(
        what,
        expected=f"{case.labels.removeprefix('the ')} of shape {expected}",
        received=f"labels of shape {_text(case.true)}, predictions of shape {_text(case.pred)}",
        fix="make the units of the last layer and the columns of the labels agree",
    )


def check_label_range(
    y_true: Any, num_classes: int, output_name: str | None = None, ignore_class: int | None = None
) -> None:
    """Refuse class numbers that are no class, and say which one and where.

    It reads the values, so it is for labels in the host's memory; a tensor on another device is left alone.

    Args:
        y_true: the labels, an array or a tensor.
        num_classes: how many classes the predictions have.
        output_name: the model's output, for the message.
        ignore_class: a number that may stand outside the classes.

    Raises:
        TargetError: a label is below 0, not below `num_classes`, or no whole number.

    Example:
        >>> check_label_range(np.array([0, 3, 10]), 10, "digit")
        Traceback (most recent call last):
        lamina.errors.TargetError: Label 10 at index 2 is not a class of output 'digit'.
          expected: whole numbers from 0 to 9, for 10 classes
          received: 10 (1 of 3 labels is outside)
          fix:      number the classes from 0, or give the last layer 11 units
    """
    if isinstance(y_true, Tensor):
        if y_true.device.type != "cpu":
            return
        y_true = (y_true.detach().float() if y_true.dtype == torch.bfloat16 else y_true.detach()).numpy()
    labels = np.asarray(y_true)
    if labels.size == 0 or labels.dtype == bool:
        return
    whole = labels.dtype.kind in "iu"
    if whole and labels.min() >= 0 and labels.max() < num_classes:
        return
    # NaN compares false with everything, so the good labels are what is counted.
    good = (labels >= 0) & (labels < num_classes)
    if not whole:
        good &= labels == np.floor(labels)
    if ignore_class is not None:
        good |= labels == ignore_class
    if good.all():
        return
    first = np.unravel_index(int(good.argmin()), labels.shape)
    index = int(first[0]) if len(first) == 1 else tuple(map(int, first))
    outside = int((~good).sum())
    value = labels[first].item()
    raise TargetError(
        f"Label {value} at index {index} is not a class" + (f" of output {output_name!r}." if output_name else "."),
        expected=f"whole numbers from 0 to {num_classes - 1}, for {num_classes} classes",
        received=f"{value} ({outside} of {labels.size} labels {'is' if outside == 1 else 'are'} outside)",
        fix=_range_fix(labels, num_classes),
    )


def _range_fix(labels: np.ndarray, num_classes: int) -> str:
    """What is most likely wrong with labels outside the range."""
    low, high = labels.min(), labels.max()
    if low == 1 and high == num_classes:
        return "the classes are numbered from 1: pass y - 1"
    if low >= 0 and num_classes <= high < np.inf and high == np.floor(high):
        return f"number the classes from 0, or give the last layer {int(high) + 1} units"
    return "number the classes from 0: names, y = np.unique(y, return_inverse=True)"
