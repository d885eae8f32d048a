"""When two rows are alike."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from lamina.inspection.report import Row

# What tells one layer from another that is made in the same way.
_IDENTITY = frozenset({"name", "seed", "function"})


def likeness(row: Row) -> Hashable:
    """A value that is equal for rows that are alike: class, shapes, dtype, weights and configuration.

    Two Lambdas are alike when their shapes are: functions cannot be compared.

    Args:
        row: which row.

    Example:
        >>> a, b, c = (Row(name, "Dense", config={"units": units}) for name, units in (("a", 2), ("b", 2), ("c", 3)))
        >>> likeness(a) == likeness(b), likeness(a) == likeness(c)
        (True, False)
    """
    shapes = frozen(row.call_shapes)
    if row.class_name == "Lambda":
        return ("Lambda", shapes)
    weights = (row.num_params, row.trainable)
    return (row.class_name, shapes, row.dtype, weights, row.activation, row.failed, frozen(row.config))


def frozen(value: Any) -> Hashable:
    """`value` as something that can be compared and kept in a set: 1, 1.0 and True differ.

    Args:
        value: plain data.

    Example:
        >>> frozen({"a": [1, 2]}) == frozen({"a": (1, 2)}), frozen([1]) == frozen([True])
        (True, False)
    """
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, (list, tuple)):
        return tuple([frozen(member) for member in value])
    if isinstance(value, dict):
        return tuple([(key, frozen(value[key])) for key in sorted(value, key=str) if key not in _IDENTITY])
    if isinstance(value, (bool, int, float)):
        return (type(value).__name__, value)
    return getattr(value, "__name__", type(value).__name__)
