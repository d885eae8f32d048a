"""What the tests of kernels in C++ share: they are left out without a compiler, and run with one and two threads."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from lamina.kernels import native


def needed(name: str) -> None:
    """Leave the test out where the compiled source `name` cannot be had."""
    if native.library(name) is None:
        pytest.skip(f"no kernel {name}: {native.reason(name)}")


@pytest.fixture
def recurrence() -> None:
    needed("recurrence")


@pytest.fixture
def convolution() -> None:
    needed("convolution")


@pytest.fixture
def normalization() -> None:
    needed("normalization")


@pytest.fixture
def product() -> None:
    needed("product")


@pytest.fixture
def classification() -> None:
    needed("classification")


@pytest.fixture(params=[1, 2], ids=["one thread", "two threads"])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    """How many threads kernels may use; afterwards as many as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)
