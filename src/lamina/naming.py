"""Automatic names: `dense`, `dense_1`, `dense_2`, counted per process as Keras counts them."""

from __future__ import annotations

from collections import Counter

from lamina.registry import snake_case

_counts: Counter[str] = Counter()


def auto_name(prefix: str) -> str:
    """`prefix` the first time, then `prefix_1`, `prefix_2`, ...

    Example:
        >>> reset_names(); auto_name("dense"), auto_name("dense")
        ('dense', 'dense_1')
    """
    count = _counts[prefix]
    _counts[prefix] += 1
    return f"{prefix}_{count}" if count else prefix


def auto_name_of(cls: type) -> str:
    """The next automatic name of an object of `cls`."""
    return auto_name(snake_case(cls.__name__))


def reset_names() -> None:
    """Start counting again at the bare prefix."""
    _counts.clear()
