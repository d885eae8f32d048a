"""A grouped convolution written out: slices of the channels, a convolution of each, the results side by side.

Run as one convolution in groups, whose kernel is those of the layers side by side. Each layer keeps its own weights.

Reference: Xie, Girshick, Dollar, Tu, He, 2017, "Aggregated Residual Transformations for Deep Neural Networks", figure
3, https://arxiv.org/abs/1611.05431
"""

from __future__ import annotations

import operator
from typing import Any

import torch
from torch import Tensor

from lamina.activations.fused import kernel_name
from lamina.engine.rewrite import Found, Readers, hooked, unwatched
from lamina.engine.symbolic import Node, Operation
from lamina.kernels.conv import conv
from lamina.layers.blocks import Block, activation_of, as_factor, find_block, folds
from lamina.layers.convolution import Conv2D
from lamina.layers.core import Lambda
from lamina.layers.joining import Concatenate

_LAST = (-1, 3)
# What the convolutions must have in common.
_SHARED = ("filters", "kernel_size", "strides", "padding", "dilation_rate", "activation", "use_bias", "data_format")


def find_groups(node: Node, readers: Readers) -> Found | None:
    """The grouped convolution whose first slice is `node`.

    Args:
        node: where to begin.
        readers: who reads which tensor of the graph.
    """
    if _slice_of(node) is None or node.inputs[0].shape[-1] is None or len(node.inputs[0].shape) != 4:
        return None
    source = node.inputs[0]
    first = readers.only(node)
    join = None if first is None else readers.only(first)
    if join is None or type(join.op) is not Concatenate or join.op.axis not in _LAST or not _is_plain(join.op):
        return None
    slices, convolutions, at = [], [], 0
    for tensor in join.inputs:
        convolution = tensor.node
        piece = None if convolution is None or len(convolution.inputs) != 1 else convolution.inputs[0].node
        bounds = None if piece is None or not piece.inputs or piece.inputs[0] is not source else _slice_of(piece)
        if piece is None or convolution is None or bounds is None or bounds[0] != at or bounds[1] <= at:
            return None
        if not _alike(convolution.op, first.op) or readers.only(piece) is not convolution:
            return None
        if readers.only(convolution) is not join:
            return None
        slices.append(piece)
        convolutions.append(convolution)
        at = bounds[1]
    widths = {_slice_of(piece)[1] - _slice_of(piece)[0] for piece in slices}  # type: ignore[index]
    different = len({id(convolution.op) for convolution in convolutions})
    if at != source.shape[-1] or len(widths) != 1 or different < max(2, len(convolutions)):
        return None
    lambdas = [piece.op for piece in slices if not isinstance(piece.op, Operation)]
    layers = [*lambdas, *(c.op for c in convolutions), join.op]
    nodes = [*slices, *convolutions, join]
    normalized, tail = readers.only(join), None
    found = None if normalized is None else find_block(normalized, readers)
    if found is not None and found.run.roles == ("norm", "act"):
        nodes, layers, tail = [*nodes, *found.nodes], [*layers, *found.layers], found.run
    cuts = [(None if isinstance(piece.op, Operation) else piece.op, _slice_of(piece)) for piece in slices]
    run = Groups(cuts, join.op, tail)
    return Found("groups", nodes, layers, [source], run)


def _alike(layer: Any, first: Any) -> bool:
    """Whether a layer is a convolution that could share one call with the first."""
    if type(layer) is not Conv2D or type(first) is not Conv2D or layer.groups != 1:
        return False
    same = all(getattr(layer, name) == getattr(first, name) for name in _SHARED)
    return same and layer.data_format == "channels_last" and layer.kernel.shape == first.kernel.shape


def _is_plain(layer: Any) -> bool:
    """Whether a layer adds neither a mask of its own nor a loss."""
    return getattr(layer, "mask", None) is None and layer.activity_regularizer is None


class _Probe:
    """What a `Lambda` is shown to learn whether all it does is to cut channels."""

    def __getitem__(self, index: Any) -> _Cut:
        return _Cut(index)


