"""Zeros around a tensor, against torch's own padding."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from lamina.kernels.padding import zeros_around


@pytest.mark.parametrize("sides", [(0, 0, 1, 1, 2, 3), (1, 2), (0, 0, 0, 0), (0, 0, 3, 0, 0, 2)])
@pytest.mark.parametrize("wanted", [True, False])
def test_it_is_torchs_padding(sides, wanted):
    x = torch.randn(2, 4, 5, 3, requires_grad=wanted)
    with torch.set_grad_enabled(wanted):
        found = zeros_around(x, sides)
    torch.testing.assert_close(found, F.pad(x, sides), rtol=0, atol=0)
    assert found.requires_grad == wanted


def test_memory_that_was_used_before_does_not_show():
    with torch.no_grad():
        for _ in range(20):
            torch.full((2, 8, 8, 3), torch.nan)
            assert zeros_around(torch.ones(2, 6, 6, 3), (0, 0, 1, 1, 1, 1)).sum().item() == 2 * 6 * 6 * 3


def test_other_dtypes_and_strides_are_padded_too():
    with torch.no_grad():
        for x in (torch.ones(2, 3, dtype=torch.int64), torch.randn(3, 4).t(), torch.randn(2, 2).double()):
            torch.testing.assert_close(zeros_around(x, (1, 1)), F.pad(x, (1, 1)), rtol=0, atol=0)
