"""What to do about an error of torch's in one of its own modules, which names neither the module nor a remedy."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from lamina.engine.abstract import Shape
from lamina.errors import LaminaError
from lamina.inspection.report import Failure

_FEATURES = (nn.modules.batchnorm._NormBase,)
_CONVOLUTIONS = (nn.modules.conv._ConvNd,)


def failure_of(error: Exception, where: str, module: torch.nn.Module, shape: Any, dtype: torch.dtype | None) -> Failure:
    """An error that ended a run, with what would have been right and one thing to do.

    Args:
        error: the error.
        where: the path of the module in which it was raised.
        module: that module.
        shape: of the tensor that the module was called on, or `None`.
        dtype: of that tensor.
    """
    if isinstance(error, LaminaError):
        return Failure(where, error.what, error.expected, error.received, error.fix)
    line = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
    expected, fix = (None, None) if shape is None else _advice(module, shape, dtype)
    received = None if shape is None else f"an input of shape {shape}" + (f" and {dtype}" if dtype else "")
    return Failure(where, f"{type(module).__name__} raised {type(error).__name__}: {line}.", expected, received, fix)


def _advice(module: torch.nn.Module, shape: Shape, dtype: torch.dtype | None) -> tuple[str | None, str | None]:
    """What the module expects, and the remedy; `None` where nothing is known."""
    last = shape[-1] if shape else None
    if isinstance(module, nn.Linear) and last != module.in_features:
        expected = f"a last axis of in_features={module.in_features}"
        if math.prod(size or 1 for size in shape[1:]) == module.in_features:
            return expected, "flatten the input first: x.flatten(1)"
        return expected, f"make it nn.Linear({last}, {module.out_features}), or change what comes before it"
    if isinstance(module, _CONVOLUTIONS):
        axes = len(module.kernel_size)
        channels = shape[-axes - 1] if len(shape) > axes else None
        expected = f"in_channels={module.in_channels} on the axis before the last {axes}"
        if len(shape) <= axes:
            return expected, f"pass a batch of {axes + 2} axes: (batch, channels, ...)"
        if channels != module.in_channels and last == module.in_channels:
            return expected, "the channels stand last: pass x.movedim(-1, 1)"
        if channels != module.in_channels:
            return expected, f"set in_channels={channels}, or change what comes before it"
    if isinstance(module, _FEATURES) and len(shape) > 1 and shape[1] != module.num_features:
        return f"num_features={module.num_features} on axis 1", f"set num_features={shape[1]}"
    if isinstance(module, nn.LayerNorm) and tuple(shape[-len(module.normalized_shape) :]) != module.normalized_shape:
        return f"last axes of {module.normalized_shape}", f"set normalized_shape={last}"
    if isinstance(module, nn.RNNBase) and last != module.input_size:
        return f"a last axis of input_size={module.input_size}", f"set input_size={last}"
    if isinstance(module, nn.Embedding) and dtype is not None and dtype.is_floating_point:
        return "whole numbers", "pass x.long(), or say the dtype: dtypes=[torch.int64]"
    return None, None
