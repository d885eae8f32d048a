"""The convolution of images in lamina's own kernel against torch's in double precision."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from lamina.engine.weights import in_memory_order
from lamina.kernels import images, native
from lamina.kernels.activations import ACTIVATIONS, NUMBERS
from lamina.kernels.images import Window, convolution, suits, suits_widened, widened
from lamina.kernels.select import intel
from lamina.kernels.windows import same_padding

pytestmark = pytest.mark.usefixtures("convolution")

CHANNELS = (1, 3, 6, 16, 17, 33)
FILTERS = (1, 5, 6, 16, 17, 32, 33, 64)
WINDOWS = ((1, 1), (2, 2), (3, 3), (5, 5), (7, 7), (1, 3), (5, 2))
STRIDES = ((1, 1), (2, 2), (3, 3), (1, 2), (3, 1))
PADDINGS = ("valid", "same", ((0, 1), (2, 0)), ((3, 3), (3, 3)), ((0, 0), (1, 1)))
POOLS = ((0, 0), (2, 2), (3, 3), (1, 2), (3, 2))
HEIGHTS, WIDTHS = (5, 8, 11), (6, 9, 13, 26, 31)


class Case(NamedTuple):
    """A convolution to be tried."""

    images: int
    height: int
    width: int
    channels: int
    filters: int
    size: tuple[int, int]
    window: Window
    bias: bool


def result_size(case: Case) -> list[int]:
    """Height and width of the result, zero or less where there is none."""
    sizes = []
    for axis, size in enumerate((case.height, case.width)):
        before, after = room(case.window, (case.height, case.width), case.size)[axis]
        count = (size + before + after - case.size[axis]) // case.window.strides[axis] + 1
        sizes.append(count // (case.window.pool[axis] or 1))
    return sizes


def room(window: Window, image: tuple[int, int], size: tuple[int, int]) -> list[tuple[int, int]]:
    """Zeros before and after the height and the width."""
    if window.padding == "valid":
        return [(0, 0), (0, 0)]
    if window.padding == "same":
        return [same_padding(image[i], size[i], window.strides[i]) for i in range(2)]
    return list(window.padding)


def cases(count: int) -> list[Case]:
    """Combinations in which each value of each list comes about as often as the others; the same at each call."""
    chance = random.Random(3)

    def cycle(values: Any) -> Iterator[Any]:
        while True:
            yield from chance.sample(list(values), len(values))

    heights, widths, images = cycle(HEIGHTS), cycle(WIDTHS), cycle((1, 2, 5))
    channels, filters, sizes, biases = cycle(CHANNELS), cycle(FILTERS), cycle(WINDOWS), cycle((True, False))
    strides, paddings, pools, activations = cycle(STRIDES), cycle(PADDINGS), cycle(POOLS), cycle(ACTIVATIONS)
    found: list[Case] = []
    while len(found) < count:
        window = Window(next(strides), next(paddings), next(pools), next(activations))
        shape = (next(images), next(heights), next(widths), next(channels), next(filters), next(sizes))
        case = Case(*shape, window, next(biases))
        while min(result_size(case)) < 1:
            case = case._replace(height=case.height + 3, width=case.width + 3)
        found.append(case)
    return found


CASES = cases(80)


def leaves_for(case: Case) -> dict[str, Tensor | None]:
    """What the convolution takes; the sums have a variance of about one. Half of the kernels lie as a layer's do."""
    shape = (*case.size, case.channels, case.filters)
    kernel = torch.randn(shape) / (case.size[0] * case.size[1] * case.channels) ** 0.5
    if (case.channels + case.height) % 2:
        kernel = in_memory_order(kernel, (3, 0, 1, 2))
    return {
        "x": torch.randn(case.images, case.height, case.width, case.channels).requires_grad_(),
        "kernel": kernel.requires_grad_(),
        "bias": torch.randn(case.filters).requires_grad_() if case.bias else None,
    }


