"""Padding, convolution, normalization, sum, activation, pooling: layers of a graph that follow each other, run as one.

While training, a kernel computes what stands around a convolution or a batch normalization in the same pass over
memory; at inference a normalization becomes a factor and an offset of the convolution before it. What they give is the
same, up to rounding, as what the layers give one by one, and a layer that somebody watches is called by itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from lamina.activations.fused import kernel_name
from lamina.engine.rewrite import Found, Readers, unwatched
from lamina.engine.symbolic import Node, SymbolicTensor
from lamina.kernels import images
from lamina.kernels.activations import ACTIVATIONS
from lamina.kernels.batch_statistics import scaled_sum, suits
from lamina.kernels.conv import conv
from lamina.layers.activation import ReLU
from lamina.layers.convolution import Conv2D
from lamina.layers.core import Activation
from lamina.layers.merging import Add
from lamina.layers.normalization import BatchNormalization
from lamina.layers.padding import ZeroPadding2D
from lamina.layers.pooling import MaxPooling2D

_MOST_POOLED = 255  # a byte says which member of a window was the largest


def _is_padding(layer: Any) -> bool:
    return type(layer) is ZeroPadding2D and layer.data_format == "channels_last"


def _is_convolution(layer: Any) -> bool:
    return type(layer) is Conv2D and layer.data_format == "channels_last"


def _is_normalization(layer: Any) -> bool:
    if type(layer) is not BatchNormalization or layer.renorm or layer.input_spec is None:
        return False
    return layer.axis in (-1, layer.input_spec.ndim - 1)


def _is_sum(layer: Any) -> bool:
    return type(layer) is Add


def _is_activation(layer: Any) -> bool:
    return type(layer) is not Conv2D and activation_of(layer) is not None  # a convolution has one, and is none


def _is_pooling(layer: Any) -> bool:
    return (
        type(layer) is MaxPooling2D
        and layer.data_format == "channels_last"
        and layer.padding == "valid"
        and layer.strides == layer.pool_size
        and layer.pool_size[0] * layer.pool_size[1] <= _MOST_POOLED
    )


_ROLES: dict[str, Callable[[Any], bool]] = {
    "pad": _is_padding, "conv": _is_convolution, "norm": _is_normalization, "add": _is_sum, "act": _is_activation,
    "pool": _is_pooling,
}  # fmt: skip
# What may stand behind what.
_NEXT = {"pad": ("conv",), "conv": ("norm", "act", "pool"), "norm": ("add", "act"), "add": ("act",), "act": ("pool",)}
_NEXT["pool"] = ()


def activation_of(layer: Any) -> str | None:
    """What an activation layer, or a layer with an activation, does, if the kernels know it.

    Args:
        layer: any layer.
    """
    if type(layer) is ReLU:
        plain = layer.max_value is None and not layer.negative_slope and not layer.threshold
        return "relu" if plain else None
    return kernel_name(layer.activation) if type(layer) in (Activation, Conv2D) else None


def find_block(node: Node, readers: Readers) -> Found | None:
    """The longest block that begins at `node`.

    Args:
        node: where to begin.
        readers: who reads which tensor of the graph.
    """
    role = next((r for r in ("pad", "conv", "norm") if _ROLES[r](node.op)), None)
    if role is None or not _is_simple(node):
        return None
    nodes, roles, others = [node], [role], []
    while (following := readers.only(nodes[-1])) is not None:
        role = next(
            (r for r in _NEXT[roles[-1]] if _ROLES[r](following.op) and _goes_on(roles, nodes, r, following.op)), None
        )
        if role is None:
            break
        if role == "add":
            others = [t for t in following.inputs if t is not nodes[-1].output_list[0]]
            if len(following.inputs) != 2 or len(others) != 1 or others[0].shape != nodes[-1].output_list[0].shape:
                break
        elif not _is_simple(following):
            break
        nodes.append(following)
        roles.append(role)
    if roles[-1] == "pad" or len(nodes) < 2:
        return None
    swapped = "add" in roles and nodes[roles.index("add")].inputs[0] is others[0]
    layers = [member.op for member in nodes]
    inputs = [nodes[0].inputs[0], *(others if "add" in roles else ())]
    return Found("block", nodes, layers, inputs, Block(tuple(roles), swapped))


def _is_simple(node: Node) -> bool:
    """Whether a layer is called on one tensor and nothing else."""
    return len(node.args) == 1 and not node.kwargs and isinstance(node.args[0], SymbolicTensor)


def _goes_on(roles: list[str], nodes: list[Node], role: str, layer: Any) -> bool:
    """Whether a layer of this role can be part of what `roles` have been so far."""
    if role == "conv":
        return layer.padding == "valid"
    own = activation_of(nodes[roles.index("conv")].op) if "conv" in roles else "linear"
    if role == "pool":  # the largest of activated values is the activated largest, for what kernels know
        return "norm" not in roles and own is not None
    return own == "linear"


class Block:
    """The function that stands for a block.

    Args:
        roles: what each of its layers is to it.
        swapped: whether the sum, if there is one, has the block's own branch second.
    """

    def __init__(self, roles: tuple[str, ...], swapped: bool) -> None:
        self.roles = roles
        self.swapped = swapped

    def fits(self, layers: list[Any]) -> bool:
        """Whether the layers are still of the kinds that they were.

        Args:
            layers: one for each role.
        """
        return all(_ROLES[role](layer) for role, layer in zip(self.roles, layers, strict=True))

    def __call__(self, layers: list[Any], x: Tensor, *other: Tensor) -> Tensor:
        if self.fits(layers) and unwatched(layers, x, *other):
            y = _as_one(dict(zip(self.roles, layers, strict=True)), x, other[0] if other else None)
            if y is not None:
                return y
        for role, layer in zip(self.roles, layers, strict=True):
            given = ([*other, x] if self.swapped else [x, *other]) if role == "add" else x
            x = layer(given)
        return x


def _as_one(parts: dict[str, Any], x: Tensor, other: Tensor | None) -> Tensor | None:
    """The block's result, or `None` where its layers had better compute one by one."""
    if not _takes(parts, x):
        return None
    norm, activation = parts.get("norm"), activation_of(parts["act"]) if "act" in parts else "linear"
    if norm is None:
        return _convolved(parts, x, activation or "linear")
    if norm.training and norm._trainable:
        if "conv" in parts:
            x = _convolved({"pad": parts.get("pad"), "conv": parts["conv"]}, x, "linear")
        y = norm.follow(x, other, activation == "relu")
        return y if activation in ("linear", "relu") else ACTIVATIONS[str(activation)](y)
    if torch.is_grad_enabled():
        return None
    if "conv" in parts:
        return _folded(parts, x, other, activation or "linear")
    if activation not in ("linear", "relu") or not suits(x, norm.gamma, norm.beta, other):
        return None
    return scaled_sum(x, *as_factor(norm, None), other, activation == "relu")


