"""What stands for a tensor, and for the mode, while a torch module is being built."""

from __future__ import annotations

from typing import Any

import torch
from torch import fx

from lamina.engine.abstract import Spec
from lamina.engine.masking import ATTRIBUTE as MASK
from lamina.errors import ExportError


class Symbol(fx.Proxy):
    """A tensor of the module that is being built: torch functions and operators on it become nodes of a `torch.fx`
    graph.

    Where its shape and dtype are known it answers questions about them at once, so that code may ask.
    """

    tracer: Any  # the `Builder`

    @property
    def spec(self) -> Spec | None:
        """Shape and dtype, if they are known."""
        found = self.tracer.specs.get(self.node)
        return found if isinstance(found, Spec) else None

    @property
    def shape(self) -> Any:
        """Numbers where they are known, else what gives the size at run time."""
        spec = self.spec
        if spec is None:
            return fx.Proxy.__getattr__(self, "shape")
        return tuple(self.tracer.size(self, axis) if size is None else size for axis, size in enumerate(spec.shape))

    def size(self, dim: int | None = None) -> Any:
        """The shape, or one size of it."""
        if self.spec is None:
            return self.tracer.create_proxy("call_method", "size", (self,) if dim is None else (self, dim), {})
        return self.shape if dim is None else self.shape[dim]

    @property
    def ndim(self) -> Any:
        """The number of axes."""
        spec = self.spec
        return fx.Proxy.__getattr__(self, "ndim") if spec is None else len(spec.shape)

    def dim(self) -> Any:
        """The number of axes."""
        return self.ndim

    @property
    def dtype(self) -> Any:
        """The dtype."""
        spec = self.spec
        return fx.Proxy.__getattr__(self, "dtype") if spec is None else spec.dtype

    def is_floating_point(self) -> Any:
        """Whether it holds floats."""
        if self.spec is None:
            return self.tracer.create_proxy("call_method", "is_floating_point", (self,), {})
        return self.spec.dtype.is_floating_point

    @property
    def device(self) -> torch.device:
        """Where the model's weights are."""
        return self.tracer.device

    # Nothing is computed yet: kernels of lamina's own that take tensors of a CPU are not for it, nor is a gradient.
    is_cpu = False
    requires_grad = False

    def __getattr__(self, name: str) -> Any:
        if name == MASK:
            return self.tracer.masks.get(self.node)
        if name.startswith("_"):
            raise AttributeError(name)
        return fx.Proxy.__getattr__(self, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name == MASK:
            self.tracer.masks[self.node] = value
        else:
            super().__setattr__(name, value)

    def __len__(self) -> int:
        spec = self.spec
        size = spec.shape[0] if spec is not None and spec.shape else None
        return fx.Proxy.__len__(self) if size is None else size

    def __hash__(self) -> int:
        return id(self)


class Mode:
    """The mode of a module that may both train and not: code may hand it on, but not decide by it."""

    def __bool__(self) -> bool:
        raise ExportError(
            "call() decides by `training` what to compute, and a torch module made of it would keep to one way.",
            expected="call() that hands `training` on to layers such as Dropout and BatchNormalization",
            received="a decision by training",
            fix="use such layers, or pass inference=True for a module that is never trained",
        )
