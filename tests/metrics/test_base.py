from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from lamina import config, metrics
from lamina.engine.masking import get_mask, set_mask
from lamina.errors import LaminaError, WeightsError
from lamina.metrics.base import Metric, _move, _moved


class Count(Metric):
    """How many predictions it has seen, written as a user writes it."""

    def __init__(self, name: str | None = None, dtype: Any = None) -> None:
        super().__init__(name, dtype)
        self.seen = self.add_weight((), name="seen")
        self.largest = self.add_variable(
            (2,), initializer=lambda shape, dtype=None: torch.full(shape, -1.0), name="largest"
        )

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        self.seen += y_pred.numel()
        self.largest = torch.maximum(self.largest, y_pred.max())

    def result(self) -> dict[str, Tensor]:
        return {"seen": self.seen, "largest": self.largest[0]}


def test_the_name_is_the_class_and_never_numbered() -> None:
    assert [Count().name, Count().name, metrics.AUC().name, metrics.AUC().name] == ["count", "count", "auc", "auc"]
    assert Count("mine").name == "mine" and repr(Count("mine")) == "<Count name='mine'>"


def test_the_dtype_is_floatx_unless_given() -> None:
    assert Count().dtype == "float32" and Count(dtype="float64").seen.dtype == torch.float64
    config.set_floatx("float64")
    assert Count().dtype == "float64"


def test_state_assigned_to_its_attribute_stays_the_same_tensor() -> None:
    metric = Count()
    before = metric.variables
    assert metric([0.0], [3.0, 5.0]) == {"seen": 2.0, "largest": 5.0}
    assert all(a is b for a, b in zip(before, metric.variables, strict=True))
    assert metric.largest is metric.variables[1]


def test_reset_gives_the_first_values_back() -> None:
    metric = Count()
    metric.update_state([0.0], [3.0])
    metric.reset_state()
    assert metric.seen == 0 and metric.largest.tolist() == [-1.0, -1.0]


def test_state_is_listed_in_order_and_named_apart() -> None:
    metric = metrics.Mean()
    a, b, c = metric.add_variable((2,)), metric.add_variable(()), metric.add_variable((3,), name="total")
    assert metric.variables[2:] == [a, b, c]
    assert list(metric.state_dict()) == ["total", "count", "variable_2", "variable_3", "total_4"]


def test_an_update_keeps_no_gradients_even_in_a_metric_that_does_not_mind_them() -> None:
    metric = Count()
    metric.update_state(torch.zeros(2), torch.ones(2, requires_grad=True))
    assert not metric.largest.requires_grad


def test_arrays_lists_and_numbers_come_to_update_state_as_tensors() -> None:
    seen = []

    class Spy(Metric):
        def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
            seen.extend([y_true, y_pred, sample_weight])

    Spy().update_state(np.arange(2), [0.5], sample_weight=2)
    Spy().update_state(1.0, (1, 2), sample_weight=None)
    assert [type(v) for v in seen] == [Tensor, Tensor, Tensor, Tensor, Tensor, type(None)]
    assert seen[1].dtype == torch.float32


def test_state_goes_to_the_device_of_the_data_and_data_come_to_the_state() -> None:
    metric = metrics.SparseCategoricalAccuracy()
    total = metric.variables[0]
    metric.update_state(torch.zeros(3, dtype=torch.int64), torch.zeros(3, 2, device="meta"))
    assert total is metric.variables[0] and total.device.type == "meta"
    mask = torch.ones(3, dtype=torch.bool)
    metric.update_state(
        torch.zeros(3, dtype=torch.int64), set_mask(torch.zeros(3, 2), mask), sample_weight=torch.ones(3)
    )
    assert metric.result().device.type == "meta"


def test_a_mask_moves_with_its_tensor() -> None:
    moved = _moved(set_mask(torch.zeros(3, 2), torch.ones(3, dtype=torch.bool)), torch.device("meta"))
    assert moved.device.type == get_mask(moved).device.type == "meta"


def test_to_moves_state_and_constants_and_keeps_their_identity() -> None:
    metric = metrics.AUC()
    before = metric.variables[0]
    assert metric.to("meta") is metric
    assert metric.variables[0] is before and before.device.type == metric._sorted.device.type == "meta"


def test_state_that_someone_holds_a_view_of_can_be_moved() -> None:
    state = torch.tensor([1.0, 2.0])
    view = state[0]
    _move(state, torch.device("cpu"))
    assert state.tolist() == [1.0, 2.0] and view == 1.0


def test_a_copy_has_state_of_its_own() -> None:
    metric = Count()
    metric.update_state([0.0], [3.0])
    again = copy.deepcopy(metric)
    again.update_state([0.0], [9.0])
    assert metric.largest[0] == 3.0 and again.largest[0] == 9.0
    assert again.largest is again.variables[1]


def test_state_dicts_are_copies_and_are_checked() -> None:
    metric = metrics.Mean()
    metric.update_state([1.0, 2.0])
    state = metric.state_dict()
    metric.update_state([9.0])
    assert state["total"].item() == 3.0
    metric.load_state_dict(state)
    assert metric.result() == 1.5
    with pytest.raises(WeightsError, match=r"not the state of metric 'sum'(.|\n)*'count': \(1,\)"):
        metrics.Sum().load_state_dict(state)


def test_a_metric_without_its_methods_is_told_which() -> None:
    with pytest.raises(LaminaError, match=r"Metric is no whole metric(.|\n)*update_state\(self, y_true, y_pred"):
        Metric().update_state([1.0], [1.0])
    with pytest.raises(LaminaError, match=r"Metric is no whole metric(.|\n)*result\(self\)"):
        Metric().result()


def test_a_subclass_that_forgets_to_initialise_is_told_so() -> None:
    class Forgetful(Metric):
        def __init__(self) -> None:
            self.total = self.add_variable(())

    with pytest.raises(LaminaError, match="Forgetful was not initialised as a metric"):
        Forgetful()
    with pytest.raises(AttributeError, match="'Mean' object has no attribute 'colour'"):
        _ = metrics.Mean().colour