def exact(
    x: Tensor,
    kernel: Tensor,
    bias: Tensor | None,
    window: Window,
    scale: Tensor | None = None,
    residual: Tensor | None = None,
    dtype: torch.dtype = torch.float64,
) -> Tensor:
    """The definition, from torch's functions."""
    (top, bottom), (left, right) = room(window, (x.shape[1], x.shape[2]), (kernel.shape[0], kernel.shape[1]))
    image = F.pad(x.to(dtype).permute(0, 3, 1, 2), (left, right, top, bottom))
    weight = kernel.to(dtype).permute(3, 2, 0, 1).clone(memory_format=torch.contiguous_format)
    y = F.conv2d(image, weight, None, window.strides)
    y = y if scale is None else y * scale.to(dtype).view(-1, 1, 1)
    y = y if bias is None else y + bias.to(dtype).view(-1, 1, 1)
    y = y if residual is None else y + residual.to(dtype).permute(0, 3, 1, 2)
    y = F.max_pool2d(y, window.pool) if window.pool[0] else y
    return ACTIVATIONS[window.activation](y).permute(0, 2, 3, 1)


def gradients(y: Tensor, leaves: dict[str, Any]) -> dict[str, Tensor]:
    """Of a sum weighted differently at each place, for each leaf that wants one."""
    weights = torch.linspace(-1, 2, y.numel(), dtype=torch.float64).sin().to(y.dtype).view(y.shape)
    wanted = {name: leaf for name, leaf in leaves.items() if leaf is not None and leaf.requires_grad}
    return dict(zip(wanted, torch.autograd.grad((y * weights).sum(), list(wanted.values())), strict=True))


def expect_close(found: Tensor, wanted: Tensor) -> None:
    """Equal but for the rounding of sums in single precision, measured by the largest number."""
    scale = max(1.0, wanted.abs().max().item())
    torch.testing.assert_close(found.double(), wanted.double(), rtol=1e-4, atol=2e-5 * scale)


def expect_equal(leaves: dict[str, Any], window: Window) -> None:
    """The kernel's values and gradients are those of torch."""
    assert suits(leaves["x"], leaves["kernel"], leaves["bias"], window)
    found, wanted = convolution(**leaves, window=window), exact(**leaves, window=window)
    assert found.dtype is torch.float32 and found.is_contiguous() and found.shape == wanted.shape
    expect_close(found, wanted)
    of_found = gradients(found, leaves)
    for name, gradient in gradients(wanted, leaves).items():
        assert of_found[name].shape == leaves[name].shape, name
        expect_close(of_found[name], gradient)


def test_each_value_is_part_of_a_case():
    assert {case.channels for case in CASES} == set(CHANNELS) and {case.filters for case in CASES} == set(FILTERS)
    assert {case.size for case in CASES} == set(WINDOWS) and {case.window.strides for case in CASES} == set(STRIDES)
    assert {case.window.padding for case in CASES} == set(PADDINGS) and {case.bias for case in CASES} == {True, False}
    assert {case.window.pool for case in CASES} == set(POOLS)
    assert {case.window.activation for case in CASES} == set(ACTIVATIONS)


@pytest.mark.parametrize("case", CASES, ids=map(str, range(len(CASES))))
def test_values_and_gradients_are_those_of_torch(case, threads):
    expect_equal(leaves_for(case), case.window)


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("size", [(9, 10), (10, 12), (11, 11)])
@pytest.mark.parametrize("pool", [0, 2, 3])
def test_rows_that_no_window_sees_get_no_gradient(stride, size, pool):
    """Behind the last step of the windows, and behind the last window of the pooling."""
    window = Window((stride, stride), "valid", (pool, pool), "relu")
    leaves = {
        "x": torch.randn(3, *size, 5).requires_grad_(),
        "kernel": torch.randn(2, 2, 5, 7).requires_grad_(),
        "bias": None,
    }
    expect_equal(leaves, window)


