"""`TorchModule`: any `torch.nn.Module` as a layer, also when it is simply called on a symbolic tensor."""

from __future__ import annotations

from typing import Any

import torch

from lamina import config
from lamina.engine import nest, watching
from lamina.engine.abstract import Shape
from lamina.engine.layer import Layer, new_name
from lamina.engine.symbolic import any_symbolic
from lamina.errors import ArgumentError
from lamina.registry import LAYERS


@LAYERS.register()
class TorchModule(Layer):
    """A layer around a torch module, which keeps its own layout, names and mode switches.

    Args:
        module: the module; its Parameters are the layer's weights.
        name: by default the module's class name in snake case, numbered.
        **kwargs: what every layer takes.

    Input shape:
        What the module takes; torch's image layers want channels first.

    Output shape:
        What the module gives.

    Raises:
        ArgumentError: `module` is no torch module.

    Example:
        >>> layer = TorchModule(torch.nn.Linear(4, 2))
        >>> layer(torch.ones(3, 4)).shape, layer.count_params()
        (torch.Size([3, 2]), 10)
    """

    def __init__(self, module: torch.nn.Module, name: str | None = None, **kwargs: Any) -> None:
        if not isinstance(module, torch.nn.Module):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ArgumentError(
                "TorchModule wraps a torch.nn.Module.",
                expected="a module, such as torch.nn.Linear(4, 2)",
                received=f"{module!r} of type {type(module).__name__}",
                fix="pass an object, not its class" if isinstance(module, type) else "use Lambda for a function",
            )
        super().__init__(name=name or new_name(type(module)), **kwargs)
        self.module = module

    def build(self, input_shape: Any) -> None:
        """Move the module to the device of new weights, and let a lazy one make its weights: all others are there."""
        device = config.device() if self._weight_device is None else self._weight_device
        if device.type != "cpu" and all(p.device.type == "cpu" for p in self.module.parameters()):
            self.module.to(device)
        if any(isinstance(p, torch.nn.parameter.UninitializedParameter) for p in self.module.parameters()):
            with torch.no_grad():
                self.module(nest.map_shapes(lambda shape: torch.zeros(_some_sizes(shape), device=device), input_shape))

    def _settle_input_dtype(self) -> None:
        """The module's weights say which float dtype an input must have."""
        own = next((p.dtype for p in self.module.parameters() if p.is_floating_point()), None)
        self.__dict__["_input_dtype"] = own if self.autocast and self._mixed is None else None

    def call(self, *args: Any, **kwargs: Any) -> Any:
        """What the module computes."""
        return self.module(*args, **kwargs)


def _some_sizes(shape: Shape) -> list[int]:
    """`shape` with any number in place of the unknown ones, which do not matter to a lazy module."""
    return [size if size is not None else (64 if axis else 1) for axis, size in enumerate(shape)]


def _call_or_record(self: torch.nn.Module, *args: Any, **kwargs: Any) -> Any:
    if not isinstance(self, Layer) and (any_symbolic(args) or any_symbolic(kwargs.values())):
        return as_layer(self)(*args, **kwargs)
    return watching.plain_call(self, *args, **kwargs)


watching.recording_call = _call_or_record


def as_layer(module: torch.nn.Module, keep_mode: bool = False) -> Layer:
    """The layer that stands for `module`: itself, or the one `TorchModule` that was made for it.

    Args:
        module: a layer or any other torch module.
        keep_mode: whether `module` stays in its mode; otherwise it is in inference mode now, as a fresh layer.
    """
    if isinstance(module, Layer):
        return module
    layer = module.__dict__.get("_lamina_layer")
    if layer is None:
        modes = {part: part.training for part in module.modules()}
        layer = TorchModule(module)
        if keep_mode:
            layer.__dict__["training"] = module.training
            for part, training in modes.items():
                part.training = training
        module.__dict__["_lamina_layer"] = layer
    return layer
