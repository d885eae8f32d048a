"""What SimpleRNN, LSTM and GRU share: a cell whose arguments are the layer's own."""

from __future__ import annotations

from typing import Any

from lamina.engine.spec import InputSpec
from lamina.errors import ArgumentError
from lamina.kernels import native
from lamina.layers.rnn import RNN


def of_cell(name: str) -> Any:
    """A property that reads an attribute of the cell.

    Args:
        name: the attribute's name, in the cell as in the layer.
    """
    return property(lambda self: getattr(self.cell, name), doc=f"The cell's `{name}`.")


class CellRNN(RNN):
    """What the three layers share: the cell's arguments are theirs, their input has three axes.

    Args:
        cell: the cell.
        **kwargs: what `RNN` takes.
    """

    units = of_cell("units")
    activation = of_cell("activation")
    use_bias = of_cell("use_bias")
    kernel_initializer = of_cell("kernel_initializer")
    recurrent_initializer = of_cell("recurrent_initializer")
    bias_initializer = of_cell("bias_initializer")
    kernel_regularizer = of_cell("kernel_regularizer")
    recurrent_regularizer = of_cell("recurrent_regularizer")
    bias_regularizer = of_cell("bias_regularizer")
    kernel_constraint = of_cell("kernel_constraint")
    recurrent_constraint = of_cell("recurrent_constraint")
    bias_constraint = of_cell("bias_constraint")
    dropout = of_cell("dropout")
    recurrent_dropout = of_cell("recurrent_dropout")
    seed = of_cell("seed")

    def __init__(self, cell: Any, **kwargs: Any) -> None:
        super().__init__(cell, **kwargs)
        self.input_spec = InputSpec(ndim=3)

    def build(self, input_shape: Any) -> None:
        """Build the cell; the size of a step's input is fixed from now on."""
        native.prepare("recurrence")
        super().build(input_shape)
        self.input_spec = InputSpec(ndim=3, axes={-1: input_shape[-1]})

    def get_config(self) -> dict[str, Any]:
        """The arguments; how the result is computed is no part of them."""
        config = {**super().get_config(), "zero_output_for_mask": self.zero_output_for_mask}
        config.pop("use_cudnn", None)
        return config


def for_cell(kwargs: dict[str, Any], name: str) -> dict[str, Any]:
    """What a layer's further arguments mean for its cell; `implementation`, the cell's alone, is taken out.

    Args:
        kwargs: the layer's further arguments, which change.
        name: the cell's name.
    """
    shared = {key: kwargs[key] for key in ("dtype", "trainable", "autocast") if key in kwargs}
    taken = {"implementation": kwargs.pop("implementation")} if "implementation" in kwargs else {}
    return {**shared, **taken, "name": name}


def checked_choice(use_cudnn: Any, owner: str) -> Any:
    """`use_cudnn`, if it is one of its three values.

    Args:
        use_cudnn: what was passed.
        owner: the class that takes it, for the message.

    Raises:
        ArgumentError: it is none of them.
    """
    if not any(use_cudnn is choice or use_cudnn == choice for choice in ("auto", True, False)):
        raise ArgumentError(
            f"{owner} does not know this choice of kernels.",
            expected="use_cudnn='auto', True or False",
            received=f"use_cudnn={use_cudnn!r}",
            fix="leave it out",
        )
    return use_cudnn
