"""Every metric against Keras on its torch backend, over several batches, with weights, masks and several shapes."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import torch
import torchmetrics

from lamina import losses, metrics
from lamina.engine.masking import set_mask
from lamina.registry import METRICS

Data = tuple[np.ndarray, np.ndarray]


def numbers(g: np.random.Generator, shape: tuple[int, ...]) -> Data:
    y_true = g.normal(size=shape)
    return y_true.astype("float32"), (y_true + g.normal(size=shape)).astype("float32")


def counts(g: np.random.Generator, shape: tuple[int, ...]) -> Data:
    return g.integers(0, 5, size=shape).astype("float32"), g.uniform(0.1, 4, size=shape).astype("float32")


def binary(g: np.random.Generator, shape: tuple[int, ...]) -> Data:
    return g.integers(0, 2, size=shape), g.uniform(0, 1, size=shape).astype("float32")


def binary_logits(g: np.random.Generator, shape: tuple[int, ...]) -> Data:
    return g.integers(0, 2, size=shape).astype("float32"), 3 * g.normal(size=shape).astype("float32")


def coarse(g: np.random.Generator, shape: tuple[int, ...]) -> Data:
    """Predictions that lie on thresholds, 0 and 1 among them."""
    return g.integers(0, 2, size=shape), (g.integers(0, 5, size=shape) / 4).astype("float32")


def sparse(g: np.random.Generator, shape: tuple[int, ...]) -> Data:
    return g.integers(0, shape[-1], size=shape[:-1]), g.uniform(0.01, 1, size=shape).astype("float32")


def sparse_column(g: np.random.Generator, shape: tuple[int, ...]) -> Data:
    y_true, y_pred = sparse(g, shape)
    return y_true[..., None].astype("float32"), y_pred


def one_hot(g: np.random.Generator, shape: tuple[int, ...]) -> Data:
    y_true, y_pred = sparse(g, shape)
    return np.eye(shape[-1], dtype="float32")[y_true], y_pred


def classes(g: np.random.Generator, shape: tuple[int, ...]) -> Data:
    return g.integers(0, 3, size=shape), g.integers(0, 3, size=shape)


def unknown_classes(g: np.random.Generator, shape: tuple[int, ...]) -> Data:
    return g.integers(-1, 5, size=shape), g.integers(0, 5, size=shape)


def sorted_ids(g: np.random.Generator, shape: tuple[int, ...]) -> Data:
    y_pred = np.argsort(g.normal(size=shape), axis=-1)
    return g.integers(0, shape[-1], size=shape[:-1]), y_pred


Case = tuple[str, dict[str, Any], Callable[..., Data], tuple[int, ...]]
STEPS, ROWS, SINGLE, FLAT = (4, 5, 3), (9, 3), (9, 1), (9,)
MEANS: list[Case] = [
    ("Accuracy", {}, classes, ROWS),
    ("Accuracy", {}, classes, STEPS),
    ("BinaryAccuracy", {}, binary, SINGLE),
    ("BinaryAccuracy", {"threshold": 0.3}, binary, ROWS),
    ("BinaryAccuracy", {}, binary, STEPS),
    ("BinaryAccuracy", {}, binary, FLAT),
    ("CategoricalAccuracy", {}, one_hot, ROWS),
    ("CategoricalAccuracy", {}, one_hot, STEPS),
    ("SparseCategoricalAccuracy", {}, sparse, ROWS),
    ("SparseCategoricalAccuracy", {}, sparse_column, ROWS),
    ("SparseCategoricalAccuracy", {}, sparse, STEPS),
    ("SparseCategoricalAccuracy", {}, sparse_column, STEPS),
    ("TopKCategoricalAccuracy", {"k": 2}, one_hot, (9, 6)),
    ("TopKCategoricalAccuracy", {}, one_hot, (4, 5, 7)),
    ("SparseTopKCategoricalAccuracy", {"k": 2}, sparse, (9, 6)),
    ("SparseTopKCategoricalAccuracy", {"k": 3}, sparse, (4, 5, 7)),
    ("SparseTopKCategoricalAccuracy", {"k": 2, "from_sorted_ids": True}, sorted_ids, (9, 6)),
    ("MeanSquaredError", {}, numbers, ROWS),
    ("MeanSquaredError", {}, numbers, STEPS),
    ("RootMeanSquaredError", {}, numbers, ROWS),
    ("RootMeanSquaredError", {}, numbers, STEPS),
    ("MeanAbsoluteError", {}, numbers, ROWS),
    ("MeanAbsolutePercentageError", {}, numbers, ROWS),
    ("MeanSquaredLogarithmicError", {}, counts, ROWS),
    ("CosineSimilarity", {}, numbers, ROWS),
    ("CosineSimilarity", {"axis": 1}, numbers, STEPS),
    ("LogCoshError", {}, numbers, ROWS),
    ("PearsonCorrelation", {}, numbers, ROWS),
    ("ConcordanceCorrelation", {}, numbers, ROWS),
    ("ConcordanceCorrelation", {"axis": 1}, numbers, STEPS),
    ("BinaryCrossentropy", {}, binary, SINGLE),
    ("BinaryCrossentropy", {"from_logits": True, "label_smoothing": 0.1}, binary_logits, STEPS),
    ("CategoricalCrossentropy", {}, one_hot, ROWS),
    ("CategoricalCrossentropy", {"from_logits": True, "label_smoothing": 0.1}, one_hot, STEPS),
    ("SparseCategoricalCrossentropy", {}, sparse, ROWS),
    ("SparseCategoricalCrossentropy", {"from_logits": True}, sparse, STEPS),
    ("SparseCategoricalCrossentropy", {"ignore_class": 1}, sparse, STEPS),
    ("KLDivergence", {}, one_hot, ROWS),
    ("Poisson", {}, counts, STEPS),
    ("Hinge", {}, binary_logits, ROWS),
    ("SquaredHinge", {}, binary_logits, STEPS),
    ("CategoricalHinge", {}, one_hot, ROWS),
]
COUNTS: list[Case] = [
    ("TruePositives", {}, binary, SINGLE),
    ("TruePositives", {"thresholds": [0.2, 0.5, 0.9]}, binary, ROWS),
    ("FalsePositives", {}, binary, FLAT),
    ("FalsePositives", {"thresholds": [0.0, 0.5, 1.0]}, coarse, ROWS),
    ("TrueNegatives", {"thresholds": 0.3}, binary, STEPS),
    ("TrueNegatives", {"thresholds": [0.9, 0.1, 0.5]}, binary, SINGLE),
    ("FalseNegatives", {}, coarse, ROWS),
    ("FalseNegatives", {"thresholds": [0.25, 0.75]}, coarse, ROWS),
    ("Precision", {}, binary, SINGLE),
    ("Precision", {"thresholds": [0.1, 0.8]}, binary, ROWS),
    ("Precision", {"top_k": 2}, one_hot, (9, 5)),
    ("Precision", {"top_k": 2, "class_id": 1}, one_hot, (9, 5)),
    ("Precision", {"class_id": 0, "thresholds": 0.4}, one_hot, ROWS),
    ("Recall", {}, binary, SINGLE),
    ("Recall", {"thresholds": [0.0, 0.25, 0.5, 0.75, 1.0]}, coarse, ROWS),
    ("Recall", {"top_k": 1}, one_hot, (9, 5)),
    ("PrecisionAtRecall", {"recall": 0.6}, binary, SINGLE),
    ("PrecisionAtRecall", {"recall": 0.6, "num_thresholds": 1}, binary, SINGLE),
    ("RecallAtPrecision", {"precision": 0.5, "num_thresholds": 50}, binary, ROWS),
    ("RecallAtPrecision", {"precision": 1.0}, binary, ROWS),
    ("SensitivityAtSpecificity", {"specificity": 0.4}, coarse, ROWS),
    ("SensitivityAtSpecificity", {"specificity": 0.4, "class_id": 2}, one_hot, ROWS),
    ("SpecificityAtSensitivity", {"sensitivity": 0.7}, binary, SINGLE),
    ("AUC", {}, binary, SINGLE),
    ("AUC", {}, binary, FLAT),
    ("AUC", {}, coarse, STEPS),
    ("AUC", {"from_logits": True}, binary_logits, ROWS),
    ("AUC", {"thresholds": [0.7, 0.2, 0.5]}, coarse, ROWS),
    ("AUC", {"thresholds": [0.25, 0.5, 0.75], "curve": "PR"}, coarse, ROWS),
    ("AUC", {"multi_label": True}, binary, ROWS),
    ("AUC", {"multi_label": True, "num_labels": 3, "label_weights": [0.2, 1.0, 3.0]}, binary, ROWS),
    ("AUC", {"label_weights": [0.2, 1.0, 3.0]}, binary, ROWS),
    ("AUC", {"multi_label": True, "curve": "PR", "thresholds": [0.1, 0.3]}, binary, ROWS),
    *(
        ("AUC", {"curve": curve, "summation_method": method, "num_thresholds": 20}, binary, SINGLE)
        for curve in ("ROC", "PR", "PRGAIN")
        for method in ("interpolation", "minoring", "majoring")
    ),
]
OTHERS: list[Case] = [
    ("R2Score", {}, numbers, ROWS),
    ("R2Score", {"class_aggregation": None}, numbers, ROWS),
    ("R2Score", {"class_aggregation": "variance_weighted_average"}, numbers, ROWS),
    ("R2Score", {"num_regressors": 2}, numbers, SINGLE),
    *(("F1Score", {"average": average}, one_hot, ROWS) for average in (None, "micro", "macro", "weighted")),
    ("F1Score", {"threshold": 0.4}, binary, ROWS),
    ("FBetaScore", {"beta": 2.0}, one_hot, ROWS),
    ("FBetaScore", {"beta": 0.5, "threshold": 0.6, "average": "macro"}, binary, ROWS),
]
OVERLAPS: list[Case] = [
    ("IoU", {"num_classes": 3, "target_class_ids": [0, 2]}, classes, FLAT),
    ("IoU", {"num_classes": 3, "target_class_ids": [1], "ignore_class": 0}, classes, (2, 4, 4)),
    ("IoU", {"num_classes": 4, "target_class_ids": [1, 3]}, unknown_classes, (2, 4, 4)),
    ("IoU", {"num_classes": 3, "target_class_ids": [0], "sparse_y_pred": False}, sparse, ROWS),
    ("MeanIoU", {"num_classes": 3}, classes, FLAT),
    ("MeanIoU", {"num_classes": 3, "ignore_class": -1}, classes, (2, 4, 4)),
    ("BinaryIoU", {}, binary, FLAT),
    ("BinaryIoU", {"target_class_ids": [1], "threshold": 0.5}, coarse, ROWS),
    ("OneHotIoU", {"num_classes": 3, "target_class_ids": [0, 1]}, one_hot, ROWS),
    ("OneHotMeanIoU", {"num_classes": 3}, one_hot, STEPS),
]
CASES = MEANS + COUNTS + OTHERS + OVERLAPS
OURS_ALONE = {"Mean", "Sum", "MeanMetricWrapper", "LossMetric", "TorchMetric"}


def values_shape(y_true: np.ndarray, y_pred: np.ndarray) -> tuple[int, ...]:
    return y_pred.shape[:2] if y_pred.ndim == 3 else y_pred.shape[:1]


def run(case: Case, weights: str | None = None, masked: bool = False) -> tuple[Any, Any]:
    """The result after two batches and after a third one that follows a reset, of lamina's metric and of Keras's."""
    name, kwargs, make, shape = case
    results = []
    for package in (metrics, keras.metrics):
        generator = np.random.default_rng(7)
        metric = getattr(package, name)(**kwargs)
        found = []
        for batch in range(3):
            y_true, y_pred = make(generator, shape)
            size = values_shape(y_true, y_pred)
            size = {"samples": size[:1], "column": (size[0], 1), "steps": size, None: size}[weights]
            weight = generator.integers(0, 4, size=size) if "IoU" in name else generator.uniform(0, 2, size=size)
            mask = generator.integers(0, 2, size=values_shape(y_true, y_pred)).astype(bool)
            y_pred = torch.tensor(y_pred)
            if masked:
                set_mask(y_pred, torch.tensor(mask))
                y_pred._keras_mask = torch.tensor(mask)
            weight = None if weights is None else torch.tensor(weight)
            metric.update_state(torch.tensor(y_true), y_pred, sample_weight=weight)
            if batch == 1:
                found.append(metric.result().numpy().copy())
                metric.reset_state()
        results.append((*found, metric.result().numpy()))
    return results[0], results[1]


def agree(pair: tuple[Any, Any]) -> None:
    for ours, theirs in zip(*pair, strict=True):
        assert ours.shape == theirs.shape
        assert ours.dtype == theirs.dtype == np.float32
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


def test_every_registered_metric_has_an_oracle() -> None:
    assert {case[0] for case in CASES} == set(METRICS) - OURS_ALONE


@pytest.mark.parametrize("case", CASES, ids=lambda c: c[0])
def test_results_are_keras(case: Case) -> None:
    agree(run(case))


@pytest.mark.parametrize("case", [c for c in CASES if len(c[3]) < 3], ids=lambda c: c[0])
def test_weights_of_samples_are_keras(case: Case) -> None:
    if case[0] == "BinaryIoU":
        case = (*case[:3], FLAT)  # Keras takes no weights a row here
    agree(run(case, "samples"))


@pytest.mark.parametrize("case", [c for c in MEANS if len(c[3]) == 3], ids=lambda c: c[0])
def test_weights_of_steps_are_keras(case: Case) -> None:
    if case[1].get("axis") == 1:
        case = (case[0], {}, *case[2:])
    agree(run(case, "steps"))


@pytest.mark.parametrize("case", [c for c in MEANS if len(c[3]) == 2 and c[0] != "Accuracy"], ids=lambda c: c[0])
def test_weights_in_a_column_are_keras(case: Case) -> None:
    agree(run(case, "column"))


@pytest.mark.parametrize("weights", [None, "steps"])
@pytest.mark.parametrize("case", [c for c in MEANS if len(c[3]) == 3 and "axis" not in c[1]], ids=lambda c: c[0])
def test_masks_are_keras(case: Case, weights: str | None) -> None:
    agree(run(case, weights, masked=True))


@pytest.mark.parametrize("case", [c for c in COUNTS if len(c[3]) == 3], ids=lambda c: c[0])
def test_counts_pass_masks_over_as_keras_does(case: Case) -> None:
    agree(run(case, masked=True))


@pytest.mark.parametrize("name", ["Mean", "Sum"])
@pytest.mark.parametrize("shape", [(), (6,), (4, 5), (4, 5, 3)])
@pytest.mark.parametrize("axes", [None, 0, 1, 2, 3])
def test_mean_and_sum_are_keras(name: str, shape: tuple[int, ...], axes: int | None) -> None:
    if axes is not None and axes > len(shape):
        axes = len(shape)
    results = []
    for package in (metrics, keras.metrics):
        generator = np.random.default_rng(3)
        metric = getattr(package, name)()
        for _ in range(2):
            values = torch.tensor(generator.normal(size=shape), dtype=torch.float32)
            weight = torch.tensor(generator.uniform(0, 2, size=shape[:axes]), dtype=torch.float32)
            metric.update_state(values, sample_weight=None if axes is None else weight)
        results.append(metric.result().numpy())
    np.testing.assert_allclose(*results, rtol=1e-5)


@pytest.mark.parametrize("shapes", [((6,), (6, 1)), ((6, 1), (6,)), ((4, 5), (4, 5, 1))])
@pytest.mark.parametrize("name", ["BinaryAccuracy", "MeanSquaredError", "AUC", "Precision", "Accuracy"])
def test_an_axis_of_size_1_is_keras(name: str, shapes: Any) -> None:
    generator = np.random.default_rng(1)
    y_true = generator.integers(0, 2, size=shapes[0]).astype("float32")
    y_pred = generator.integers(0, 2, size=shapes[1]).astype("float32")
    results = [getattr(package, name)()(y_true, y_pred).numpy() for package in (metrics, keras.metrics)]
    np.testing.assert_allclose(*results, rtol=1e-5)


NEEDED = {
    "IoU": {"num_classes": 3, "target_class_ids": [0, 2]},
    "MeanIoU": {"num_classes": 3},
    "OneHotIoU": {"num_classes": 3, "target_class_ids": [0, 2]},
    "OneHotMeanIoU": {"num_classes": 3},
    "PrecisionAtRecall": {"recall": 0.5},
    "RecallAtPrecision": {"precision": 0.5},
    "SensitivityAtSpecificity": {"specificity": 0.5},
    "SpecificityAtSensitivity": {"sensitivity": 0.5},
}


@pytest.mark.parametrize("name", sorted(set(METRICS) - OURS_ALONE | {"Mean", "Sum"}))
def test_names_configs_and_directions_are_keras(name: str) -> None:
    ours, theirs = (getattr(p, name)(**NEEDED.get(name, {})) for p in (metrics, keras.metrics))
    config, expected = ours.get_config(), theirs.get_config()
    expected["name"] = re.sub(r"(?<=[a-z])_\d+$", "", theirs.name)  # Keras numbers those without a name of their own
    if "IoU" in name:  # Keras's are int by default, which cuts off fractional weights
        expected["dtype"] = "float32"
    assert {key: list(v) if isinstance(v := config[key], tuple) else v for key in expected} == {
        key: list(v) if isinstance(v, tuple) else v for key, v in expected.items()
    }
    if name not in ("Poisson", "KLDivergence"):  # where Keras says nothing
        assert ours.direction == getattr(theirs, "_direction", None)


@pytest.mark.parametrize("alias", "mse MSE mae MAE mape MAPE msle MSLE bce BCE".split())
def test_aliases_are_keras(alias: str) -> None:
    assert type(metrics.get(alias)).__name__ == type(keras.metrics.get(alias)).__name__


COMPILED: list[Any] = [
    "accuracy", "acc", "Accuracy", "mse", "MSE", "auc", "AUC", "MeanSquaredError", "bce", "precision",
    keras.losses.mean_squared_error, lambda y_true, y_pred: y_pred,
]  # fmt: skip


@pytest.mark.parametrize("identifier", COMPILED, ids=lambda given: getattr(given, "__name__", str(given)))
@pytest.mark.parametrize(
    "shapes", [((9,), (9, 1)), ((9, 1), (9, 1)), ((9, 1), (9, 3)), ((9,), (9, 3)), ((9, 3), (9, 3))]
)
def test_as_metric_is_what_compile_of_keras_makes(identifier: Any, shapes: Any) -> None:
    from keras.src.trainers.compile_utils import get_metric

    theirs = get_metric(identifier, *(torch.zeros(shape) for shape in shapes))
    ours = metrics.as_metric(identifier, y_true_shape=shapes[0], y_pred_shape=shapes[1])
    assert (type(ours).__name__, ours.name) == (type(theirs).__name__, theirs.name)


@pytest.mark.parametrize("shapes", [((9,), (9, 1)), ((9, 1), (9, 3)), ((9,), (9, 3)), ((9, 3), (9, 3))])
def test_as_loss_of_crossentropy_is_what_compile_of_keras_makes(shapes: Any) -> None:
    from keras.src.trainers.compile_utils import get_loss

    theirs = get_loss("crossentropy", *(torch.zeros(shape) for shape in shapes))
    assert losses.as_loss("crossentropy", *shapes).fn.__name__ == theirs.fn.__name__


@pytest.mark.parametrize("shape", [(9, 4), (3, 5, 4)])
def test_accuracy_of_torchmetrics_is_the_same(shape: tuple[int, ...]) -> None:
    y_true, y_pred = sparse(np.random.default_rng(0), shape)
    theirs = metrics.as_metric(torchmetrics.classification.MulticlassAccuracy(shape[-1], average="micro"))
    ours = metrics.SparseCategoricalAccuracy()
    np.testing.assert_allclose(theirs(y_true, y_pred), ours(y_true, y_pred), rtol=1e-6)


def test_auroc_of_torchmetrics_is_near_an_auc_of_many_thresholds() -> None:
    y_true, y_pred = binary(np.random.default_rng(0), (400, 1))
    theirs = metrics.as_metric(torchmetrics.classification.BinaryAUROC())
    np.testing.assert_allclose(metrics.AUC(num_thresholds=5000)(y_true, y_pred), theirs(y_true, y_pred), atol=1e-4)
