"""Recurrent networks over whole sequences: in lamina's own kernel, or in those that torch has: oneDNN, cuDNN, ATen.

Weights come in Keras's layout and order of gates. With torch's kernels a mask costs no step-by-step loop and no look at
its values: each row's valid steps are moved to its front, where the kernel meets the same steps in the same order as a
loop that skips the others would, and the outputs are moved back.

Shapes: B batch, T steps, F features of a step, U units.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lamina.errors import ShapeError
from lamina.kernels.recurrence import gru_biases
from lamina.kernels.sequences import sequence, suits

# Added to what a gate's activation sees at a padded step: beyond any sum of weights, and finite in its dtype.
_SATURATED, _SATURATED_HALF = 1e30, 1e4


def simple_rnn(
    x: Tensor,
    h: Tensor,
    kernel: Tensor,
    recurrent_kernel: Tensor,
    bias: Tensor | None,
    activation: str = "tanh",
    mask: Tensor | None = None,
    sequences: bool = True,
) -> tuple[Tensor, Tensor]:
    """`h = activation(x @ kernel + h @ recurrent_kernel + bias)` along a sequence.

    Args:
        x: `(B, T, F)`.
        h: the state before the first step, `(B, U)`.
        kernel: `(F, U)`; fastest when its memory is that of `(U, F)`.
        recurrent_kernel: `(U, U)`, likewise.
        bias: `(U,)` or `None`.
        activation: `"tanh"` or `"relu"`.
        mask: bool `(B, T)`; where it is false the state stays and the output repeats the one before, zero at first.
        sequences: whether every step's output is wanted, or only the last.

    Returns:
        The outputs `(B, T, U)` or `(B, U)`, and the last state.

    Example:
        >>> y, h = simple_rnn(torch.ones(1, 2, 1), torch.zeros(1, 1), torch.ones(1, 1), torch.ones(1, 1), None, "relu")
        >>> y.flatten().tolist()
        [1.0, 2.0]
    """
    if suits(x, h, kernel, recurrent_kernel, bias):
        _check(x, [h], kernel, recurrent_kernel)
        (outputs,), last = sequence(f"rnn_{activation}", x, [h], kernel, recurrent_kernel, bias, mask, sequences)
        return outputs, last
    # ReLU alone is unbounded: shut off, it cannot grow along the padding and spoil the gradient.
    flags = {"tanh": None, "relu": (-1,)}[activation]
    weights = _weights(kernel, recurrent_kernel, bias, None)
    (outputs, *_), last = _over_sequence(f"rnn_{activation}", x, [h], weights, mask, sequences, flags)
    return outputs, last


def lstm(
    x: Tensor,
    h: Tensor,
    c: Tensor,
    kernel: Tensor,
    recurrent_kernel: Tensor,
    bias: Tensor | None,
    mask: Tensor | None = None,
    sequences: bool = True,
) -> tuple[Tensor, Tensor, Tensor]:
    """An LSTM with tanh and sigmoid along a sequence.

    Args:
        x: `(B, T, F)`.
        h: the output before the first step, `(B, U)`.
        c: the carry before the first step, `(B, U)`.
        kernel: `(F, 4 * U)`: input gate, forget gate, candidate, output gate; fastest when its memory is that of
            `(4 * U, F)`.
        recurrent_kernel: `(U, 4 * U)`, likewise.
        bias: `(4 * U,)` or `None`.
        mask: bool `(B, T)`; where it is false the states stay and the output repeats the one before, zero at first.
        sequences: whether every step's output is wanted, or only the last.

    Returns:
        The outputs `(B, T, U)` or `(B, U)`, the last state and the last carry.

    Example:
        >>> zeros = torch.zeros(2, 4)
        >>> y, h, c = lstm(torch.ones(2, 3, 5), zeros, zeros, torch.ones(5, 16), torch.ones(4, 16), None)
        >>> y.shape, bool((y[:, -1] == h).all())
        (torch.Size([2, 3, 4]), True)
    """
    if suits(x, h, c, kernel, recurrent_kernel, bias):
        _check(x, [h, c], kernel, recurrent_kernel)
        (outputs, carry), last = sequence("lstm", x, [h, c], kernel, recurrent_kernel, bias, mask, sequences)
        return outputs, last, carry
    # At a padded step the input gate is shut and the forget gate open, so that the carry stays what it is.
    flags = (-1, 1, 0, 0)
    weights = _weights(kernel, recurrent_kernel, bias, None)
    (outputs, carry), last = _over_sequence("lstm", x, [h, c], weights, mask, sequences, flags)
    return outputs, last, carry


def gru(
    x: Tensor,
    h: Tensor,
    kernel: Tensor,
    recurrent_kernel: Tensor,
    bias: Tensor | None,
    mask: Tensor | None = None,
    sequences: bool = True,
) -> tuple[Tensor, Tensor]:
    """A GRU with tanh and sigmoid, its reset gate applied after the product, along a sequence.

    Args:
        x: `(B, T, F)`.
        h: the state before the first step, `(B, U)`.
        kernel: `(F, 3 * U)`: update gate, reset gate, candidate.
        recurrent_kernel: `(U, 3 * U)`.
        bias: `(2, 3 * U)`, of the input and of the state, or `None`.
        mask: bool `(B, T)`; where it is false the state stays and the output repeats the one before, zero at first.
        sequences: whether every step's output is wanted, or only the last.

    Returns:
        The outputs `(B, T, U)` or `(B, U)`, and the last state.

    Example:
        >>> y, h = gru(torch.ones(2, 3, 5), torch.zeros(2, 4), torch.ones(5, 12), torch.ones(4, 12), None)
        >>> y.shape, h.shape
        (torch.Size([2, 3, 4]), torch.Size([2, 4]))
    """
    if suits(x, h, kernel, recurrent_kernel, bias):
        _check(x, [h], kernel, recurrent_kernel)
        (outputs,), last = sequence("gru", x, [h], kernel, recurrent_kernel, bias, mask, sequences)
        return outputs, last
    biases = gru_biases(bias)
    weights = [_reset_first(w) for w in _weights(kernel, recurrent_kernel, *biases)]
    (outputs, *_), last = _over_sequence("gru", x, [h], weights, mask, sequences, None)
    return outputs, last


def _weights(kernel: Tensor, recurrent_kernel: Tensor, bias: Tensor | None, second: Tensor | None) -> list[Tensor]:
    """The weights in torch's order and orientation; torch has two biases or none."""
    products = [kernel.t(), recurrent_kernel.t()]
    if bias is None:
        return products
    return [*products, bias, torch.zeros_like(bias) if second is None else second]


