"""`Bidirectional`: a recurrent layer in both directions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from lamina.engine import nest
from lamina.engine.configs import plain
from lamina.engine.layer import Layer
from lamina.errors import ArgumentError
from lamina.layers.inner import build_inner, copy_of
from lamina.layers.wrappers import checked_inner
from lamina.registry import LAYERS

_MERGES = {
    "concat": lambda y, reverse: torch.cat([y, reverse], -1),
    "sum": torch.add,
    "mul": torch.mul,
    "ave": lambda y, reverse: (y + reverse) / 2,
    None: lambda y, reverse: (y, reverse),
}
_COMMON = ("return_sequences", "return_state", "stateful")


@LAYERS.register()
class Bidirectional(Layer):
    """A recurrent layer run forwards, one like it run backwards, and their outputs merged.

    Args:
        layer: the recurrent layer; a copy of it without weights is used, and another one with `go_backwards=True`.
        merge_mode: `"concat"`, `"sum"`, `"mul"` or `"ave"`; `None` returns the two outputs.
        weights: initial values of the weights, the forward layer's first.
        backward_layer: the layer for the way back, when it is not to be a copy; it runs the other way round and
            returns the same.
        **kwargs: what every layer takes.

    Input shape:
        `(batch, steps, inputs)`; `initial_state=` takes the forward layer's states and then the backward layer's,
        `mask=` booleans `(batch, steps)`.

    Output shape:
        The layer's, its last axis twice as long with `"concat"`; the steps of both directions stand in the order of
        the input. With `return_state` a tuple of that and all states, the forward layer's first.

    Raises:
        ArgumentError: `layer` is not recurrent, `merge_mode` is unknown, or the two layers do not go together.

    Example:
        >>> from lamina.layers.recurrent import LSTM
        >>> Bidirectional(LSTM(4, return_sequences=True))(torch.ones(2, 5, 3)).shape
        torch.Size([2, 5, 8])

    Reference:
        Schuster and Paliwal (1997), Bidirectional recurrent neural networks, https://doi.org/10.1109/78.650093
    """

    supports_masking = True
    _initial_weights: Sequence[Any] | None

    def __init__(
        self,
        layer: Any,
        merge_mode: str | None = "concat",
        weights: Sequence[Any] | None = None,
        backward_layer: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        _check_recurrent(layer, "layer")
        if merge_mode not in _MERGES:
            raise ArgumentError(
                "Bidirectional cannot merge like this.",
                expected="merge_mode='concat', 'sum', 'mul', 'ave' or None",
                received=f"merge_mode={merge_mode!r}",
                fix="leave it out for 'concat'",
            )
        self.merge_mode = merge_mode
        self.forward_layer = copy_of(layer, name="forward_" + layer.name.removeprefix("forward_"))
        if backward_layer is None:
            name = "backward_" + layer.name.removeprefix("backward_")
            backward_layer = copy_of(layer, name=name, go_backwards=True)
        _check_recurrent(backward_layer, "backward_layer")
        _check_pair(self.forward_layer, backward_layer)
        self.backward_layer = backward_layer
        for one in (self.forward_layer, self.backward_layer):
            if hasattr(layer, "use_cudnn"):
                one.use_cudnn = layer.use_cudnn
            if hasattr(one, "zero_output_for_mask"):  # a masked step adds nothing to either direction
                one.zero_output_for_mask = one.return_sequences
        self.return_sequences = layer.return_sequences
        self.return_state = layer.return_state
        self.stateful = layer.stateful
        self.input_spec = layer.input_spec
        self.__dict__["_initial_weights"] = weights

    def build(self, input_shape: Any) -> None:
        """Build both layers, and give them the initial weights."""
        for layer in (self.forward_layer, self.backward_layer):
            build_inner(self, layer, input_shape)
        if self._initial_weights is not None:
            self.set_weights(self._initial_weights)

    def call(self, sequences: torch.Tensor, initial_state: Any = None, mask: Any = None) -> Any:
        """Both directions, merged."""
        given: list[dict[str, Any]] = [{}, {}]
        if initial_state is not None:
            half = len(initial_state) // 2
            given = [{"initial_state": initial_state[:half]}, {"initial_state": initial_state[half:]}]
        if mask is not None:
            given = [{**arguments, "mask": mask} for arguments in given]
        y = self.forward_layer(sequences, **given[0])
        reverse = self.backward_layer(sequences, **given[1])
        states: tuple[Any, ...] = ()
        if self.return_state:
            states = (*y[1:], *reverse[1:])
            y, reverse = y[0], reverse[0]
        if self.return_sequences:
            reverse = reverse.flip(1)
        outputs = _MERGES[self.merge_mode](y, reverse)
        if not self.return_state:
            return outputs
        return (*outputs, *states) if self.merge_mode is None else (outputs, *states)

    def compute_output_shape(self, input_shape: Any, initial_state_shape: Any = None) -> Any:
        """The merged shape, or the two, and those of the states behind with `return_state`."""
        shape = self.forward_layer.compute_output_shape(input_shape)
        states: tuple[Any, ...] = ()
        if self.return_state:
            states = (*shape[1:], *shape[1:])
            shape = shape[0]
        if self.merge_mode is None:
            return shape, shape, *states
        if self.merge_mode == "concat":
            shape = (*shape[:-1], 2 * shape[-1])
        return (shape, *states) if self.return_state else shape

    def compute_output_spec(self, *args: Any, **kwargs: Any) -> Any:
        """Shapes and dtypes in the form of the result: a tuple for several tensors."""
        specs = super().compute_output_spec(*args, **kwargs)
        return tuple(specs) if isinstance(specs, list) else specs

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        """The mask of the steps for each output that still has them; the states have none."""
        masks = nest.flatten(previous_mask)
        output_mask = masks[0] if self.return_sequences and masks else None
        outputs = [output_mask] * (2 if self.merge_mode is None else 1)
        states = 2 * len(self.forward_layer.state_size) if self.return_state else 0
        return output_mask if len(outputs) + states == 1 else outputs + [None] * states

    @property
    def states(self) -> list[Any] | None:
        """What stateful layers will begin with, the forward layer's first; `None` as long as there is nothing."""
        forward, backward = self.forward_layer.states, self.backward_layer.states
        return [*forward, *backward] if forward and backward else None

    def reset_state(self) -> None:
        """Let the next batch of stateful layers begin with zeros."""
        self.forward_layer.reset_state()
        self.backward_layer.reset_state()

    def reset_states(self) -> None:
        """The same as `reset_state`."""
        self.reset_state()

    def get_config(self) -> dict[str, Any]:
        """The arguments, with both layers as they are used."""
        config = super().get_config()
        config.pop("weights", None)
        return {**config, "layer": plain(self.forward_layer), "backward_layer": plain(self.backward_layer)}


