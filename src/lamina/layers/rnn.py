"""`RNN`: any cell, run along the steps of a sequence."""

from __future__ import annotations

from typing import Any

import torch

from lamina import dtypes
from lamina.engine import abstract, nest
from lamina.engine.layer import Layer
from lamina.errors import ArgumentError, ShapeError
from lamina.layers.inner import build_inner
from lamina.layers.recurrent_cell import run_cell
from lamina.layers.stacked_cells import StackedRNNCells, check_cell, output_size, zero_states
from lamina.registry import LAYERS


@LAYERS.register()
class RNN(Layer):
    """A cell, run along the steps of a sequence.

    The cells of this library run over the whole sequence at once where torch has a kernel for it. A cell of your
    own is a layer with `call(self, inputs, states)`, which returns the output of a step and a list of new states, and
    a `state_size`; it may have an `output_size` and a `get_initial_state(batch_size)`.

    A step whose mask is false leaves the states as they are and repeats the output before it, zero at first.

    Args:
        cell: the cell, or a list of cells to be stacked.
        return_sequences: whether to return the output of every step, or only the last.
        return_state: whether to return the last states behind the output.
        go_backwards: whether to begin with the last step; the outputs are then in that order too.
        stateful: whether each batch goes on where the one before ended, row by row; needs a batch size that does
            not change, and `reset_state()` between sequences.
        unroll: accepted for Keras's sake; the result is the same.
        zero_output_for_mask: whether the output of a masked step is zero in place of the one before.
        **kwargs: what every layer takes.

    Input shape:
        `(batch, steps, ...)`. `initial_state=` takes a tensor or a list of them, in the form of the cell's
        `state_size`; `mask=` takes booleans `(batch, steps)`.

    Output shape:
        `(batch, output_size)`, or `(batch, steps, output_size)` with `return_sequences`. With `return_state` a tuple of
        that and the states, for stacked cells those of each cell.

    Raises:
        ArgumentError: `cell` is no cell, or there are not as many initial states as the cell has.
        ShapeError: the batch size is not that of the states, or the mask does not fit.

    Example:
        >>> from lamina.layers.cells import GRUCell, LSTMCell
        >>> x = torch.ones(2, 5, 3)
        >>> RNN(GRUCell(4), return_sequences=True)(x).shape
        torch.Size([2, 5, 4])
        >>> y, lower, upper = RNN([LSTMCell(4), GRUCell(6)], return_state=True)(x)
        >>> y.shape, [state.shape for state in lower], upper.shape
        (torch.Size([2, 6]), [torch.Size([2, 4]), torch.Size([2, 4])], torch.Size([2, 6]))
    """

    supports_masking = True
    use_cudnn: Any = "auto"
    dtype_policy: dtypes.DTypePolicy

    def __init__(
        self,
        cell: Any,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        zero_output_for_mask: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if isinstance(cell, (list, tuple)):
            cell = StackedRNNCells(cell)
        check_cell(cell, type(self).__name__)
        self.cell = cell
        self.return_sequences = return_sequences
        self.return_state = return_state
        self.go_backwards = go_backwards
        self.stateful = stateful
        self.unroll = unroll
        self.zero_output_for_mask = zero_output_for_mask

    @property
    def state_size(self) -> list[Any]:
        """The sizes of the states; for stacked cells those of each cell."""
        size = self.cell.state_size
        return [size] if isinstance(size, int) else list(size)

    def build(self, input_shape: Any) -> None:
        """Build the cell for the shape of a step, and make the states of a stateful layer."""
        step = (input_shape[0], *input_shape[2:])
        build_inner(self, self.cell, step, lambda x: (zero_states(self.cell, x.shape[0]),))
        if self.stateful and input_shape[0] is not None and self.states is None:
            self._make_states(input_shape[0])

    def call(self, sequences: torch.Tensor, initial_state: Any = None, mask: Any = None, training: Any = None) -> Any:
        """Run the cell from the first states to the last."""
        states = self._first_states(sequences, initial_state)
        mask = _step_mask(mask, sequences)
        if self.go_backwards:
            sequences = sequences.flip(1)
            mask = None if mask is None else mask.flip(1)
        training = self.training if training is None else training
        fast = self.use_cudnn is not False
        outputs, states = run_cell(self.cell, sequences, states, mask, training, self.return_sequences, fast)
        if mask is not None and self.zero_output_for_mask:
            outputs = _zero_where_masked(outputs, mask if self.return_sequences else mask[:, -1])
        if self.dtype_policy.mixed:
            kind = dtypes.torch_dtype(self.compute_dtype)
            outputs, states = nest.map_nest(lambda t: t.to(kind), (outputs, states))
        if self.stateful:
            self._keep(states)
        return (outputs, *states) if self.return_state else outputs

    def _run(self, *args: Any, **kwargs: Any) -> Any:
        """`call`; in a run without memory the shapes say it all, and thousands of steps would take minutes."""
        if type(self).call is not RNN.call or not abstract.running():
            return super()._run(*args, **kwargs)
        x: torch.Tensor = args[0] if args else kwargs["sequences"]
        if abstract.counts():
            with abstract.counted(x.shape[1]):
                self.cell(x[:, 0], self.get_initial_state(x.shape[0]))
        kind = dtypes.torch_dtype(self.compute_dtype)
        shapes: Any = self.compute_output_shape(tuple(x.shape))
        results = nest.map_shapes(lambda shape: torch.empty(shape, dtype=kind, device=x.device), shapes)  # type: ignore
        return tuple(results) if self.return_state else results

    def compute_output_shape(self, input_shape: Any, initial_state_shape: Any = None) -> Any:
        """The shape of the output, and those of the states behind it with `return_state`."""
        batch, steps = input_shape[:2]
        size = output_size(self.cell)
        shape = (batch, steps, size) if self.return_sequences else (batch, size)
        if not self.return_state:
            return shape
        return shape, *nest.map_nest(lambda size: (batch, size), self.state_size)

    def compute_output_spec(self, *args: Any, **kwargs: Any) -> Any:
        """Shapes and dtypes in the form of the result: a tuple with `return_state`."""
        specs = super().compute_output_spec(*args, **kwargs)
        return tuple(specs) if isinstance(specs, list) else specs

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        """The mask of the steps, where the output still has them; the states have none."""
        masks = nest.flatten(previous_mask)
        output_mask = masks[0] if self.return_sequences and masks else None
        return [output_mask] + [None] * len(self.state_size) if self.return_state else output_mask

    # ------------------------------------------------------------------ states
    def get_initial_state(self, batch_size: int) -> list[Any]:
        """The states with which a sequence begins when none are given.

        Args:
            batch_size: the number of sequences.
        """
        return nest.pack_like(self.state_size, nest.flatten(zero_states(self.cell, batch_size)))

    @property
    def states(self) -> list[Any] | None:
        """What a stateful layer will begin with, or `None` as long as no batch size is known."""
        kept = [buffer for name, buffer in self._buffers.items() if name.startswith("state_")]
        return nest.pack_like(self.state_size, kept) if kept else None

    def reset_state(self) -> None:
        """Let the next batch of a stateful layer begin with zeros."""
        for state in nest.flatten(self.states or []):
            state.zero_()

    def reset_states(self) -> None:
        """The same as `reset_state`."""
        self.reset_state()

    def _make_states(self, batch_size: int) -> None:
        for place, state in enumerate(nest.flatten(self.get_initial_state(batch_size))):
            self.register_buffer(f"state_{place}", torch.zeros_like(state), persistent=False)

    def _keep(self, states: list[Any]) -> None:
        """Remember the last states for the next batch."""
        for kept, state in zip(nest.flatten(self.states), nest.flatten(states), strict=True):
            kept.copy_(state.detach())

    def _first_states(self, sequences: torch.Tensor, given: Any) -> list[Any]:
        """The states given, those kept from the batch before, or zeros."""
        batch = sequences.shape[0]
        if self.stateful:
            if self.states is None:
                self._make_states(batch)
            self._check_batch(batch)
        form = self.state_size
        if given is not None:
            states = nest.flatten(given)
        elif self.stateful:  # copies, since the originals change before a gradient is taken
            states = [state.clone() for state in nest.flatten(self.states)]
        else:
            states = nest.flatten(self.get_initial_state(batch))
        if len(states) != len(nest.flatten(form)):
            raise ArgumentError(
                f"{type(self).__name__} has {len(nest.flatten(form))} states.",
                expected=f"initial_state with one tensor (batch, size) for each of the sizes {form}",
                received=f"{len(states)} tensors",
                fix="pass the states that a layer like this one returned with return_state=True",
            )
        return nest.pack_like(form, [state.to(sequences.device) for state in states])

    def _check_batch(self, batch: int) -> None:
        """Raise the error for a batch that cannot go on from the kept states."""
        kept = nest.flatten(self.states)[0].shape[0]
        if batch != kept:
            raise ShapeError(
                "A stateful layer needs batches of one size.",
                expected=f"a batch of {kept}, the size of its states",
                received=f"a batch of {batch}",
                fix=f"use batch_size={kept} and drop what is left over at the end, or make the layer stateful=False",
            )


def _step_mask(mask: Any, sequences: torch.Tensor) -> torch.Tensor | None:
    """`mask` as booleans `(batch, steps)`; one mark a row stands for all its steps."""
    if mask is None:
        return None
    mask = nest.flatten(mask)[0].to(torch.bool)
    batch, steps = sequences.shape[:2]
    if mask.dim() == 1:
        mask = mask.unsqueeze(1).expand(mask.shape[0], steps)
    if tuple(mask.shape) != (batch, steps):
        raise ShapeError(
            "The mask does not fit the sequences.",
            expected=f"shape {(batch, steps)}, a mark for each step",
            received=f"shape {tuple(mask.shape)}",
            fix="make the mask from the same batch: mask = ids != 0",
        )
    return mask


def _zero_where_masked(outputs: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """`outputs` with zeros at masked steps; both begin with the same axes."""
    return outputs.masked_fill(~mask.reshape(*mask.shape, *[1] * (outputs.dim() - mask.dim())), 0.0)
