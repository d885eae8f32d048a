"""The product of a dense layer in lamina's own kernel against the product in double precision."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from kernel_checks import Operators, gradients
from torch import Tensor

from lamina.engine.weights import in_memory_order
from lamina.kernels import native, products
from lamina.kernels.activations import ACTIVATIONS, NUMBERS
from lamina.kernels.linear import linear
from lamina.kernels.products import product, reference, suits

pytestmark = pytest.mark.usefixtures("product")

ROWS = (1, 2, 5, 12, 13, 128)
INPUTS = (1, 7, 16, 33, 300)
UNITS = (1, 10, 16, 17, 32, 33, 65)


def leaves_for(rows: int, inputs: int, units: int, bias: bool = True, ordered: bool = False) -> dict[str, Any]:
    """What the product takes; the sums have a variance of about one. An `ordered` kernel lies as a layer's does."""
    kernel = torch.randn(inputs, units) / inputs**0.5
    return {
        "x": torch.randn(rows, inputs).requires_grad_(),
        "kernel": (in_memory_order(kernel, (1, 0)) if ordered else kernel).requires_grad_(),
        "bias": torch.randn(units).requires_grad_() if bias else None,
    }


def exact(x: Tensor, kernel: Tensor, bias: Tensor | None, activation: str) -> Tensor:
    """The definition, in double precision."""
    y = x.double() @ kernel.double()
    y = y if bias is None else y + bias.double()
    return {"linear": y, "relu": y.clamp(min=0.0), "sigmoid": 1.0 / (1.0 + (-y).exp()), "tanh": y.tanh()}[activation]


def expect_close(found: Tensor, wanted: Tensor) -> None:
    """Equal but for the rounding of sums in single precision, measured by the largest number."""
    scale = max(1.0, wanted.abs().max().item())
    torch.testing.assert_close(found.double(), wanted.double(), rtol=1e-4, atol=1e-5 * scale)


def expect_equal(leaves: dict[str, Any], activation: str) -> None:
    """The kernel's values and gradients are those of the definition."""
    found, wanted = product(**leaves, activation=activation), exact(**leaves, activation=activation)
    assert found.dtype is torch.float32 and found.is_contiguous() and found.shape == wanted.shape
    expect_close(found, wanted)
    of_found = gradients(found, leaves)
    for name, gradient in gradients(wanted, leaves).items():
        assert of_found[name].shape == leaves[name].shape and of_found[name].dtype is torch.float32, name
        expect_close(of_found[name], gradient)


@pytest.mark.parametrize("rows", ROWS)
@pytest.mark.parametrize("inputs", INPUTS)
@pytest.mark.parametrize("ordered", [False, True], ids=["rows", "columns"])
def test_every_size_gives_the_values_and_gradients_of_the_definition(rows, inputs, ordered, threads):
    kinds = list(itertools.product((True, False), ACTIVATIONS))
    for i, units in enumerate(UNITS, start=ROWS.index(rows) + INPUTS.index(inputs)):
        bias, activation = kinds[i % len(kinds)]
        expect_equal(leaves_for(rows, inputs, units, bias, ordered), activation)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("ordered", [False, True], ids=["rows", "columns"])
def test_every_activation_works_with_and_without_bias(activation, bias, ordered, threads):
    for sizes in ((13, 33, 65), (128, 300, 10)):
        expect_equal(leaves_for(*sizes, bias, ordered), activation)


@pytest.mark.parametrize("activation", ["linear", "tanh"])
@pytest.mark.parametrize("wanted", [("x",), ("kernel",), ("bias",), ("x", "kernel"), ("kernel", "bias"), ("x", "bias")])
def test_gradients_may_be_wanted_of_some_inputs_only(wanted, activation):
    leaves = leaves_for(13, 33, 17)
    for name, leaf in leaves.items():
        leaf.requires_grad_(name in wanted)
    expect_equal(leaves, activation)


def test_without_gradients_the_values_are_the_same():
    leaves = leaves_for(13, 33, 17)
    for activation in ACTIVATIONS:
        wanted = product(**leaves, activation=activation)
        with torch.no_grad():
            found = product(**leaves, activation=activation)
        assert torch.equal(found, wanted) and wanted.requires_grad and not found.requires_grad


KERNELS = {
    "every second column": lambda k, n: torch.randn(k, 2 * n)[:, ::2],
    "every second row": lambda k, n: torch.randn(2 * k, n)[::2],
    "columns of a larger memory": lambda k, n: torch.randn(n, k + 3)[:, 2 : k + 2].t(),
    "every third of both": lambda k, n: torch.randn(3 * n, 3 * k)[::3, ::3].t(),
    "one column for all": lambda k, n: torch.randn(k, 1).expand(k, n),
    "one row for all": lambda k, n: torch.randn(1, n).expand(k, n),
}


