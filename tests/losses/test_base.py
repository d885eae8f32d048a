from __future__ import annotations

import pytest
import torch
from torch import Tensor

from lamina import config, dtypes, losses
from lamina.engine.symbolic import SymbolicTensor
from lamina.errors import ArgumentError, LaminaError, ShapeError
from lamina.losses.base import FunctionLoss, Loss


class Squared(Loss):
    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        return (y_true - y_pred).square().mean(dim=-1)


def test_the_default_name_is_the_class_and_is_never_numbered() -> None:
    assert Squared().name == Squared().name == "squared"
    assert Squared("mine").name == "mine"


def test_a_subclass_writes_only_call() -> None:
    y_true, y_pred = torch.zeros(2, 2), torch.tensor([[1.0, 1.0], [3.0, 3.0]])
    assert Squared()(y_true, y_pred) == 5.0
    assert Squared(reduction="sum")(y_true, y_pred) == 10.0
    assert Squared()(y_true, y_pred, torch.tensor([0.0, 1.0])) == 4.5


def test_labels_of_a_subclass_meet_predictions_one_by_one() -> None:
    y_true, y_pred = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([[1.0], [2.0], [5.0]])
    expected = losses.MeanSquaredError()(y_true, y_pred)
    assert Squared()(y_true, y_pred) == Squared()(y_pred, y_true) == expected


def test_a_pairwise_result_of_a_subclass_is_refused() -> None:
    class Pairwise(Loss):
        def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
            return (y_true.reshape(-1) - y_pred).square()

    with pytest.raises(ShapeError, match="'pairwise' compared every label with every prediction"):
        Pairwise()(torch.zeros(3), torch.zeros(3, 1))


def test_integers_come_to_call_as_floats_and_class_numbers_as_integers() -> None:
    seen = []

    class Spy(Loss):
        def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
            seen.append((y_true.dtype, y_pred.dtype))
            return y_pred.sum(dim=-1)

    class ClassSpy(Spy):
        integer_targets = True

    y_pred = torch.zeros(2, 3, dtype=torch.bfloat16)
    Spy()([1, 0], y_pred)
    ClassSpy()([1.0, 0.0], y_pred)
    assert seen == [(torch.float32, torch.float32), (torch.int64, torch.float32)]


def test_the_dtype_is_floatx_and_not_that_of_the_global_policy() -> None:
    dtypes.set_global_policy("mixed_bfloat16")
    assert Squared().dtype == "float32"
    config.set_floatx("float64")
    assert Squared().dtype == "float64"
    assert Squared(dtype="mixed_float16").dtype == "float16"


def test_an_unknown_reduction_is_refused() -> None:
    with pytest.raises(ArgumentError, match="no such reduction"):
        Squared(reduction="average")


def test_a_subclass_without_call_is_told_so() -> None:
    with pytest.raises(
        LaminaError, match=r"Loss does not say how to compute its values(.|\n)*call\(self, y_true, y_pred\)"
    ):
        Loss()([1.0], [1.0])


def test_a_subclass_that_forgets_to_initialise_is_told_so() -> None:
    class Forgetful(Squared):
        def __init__(self) -> None:
            self.factor = 2

    with pytest.raises(LaminaError, match="Forgetful was not initialised as a loss"):
        Forgetful()([1.0], [1.0])
    with pytest.raises(AttributeError, match="'Squared' object has no attribute 'colour'"):
        _ = Squared().colour


def test_the_representation_shows_name_and_reduction() -> None:
    assert repr(Squared(reduction="sum")) == "<Squared name='squared' reduction='sum'>"


def test_a_changed_attribute_of_a_function_loss_counts() -> None:
    loss = losses.BinaryCrossentropy()
    loss.from_logits = True
    torch.testing.assert_close(loss([1.0], [0.0]), torch.tensor(0.6931), atol=1e-4, rtol=0)


def test_the_short_way_to_the_mean_is_left_where_the_values_are_others() -> None:
    class Doubled(losses.MeanSquaredError):
        def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
            return 2 * super().call(y_true, y_pred)

    class Halved(losses.MeanSquaredError):
        fn = staticmethod(lambda y_true, y_pred: (y_true - y_pred).square().mean(dim=-1) / 2)

    assert Doubled()([0.0], [1.0]) == 2.0
    assert Halved()([0.0], [1.0]) == 0.5


@pytest.mark.parametrize("kind", [k for k in vars(losses).values() if getattr(k, "mean_fn", None)])
def test_the_short_way_to_the_mean_is_the_mean_of_the_values(kind: type[FunctionLoss]) -> None:
    y_true, y_pred = torch.eye(4)[torch.tensor([0, 3, 1])], torch.rand(3, 4) * 0.8 + 0.1
    for settings in ({}, {"from_logits": True}) if "from_logits" in kind._settings else ({},):
        labels = y_true.argmax(dim=-1) if kind.integer_targets else y_true
        loss = kind(**settings)
        torch.testing.assert_close(loss(labels, y_pred), loss.sample_values(labels, y_pred).mean())


def test_an_empty_batch_has_no_loss_and_not_nan() -> None:
    assert losses.MeanSquaredError()(torch.zeros(0, 3), torch.zeros(0, 3)) == 0


def test_a_loss_of_symbolic_tensors_is_one_too() -> None:
    y_true, y_pred = (SymbolicTensor((None, 10), torch.float32) for _ in range(2))
    labels = SymbolicTensor((None,), torch.int64)
    for loss, target in [
        (losses.MeanSquaredError(), y_true),
        (losses.KLDivergence(), y_true),
        (losses.CategoricalCrossentropy(), y_true),
        (losses.SparseCategoricalCrossentropy(), labels),
        (losses.LossFunctionWrapper(lambda t, p: (t - p).abs().mean(dim=-1)), y_true),
    ]:
        value = loss(target, y_pred)
        assert isinstance(value, SymbolicTensor) and value.shape == ()
        assert loss(target, y_pred, SymbolicTensor((None,), torch.float32)).shape == ()
