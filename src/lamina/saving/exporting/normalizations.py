"""Conversions of layers that normalize."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from lamina.engine.masking import any_mask, get_mask
from lamina.errors import ExportError
from lamina.layers.normalization import BatchNormalization
from lamina.layers.sample_normalization import GroupNormalization, LayerNormalization, RMSNormalization
from lamina.saving.exporting.builder import Builder, copied
from lamina.saving.exporting.calls import traced
from lamina.saving.exporting.conversions import converts
from lamina.saving.exporting.layouts import channels_last, channels_second


def _affine(module: Any, gamma: torch.Tensor | None, beta: torch.Tensor | None) -> nn.Module:
    """`module` with these two weights; torch has both or none, so a missing one does nothing and is not trained."""
    if gamma is None and beta is None:
        return module
    like: Any = beta if gamma is None else gamma
    module.weight = copied(gamma) if gamma is not None else nn.Parameter(torch.ones_like(like), requires_grad=False)
    module.bias = copied(beta) if beta is not None else nn.Parameter(torch.zeros_like(like), requires_grad=False)
    return module


def _to_second(builder: Builder, x: Any, axis: int, rank: int) -> Any:
    if axis == 1:
        return x
    return channels_second(builder, x, rank) if axis == rank - 1 else x.movedim(axis, 1)


def _from_second(builder: Builder, y: Any, axis: int, rank: int) -> Any:
    if axis == 1:
        return y
    return channels_last(builder, y, rank) if axis == rank - 1 else y.movedim(1, axis)


@converts(BatchNormalization)
def batch_normalization(builder: Builder, layer: BatchNormalization, x: Any, mask: Any = None) -> Any:
    """`BatchNorm1d`, `BatchNorm2d` or `BatchNorm3d`; as a function where the layer is frozen or its mode is fixed."""
    path, rank, training = builder.path(layer), layer.input_spec.ndim, builder.training
    axis = layer.axis % rank
    if rank > 5:
        raise _unlike(layer, "an input of 2 to 5 axes", "flatten some axes before it")
    if training is not False and layer._trainable:
        if layer.renorm:
            raise _unlike(layer, "renorm=False, the only kind of training that torch has", "pass inference=True")
        if mask is not None or any_mask(get_mask(x)):
            raise _unlike(layer, "an input without a mask, which torch's statistics know nothing of",
                          "pass inference=True, or put the layer before the one that makes the mask")  # fmt: skip
    y = _to_second(builder, x, axis, rank)
    if training is not None and not builder.inference or not layer._trainable or (builder.inference and training):
        y = _as_function(builder, layer, path, y, bool(training) and layer._trainable)
        return _from_second(builder, y, axis, rank)

    def make() -> nn.Module:
        kind = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d, 5: nn.BatchNorm3d}[rank]
        mean, variance, affine = layer.moving_mean, layer.moving_variance, layer.scale or layer.center
        module = kind(mean.shape[0], layer.epsilon, 1.0 - layer.momentum, affine, device="meta")
        module.running_mean, module.running_var = copied(mean), copied(variance)
        module.num_batches_tracked = torch.zeros((), dtype=torch.int64, device=mean.device)
        return _affine(module, layer.gamma, layer.beta)

    return _from_second(builder, builder.call(path, make, y), axis, rank)


def _as_function(builder: Builder, layer: BatchNormalization, path: str, y: Any, training: bool) -> Any:
    """The function behind the modules, in a mode of its own, with the weights under the names that these have."""
    weights = {"weight": layer.gamma, "bias": layer.beta}
    given = {name: builder.read(f"{path}.{name}", w) for name, w in weights.items() if w is not None}
    mean = builder.read(f"{path}.running_mean", layer.moving_mean)
    variance = builder.read(f"{path}.running_var", layer.moving_variance)
    return F.batch_norm(y, mean, variance, **given, training=training, momentum=1.0 - layer.momentum, eps=layer.epsilon)


def _unlike(layer: Any, expected: str, fix: str) -> ExportError:
    return ExportError(
        f"Torch has no module that does what this {type(layer).__name__} does.",
        expected=expected,
        received=f"{type(layer).__name__} {layer.name!r}",
        fix=fix,
    )


def _over_last_axes(builder: Builder, layer: Any, make: Any, x: Any) -> Any:
    """A module that normalizes over the last axes, on those that the layer names."""
    axes, rank = layer._axes, layer.input_spec.ndim
    last = tuple(range(rank - len(axes), rank))
    if axes == last:
        return builder.call(builder.path(layer), make, x)
    return builder.call(builder.path(layer), make, x.movedim(axes, last)).movedim(last, axes)


@converts(LayerNormalization)
def layer_normalization(builder: Builder, layer: LayerNormalization, x: Any) -> Any:
    """`LayerNorm`; functions where only the spread is normalized."""
    if layer.rms_scaling:
        return traced(builder, layer, x)
    gamma, beta = layer.gamma, layer.beta

    def make() -> nn.Module:
        shape = [layer.input_spec.axes[axis] for axis in layer._axes]
        affine = gamma is not None or beta is not None
        return _affine(nn.LayerNorm(shape, layer.epsilon, affine, device="meta"), gamma, beta)  # type: ignore[arg-type]

    return _over_last_axes(builder, layer, make, x)


@converts(RMSNormalization)
def rms_normalization(builder: Builder, layer: RMSNormalization, x: Any) -> Any:
    """`RMSNorm`."""

    def make() -> nn.Module:
        module = nn.RMSNorm(list(layer.scale.shape), layer.epsilon, device="meta")
        module.weight = copied(layer.scale)  # type: ignore[assignment]
        return module

    return _over_last_axes(builder, layer, make, x)


@converts(GroupNormalization)
def group_normalization(builder: Builder, layer: GroupNormalization, x: Any) -> Any:
    """`GroupNorm`."""
    rank = layer.input_spec.ndim
    axis = layer.axis % rank
    channels = layer.input_spec.axes[layer.axis]
    gamma, beta = layer.gamma, layer.beta

    def make() -> nn.Module:
        affine = gamma is not None or beta is not None
        return _affine(nn.GroupNorm(layer._count, channels, layer.epsilon, affine, device="meta"), gamma, beta)

    y = builder.call(builder.path(layer), make, _to_second(builder, x, axis, rank))
    return _from_second(builder, y, axis, rank)