@pytest.mark.parametrize("padding", [((5, 6), (7, 5)), ((0, 9), (0, 9)), ((9, 0), (9, 0)), ((2, 0), (0, 2))])
@pytest.mark.parametrize("stride", [1, 2, 5])
@pytest.mark.parametrize("size", [(1, 1), (2, 3), (3, 3)])
def test_padding_may_be_wider_than_the_window(padding, stride, size):
    leaves = {
        "x": torch.randn(2, 6, 7, 3).requires_grad_(),
        "kernel": torch.randn(*size, 3, 5).requires_grad_(),
        "bias": torch.randn(5).requires_grad_(),
    }
    expect_equal(leaves, Window((stride, stride), padding, activation="tanh"))


@pytest.mark.parametrize("height", [1, 2, 3, 7, 16])
@pytest.mark.parametrize("pool", [(0, 0), (2, 3)])
def test_one_image_is_shared_out_among_threads_in_bands_of_rows(height, pool):
    leaves = {
        "x": torch.randn(1, height + 1, 12, 3).requires_grad_(),
        "kernel": torch.randn(3, 3, 3, 18).requires_grad_(),
        "bias": torch.randn(18).requires_grad_(),
    }
    before = torch.get_num_threads()
    try:
        for threads in (1, 2, 3, 5):
            torch.set_num_threads(threads)
            expect_equal(leaves, Window((1, 1), "same", pool, "sigmoid"))
    finally:
        torch.set_num_threads(before)


def test_an_image_larger_than_the_cache_is_met_in_bands():
    """Both ways of the kernel's gradient: windows laid out, and rows of windows one after another."""
    for channels, filters in ((3, 20), (16, 33)):
        leaves = {
            "x": torch.randn(1, 70, 130, channels).requires_grad_(),
            "kernel": (torch.randn(3, 3, channels, filters) / 5).requires_grad_(),
            "bias": torch.randn(filters).requires_grad_(),
        }
        expect_equal(leaves, Window((1, 1), "same", activation="relu"))


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("filters", [5, 16, 33])
def test_a_scale_and_a_residual_come_before_the_activation(activation, filters, threads):
    window = Window((2, 1), "same", activation=activation)
    x, kernel, bias = torch.randn(2, 9, 10, 6), torch.randn(3, 3, 6, filters) / 7, torch.randn(filters)
    scale, residual = torch.randn(filters), torch.randn(2, 5, 10, filters)
    with torch.no_grad():
        for shift, factor, added in itertools.product((None, bias), (None, scale), (None, residual)):
            found = convolution(x, kernel, shift, window, factor, added)
            expect_close(found, exact(x, kernel, shift, window, factor, added))


def test_a_scale_works_with_pooling():
    window = Window((1, 1), "same", (2, 2), "relu")
    x, kernel, scale = torch.randn(2, 9, 10, 6), torch.randn(3, 3, 6, 17) / 7, torch.randn(17)
    with torch.no_grad():
        expect_close(convolution(x, kernel, None, window, scale), exact(x, kernel, None, window, scale))


def test_a_scale_and_a_residual_may_have_any_layout_in_memory():
    window, x, kernel = Window((1, 1), "valid"), torch.randn(2, 5, 6, 4), torch.randn(1, 1, 4, 6)
    scale, residual = torch.randn(12)[::2], torch.randn(2, 6, 5, 6).permute(0, 2, 1, 3)
    with torch.no_grad():
        found = convolution(x, kernel, scale, window, scale, residual)
    expect_close(found, exact(x, kernel, scale, window, scale, residual))


def test_a_gradient_with_a_scale_or_a_residual_is_refused():
    x, kernel, window = torch.randn(2, 5, 6, 4), torch.randn(1, 1, 4, 6, requires_grad=True), Window((1, 1), "valid")
    for extra in ({"scale": torch.randn(6)}, {"residual": torch.randn(2, 5, 6, 6)}):
        with pytest.raises(NotImplementedError, match="no gradient with a scale or a residual"):
            convolution(x, kernel, None, window, **extra)


@pytest.mark.parametrize("activation", ["linear", "tanh"])
@pytest.mark.parametrize("pool", [(0, 0), (2, 2)])
@pytest.mark.parametrize("wanted", [("x",), ("kernel",), ("bias",), ("x", "kernel"), ("kernel", "bias"), ("x", "bias")])
def test_gradients_may_be_wanted_of_some_inputs_only(pool, activation, wanted):
    case = Case(3, 8, 9, 5, 17, (3, 3), Window((2, 1), "same", pool, activation), True)
    leaves = leaves_for(case)
    for name, leaf in leaves.items():
        assert leaf is not None
        leaf.requires_grad_(name in wanted)
    expect_equal(leaves, case.window)


