"""LSTM, GRU and SimpleRNN in lamina's own kernel against the loops over steps in double precision."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from lamina.kernels import native, rnn
from lamina.kernels.recurrence import gru_reference, lstm_reference, simple_rnn_reference
from lamina.kernels.sequences import sequence

pytestmark = pytest.mark.usefixtures("recurrence")

B, T, F, U = 5, 6, 4, 3
GATES = {"lstm": 4, "gru": 3, "rnn_tanh": 1, "rnn_relu": 1}
# Batch, steps, features, units: less than a vector, whole vectors, a little more; one row, odd ones, more than a tile.
SIZES = [
    (1, 1, 1, 1),
    (2, 9, 5, 3),
    (7, 2, 16, 16),
    (13, 9, 33, 17),
    (2, 1, 1, 33),
    (7, 9, 16, 64),
    (13, 2, 5, 65),
    (1, 9, 33, 70),
    (13, 1, 16, 1),
    (2, 2, 33, 16),
    (7, 9, 1, 3),
    (1, 2, 5, 64),
]
MASKS = {
    "no mask": None,
    "right-padded": ["111111", "111000", "100000", "111110", "111111"],
    "left-padded": ["000111", "011111", "000001", "111111", "001111"],
    "with holes": ["010110", "100001", "101010", "001100", "111111"],
    "with empty rows": ["000000", "111000", "000000", "001101", "000000"],
    "empty": ["000000"] * 5,
}


def grid(*axes: Any) -> list[tuple[Any, ...]]:
    return list(itertools.product(*axes))


def mask_of(name: str) -> Tensor | None:
    rows = MASKS[name]
    return None if rows is None else torch.tensor([[mark == "1" for mark in row] for row in rows])


def leaves_for(
    kind: str, batch: int = B, steps: int = T, features: int = F, units: int = U, bias: bool = True
) -> dict[str, Tensor | None]:
    """What the network `kind` takes; the weights are such that numbers neither grow nor vanish."""
    width = GATES[kind] * units
    found: dict[str, Tensor | None] = {"x": torch.randn(batch, steps, features), "h": torch.randn(batch, units)}
    if kind == "lstm":
        found["c"] = torch.randn(batch, units)
    found["kernel"] = torch.randn(features, width) / features**0.5
    found["recurrent_kernel"] = torch.randn(units, width) / units**0.5
    found["bias"] = torch.randn(*((2, width) if kind == "gru" else (width,))) if bias else None
    return {name: None if leaf is None else leaf.requires_grad_() for name, leaf in found.items()}


def ours(kind: str, leaves: dict[str, Any], mask: Tensor | None = None, sequences: bool = True) -> list[Tensor]:
    """Outputs, last state and, of an LSTM, last carry."""
    states = [leaves[name] for name in ("h", "c") if name in leaves]
    weights = [leaves[name] for name in ("kernel", "recurrent_kernel", "bias")]
    (outputs, *carry), last = sequence(kind, leaves["x"], states, *weights, mask, sequences)
    return [outputs, last, *carry]


def exact(kind: str, leaves: dict[str, Any], **options: Any) -> list[Tensor]:
    """The same from the loop over steps, in double precision."""
    leaves = {name: None if leaf is None else leaf.double() for name, leaf in leaves.items()}
    if kind == "lstm":
        return list(lstm_reference(**leaves, **options))
    if kind == "gru":
        return list(gru_reference(**leaves, **options))
    return list(simple_rnn_reference(**leaves, activation=getattr(torch, kind.removeprefix("rnn_")), **options))


def gradients(results: Sequence[Tensor], leaves: dict[str, Any]) -> dict[str, Tensor | None]:
    """Of a sum over all results, weighted differently at each place, for each leaf that wants one."""
    total = sum((y * torch.linspace(-1, 2, y.numel(), dtype=y.dtype).view(y.shape)).sum() for y in results)
    wanted = {name: leaf for name, leaf in leaves.items() if leaf is not None and leaf.requires_grad}
    found = torch.autograd.grad(total, list(wanted.values()), allow_unused=True)
    return dict(zip(wanted, found, strict=True))


def expect_close(found: Tensor, wanted: Tensor) -> None:
    """Equal but for the rounding of sums in single precision, measured by the largest number."""
    room = 1e-5 * max(1.0, wanted.abs().max().item())
    torch.testing.assert_close(found.double(), wanted.double(), rtol=1e-4, atol=room)


def expect_equal(
    kind: str, leaves: dict[str, Any], used: slice = slice(None), mask: Tensor | None = None, sequences: bool = True
) -> None:
    """The kernel's values, and its gradients of the results `used`, are those of the loop."""
    found = ours(kind, leaves, mask, sequences)
    wanted = exact(kind, leaves, mask=mask, sequences=sequences)
    for a, b in zip(found, wanted, strict=True):
        assert a.dtype is torch.float32
        expect_close(a, b)
    of_found, of_wanted = gradients(found[used], leaves), gradients(wanted[used], leaves)
    for name, gradient in of_wanted.items():
        got = of_found[name]
        if gradient is None:  # the results do not depend on it
            assert got is None or not got.any(), name
        else:
            assert got is not None and got.dtype is torch.float32 and got.shape == leaves[name].shape, name
            expect_close(got, gradient)


