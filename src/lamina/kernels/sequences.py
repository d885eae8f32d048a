"""LSTM, GRU and SimpleRNN over whole sequences in lamina's own kernel: the operator `lamina::sequence`.

Each thread takes some rows of the batch through all steps, so that no thread ever waits for another; weights stay in
its cache, gates in its registers. A mask is a look at one byte a step. Under autocast to bfloat16 the products are of
bfloat16, where the processor has instructions for them; gates and states stay float32.

Shapes: B batch, T steps, F features, U units, G gates.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from lamina.kernels.native import library
from lamina.kernels.native.operator import operator, pulled_back
from lamina.kernels.recurrence import gru_reference, lstm_reference, simple_rnn_reference
from lamina.kernels.select import native

_KINDS = {"lstm": 0, "gru": 1, "rnn_tanh": 2, "rnn_relu": 3}
_GATES = {"lstm": 4, "gru": 3, "rnn_tanh": 1, "rnn_relu": 1}


def suits(x: Tensor, *others: Tensor | None) -> bool:
    """Whether the operator can take these tensors, as they are or as autocast would have them.

    Args:
        x: the sequences.
        others: states and weights; `None` for those that are not there.

    Example:
        >>> suits(torch.zeros(1, 2, 3, dtype=torch.float64))
        False
    """
    if not torch.is_autocast_enabled("cpu"):
        return native("recurrence", x, *others)
    if torch.get_autocast_dtype("cpu") is not torch.bfloat16:
        return False
    with torch.autocast("cpu", enabled=False):
        wide = (t.dtype in (torch.float32, torch.bfloat16) for t in (x, *others) if t is not None)
        return all(wide) and x.device.type == "cpu" and native("recurrence")


def sequence(
    kind: str,
    x: Tensor,
    states: list[Tensor],
    kernel: Tensor,
    recurrent_kernel: Tensor,
    bias: Tensor | None,
    mask: Tensor | None,
    sequences: bool,
) -> tuple[list[Tensor], Tensor]:
    """The network `kind` along `x`; `suits` says whether it can be had.

    Args:
        kind: `"lstm"`, `"gru"`, `"rnn_tanh"` or `"rnn_relu"`.
        x: `(B, T, F)`, float32; under autocast bfloat16 as well, and the results are bfloat16 then.
        states: before the first step: `(B, U)`, of an LSTM that and the carry.
        kernel: `(F, G * U)`, gates in Keras's order.
        recurrent_kernel: `(U, G * U)`.
        bias: `(G * U,)`, of a GRU `(2, G * U)`, or `None`.
        mask: bool `(B, T)`; where it is false the states stay and the output repeats the one before, zero at first.
        sequences: whether every step's output is wanted, or only the last.

    Returns:
        The outputs `(B, T, U)` or `(B, U)` and, of an LSTM, the last carry; and the last state.
    """
    if torch.is_autocast_enabled("cpu"):
        found: Any = library("recurrence")
        short = bool(found.lamina_recurrence_short())
        with torch.autocast("cpu", enabled=False):
            x = x.bfloat16() if short else x.float()
            states, kernel, recurrent_kernel = [t.float() for t in states], kernel.float(), recurrent_kernel.float()
            bias = None if bias is None else bias.float()
            outputs, last = _sequence(kind, x, states, kernel, recurrent_kernel, bias, mask, sequences, short)
        return [t.bfloat16() for t in outputs], last.bfloat16()
    return _sequence(kind, x, states, kernel, recurrent_kernel, bias, mask, sequences, False)


def _sequence(
    kind: str, x: Tensor, states: list[Tensor], kernel: Tensor, recurrent_kernel: Tensor, bias: Tensor | None,
    mask: Tensor | None, sequences: bool, short: bool,
) -> tuple[list[Tensor], Tensor]:  # fmt: skip
    h, c = states[0], states[1] if len(states) > 1 else None
    given = (x, h, c, kernel, recurrent_kernel, bias)
    keep = torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in given)
    y, last, carry, *_ = _sequence_operator(kind, *given, mask, sequences, keep, short)
    outputs = y if sequences else last
    if mask is not None:  # the kernel gives the first state where nothing has come yet
        started = mask.cumsum(1) > 0
        outputs = outputs.masked_fill(~(started if sequences else started[:, -1:]).view(*outputs.shape[:-1], 1), 0.0)
    return [outputs, carry] if c is not None else [outputs], last


def _forward(
    kind: str, x: Tensor, h: Tensor, c: Tensor | None, kernel: Tensor, recurrent_kernel: Tensor, bias: Tensor | None,
    mask: Tensor | None, sequences: bool, keep: bool, short: bool,
) -> tuple[Tensor, ...]:  # fmt: skip
    call = _Call(kind, x, h, c, kernel, recurrent_kernel, mask, short)
    bias = None if bias is None else bias.contiguous()
    needs_y = sequences or (keep and mask is not None)
    y = x.new_empty((*x.shape[:2], call.units) if needs_y else 0)
    last, carry = h.new_empty(call.batch, call.units), h.new_empty((call.batch, call.units) if c is not None else 0)
    gates, states = call.workspace() if keep else (h.new_empty(0), h.new_empty(0))
    call.run("forward", *call.common(), bias, *map(_or_none, (y, last, carry, gates, states)))
    return y, last, carry, gates, states


def _shapes(
    kind: str, x: Tensor, h: Tensor, c: Tensor | None, kernel: Tensor, recurrent_kernel: Tensor, bias: Tensor | None,
    mask: Tensor | None, sequences: bool, keep: bool, short: bool,
) -> tuple[Tensor, ...]:  # fmt: skip
    y = x.new_empty((*x.shape[:2], h.shape[1]) if sequences or (keep and mask is not None) else 0)
    room = x.shape[0] * x.shape[1] * h.shape[1] if keep else 0
    last, carry = h.new_empty(h.shape), h.new_empty(0 if c is None else c.shape)
    return y, last, carry, x.new_empty(4 * room), h.new_empty(room)


def _save(ctx: Any, arguments: tuple[Any, ...], results: tuple[Tensor, ...]) -> None:
    kind, x, h, c, kernel, recurrent_kernel, bias, mask, _, keep, ctx.short = arguments
    if not keep:
        raise ValueError("lamina::sequence was told keep=False, and cannot give gradients")
    y, _, _, gates, states = results
    ctx.kind, ctx.needs_x = kind, x.requires_grad
    ctx.mark_non_differentiable(gates, states)
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(x, h, c, kernel, recurrent_kernel, bias, mask, y if mask is not None else None, gates, states)


def _gradients(ctx: Any, dy: Tensor | None, dh: Tensor | None, dc: Tensor | None, *_: Any) -> tuple[Any, ...]:
    x, h, c, kernel, recurrent_kernel, bias, mask, y, gates, states = ctx.saved_tensors
    call = _Call(ctx.kind, x, h, c, kernel, recurrent_kernel, mask, ctx.short)
    # Contiguous, whatever the strides of what they belong to.
    dx = x.new_empty(x.shape) if ctx.needs_x else None
    dh0, dc0 = h.new_empty(h.shape), None if c is None else c.new_empty(c.shape)
    of_kernels = [weight.new_empty(weight.shape) for weight in (kernel, recurrent_kernel)]
    of_bias = None if bias is None else bias.new_empty(bias.shape)
    incoming = [None if d is None or not d.numel() else d.contiguous() for d in (dy, dh, dc)]
    call.run(
        "backward", *call.common(), y, _or_none(gates), states, *incoming, dx, dh0, dc0, *of_kernels, of_bias
    )  # fmt: skip
    return None, dx, dh0, dc0, *of_kernels, of_bias, None, None, None, None


_REFERENCES: dict[str, Callable[..., tuple[Tensor, ...]]] = {
    "lstm": lstm_reference,
    "gru": gru_reference,
    "rnn_tanh": simple_rnn_reference,
    "rnn_relu": functools.partial(simple_rnn_reference, activation=torch.relu),
}


def _again(ctx: Any, *grads: Any) -> tuple[Any, ...]:
    """Through the loop over the steps; `y` before anything has come, which differs there, gets no gradient."""
    x, h, c, kernel, recurrent_kernel, bias, mask, *_ = ctx.saved_tensors
    given = [x, h] if c is None else [x, h, c]
    given[0] = x.to(kernel.dtype)
    results = _REFERENCES[ctx.kind](*given, kernel, recurrent_kernel, bias, mask=mask)
    results = results if c is not None else (*results, None)
    incoming = [None if g is None or not g.numel() else g for g in grads[:3]]
    found = pulled_back(results, [None, x, h, c, kernel, recurrent_kernel, bias], incoming)
    return *found, None, None, None, None


class _Call:
    """One call of the kernel: its tensors, laid out as it reads them, and their sizes."""

    def __init__(
        self, kind: str, x: Tensor, h: Tensor, c: Tensor | None, kernel: Tensor, recurrent: Tensor, mask: Tensor | None,
        short: bool,
    ) -> None:  # fmt: skip
        self.kind, self.short = kind, int(short)
        self.batch, self.steps, self.features = x.shape
        self.units = recurrent.shape[0]
        self.x = x if x.stride(2) == 1 or self.features == 1 else x.contiguous()
        self.h, self.c = h.contiguous(), None if c is None else c.contiguous()
        self.kernel, self.recurrent = kernel, recurrent
        self.mask = None if mask is None else mask.contiguous()

    def workspace(self) -> tuple[Tensor, Tensor]:
        """Room for the gates and the states of all steps."""
        counts = (ctypes.c_int64(), ctypes.c_int64())
        found: Any = library("recurrence")
        found.lamina_recurrence_sizes(
            _KINDS[self.kind], *map(ctypes.c_int64, (self.batch, self.steps, self.units)), *map(ctypes.byref, counts)
        )
        kind = torch.bfloat16 if self.short else torch.float32
        return self.h.new_empty(counts[0].value, dtype=kind), self.h.new_empty(counts[1].value)

    def common(self) -> tuple[Any, ...]:
        """What both directions take, in the kernel's order; numbers stand for themselves."""
        weights = (self.kernel, *self.kernel.stride(), self.recurrent, *self.recurrent.stride())
        return self.x, *self.x.stride()[:2], self.h, self.c, self.mask, *weights

    def run(self, direction: str, *values: Any) -> None:
        """Call the C function with tensors as addresses."""
        function: Any = getattr(library("recurrence"), f"lamina_recurrence_{direction}")
        sizes = (self.batch, self.steps, self.features, self.units)
        function(
            _KINDS[self.kind], *map(ctypes.c_int64, sizes), torch.get_num_threads(), self.short, *map(_argument, values)
        )


def _argument(value: Any) -> Any:
    if isinstance(value, int):
        return ctypes.c_int64(value)
    return ctypes.c_void_p(value.data_ptr() if value is not None else None)


def _or_none(tensor: Tensor) -> Tensor | None:
    """Nothing instead of a tensor without elements, which only stands for a result that was not wanted."""
    return tensor if tensor.numel() else None


_sequence_operator = operator(
    "sequence(str kind, Tensor x, Tensor h, Tensor? c, Tensor kernel, Tensor recurrent_kernel, Tensor? bias, "
    "Tensor? mask, bool sequences, bool keep, bool short) -> (Tensor, Tensor, Tensor, Tensor, Tensor)",
    _forward,
    _shapes,
    _save,
    _gradients,
    _again,
)
