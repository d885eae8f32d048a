"""Collecting the outputs of `predict`."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from lamina.engine import nest
from lamina.errors import DataError, ShapeError


class Outputs:
    """The outputs of one batch after another, joined along the first axis."""

    def __init__(self) -> None:
        self._form: Any = None
        self._parts: list[list[torch.Tensor]] = []

    def add(self, outputs: Any) -> None:
        """Keep the outputs of a batch; from an accelerator they are brought to the host.

        Args:
            outputs: a tensor or a nest of them.
        """
        if not self._parts:
            self._form = outputs
            self._parts = [[] for _ in nest.flatten(outputs)]
        for part, tensor in zip(self._parts, nest.flatten(outputs), strict=True):
            part.append(torch.as_tensor(tensor).detach().cpu())

    def to_numpy(self) -> Any:
        """All batches as NumPy arrays, in the form of the outputs.

        Raises:
            DataError: there was no batch.
            ShapeError: the outputs of two batches differ in more than the first axis.
        """
        if not self._parts:
            raise DataError(
                "There is nothing to predict from: the data gave no batch.",
                expected="at least 1 batch",
                received="0 batches",
                fix="check the length of the data",
            )
        return nest.pack_like(self._form, [_joined(part) for part in self._parts])


def _joined(parts: list[torch.Tensor]) -> np.ndarray[Any, Any]:
    """Tensors joined along their first axis; one that has memory of its own is not copied."""
    shapes = {tuple(part.shape[1:]) if part.ndim else None for part in parts}
    if len(parts) > 1 and (len(shapes) > 1 or None in shapes):
        raise ShapeError(
            "The outputs of the batches cannot be joined.",
            expected="shapes that differ in the first axis, the samples, alone",
            received=", ".join(sorted({str(tuple(part.shape)) for part in parts})[:4]),
            fix="call predict_on_batch for each batch, or pad the inputs to one length",
        )
    whole = parts[0] if len(parts) == 1 else torch.cat(parts)
    if whole.dtype is torch.bfloat16:
        whole = whole.float()
    array = whole.resolve_conj().resolve_neg().numpy()
    return array if array.base is None or len(parts) > 1 else np.array(array)
