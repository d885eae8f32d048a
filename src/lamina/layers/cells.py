"""Recurrent cells: what happens at one step of a sequence."""

from __future__ import annotations

from typing import Any

import torch

from lamina import activations, initializers
from lamina.engine import nest
from lamina.kernels import recurrence, rnn
from lamina.layers.recurrent_cell import RecurrentCell
from lamina.registry import LAYERS

_TANH = (activations.tanh, torch.tanh)
_SIGMOID = (activations.sigmoid, torch.sigmoid)
_RELU = (activations.relu, torch.relu, torch.nn.functional.relu)


@LAYERS.register()
class SimpleRNNCell(RecurrentCell):
    """`h = activation(x @ kernel + h @ recurrent_kernel + bias)`, one step of `SimpleRNN`.

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
        kernel_constraint: a projection of the kernel after each optimizer step.
        recurrent_constraint: a projection of the recurrent kernel after each optimizer step.
        bias_constraint: a projection of the bias after each optimizer step.
        dropout: the share of the input that is dropped, the same at every step of a sequence.
        recurrent_dropout: the share of the state that is dropped, the same at every step.
        seed: where the cell's own random numbers start; torch's global ones are used for `None`.
        **kwargs: what every layer takes.

    Input shape:
        `(batch, inputs)`, and a list of one state `(batch, units)`.

    Output shape:
        `(batch, units)`, and a list of the new state.

    Raises:
        ArgumentError: `units` is not a positive whole number.

    Example:
        >>> cell = SimpleRNNCell(4)
        >>> output, states = cell(torch.ones(2, 3), cell.get_initial_state(batch_size=2))
        >>> output.shape, len(states)
        (torch.Size([2, 4]), 1)

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
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            units,
            activation,
            use_bias,
            kernel_initializer,
            recurrent_initializer,
            bias_initializer,
            kernel_regularizer,
            recurrent_regularizer,
            bias_regularizer,
            kernel_constraint,
            recurrent_constraint,
            bias_constraint,
            dropout,
            recurrent_dropout,
            seed,
            **kwargs,
        )

    def call(self, inputs: torch.Tensor, states: Any, training: bool | None = None) -> tuple[torch.Tensor, Any]:
        """One step."""
        h = _first(states)
        of_input, of_state = self._step_masks(inputs, h, training)
        z = recurrence.project(inputs, self.kernel, self.bias, of_input)
        h = recurrence.simple_rnn_step(z, h, self.recurrent_kernel, self.activation, of_state)
        return h, _like(states, h)

    def sweep(
        self,
        inputs: torch.Tensor,
        states: list[torch.Tensor],
        mask: torch.Tensor | None = None,
        training: bool = False,
        sequences: bool = True,
        fast: bool = True,
    ) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """A whole sequence; the arguments are those of `run_cell`."""
        x, h = self._as_weights(inputs, *states)
        of_input, of_state = self._sequence_masks(x, h, training)
        weights = (self.kernel, self.recurrent_kernel, self.bias)
        name = "tanh" if self.activation in _TANH else "relu" if self.activation in _RELU else None
        if fast and name and not of_state and len(of_input) < 2:
            outputs, h = rnn.simple_rnn(_dropped(x, of_input), h, *weights, name, mask, sequences)
        else:
            outputs, h = recurrence.simple_rnn_reference(
                x, h, *weights, self.activation, mask, sequences, of_input, of_state
            )
        return outputs, [h]


@LAYERS.register()
class LSTMCell(RecurrentCell):
    """One step of `LSTM`.

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
        kernel_constraint: a projection of the kernel after each optimizer step.
        recurrent_constraint: a projection of the recurrent kernel after each optimizer step.
        bias_constraint: a projection of the bias after each optimizer step.
        dropout: the share of the input that is dropped, the same at every step of a sequence.
        recurrent_dropout: the share of the state that is dropped, the same at every step.
        seed: where the cell's own random numbers start; torch's global ones are used for `None`.
        **kwargs: what every layer takes.

    Input shape:
        `(batch, inputs)`, and a list of the output before and the carry, each `(batch, units)`.

    Output shape:
        `(batch, units)`, and a list of the new output and the new carry.

    Raises:
        ArgumentError: `units` is not a positive whole number.

    Example:
        >>> cell = LSTMCell(4)
        >>> output, (h, c) = cell(torch.ones(2, 3), cell.get_initial_state(batch_size=2))
        >>> output is h, c.shape
        (True, torch.Size([2, 4]))

    Reference:
        Hochreiter and Schmidhuber (1997), Long short-term memory, https://doi.org/10.1162/neco.1997.9.8.1735
    """

    gates = 4
    state_count = 2

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
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            units,
            activation,
            use_bias,
            kernel_initializer,
            recurrent_initializer,
            bias_initializer,
            kernel_regularizer,
            recurrent_regularizer,
            bias_regularizer,
            kernel_constraint,
            recurrent_constraint,
            bias_constraint,
            dropout,
            recurrent_dropout,
            seed,
            **kwargs,
        )
        self.recurrent_activation = activations.get(recurrent_activation)
        self.unit_forget_bias = unit_forget_bias

    def _make_bias(self, *shape: int, initializer: Any = None) -> Any:
        return super()._make_bias(*shape, initializer=self._first_bias if self.unit_forget_bias else None)

    def _first_bias(self, shape: Any, dtype: Any, device: Any) -> torch.Tensor:
        """The first bias: ones for the forget gate."""
        sizes = ((self.units,), (self.units,), (2 * self.units,))
        parts: Any = (self.bias_initializer, initializers.get("ones"), self.bias_initializer)
        return torch.cat([make(size, dtype, device=device) for make, size in zip(parts, sizes, strict=True)])

    def call(self, inputs: torch.Tensor, states: Any, training: bool | None = None) -> tuple[torch.Tensor, Any]:
        """One step."""
        h, c = states
        of_input, of_state = self._step_masks(inputs, h, training)
        z = recurrence.project(inputs, self.kernel, self.bias, of_input)
        h, c = recurrence.lstm_step(
            z, h, c, self.recurrent_kernel, self.activation, self.recurrent_activation, of_state
        )
        return h, [h, c]

    def sweep(
        self,
        inputs: torch.Tensor,
        states: list[torch.Tensor],
        mask: torch.Tensor | None = None,
        training: bool = False,
        sequences: bool = True,
        fast: bool = True,
    ) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """A whole sequence; the arguments are those of `run_cell`."""
        x, h, c = self._as_weights(inputs, *states)
        of_input, of_state = self._sequence_masks(x, h, training)
        weights = (self.kernel, self.recurrent_kernel, self.bias)
        usual = self.activation in _TANH and self.recurrent_activation in _SIGMOID
        if fast and usual and not of_state and len(of_input) < 2:
            outputs, h, c = rnn.lstm(_dropped(x, of_input), h, c, *weights, mask, sequences)
        else:
            functions = (self.activation, self.recurrent_activation)
            outputs, h, c = recurrence.lstm_reference(
                x, h, c, *weights, *functions, mask, sequences, of_input, of_state
            )
        return outputs, [h, c]


@LAYERS.register()
class GRUCell(RecurrentCell):
    """One step of `GRU`.

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
        kernel_constraint: a projection of the kernel after each optimizer step.
        recurrent_constraint: a projection of the recurrent kernel after each optimizer step.
        bias_constraint: a projection of the bias after each optimizer step.
        dropout: the share of the input that is dropped, the same at every step of a sequence.
        recurrent_dropout: the share of the state that is dropped, the same at every step.
        reset_after: whether the reset gate acts on the state after the product with the kernel, or before.
        seed: where the cell's own random numbers start; torch's global ones are used for `None`.
        **kwargs: what every layer takes.

    Input shape:
        `(batch, inputs)`, and a list of one state `(batch, units)`.

    Output shape:
        `(batch, units)`, and a list of the new state.

    Raises:
        ArgumentError: `units` is not a positive whole number.

    Example:
        >>> cell = GRUCell(4)
        >>> output, states = cell(torch.ones(2, 3), cell.get_initial_state(batch_size=2))
        >>> output.shape, len(states)
        (torch.Size([2, 4]), 1)

    Reference:
        Cho et al. (2014), Learning phrase representations using RNN encoder-decoder for statistical machine
        translation, https://arxiv.org/abs/1406.1078
    """

    gates = 3

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
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        reset_after: bool = True,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            units,
            activation,
            use_bias,
            kernel_initializer,
            recurrent_initializer,
            bias_initializer,
            kernel_regularizer,
            recurrent_regularizer,
            bias_regularizer,
            kernel_constraint,
            recurrent_constraint,
            bias_constraint,
            dropout,
            recurrent_dropout,
            seed,
            **kwargs,
        )
        self.recurrent_activation = activations.get(recurrent_activation)
        self.reset_after = reset_after

    def _make_bias(self, *shape: int, initializer: Any = None) -> Any:
        return super()._make_bias(*((2, *shape) if self.reset_after else shape))

    def call(self, inputs: torch.Tensor, states: Any, training: bool | None = None) -> tuple[torch.Tensor, Any]:
        """One step."""
        h = _first(states)
        of_input, of_state = self._step_masks(inputs, h, training)
        input_bias, state_bias = recurrence.gru_biases(self.bias)
        z = recurrence.project(inputs, self.kernel, input_bias, of_input)
        functions = (self.activation, self.recurrent_activation)
        h = recurrence.gru_step(z, h, self.recurrent_kernel, state_bias, *functions, self.reset_after, of_state)
        return h, _like(states, h)

    def sweep(
        self,
        inputs: torch.Tensor,
        states: list[torch.Tensor],
        mask: torch.Tensor | None = None,
        training: bool = False,
        sequences: bool = True,
        fast: bool = True,
    ) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """A whole sequence; the arguments are those of `run_cell`."""
        x, h = self._as_weights(inputs, *states)
        of_input, of_state = self._sequence_masks(x, h, training)
        weights = (self.kernel, self.recurrent_kernel, self.bias)
        usual = self.reset_after and self.activation in _TANH and self.recurrent_activation in _SIGMOID
        if fast and usual and not of_state and len(of_input) < 2:
            outputs, h = rnn.gru(_dropped(x, of_input), h, *weights, mask, sequences)
        else:
            functions = (self.activation, self.recurrent_activation, self.reset_after)
            outputs, h = recurrence.gru_reference(x, h, *weights, *functions, mask, sequences, of_input, of_state)
        return outputs, [h]


def _first(states: Any) -> torch.Tensor:
    """The state, given alone or in a list."""
    return states[0] if nest.is_nest(states) else states


def _like(states: Any, new: torch.Tensor) -> Any:
    """The new state in the form in which the old one came."""
    return [new] if nest.is_nest(states) else new


def _dropped(x: torch.Tensor, masks: list[torch.Tensor]) -> torch.Tensor:
    """`(batch, steps, inputs)` times the one mask, if there is one."""
    return x * masks[0].unsqueeze(1) if masks else x
