"""Where the channels stand. Torch wants them on axis 1, lamina's data have them last.

A layer that torch computes with the channels second puts its result back; where the next one wants them second too,
it takes what was there before, and the way back leads nowhere and disappears.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple


class Order(NamedTuple):
    """The same data in another order."""

    inner: Any
    """The symbol."""
    kind: Any
    """The number of axes, for channels that stand second; the sizes behind the batch, if they have been made one."""


def channels_second(builder: Any, x: Any, rank: int) -> Any:
    """`x`, whose channels stand last, with the channels on axis 1.

    Args:
        builder: the builder.
        x: a symbol.
        rank: its number of axes.
    """
    order = builder.orders.get(x.node)
    if order is not None and order.kind == rank:
        return order.inner
    return x if rank == 2 else x.permute(0, rank - 1, *range(1, rank - 1))


def channels_last(builder: Any, y: Any, rank: int) -> Any:
    """`y`, whose channels stand on axis 1, with the channels last.

    Args:
        builder: the builder.
        y: a symbol.
        rank: its number of axes.
    """
    if rank == 2:
        return y
    x = y.permute(0, *range(2, rank), 1)
    builder.orders[x.node] = Order(y, rank)
    return x


def flattened(builder: Any, y: Any, sizes: tuple[int, ...]) -> Any:
    """`y`, flattened with the channels first, as it is when flattened with the channels last.

    Args:
        builder: the builder.
        y: a symbol of two axes.
        sizes: what was flattened, channels first.
    """
    x = y.unflatten(1, sizes).movedim(1, -1).flatten(1)
    builder.orders[x.node] = Order(y, sizes)
    return x


def through(builder: Any, function: Callable[..., Any], *tensors: Any) -> Any:
    """`function` of tensors of one shape, which treats all numbers alike, wherever their channels stand.

    Args:
        builder: the builder.
        function: of as many symbols.
        *tensors: the symbols.
    """
    orders = [builder.orders.get(x.node) for x in tensors]
    first = orders[0]
    if first is None or any(order is None or order.kind != first.kind for order in orders):
        return function(*tensors)
    y = function(*[order.inner for order in orders if order is not None])
    if isinstance(first.kind, tuple):
        return flattened(builder, y, first.kind)
    return channels_last(builder, y, first.kind)


def enter(builder: Any, layer: Any, x: Any) -> Any:
    """The input of a spatial layer with the channels on axis 1.

    Args:
        builder: the builder.
        layer: has a `rank` and a `data_format`.
        x: the symbol.
    """
    return x if layer.data_format == "channels_first" else channels_second(builder, x, layer.rank + 2)


def leave(builder: Any, layer: Any, y: Any) -> Any:
    """The output of a spatial layer, computed with the channels on axis 1, where `layer` has them.

    Args:
        builder: the builder.
        layer: has a `rank` and a `data_format`.
        y: the symbol.
    """
    return y if layer.data_format == "channels_first" else channels_last(builder, y, layer.rank + 2)
