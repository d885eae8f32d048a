"""Every loss against Keras on its torch backend, and torch's own losses against themselves: values and gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import torch

from lamina import losses
from lamina.engine.masking import set_mask
from lamina.registry import LOSSES

Data = tuple[np.ndarray, np.ndarray]
rng = np.random.default_rng


def numbers(*shape: int) -> Data:
    return rng(1).normal(size=shape).astype("float32"), rng(2).normal(size=shape).astype("float32")


def counts(*shape: int) -> Data:
    return rng(1).integers(0, 5, size=shape).astype("float32"), rng(2).uniform(0.1, 4, size=shape).astype("float32")


def binary(*shape: int) -> Data:
    return rng(1).integers(0, 2, size=shape).astype("float32"), rng(2).uniform(0, 1, size=shape).astype("float32")


def binary_logits(*shape: int) -> Data:
    return rng(1).integers(0, 2, size=shape).astype("float32"), 4 * rng(2).normal(size=shape).astype("float32")


def signs(*shape: int) -> Data:
    return 2 * rng(1).integers(0, 2, size=shape).astype("float32") - 1, rng(2).normal(size=shape).astype("float32")


def sparse(*shape: int) -> Data:
    scores = rng(2).uniform(0.01, 1, size=shape).astype("float32")
    return rng(1).integers(0, shape[-1], size=shape[:-1]), scores


def sparse_column(*shape: int) -> Data:
    y_true, y_pred = sparse(*shape)
    return y_true[..., None], y_pred


def sparse_logits(*shape: int) -> Data:
    return sparse(*shape)[0], 4 * rng(3).normal(size=shape).astype("float32")


def sparse_axis_1(*shape: int) -> Data:
    y_true, y_pred = sparse(*shape)
    return y_true, np.moveaxis(y_pred, -1, 1).copy()


def sparse_logits_axis_1(*shape: int) -> Data:
    y_true, y_pred = sparse_logits(*shape)
    return y_true, np.moveaxis(y_pred, -1, 1).copy()


def one_hot(*shape: int) -> Data:
    y_true, y_pred = sparse(*shape)
    return np.eye(shape[-1], dtype="float32")[y_true], y_pred


def one_hot_logits(*shape: int) -> Data:
    y_true, y_pred = sparse_logits(*shape)
    return np.eye(shape[-1], dtype="float32")[y_true], y_pred


def distributions(*shape: int) -> Data:
    y_true, y_pred = (np.exp(x) for x in numbers(*shape))
    return y_true / y_true.sum(-1, keepdims=True), y_pred / y_pred.sum(-1, keepdims=True)


def embeddings(*shape: int) -> Data:
    y_pred = rng(2).normal(size=shape).astype("float32")
    return rng(1).integers(0, 3, size=shape[0]), y_pred / np.linalg.norm(y_pred, axis=-1, keepdims=True)


def label_sequences(*shape: int) -> Data:
    y_true = rng(1).integers(1, shape[-1], size=(shape[0], 2))
    y_true[0, 1] = 0
    return y_true, rng(2).normal(size=shape).astype("float32")


CASES: list[tuple[str, dict[str, Any], Callable[..., Data]]] = [
    ("MeanSquaredError", {}, numbers),
    ("MeanAbsoluteError", {}, numbers),
    ("MeanAbsolutePercentageError", {}, numbers),
    ("MeanSquaredLogarithmicError", {}, counts),
    ("MeanSquaredLogarithmicError", {}, numbers),
    ("Huber", {}, numbers),
    ("Huber", {"delta": 0.3}, numbers),
    ("LogCosh", {}, numbers),
    ("CosineSimilarity", {}, numbers),
    ("CosineSimilarity", {"axis": 0}, numbers),
    ("Poisson", {}, counts),
    ("KLDivergence", {}, distributions),
    ("KLDivergence", {}, one_hot),
    ("Hinge", {}, signs),
    ("Hinge", {}, binary_logits),
    ("SquaredHinge", {}, signs),
    ("SquaredHinge", {}, binary_logits),
    ("CategoricalHinge", {}, one_hot_logits),
    ("BinaryCrossentropy", {}, binary),
    ("BinaryCrossentropy", {"from_logits": True}, binary_logits),
    ("BinaryCrossentropy", {"label_smoothing": 0.2}, binary),
    ("BinaryCrossentropy", {"axis": 0}, binary),
    ("CategoricalCrossentropy", {}, one_hot),
    ("CategoricalCrossentropy", {}, distributions),
    ("CategoricalCrossentropy", {"from_logits": True}, one_hot_logits),
    ("CategoricalCrossentropy", {"from_logits": True, "label_smoothing": 0.2}, one_hot_logits),
    ("CategoricalCrossentropy", {"label_smoothing": 0.2}, one_hot),
    ("SparseCategoricalCrossentropy", {}, sparse),
    ("SparseCategoricalCrossentropy", {}, sparse_column),
    ("SparseCategoricalCrossentropy", {"from_logits": True}, sparse_logits),
    ("SparseCategoricalCrossentropy", {"from_logits": True, "ignore_class": 1}, sparse_logits),
    ("SparseCategoricalCrossentropy", {"ignore_class": 1}, sparse),
    ("SparseCategoricalCrossentropy", {"from_logits": True, "axis": 1}, sparse_logits_axis_1),
    ("SparseCategoricalCrossentropy", {"axis": 1}, sparse_axis_1),
    ("BinaryFocalCrossentropy", {}, binary),
    ("BinaryFocalCrossentropy", {"apply_class_balancing": True, "gamma": 3.0, "alpha": 0.6}, binary),
    ("BinaryFocalCrossentropy", {"from_logits": True, "label_smoothing": 0.1}, binary_logits),
    ("CategoricalFocalCrossentropy", {}, one_hot),
    ("CategoricalFocalCrossentropy", {"alpha": [0.1, 0.4, 0.5]}, one_hot),
    ("CategoricalFocalCrossentropy", {"from_logits": True, "label_smoothing": 0.1}, one_hot_logits),
    ("CategoricalGeneralizedCrossEntropy", {}, sparse),
    ("CategoricalGeneralizedCrossEntropy", {"q": 0.9}, sparse),
    ("Dice", {}, binary),
    ("Dice", {"axis": (1,)}, binary),
    ("Tversky", {}, binary),
    ("Tversky", {"alpha": 0.3, "beta": 0.9, "axis": -1}, binary),
    ("Circle", {}, embeddings),
    ("Circle", {"gamma": 10.0, "margin": 0.2, "remove_diagonal": False}, embeddings),
    ("CTC", {}, label_sequences),
]
SHAPES = [(6, 3), (4, 5, 3)]
ONE_SHAPE = {"Circle": [(6, 3)], "CTC": [(4, 5, 3)]}
REDUCTIONS = ["sum_over_batch_size", "mean", "sum", "mean_with_sample_weight", "none", None]
GRIDS = [
    pytest.param(name, kwargs, data, shape, id=f"{name}-{i}-{'x'.join(map(str, shape))}")
    for i, (name, kwargs, data) in enumerate(CASES)
    for shape in ONE_SHAPE.get(name, SHAPES)
]
FIRST = list({g.values[0]: g for g in reversed(GRIDS)}.values())  # one case a loss
OURS_ALONE = {"LossFunctionWrapper", "TorchLoss"}


def both(name: str, kwargs: dict[str, Any], data: Data, weight: Any = None, mask: Any = None) -> list[tuple[Any, Any]]:
    """Value and gradient, of lamina's loss and of Keras's."""
    found = []
    for package in (losses, keras.losses):
        y_pred = torch.tensor(data[1], requires_grad=True)
        if mask is not None:
            set_mask(y_pred, torch.tensor(mask))
            y_pred._keras_mask = torch.tensor(mask)
        y_true = torch.tensor(data[0])
        value = getattr(package, name)(**kwargs)(y_true, y_pred, None if weight is None else torch.tensor(weight))
        value.sum().backward()
        found.append((value.detach().numpy(), y_pred.grad.numpy()))
    return found


def agree(found: list[tuple[Any, Any]]) -> None:
    (value, grad), (keras_value, keras_grad) = found
    assert value.shape == keras_value.shape
    np.testing.assert_allclose(value, keras_value, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(grad, keras_grad, rtol=1e-4, atol=1e-5)
    assert np.isfinite(value).all()


def test_every_registered_loss_has_an_oracle() -> None:
    assert {name for name, _, _ in CASES} == set(LOSSES) - OURS_ALONE


@pytest.mark.parametrize(("name", "kwargs", "data", "shape"), GRIDS)
def test_value_and_gradient_are_keras(name: str, kwargs: dict[str, Any], data: Any, shape: Any) -> None:
    agree(both(name, kwargs, data(*shape)))


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize(("name", "kwargs", "data", "shape"), FIRST)
def test_reductions_are_keras(name: str, kwargs: dict[str, Any], data: Any, shape: Any, reduction: Any) -> None:
    agree(both(name, {**kwargs, "reduction": reduction}, data(*shape)))


def _values_shape(name: str, kwargs: dict[str, Any], data: Data) -> tuple[int, ...]:
    loss = getattr(losses, name)(**kwargs)
    return tuple(loss.sample_values(torch.tensor(data[0]), torch.tensor(data[1])).shape)


@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "mean_with_sample_weight", "none"])
@pytest.mark.parametrize(("name", "kwargs", "data", "shape"), GRIDS)
def test_weights_are_keras(name: str, kwargs: dict[str, Any], data: Any, shape: Any, reduction: str) -> None:
    arrays = data(*shape)
    values = _values_shape(name, kwargs, arrays)
    weight = rng(5).uniform(0, 2, size=values or arrays[1].shape[:1]).astype("float32")
    agree(both(name, {**kwargs, "reduction": reduction}, arrays, weight))


@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "mean_with_sample_weight"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("name", "kwargs", "data", "shape"), [g for g in GRIDS if g.values[3] == (4, 5, 3)])
def test_masks_are_keras(
    name: str, kwargs: dict[str, Any], data: Any, shape: Any, weighted: bool, reduction: str
) -> None:
    arrays = data(*shape)
    values = _values_shape(name, kwargs, arrays)
    mask = rng(6).integers(0, 2, size=values or (4, 5)).astype(bool)
    weight = rng(5).uniform(0, 2, size=mask.shape).astype("float32") if weighted else None
    agree(both(name, {**kwargs, "reduction": reduction}, arrays, weight, mask))


@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "sum", "none"])
def test_a_mask_without_a_valid_step_is_keras(reduction: str) -> None:
    agree(both("MeanSquaredError", {"reduction": reduction}, numbers(4, 5, 3), mask=np.zeros((4, 5), bool)))


@pytest.mark.parametrize("name", ["MeanSquaredError", "BinaryCrossentropy", "Huber", "Poisson", "Dice"])
@pytest.mark.parametrize(
    "shapes", [((6,), (6, 1)), ((6, 1), (6,)), ((4, 5), (4, 5, 1)), ((4, 5, 1), (4, 5)), ((6,), (6,))]
)
def test_an_axis_of_size_1_is_keras(name: str, shapes: tuple[Any, Any]) -> None:
    y_true, y_pred = binary(*shapes[0])[0], binary(*shapes[1])[1]
    agree(both(name, {}, (y_true, y_pred)))


@pytest.mark.parametrize("weight_shape", [(6,), (6, 1)])
@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "sum", "mean_with_sample_weight", "none"])
def test_weights_of_one_a_sample_are_keras(weight_shape: Any, reduction: str) -> None:
    weight = rng(5).uniform(0, 2, size=weight_shape).astype("float32")
    agree(both("MeanAbsoluteError", {"reduction": reduction}, numbers(6, 3), weight))


@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "sum", "mean_with_sample_weight", "none"])
def test_weights_of_one_column_over_steps_are_keras(reduction: str) -> None:
    weight = rng(5).uniform(0, 2, size=(4, 1)).astype("float32")
    agree(both("MeanAbsoluteError", {"reduction": reduction}, numbers(4, 5, 3), weight))


@pytest.mark.parametrize("name", ["BinaryCrossentropy", "CategoricalCrossentropy", "SparseCategoricalCrossentropy"])
def test_certain_and_wrong_predictions_are_keras(name: str) -> None:
    y_pred = np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0001]], "float32")
    y_true = np.array([0, 0, 2]) if name.startswith("Sparse") else np.eye(3, dtype="float32")[[0, 0, 2]]
    agree(both(name, {}, (y_true, y_pred)))


@pytest.mark.parametrize("name", ["BinaryCrossentropy", "CategoricalCrossentropy", "SparseCategoricalCrossentropy"])
def test_extreme_logits_are_keras_and_finite(name: str) -> None:
    y_pred = np.array([[-200.0, 90.0, 0.0], [1e4, -1e4, 3.0], [0.0, 0.0, -88.0]], "float32")
    y_true = np.array([0, 1, 2]) if name.startswith("Sparse") else np.eye(3, dtype="float32")
    agree(both(name, {"from_logits": True}, (y_true, y_pred)))


@pytest.mark.parametrize(("name", "kwargs", "data", "shape"), [g for g in GRIDS if g.values[3] == (6, 3)])
def test_functions_are_keras(name: str, kwargs: dict[str, Any], data: Any, shape: Any) -> None:
    function = LOSSES[name].fn
    arrays = data(*shape)
    theirs = getattr(keras.losses, function.__name__)
    settings = dict(kwargs)
    if name == "CategoricalGeneralizedCrossEntropy":
        settings.setdefault("q", 0.5)
    y_true, y_pred = torch.tensor(arrays[0]), torch.tensor(arrays[1])
    expected = theirs(y_true, y_pred, **settings)
    np.testing.assert_allclose(function(*arrays, **settings), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", sorted(set(LOSSES) - OURS_ALONE))
def test_names_and_configs_are_keras(name: str) -> None:
    ours, theirs = getattr(losses, name)(), getattr(keras.losses, name)()
    assert ours.name == theirs.name
    config = ours.get_config()
    assert {key: config[key] for key in theirs.get_config()} == theirs.get_config()
    assert getattr(losses, name).from_config(theirs.get_config()).get_config() == config


@pytest.mark.parametrize("alias", "mse MSE mae MAE mape MAPE msle MSLE bce BCE kld KLD".split())
def test_aliases_are_keras(alias: str) -> None:
    y_true, y_pred = distributions(6, 3)
    expected = keras.losses.get(alias)(torch.tensor(y_true), torch.tensor(y_pred)).mean()
    np.testing.assert_allclose(losses.get(alias)(y_true, y_pred), expected, rtol=1e-5)


TORCH_CASES: list[tuple[torch.nn.Module, Data]] = [
    (torch.nn.MSELoss(), numbers(6, 3)),
    (torch.nn.L1Loss(reduction="sum"), numbers(6, 3)),
    (torch.nn.SmoothL1Loss(), numbers(6, 3)),
    (torch.nn.HuberLoss(delta=0.5), numbers(6, 3)),
    (torch.nn.BCELoss(), binary(6, 3)),
    (torch.nn.BCEWithLogitsLoss(pos_weight=torch.tensor([2.0, 1.0, 3.0])), binary_logits(6, 3)),
    (torch.nn.KLDivLoss(reduction="batchmean"), distributions(6, 3)),
    (torch.nn.PoissonNLLLoss(), counts(6, 3)),
    (torch.nn.SoftMarginLoss(), signs(6, 3)),
    (torch.nn.HingeEmbeddingLoss(), signs(6, 3)),
    (torch.nn.MultiLabelSoftMarginLoss(), binary_logits(6, 3)),
    (torch.nn.MultiMarginLoss(), sparse_logits(6, 3)),
    (torch.nn.CrossEntropyLoss(), sparse_logits(6, 3)),
    (torch.nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0, 3.0]), label_smoothing=0.1), sparse_logits(6, 3)),
    (torch.nn.CrossEntropyLoss(), one_hot_logits(6, 3)),
    (torch.nn.NLLLoss(), sparse_logits(6, 3)),
]


@pytest.mark.parametrize(("module", "data"), TORCH_CASES, ids=lambda v: type(v).__name__)
def test_torch_losses_keep_their_numbers(module: torch.nn.Module, data: Data) -> None:
    y_true, y_pred = torch.tensor(data[0]), torch.tensor(data[1], requires_grad=True)
    value = losses.as_loss(module)(y_true, y_pred)
    expected = module(y_pred, y_true)
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(*(torch.autograd.grad(v, y_pred)[0] for v in (value, expected)))


@pytest.mark.parametrize("data", [sparse_logits, sparse_column, one_hot_logits])
def test_cross_entropy_of_torch_finds_the_class_axis_at_the_end(data: Any) -> None:
    y_true, y_pred = data(4, 5, 3)
    labels, logits = torch.tensor(y_true), torch.tensor(y_pred)
    wanted = labels.movedim(-1, 1) if labels.shape == logits.shape else labels.reshape(4, 5)
    expected = torch.nn.functional.cross_entropy(logits.movedim(-1, 1), wanted)
    torch.testing.assert_close(losses.as_loss(torch.nn.CrossEntropyLoss())(y_true, y_pred), expected)


def test_the_three_cross_entropies_over_logits_are_the_torch_ones() -> None:
    y_true, y_pred = sparse_logits(6, 3)
    expected = torch.nn.functional.cross_entropy(torch.tensor(y_pred), torch.tensor(y_true))
    sparse_value = losses.SparseCategoricalCrossentropy(from_logits=True)(y_true, y_pred)
    one_hot_value = losses.CategoricalCrossentropy(from_logits=True)(np.eye(3)[y_true], y_pred)
    torch.testing.assert_close(sparse_value, expected)
    torch.testing.assert_close(one_hot_value, expected)