@pytest.mark.parametrize("kind, sizes, bias", grid(GATES, SIZES, (True, False)))
def test_values_and_gradients_of_every_size_are_those_of_the_loop(kind, sizes, bias, threads):
    expect_equal(kind, leaves_for(kind, *sizes, bias=bias))


@pytest.mark.parametrize("kind, mask, sequences", grid(GATES, MASKS, (True, False)))
def test_values_and_gradients_under_every_mask_are_those_of_the_loop(kind, mask, sequences):
    """The states before the first step are not zero, so that steps masked at the start show what they keep."""
    expect_equal(kind, leaves_for(kind), mask=mask_of(mask), sequences=sequences)


@pytest.mark.parametrize("kind, sizes", grid(GATES, SIZES[3:8]))
def test_a_random_mask_over_more_rows_than_a_tile_holds_is_that_of_the_loop(kind, sizes, threads):
    mask = torch.rand(sizes[:2]) < 0.6
    expect_equal(kind, leaves_for(kind, *sizes), mask=mask)
    expect_equal(kind, leaves_for(kind, *sizes), mask=mask, sequences=False)


@pytest.mark.parametrize("mask, sequences, used", grid(("no mask", "with holes"), (True, False), (0, 1, 2)))
@pytest.mark.parametrize("kind", GATES)
def test_a_loss_may_use_only_the_outputs_only_the_state_or_only_the_carry(kind, mask, sequences, used):
    if used == 2 and kind != "lstm":
        used = 1
    expect_equal(kind, leaves_for(kind), slice(used, used + 1), mask_of(mask), sequences)


@pytest.mark.parametrize("kind", GATES)
@pytest.mark.parametrize("name", ["x", "h", "c", "kernel", "recurrent_kernel", "bias"])
def test_any_input_may_be_the_only_one_with_a_gradient_or_the_only_one_without(kind, name):
    if name == "c" and kind != "lstm":
        name = "h"
    for alone in (True, False):
        leaves = leaves_for(kind)
        for other, leaf in leaves.items():
            assert leaf is not None
            leaf.requires_grad_((other == name) == alone)
        expect_equal(kind, leaves)
        expect_equal(kind, leaves, mask=mask_of("with holes"), sequences=False)


def turned(t: Tensor) -> Tensor:
    """The first two axes swapped in memory."""
    return t.transpose(0, 1).contiguous().transpose(0, 1)


def spread(t: Tensor) -> Tensor:
    """Every second number of a larger memory."""
    return torch.stack([t, torch.full_like(t, torch.nan)], -1)[..., 0]


def every_second_row(t: Tensor) -> Tensor:
    return torch.stack([torch.full_like(t, torch.nan), t], 1).flatten(0, 1)[1::2]


def expanded(t: Tensor) -> Tensor:
    """One row for all."""
    return t[:1].expand_as(t)


def flipped(t: Tensor) -> Tensor:
    return t.flip(1)


LAYOUTS: dict[str, tuple[Callable[[Tensor], Tensor], ...]] = {
    "x": (turned, spread, every_second_row, expanded, flipped),
    "h": (turned, spread, every_second_row, expanded),
    "c": (turned, spread, every_second_row, expanded),
    "kernel": (turned, spread, every_second_row, expanded),
    "recurrent_kernel": (turned, spread, every_second_row, expanded),
    "bias": (spread,),
}


