"""The kernels over whole sequences against the loops over steps: values, gradients, masks, which kernel runs."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from torch.overrides import TorchFunctionMode

from lamina.kernels import rnn
from lamina.kernels.recurrence import gru_reference, lstm_reference, simple_rnn_reference

B, T, F, U = 5, 6, 4, 3
GATES = {"lstm": 4, "gru": 3, "tanh": 1, "relu": 1}
MASKS = {
    "no mask": None,
    "right-padded": [
        [1, 1, 1, 1, 1, 1],
        [1, 1, 1, 0, 0, 0],
        [1, 0, 0, 0, 0, 0],
        [1, 1, 1, 1, 1, 0],
        [0, 0, 0, 0, 0, 0],
    ],
    "left-padded": [[0, 0, 0, 1, 1, 1], [0, 1, 1, 1, 1, 1], [0, 0, 0, 0, 0, 1], [1, 1, 1, 1, 1, 1], [0, 0, 0, 0, 0, 0]],
    "with holes": [[0, 1, 0, 1, 1, 0], [1, 0, 0, 0, 0, 1], [1, 0, 1, 0, 1, 0], [0, 0, 1, 1, 0, 0], [1, 1, 1, 1, 1, 1]],
}


def grid(*axes: Any) -> list[tuple[Any, ...]]:
    return list(itertools.product(*axes))


def mask_of(name: str) -> torch.Tensor | None:
    rows = MASKS[name]
    return None if rows is None else torch.tensor(rows).bool()


def leaves_for(kind: str, dtype: torch.dtype = torch.float64, bias: bool = True) -> dict[str, Any]:
    """The tensors that the kernel called `kind` takes, each wanting a gradient."""

    def leaf(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, dtype=dtype).requires_grad_()

    width = GATES[kind] * U
    found: dict[str, Any] = {"x": leaf(B, T, F), "h": leaf(B, U)}
    if kind == "lstm":
        found["c"] = leaf(B, U)
    found.update(kernel=leaf(F, width), recurrent_kernel=leaf(U, width))
    found["bias"] = (leaf(2, width) if kind == "gru" else leaf(width)) if bias else None
    return found


def fast(kind: str, leaves: dict[str, Any], **kwargs: Any) -> tuple[torch.Tensor, ...]:
    if kind == "lstm":
        return rnn.lstm(**leaves, **kwargs)
    if kind == "gru":
        return rnn.gru(**leaves, **kwargs)
    return rnn.simple_rnn(**leaves, activation=kind, **kwargs)


def slow(kind: str, leaves: dict[str, Any], **kwargs: Any) -> tuple[torch.Tensor, ...]:
    if kind == "lstm":
        return lstm_reference(**leaves, **kwargs)
    if kind == "gru":
        return gru_reference(**leaves, **kwargs)
    return simple_rnn_reference(**leaves, activation=getattr(torch, kind), **kwargs)


def gradients(results: tuple[torch.Tensor, ...], leaves: dict[str, Any]) -> tuple[torch.Tensor, ...]:
    """Of a sum over all results, weighted differently at each place."""
    total = sum((y * torch.linspace(-1, 2, y.numel(), dtype=y.dtype).view(y.shape)).sum() for y in results)
    return torch.autograd.grad(total, [leaf for leaf in leaves.values() if leaf is not None])


@pytest.mark.parametrize("kind, mask, sequences, bias", grid(GATES, MASKS, (True, False), (True, False)))
def test_the_kernel_equals_the_loop_in_values_and_gradients(kind, mask, sequences, bias):
    leaves = leaves_for(kind, bias=bias)
    options = {"mask": mask_of(mask), "sequences": sequences}
    found, wanted = fast(kind, leaves, **options), slow(kind, leaves, **options)
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)
    for a, b in zip(gradients(found, leaves), gradients(wanted, leaves), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("kind, mask", grid(GATES, MASKS))
def test_the_kernel_equals_the_loop_in_single_precision(kind, mask):
    """On a CPU this is where oneDNN computes the LSTM."""
    leaves = leaves_for(kind, torch.float32)
    found, wanted = fast(kind, leaves, mask=mask_of(mask)), slow(kind, leaves, mask=mask_of(mask))
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)
    for a, b in zip(gradients(found, leaves), gradients(wanted, leaves), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


def test_an_lstm_step_is_the_published_formula():
    """Independent of both: gates written out for one step, in Keras's order i, f, c, o."""
    x, h, c = torch.randn(2, 1, 3).double(), torch.randn(2, 1).double(), torch.randn(2, 1).double()
    kernel, recurrent, bias = torch.randn(3, 4).double(), torch.randn(1, 4).double(), torch.randn(4).double()
    z = x[:, 0] @ kernel + h @ recurrent + bias
    i, f, g, o = z[:, 0:1].sigmoid(), z[:, 1:2].sigmoid(), z[:, 2:3].tanh(), z[:, 3:4].sigmoid()
    carry = f * c + i * g
    for function in (rnn.lstm, lstm_reference):
        y, _, last = function(x, h, c, kernel, recurrent, bias)
        torch.testing.assert_close(last, carry)
        torch.testing.assert_close(y[:, 0], o * carry.tanh())