def test_without_gradients_the_values_are_the_same():
    for case in CASES[:20]:
        leaves = leaves_for(case)
        wanted = convolution(**leaves, window=case.window)
        with torch.no_grad():
            found = convolution(**leaves, window=case.window)
        assert torch.equal(found, wanted) and wanted.requires_grad and not found.requires_grad


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 0, 1, 2), (3, 2, 0, 1), (2, 3, 1, 0)])
@pytest.mark.parametrize("size", [(1, 1), (3, 3), (2, 5)])
def test_the_gradient_of_the_kernel_lies_in_memory_as_the_kernel_does(order, size):
    kernel = in_memory_order(torch.randn(*size, 6, 17), order).requires_grad_()
    leaves = {"x": torch.randn(2, 8, 9, 6).requires_grad_(), "kernel": kernel, "bias": None}
    expect_equal(leaves, Window((1, 1), "same"))
    assert gradients(convolution(**leaves, window=Window((1, 1), "same")), leaves)["kernel"].stride() == kernel.stride()


def test_a_kernel_may_repeat_numbers_and_its_gradient_has_one_for_each():
    kernel = torch.randn(3, 3, 3, 1).expand(3, 3, 3, 5).detach().requires_grad_()
    leaves = {"x": torch.randn(2, 8, 9, 3).requires_grad_(), "kernel": kernel, "bias": None}
    expect_equal(leaves, Window((1, 1), "same", activation="tanh"))


def test_images_and_biases_may_have_any_layout_in_memory():
    x, bias = torch.randn(2, 3, 8, 9).permute(0, 2, 3, 1), torch.randn(10)[::2]
    for image in (x, torch.randn(2, 16, 9, 3)[:, ::2], torch.randn(1, 8, 9, 3).expand(2, -1, -1, -1)):
        assert not image.is_contiguous()
        leaves = {
            "x": image.detach().requires_grad_(),
            "kernel": torch.randn(3, 3, 3, 5).requires_grad_(),
            "bias": bias.detach().requires_grad_(),
        }
        expect_equal(leaves, Window((1, 1), "same", (2, 2), "tanh"))


def test_the_gradient_of_the_result_may_have_any_layout_in_memory():
    case = Case(2, 8, 9, 3, 5, (3, 3), Window((1, 1), "same"), True)
    leaves = leaves_for(case)
    upstream = torch.randn(2, 5, 8, 9).permute(0, 2, 3, 1)
    found = torch.autograd.grad(convolution(**leaves, window=case.window), list(leaves.values()), upstream)
    wanted = torch.autograd.grad(exact(**leaves, window=case.window), list(leaves.values()), upstream.double())
    for a, b in zip(found, wanted, strict=True):
        expect_close(a, b)


@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_a_nan_comes_out_where_torch_lets_it_out(activation, pool):
    window = Window((1, 1), "same", pool, activation)
    x, kernel, bias = torch.randn(2, 9, 12, 3), torch.randn(3, 3, 3, 17), torch.randn(17)
    x[0, 4, 5, 1] = torch.nan
    x[1, 0, 0, 0] = torch.nan
    found, wanted = convolution(x, kernel, bias, window), exact(x, kernel, bias, window)
    assert bool(wanted.isnan().any()) and bool(wanted.isfinite().any())
    torch.testing.assert_close(found.double(), wanted, rtol=1e-4, atol=1e-4, equal_nan=True)
    for spoilt in (kernel, bias):
        spoilt.view(-1)[-1] = torch.nan
        found, wanted = convolution(x, kernel, bias, window), exact(x, kernel, bias, window)
        torch.testing.assert_close(found.double(), wanted, rtol=1e-4, atol=1e-4, equal_nan=True)


