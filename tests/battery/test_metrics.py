"""`check_metric` over every registered metric: what each of them has to do, whatever it computes."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torchmetrics
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from lamina import metrics
from lamina.metrics.base import Metric
from lamina.registry import METRICS

Batch = tuple[Tensor, ...]


def absolute(y_true: Tensor, y_pred: Tensor) -> Tensor:
    return (y_true - y_pred).abs().mean(dim=-1)


ARGUMENTS: dict[str, dict[str, Any]] = {
    "MeanMetricWrapper": {"fn": absolute},
    "LossMetric": {"loss": "huber"},
    "TorchMetric": {"metric": torchmetrics.MeanSquaredError()},
    "IoU": {"num_classes": 4, "target_class_ids": [0, 2]},
    "MeanIoU": {"num_classes": 4},
    "OneHotIoU": {"num_classes": 4, "target_class_ids": [0, 2]},
    "OneHotMeanIoU": {"num_classes": 4},
    "PrecisionAtRecall": {"recall": 0.5},
    "RecallAtPrecision": {"precision": 0.5},
    "SensitivityAtSpecificity": {"specificity": 0.5},
    "SpecificityAtSensitivity": {"sensitivity": 0.5},
    "SparseTopKCategoricalAccuracy": {"k": 2},
    "TopKCategoricalAccuracy": {"k": 2},
}


def numbers(rows: int) -> Batch:
    return torch.rand(rows, 4) + 0.5, torch.rand(rows, 4)


def binary(rows: int) -> Batch:
    return torch.randint(0, 2, (rows, 4)).float(), torch.rand(rows, 4)


def one_hot(rows: int) -> Batch:
    return torch.eye(4)[torch.randint(0, 4, (rows,))], torch.softmax(torch.randn(rows, 4), dim=-1)


def class_index(rows: int) -> Batch:
    return torch.randint(0, 4, (rows,)), torch.softmax(torch.randn(rows, 4), dim=-1)


def classes(rows: int) -> Batch:
    return torch.randint(0, 4, (rows,)), torch.randint(0, 4, (rows,))


def values(rows: int) -> Batch:
    return (torch.rand(rows, 4),)


DATA: dict[Callable[[int], Batch], str] = {
    values: "Mean Sum",
    classes: "Accuracy IoU MeanIoU",
    class_index: "SparseCategoricalAccuracy SparseTopKCategoricalAccuracy SparseCategoricalCrossentropy",
    one_hot: "CategoricalAccuracy TopKCategoricalAccuracy CategoricalCrossentropy CategoricalHinge F1Score FBetaScore "
    "OneHotIoU OneHotMeanIoU KLDivergence",
    binary: "BinaryAccuracy BinaryCrossentropy BinaryIoU Hinge SquaredHinge TruePositives FalsePositives TrueNegatives "
    "FalseNegatives Precision Recall AUC PrecisionAtRecall RecallAtPrecision SensitivityAtSpecificity "
    "SpecificityAtSensitivity",
    numbers: "MeanSquaredError RootMeanSquaredError MeanAbsoluteError MeanAbsolutePercentageError "
    "MeanSquaredLogarithmicError LogCoshError CosineSimilarity R2Score PearsonCorrelation ConcordanceCorrelation "
    "Poisson MeanMetricWrapper LossMetric TorchMetric",
}
MAKERS = {name: maker for maker, names in DATA.items() for name in names.split()}
NOT_OURS = {"TorchMetric"}  # what torchmetrics does inside is its own affair


class NoHostSync(TorchDispatchMode):
    """Fails when an operation would make the host wait for the device."""

    waits = ("_local_scalar_dense", "nonzero", "masked_select", "is_nonzero", "_unique", "bincount", "equal.default")

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if any(word in str(func) for word in self.waits):
            raise AssertionError(f"{func} makes the host wait")
        return func(*args, **(kwargs or {}))


def make(registered: str, /, **kwargs: Any) -> Metric:
    return METRICS[registered](**{**copy.deepcopy(ARGUMENTS.get(registered, {})), **kwargs})


def after(metric: Metric, *batches: Batch, **kwargs: Any) -> Any:
    for batch in batches:
        metric.update_state(*batch, **kwargs)
    return metric.result()


def check_metric(name: str, check: Callable[..., None]) -> None:
    """One of the checks below, on one metric and two batches of different sizes."""
    torch.manual_seed(0)
    check(name, MAKERS[name](12), MAKERS[name](7))


def check_result_is_finite_and_float32(name: str, first: Batch, second: Batch) -> None:
    result = after(make(name), first, second)
    assert result.dtype == torch.float32 and bool(result.isfinite().all()) and float(result.abs().sum()) > 0


def check_batches_add_up_to_their_union(name: str, first: Batch, second: Batch) -> None:
    union = tuple(torch.cat(pair) for pair in zip(first, second, strict=True))
    torch.testing.assert_close(after(make(name), first, second), after(make(name), union))


def check_calling_it_updates_and_gives_the_result(name: str, first: Batch, second: Batch) -> None:
    called = make(name)
    called(*first)
    torch.testing.assert_close(called(*second), after(make(name), first, second))


def check_reset_forgets_in_place(name: str, first: Batch, second: Batch) -> None:
    metric = make(name)
    after(metric, first)
    before = [id(v) for v in metric.variables]
    metric.reset_state()
    assert [id(v) for v in metric.variables] == before
    torch.testing.assert_close(after(metric, second), after(make(name), second))


def check_config_makes_the_same_metric(name: str, first: Batch, second: Batch) -> None:
    metric = make(name, name="mine")
    data = json.loads(json.dumps(metrics.serialize(metric)))
    if name in NOT_OURS:
        return
    if name == "MeanMetricWrapper":
        data["config"]["fn"] = absolute  # a function is named by its config, not carried
    again = metrics.deserialize(data)
    assert type(again) is type(metric) and (again.name, again.dtype) == ("mine", metric.dtype)
    torch.testing.assert_close(after(again, first), after(metric, first))


def check_the_name_stays_when_it_is_made_again(name: str, first: Batch, second: Batch) -> None:
    assert make(name).name == make(name).name
    assert not make(name).name.endswith("_1")
    assert make(name).direction in ("up", "down", None)


def check_every_name_makes_the_class(name: str, first: Batch, second: Batch) -> None:
    for alias, registered in METRICS.names.items():
        if registered == name and name not in ARGUMENTS:
            assert type(metrics.get(alias)) is METRICS[name]
            assert metrics.as_metric(alias, y_true_shape=(3, 2), y_pred_shape=(3, 2)).name == alias


def check_state_can_be_saved_and_gone_on_from(name: str, first: Batch, second: Batch) -> None:
    metric, resumed = make(name), make(name)
    after(metric, first)
    state = metric.state_dict()
    expected = after(metric, second)
    resumed.load_state_dict(state)
    torch.testing.assert_close(after(resumed, second), expected)


def check_copies_are_independent(name: str, first: Batch, second: Batch) -> None:
    metric = make(name)
    after(metric, first)
    for again in (copy.deepcopy(metric), pickle.loads(pickle.dumps(metric)) if name not in NOT_OURS else None):
        if again is not None:
            torch.testing.assert_close(after(again, second), after(make(name), first, second))
    torch.testing.assert_close(metric.result(), after(make(name), first))


def check_weights_of_one_change_nothing(name: str, first: Batch, second: Batch) -> None:
    if name not in NOT_OURS:
        weighted = after(make(name), first, sample_weight=torch.ones(12))
        torch.testing.assert_close(weighted, after(make(name), first))


def check_weights_of_zero_leave_samples_out(name: str, first: Batch, second: Batch) -> None:
    if name not in NOT_OURS:
        kept = torch.tensor([1, 0, 1, 1, 0, 1, 1, 0, 0, 1, 1, 1])
        expected = after(make(name), tuple(t[kept.bool()] for t in first))
        torch.testing.assert_close(after(make(name), first, sample_weight=kept.float()), expected)


def check_arrays_and_lists_do(name: str, first: Batch, second: Batch) -> None:
    expected = after(make(name), first)
    torch.testing.assert_close(after(make(name), tuple(t.numpy() for t in first)), expected)
    torch.testing.assert_close(after(make(name), tuple(t.tolist() for t in first)), expected)


def check_short_floats_are_computed_in_float32(name: str, first: Batch, second: Batch) -> None:
    if first[-1].dtype.is_floating_point and name not in NOT_OURS:
        short = (*first[:-1], first[-1].bfloat16())
        expected = after(make(name), (*first[:-1], short[-1].float()))
        result = after(make(name), short)
        assert result.dtype == torch.float32
        torch.testing.assert_close(result, expected)


def check_gradients_are_not_kept(name: str, first: Batch, second: Batch) -> None:
    if first[-1].dtype.is_floating_point:
        metric = make(name)
        after(metric, (*first[:-1], first[-1].requires_grad_()))
        assert metric.variables or name in NOT_OURS
        assert not any(v.requires_grad for v in metric.variables)
        assert not metric.result().requires_grad


def check_state_is_exact_beyond_what_float32_counts(name: str, first: Batch, second: Batch) -> None:
    if name not in NOT_OURS:
        metric = make(name)
        after(metric, first)
        assert all(v.dtype in (torch.float64, torch.int64) for v in metric.variables)


def check_no_state_is_a_number_to_the_compiler(name: str, first: Batch, second: Batch) -> None:
    """torch.compile loses what is added to a float64 tensor without axes."""
    metric = make(name)
    after(metric, first)
    assert all(v.ndim > 0 for v in metric.variables)


def check_the_host_never_waits(name: str, first: Batch, second: Batch) -> None:
    if name in NOT_OURS:
        return
    metric, weights = make(name), torch.ones(12)
    with NoHostSync():
        after(metric, first)
        metric.update_state(*first, sample_weight=weights)


def check_data_without_values_do(name: str, first: Batch, second: Batch) -> None:
    """A tensor of the meta device has no values, so nothing can have been read; and the state goes along."""
    if name not in NOT_OURS:
        metric, batch = make(name), tuple(t.to("meta") for t in first)
        assert after(metric, batch).device.type == "meta"
        assert after(metric, batch, sample_weight=torch.ones(12)).device.type == "meta"
        assert {v.device.type for v in metric.variables} == {"meta"}


def check_it_compiles_whole(name: str, first: Batch, second: Batch) -> None:
    if name in NOT_OURS:
        return
    torch._dynamo.reset()
    metric = make(name)
    after(metric, first)  # what is made at the first batch is made outside
    update = torch.compile(metric.update_state, fullgraph=True, backend="aot_eager")
    update(*first)
    torch.testing.assert_close(metric.result(), after(make(name), first, first))


CHECKS = [value for key, value in dict(globals()).items() if key.startswith("check_") and key != "check_metric"]


def test_every_registered_metric_has_data() -> None:
    assert set(MAKERS) == set(METRICS)


@pytest.mark.parametrize("name", sorted(METRICS))
@pytest.mark.parametrize("check", CHECKS, ids=lambda c: c.__name__.removeprefix("check_"))
def test_check_metric(name: str, check: Callable[..., None]) -> None:
    check_metric(name, check)
