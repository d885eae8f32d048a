"""Regularizers: penalties computed by hand, their gradients, and the ways to name them."""

from __future__ import annotations

import inspect
import json
from typing import Any

import pytest
import torch
from torch import Tensor

from lamina import regularizers
from lamina.errors import ArgumentError, DtypeError, LaminaError, ShapeError, UnknownNameError
from lamina.registry import REGULARIZERS
from lamina.regularizers import L1, L1L2, L2, OrthogonalRegularizer, Regularizer

ARGUMENTS: dict[str, dict[str, Any]] = {
    "L1": {"l1": 0.3},
    "L2": {"l2": 0.2},
    "L1L2": {"l1": 0.3, "l2": 0.2},
    "OrthogonalRegularizer": {"factor": 0.5, "mode": "columns"},
}


@pytest.mark.parametrize("name", list(REGULARIZERS))
def test_a_regularizer_goes_to_its_config_and_back_through_json(name: str):
    made = REGULARIZERS[name](**ARGUMENTS[name])
    assert made.get_config() == ARGUMENTS[name]
    again = regularizers.deserialize(json.loads(json.dumps(regularizers.serialize(made))))
    x = torch.randn(3, 4)
    assert type(again) is type(made)
    assert again.get_config() == made.get_config()
    assert torch.equal(again(x), made(x))


@pytest.mark.parametrize("name", list(REGULARIZERS))
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_a_penalty_is_one_number_of_the_dtype_of_its_input(name: str, dtype: torch.dtype):
    x = torch.randn(3, 4).to(dtype).requires_grad_()
    penalty = REGULARIZERS[name](**ARGUMENTS[name])(x)
    penalty.backward()
    assert penalty.shape == ()
    assert penalty.dtype == x.grad.dtype == dtype
    assert penalty.item() > 0


@pytest.mark.parametrize("name", list(REGULARIZERS))
def test_the_gradient_of_a_penalty_is_that_of_finite_differences(name: str):
    x = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(REGULARIZERS[name](**ARGUMENTS[name]), (x,))


@pytest.mark.parametrize("name", list(REGULARIZERS))
def test_a_weight_of_zeros_has_no_penalty_and_a_finite_gradient(name: str):
    x = torch.zeros(3, 4, requires_grad=True)
    penalty = REGULARIZERS[name](**ARGUMENTS[name])(x)
    penalty.backward()
    assert penalty.item() == 0.0
    assert x.grad.isfinite().all()


@pytest.mark.parametrize("name", list(REGULARIZERS))
def test_a_penalty_compiles_as_one_graph(name: str):
    made = REGULARIZERS[name](**ARGUMENTS[name])
    x = torch.randn(3, 4)
    torch.testing.assert_close(torch.compile(made, fullgraph=True, backend="eager")(x), made(x))
    torch._dynamo.reset()


@pytest.mark.parametrize("name", list(REGULARIZERS))
def test_a_regularizer_documents_its_arguments_and_gives_an_example(name: str):
    doc = inspect.getdoc(REGULARIZERS[name])
    for argument in inspect.signature(REGULARIZERS[name]).parameters:
        assert f"\n    {argument}: " in doc
    assert ">>> " in doc


def test_penalties_are_sums_of_sizes_and_of_squares():
    x = torch.tensor([[1.0, -2.0], [3.0, -4.0]])
    assert L1(0.5)(x).item() == 5.0
    assert L2(0.5)(x).item() == 15.0
    assert L1L2(0.5, 0.5)(x).item() == 20.0
    assert L1L2(l1=0.5)(x).item() == 5.0
    assert L1L2(l2=0.5)(x).item() == 15.0
    assert L1L2()(x).item() == 0.0


def test_the_mean_cosine_of_rows_or_columns_is_penalised():
    x = torch.tensor([[1.0, 0.0], [1.0, 1.0]])
    assert OrthogonalRegularizer(2.0)(x).item() == pytest.approx(2.0 / 2**0.5)
    assert OrthogonalRegularizer(2.0, mode="columns")(x).item() == pytest.approx(2.0 / 2**0.5)
    three = torch.tensor([[2.0, 0.0], [0.0, 3.0], [0.0, -1.0]])
    assert OrthogonalRegularizer(1.0)(three).item() == pytest.approx(1 / 3)


def test_a_single_row_has_nothing_to_be_orthogonal_to():
    assert OrthogonalRegularizer()(torch.ones(1, 4)).item() == 0.0


def test_a_missing_factor_is_the_default_one():
    assert L1(None).l1 == L2(None).l2 == 0.01
    assert L1L2(None, None).get_config() == {"l1": 0.0, "l2": 0.0}


def test_the_lower_case_names_of_keras_make_the_same_objects():
    assert regularizers.l1_l2(l1=0.1, l2=0.2).get_config() == {"l1": 0.1, "l2": 0.2}
    assert regularizers.l1(0.1).l1 == 0.1
    assert regularizers.l2(0.1).l2 == 0.1
    assert regularizers.orthogonal_regularizer(0.1, "columns").mode == "columns"


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("l1", L1),
        ("L2", L2),
        ("l1_l2", L1L2),
        ("l1l2", L1L2),
        ("orthogonal_regularizer", OrthogonalRegularizer),
    ],
)
def test_a_name_stands_for_a_regularizer_with_default_factors(name: str, kind: type[Regularizer]):
    found = regularizers.get(name)
    assert type(found) is kind
    assert found.get_config() == kind().get_config()


def test_none_objects_classes_and_functions_stand_for_what_they_are():
    def largest(x: Tensor) -> Tensor:
        return x.abs().max()

    penalty = L2(0.1)
    assert regularizers.get(None) is None
    assert regularizers.get(penalty) is penalty
    assert isinstance(regularizers.get(L1), L1)
    assert regularizers.get(largest) is largest
    assert regularizers.serialize(largest) == "largest"


@pytest.mark.parametrize("factor", [-0.1, float("nan"), float("inf"), "0.1"])
def test_a_factor_that_is_no_finite_number_from_zero_up_is_refused(factor: Any):
    message = "The factor of a penalty must be a finite number, at least 0"
    for wrong in (
        lambda: L1(factor),
        lambda: L2(factor),
        lambda: L1L2(l1=factor),
        lambda: L1L2(l2=factor),
        lambda: OrthogonalRegularizer(factor),
    ):
        with pytest.raises(ArgumentError, match=message):
            wrong()


def test_an_unknown_mode_is_refused():
    with pytest.raises(ArgumentError, match="OrthogonalRegularizer has no such mode") as caught:
        OrthogonalRegularizer(mode="diagonal")
    assert "received: mode='diagonal'" in str(caught.value)


def test_only_a_matrix_has_rows_to_be_orthogonal():
    with pytest.raises(ShapeError, match="OrthogonalRegularizer compares the rows or columns of a matrix") as caught:
        OrthogonalRegularizer()(torch.ones(3, 3, 2, 4))
    assert "received: shape (3, 3, 2, 4)" in str(caught.value)


def test_a_regularizer_that_says_nothing_about_its_penalty_says_so():
    class Empty(Regularizer):
        pass

    with pytest.raises(LaminaError, match="Empty does not say which penalty it gives"):
        Empty()(torch.ones(2))


def test_what_is_no_regularizer_is_refused():
    with pytest.raises(UnknownNameError, match="There is no regularizer named 'L3'"):
        regularizers.get("L3")
    with pytest.raises(DtypeError, match="Cannot make an? regularizer of this"):
        regularizers.get(0.01)
    with pytest.raises(DtypeError, match="A regularizer must be something that can be called on a tensor"):
        regularizers.get(dict)