@pytest.mark.parametrize("pool", POOLS[1:])
@pytest.mark.parametrize("activation", ["linear", "relu", "tanh"])
def test_of_equal_members_of_a_pooling_window_the_first_gets_the_gradient(activation, pool):
    window = Window((1, 1), "valid", pool, activation)
    x = torch.randint(0, 2, (2, 7, 12, 2)).float().requires_grad_()  # many ties
    leaves = {"x": x, "kernel": torch.ones(1, 1, 2, 18).requires_grad_(), "bias": None}
    expect_equal(leaves, window)
    flat = {**leaves, "x": torch.ones(1, 6, 6, 2).requires_grad_()}
    expect_equal(flat, window)
    found = gradients(convolution(**flat, window=window), flat)["x"]
    assert bool(found[:, :: pool[0], :: pool[1]].all())
    assert int(found.count_nonzero()) == found[:, :: pool[0], :: pool[1]].numel()


def test_a_pooling_window_may_have_up_to_256_members():
    for pool, fits in (((16, 16), True), ((2, 128), True), ((16, 17), False), ((3, 100), False)):
        window = Window((1, 1), "valid", pool)
        leaves = {
            "x": torch.randn(1, 2 * pool[0], pool[1], 1).requires_grad_(),
            "kernel": torch.ones(1, 1, 1, 2).requires_grad_(),
            "bias": None,
        }
        assert suits(**leaves, window=window) == fits
        if fits:
            expect_equal(leaves, window)


@pytest.mark.parametrize("activation", ["sigmoid", "tanh"])
def test_huge_sums_saturate_and_tiny_ones_keep_their_precision(activation):
    window = Window((1, 1), "valid", activation=activation)
    kernel = torch.tensor([1e-6, 1e-3, 1.0, 3.0, 30.0, 90.0, 1e4, 1e30]).view(1, 1, 1, 8)
    x = torch.tensor([-1.0, 1.0, 0.7, -0.3]).view(1, 2, 2, 1)
    found = convolution(x, kernel, None, window)
    torch.testing.assert_close(found.double(), exact(x, kernel, None, window), rtol=1e-5, atol=1e-13)


def test_gradients_do_not_depend_on_the_default_dtype():
    case = Case(2, 9, 8, 3, 17, (3, 3), Window((1, 1), "same", (2, 2), "tanh"), True)
    leaves = leaves_for(case)
    y = convolution(**leaves, window=case.window)
    wanted = torch.autograd.grad(y.sum(), list(leaves.values()))
    torch.set_default_dtype(torch.float64)
    try:
        y = convolution(**leaves, window=case.window)
        found = torch.autograd.grad(y.sum(), list(leaves.values()))
    finally:
        torch.set_default_dtype(torch.float32)
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b)


class TestSuits:
    x, kernel, window = torch.zeros(2, 8, 8, 3), torch.zeros(3, 3, 3, 4), Window((1, 1), "same")

    def test_it_takes_what_the_kernel_can_do(self):
        assert suits(self.x, self.kernel, torch.zeros(4), self.window)
        assert suits(self.x, self.kernel, None, Window((2, 3), "valid", (2, 2), "tanh"))

    def test_it_refuses_other_dtypes(self):
        assert not suits(self.x.double(), self.kernel.double(), None, self.window)
        assert not suits(self.x, self.kernel.double(), None, self.window)
        assert not suits(self.x, self.kernel, torch.zeros(4).double(), self.window)
        assert not suits(self.x.bfloat16(), self.kernel.bfloat16(), None, self.window)

    def test_it_refuses_other_ranks_and_channels_that_do_not_match(self):
        assert not suits(torch.zeros(2, 8, 8, 5), self.kernel, None, self.window)
        assert not suits(torch.zeros(2, 8, 3), self.kernel, None, self.window)
        assert not suits(self.x, torch.zeros(3, 3, 4), None, self.window)

    def test_it_refuses_kernels_too_large_for_the_cache(self):
        assert suits(torch.zeros(1, 9, 9, 64), torch.zeros(3, 3, 64, 64), None, self.window)
        assert not suits(torch.zeros(1, 9, 9, 128), torch.zeros(3, 3, 128, 128), None, self.window)
        most = 128 if intel() else 256  # MKL's products are as fast sooner
        assert suits(torch.zeros(1, 9, 9, most), torch.zeros(1, 1, most, most), None, self.window)
        assert not suits(torch.zeros(1, 9, 9, most), torch.zeros(1, 1, most, most + 1), None, self.window)

    def test_it_refuses_results_and_kernels_without_elements(self):
        assert not suits(torch.zeros(0, 8, 8, 3), self.kernel, None, self.window)
        assert not suits(torch.zeros(2, 2, 8, 3), self.kernel, None, Window((1, 1), "valid"))
        assert not suits(torch.zeros(2, 1, 8, 3), self.kernel, None, Window((1, 1), "valid"))
        assert not suits(self.x, self.kernel, None, Window((1, 1), "same", (9, 9)))
        assert not suits(self.x, torch.zeros(3, 3, 3, 0), None, self.window)
        assert not suits(torch.zeros(2, 8, 8, 0), torch.zeros(3, 3, 0, 4), None, self.window)

    def test_it_refuses_everything_where_kernels_are_switched_off(self):
        with native.switched_off():
            assert not suits(self.x, self.kernel, None, self.window)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("pool", [(0, 0), (2, 2), (3, 2)])
