"""A layer's demands on its input, and the words when they are not met."""

from __future__ import annotations

import pytest

from lamina.engine.spec import InputSpec, check_inputs
from lamina.errors import ShapeError


@pytest.mark.parametrize(
    ("spec", "shape", "expected"),
    [
        (InputSpec(ndim=2), (None, 3, 4), "2 axes"),
        (InputSpec(min_ndim=3), (None, 3), "at least 3 axes"),
        (InputSpec(max_ndim=2), (None, 3, 4), "at most 2 axes"),
        (InputSpec(shape=(None, 4, 4)), (None, 4, 5), "shape (None, 4, 4)"),
        (InputSpec(shape=(None, 4)), (None, 4, 5), "shape (None, 4)"),
        (InputSpec(ndim=4, axes={-1: 3}), (None, 8, 8, 1), "4 axes with 3 on axis -1"),
        (InputSpec(axes={1: 3}), (None, 1), "3 on axis 1"),
    ],
)
def test_a_shape_that_does_not_fit_is_refused_with_what_was_expected(spec, shape, expected):
    with pytest.raises(ShapeError, match="Conv2D cannot take this input") as caught:
        check_inputs(spec, shape, "Conv2D")
    assert caught.value.expected == expected
    assert str(shape) in str(caught.value.received)


@pytest.mark.parametrize(
    ("spec", "shape"),
    [
        (InputSpec(), (1, 2, 3)),
        (InputSpec(ndim=2), (None, None)),
        (InputSpec(axes={-1: 3}), (None, None)),
        (InputSpec(shape=(None, 4)), (7, 4)),
        (InputSpec(min_ndim=2, max_ndim=3), (1, 1, 1)),
        (InputSpec(axes={5: 3}), (None, 2)),
    ],
)
def test_a_shape_that_fits_or_is_not_known_passes(spec, shape):
    assert spec.problem(shape) is None
    check_inputs(spec, shape, "Dense")


def test_each_input_of_a_list_has_its_own_demand():
    specs = [InputSpec(ndim=2), InputSpec(axes={-1: 3})]
    check_inputs(specs, [(None, 4), (None, 3)], "Dot")
    with pytest.raises(ShapeError, match="Dot cannot take this input") as caught:
        check_inputs(specs, [(None, 4), (None, 5)], "Dot")
    assert caught.value.received == "shape (None, 5)"


@pytest.mark.parametrize(
    ("spec", "shape", "fix"),
    [
        (InputSpec(ndim=4, axes={-1: 1}), (None, 28, 28), "add the channel axis with x[..., None]"),
        (InputSpec(ndim=4), (None, 28, 28), "add the channel axis with x[..., None]"),
        (InputSpec(ndim=4, axes={-1: 3}), (28, 28, 3), "add the batch axis with x[None]"),
        (InputSpec(min_ndim=2), (3,), "add the batch axis with x[None], or the axis of features"),
        (InputSpec(ndim=2), (None, 4, 4), "put Flatten()"),
        (InputSpec(ndim=4, axes={-1: 3}), (None, 3, 28, 28), "x.movedim(1, -1)"),
        (InputSpec(min_ndim=2, axes={-1: 3}), (None, 4), "make a new layer for this one"),
    ],
)
def test_the_remedy_is_that_of_the_mistake(spec, shape, fix):
    with pytest.raises(ShapeError, match="cannot take this input") as caught:
        check_inputs(spec, shape, "X")
    assert fix in str(caught.value.fix)
