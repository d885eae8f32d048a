"""The dtype in which the layers that are running compute, when it is not that of their weights."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

import torch

current: torch.dtype | None = None
"""The short dtype of the mixed-precision region that is open, or `None` outside one."""


@contextmanager
def region(dtype: torch.dtype | None, device_type: str) -> Generator[None, None, None]:
    """Compute in `dtype` through `torch.autocast`, or, for `None`, in the dtype of the weights.

    Args:
        dtype: `torch.bfloat16`, `torch.float16` or `None`.
        device_type: such as `"cpu"` or `"cuda"`.
    """
    global current
    before, current = current, dtype
    try:
        with torch.autocast(device_type, dtype=dtype, enabled=dtype is not None):
            yield
    finally:
        current = before
