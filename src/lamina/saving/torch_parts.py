"""What of torch's state each weight of a layer is made of: one row for each class of layers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import torch

from lamina import layers as L
from lamina.engine.layer import Layer
from lamina.engine.torch_module import TorchModule
from lamina.errors import WeightsError
from lamina.layers.convolution_base import BaseConvolution
from lamina.layers.depthwise import DepthwiseConvolution, SeparableConvolution
from lamina.layers.normalization import Affine

State = Mapping[str, torch.Tensor]


class Part(NamedTuple):
    """One weight of a layer and what of torch's state it is made of."""

    weight: Any
    """The layer's."""
    names: tuple[str, ...]
    """Of torch's tensors, behind the prefix."""
    shape: tuple[int, ...]
    """What each of them must have."""
    turned: Callable[..., torch.Tensor]
    """Makes the value of them."""


def row_of(owner: Any) -> Callable[[Any, State], Iterator[Part]] | None:
    """The row of the nearest class of a layer, or `None` if the table has none.

    Args:
        owner: a layer or module.
    """
    if isinstance(owner, L.Bidirectional):
        both = (getattr(layer, "cell", None) for layer in (owner.forward_layer, owner.backward_layer))
        if not all(isinstance(cell, (L.SimpleRNNCell, L.LSTMCell, L.GRUCell)) for cell in both):
            return None
    return next((_ROWS[cls] for cls in type(owner).__mro__ if cls in _ROWS), None)


def parts_of(owner: torch.nn.Module, given: State) -> list[Part]:
    """The weights of a layer and what they are made of.

    A torch module, a layer without a row, and one whose own names stand in the state (as in that of `to_torch`, where
    torch has no such module) take their state as it is.

    Args:
        owner: a layer or module.
        given: what stands under its prefix.

    Raises:
        WeightsError: torch's layer of that kind computes something else.
    """
    holder, row = owner.module if isinstance(owner, TorchModule) else owner, row_of(owner)
    own = holder.state_dict(keep_vars=True)
    if row is not None and not (own.keys() <= given.keys()):
        return list(row(owner, given))
    tensors = {name: weight for name, weight in own.items() if isinstance(weight, torch.Tensor)}
    if isinstance(owner, Layer) and holder is owner:
        tensors = {name: weight for name, weight in tensors.items() if "." not in name or row is not None}
    return [_as_it_is(weight, name) for name, weight in tensors.items()]


def _as_it_is(weight: torch.Tensor, name: str) -> Part:
    return Part(weight, (name,), tuple(weight.shape), lambda value: value)


def _optional(weight: torch.Tensor | None, name: str) -> Iterator[Part]:
    """A weight that a layer may lack."""
    if weight is not None:
        yield _as_it_is(weight, name)


def _dense(layer: Any, given: State) -> Iterator[Part]:
    """`Linear`."""
    yield Part(layer.kernel, ("weight",), tuple(layer.kernel.shape)[::-1], torch.t)
    yield from _optional(layer.bias, "bias")


def _filters_first(kernel: torch.Tensor, name: str) -> Part:
    """A kernel `(*window, a, b)`, which torch has as `(b, a, *window)`."""
    *window, a, b = kernel.shape
    back = (*range(2, kernel.dim()), 1, 0)
    return Part(kernel, (name,), (b, a, *window), lambda value: value.permute(back))


def _each_channel(kernel: torch.Tensor, name: str) -> Part:
    """A kernel `(*window, channels, multiplier)`, which torch has as `(channels * multiplier, 1, *window)`."""
    *window, channels, multiplier = kernel.shape
    back = (*range(2, kernel.dim()), 0, 1)

    def turned(value: torch.Tensor) -> torch.Tensor:
        return value.reshape(channels, multiplier, *window).permute(back)

    return Part(kernel, (name,), (channels * multiplier, 1, *window), turned)


def _convolution(layer: Any, given: State) -> Iterator[Part]:
    """`ConvNd` and `ConvTransposeNd`, which both have the last axis of Keras's kernel first."""
    yield _filters_first(layer.kernel, "weight")
    yield from _optional(layer.bias, "bias")


def _depthwise(layer: Any, given: State) -> Iterator[Part]:
    """`ConvNd` with a group for each channel."""
    yield _each_channel(layer.kernel, "weight")
    yield from _optional(layer.bias, "bias")