@pytest.mark.parametrize("layout", KERNELS)
@pytest.mark.parametrize("inputs, units", [(33, 17), (48, 64), (7, 3)])
def test_the_kernel_may_have_any_strides(layout, inputs, units, threads):
    leaves = leaves_for(13, inputs, units)
    leaves["kernel"] = KERNELS[layout](inputs, units).detach().requires_grad_()
    assert not leaves["kernel"].is_contiguous() and leaves["kernel"].shape == (inputs, units)
    expect_equal(leaves, "tanh")


def test_rows_and_biases_may_have_any_layout_in_memory():
    for x in (torch.randn(33, 13).t(), torch.randn(13, 66)[:, ::2], torch.randn(1, 33).expand(13, 33)):
        assert not x.is_contiguous()
        for bias in (torch.randn(34)[::2], torch.randn(1).expand(17)):
            leaves = leaves_for(13, 33, 17)
            leaves["x"], leaves["bias"] = x.detach().requires_grad_(), bias.detach().requires_grad_()
            expect_equal(leaves, "sigmoid")


@pytest.mark.parametrize("activation", ["linear", "relu"])
def test_the_gradient_of_the_result_may_have_any_layout_in_memory(activation):
    leaves = leaves_for(13, 33, 17)
    for upstream in (torch.randn(17, 13).t(), torch.randn(1, 1).expand(13, 17), torch.randn(13, 34)[:, ::2]):
        found = torch.autograd.grad(product(**leaves, activation=activation), list(leaves.values()), upstream)
        y = exact(**leaves, activation=activation)
        for a, b in zip(found, torch.autograd.grad(y, list(leaves.values()), upstream.double()), strict=True):
            expect_close(a, b)


@pytest.mark.parametrize("ordered", [False, True])
@pytest.mark.parametrize("sizes", [(13, 33, 17), (20, 1, 5), (20, 5, 1), (16, 32, 64)])
def test_the_gradient_of_the_kernel_lies_in_memory_as_the_kernel_does(ordered, sizes):
    leaves = leaves_for(*sizes, ordered=ordered)
    found = gradients(product(**leaves, activation="linear"), leaves)["kernel"]
    assert found.stride() == leaves["kernel"].stride()


def test_each_activation_has_its_own_value_at_zero_and_one():
    x = torch.tensor([[0.0], [1.0], [-1.0]])
    wanted = {
        "linear": [0.0, 1.0, -1.0],
        "relu": [0.0, 1.0, 0.0],
        "sigmoid": [0.5, 0.7310586, 0.2689414],
        "tanh": [0.0, 0.7615942, -0.7615942],
    }
    assert set(wanted) == set(ACTIVATIONS)
    for activation, values in wanted.items():
        found = product(x, torch.ones(1, 1), None, activation)
        torch.testing.assert_close(found, torch.tensor(values).view(3, 1))


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("name", ["x", "kernel", "bias"])
def test_a_nan_comes_out_where_torch_lets_it_out(activation, name, threads):
    leaves = leaves_for(13, 33, 65)
    with torch.no_grad():
        leaves[name].view(-1)[-1] = torch.nan
    found, wanted = product(**leaves, activation=activation), exact(**leaves, activation=activation)
    spoilt = {"x": (12, slice(None)), "kernel": (slice(None), 64), "bias": (slice(None), 64)}[name]
    assert bool(found[spoilt].isnan().all()) and int(found.isnan().sum()) == found[spoilt].numel()
    torch.testing.assert_close(found.double(), wanted, rtol=1e-4, atol=1e-5, equal_nan=True)


