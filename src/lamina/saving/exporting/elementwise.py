"""Conversions of activations, dropout and other layers that treat all numbers alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from lamina import activations
from lamina.engine.abstract import Spec
from lamina.errors import ExportError
from lamina.layers.activation import ELU, LeakyReLU, PReLU, ReLU, Softmax
from lamina.layers.core import Activation, Identity
from lamina.layers.dropout import AlphaDropout, Dropout, SpatialDropout1D, SpatialDropout2D, SpatialDropout3D
from lamina.layers.noise import GaussianDropout, GaussianNoise
from lamina.layers.regularization import ActivityRegularization
from lamina.saving.exporting.builder import Builder, copied
from lamina.saving.exporting.calls import call_module, traced
from lamina.saving.exporting.conversions import converts
from lamina.saving.exporting.layouts import channels_last, channels_second, through

# The modules for activations of single numbers.
_MODULES: dict[Any, Callable[[], nn.Module]] = {
    activations.relu: nn.ReLU, activations.relu6: nn.ReLU6, activations.elu: nn.ELU, activations.selu: nn.SELU,
    activations.celu: nn.CELU, activations.leaky_relu: lambda: nn.LeakyReLU(0.2), activations.softplus: nn.Softplus,
    activations.sigmoid: nn.Sigmoid, activations.log_sigmoid: nn.LogSigmoid, activations.tanh: nn.Tanh,
    activations.hard_sigmoid: nn.Hardsigmoid, activations.hard_tanh: nn.Hardtanh, activations.softsign: nn.Softsign,
    activations.silu: nn.SiLU, activations.hard_silu: nn.Hardswish, activations.gelu: nn.GELU,
    activations.mish: nn.Mish, activations.soft_shrink: nn.Softshrink, activations.hard_shrink: nn.Hardshrink,
    activations.tanh_shrink: nn.Tanhshrink, torch.relu: nn.ReLU, torch.sigmoid: nn.Sigmoid, torch.tanh: nn.Tanh,
}  # fmt: skip
# Those of whole vectors, whose last axis must be the last.
_OF_VECTORS: dict[Any, Callable[[], nn.Module]] = {
    activations.softmax: lambda: nn.Softmax(-1),
    activations.log_softmax: lambda: nn.LogSoftmax(-1),
}


def activate(builder: Builder, activation: Any, x: Any, path: str | None = None, owner: str = "") -> Any:
    """The activation of `x`.

    Args:
        builder: the builder.
        activation: a function, a layer or a torch module.
        x: a symbol.
        path: where its module goes; by default beside the layer that it belongs to.
        owner: the path of that layer.
    """
    if activation is activations.linear:
        return x
    if isinstance(activation, nn.Module):
        return call_module(builder, activation, (x,), {})
    place = path or f"{owner}_{getattr(activation, '__name__', 'activation').strip('_<>')}"
    if activation in _OF_VECTORS:
        return builder.call(place, _OF_VECTORS[activation], x)
    if activation in _MODULES:
        return through(builder, lambda y: builder.call(place, _MODULES[activation], y), x)
    builder.wrote_out |= not str(getattr(activation, "__module__", "")).startswith(("lamina.", "torch"))
    with builder.follow():
        return _squareplus(x) if activation is activations.squareplus else activation(x)


def _squareplus(x: Any) -> Any:
    """Without `hypot`, which ONNX does not know; it overflows earlier."""
    half = x / 2
    return half + torch.sqrt(half * half + 1)


def _module(builder: Builder, layer: Any, make: Callable[[], nn.Module], x: Any) -> Any:
    """One module for the layer."""
    return through(builder, lambda y: builder.call(builder.path(layer), make, y), x)


@converts(Activation)
def activation(builder: Builder, layer: Activation, x: Any) -> Any:
    """The module of the function, or the function itself."""
    return activate(builder, layer.activation, x, builder.path(layer))


@converts(Identity, ActivityRegularization)
def identity(builder: Builder, layer: Any, x: Any) -> Any:
    """Nothing."""
    return x


@converts(ReLU)
def relu(builder: Builder, layer: ReLU, x: Any) -> Any:
    """`ReLU`, `ReLU6` or `LeakyReLU`; other rectifiers as functions."""
    ceiling, slope, threshold = layer.max_value, layer.negative_slope, layer.threshold
    if not threshold and ceiling is None:
        return _module(builder, layer, (lambda: nn.LeakyReLU(slope)) if slope else nn.ReLU, x)
    if not threshold and not slope and ceiling == 6:
        return _module(builder, layer, nn.ReLU6, x)
    return traced(builder, layer, x)


@converts(LeakyReLU)
def leaky_relu(builder: Builder, layer: LeakyReLU, x: Any) -> Any:
    """`LeakyReLU`."""
    return _module(builder, layer, lambda: nn.LeakyReLU(layer.negative_slope), x)


@converts(ELU)
def elu(builder: Builder, layer: ELU, x: Any) -> Any:
    """`ELU`."""
    return _module(builder, layer, lambda: nn.ELU(layer.alpha), x)


@converts(PReLU)
def prelu(builder: Builder, layer: PReLU, x: Any) -> Any:
    """`PReLU` where there is one alpha a channel; else functions."""
    alpha, rank = layer.alpha, layer.alpha.dim() + 1
    if alpha.numel() != alpha.shape[-1]:
        return traced(builder, layer, x)

    def make() -> nn.Module:
        module = nn.PReLU(alpha.numel(), device="meta")
        module.weight = nn.Parameter(copied(alpha).detach().flatten(), alpha.requires_grad)
        return module

    y = builder.call(builder.path(layer), make, channels_second(builder, x, rank))
    return channels_last(builder, y, rank)


@converts(Softmax)
def softmax(builder: Builder, layer: Softmax, x: Any, mask: Any = None) -> Any:
    """`Softmax` along one axis without a mask; else functions."""
    if mask is None:
        if isinstance(layer.axis, int):
            return builder.call(builder.path(layer), lambda: nn.Softmax(layer.axis), x)
        return traced(builder, layer, x)
    with builder.follow():
        if mask is builder.masks.get(x.node):  # one value a step, for all that the step holds
            mask = mask[(...,) + (None,) * (x.ndim - mask.ndim)]
        mask = mask if mask.dtype is torch.bool else mask > 0.5
        lowest = torch.finfo(x.dtype).min
        axes = layer.axis if isinstance(layer.axis, int) else list(layer.axis)
        return torch.where(mask, activations.softmax(torch.where(mask, x, lowest), axes), 0.0)


# ---------------------------------------------------------------------- random numbers
_ALWAYS: dict[type, Callable[..., Any]] = {
    nn.Dropout: F.dropout, nn.AlphaDropout: F.alpha_dropout,
    nn.Dropout1d: F.dropout1d, nn.Dropout2d: F.dropout2d, nn.Dropout3d: F.dropout3d,
}  # fmt: skip


def dropped(builder: Builder, path: str, kind: type[nn.Module], rate: float, x: Any) -> Any:
    """`x` through a dropout module, or its function where the mode is not to follow the module's.

    Args:
        builder: the builder.
        path: of the module.
        kind: its class.
        rate: the share that is dropped.
        x: a symbol, as the module takes it.
    """
    if builder.training is False or not rate:
        return x
    if builder.training is True:
        return _ALWAYS[kind](x, rate, True)
    return builder.call(path, lambda: kind(rate), x)


@converts(Dropout, AlphaDropout)
def dropout(builder: Builder, layer: Any, x: Any) -> Any:
    """`Dropout` or `AlphaDropout`; a noise shape drops ones, with which the input is multiplied."""
    kind = nn.AlphaDropout if isinstance(layer, AlphaDropout) else nn.Dropout
    path, shape = builder.path(layer), layer.noise_shape
    if shape is None:
        return through(builder, lambda y: dropped(builder, path, kind, layer.rate, y), x)
    if builder.training is False or not layer.rate:
        return x
    if kind is nn.AlphaDropout:
        raise _no_module(layer, "AlphaDropout without noise_shape")
    part = tuple(slice(0, 1) if size == 1 else slice(None) for size in shape)
    return x * dropped(builder, path, kind, layer.rate, torch.ones_like(x[part]))


@converts(SpatialDropout1D, SpatialDropout2D, SpatialDropout3D)
def spatial_dropout(builder: Builder, layer: Any, x: Any) -> Any:
    """`Dropout1d`, `Dropout2d` or `Dropout3d`."""
    rank, path = layer._rank + 2, builder.path(layer)
    kind = {3: nn.Dropout1d, 4: nn.Dropout2d, 5: nn.Dropout3d}[rank]
    if layer.data_format == "channels_first":
        return dropped(builder, path, kind, layer.rate, x)
    return channels_last(builder, dropped(builder, path, kind, layer.rate, channels_second(builder, x, rank)), rank)


@converts(GaussianNoise, GaussianDropout)
def noise(builder: Builder, layer: Any, x: Any) -> Any:
    """Nothing at inference; torch has no module for it while training."""
    if not layer.strength or builder.training is False:
        return x
    raise _no_module(layer, "Dropout, or no noise")


def _no_module(layer: Any, expected: str) -> ExportError:
    return ExportError(
        f"Torch has no module that does what {type(layer).__name__} does while training.",
        expected=expected,
        received=f"{type(layer).__name__} {layer.name!r}",
        fix="pass inference=True, which leaves it out, or train in lamina",
    )


def as_floats(builder: Builder, x: Any, kind: torch.dtype) -> Any:
    """`x`, with whole numbers as floats of `kind`.

    Args:
        builder: the builder.
        x: a symbol.
        kind: a float dtype.
    """
    spec = builder.specs.get(x.node)
    if not isinstance(spec, Spec) or spec.dtype.is_floating_point:
        return x
    return x.to(kind)