@pytest.mark.parametrize("kind", GATES)
@pytest.mark.parametrize("name", LAYOUTS)
def test_any_layout_in_memory_gives_the_same_values_and_gradients(kind, name):
    for layout in LAYOUTS[name]:
        leaves = leaves_for(kind)
        if name in leaves:
            leaves[name] = layout(leaves[name].detach()).requires_grad_()
        expect_equal(kind, leaves)
        expect_equal(kind, leaves, mask=mask_of("left-padded"))


def test_the_layouts_are_not_contiguous():
    t = torch.randn(4, 5)
    assert not any(layout(t).is_contiguous() for layout in (turned, spread, every_second_row, expanded))
    assert all(torch.equal(layout(t), t) for layout in (turned, spread, every_second_row))


@pytest.mark.parametrize("kind", GATES)
def test_a_mask_may_have_any_layout_in_memory(kind):
    mask = mask_of("with holes")
    assert mask is not None
    leaves = leaves_for(kind)
    for other in (turned(mask), torch.stack([mask, ~mask], -1)[..., 0]):
        assert not other.is_contiguous()
        for a, b in zip(ours(kind, leaves, other), ours(kind, leaves, mask), strict=True):
            assert torch.equal(a, b)


@pytest.mark.parametrize("kind", GATES)
def test_gradients_do_not_depend_on_the_default_dtype(kind):
    leaves = leaves_for(kind)
    wanted = gradients(ours(kind, leaves), leaves)
    torch.set_default_dtype(torch.float64)
    try:
        results = ours(kind, leaves)
        found = torch.autograd.grad(
            sum((y * torch.linspace(-1, 2, y.numel(), dtype=torch.float32).view(y.shape)).sum() for y in results),
            [leaf for leaf in leaves.values() if leaf is not None],
        )
    finally:
        torch.set_default_dtype(torch.float32)
    for a, b in zip(found, wanted.values(), strict=True):
        assert b is not None
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("kind", GATES)
def test_a_gradient_that_vanishes_along_a_long_sequence_is_zero_and_finite(kind):
    """Numbers below the normal range become zero inside of the kernel, and only there."""
    leaves = leaves_for(kind, 2, 400, 3, 5)
    with torch.no_grad():
        leaves["recurrent_kernel"] *= 0.2
        leaves["bias"].fill_(-0.5)
    found = gradients(ours(kind, leaves)[1:2], leaves)
    assert all(bool(gradient.isfinite().all()) for gradient in found.values() if gradient is not None)
    assert bool(found["x"][:, -1].any()) or kind == "rnn_relu"
    assert not found["x"][:, 0].any() and not found["h"].any()
    tiny = torch.full((1,), 1e-40)
    assert (tiny * 1.0).item() > 0.0 and (tiny + tiny).item() > 1e-40


@pytest.mark.parametrize("kind", ["lstm", "gru", "rnn_tanh"])
def test_huge_inputs_saturate_gates_and_spoil_nothing(kind):
    leaves = leaves_for(kind)
    with torch.no_grad():
        leaves["x"] *= 1e5
    expect_equal(kind, leaves)


@pytest.mark.parametrize("kind", GATES)
def test_tiny_inputs_keep_their_relative_precision(kind):
    leaves = leaves_for(kind, bias=False)
    with torch.no_grad():
        for name in ("x", "h", "c"):
            if name in leaves:
                leaves[name] *= 1e-6
    for a, b in zip(ours(kind, leaves), exact(kind, leaves), strict=True):
        torch.testing.assert_close(a.double(), b, rtol=1e-4, atol=1e-11)


@pytest.mark.parametrize("kind", GATES)
@pytest.mark.parametrize("name", ["x", "h", "c", "kernel", "recurrent_kernel", "bias"])
def test_a_nan_that_goes_in_comes_out(kind, name):
    leaves = leaves_for(kind)
    if name not in leaves:
        return
    with torch.no_grad():
        leaves[name].view(-1)[1] = torch.nan
    wanted = exact(kind, leaves)
    for a, b in zip(ours(kind, leaves), wanted, strict=True):
        assert bool(b.isnan().any())
        assert torch.equal(a.isnan(), b.isnan())


