"""What merging layers share: the shape that comes of several."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from lamina.errors import ShapeError
from lamina.layers.merge import ElementwiseMerge


class First(ElementwiseMerge):
    def merge(self, inputs: Any) -> Any:
        return inputs[0]


@pytest.mark.parametrize(
    ("shapes", "merged"),
    [
        ([(None, 3), (None, 3)], (None, 3)),
        ([(None, 3), (8, 3)], (8, 3)),
        ([(None, None, 3), (None, 5, 3)], (None, None, 3)),
        ([(None, None), (None, 1)], (None, None)),
        ([(None, 1, 4), (None, 3, 1), (None, 3, 4)], (None, 3, 4)),
        ([(None, 4), (None, 3, 1)], (None, 3, 4)),
        ([(2,), (2, 5, 6)], (2, 5, 6)),
    ],
)
def test_the_merged_shape(shapes: Any, merged: Any):
    assert First().compute_output_shape(shapes) == merged


@pytest.mark.parametrize("shapes", [[(2, 3), (2, 4)], [(2, 3), (3, 3)], [(1, 3), (2, 3)], [(None, 5, 3), (None, 2)]])
def test_shapes_that_do_not_go_together_are_refused(shapes: Any):
    with pytest.raises(ShapeError, match="First cannot merge these shapes"):
        First().compute_output_shape(shapes)


def test_axes_are_put_in_after_the_batch():
    assert First()([torch.ones(2, 4), torch.ones(2, 3, 4)]).shape == (2, 1, 4)


def test_a_subclass_says_how():
    with pytest.raises(NotImplementedError, match="ElementwiseMerge does not define merge"):
        ElementwiseMerge()([torch.ones(2)])
