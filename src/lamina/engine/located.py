"""Errors that leave a layer: the layer's name goes on their path, and torch's own messages get a translation."""

from __future__ import annotations

from typing import Any

import torch

from lamina.engine import nest
from lamina.engine.spec import check_inputs
from lamina.errors import LaminaError, ShapeError


def located(error: Exception, layer: Any, args: tuple[Any, ...]) -> Exception:
    """The error to raise in place of `error`, which came out of a call of `layer`.

    Args:
        error: what was caught. One of lamina's gets the layer's name in front of its path. Of any other, a torch
            error that is explained by the shape of the input becomes a `ShapeError`; the rest stay what they are,
            with a note that names the layer.
        layer: the layer that was called.
        args: its positional arguments.
    """
    if isinstance(error, LaminaError):
        error.path.insert(0, layer.name)
        return error
    shapes = [tuple(t.shape) for t in nest.flatten(args) if isinstance(t, torch.Tensor)]
    if getattr(layer, "input_spec", None) is not None and args:
        try:
            check_inputs(layer.input_spec, nest.map_nest(lambda t: tuple(t.shape), args[0]), type(layer).__name__)
        except ShapeError as found:
            found.path.insert(0, layer.name)
            found.__cause__ = error
            return found
        except (AttributeError, TypeError, ValueError):  # the input has no shape to speak of
            pass
    note = f"In layer {layer.name!r} ({type(layer).__name__})"
    note += f", called on {', '.join(map(str, shapes))}." if shapes else "."
    if hasattr(error, "add_note"):
        error.add_note(note)  # type: ignore[attr-defined]
    elif error.args and isinstance(error.args[0], str):
        error.args = (f"{error.args[0]}\n{note}", *error.args[1:])
    return error
