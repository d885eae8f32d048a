"""What recurrent cells share: running over a whole sequence, weights, dropout, the state to begin with."""

from __future__ import annotations

from typing import Any

import torch

from lamina import activations, config, constraints, dtypes, initializers, regularizers
from lamina.engine import nest
from lamina.engine.arguments import positive
from lamina.engine.layer import Layer
from lamina.errors import ArgumentError
from lamina.kernels.recurrence import scan
from lamina.seeds import SeedGenerator


class SequenceCell(Layer):
    """A cell that may know how to run over a whole sequence at once, in its method `sweep`.

    A subclass that overrides `call` and not `sweep` is run step by step.
    """

    _sweeps = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls._sweeps = "sweep" in vars(cls) or (cls._sweeps and "call" not in vars(cls))


def run_cell(
    cell: Any,
    inputs: torch.Tensor,
    states: list[Any],
    mask: torch.Tensor | None,
    training: bool,
    sequences: bool = True,
    fast: bool = True,
) -> tuple[torch.Tensor, list[Any]]:
    """Run `cell` over a sequence: at once if it can, else step by step.

    Args:
        cell: a module that maps the input of a step and a list of states to an output and new states.
        inputs: `(batch, steps, ...)`.
        states: the states to begin with, nested as the cell takes them.
        mask: bool `(batch, steps)` or `None`; the states stay where it is false.
        training: whether dropout acts.
        sequences: whether every step's output is wanted, or only the last.
        fast: whether the kernels for whole sequences may be used.

    Returns:
        The outputs, and the states after the last step, nested as `states`.
    """
    if getattr(cell, "_sweeps", False) and cell.activity_regularizer is None:
        return cell.sweep(inputs, states, mask, training, sequences, fast)
    with_dropout = [module for module in cell.modules() if training and isinstance(module, RecurrentCell)]

    def step(x: torch.Tensor, flat: list[torch.Tensor]) -> tuple[torch.Tensor, list[torch.Tensor]]:
        output, new = cell(x, nest.pack_like(states, flat))
        return output, nest.flatten(new)

    _draw_new_masks(with_dropout)
    outputs, flat = scan(step, inputs, nest.flatten(states), mask, sequences)
    _draw_new_masks(with_dropout)
    return outputs, nest.pack_like(states, flat)


def _draw_new_masks(cells: list[RecurrentCell]) -> None:
    for cell in cells:
        cell.reset_dropout_mask()
        cell.reset_recurrent_dropout_mask()