def _takes(parts: dict[str, Any], x: Tensor) -> bool:
    """Whether the first layer with weights can take `x`; one that cannot says so best itself."""
    layer, pad = parts.get("conv"), parts.get("pad")
    if layer is None:
        return x.shape[-1] == parts["norm"].moving_mean.shape[0]
    if x.ndim != 4 or x.shape[-1] != layer.kernel.shape[2] * layer.groups or not x.is_floating_point():
        return False
    if layer.padding != "valid":
        return True
    added = ((0, 0), (0, 0)) if pad is None else pad._added
    reach = [(k - 1) * d + 1 for k, d in zip(layer.kernel_size, layer.dilation_rate, strict=True)]
    return all(size + sum(more) >= r for size, more, r in zip(x.shape[1:3], added, reach, strict=True))


def folds(norm: BatchNormalization) -> bool:
    """Whether a normalization is one by its moving averages, of which nobody wants a gradient.

    Args:
        norm: the normalization.
    """
    return not (norm.training and norm._trainable) and not torch.is_grad_enabled()


def as_factor(norm: BatchNormalization, bias: Tensor | None) -> tuple[Tensor, Tensor]:
    """A normalization by its moving averages as a factor and an offset, of what comes before a `bias` is added.

    Args:
        norm: the normalization.
        bias: `(channels,)` or `None`.
    """
    scale = torch.rsqrt(norm.moving_variance + norm.epsilon)
    scale = scale if norm.gamma is None else scale * norm.gamma
    mean = norm.moving_mean if bias is None else norm.moving_mean - bias
    return scale, -scale * mean if norm.beta is None else torch.addcmul(norm.beta, scale, mean, value=-1.0)


def _window(parts: dict[str, Any], activation: str) -> images.Window:
    layer, pad, pool = parts["conv"], parts.get("pad"), parts.get("pool")
    padding = layer.padding
    if pad is not None and padding == "valid":
        padding = pad._added
    return images.Window(layer.strides, padding, (0, 0) if pool is None else pool.pool_size, activation)


def _is_plain(parts: dict[str, Any], window: images.Window) -> bool:
    """Whether the convolution has neither groups nor gaps, and the padding before it, if any, is one of its own."""
    layer, inside = parts["conv"], parts.get("pad") is None or isinstance(window.padding, tuple)
    return inside and layer.groups == 1 and max(layer.dilation_rate) == 1


def _details(layer: Conv2D) -> tuple[Any, ...]:
    """What `conv` wants to know of a layer between its bias and its activation."""
    return layer.strides, layer.padding, layer.data_format, layer.dilation_rate, layer.groups


def _convolved(parts: dict[str, Any], x: Tensor, activation: str) -> Tensor:
    """Padding, convolution, pooling, activation, in one kernel where there is one for it."""
    layer, pad, pool = parts["conv"], parts.get("pad"), parts.get("pool")
    own = activation_of(layer)
    if activation == "linear":
        activation = own or "linear"
    window = _window(parts, activation)
    plain = _is_plain(parts, window)
    if plain and images.suits(x, layer.kernel, layer.bias, window):
        y = images.convolution(x, layer.kernel, layer.bias, window)
    elif plain and pool is not None and images.suits_widened(x, layer.kernel, layer.bias, window):
        y = images.widened(x, layer.kernel, layer.bias, window)
    else:
        x = x if pad is None else pad(x)
        y = conv(x, layer.kernel, layer.bias, *_details(layer), "linear" if pool is not None else activation)
        if pool is not None:  # before the activation, which then has less to do
            y = ACTIVATIONS[activation](pool(y))
    return y if own else layer.activation(y)


def _folded(parts: dict[str, Any], x: Tensor, other: Tensor | None, activation: str) -> Tensor | None:
    """The block at inference: the normalization as a factor and an offset of the convolution's sums."""
    layer, norm = parts["conv"], parts["norm"]
    scale, shift = as_factor(norm, layer.bias)
    window = _window({**parts, "pool": None}, activation)
    if _is_plain(parts, window) and images.suits(x, layer.kernel, shift, window):
        return images.convolution(x, layer.kernel, shift, window, scale, other)
    if x.numel() < layer.kernel.numel():  # it would take longer to fold than to normalize
        return None
    x = x if parts.get("pad") is None else parts["pad"](x)
    if other is None:
        return conv(x, layer.kernel * scale, shift, *_details(layer), activation)
    y = conv(x, layer.kernel * scale, shift, *_details(layer))
    y = y.add_(other) if y.dtype is other.dtype else y + other
    return y.relu_() if activation == "relu" else ACTIVATIONS[activation](y)