@pytest.mark.parametrize("kind", GATES)
def test_a_nan_at_a_masked_step_reaches_neither_outputs_nor_gradients(kind):
    leaves, mask = leaves_for(kind), mask_of("with holes")
    spoilt = {**leaves, "x": leaves["x"].detach().masked_fill(~mask.unsqueeze(-1), torch.nan).requires_grad_()}
    found, wanted = ours(kind, spoilt, mask), ours(kind, leaves, mask)
    for a, b in zip(found, wanted, strict=True):
        assert torch.equal(a, b)
    of_wanted = gradients(wanted, leaves)
    for name, gradient in gradients(found, spoilt).items():
        assert torch.equal(gradient, of_wanted[name]), name


@pytest.mark.parametrize("kind", GATES)
def test_without_gradients_the_values_are_the_same(kind):
    leaves = leaves_for(kind)
    for mask, sequences in grid((None, mask_of("with holes")), (True, False)):
        wanted = ours(kind, leaves, mask, sequences)
        with torch.no_grad():
            found = ours(kind, leaves, mask, sequences)
        for a, b in zip(found, wanted, strict=True):
            assert torch.equal(a, b) and b.requires_grad and not a.requires_grad


@pytest.mark.parametrize("kind", GATES)
def test_outputs_that_are_changed_in_place_are_no_trap(kind):
    """A second use of the saved tensors would be of other numbers: torch says so, or nothing was needed."""
    leaves, mask = leaves_for(kind), mask_of("with holes")
    wanted = gradients(ours(kind, leaves)[1:], leaves)
    outputs, *rest = ours(kind, leaves)
    outputs.zero_()
    for a, b in zip(gradients(rest, leaves).values(), wanted.values(), strict=True):
        assert torch.equal(a, b)
    wanted = gradients(ours(kind, leaves, mask)[1:], leaves)
    outputs, *rest = ours(kind, leaves, mask)
    outputs.zero_()
    for a, b in zip(gradients(rest, leaves).values(), wanted.values(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("kind, keep", grid(GATES, (False, True)))
def test_the_operator_keeps_torchs_rules(kind, keep):
    leaves = leaves_for(kind)
    given = [leaves.get(name) for name in ("x", "h", "c", "kernel", "recurrent_kernel", "bias")]
    if not keep:
        given = [None if leaf is None else leaf.detach() for leaf in given]
    # The gradient is no operator, and a workspace has the size that the processor's vectors ask for.
    checks = ["test_schema", "test_autograd_registration"]
    checks += [] if keep else ["test_faketensor", "test_aot_dispatch_dynamic"]
    for mask, sequences in grid((None, mask_of("with holes")), (True, False)):
        arguments = (kind, *given, mask, sequences, keep, False)
        found = torch.library.opcheck(torch.ops.lamina.sequence.default, arguments, test_utils=checks)
        assert set(found.values()) == {"SUCCESS"}


class Operators(TorchDispatchMode):
    """The names of lamina's operators as they are called."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.namespace == "lamina":
            self.names.append(func.name())
        return func(*args, **(kwargs or {}))


def through_rnn(kind: str, leaves: dict[str, Any], **options: Any) -> tuple[Tensor, ...]:
    if kind in ("lstm", "gru"):
        return getattr(rnn, kind)(**leaves, **options)
    return rnn.simple_rnn(**leaves, activation=kind.removeprefix("rnn_"), **options)


@pytest.mark.parametrize("kind, mask", grid(GATES, ("no mask", "with holes")))
def test_torchs_kernels_give_the_same_where_this_one_is_switched_off(kind, mask):
    leaves, options = leaves_for(kind), {"mask": mask_of(mask)}
    with Operators() as calls:
        found = through_rnn(kind, leaves, **options)
    assert calls.names == ["lamina::sequence"]
    with Operators() as calls, native.switched_off():
        wanted = through_rnn(kind, leaves, **options)
    assert calls.names == []
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)
    of_wanted = gradients(wanted, leaves)
    for name, gradient in gradients(found, leaves).items():
        torch.testing.assert_close(gradient, of_wanted[name], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", GATES)
def test_double_precision_goes_torchs_way(kind):
    leaves = {name: leaf.detach().double() for name, leaf in leaves_for(kind).items()}
    with Operators() as calls:
        found = through_rnn(kind, leaves)
    assert calls.names == []
    for a, b in zip(found, exact(kind, leaves), strict=True):
        torch.testing.assert_close(a, b)