def _reset_first(weight: Tensor) -> Tensor:
    """Rows in torch's order, reset gate first, from Keras's, update gate first."""
    update, reset, candidate = weight.chunk(3)
    return torch.cat([reset, update, candidate])


class _Places(NamedTuple):
    """Where the steps of a packed sequence came from."""

    rows: Tensor  # (B, T): at each step of the original, the packed step whose output holds there
    started: Tensor  # (B, T): whether there is one


def _over_sequence(
    kind: str,
    x: Tensor,
    states: list[Tensor],
    weights: list[Tensor],
    mask: Tensor | None,
    sequences: bool,
    flags: Sequence[int] | None,
) -> tuple[list[Tensor], Tensor]:
    """The outputs and any carry, and the last state, of the kernel called `kind`.

    `flags` says for each gate whether a padded step shuts it (-1), opens it (1) or leaves it alone, if any does.
    """
    _check(x, states, weights[0].t(), weights[1].t())
    initial = [state.unsqueeze(0) for state in states]
    if mask is None:
        y, last, *carry = _kernel(kind, x, initial, weights)
        return [y if sequences else last[0], *(c[0] for c in carry)], last[0]
    x, places = _packed(x, mask, flags is not None)
    if flags is not None:
        weights = [_with_flags(weights[0], flags), *weights[1:]]
    y, _, *carry = _kernel(kind, x, initial, weights)
    at_end = _taken(y, _Places(places.rows[:, -1:], places.started[:, -1:]))[:, 0]
    outputs = _taken(y, places) if sequences else at_end
    last = torch.where(places.started[:, -1:], at_end, states[0].to(y.dtype))
    return [outputs, *(c[0] for c in carry)], last


