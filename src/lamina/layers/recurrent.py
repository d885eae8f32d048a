"""SimpleRNN, LSTM and GRU: `RNN` around the cell of that name, with the cell's arguments."""

from __future__ import annotations

from typing import Any

from lamina.layers.cell_rnn import CellRNN, checked_choice, for_cell, of_cell
from lamina.layers.cells import GRUCell, LSTMCell, SimpleRNNCell
from lamina.registry import LAYERS


@LAYERS.register()
class SimpleRNN(CellRNN):
    """`h = activation(x @ kernel + h @ recurrent_kernel + bias)` along the steps of a sequence.

    With tanh or relu and no `recurrent_dropout`, torch's kernel runs over the whole sequence, masks included.

    Args:
        units: the size of the output and of the state.
        activation: of the new state.
        use_bias: whether a bias is added.
        kernel_initializer: of the kernel, `(inputs, units)`.
        recurrent_initializer: of the recurrent kernel, `(units, units)`.
        bias_initializer: of the bias, `(units,)`.
        kernel_regularizer: a penalty on the kernel.
        recurrent_regularizer: a penalty on the recurrent kernel.
        bias_regularizer: a penalty on the bias.
        activity_regularizer: a penalty on the output.
        kernel_constraint: a projection of the kernel after each optimizer step.
        recurrent_constraint: a projection of the recurrent kernel after each optimizer step.
        bias_constraint: a projection of the bias after each optimizer step.
        dropout: the share of the input that is dropped while training, the same at every step.
        recurrent_dropout: the share of the state that is dropped while training, the same at every step.
        return_sequences: whether to return the output of every step, or only the last.
        return_state: whether to return the last state behind the output.
        go_backwards: whether to begin with the last step; the outputs are then in that order too.
        stateful: whether each batch goes on where the one before ended, row by row.
        unroll: accepted for Keras's sake; the result is the same.
        seed: where the layer's own random numbers start; torch's global ones are used for `None`.
        **kwargs: what every layer takes, and `zero_output_for_mask`.

    Input shape:
        `(batch, steps, inputs)`; `initial_state=` takes the state, `mask=` booleans `(batch, steps)`.

    Output shape:
        `(batch, units)`, or `(batch, steps, units)` with `return_sequences`; with `return_state` a tuple of that and
        the state, `(batch, units)`.

    Raises:
        ArgumentError: `units` is not a positive whole number.
        ShapeError: the input has not three axes, or another last one than before.

    Example:
        >>> import torch
        >>> SimpleRNN(4)(torch.ones(2, 5, 3)).shape
        torch.Size([2, 4])

    Reference:
        Elman (1990), Finding structure in time, https://doi.org/10.1207/s15516709cog1402_1
    """

    def __init__(
        self,
        units: int,
        activation: Any = "tanh",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        recurrent_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        cell = SimpleRNNCell(
            units,
            activation=activation,
            use_bias=use_bias,
            kernel_initializer=kernel_initializer,
            recurrent_initializer=recurrent_initializer,
            bias_initializer=bias_initializer,
            kernel_regularizer=kernel_regularizer,
            recurrent_regularizer=recurrent_regularizer,
            bias_regularizer=bias_regularizer,
            kernel_constraint=kernel_constraint,
            recurrent_constraint=recurrent_constraint,
            bias_constraint=bias_constraint,
            dropout=dropout,
            recurrent_dropout=recurrent_dropout,
            seed=seed,
            **for_cell(kwargs, "simple_rnn_cell"),
        )
        super().__init__(
            cell,
            return_sequences=return_sequences,
            return_state=return_state,
            go_backwards=go_backwards,
            stateful=stateful,
            unroll=unroll,
            activity_regularizer=activity_regularizer,
            **kwargs,
        )


@LAYERS.register()
class LSTM(CellRNN):
    """Long short-term memory along the steps of a sequence.

    With tanh, sigmoid and no `recurrent_dropout`, torch's kernel (oneDNN, cuDNN) runs over the whole sequence,
    masks included.

    Args:
        units: the size of the output and of each of the two states.
        activation: of the candidate and of the carry on its way out.
        recurrent_activation: of the gates.
        use_bias: whether a bias is added.
        kernel_initializer: of the kernel, `(inputs, 4 * units)`: input gate, forget gate, candidate, output gate.
        recurrent_initializer: of the recurrent kernel, `(units, 4 * units)`.
        bias_initializer: of the bias, `(4 * units,)`.
        unit_forget_bias: whether the forget gate's bias begins at one.
        kernel_regularizer: a penalty on the kernel.
        recurrent_regularizer: a penalty on the recurrent kernel.
        bias_regularizer: a penalty on the bias.
        activity_regularizer: a penalty on the output.
        kernel_constraint: a projection of the kernel after each optimizer step.
        recurrent_constraint: a projection of the recurrent kernel after each optimizer step.
        bias_constraint: a projection of the bias after each optimizer step.
        dropout: the share of the input that is dropped while training, the same at every step.
        recurrent_dropout: the share of the state that is dropped while training, the same at every step.
        seed: where the layer's own random numbers start; torch's global ones are used for `None`.
        return_sequences: whether to return the output of every step, or only the last.
        return_state: whether to return the last output and the last carry behind the output.
        go_backwards: whether to begin with the last step; the outputs are then in that order too.
        stateful: whether each batch goes on where the one before ended, row by row.
        unroll: accepted for Keras's sake; the result is the same.
        use_cudnn: `"auto"` or `True` for torch's kernels where they apply, on any device; `False` for a loop over
            the steps, which has second derivatives everywhere.
        **kwargs: what every layer takes, and `zero_output_for_mask`.

    Input shape:
        `(batch, steps, inputs)`; `initial_state=` takes a list of two states, `mask=` booleans `(batch, steps)`.

    Output shape:
        `(batch, units)`, or `(batch, steps, units)` with `return_sequences`; with `return_state` a tuple of that and
        the two states, `(batch, units)` each.

    Raises:
        ArgumentError: `units` is not a positive whole number, or `use_cudnn` is none of its values.
        ShapeError: the input has not three axes, or another last one than before.

    Example:
        >>> import torch
        >>> y, h, c = LSTM(4, return_sequences=True, return_state=True)(torch.ones(2, 5, 3))
        >>> y.shape, h.shape, c.shape
        (torch.Size([2, 5, 4]), torch.Size([2, 4]), torch.Size([2, 4]))

    Reference:
        Hochreiter and Schmidhuber (1997), Long short-term memory, https://doi.org/10.1162/neco.1997.9.8.1735
    """

    recurrent_activation = of_cell("recurrent_activation")
    unit_forget_bias = of_cell("unit_forget_bias")

    def __init__(
        self,
        units: int,
        activation: Any = "tanh",
        recurrent_activation: Any = "sigmoid",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        unit_forget_bias: bool = True,
        kernel_regularizer: Any = None,
        recurrent_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: int | None = None,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        use_cudnn: Any = "auto",
        **kwargs: Any,
    ) -> None:
        cell = LSTMCell(
            units,
            activation=activation,
            recurrent_activation=recurrent_activation,
            use_bias=use_bias,
            kernel_initializer=kernel_initializer,
            recurrent_initializer=recurrent_initializer,
            bias_initializer=bias_initializer,
            unit_forget_bias=unit_forget_bias,
            kernel_regularizer=kernel_regularizer,
            recurrent_regularizer=recurrent_regularizer,
            bias_regularizer=bias_regularizer,
            kernel_constraint=kernel_constraint,
            recurrent_constraint=recurrent_constraint,
            bias_constraint=bias_constraint,
            dropout=dropout,
            recurrent_dropout=recurrent_dropout,
            seed=seed,
            **for_cell(kwargs, "lstm_cell"),
        )
        super().__init__(
            cell,
            return_sequences=return_sequences,
            return_state=return_state,
            go_backwards=go_backwards,
            stateful=stateful,
            unroll=unroll,
            activity_regularizer=activity_regularizer,
            **kwargs,
        )
        self.use_cudnn = checked_choice(use_cudnn, "LSTM")


@LAYERS.register()
class GRU(CellRNN):
    """Gated recurrent units along the steps of a sequence.

    With tanh, sigmoid, `reset_after` and no `recurrent_dropout`, torch's kernel runs over the whole sequence, masks
    included.

    Args:
        units: the size of the output and of the state.
        activation: of the candidate.
        recurrent_activation: of the gates.
        use_bias: whether a bias is added.
        kernel_initializer: of the kernel, `(inputs, 3 * units)`: update gate, reset gate, candidate.
        recurrent_initializer: of the recurrent kernel, `(units, 3 * units)`.
        bias_initializer: of the bias, `(2, 3 * units)` with `reset_after`, else `(3 * units,)`.
        kernel_regularizer: a penalty on the kernel.
        recurrent_regularizer: a penalty on the recurrent kernel.
        bias_regularizer: a penalty on the bias.
        activity_regularizer: a penalty on the output.
        kernel_constraint: a projection of the kernel after each optimizer step.
        recurrent_constraint: a projection of the recurrent kernel after each optimizer step.
        bias_constraint: a projection of the bias after each optimizer step.
        dropout: the share of the input that is dropped while training, the same at every step.
        recurrent_dropout: the share of the state that is dropped while training, the same at every step.
        seed: where the layer's own random numbers start; torch's global ones are used for `None`.
        return_sequences: whether to return the output of every step, or only the last.
        return_state: whether to return the last state behind the output.
        go_backwards: whether to begin with the last step; the outputs are then in that order too.
        stateful: whether each batch goes on where the one before ended, row by row.
        unroll: accepted for Keras's sake; the result is the same.
        reset_after: whether the reset gate acts on the state after the product with the kernel, or before.
        use_cudnn: `"auto"` or `True` for torch's kernels where they apply, on any device; `False` for a loop over
            the steps, which has second derivatives everywhere.
        **kwargs: what every layer takes, and `zero_output_for_mask`.

    Input shape:
        `(batch, steps, inputs)`; `initial_state=` takes the state, `mask=` booleans `(batch, steps)`.

    Output shape:
        `(batch, units)`, or `(batch, steps, units)` with `return_sequences`; with `return_state` a tuple of that and
        the state, `(batch, units)`.

    Raises:
        ArgumentError: `units` is not a positive whole number, or `use_cudnn` is none of its values.
        ShapeError: the input has not three axes, or another last one than before.

    Example:
        >>> import torch
        >>> GRU(4, return_sequences=True)(torch.ones(2, 5, 3)).shape
        torch.Size([2, 5, 4])

    Reference:
        Cho et al. (2014), Learning phrase representations using RNN encoder-decoder for statistical machine
        translation, https://arxiv.org/abs/1406.1078
    """

    recurrent_activation = of_cell("recurrent_activation")
    reset_after = of_cell("reset_after")

    def __init__(
        self,
        units: int,
        activation: Any = "tanh",
        recurrent_activation: Any = "sigmoid",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        recurrent_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: int | None = None,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        reset_after: bool = True,
        use_cudnn: Any = "auto",
        **kwargs: Any,
    ) -> None:
        cell = GRUCell(
            units,
            activation=activation,
            recurrent_activation=recurrent_activation,
            use_bias=use_bias,
            kernel_initializer=kernel_initializer,
            recurrent_initializer=recurrent_initializer,
            bias_initializer=bias_initializer,
            kernel_regularizer=kernel_regularizer,
            recurrent_regularizer=recurrent_regularizer,
            bias_regularizer=bias_regularizer,
            kernel_constraint=kernel_constraint,
            recurrent_constraint=recurrent_constraint,
            bias_constraint=bias_constraint,
            dropout=dropout,
            recurrent_dropout=recurrent_dropout,
            reset_after=reset_after,
            seed=seed,
            **for_cell(kwargs, "gru_cell"),
        )
        super().__init__(
            cell,
            return_sequences=return_sequences,
            return_state=return_state,
            go_backwards=go_backwards,
            stateful=stateful,
            unroll=unroll,
            activity_regularizer=activity_regularizer,
            **kwargs,
        )
        self.use_cudnn = checked_choice(use_cudnn, "GRU")