@pytest.mark.parametrize("strides, padding", [((1, 1), "same"), ((2, 1), "valid"), ((2, 2), "same")])
@pytest.mark.parametrize("bias", [True, False])
def test_a_gradient_penalty_has_the_gradients_of_torch(activation, pool, strides, padding, bias):
    """As in a WGAN: the norm of the gradient of the images is part of the loss."""
    case = Case(2, 9, 10, 3, 5, (3, 3), Window(strides, padding, pool, activation), bias)
    leaves = leaves_for(case)

    def penalty(y: Tensor) -> dict[str, Tensor]:
        (slope,) = torch.autograd.grad(y.sin().sum(), leaves["x"], create_graph=True)
        assert slope.requires_grad
        wanted = {name: leaf for name, leaf in leaves.items() if leaf is not None}
        total = (slope.square().sum((1, 2, 3)) - 1.0).square().mean()
        return dict(zip(wanted, torch.autograd.grad(total, list(wanted.values())), strict=True))

    found = penalty(convolution(**leaves, window=case.window))
    for name, gradient in penalty(exact(**leaves, window=case.window)).items():
        assert bool(gradient.any()), name
        expect_close(found[name], gradient)


def test_the_gradients_of_a_graph_are_those_of_the_kernel():
    """Those that are to be differentiated again go through torch's functions."""
    for case in CASES[::4]:
        leaves = leaves_for(case)
        y = convolution(**leaves, window=case.window)
        wanted, starts = torch.ones_like(y), [leaf for leaf in leaves.values() if leaf is not None]
        plain = torch.autograd.grad(y, starts, wanted, retain_graph=True)
        for a, b in zip(torch.autograd.grad(y, starts, wanted, create_graph=True), plain, strict=True):
            assert a.shape == b.shape and not b.requires_grad
            expect_close(a, b)


def test_the_reference_is_what_the_operator_gives():
    for case in CASES:
        leaves = {name: None if leaf is None else leaf.detach() for name, leaf in leaves_for(case).items()}
        image, kernel = (tuple(leaves[name].shape) for name in ("x", "kernel"))
        shape = images._shape(image, kernel, case.window)
        found = images.reference(**leaves, shape=shape, activation=NUMBERS[case.window.activation])
        expect_close(convolution(**leaves, window=case.window), found)
        expect_close(found, exact(**leaves, window=case.window))