class RecurrentCell(SequenceCell):
    """A cell with a kernel for its input, one for its state, and a bias; the base of the three cells here.

    Args:
        units: the size of the output and of each state.
        activation: of the new state; a name or function, `None` for none.
        use_bias: whether a bias is added.
        kernel_initializer: of the kernel.
        recurrent_initializer: of the recurrent kernel.
        bias_initializer: of the bias.
        kernel_regularizer: a penalty on the kernel.
        recurrent_regularizer: a penalty on the recurrent kernel.
        bias_regularizer: a penalty on the bias.
        kernel_constraint: a projection of the kernel after each optimizer step.
        recurrent_constraint: a projection of the recurrent kernel after each optimizer step.
        bias_constraint: a projection of the bias after each optimizer step.
        dropout: the share of the input that is dropped, the same at every step of a sequence.
        recurrent_dropout: the share of the state that is dropped, the same at every step.
        seed: where the cell's own random numbers start; torch's global ones are used for `None`.
        implementation: 1 gives each gate dropout of its own, 2 the same to all; 1 with `recurrent_dropout`.
        **kwargs: what every layer takes.

    Raises:
        ArgumentError: `units` is not a positive whole number.
    """

    gates = 1
    state_count = 1
    dtype_policy: dtypes.DTypePolicy
    _generator: SeedGenerator | None
    _held_masks: tuple[list[torch.Tensor] | None, list[torch.Tensor] | None]  # of the input, of the state

    def __init__(
        self,
        units: int,
        activation: Any,
        use_bias: bool,
        kernel_initializer: Any,
        recurrent_initializer: Any,
        bias_initializer: Any,
        kernel_regularizer: Any,
        recurrent_regularizer: Any,
        bias_regularizer: Any,
        kernel_constraint: Any,
        recurrent_constraint: Any,
        bias_constraint: Any,
        dropout: float,
        recurrent_dropout: float,
        seed: int | None,
        implementation: int = 2,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.units = positive(units, "units", type(self).__name__)
        self.activation = activations.get(activation)
        self.use_bias = use_bias
        self.kernel_initializer = initializers.get(kernel_initializer)
        self.recurrent_initializer = initializers.get(recurrent_initializer)
        self.bias_initializer = initializers.get(bias_initializer)
        self.kernel_regularizer = regularizers.get(kernel_regularizer)
        self.recurrent_regularizer = regularizers.get(recurrent_regularizer)
        self.bias_regularizer = regularizers.get(bias_regularizer)
        self.kernel_constraint = constraints.get(kernel_constraint)
        self.recurrent_constraint = constraints.get(recurrent_constraint)
        self.bias_constraint = constraints.get(bias_constraint)
        self.dropout = min(1.0, max(0.0, dropout))
        self.recurrent_dropout = min(1.0, max(0.0, recurrent_dropout))
        self.seed = seed
        self.implementation = 1 if self.recurrent_dropout else implementation
        self.__dict__.update(_generator=None if seed is None else SeedGenerator(seed), _held_masks=(None, None))

    @property
    def state_size(self) -> Any:
        """The size of the state, or a list of the sizes of the states."""
        return self.units if self.state_count == 1 else [self.units] * self.state_count

    @property
    def output_size(self) -> int:
        """The size of the output."""
        return self.units

    def build(self, input_shape: Any) -> None:
        """Make the two kernels, stored with the axis of units first in memory, and the bias."""
        width = self.gates * self.units
        self.kernel = self.add_weight(
            (input_shape[-1], width),
            self.kernel_initializer,
            regularizer=self.kernel_regularizer,
            constraint=self.kernel_constraint,
            name="kernel",
            memory_order=(1, 0),
        )
        self.recurrent_kernel = self.add_weight(
            (self.units, width),
            self.recurrent_initializer,
            regularizer=self.recurrent_regularizer,
            constraint=self.recurrent_constraint,
            name="recurrent_kernel",
            memory_order=(1, 0),
        )
        self.bias = self._make_bias(width) if self.use_bias else None

    def _make_bias(self, *shape: int, initializer: Any = None) -> Any:
        return self.add_weight(
            shape,
            initializer or self.bias_initializer,
            regularizer=self.bias_regularizer,
            constraint=self.bias_constraint,
            name="bias",
        )

    def compute_output_shape(self, input_shape: Any, states_shape: Any = None) -> Any:
        """The shape of the output, and a list of those of the states."""
        shape = (input_shape[0], self.units)
        return shape, [shape] * self.state_count

    def get_initial_state(self, batch_size: int | None = None) -> list[torch.Tensor]:
        """Zeros for every state.

        Args:
            batch_size: the number of sequences.

        Raises:
            ArgumentError: it is missing.
        """
        if batch_size is None:
            raise ArgumentError(
                f"{type(self).__name__} needs the batch size for its first states.",
                expected="a number of sequences",
                received="batch_size=None",
                fix="get_initial_state(batch_size=x.shape[0])",
            )
        device = self.kernel.device if self.built else config.device()
        kind = dtypes.torch_dtype(self.compute_dtype)
        if self.built and not self.dtype_policy.mixed:
            kind = self.kernel.dtype
        return [torch.zeros(batch_size, self.units, dtype=kind, device=device) for _ in range(self.state_count)]

    # ------------------------------------------------------------------ dropout
    def get_dropout_mask(self, step_input: torch.Tensor) -> list[torch.Tensor]:
        """What the input is multiplied with, the same until `reset_dropout_mask`: one mask, or one for each gate.

        Args:
            step_input: the input of a step, for its shape.
        """
        return self._hold(0, step_input, self.dropout)

    def get_recurrent_dropout_mask(self, state: torch.Tensor) -> list[torch.Tensor]:
        """What the state is multiplied with, the same until `reset_recurrent_dropout_mask`.

        Args:
            state: the state, for its shape.
        """
        return self._hold(1, state, self.recurrent_dropout)

    def reset_dropout_mask(self) -> None:
        """Draw a new mask of the input at the next step; `RNN` calls this before and after each sequence."""
        self.__dict__["_held_masks"] = (None, self._held_masks[1])

    def reset_recurrent_dropout_mask(self) -> None:
        """Draw a new mask of the state at the next step; `RNN` calls this before and after each sequence."""
        self.__dict__["_held_masks"] = (self._held_masks[0], None)

    def _hold(self, place: int, like: torch.Tensor, rate: float) -> list[torch.Tensor]:
        masks = self._held_masks[place]
        if masks is None or (masks and masks[0].shape != like.shape):
            masks = self._new_masks(like, rate)
            other = self._held_masks[1 - place]
            self.__dict__["_held_masks"] = (other, masks) if place else (masks, other)
        return masks

    def _new_masks(self, like: torch.Tensor, rate: float) -> list[torch.Tensor]:
        """Masks of the shape of `like`: nothing without dropout, else one, or one for each gate."""
        if not rate:
            return []
        return [self._new_mask(like, rate) for _ in range(self.gates if self.implementation == 1 else 1)]

    def _new_mask(self, like: torch.Tensor, rate: float) -> torch.Tensor:
        """0 with probability `rate`, else what makes up for it."""
        generator = None if self._generator is None else self._generator.on(like.device)
        kept = torch.empty_like(like).bernoulli_(1.0 - rate, generator=generator)
        return kept / (1.0 - rate) if rate < 1.0 else kept

    def _step_masks(
        self, inputs: torch.Tensor, state: torch.Tensor, training: bool | None
    ) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        """The masks of the input and of the state for one step of a longer sequence."""
        if not (self.training if training is None else training):
            return [], []
        return self.get_dropout_mask(inputs), self.get_recurrent_dropout_mask(state)

    def _sequence_masks(
        self, inputs: torch.Tensor, state: torch.Tensor, training: bool
    ) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        """The masks of the input and of the state for a whole sequence."""
        if not training:
            return [], []
        return self._new_masks(inputs[:, 0], self.dropout), self._new_masks(state, self.recurrent_dropout)

    def _as_weights(self, *tensors: torch.Tensor) -> list[torch.Tensor]:
        """Tensors in the dtype of the weights, unless autocast chooses."""
        kind = self.kernel.dtype
        if torch.is_autocast_enabled(tensors[0].device.type):
            return [t if t.is_floating_point() else t.to(kind) for t in tensors]
        return [t.to(kind) for t in tensors]
