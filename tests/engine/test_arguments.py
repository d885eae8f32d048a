"""Arguments of layers are checked in one way, and refused in the same words."""

from __future__ import annotations

import numpy as np
import pytest

from lamina.engine.arguments import positive, tuple_of
from lamina.errors import ArgumentError


@pytest.mark.parametrize("value", [1, 32, np.int64(4)])
def test_whole_numbers_above_zero_pass(value):
    found = positive(value, "units", "Dense")
    assert found == value and type(found) is int


@pytest.mark.parametrize("value", [0, -1, 1.5, 2.0, "3", None, True, (2,)])
def test_anything_else_is_refused(value):
    with pytest.raises(ArgumentError, match="Dense needs units above zero") as caught:
        positive(value, "units", "Dense")
    assert f"units={value!r}" in str(caught.value)


@pytest.mark.parametrize(
    ("value", "rank", "sizes"), [(3, 2, (3, 3)), ([1, 2], 2, (1, 2)), (np.int64(2), 1, (2,)), ((5,), 1, (5,))]
)
def test_one_number_or_as_many_as_there_are_axes_pass(value, rank, sizes):
    assert tuple_of(value, rank, "strides", "Conv2D") == sizes


@pytest.mark.parametrize("value", [0, (1, 2, 3), (1, 0), "ab", None, 1.5, True, (1, None)])
def test_other_numbers_of_numbers_are_refused(value):
    with pytest.raises(
        ArgumentError, match="Conv2D needs strides as a whole number or 2 of them, each at least 1"
    ) as caught:
        tuple_of(value, 2, "strides", "Conv2D")
    assert f"strides={value!r}" in str(caught.value)


def test_the_least_number_may_be_another():
    assert tuple_of(0, 2, "padding", "Conv2D", least=0) == (0, 0)