def _check(x: Tensor, states: list[Tensor], kernel: Tensor, recurrent_kernel: Tensor) -> None:
    """Raise the error for shapes that do not go together; the kernels would read beyond the end of a tensor."""
    features, units = kernel.shape[0], recurrent_kernel.shape[0]
    if x.dim() != 3 or x.shape[2] != features or x.shape[1] == 0:
        raise ShapeError(
            "The sequences do not fit the weights.",
            expected=f"shape (batch, steps, {features}), at least one step",
            received=f"shape {tuple(x.shape)}",
            fix="make a new layer for this input, or give it the features that it was built for",
        )
    for state in states:
        if tuple(state.shape) != (x.shape[0], units):
            raise ShapeError(
                "An initial state does not fit.",
                expected=f"shape {(x.shape[0], units)}",
                received=f"shape {tuple(state.shape)}",
                fix="states have a row for each sequence and a number for each unit",
            )


def _with_flags(weight: Tensor, flags: Sequence[int]) -> Tensor:
    """`weight`, `(G * U, F)`, with a column for the feature that marks padded steps."""
    device = weight.device.type
    kind = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else weight.dtype
    strength = _SATURATED_HALF if kind is torch.float16 else _SATURATED
    parts = [
        gate.new_full((gate.shape[0], 1), flag * strength)
        for gate, flag in zip(weight.chunk(len(flags)), flags, strict=True)
    ]
    return torch.cat([weight, torch.cat(parts)], 1)


def _packed(x: Tensor, mask: Tensor, flagged: bool) -> tuple[Tensor, _Places]:
    """The valid steps of each row at its front, in order, zeros behind them.

    With `flagged` there is a feature more, which is 1 at the padded steps and 0 at the others.
    """
    batch, steps, features = x.shape
    valid = mask.cumsum(1)  # (B, T): how many up to here
    # Masked steps all go to a place behind the end, which is cut off.
    target = torch.where(mask, valid - 1, steps).unsqueeze(-1)  # (B, T, 1)
    blank = x.new_zeros(features)
    if flagged:
        x, blank = torch.nn.functional.pad(x, (0, 1)), torch.nn.functional.pad(blank, (0, 1), value=1.0)
    packed = blank.expand(batch, steps + 1, -1).scatter(1, target.expand_as(x), x)
    return packed[:, :-1], _Places((valid - 1).clamp(min=0), valid > 0)


def _taken(y: Tensor, places: _Places) -> Tensor:
    """Packed outputs at the steps of the original; zero before the first valid one."""
    rows = y.gather(1, places.rows.unsqueeze(-1).expand(-1, -1, y.shape[-1]))
    return rows.masked_fill(~places.started.unsqueeze(-1), 0.0)


# ------------------------------------------------------------------ torch's kernels
_KERNELS: dict[str, Callable[..., tuple[Tensor, ...]]] = {
    "lstm": torch.lstm,
    "gru": torch.gru,
    "rnn_tanh": torch.rnn_tanh,
    "rnn_relu": torch.rnn_relu,
}
# torch.compiler.is_exporting came with torch 2.7.
_is_exporting: Callable[[], bool] = getattr(torch.compiler, "is_exporting", lambda: False)


def _kernel(kind: str, x: Tensor, states: list[Tensor], weights: list[Tensor]) -> list[Tensor]:
    """Outputs `(B, T, U)` and states `(1, B, U)` of torch's kernel for `kind`."""
    cpu = x.device.type == "cpu"
    if cpu and torch.compiler.is_compiling() and not _is_exporting():
        if torch.is_autocast_enabled("cpu"):
            short = torch.get_autocast_dtype("cpu")
            x, states, weights = x.to(short), [s.to(short) for s in states], [w.to(short) for w in weights]
        return torch.ops.lamina.recurrence(kind, x, states, weights)
    if not cpu and not torch.is_autocast_enabled(x.device.type):
        weights = _in_one_piece(weights)
    return _call(kind, x, states, weights)


