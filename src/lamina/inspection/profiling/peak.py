"""How many floating-point operations a second a device reaches at best."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from lamina.inspection.profiling.clocks import clock_for

_SIZE = {"cpu": 1024}
_OTHER_SIZE = 8192  # of devices with a memory of their own, which small products leave idle
_TURNS = 10
_found: dict[Any, float] = {}


def machine_peak(device: torch.device | str, dtype: torch.dtype = torch.float32) -> float:
    """What the device reaches in a large product of matrices, in GFLOP/s: measured once, then known.

    Args:
        device: such as `"cpu"`.
        dtype: a floating type, in which it multiplies.

    Returns:
        The best of several products; 0 where the device has none in this dtype.

    Example:
        >>> machine_peak("cpu") > 0
        True
    """
    device = torch.device(device)
    key = (str(device), dtype, torch.get_num_threads(), torch.get_float32_matmul_precision())
    if key not in _found:
        try:
            _found[key] = _measured(device, dtype)
        except (RuntimeError, NotImplementedError):  # no such product here
            _found[key] = 0.0
    return _found[key]


def _measured(device: torch.device, dtype: torch.dtype) -> float:
    size = _SIZE.get(device.type, _OTHER_SIZE)
    generator = torch.Generator(device).manual_seed(0)
    a, b = (torch.randn(size, size, generator=generator, device=device).to(dtype) for _ in range(2))
    clock, best = clock_for(device), float("inf")
    with torch.no_grad():
        for product in _products(a, b):
            product()
            for _ in range(_TURNS):
                clock.settle()
                began = clock.stamp()
                product()
                ended = clock.stamp()
                clock.settle()
                best = min(best, clock.seconds(began, ended))
    return 2 * size**3 / best / 1e9


def _products(a: torch.Tensor, b: torch.Tensor) -> list[Callable[[], Any]]:
    """The ways that this torch has to multiply; which one is fastest depends on the maker of the processor."""
    found: list[Callable[[], Any]] = [lambda: torch.mm(a, b)]
    direct: Any = getattr(torch.ops.mkldnn, "_linear_pointwise", None)
    if a.device.type == "cpu" and direct is not None:
        try:
            direct(a, b, None, "none", [], "")
        except RuntimeError:  # built without oneDNN, or it has no kernel for this dtype
            return found
        found.append(lambda: direct(a, b, None, "none", [], ""))
    return found
