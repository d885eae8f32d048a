"""`TorchModule`: any `torch.nn.Module` as a layer, also when it is simply called on a symbolic tensor."""

from __future__ import annotations

import copy
import inspect
from typing import Any, cast

import torch

from lamina import config
from lamina.custom_objects import find_custom, registered_name
from lamina.engine import nest, watching
from lamina.engine.abstract import Shape
from lamina.engine.layer import Layer, new_name
from lamina.engine.symbolic import any_symbolic
from lamina.errors import ArgumentError, LoadError
from lamina.registry import LAYERS
from lamina.serialized import describes_in_full


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

    def get_config(self) -> dict[str, Any]:
        """The arguments; for a file the module is the path of its class, and what made it as far as that shows."""
        config = super().get_config()
        if describes_in_full():
            cls = type(self.module)
            path = registered_name(cls) or f"{cls.__module__}.{cls.__qualname__}"
            config["module"] = {"class_name": path, "config": _arguments_of(self.module)}
        return config

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        """A layer around a new module; the class of one that a file describes must be passed to whoever loads.

        Args:
            config: what `get_config` gave.

        Raises:
            LoadError: the class is not among the custom objects, or cannot be made.
        """
        module = config.get("module")
        if isinstance(module, dict):
            module = _module_from(cast("dict[str, Any]", module))
        return super().from_config({**config, "module": module})


def _arguments_of(module: torch.nn.Module) -> dict[str, Any] | None:
    """What made a module, read off the attributes of the arguments' names; `None` where one does not show."""
    found: dict[str, Any] = {}
    for name, parameter in inspect.signature(type(module).__init__).parameters.items():
        if name in ("self", "device", "dtype") or parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        value: Any = getattr(module, name, inspect.Parameter.empty)
        if isinstance(parameter.default, bool) and (value is None or isinstance(value, torch.Tensor)):
            found[name] = value is not None  # `bias`, which becomes a weight or nothing
        elif _is_plain(value):
            found[name] = _swapped(value, tuple, list)
        elif parameter.default is parameter.empty:
            return None
    return found


def _swapped(value: Any, kind: type, into: type) -> Any:
    """A list as a tuple, or the other way round; anything else as it is."""
    return into(value) if isinstance(value, kind) else value


def _is_plain(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return all(map(_is_plain, value))  # pyright: ignore[reportUnknownArgumentType]
    return value is None or type(value) in (bool, int, float, str)


def _module_from(data: dict[str, Any]) -> torch.nn.Module:
    """The module that a file describes, of a class or function among the custom objects; nothing is imported."""
    path, arguments = data.get("class_name"), data.get("config")
    known = find_custom(path, path.rpartition(".")[2] if isinstance(path, str) else None)
    if known is None:
        raise LoadError(
            f"The file holds a torch module of class {path!r}, which is never imported because a file says so.",
            expected="the class among the custom objects",
            received=repr(path),
            fix=f"pass custom_objects={{{path!r}: TheClass}}, or a function without arguments that makes the module",
        )
    if isinstance(known, torch.nn.Module):
        return copy.deepcopy(known)
    given: dict[str, Any] = {}
    if isinstance(known, type) and isinstance(arguments, dict):
        given = {k: _swapped(v, list, tuple) for k, v in cast("dict[str, Any]", arguments).items()}
    try:
        made: Any = known(**given)
    except Exception as error:
        raise LoadError(
            f"The torch module {path!r} cannot be made from what the file says: {error}",
            received=repr(given)[:200],
            fix=f"pass a function without arguments that makes it: custom_objects={{{path!r}: lambda: Net(3)}}",
        ) from error
    return made


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