def _check_recurrent(layer: Any, argument: str) -> None:
    """Raise the error for a layer that does not say what a recurrent one says."""
    checked_inner(layer, "Bidirectional", argument)
    missing = [name for name in ("go_backwards", *_COMMON) if not hasattr(layer, name)]
    if missing:
        raise ArgumentError(
            "Bidirectional goes around a recurrent layer.",
            expected=f"{argument}= a layer with go_backwards, return_sequences, return_state and stateful",
            received=f"a {type(layer).__name__} without {', '.join(missing)}",
            fix="Bidirectional(LSTM(32))",
        )


def _check_pair(forward: Any, backward: Any) -> None:
    """Raise the error for two layers that cannot be merged."""
    if forward.go_backwards == backward.go_backwards:
        raise ArgumentError(
            "The two layers of Bidirectional run the same way.",
            expected="go_backwards=True in one of them",
            received=f"go_backwards={forward.go_backwards} in both",
            fix=f"pass go_backwards={not forward.go_backwards} to backward_layer",
        )
    for name in _COMMON:
        if getattr(forward, name) != getattr(backward, name):
            raise ArgumentError(
                f"The two layers of Bidirectional differ in {name}.",
                expected=f"{name}={getattr(forward, name)} in both",
                received=f"{name}={getattr(backward, name)} in backward_layer",
                fix=f"pass {name}={getattr(forward, name)} to backward_layer",
            )
