"""Operators of torch made of functions: what they compute, what they keep, and who sees them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from kernel_checks import Operators
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.overrides import TorchFunctionMode

from lamina.kernels.native.operator import operator, pulled_back


@pytest.fixture(scope="module")
def toy() -> SimpleNamespace:
    """`factor * x * y`, and `x + y` without a gradient; `calls` tells which functions ran."""
    calls: list[str] = []

    def compute(x: Tensor, y: Tensor | None, factor: float) -> Tensor:
        calls.append("compute")
        return x * factor if y is None else x * y * factor

    def fake(x: Tensor, y: Tensor | None, factor: float) -> Tensor:
        calls.append("fake")
        return x.new_empty(x.shape)

    def save(ctx: Any, arguments: tuple[Any, ...], results: Tensor) -> None:
        calls.append("save")
        x, y, ctx.factor = arguments
        ctx.save_for_backward(x, y)

    def gradients(ctx: Any, d: Tensor) -> tuple[Any, ...]:
        calls.append("gradients")
        x, y = ctx.saved_tensors
        return d * ctx.factor * (1.0 if y is None else y), None if y is None else d * ctx.factor * x, None

    def again(ctx: Any, d: Tensor) -> tuple[Any, ...]:
        calls.append("again")
        x, y = ctx.saved_tensors
        return *pulled_back([x * ctx.factor if y is None else x * y * ctx.factor], [x, y], [d]), None

    schema = "test_operator_product(Tensor x, Tensor? y, float factor) -> Tensor"
    product = operator(schema, compute, fake, save, gradients, again)
    plain = operator("test_operator_sum(Tensor x, Tensor y) -> Tensor", torch.add, lambda x, y: x.new_empty(x.shape))
    traced = torch.ops.lamina.test_operator_product.default
    return SimpleNamespace(product=product, plain=plain, traced=traced, calls=calls)


@pytest.fixture(autouse=True)
def no_calls_yet(toy: SimpleNamespace) -> None:
    toy.calls.clear()


def pair() -> tuple[Tensor, Tensor]:
    return torch.randn(3, 4, requires_grad=True), torch.randn(3, 4, requires_grad=True)


def test_an_operator_has_values_and_gradients(toy):
    x, y = pair()
    result = toy.product(x, y, 3.0)
    torch.testing.assert_close(result, 3.0 * x * y)
    upstream = torch.randn(3, 4)
    of_x, of_y = torch.autograd.grad(result, (x, y), upstream)
    torch.testing.assert_close(of_x, 3.0 * upstream * y.detach())
    torch.testing.assert_close(of_y, 3.0 * upstream * x.detach())
    assert toy.calls == ["compute", "save", "gradients"]


def test_it_is_found_among_torchs_operators(toy):
    x, y = (t.detach() for t in pair())
    torch.testing.assert_close(torch.ops.lamina.test_operator_product(x, y, 2.0), 2.0 * x * y)
    torch.testing.assert_close(torch.ops.lamina.test_operator_sum(x, y), x + y)


def test_plain_tensors_take_the_short_way_and_a_mode_the_long_one(toy):
    seen: list[str] = []

    class Functions(TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):
            seen.append(getattr(func, "__name__", ""))
            return func(*args, **(kwargs or {}))

    x, y = pair()
    with Functions():
        torch.testing.assert_close(toy.product(x, y, 1.0).detach(), x.detach() * y.detach())
    assert any("test_operator_product" in name for name in seen)


def test_arguments_may_be_missing(toy):
    x, _ = pair()
    result = toy.product(x, None, 2.0)
    torch.testing.assert_close(torch.autograd.grad(result.sum(), x)[0], torch.full((3, 4), 2.0))


def test_gradients_pass_numerical_checking(toy):
    x, y = (t.detach().double().requires_grad_() for t in pair())
    assert torch.autograd.gradcheck(lambda a, b: toy.product(a, b, 0.5), (x, y))


def test_nothing_is_saved_where_no_gradient_can_follow(toy):
    x, y = pair()
    with torch.no_grad():
        assert not toy.product(x, y, 1.0).requires_grad
    assert not toy.product(x.detach(), y.detach(), 1.0).requires_grad
    with torch.inference_mode():
        assert not toy.product(x, y, 1.0).requires_grad
    assert toy.calls == ["compute"] * 3


def test_one_input_that_wants_a_gradient_is_enough(toy):
    x, y = pair()
    result = toy.product(x.detach(), y, 1.0)
    result.sum().backward()
    torch.testing.assert_close(y.grad, x.detach())


def test_an_operator_without_a_gradient_computes(toy):
    x, y = pair()
    torch.testing.assert_close(toy.plain(x.detach(), y.detach()), x.detach() + y.detach())


def test_the_name_is_that_of_the_node_in_the_graph_of_gradients(toy):
    assert toy.product(*pair(), 1.0).grad_fn.name() == "test_operator_productBackward"


def test_parameters_are_tensors_like_others(toy):
    x = torch.nn.Parameter(torch.randn(3))
    toy.product(x, None, 2.0).sum().backward()
    torch.testing.assert_close(x.grad, torch.full((3,), 2.0))


def test_a_gradient_has_a_gradient(toy):
    x, y = pair()
    (of_x,) = torch.autograd.grad(toy.product(x, y, 3.0).sum(), x, create_graph=True)
    torch.testing.assert_close(of_x.detach(), 3.0 * y.detach(), check_stride=False)
    (of_x.square().sum() + y.sum()).backward()
    torch.testing.assert_close(y.grad, 18.0 * y.detach() + 1.0)
    assert toy.calls.count("again") == 1 and "gradients" not in toy.calls


def test_create_graph_alone_changes_nothing(toy):
    x, y = pair()
    found = torch.autograd.grad(toy.product(x, y, 3.0).sum(), (x, y), create_graph=True)
    for gradient, other in zip(found, (y, x), strict=True):
        torch.testing.assert_close(gradient.detach(), 3.0 * other.detach())


@pytest.mark.parametrize("wanted", [True, False])
def test_fake_tensors_have_shapes_and_compute_nothing(toy, wanted):
    with FakeTensorMode():
        x = torch.empty(5, 2, requires_grad=wanted)
        result = toy.product(x, x, 1.0)
        assert result.shape == (5, 2) and result.requires_grad == wanted
    assert "compute" not in toy.calls and "fake" in toy.calls


def test_tensors_without_data_have_shapes(toy):
    x = torch.empty(5, 2, device="meta")
    assert toy.product(x, None, 1.0).shape == (5, 2) and toy.product(x, None, 1.0).device.type == "meta"
    assert toy.plain(x, x).shape == (5, 2)
    assert "compute" not in toy.calls


@pytest.mark.parametrize("wanted", [True, False])
def test_a_mode_that_listens_sees_the_operator(toy, wanted):
    x, y = (t.detach().requires_grad_(wanted) for t in pair())
    with Operators() as operators:
        result = toy.product(x, y, 2.0)
    assert operators.names.count("lamina::test_operator_product") == 1
    torch.testing.assert_close(result, 2.0 * x * y)
    if wanted:
        torch.testing.assert_close(torch.autograd.grad(result.sum(), x)[0], 2.0 * y.detach())


@pytest.mark.parametrize("wanted", [True, False])
def test_it_compiles_into_one_graph(toy, wanted):
    x, y = (t.detach().requires_grad_(wanted) for t in pair())

    def function(x: Tensor, y: Tensor) -> Tensor:
        return toy.traced(x, y, 2.0).tanh() + 1.0

    torch._dynamo.reset()
    found = torch.compile(function, fullgraph=True, backend="aot_eager")(x, y)
    torch.testing.assert_close(found, (2.0 * x * y).tanh() + 1.0)
    if wanted:
        found = torch.autograd.grad(found.sum(), (x, y))
        expected = torch.autograd.grad((2.0 * x * y).tanh().sum(), (x, y))
        for a, b in zip(found, expected, strict=True):
            torch.testing.assert_close(a, b)


@pytest.mark.parametrize("wanted", [True, False])
def test_it_keeps_torchs_rules(toy, wanted):
    x, y = (t.detach().requires_grad_(wanted) for t in pair())
    for arguments in ((x, y, 2.0), (x, None, 2.0)):
        found = torch.library.opcheck(toy.traced, arguments)
        assert set(found.values()) == {"SUCCESS"}
