"""LSTM, GRU and SimpleRNN under autocast to bfloat16, in lamina's own kernel, against the loops in double precision."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from lamina.kernels import native, rnn
from lamina.kernels.recurrence import gru_reference, lstm_reference, simple_rnn_reference
from lamina.kernels.sequences import sequence, suits

pytestmark = pytest.mark.usefixtures("recurrence")

GATES = {"lstm": 4, "gru": 3, "rnn_tanh": 1, "rnn_relu": 1}
BATCHES = (1, 5, 31, 33, 64)
# Features and units: odd ones, one, whole vectors, a little more or less.
SIZES = ((1, 3), (40, 17), (1, 32), (40, 65), (40, 1), (3, 64))


def grid(*axes: Any) -> list[tuple[Any, ...]]:
    return list(itertools.product(*axes))


def leaves_for(kind: str, batch: int, features: int, units: int, steps: int = 7, bias: bool = True) -> dict[str, Any]:
    """What the network `kind` takes; the weights are such that numbers neither grow nor vanish."""
    width = GATES[kind] * units
    found: dict[str, Any] = {"x": torch.randn(batch, steps, features), "h": torch.randn(batch, units) / 2}
    if kind == "lstm":
        found["c"] = torch.randn(batch, units) / 2
    found["kernel"] = torch.randn(features, width) / (2 * features**0.5)
    found["recurrent_kernel"] = torch.randn(units, width) / (2 * units**0.5)
    found["bias"] = torch.randn(*((2, width) if kind == "gru" else (width,))) / 2 if bias else None
    if kind == "rnn_relu" and bias:  # of sums about zero rounding would decide whether a gradient comes through
        found["bias"], found["recurrent_kernel"] = found["bias"].sign() * 4, found["recurrent_kernel"] / 5
    return {name: None if leaf is None else leaf.requires_grad_() for name, leaf in found.items()}


def ours(kind: str, leaves: dict[str, Any], mask: Tensor | None = None, sequences: bool = True) -> list[Tensor]:
    """Outputs, last state and, of an LSTM, last carry, under autocast."""
    states = [leaves[name] for name in ("h", "c") if name in leaves]
    weights = [leaves[name] for name in ("kernel", "recurrent_kernel", "bias")]
    with torch.autocast("cpu", torch.bfloat16):
        assert suits(leaves["x"], *states, *weights)
        (outputs, *carry), last = sequence(kind, leaves["x"], states, *weights, mask, sequences)
        assert torch.is_autocast_enabled("cpu")
    return [outputs, last, *carry]


def exact(kind: str, leaves: dict[str, Any], mask: Tensor | None = None, sequences: bool = True) -> list[Tensor]:
    """The same from the loop over steps, in double precision."""
    leaves = {name: None if leaf is None else leaf.double() for name, leaf in leaves.items()}
    if kind in ("lstm", "gru"):
        return list((lstm_reference if kind == "lstm" else gru_reference)(**leaves, mask=mask, sequences=sequences))
    activation = getattr(torch, kind.removeprefix("rnn_"))
    return list(simple_rnn_reference(**leaves, activation=activation, mask=mask, sequences=sequences))


def gradients(results: Sequence[Tensor], leaves: dict[str, Any]) -> dict[str, Tensor | None]:
    """Of a sum over all results, weighted differently at each place, for each leaf that wants one."""
    total = sum((y.double() * torch.linspace(-1, 20, y.numel()).sin().view(y.shape)).sum() for y in results)
    wanted = {name: leaf for name, leaf in leaves.items() if leaf is not None and leaf.requires_grad}
    found = torch.autograd.grad(total, list(wanted.values()), allow_unused=True)
    return dict(zip(wanted, found, strict=True))


def expect_alike(found: Tensor, wanted: Tensor, least: float = 0.999) -> None:
    """The same direction and length, as far as products of bfloat16 let tell."""
    a, b = found.double().flatten(), wanted.double().flatten()
    if not b.any():
        assert not a.any()
    elif b.numel() == 1:
        torch.testing.assert_close(a, b, rtol=1e-1, atol=5e-2)
    else:
        assert F.cosine_similarity(a, b, 0) > least
        assert (a.norm() / b.norm()).item() == pytest.approx(1.0, abs=0.05)


def expect_near(kind: str, leaves: dict[str, Any], mask: Tensor | None = None, sequences: bool = True) -> None:
    """The kernel's values and gradients are near those of the loop, with the dtypes of autocast."""
    found, wanted = ours(kind, leaves, mask, sequences), exact(kind, leaves, mask, sequences)
    for a, b in zip(found, wanted, strict=True):
        assert a.dtype is torch.bfloat16 and a.shape == b.shape
        torch.testing.assert_close(a.double(), b, rtol=2e-2, atol=2e-2)
    of_found = gradients(found, leaves)
    for name, gradient in gradients(wanted, leaves).items():
        got = of_found[name]
        assert got is not None and gradient is not None, name
        assert got.dtype is leaves[name].dtype and got.shape == leaves[name].shape, name
        expect_alike(got, gradient)


