"""Undoing an update on the device, when only the device knows that it must not count."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor


@contextlib.contextmanager
def kept_where(skip: Tensor, tensors: Sequence[Tensor]) -> Iterator[None]:
    """A block after which `tensors` have their values from before it, bit for bit, where `skip` is 1.

    Args:
        skip: a tensor of no dimensions, 1 or 0. It is not read by the host.
        tensors: what the block changes in place.
    """
    before = [tensor.clone() for tensor in tensors]
    yield
    for tensor, old in zip(tensors, before, strict=True):
        tensor.copy_(torch.where(skip.to(tensor.device) > 0, old, tensor))
