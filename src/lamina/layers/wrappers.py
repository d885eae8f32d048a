"""Layers around another layer: Wrapper, TimeDistributed."""

from __future__ import annotations

from typing import Any

import torch

from lamina.activations.logits import carried
from lamina.engine import nest
from lamina.engine.layer import Layer
from lamina.engine.spec import InputSpec
from lamina.engine.torch_module import as_layer
from lamina.errors import ArgumentError
from lamina.layers.inner import build_inner
from lamina.registry import LAYERS


@LAYERS.register()
class Wrapper(Layer):
    """The base of layers that change what another layer does; a subclass writes `call`.

    Args:
        layer: the layer inside; a torch module is taken too.
        **kwargs: what every layer takes.

    Raises:
        ArgumentError: `layer` is none.

    Example:
        >>> from lamina.layers.core import Dense
        >>> class Twice(Wrapper):
        ...     def call(self, x):
        ...         return self.layer(self.layer(x))
        >>> Twice(Dense(3))(torch.ones(2, 3)).shape
        torch.Size([2, 3])
    """

    def __init__(self, layer: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.layer = checked_inner(layer, type(self).__name__)

    def build(self, input_shape: Any = None) -> None:
        """Build the layer inside for the same shape."""
        build_inner(self, self.layer, input_shape)


def checked_inner(layer: Any, owner: str, argument: str = "layer") -> Layer:
    """`layer`, or the layer that stands for it if it is a torch module.

    Args:
        layer: what was passed.
        owner: the class that takes it, for the message.
        argument: the argument's name, for the message.

    Raises:
        ArgumentError: it is neither.
    """
    if not isinstance(layer, torch.nn.Module):
        raise ArgumentError(
            f"{owner} goes around a layer.",
            expected=f"{argument}= a layer or a torch module",
            received=repr(layer),
            fix="make an object of the class first" if isinstance(layer, type) else f"{owner}(Dense(8))",
        )
    return as_layer(layer)


@LAYERS.register()
class TimeDistributed(Wrapper):
    """A layer applied to every step of a sequence.

    Steps are laid into the batch, so that the layer inside is called once, whatever the number of steps; batch
    normalization in it therefore takes its statistics over batch and steps together.

    Args:
        layer: what to apply; a torch module is taken too.
        **kwargs: what every layer takes.

    Input shape:
        `(batch, steps, ...)`. A layer inside that takes a mask gets that of `(batch, steps)`, one mark a step.

    Output shape:
        `(batch, steps, ...)`, as the layer inside changes what stands behind.

    Raises:
        ArgumentError: `layer` is none.
        ShapeError: the input has fewer than three axes.

    Example:
        >>> from lamina.layers.core import Dense
        >>> TimeDistributed(Dense(8))(torch.ones(2, 5, 3)).shape
        torch.Size([2, 5, 8])
    """

    supports_masking = True

    def __init__(self, layer: Any, **kwargs: Any) -> None:
        super().__init__(layer, **kwargs)
        self.input_spec = InputSpec(min_ndim=3)

    def build(self, input_shape: Any = None) -> None:
        """Build the layer inside for the shape of a step."""
        super().build((input_shape[0], *input_shape[2:]))

    def call(self, inputs: torch.Tensor, mask: Any = None) -> Any:
        """Every step at once."""
        batch_and_steps = inputs.shape[:2]
        marks = {} if mask is None else {"mask": mask.flatten(0, 1)}
        outputs = self.layer(inputs.flatten(0, 1), **marks)

        def apart(y: torch.Tensor) -> torch.Tensor:
            return y.unflatten(0, batch_and_steps)

        return nest.map_nest(lambda y: carried(y, apart(y), apart), outputs)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The inner layer's shape with the steps behind the batch."""
        batch, steps, *rest = input_shape
        inner = self.layer.compute_output_shape((batch, *rest))
        return nest.map_shapes(lambda shape: (shape[0], steps, *shape[1:]), inner)