def test_a_gru_step_is_the_published_formula():
    """Gates written out for one step, in Keras's order z, r, h."""
    x, h = torch.randn(2, 1, 3).double(), torch.randn(2, 1).double()
    kernel, recurrent, bias = torch.randn(3, 3).double(), torch.randn(1, 3).double(), torch.randn(2, 3).double()
    of_x, of_h = x[:, 0] @ kernel + bias[0], h @ recurrent + bias[1]
    z, r = (of_x + of_h)[:, 0:1].sigmoid(), (of_x + of_h)[:, 1:2].sigmoid()
    new = z * h + (1 - z) * (of_x[:, 2:] + r * of_h[:, 2:]).tanh()
    torch.testing.assert_close(rnn.gru(x, h, kernel, recurrent, bias)[1], new)
    torch.testing.assert_close(gru_reference(x, h, kernel, recurrent, bias)[1], new)
    before = (z * h + (1 - z) * (of_x[:, 2:] + (r * h) @ recurrent[:, 2:]).tanh()).detach()
    bias[1] = 0  # there is no such bias then
    of_x = x[:, 0] @ kernel + bias[0]
    z, r = (of_x + h @ recurrent)[:, 0:1].sigmoid(), (of_x + h @ recurrent)[:, 1:2].sigmoid()
    before = z * h + (1 - z) * (of_x[:, 2:] + (r * h) @ recurrent[:, 2:]).tanh()
    found = gru_reference(x, h, kernel, recurrent, bias[0], reset_after=False)[1]
    torch.testing.assert_close(found, before)


class Calls(TorchFunctionMode):
    """The names of torch's functions as they are called."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_function__(self, func, types, args=(), kwargs=None):
        self.names.append(getattr(func, "__name__", ""))
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("kind, mask", grid(GATES, ("no mask", "with holes")))
def test_one_kernel_of_torch_runs_over_the_whole_sequence(kind, mask):
    name = {"lstm": "lstm", "gru": "gru", "tanh": "rnn_tanh", "relu": "rnn_relu"}[kind]
    with Calls() as calls:
        fast(kind, leaves_for(kind), mask=mask_of(mask))
    assert calls.names.count(name) == 1
    assert not {"unbind", "sigmoid", "item", "nonzero", "__bool__"} & set(calls.names)
    with Calls() as calls:
        slow(kind, leaves_for(kind), mask=mask_of(mask))
    assert name not in calls.names


@pytest.mark.parametrize("kind", GATES)
def test_nothing_at_a_masked_step_reaches_outputs_or_gradients(kind):
    leaves, mask = leaves_for(kind), mask_of("with holes")
    spoilt = {**leaves, "x": leaves["x"].detach().masked_fill(~mask.unsqueeze(-1), torch.nan).requires_grad_()}
    found, wanted = fast(kind, spoilt, mask=mask), fast(kind, leaves, mask=mask)
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b)
    for a, b in zip(gradients(found, spoilt), gradients(wanted, leaves), strict=True):
        torch.testing.assert_close(a, b)


def test_a_relu_network_that_grows_does_not_spoil_gradients_along_the_padding():
    x = torch.ones(1, 60, 1, requires_grad=True)
    kernel, recurrent = torch.ones(1, 1, requires_grad=True), torch.full((1, 1), 1e6, requires_grad=True)
    mask = torch.arange(60).unsqueeze(0) < 2
    y, h = rnn.simple_rnn(x, torch.zeros(1, 1), kernel, recurrent, None, "relu", mask)
    (y.sum() + h.sum()).backward()
    assert y[0, -1].item() == h.item() == 1e6 + 1
    assert recurrent.grad is not None and bool(recurrent.grad.isfinite().all())


@pytest.mark.parametrize("kind", GATES)
def test_weights_of_any_memory_layout_give_the_same(kind):
    leaves = leaves_for(kind, torch.float32)
    other = {**leaves, "kernel": leaves["kernel"].detach().t().contiguous().t()}
    for a, b in zip(fast(kind, leaves), fast(kind, other), strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("kind, backend", grid(("lstm", "gru", "relu"), ("eager", "aot_eager")))
def test_the_kernel_trains_under_compile(kind, backend):
    """One operator in the graph; torch alone cannot compile the training of an LSTM on a CPU."""
    leaves, mask = leaves_for(kind, torch.float32), mask_of("with holes")
    torch._dynamo.reset()
    compiled = torch.compile(lambda **given: fast(kind, given, mask=mask), fullgraph=True, backend=backend)
    found, wanted = compiled(**leaves), fast(kind, leaves, mask=mask)
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b)
    for a, b in zip(gradients(found, leaves), gradients(wanted, leaves), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)


def test_the_operator_for_compile_keeps_torchs_rules():
    leaves = leaves_for("lstm", torch.float32)
    states = [leaves["h"].unsqueeze(0), leaves["c"].unsqueeze(0)]
    weights = [leaves["kernel"].t(), leaves["recurrent_kernel"].t()]
    arguments = ("lstm", leaves["x"], states, weights)
    checks = ("test_schema", "test_faketensor", "test_aot_dispatch_dynamic")
    found = torch.library.opcheck(torch.ops.lamina.recurrence, arguments, test_utils=checks)
    assert set(found.values()) == {"SUCCESS"}


def test_a_short_float_under_autocast_stays_near_the_long_one():
    leaves = leaves_for("lstm", torch.float32)
    mask = mask_of("with holes")
    wanted = rnn.lstm(**leaves, mask=mask)
    with torch.autocast("cpu", torch.bfloat16):
        found = rnn.lstm(**leaves, mask=mask)
        torch._dynamo.reset()
        compiled = torch.compile(lambda **given: rnn.lstm(**given, mask=mask), fullgraph=True, backend="aot_eager")
        traced = compiled(**leaves)
    for a, b, c in zip(found, wanted, traced, strict=True):
        assert a.dtype is torch.bfloat16
        torch.testing.assert_close(a.float(), b, rtol=0.05, atol=0.05)
        torch.testing.assert_close(a, c, rtol=0.02, atol=0.02)