def test_infinite_numbers_spoil_their_row_and_no_other():
    leaves = leaves_for(13, 33, 17, bias=False)
    with torch.no_grad():
        leaves["x"][3, 4] = torch.inf
    found, wanted = product(**leaves, activation="linear"), exact(**leaves, activation="linear")
    assert bool(found[3].isinf().all()) and int(found.isfinite().sum()) == 12 * 17
    torch.testing.assert_close(found.double(), wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("bias", [True, False])
def test_a_gradient_penalty_has_the_gradients_of_plain_torch(activation, bias):
    """As in a WGAN: the norm of the gradient of the input is part of the loss."""
    leaves = leaves_for(13, 33, 17, bias)

    def penalty(y: Tensor) -> dict[str, Tensor | None]:
        (slope,) = torch.autograd.grad(y.sin().sum(), leaves["x"], create_graph=True)
        assert slope.requires_grad
        wanted = {name: leaf for name, leaf in leaves.items() if leaf is not None}
        total = (slope.square().sum(1) - 1.0).square().mean()
        return dict(zip(wanted, torch.autograd.grad(total, list(wanted.values())), strict=True))

    found = penalty(product(**leaves, activation=activation))
    for name, gradient in penalty(exact(**leaves, activation=activation)).items():
        assert bool(gradient.any()), name
        expect_close(found[name], gradient)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_the_reference_is_the_definition(activation):
    leaves = {name: leaf.double() for name, leaf in leaves_for(13, 33, 17).items()}
    torch.testing.assert_close(
        reference(**leaves, activation=NUMBERS[activation]), exact(**leaves, activation=activation)
    )


def test_a_change_of_what_the_gradient_needs_is_an_error():
    leaves = leaves_for(13, 33, 17)
    y = product(**leaves, activation="tanh")
    y.add_(1.0)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        gradients(y, leaves)


class TestSuits:
    x, kernel, bias = torch.zeros(64, 256), torch.zeros(256, 128), torch.zeros(128)

    def test_it_takes_a_batch_of_rows_and_a_kernel_that_fits_the_cache(self):
        assert suits(self.x, self.kernel, self.bias) and suits(self.x, self.kernel, None)
        assert suits(self.x, self.kernel.t().contiguous().t(), None)

    @pytest.mark.parametrize(
        "rows, inputs, units, fits",
        [
            (16, 256, 256, True),
            (15, 256, 512, False),  # rows
            (64, 128, 128, True),
            (63, 128, 128, False),  # work
            (16, 512, 1024, True),
            (16, 512, 1025, False),  # numbers of the kernel
            (1024, 512, 8, True),
            (1025, 512, 8, False),  # numbers of the rows
        ],
    )
    def test_sizes_have_limits(self, rows, inputs, units, fits):
        assert suits(torch.zeros(rows, inputs), torch.zeros(inputs, units), None) == fits

    def test_it_refuses_other_ranks_and_sizes_that_do_not_match(self):
        assert not suits(self.x[None], self.kernel, None)
        assert not suits(self.x, self.kernel[None], None)
        assert not suits(self.x, torch.zeros(257, 128), None)

    def test_it_refuses_other_dtypes_and_devices(self):
        assert not suits(self.x.double(), self.kernel.double(), None)
        assert not suits(self.x, self.kernel.double(), None)
        assert not suits(self.x, self.kernel, self.bias.double())
        assert not suits(self.x.bfloat16(), self.kernel.bfloat16(), None)
        assert not suits(self.x.to("meta"), self.kernel.to("meta"), None)

    def test_it_refuses_everything_under_autocast_and_where_kernels_are_switched_off(self):
        with torch.autocast("cpu", torch.bfloat16):
            assert not suits(self.x, self.kernel, self.bias)
        with native.switched_off():
            assert not suits(self.x, self.kernel, self.bias)

    def test_a_compiler_makes_no_guards_of_the_sizes(self):
        seen = []
        torch._dynamo.reset()

        def count(graph: Any, inputs: Any) -> Any:
            seen.append(graph)
            return graph.forward

        compiled = torch.compile(linear, fullgraph=True, backend=count, dynamic=True)
        for rows in (64, 15, 100):  # the kernel would be for the first and the last
            x = torch.randn(rows, 256)
            torch.testing.assert_close(compiled(x, self.kernel, self.bias), x @ self.kernel + self.bias)
        assert len(seen) == 1


@pytest.mark.parametrize("rows, names", [(64, ["lamina::product"]), (15, ["aten::addmm", "aten::tanh"])])
def test_a_dense_layers_product_takes_the_kernel_where_it_suits(rows, names):
    leaves = {name: leaf.detach() for name, leaf in leaves_for(rows, 256, 128, ordered=True).items()}
    with Operators() as calls:
        found = linear(**leaves, activation="tanh")
    assert calls.names == names
    expect_close(found, exact(**leaves, activation="tanh"))


def test_a_dense_layers_product_calls_the_kernel_without_a_mode_that_listens(monkeypatch):
    leaves, calls = leaves_for(64, 256, 128, ordered=True), []

    def counted(*arguments: Any) -> Tensor:
        calls.append(arguments[3])
        return product(*arguments)

    monkeypatch.setattr(products, "product", counted)
    found = linear(**leaves, activation="relu")
    assert calls == ["relu"] and "productBackward" in str(found.grad_fn)
    linear(**{**leaves, "x": torch.randn(2, 64, 256)})  # more axes are torch's
    assert calls == ["relu"]


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("bias", [True, False])
def test_torchs_product_gives_the_same_where_this_one_is_switched_off(activation, bias):
    leaves = leaves_for(64, 256, 128, bias, ordered=True)
    found = linear(**leaves, activation=activation)
    with native.switched_off():
        wanted = linear(**leaves, activation=activation)
    assert "productBackward" in str(found.grad_fn) and "productBackward" not in str(wanted.grad_fn)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)
    for a, b in zip(gradients(found, leaves).values(), gradients(wanted, leaves).values(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("wanted", [True, False])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("activation", ["linear", "sigmoid"])
def test_the_operator_keeps_torchs_rules(wanted, bias, activation):
    leaves = leaves_for(13, 7, 17, bias, ordered=True)
    given = [leaf if leaf is None else leaf.detach().requires_grad_(wanted) for leaf in leaves.values()]
    # The gradient is no operator.
    checks = ["test_schema", "test_autograd_registration", "test_faketensor"]
    checks += [] if wanted else ["test_aot_dispatch_dynamic"]
    arguments = (*given, NUMBERS[activation])
    found = torch.library.opcheck(torch.ops.lamina.product.default, arguments, test_utils=checks)
    assert set(found.values()) == {"SUCCESS"}
