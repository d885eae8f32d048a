"""From a model to its table in one call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lamina.inspection.measuring import measure
from lamina.inspection.printing import print_report
from lamina.inspection.readable import Report


def summary(
    model: Any,
    input_size: Any = None,
    input_data: Any = None,
    *,
    line_length: int | None = None,
    positions: list[float] | None = None,
    print_fn: Callable[[str], Any] | None = None,
    expand_nested: bool = False,
    show_trainable: bool = False,
    layer_range: tuple[str, str] | None = None,
    style: str | None = None,
    fold: bool | None = None,
    show_flops: bool = False,
    show_memory: bool = False,
    dtypes: Any = None,
) -> Report:
    """Print a model's layers, their output shapes and numbers of weights, without changing the model.

    Args:
        model: any torch module.
        input_size: the shape of one sample; a list or dict of shapes. Not needed for a built model of lamina.
        input_data: a batch in place of `input_size`.
        line_length: the width of the table in characters; by default what the terminal has, or 100.
        positions: where columns end, as shares of the width or in characters.
        print_fn: takes the text in place of standard output.
        expand_nested: whether the layers inside layers have rows too.
        show_trainable: whether a column says which layers are trained.
        layer_range: the names of the first and last layer to show, or regular expressions for them.
        style: `"keras"`, `"keras2"` for the tables of Keras 2, or `"torch"` for those of torchsummary; by default that
            to which the model belongs.
        fold: whether repeated structure has one row; by default in tables of more than 60 rows.
        show_flops: whether a column counts floating-point operations.
        show_memory: whether a column counts the memory of outputs.
        dtypes: of inputs that only have a size: a dtype, or a list of one for each.

    Returns:
        The report behind the table. If the model could not be run, the table ends where it failed, with what to do
        below it, and `report.failure` holds that.

    Raises:
        ArgumentError: `model` is no module, or a torch module without an input size.
        NotBuiltError: a model of lamina does not know the shape of its input yet.
        UnknownNameError: no layer has a name of `layer_range`, or there is no such style.

    Example:
        >>> import torch
        >>> report = summary(torch.nn.Linear(3, 2), (3,), print_fn=lambda text: None)
        >>> report.total_params, report.rows[0].output_shape
        (8, (None, 2))
    """
    report = measure(
        model,
        input_size,
        input_data,
        expand_nested=expand_nested,
        style=None if style is None else "torch" if style == "torch" else "keras",
        dtypes=dtypes,
    )
    print_report(
        report,
        line_length=line_length,
        positions=positions,
        print_fn=print_fn,
        show_trainable=show_trainable,
        layer_range=layer_range,
        style=style,
        fold=fold,
        show_flops=show_flops,
        show_memory=show_memory,
    )
    return report
