"""When lamina's own kernels compute, and when torch's functions do."""

from __future__ import annotations

import builtins
import io
import platform
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from lamina.kernels import native as kernels
from lamina.kernels.select import has_linear_pointwise, intel, native, plain_float32

pytestmark = pytest.mark.usefixtures("convolution")


def test_single_precision_on_a_cpu_goes_to_lamina():
    assert native("convolution", torch.zeros(1), None, torch.zeros(2))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16, torch.int64])
def test_one_tensor_of_another_dtype_is_enough_to_go_to_torch(dtype):
    assert not native("convolution", torch.zeros(1, dtype=dtype))
    assert not native("convolution", torch.zeros(1), None, torch.zeros(1, dtype=dtype))


def test_tensors_of_another_device_go_to_torch():
    assert not native("convolution", torch.zeros(1, device="meta"))


def test_a_source_that_does_not_exist_is_never_chosen():
    assert not native("nonsense", torch.zeros(1))


def test_nothing_is_chosen_where_kernels_are_switched_off():
    with kernels.switched_off():
        assert not native("convolution", torch.zeros(1))
    assert native("convolution", torch.zeros(1))


def test_autocast_goes_to_torch():
    with torch.autocast("cpu", torch.bfloat16):
        assert not native("convolution", torch.zeros(1))
    assert native("convolution", torch.zeros(1))


def test_transforms_of_functions_go_to_torch():
    seen = []

    def function(x: Tensor) -> Tensor:
        seen.append(native("convolution", x))
        return x.sum()

    torch.vmap(function)(torch.zeros(2, 3))
    torch.func.grad(function)(torch.zeros(3))
    assert seen == [False, False]


def test_compiled_code_goes_to_torch():
    def function(x: Tensor) -> Tensor:
        return x + 1.0 if native("convolution", x) else x - 1.0

    torch._dynamo.reset()
    compiled = torch.compile(function, fullgraph=True, backend="eager")
    assert compiled(torch.zeros(1)).item() == -1.0
    assert function(torch.zeros(1)).item() == 1.0


class TestPlainFloat32:
    def test_it_wants_every_tensor_to_be_of_single_precision_and_on_a_cpu(self):
        x = torch.zeros(1)
        assert plain_float32(x) and plain_float32(None, x, None) and plain_float32() and plain_float32(None)
        for other in (x.double(), x.bfloat16(), x.long(), x.to("meta")):
            assert not plain_float32(other) and not plain_float32(x, None, other)

    def test_it_asks_for_no_compiled_kernel(self):
        with kernels.switched_off():
            assert plain_float32(torch.zeros(1))

    def test_autocast_and_transforms_are_not_plain(self):
        with torch.autocast("cpu", torch.bfloat16):
            assert not plain_float32(torch.zeros(1))
        seen = []
        torch.vmap(lambda x: seen.append(plain_float32(x)) or x)(torch.zeros(2, 3))
        assert seen == [False]

    def test_compiled_code_is_not_plain(self):
        torch._dynamo.reset()
        compiled = torch.compile(lambda x: x + 1.0 if plain_float32(x) else x - 1.0, fullgraph=True, backend="eager")
        assert compiled(torch.zeros(1)).item() == -1.0


@pytest.fixture
def asked_again() -> Iterator[None]:
    """What was found out about the processor is forgotten, before and afterwards."""
    for function in (intel, has_linear_pointwise):
        function.cache_clear()
    yield
    for function in (intel, has_linear_pointwise):
        function.cache_clear()


@pytest.mark.usefixtures("asked_again")
class TestIntel:
    @pytest.mark.parametrize(
        "text, found",
        [
            ("processor\t: 0\nvendor_id\t: GenuineIntel\nmodel name\t: Xeon\n", True),
            ("processor\t: 0\nvendor_id\t: AuthenticAMD\nmodel name\t: EPYC\n", False),
            ("processor\t: 0\nmodel name\t: like GenuineIntel\n", False),
            ("", False),
        ],
    )
    @pytest.mark.parametrize("mkl", [True, False])
    def test_the_vendor_is_what_the_system_says_and_torch_must_have_mkl(self, text, found, mkl, monkeypatch):
        paths = []

        def opened(path: str, *_: Any, **__: Any) -> io.StringIO:
            paths.append(path)
            return io.StringIO(text)

        monkeypatch.setattr(builtins, "open", opened)
        monkeypatch.setattr(torch.backends.mkl, "is_available", lambda: mkl)
        assert intel() == (found and mkl) == intel()
        assert paths == ["/proc/cpuinfo"]  # once

    @pytest.mark.parametrize("name, found", [("Intel64 Family 6, GenuineIntel", True), ("AMD64, AuthenticAMD", False)])
    def test_where_the_system_has_no_such_file_python_is_asked(self, name, found, monkeypatch):
        def missing(path: str, *_: Any, **__: Any) -> None:
            raise FileNotFoundError(path)

        monkeypatch.setattr(builtins, "open", missing)
        monkeypatch.setattr(platform, "processor", lambda: name)
        monkeypatch.setattr(torch.backends.mkl, "is_available", lambda: True)
        assert intel() == found


@pytest.mark.usefixtures("asked_again")
class TestHasLinearPointwise:
    def answer(self, monkeypatch: pytest.MonkeyPatch, function: Any) -> bool:
        """What is found if torch's operator does what `function` does; where that is `None`, there is none."""
        space = SimpleNamespace() if function is None else SimpleNamespace(default=function)
        monkeypatch.setattr(torch.ops, "mkldnn", SimpleNamespace(_linear_pointwise=space), raising=False)
        return has_linear_pointwise()

    def test_a_product_with_a_bias_and_an_activation_is_wanted(self, monkeypatch):
        def right(x: Tensor, weight: Tensor, bias: Tensor, activation: str, *_: Any) -> Tensor:
            return getattr(torch, activation)(torch.nn.functional.linear(x, weight, bias))

        assert self.answer(monkeypatch, right)

    def test_one_that_is_missing_or_gives_something_else_is_not_used(self, monkeypatch):
        def fails(*_: Any) -> Tensor:
            raise RuntimeError("no such kernel")

        def wrong(x: Tensor, weight: Tensor, *_: Any) -> Tensor:
            return x @ weight.t()

        for function in (None, fails, wrong):
            has_linear_pointwise.cache_clear()
            assert not self.answer(monkeypatch, function)

    def test_the_answer_is_that_of_torch_here(self):
        try:
            given = (torch.ones(2, 2), torch.ones(3, 2), -3.0 * torch.ones(3), "relu", [], "")
            works = torch.ops.mkldnn._linear_pointwise(*given).tolist() == [[0.0] * 3] * 2
        except (AttributeError, RuntimeError):
            works = False
        assert has_linear_pointwise() == works
