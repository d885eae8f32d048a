"""Constraints: what they make of weights, and the ways to name them."""

from __future__ import annotations

import inspect
import json
from typing import Any

import pytest
import torch
from torch import Tensor

from lamina import constraints
from lamina.constraints import Constraint, MaxNorm, MinMaxNorm, NonNeg, UnitNorm
from lamina.errors import ArgumentError, DtypeError, LaminaError, ShapeError, UnknownNameError
from lamina.registry import CONSTRAINTS

ARGUMENTS: dict[str, dict[str, Any]] = {
    "MaxNorm": {"max_value": 1.5, "axis": 1},
    "NonNeg": {},
    "UnitNorm": {"axis": [0, 1]},
    "MinMaxNorm": {"min_value": 0.5, "max_value": 1.5, "rate": 0.7, "axis": 1},
}


@pytest.mark.parametrize("name", list(CONSTRAINTS))
def test_a_constraint_goes_to_its_config_and_back_through_json(name: str):
    made = CONSTRAINTS[name](**ARGUMENTS[name])
    assert made.get_config() == ARGUMENTS[name]
    again = constraints.deserialize(json.loads(json.dumps(constraints.serialize(made))))
    w = torch.randn(3, 4)
    assert type(again) is type(made)
    assert again.get_config() == made.get_config()
    assert torch.equal(again(w), made(w))


@pytest.mark.parametrize("name", list(CONSTRAINTS))
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_a_constraint_keeps_shape_and_dtype_and_leaves_its_input_alone(name: str, dtype: torch.dtype):
    w = (3 * torch.randn(3, 4)).to(dtype)
    before = w.clone()
    made = CONSTRAINTS[name](**ARGUMENTS[name])(w)
    assert made.shape == w.shape
    assert made.dtype == dtype
    assert not torch.equal(made, w)
    assert torch.equal(w, before)


@pytest.mark.parametrize("name", list(CONSTRAINTS))
def test_a_weight_of_zeros_stays_so(name: str):
    assert torch.equal(CONSTRAINTS[name](**ARGUMENTS[name])(torch.zeros(3, 4)), torch.zeros(3, 4))


@pytest.mark.parametrize("name", list(CONSTRAINTS))
def test_a_constraint_compiles_as_one_graph(name: str):
    made = CONSTRAINTS[name](**ARGUMENTS[name])
    w = torch.randn(3, 4)
    torch.testing.assert_close(torch.compile(made, fullgraph=True, backend="eager")(w), made(w))
    torch._dynamo.reset()


@pytest.mark.parametrize("name", list(CONSTRAINTS))
def test_a_constraint_documents_its_arguments_and_gives_an_example(name: str):
    doc = inspect.getdoc(CONSTRAINTS[name])
    for argument in inspect.signature(CONSTRAINTS[name]).parameters:
        assert f"\n    {argument}: " in doc
    assert ">>> " in doc


def test_max_norm_shrinks_long_columns_and_leaves_short_ones():
    w = torch.tensor([[3.0, 0.3], [4.0, 0.4]])
    torch.testing.assert_close(MaxNorm(1.0)(w), torch.tensor([[0.6, 0.3], [0.8, 0.4]]))
    torch.testing.assert_close(MaxNorm(0.0)(w), torch.zeros(2, 2))


def test_min_max_norm_goes_part_of_the_way_at_a_rate_below_one():
    w = torch.tensor([[3.0, 0.3], [4.0, 0.4]])  # norms 5 and 0.5
    got = MinMaxNorm(min_value=1.0, max_value=2.0, rate=0.5)(w)
    torch.testing.assert_close(got.norm(dim=0), torch.tensor([3.5, 0.75]))
    torch.testing.assert_close(got[0] / got[1], w[0] / w[1])


def test_unit_norm_may_span_several_axes_or_all():
    w = torch.randn(3, 3, 4, 5)
    torch.testing.assert_close(UnitNorm(axis=[0, 1, 2])(w).flatten(0, 2).norm(dim=0), torch.ones(5))
    torch.testing.assert_close(UnitNorm(axis=(-2, -1))(w).flatten(2).norm(dim=2), torch.ones(3, 3))
    torch.testing.assert_close(UnitNorm(axis=None)(w).norm(), torch.tensor(1.0))


def test_non_neg_sets_what_is_negative_to_zero():
    assert NonNeg()(torch.tensor([-1.0, 0.0, 2.0])).tolist() == [0.0, 0.0, 2.0]


def test_the_lower_case_names_of_keras_make_the_same_objects():
    assert constraints.max_norm(3, axis=1).get_config() == {"max_value": 3, "axis": 1}
    assert isinstance(constraints.non_neg(), NonNeg)
    assert constraints.unit_norm(1).axis == 1
    assert constraints.min_max_norm(0.1, 0.2).max_value == 0.2


@pytest.mark.parametrize(
    ("name", "kind"),
    [("max_norm", MaxNorm), ("non_neg", NonNeg), ("unit_norm", UnitNorm), ("min_max_norm", MinMaxNorm)],
)
def test_a_name_stands_for_a_constraint_with_default_arguments(name: str, kind: type[Constraint]):
    for spelling in (name, kind.__name__):
        assert type(constraints.get(spelling)) is kind
        assert constraints.get(spelling).get_config() == kind().get_config()


def test_none_objects_classes_and_functions_stand_for_what_they_are():
    def halve(w: Tensor) -> Tensor:
        return w / 2

    constraint = MaxNorm(3)
    assert constraints.get(None) is None
    assert constraints.get(constraint) is constraint
    assert isinstance(constraints.get(NonNeg), NonNeg)
    assert constraints.get(halve) is halve
    assert constraints.serialize(halve) == "halve"


@pytest.mark.parametrize("made", [MaxNorm(axis=[0, 1, 2]), UnitNorm(axis=2), MinMaxNorm(axis=-3)])
def test_an_axis_that_the_weight_does_not_have_is_named(made: Constraint):
    message = f"The weight that {type(made).__name__} constrains does not have these axes"
    with pytest.raises(ShapeError, match=message) as caught:
        made(torch.ones(3, 4))
    assert "axes from 0 to 1, for shape (3, 4)" in str(caught.value)
    assert f"received: axis={made.axis!r}" in str(caught.value)


def test_bounds_that_no_norm_can_meet_are_refused():
    with pytest.raises(ArgumentError, match="A norm is never negative"):
        MaxNorm(-1)
    with pytest.raises(ArgumentError, match="These are not the bounds of a norm") as caught:
        MinMaxNorm(min_value=2.0, max_value=1.0)
    assert "min_value=2.0, max_value=1.0" in str(caught.value)
    with pytest.raises(ArgumentError, match="These are not the bounds of a norm"):
        MinMaxNorm(min_value=-1.0)


def test_a_constraint_that_says_nothing_about_weights_says_so():
    class Empty(Constraint):
        pass

    with pytest.raises(LaminaError, match="Empty does not say what it makes of a weight"):
        Empty()(torch.ones(2))


def test_what_is_no_constraint_is_refused():
    with pytest.raises(UnknownNameError, match="There is no constraint named 'maxnrm'") as caught:
        constraints.get("maxnrm")
    assert "did you mean 'max_norm'?" in str(caught.value)
    with pytest.raises(DtypeError, match="Cannot make an? constraint of this"):
        constraints.get(2)
    with pytest.raises(DtypeError, match="A constraint must be something that can be called on a weight"):
        constraints.get(dict)