def _separable(layer: Any, given: State) -> Iterator[Part]:
    """Two `ConvNd`, named `depthwise` (without a bias) and `pointwise`."""
    yield _each_channel(layer.depthwise_kernel, "depthwise.weight")
    yield _filters_first(layer.pointwise_kernel, "pointwise.weight")
    yield from _optional(layer.bias, "pointwise.bias")


def _affine(layer: Any, given: State) -> Iterator[Part]:
    """`LayerNorm` and `GroupNorm`."""
    yield from _optional(layer.gamma, "weight")
    yield from _optional(layer.beta, "bias")


def _batch_normalization(layer: Any, given: State) -> Iterator[Part]:
    """`BatchNormNd`; what renorm follows is worked out from its statistics."""
    yield from _affine(layer, given)
    mean, variance = _as_it_is(layer.moving_mean, "running_mean"), _as_it_is(layer.moving_variance, "running_var")
    yield from (mean, variance)
    if layer.renorm:
        yield mean._replace(weight=layer.renorm_mean)
        yield variance._replace(weight=layer.moving_stddev, turned=lambda value: (value + layer.epsilon).sqrt())


def _prelu(layer: Any, given: State) -> Iterator[Part]:
    """`PReLU`, which has one number, or one for each channel."""
    shape, one = tuple(layer.alpha.shape), given.get("weight")
    size = (1,) if one is not None and one.numel() == 1 else (shape[-1],)
    yield Part(layer.alpha, ("weight",), size, lambda value: value.expand(shape))


def _swapped(value: torch.Tensor) -> torch.Tensor:
    """Rows with the update gate first, as Keras has them; torch's GRU has the reset gate first."""
    reset, update, candidate = value.chunk(3)
    return torch.cat([update, reset, candidate])


def _cell(cell: Any, end: str) -> Iterator[Part]:
    """One direction of `RNN`, `LSTM` or `GRU`, or one of their cells."""
    if isinstance(cell, L.GRUCell) and not cell.reset_after:
        raise WeightsError(
            "Torch's GRU applies the reset gate after the product with the recurrent kernel.",
            expected="reset_after=True",
            received="reset_after=False",
            fix="make the layer with reset_after=True",
        )
    ordered = _swapped if isinstance(cell, L.GRUCell) else torch.Tensor.clone
    for weight, name in ((cell.kernel, "weight_ih"), (cell.recurrent_kernel, "weight_hh")):
        yield Part(weight, (name + end,), tuple(weight.shape)[::-1], lambda value: ordered(value).t())
    if cell.bias is None:
        return
    names, size = (f"bias_ih{end}", f"bias_hh{end}"), (cell.bias.shape[-1],)
    if cell.bias.dim() == 2:
        yield Part(cell.bias, names, size, lambda a, b: torch.stack([ordered(a), ordered(b)]))
    else:
        yield Part(cell.bias, names, size, torch.add)


def _recurrent(layer: Any, given: State) -> Iterator[Part]:
    """`RNN`, `LSTM` and `GRU` of one layer and one direction."""
    yield from _cell(layer.cell, "_l0")


def _recurrent_cell(layer: Any, given: State) -> Iterator[Part]:
    """`RNNCell`, `LSTMCell` and `GRUCell`."""
    yield from _cell(layer, "")


def _bidirectional(layer: Any, given: State) -> Iterator[Part]:
    """The same of two directions."""
    yield from _cell(layer.forward_layer.cell, "_l0")
    yield from _cell(layer.backward_layer.cell, "_l0_reverse")


_ROWS: dict[type, Callable[[Any, State], Iterator[Part]]] = {
    L.Dense: _dense,
    BaseConvolution: _convolution,
    DepthwiseConvolution: _depthwise,
    SeparableConvolution: _separable,
    L.BatchNormalization: _batch_normalization,
    Affine: _affine,
    L.RMSNormalization: lambda layer, given: _optional(layer.scale, "weight"),
    L.Embedding: lambda layer, given: _optional(layer.embeddings, "weight"),
    L.PReLU: _prelu,
    L.SimpleRNN: _recurrent,
    L.LSTM: _recurrent,
    L.GRU: _recurrent,
    L.SimpleRNNCell: _recurrent_cell,
    L.LSTMCell: _recurrent_cell,
    L.GRUCell: _recurrent_cell,
    L.Bidirectional: _bidirectional,
}
