"""The views through which torch's kernels see Keras's layouts."""

from __future__ import annotations

import pytest
import torch

from lamina.kernels.layout import from_torch, lifted, to_torch

SIZES = {1: (5,), 2: (5, 6), 3: (5, 6, 7)}


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_there_and_back_is_the_same_memory(rank: int, data_format: str):
    last = data_format == "channels_last"
    x = torch.randn(2, *SIZES[rank], 3) if last else torch.randn(2, 3, *SIZES[rank])
    seen = to_torch(x, data_format)
    assert seen.shape == (2, 3, *lifted(SIZES[rank], 1))
    assert torch.equal(seen.flatten(2), (x.movedim(-1, 1) if last else x).flatten(2))
    back = from_torch(seen, rank, data_format)
    assert torch.equal(back, x)
    assert back.data_ptr() == x.data_ptr()
    assert back.stride() == x.stride()


@pytest.mark.parametrize(
    ("rank", "memory"), [(1, torch.channels_last), (2, torch.channels_last), (3, torch.channels_last_3d)]
)
def test_channels_last_data_is_torchs_channels_last_memory_format(rank: int, memory: torch.memory_format):
    assert to_torch(torch.randn(2, *SIZES[rank], 3), "channels_last").is_contiguous(memory_format=memory)


def test_a_signal_has_a_height_of_one():
    assert lifted((3,), 1) == (1, 3)
    assert lifted((3, 4), 1) == (3, 4)