class _Cut:
    def __init__(self, index: Any) -> None:
        self.index = index


def _slice_of(node: Node) -> tuple[int, int] | None:
    """From which channel to which a node cuts its input, and nothing else; `None` if that is not what it does."""
    if len(node.inputs) != 1 or not node.inputs[0].shape:
        return None
    rank, channels = len(node.inputs[0].shape), node.inputs[0].shape[-1]
    if isinstance(node.op, Operation):
        index = node.args[1] if node.op.function is operator.getitem else None
    elif type(node.op) is Lambda and not node.kwargs and not node.op.arguments and _is_plain(node.op):
        out = node.output_list[0].shape
        if len(node.output_list) != 1 or len(out) != rank or out[:-1] != node.inputs[0].shape[:-1]:
            return None
        try:
            cut = node.op.function(_Probe())
        except Exception:  # it wants a tensor: it does more than cut
            return None
        index = cut.index if isinstance(cut, _Cut) else None
    else:
        return None
    if not isinstance(index, tuple) or not index or channels is None:
        return None
    *front, last = index
    plain = all(isinstance(part, slice) and (part.start, part.stop, part.step) == (None,) * 3 for part in front)
    whole = (plain and len(index) == rank) or (len(front) == 1 and front[0] is Ellipsis)
    if (
        not whole
        or not isinstance(last, slice)
        or not all(x is None or type(x) is int for x in (last.start, last.stop))
    ):
        return None
    if last.step not in (None, 1):
        return None
    begin, end, _ = last.indices(channels)
    return begin, end


class Groups:
    """The function that stands for a grouped convolution.

    Args:
        cuts: for each group the layer that cuts its channels, or `None` where an index does, and which they are.
        join: the layer that puts the results side by side.
        tail: a normalization and an activation that follow, or `None`.
    """

    def __init__(self, cuts: list[tuple[Any, Any]], join: Any, tail: Block | None) -> None:
        self.count = len(cuts)
        self.cuts = cuts
        self.join = join
        self.tail = tail
        self.functions = [layer.function for layer, _ in cuts if layer is not None]

    def __call__(self, layers: list[Any], x: Tensor) -> Tensor:
        after = [] if self.tail is None else layers[-len(self.tail.roles) :]
        *lambdas, join = layers[: len(layers) - len(after)]
        convolutions = lambdas[len(lambdas) - self.count :]
        lambdas = lambdas[: -self.count]
        given = [layer for layer, _ in self.cuts if layer is not None]
        same = join is self.join and all(a is b for a, b in zip(lambdas, given, strict=True))
        same = same and all(a.function is f for a, f in zip(lambdas, self.functions, strict=True))
        alike = same and all(_alike(layer, convolutions[0]) for layer in convolutions)
        fits = alike and (self.tail is None or self.tail.fits(after))
        if not fits or hooked([*lambdas, join]) or not unwatched([*convolutions, *after], x):
            cutters = iter(lambdas)
            pieces = [x[..., slice(*bounds)] if layer is None else next(cutters)(x) for layer, bounds in self.cuts]
            y = join([layer(piece) for layer, piece in zip(convolutions, pieces, strict=True)])
            for layer in after:
                y = layer(y)
            return y
        first = convolutions[0]
        # Side by side along the filters, which lie first in memory, and so does what comes out.
        kernel = torch.cat([layer.kernel.permute(3, 0, 1, 2) for layer in convolutions]).permute(1, 2, 3, 0)
        bias = torch.cat([layer.bias for layer in convolutions]) if first.use_bias else None
        name = kernel_name(first.activation)
        details = (first.strides, first.padding, "channels_last", first.dilation_rate, self.count)
        if self.tail is not None and name == "linear" and folds(after[0]):
            scale, shift = as_factor(after[0], bias)
            return conv(x, kernel * scale, shift, *details, activation_of(after[1]) or "linear")
        y = conv(x, kernel, bias, *details, name or "linear")
        y = y if name else first.activation(y)
        return y if self.tail is None else self.tail(after, y)
