"""Recurrent networks a step at a time, in plain torch: any activation, any dropout, any mask.

`kernels.rnn` computes the common cases over whole sequences; what it gives is measured against these loops.
Shapes: B batch, T steps, F features of a step, U units, G gates of the cell (1, 3 or 4).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from lamina.errors import ShapeError
from lamina.kernels.linear import linear

Activation = Callable[[Tensor], Tensor]
Step = Callable[[Tensor, list[Tensor]], tuple[Tensor, list[Tensor]]]


def scan(
    step: Step, inputs: Tensor, states: Sequence[Tensor], mask: Tensor | None = None, sequences: bool = True
) -> tuple[Tensor, list[Tensor]]:
    """Apply `step` to one time step after another.

    Args:
        step: from the input `(B, ...)` of a step and the states to the output `(B, ...)` and the new states.
        inputs: `(B, T, ...)`.
        states: the states before the first step, each `(B, ...)`.
        mask: bool `(B, T)`; where it is false the states stay and the output repeats the one before, zero at first.
        sequences: whether every step's output is wanted, or only the last.

    Returns:
        The outputs `(B, T, ...)` or `(B, ...)`, and the states after the last step.

    Raises:
        ShapeError: there are no steps.

    Example:
        >>> total, states = scan(lambda x, s: (x + s[0], [x + s[0]]), torch.ones(1, 3, 1), [torch.zeros(1, 1)])
        >>> total.flatten().tolist()
        [1.0, 2.0, 3.0]
    """
    if inputs.shape[1] == 0:
        raise ShapeError(
            "A recurrent network needs at least one step.",
            expected="shape (batch, steps, ...) with steps above 0",
            received=f"shape {tuple(inputs.shape)}",
            fix="check how the sequences were cut",
        )
    current = list(states)
    outputs: list[Tensor] = []
    marks = mask.unbind(1) if mask is not None else ()
    for place, x in enumerate(inputs.unbind(1)):
        output, after = step(x, current)
        if mask is None:
            current = after
        else:
            before = outputs[-1] if outputs else torch.zeros_like(output)
            output = _where(marks[place], output, before)
            current = [_where(marks[place], new, old) for new, old in zip(after, current, strict=True)]
        if sequences:
            outputs.append(output)
        else:
            outputs = [output]
    return torch.stack(outputs, 1) if sequences else outputs[0], current


def _where(mark: Tensor, new: Tensor, old: Tensor) -> Tensor:
    """Row by row `new` where `mark` is true, else `old`."""
    return torch.where(mark.reshape(mark.shape[0], *[1] * (new.dim() - 1)), new, old)


def project(x: Tensor, kernel: Tensor, bias: Tensor | None, masks: Sequence[Tensor] = ()) -> Tensor:
    """`x @ kernel + bias` with dropout on `x`.

    Args:
        x: `(..., F)`.
        kernel: `(F, G * U)`.
        bias: `(G * U,)` or `None`.
        masks: nothing, one dropout mask for `x`, or one for each gate; a mask can be multiplied with `x`.

    Returns:
        `(..., G * U)`.
    """
    if len(masks) > 1:
        shares = zip(masks, kernel.chunk(len(masks), 1), strict=True)
        product = torch.cat([(x * mask) @ share for mask, share in shares], -1)
        return product if bias is None else product + bias
    return linear(x * masks[0] if masks else x, kernel, bias)


def simple_rnn_step(
    z: Tensor, h: Tensor, recurrent_kernel: Tensor, activation: Activation, masks: Sequence[Tensor] = ()
) -> Tensor:
    """One step of a simple recurrent network.

    Args:
        z: the projected input, bias included, `(B, U)`.
        h: the state, `(B, U)`.
        recurrent_kernel: `(U, U)`.
        activation: of the new state.
        masks: dropout masks of `h`, as `project` takes them.

    Returns:
        The new state, which is the output.
    """
    return activation(z + project(h, recurrent_kernel, None, masks))


def lstm_step(
    z: Tensor,
    h: Tensor,
    c: Tensor,
    recurrent_kernel: Tensor,
    activation: Activation,
    recurrent_activation: Activation,
    masks: Sequence[Tensor] = (),
) -> tuple[Tensor, Tensor]:
    """One step of an LSTM.

    Args:
        z: the projected input, bias included, `(B, 4 * U)`: input gate, forget gate, candidate, output gate.
        h: the output of the step before, `(B, U)`.
        c: the carry, `(B, U)`.
        recurrent_kernel: `(U, 4 * U)`.
        activation: of the candidate and of the carry on its way out.
        recurrent_activation: of the gates.
        masks: dropout masks of `h`, as `project` takes them.

    Returns:
        The new output and the new carry.
    """
    let_in, keep, candidate, let_out = (z + project(h, recurrent_kernel, None, masks)).chunk(4, -1)
    c = recurrent_activation(keep) * c + recurrent_activation(let_in) * activation(candidate)
    return recurrent_activation(let_out) * activation(c), c


def gru_step(
    z: Tensor,
    h: Tensor,
    recurrent_kernel: Tensor,
    recurrent_bias: Tensor | None,
    activation: Activation,
    recurrent_activation: Activation,
    reset_after: bool = True,
    masks: Sequence[Tensor] = (),
) -> Tensor:
    """One step of a GRU.

    Args:
        z: the projected input, its bias included, `(B, 3 * U)`: update gate, reset gate, candidate.
        h: the state, `(B, U)`.
        recurrent_kernel: `(U, 3 * U)`.
        recurrent_bias: `(3 * U,)` or `None`; only with `reset_after`.
        activation: of the candidate.
        recurrent_activation: of the gates.
        reset_after: whether the reset gate acts on the state after the product with the kernel, or before.
        masks: dropout masks of `h`, none or three.

    Returns:
        The new state, which is the output.
    """
    x_update, x_reset, x_candidate = z.chunk(3, -1)
    if reset_after:
        update, reset, candidate = project(h, recurrent_kernel, recurrent_bias, masks).chunk(3, -1)
        candidate = recurrent_activation(x_reset + reset) * candidate
    else:
        gates = 2 * h.shape[-1]
        update, reset = project(h, recurrent_kernel[:, :gates], None, masks[:2]).chunk(2, -1)
        candidate = project(recurrent_activation(x_reset + reset) * h, recurrent_kernel[:, gates:], None, masks[2:])
    update = recurrent_activation(x_update + update)
    return update * h + (1 - update) * activation(x_candidate + candidate)


def simple_rnn_reference(
    x: Tensor,
    h: Tensor,
    kernel: Tensor,
    recurrent_kernel: Tensor,
    bias: Tensor | None,
    activation: Activation = torch.tanh,
    mask: Tensor | None = None,
    sequences: bool = True,
    input_masks: Sequence[Tensor] = (),
    recurrent_masks: Sequence[Tensor] = (),
) -> tuple[Tensor, Tensor]:
    """A simple recurrent network over a sequence, step by step.

    Args:
        x: `(B, T, F)`.
        h: the state before the first step, `(B, U)`.
        kernel: `(F, U)`.
        recurrent_kernel: `(U, U)`.
        bias: `(U,)` or `None`.
        activation: of the new state.
        mask: bool `(B, T)`, as `scan` takes it.
        sequences: whether every step's output is wanted, or only the last.
        input_masks: dropout masks `(B, F)` of the input, the same at every step.
        recurrent_masks: dropout masks `(B, U)` of the state.

    Returns:
        The outputs `(B, T, U)` or `(B, U)`, and the last state.
    """

    def step(z: Tensor, states: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        new = simple_rnn_step(z, states[0], recurrent_kernel, activation, recurrent_masks)
        return new, [new]

    outputs, states = scan(step, project(x, kernel, bias, _at_all_steps(input_masks)), [h], mask, sequences)
    return outputs, states[0]


def lstm_reference(
    x: Tensor,
    h: Tensor,
    c: Tensor,
    kernel: Tensor,
    recurrent_kernel: Tensor,
    bias: Tensor | None,
    activation: Activation = torch.tanh,
    recurrent_activation: Activation = torch.sigmoid,
    mask: Tensor | None = None,
    sequences: bool = True,
    input_masks: Sequence[Tensor] = (),
    recurrent_masks: Sequence[Tensor] = (),
) -> tuple[Tensor, Tensor, Tensor]:
    """An LSTM over a sequence, step by step.

    Args:
        x: `(B, T, F)`.
        h: the output before the first step, `(B, U)`.
        c: the carry before the first step, `(B, U)`.
        kernel: `(F, 4 * U)`: input gate, forget gate, candidate, output gate.
        recurrent_kernel: `(U, 4 * U)`.
        bias: `(4 * U,)` or `None`.
        activation: of the candidate and of the carry on its way out.
        recurrent_activation: of the gates.
        mask: bool `(B, T)`, as `scan` takes it.
        sequences: whether every step's output is wanted, or only the last.
        input_masks: dropout masks `(B, F)` of the input, the same at every step.
        recurrent_masks: dropout masks `(B, U)` of the state.

    Returns:
        The outputs `(B, T, U)` or `(B, U)`, the last state and the last carry.
    """

    def step(z: Tensor, states: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        h, c = states
        h, c = lstm_step(z, h, c, recurrent_kernel, activation, recurrent_activation, recurrent_masks)
        return h, [h, c]

    outputs, states = scan(step, project(x, kernel, bias, _at_all_steps(input_masks)), [h, c], mask, sequences)
    return outputs, states[0], states[1]


def gru_reference(
    x: Tensor,
    h: Tensor,
    kernel: Tensor,
    recurrent_kernel: Tensor,
    bias: Tensor | None,
    activation: Activation = torch.tanh,
    recurrent_activation: Activation = torch.sigmoid,
    reset_after: bool = True,
    mask: Tensor | None = None,
    sequences: bool = True,
    input_masks: Sequence[Tensor] = (),
    recurrent_masks: Sequence[Tensor] = (),
) -> tuple[Tensor, Tensor]:
    """A GRU over a sequence, step by step.

    Args:
        x: `(B, T, F)`.
        h: the state before the first step, `(B, U)`.
        kernel: `(F, 3 * U)`: update gate, reset gate, candidate.
        recurrent_kernel: `(U, 3 * U)`.
        bias: `(2, 3 * U)`, of the input and of the state, with `reset_after`; else `(3 * U,)`; or `None`.
        activation: of the candidate.
        recurrent_activation: of the gates.
        reset_after: whether the reset gate acts on the state after the product with the kernel, or before.
        mask: bool `(B, T)`, as `scan` takes it.
        sequences: whether every step's output is wanted, or only the last.
        input_masks: dropout masks `(B, F)` of the input, the same at every step.
        recurrent_masks: dropout masks `(B, U)` of the state.

    Returns:
        The outputs `(B, T, U)` or `(B, U)`, and the last state.
    """
    input_bias, recurrent_bias = gru_biases(bias)

    def step(z: Tensor, states: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        new = gru_step(
            z,
            states[0],
            recurrent_kernel,
            recurrent_bias,
            activation,
            recurrent_activation,
            reset_after,
            recurrent_masks,
        )
        return new, [new]

    outputs, states = scan(step, project(x, kernel, input_bias, _at_all_steps(input_masks)), [h], mask, sequences)
    return outputs, states[0]


def gru_biases(bias: Tensor | None) -> tuple[Tensor | None, Tensor | None]:
    """The bias of a GRU's input and that of its state.

    Args:
        bias: `(2, 3 * U)`, both; or `(3 * U,)`, that of the input; or `None`.
    """
    if bias is None or bias.dim() == 1:
        return bias, None
    return bias[0], bias[1]


def _at_all_steps(masks: Sequence[Tensor]) -> list[Tensor]:
    """Masks of one step in the shape of a sequence, `(B, 1, F)`."""
    return [mask.unsqueeze(1) for mask in masks]