def _call(kind: str, x: Tensor, states: list[Tensor], weights: list[Tensor]) -> list[Tensor]:
    initial = states if kind == "lstm" else states[0]
    # Biases or not, layers, dropout, whether a gradient may follow, both directions, batch first.
    options = (len(weights) == 4, 1, 0.0, torch.is_grad_enabled(), False, True)
    return list(_KERNELS[kind](x, initial, weights, *options))


def _in_one_piece(weights: list[Tensor]) -> list[Tensor]:
    """The same weights one behind the other in memory, as cuDNN wants them; it copies and warns otherwise."""
    flat = torch.cat([weight.reshape(-1) for weight in weights])
    ends = [0, *itertools.accumulate(weight.numel() for weight in weights)]
    return [flat[a:b].view(w.shape) for w, (a, b) in zip(weights, itertools.pairwise(ends), strict=True)]


# torch.compile cannot train through oneDNN's LSTM (torch 2.13: its workspace is lost on the way) and takes the other
# CPU kernels apart, step by step. As an operator of its own each of them stays one node, and trains.
def _forward(kind: str, x: Tensor, states: list[Tensor], weights: list[Tensor]) -> list[Tensor]:
    with torch.autocast("cpu", enabled=False):
        return _apart(_call(kind, x, states, weights))


def _apart(results: list[Tensor]) -> list[Tensor]:
    """Results that share no memory, as torch asks of an operator; oneDNN gives one gradient for both biases."""
    return [result.clone(memory_format=torch.contiguous_format) for result in results]


def _forward_shapes(kind: str, x: Tensor, states: list[Tensor], weights: list[Tensor]) -> list[Tensor]:
    return [x.new_empty((*x.shape[:2], states[0].shape[-1])), *(x.new_empty(state.shape) for state in states)]


def _backward(
    kind: str, gradients: list[Tensor], x: Tensor, states: list[Tensor], weights: list[Tensor]
) -> list[Tensor]:
    """Gradients of the input, the states and the weights; the kernel runs once more for them."""

    def again(x: Tensor, states: list[Tensor], weights: list[Tensor]) -> list[Tensor]:
        return _call(kind, x, states, weights)

    with torch.enable_grad(), torch.autocast("cpu", enabled=False):
        pullback: Any = torch.func.vjp(again, x, states, weights)[1]
        of_x, of_states, of_weights = pullback(gradients)
    return _apart([of_x, *of_states, *of_weights])


def _backward_shapes(
    kind: str, gradients: list[Tensor], x: Tensor, states: list[Tensor], weights: list[Tensor]
) -> list[Tensor]:
    return [tensor.new_empty(tensor.shape) for tensor in (x, *states, *weights)]


def _save(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    ctx.kind, x, states, weights = inputs
    ctx.count = len(states)
    ctx.save_for_backward(x, *states, *weights)


def _gradients(ctx: Any, gradients: list[Tensor]) -> tuple[None, Tensor, list[Tensor], list[Tensor]]:
    x, *rest = ctx.saved_tensors
    states, weights = rest[: ctx.count], rest[ctx.count :]
    of_x, *others = torch.ops.lamina.recurrence_backward(ctx.kind, gradients, x, states, weights)
    return None, of_x, others[: ctx.count], others[ctx.count :]


_custom_op: Any = torch.library.custom_op
_operator = _custom_op(
    "lamina::recurrence",
    _forward,
    mutates_args=(),
    schema="(str kind, Tensor x, Tensor[] states, Tensor[] weights) -> Tensor[]",
)
_operator.register_fake(_forward_shapes)
_operator.register_autograd(_gradients, setup_context=_save)
_custom_op(
    "lamina::recurrence_backward",
    _backward,
    mutates_args=(),
    schema="(str kind, Tensor[] gradients, Tensor x, Tensor[] states, Tensor[] weights) -> Tensor[]",
).register_fake(_backward_shapes)