@pytest.mark.parametrize("kind, batch, sizes", grid(GATES, BATCHES, SIZES))
def test_values_and_gradients_of_every_size_are_near_those_of_the_loop(kind, batch, sizes, threads):
    expect_near(kind, leaves_for(kind, batch, *sizes, bias=batch != 31 or kind == "rnn_relu"))


@pytest.mark.parametrize("units", [1, 17, 32, 65])
def test_what_is_behind_the_last_unit_is_never_read(units):
    """Memory that was used before holds anything, numbers that are none among it."""
    leaves = leaves_for("rnn_tanh", 33, 40, units)
    for _ in range(20):
        junk = [torch.full((size,), torch.nan) for size in (100, 1000, 10_000, 100_000, 33 * 64, 64 * 64, 32 * 128)]
        del junk
        found = gradients(ours("rnn_tanh", leaves), leaves)
        assert all(bool(gradient.isfinite().all()) for gradient in found.values() if gradient is not None)


@pytest.mark.parametrize("kind, batch", grid(GATES, BATCHES))
@pytest.mark.parametrize("sequences", [True, False])
def test_masked_steps_are_left_out(kind, batch, sequences, threads):
    """Rows are padded before, behind and in between; one has nothing at all."""
    mask = torch.rand(batch, 7) < 0.6
    mask[0] = torch.tensor([False, True, True, False, True, False, False])
    if batch > 1:
        mask[1], mask[2], mask[-1] = False, torch.arange(7) < 3, True
    expect_near(kind, leaves_for(kind, batch, 40, 17), mask, sequences)


@pytest.mark.parametrize("kind", GATES)
def test_a_nan_at_a_masked_step_reaches_neither_outputs_nor_gradients(kind):
    leaves, mask = leaves_for(kind, 33, 40, 17), torch.rand(33, 7) < 0.6
    spoilt = {**leaves, "x": leaves["x"].detach().masked_fill(~mask.unsqueeze(-1), torch.nan).requires_grad_()}
    found, wanted = ours(kind, spoilt, mask), ours(kind, leaves, mask)
    for a, b in zip(found, wanted, strict=True):
        assert torch.equal(a, b)
    of_wanted = gradients(wanted, leaves)
    for name, gradient in gradients(found, spoilt).items():
        assert torch.equal(gradient, of_wanted[name]), name


@pytest.mark.parametrize("kind", GATES)
@pytest.mark.parametrize("name", ["x", "h", "c", "kernel", "recurrent_kernel", "bias"])
def test_a_nan_that_goes_in_comes_out_where_it_does_of_the_loop(kind, name):
    leaves = leaves_for(kind, 33, 40, 17)
    if name not in leaves:
        return
    with torch.no_grad():
        leaves[name].view(-1)[1] = torch.nan
    for a, b in zip(ours(kind, leaves), exact(kind, leaves), strict=True):
        assert bool(b.isnan().any()) and torch.equal(a.isnan(), b.isnan())


@pytest.mark.parametrize("kind, batch, features", grid(GATES, (1, 5, 33), (1, 40)))
def test_sequences_and_states_may_be_of_bfloat16_already(kind, batch, features):
    leaves = leaves_for(kind, batch, features, 17)
    for name in ("x", "h", "c"):
        if name in leaves:
            leaves[name] = leaves[name].detach().bfloat16().requires_grad_()
    expect_near(kind, leaves)


