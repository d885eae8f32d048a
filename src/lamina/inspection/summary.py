"""From a model to its table in one call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lamina.errors import NotBuiltError
from lamina.inspection.measuring import measure
from lamina.inspection.printing import print_report
from lamina.inspection.readable import Report


def summary(model: Any, input_size: Any = None, input_data: Any = None, **options: Any) -> Report:
    """Print a model's layers, their output shapes and numbers of weights.

    Args:
        model: a model that knows the shape of its input.
        input_size: reserved for models that do not: the shape of one sample, or a list of shapes.
        input_data: reserved for models that do not: a batch, or a list of batches.
        **options: those of `print_report`, and `expand_nested` for rows of the layers of models inside.

    Returns:
        The report behind the table.

    Raises:
        NotBuiltError: the model does not know the shape of its input yet.

    Example:
        >>> from lamina.layers import Dense, Input
        >>> from lamina.models import Sequential
        >>> report = summary(Sequential([Input((3,)), Dense(2, name="dense")]), print_fn=lambda text: None)
        >>> report.total_params
        8
    """
    if not hasattr(model, "built"):
        raise NotBuiltError(
            f"{type(model).__name__} does not know the shape of its input.",
            expected="input_size, the shape of one sample, or input_data",
            fix="pass input_size=(3, 32, 32), say",
        )
    return print_summary(model, **options)


def print_summary(
    model: Any,
    line_length: int | None = None,
    positions: list[float] | None = None,
    print_fn: Callable[[str], Any] | None = None,
    expand_nested: bool = False,
    show_trainable: bool = False,
    layer_range: tuple[str, str] | None = None,
    **options: Any,
) -> Report:
    """Measure a built model and print its table.

    Args:
        model: a built model.
        line_length, positions, print_fn, show_trainable, layer_range: see `print_report`.
        expand_nested: whether the layers of models inside have rows too.
        **options: `style`, `fold`, `show_flops` and `show_memory`, see `print_report`.

    Returns:
        The report behind the table.

    Raises:
        NotBuiltError: the model does not know the shape of its input yet.
        UnknownNameError: no layer has a name of `layer_range`, or there is no such style.
    """
    report = measure(model, expand_nested)
    print_report(
        report,
        line_length=line_length,
        positions=positions,
        print_fn=print_fn,
        show_trainable=show_trainable,
        layer_range=layer_range,
        **options,
    )
    return report
