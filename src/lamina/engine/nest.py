"""Nests: lists, tuples and dicts of tensors, walked in the order in which they were written."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, cast


def is_nest(value: Any) -> bool:
    """Whether `value` is a list, tuple or dict."""
    return isinstance(value, (list, tuple, dict))


def flatten(nest: Any) -> list[Any]:
    """The leaves of `nest`, left to right; a leaf alone is a list of one.

    Example:
        >>> flatten({"a": [1, 2], "b": (3,)}), flatten(4)
        ([1, 2, 3], [4])
    """
    if isinstance(nest, dict):
        return [leaf for value in cast("dict[Any, Any]", nest).values() for leaf in flatten(value)]
    if isinstance(nest, (list, tuple)):
        return [leaf for value in cast("list[Any]", nest) for leaf in flatten(value)]
    return [nest]


def map_nest(function: Callable[[Any], Any], nest: Any) -> Any:
    """A nest of the same form with `function` applied to each leaf.

    Example:
        >>> map_nest(lambda n: n + 1, {"a": [1, 2], "b": (3,)})
        {'a': [2, 3], 'b': (4,)}
    """
    if isinstance(nest, dict):
        items = cast("dict[Any, Any]", nest).items()
        return {key: map_nest(function, value) for key, value in items}
    if isinstance(nest, (list, tuple)):
        members = [map_nest(function, value) for value in cast("list[Any]", nest)]
        if isinstance(nest, list):
            return members
        kind = cast("Any", type(cast("Any", nest)))
        return kind(*members) if hasattr(kind, "_fields") else kind(members)
    return function(nest)


def pack_like(nest: Any, leaves: list[Any]) -> Any:
    """A nest of the form of `nest` that holds `leaves` in order.

    Example:
        >>> pack_like({"a": [0, 0]}, [5, 6])
        {'a': [5, 6]}
    """
    source: Iterator[Any] = iter(leaves)
    return map_nest(lambda _: next(source), nest)


def is_shape(value: Any) -> bool:
    """Whether `value` is one shape, a tuple or list of sizes, rather than a nest of shapes.

    Example:
        >>> is_shape((None, 3)), is_shape([(None, 3), (None, 4)])
        (True, False)
    """
    if not isinstance(value, (list, tuple)):
        return False
    sizes = cast("list[Any]", value)
    return all(size is None or (hasattr(size, "__index__") and not is_nest(size)) for size in sizes)


def map_shapes(function: Callable[[tuple[int | None, ...]], Any], nest: Any) -> Any:
    """`map_nest` over a nest whose leaves are shapes."""
    if is_shape(nest):
        return function(tuple(nest))
    if isinstance(nest, dict):
        items = cast("dict[Any, Any]", nest).items()
        return {key: map_shapes(function, value) for key, value in items}
    return [map_shapes(function, value) for value in nest]