@pytest.mark.parametrize("kind", GATES)
def test_any_layout_in_memory_gives_the_same(kind):
    leaves = leaves_for(kind, 33, 40, 17)
    wanted = ours(kind, leaves)
    turned = {
        name: torch.stack([leaf.detach().transpose(0, -1)] * 2, -1)[..., 0].transpose(0, -1).requires_grad_()
        for name, leaf in leaves.items()
    }
    assert not any(leaf.is_contiguous() for leaf in turned.values())
    found = ours(kind, turned)
    for a, b in zip(found, wanted, strict=True):
        assert torch.equal(a, b)
    of_wanted = gradients(wanted, leaves)
    for name, gradient in gradients(found, turned).items():
        torch.testing.assert_close(gradient, of_wanted[name], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", GATES)
def test_an_error_of_the_products_does_not_grow_along_a_sequence(kind):
    expect_near(kind, leaves_for(kind, 33, 5, 17, steps=100))


@pytest.mark.parametrize("kind", GATES)
@pytest.mark.parametrize("wanted", ["x", "h", "kernel", "recurrent_kernel", "bias"])
def test_one_gradient_alone_is_the_same_as_with_the_others(kind, wanted):
    leaves = leaves_for(kind, 33, 40, 17)
    together = gradients(ours(kind, leaves), leaves)[wanted]
    for name, leaf in leaves.items():
        leaf.requires_grad_(name == wanted)
    alone = gradients(ours(kind, leaves), leaves)
    assert list(alone) == [wanted]
    assert alone[wanted] is not None and torch.equal(alone[wanted], together)


@pytest.mark.parametrize("kind", GATES)
def test_without_gradients_the_values_are_the_same(kind):
    leaves, mask = leaves_for(kind, 33, 40, 17), torch.rand(33, 7) < 0.6
    for given, sequences in grid((None, mask), (True, False)):
        wanted = ours(kind, leaves, given, sequences)
        with torch.no_grad():
            found = ours(kind, leaves, given, sequences)
        for a, b in zip(found, wanted, strict=True):
            assert torch.equal(a, b) and b.requires_grad and not a.requires_grad


@pytest.mark.parametrize("kind", GATES)
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("inside", [False, True])
def test_a_gradient_penalty_goes_through_the_loop(kind, masked, inside):
    """Differentiated inside of autocast or behind it."""
    leaves = leaves_for(kind, 5, 4, 3)
    mask = torch.rand(5, 7) < 0.7 if masked else None
    if mask is not None:
        mask[:, 0] = True

    def penalty(y: Tensor) -> dict[str, Tensor | None]:
        (slope,) = torch.autograd.grad(y.double().sin().sum(), leaves["x"], create_graph=True)
        assert slope.requires_grad
        found = torch.autograd.grad(slope.double().square().sum(), list(leaves.values()), allow_unused=True)
        return dict(zip(leaves, found, strict=True))

    y = ours(kind, leaves, mask)[0]
    with torch.autocast("cpu", torch.bfloat16, enabled=inside):
        found = penalty(y)
    for name, gradient in penalty(exact(kind, leaves, mask)[0]).items():
        got = found[name]
        if gradient is None or not gradient.any():
            assert got is None or not got.any(), name
        else:
            assert got is not None and got.dtype is torch.float32
            expect_alike(got, gradient, least=0.99)


class Operators(TorchDispatchMode):
    """The names of lamina's operators as they are called, and whether products were to be of bfloat16."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[str, bool]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.namespace == "lamina":
            self.calls.append((func.name(), args[-1]))
        return func(*args, **(kwargs or {}))


def through_rnn(kind: str, leaves: dict[str, Any], **options: Any) -> tuple[Tensor, ...]:
    if kind in ("lstm", "gru"):
        return getattr(rnn, kind)(**leaves, **options)
    return rnn.simple_rnn(**leaves, activation=kind.removeprefix("rnn_"), **options)


@pytest.mark.parametrize("kind", GATES)
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("batch", [5, 33])
def test_torchs_kernels_give_about_the_same_where_this_one_is_switched_off(kind, masked, batch):
    leaves, mask = leaves_for(kind, batch, 40, 17), torch.rand(batch, 7) < 0.7 if masked else None
    with torch.autocast("cpu", torch.bfloat16):
        with Operators() as calls:
            found = through_rnn(kind, leaves, mask=mask)
        assert calls.calls == [("lamina::sequence", True)]
        with Operators() as calls, native.switched_off():
            wanted = through_rnn(kind, leaves, mask=mask)
        assert calls.calls == []
    for a, b in zip(found, wanted, strict=True):
        assert a.dtype is torch.bfloat16 and b.dtype in (torch.bfloat16, torch.float32)  # of torch's GRU it is float32
        torch.testing.assert_close(a.float(), b.float(), rtol=5e-2, atol=5e-2)
    of_wanted = gradients(wanted, leaves)
    for name, gradient in gradients(found, leaves).items():
        assert gradient is not None and gradient.dtype is torch.float32, name
        expect_alike(gradient, of_wanted[name], least=0.995)


def test_outside_of_autocast_products_are_of_single_precision():
    leaves = leaves_for("gru", 33, 40, 17)
    with Operators() as calls:
        found = through_rnn("gru", leaves)
    assert calls.calls == [("lamina::sequence", False)]
    for a, b in zip(found, exact("gru", leaves), strict=True):
        torch.testing.assert_close(a.double(), b, rtol=1e-5, atol=1e-5)


class TestSuits:
    x, h, kernel = torch.zeros(2, 3, 4), torch.zeros(2, 5), torch.zeros(4, 5)

    def test_autocast_takes_both_floats(self):
        with torch.autocast("cpu", torch.bfloat16):
            assert suits(self.x, self.h, self.kernel, None) and suits(self.x.bfloat16(), self.h, None, self.kernel)
            assert suits(self.x.bfloat16(), self.h.bfloat16(), self.kernel.bfloat16())
        assert not suits(self.x.bfloat16(), self.h, self.kernel)

    def test_autocast_refuses_other_dtypes_and_devices(self):
        with torch.autocast("cpu", torch.bfloat16):
            for other in (self.x.double(), self.x.half(), self.x.long(), self.x.to("meta")):
                assert not suits(other, self.h, self.kernel)
            assert not suits(self.x, self.h.double(), self.kernel)

    def test_autocast_to_another_dtype_is_torchs(self):
        with torch.autocast("cpu", torch.float16):
            assert not suits(self.x, self.h, self.kernel)

    def test_it_refuses_everything_where_kernels_are_switched_off(self):
        with torch.autocast("cpu", torch.bfloat16), native.switched_off():
            assert not suits(self.x, self.h, self.kernel)
