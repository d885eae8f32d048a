from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from lamina import losses
from lamina.activations import softmax
from lamina.engine.masking import get_mask
from lamina.errors import ShapeError, TargetError
from lamina.layers import Dense, Input, TimeDistributed
from lamina.models import Model


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


SPARSE, ONE_HOT = "SparseCategoricalCrossentropy", "CategoricalCrossentropy"


def labels_for(loss: str, shape: tuple[int, ...], classes: int) -> torch.Tensor:
    labels = torch.randint(classes, shape)
    return labels if loss == SPARSE else torch.nn.functional.one_hot(labels, classes).float()


@pytest.mark.parametrize(
    "loss, options",
    [
        (SPARSE, {}),
        (SPARSE, {"ignore_class": 1}),
        (SPARSE, {"ignore_class": -1}),
        (SPARSE, {"reduction": "sum"}),
        (ONE_HOT, {}),
        (ONE_HOT, {"label_smoothing": 0.2}),
        (ONE_HOT, {"reduction": "none"}),
    ],
)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("shape", [(6,), (3, 4)])
def test_probabilities_whose_scores_are_known_give_the_loss_and_gradient_of_both(
    loss: str, options: dict[str, Any], weighted: bool, shape: tuple[int, ...]
) -> None:
    labels, scores = labels_for(loss, shape, 5), torch.randn(*shape, 5)
    weights = torch.rand(shape) if weighted else None
    if options.get("ignore_class") == -1:
        labels.view(-1)[0] = -1
    seen = []
    for predict, from_logits in [
        (softmax, False),  # the scores are known
        (lambda x: torch.softmax(x, -1), False),  # they are not
        (lambda x: x, True),
    ]:
        x = scores.clone().requires_grad_()
        value = getattr(losses, loss)(from_logits=from_logits, **options)(labels, predict(x), weights)
        value.sum().backward()
        seen.append((value.detach(), x.grad))
    torch.testing.assert_close(seen[0], seen[1], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(seen[0], seen[2], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("loss", [SPARSE, ONE_HOT])
def test_probabilities_that_were_rounded_to_zero_still_teach(loss: str) -> None:
    x = torch.tensor([[1000.0, 0.0, -1000.0]], requires_grad=True)
    labels = torch.tensor([2]) if loss == SPARSE else torch.tensor([[0.0, 0.0, 1.0]])
    value = getattr(losses, loss)()(labels, softmax(x))
    value.backward()
    torch.testing.assert_close(value, torch.tensor(2000.0))
    torch.testing.assert_close(x.grad, torch.tensor([[1.0, 0.0, -1.0]]))
    with torch.no_grad():  # only the probabilities, kept away from zero
        torch.testing.assert_close(getattr(losses, loss)()(labels, softmax(x)), -torch.tensor(1e-7).log())


@pytest.mark.parametrize("axis", [-1, 2, 1])
def test_scores_are_only_used_along_the_axis_of_softmax(axis: int) -> None:
    x = torch.randn(2, 3, 3, requires_grad=True)
    labels = torch.randint(3, (2, 3))
    value = losses.SparseCategoricalCrossentropy(axis=axis)(labels, softmax(x))
    plain = torch.softmax(x, -1).movedim(axis, -1)
    chosen = (plain / plain.sum(-1, keepdim=True)).gather(-1, labels[..., None])
    torch.testing.assert_close(value, -chosen.log().mean())


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("label", [3, -1, -100])
def test_a_label_that_is_no_class_is_named_where_scores_are_known(reduction: str, label: int) -> None:
    y = softmax(torch.randn(2, 3, requires_grad=True))
    loss = losses.SparseCategoricalCrossentropy(reduction=reduction)
    with pytest.raises(TargetError, match=rf"Label {label} at index 1 is not a class(.|\n)*from 0 to 2"):
        loss([0, label], y)


@pytest.mark.parametrize("steps", [(), (4,)])
@pytest.mark.parametrize("loss", [SPARSE, ONE_HOT])
def test_training_uses_the_scores_and_evaluation_the_probabilities(loss: str, steps: tuple[int, ...]) -> None:
    x = Input((*steps, 3))
    last = Dense(3, activation="softmax", use_bias=False, kernel_initializer="identity")
    model = Model(x, TimeDistributed(last)(x) if steps else last(x))
    model.compile("sgd", loss)
    data = torch.tensor([1000.0, 0.0, -1000.0]).expand(2, *steps, 3).contiguous()
    wrong = torch.full((2, *steps), 2)
    labels = wrong if loss == SPARSE else torch.eye(3)[wrong]
    assert model.evaluate(data, labels, verbose=0) == pytest.approx(-np.log(1e-7), rel=1e-4)
    history = model.fit(data, labels, verbose=0).history
    assert history["loss"] == [pytest.approx(2000.0)]
    assert torch.isfinite(last.kernel).all() and not torch.equal(last.kernel, torch.eye(3))


def test_an_ignored_class_that_is_a_class_counts_in_no_mean() -> None:
    scores, labels = torch.randn(64, 5, requires_grad=True), torch.arange(64) % 5
    found = losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=0)(labels, scores)
    torch.testing.assert_close(found, torch.nn.functional.cross_entropy(scores, labels, ignore_index=0))