class TestWidened:
    """Under autocast to bfloat16 windows of few numbers stay in single precision."""

    x, kernel, window = torch.randn(2, 9, 10, 3), torch.randn(3, 3, 3, 5), Window((1, 1), "same", (2, 2), "relu")

    def suits(self, x: Tensor, kernel: Tensor, bias: Tensor | None = None, **others: Any) -> bool:
        with torch.autocast("cpu", torch.bfloat16):
            return suits_widened(x, kernel, bias, self.window._replace(**others))

    def test_it_suits_few_numbers_a_window(self):
        assert self.suits(self.x, self.kernel) and self.suits(self.x.bfloat16(), self.kernel, torch.zeros(5))
        assert self.suits(torch.zeros(2, 9, 10, 16), torch.zeros(2, 2, 16, 5))  # 64
        assert not self.suits(torch.zeros(2, 9, 10, 13), torch.zeros(5, 1, 13, 5))  # 65

    def test_it_suits_nothing_outside_of_autocast_or_under_another(self):
        assert not suits_widened(self.x, self.kernel, None, self.window)
        assert not suits_widened(self.x.bfloat16(), self.kernel, None, self.window)
        with torch.autocast("cpu", torch.float16):
            assert not suits_widened(self.x, self.kernel, None, self.window)

    def test_it_refuses_what_the_operator_does(self):
        assert not self.suits(self.x.double(), self.kernel) and not self.suits(self.x.half(), self.kernel)
        assert not self.suits(self.x, self.kernel.bfloat16()) and not self.suits(self.x[..., :2], self.kernel)
        assert not self.suits(self.x, self.kernel, torch.zeros(5).double())
        assert not self.suits(self.x, self.kernel, pool=(16, 17)) and not self.suits(self.x[:0], self.kernel)
        with native.switched_off():
            assert not self.suits(self.x, self.kernel)

    @pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
    def test_its_values_and_gradients_are_those_of_single_precision_rounded(self, dtype, threads):
        leaves = {
            "x": self.x.to(dtype).requires_grad_(),
            "kernel": self.kernel.clone().requires_grad_(),
            "bias": torch.randn(5).requires_grad_(),
        }
        with torch.autocast("cpu", torch.bfloat16):
            found = widened(**leaves, window=self.window)
            assert torch.is_autocast_enabled("cpu")
        wanted = exact(**leaves, window=self.window)
        assert found.dtype is torch.bfloat16 and found.shape == wanted.shape
        torch.testing.assert_close(found.double(), wanted, rtol=2.0**-8, atol=1e-5)
        upstream = torch.randn(wanted.shape).bfloat16()
        of_found = torch.autograd.grad(found, list(leaves.values()), upstream)
        of_wanted = torch.autograd.grad(wanted, list(leaves.values()), upstream.double())
        for a, b, leaf in zip(of_found, of_wanted, leaves.values(), strict=True):
            assert a.dtype is b.dtype is leaf.dtype
            rtol = 1e-4 if leaf.dtype is torch.float32 else 2.0**-7
            torch.testing.assert_close(a, b, rtol=rtol, atol=2e-5 * max(1.0, b.abs().max().item()))


@pytest.mark.parametrize("wanted", [True, False])
@pytest.mark.parametrize("pool", [0, 2])
def test_the_operator_keeps_torchs_rules(wanted, pool):
    x, kernel, bias = torch.randn(2, 8, 9, 3), torch.randn(3, 3, 3, 4), torch.randn(4)
    given = [t.requires_grad_(wanted) for t in (x, kernel, bias)]
    # Images, window, filters, strides, zeros before each axis, the size of the result before pooling, pooling.
    shape = [2, 8, 9, 3, 3, 3, 4, 1, 1, 1, 1, 8, 9, pool, pool]
    # The gradient is no operator.
    checks = ["test_schema", "test_autograd_registration", "test_faketensor"]
    checks += [] if wanted else ["test_aot_dispatch_dynamic"]
    arguments = (*given, None, None, shape, 1, wanted)
    found = torch.library.opcheck(torch.ops.lamina.convolution.default, arguments, test_utils=checks)
    assert set(found.values()) == {"SUCCESS"}


def test_pooling_adds_no_residual():
    x, kernel = torch.zeros(1, 8, 8, 3), torch.zeros(3, 3, 3, 4)
    window = Window((1, 1), "valid", (2, 2), "linear")
    with pytest.raises(NotImplementedError, match="adds no residual"):
        convolution(x, kernel, None, window, residual=torch.zeros(1, 3, 3, 4))
