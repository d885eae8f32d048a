"""`StackedRNNCells`: several cells that act as one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from lamina import config, dtypes
from lamina.engine import nest
from lamina.engine.configs import plain
from lamina.errors import ArgumentError
from lamina.layers.inner import build_inner
from lamina.layers.recurrent_cell import SequenceCell, run_cell
from lamina.registry import LAYERS


def check_cell(cell: Any, owner: str) -> None:
    """Raise the error for something that is no cell.

    Args:
        cell: what was passed.
        owner: the class that takes it, for the message.

    Raises:
        ArgumentError: it is no module, or states no `state_size`.
    """
    size = getattr(cell, "state_size", None)
    if not isinstance(cell, torch.nn.Module) or not (isinstance(size, int) or nest.is_nest(size)):
        named = isinstance(cell, dict) and cell.get("class_name")
        raise ArgumentError(
            f"{owner} needs cells.",
            expected="a layer with call(inputs, states) and a state_size, a whole number or a list of them",
            received=repr(cell),
            fix=f"put @LAYERS.register() from lamina.registry on the class {named}"
            if named
            else f"{owner}(LSTMCell(32))",
        )


def output_size(cell: Any) -> int:
    """The size of a cell's output: what it states, else that of its first state.

    Args:
        cell: a cell.
    """
    stated = getattr(cell, "output_size", None)
    return stated if stated is not None else nest.flatten(cell.state_size)[0]


def zero_states(cell: Any, batch_size: int) -> list[Any]:
    """The states with which `cell` begins: what it says itself, else zeros; always in a list.

    Args:
        cell: a cell.
        batch_size: the number of sequences.
    """
    make = getattr(cell, "get_initial_state", None)
    if make is None:
        weight = next(cell.parameters(), None)
        device = config.device() if weight is None else weight.device
        kind = dtypes.torch_dtype(getattr(cell, "compute_dtype", None))
        states = nest.map_nest(lambda size: torch.zeros(batch_size, size, dtype=kind, device=device), cell.state_size)
    else:
        states = make(batch_size=batch_size)
    return list(states) if nest.is_nest(states) else [states]


@LAYERS.register()
class StackedRNNCells(SequenceCell):
    """Cells one above the other, the output of each being the input of the next, as one cell.

    Args:
        cells: the cells, lowest first.
        **kwargs: what every layer takes.

    Input shape:
        `(batch, inputs)`, and a list with the states of each cell: a list, or a tensor for a cell with one state.

    Output shape:
        The output of the last cell, and the new states in the same form.

    Raises:
        ArgumentError: one of them is no cell.

    Example:
        >>> from lamina.layers.cells import GRUCell, LSTMCell
        >>> stack = StackedRNNCells([LSTMCell(4), GRUCell(2)])
        >>> stack.state_size, stack.output_size
        ([[4, 4], 2], 2)
    """

    def __init__(self, cells: Sequence[Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        for cell in cells:
            check_cell(cell, type(self).__name__)
        self.cells = torch.nn.ModuleList(cells)

    @property
    def state_size(self) -> list[Any]:
        """For each cell the size of its state, or a list of sizes."""
        return [cell.state_size for cell in self.cells]

    @property
    def output_size(self) -> int:
        """The size of the last cell's output."""
        return output_size(self.cells[-1])

    def build(self, input_shape: Any) -> None:
        """Build each cell for the output of the one below."""
        for cell in self.cells:
            build_inner(self, cell, input_shape, lambda x, cell=cell: (zero_states(cell, x.shape[0]),))
            input_shape = (input_shape[0], output_size(cell))

    def get_initial_state(self, batch_size: int | None = None) -> list[Any]:
        """The first states of each cell.

        Args:
            batch_size: the number of sequences.
        """
        states = [zero_states(cell, batch_size) for cell in self.cells]  # pyright: ignore[reportArgumentType]
        return nest.pack_like(self.state_size, nest.flatten(states))

    def call(self, inputs: torch.Tensor, states: Any) -> tuple[torch.Tensor, list[Any]]:
        """One step of every cell."""
        after = []
        for cell, before in zip(self.cells, states, strict=True):
            inputs, new = cell(inputs, list(before) if nest.is_nest(before) else [before])
            after.append(nest.pack_like(before, nest.flatten(new)))
        return inputs, after

    def sweep(
        self,
        inputs: torch.Tensor,
        states: list[Any],
        mask: torch.Tensor | None = None,
        training: bool = False,
        sequences: bool = True,
        fast: bool = True,
    ) -> tuple[torch.Tensor, list[Any]]:
        """A whole sequence, one cell after another; the arguments are those of `run_cell`."""
        after = []
        for cell, before in zip(self.cells, states, strict=True):
            alone = list(before) if nest.is_nest(before) else [before]
            wanted = sequences or cell is not self.cells[-1]
            inputs, new = run_cell(cell, inputs, alone, mask, training, wanted, fast)
            after.append(nest.pack_like(before, nest.flatten(new)))
        return inputs, after

    def get_config(self) -> dict[str, Any]:
        """The arguments."""
        return {**super().get_config(), "cells": [plain(cell) for cell in self.cells]}

    def compute_output_shape(self, input_shape: Any, states_shape: Any = None) -> Any:
        """The shape of the output, and a list of those of the states."""
        batch = input_shape[0]
        return (batch, self.output_size), nest.map_nest(lambda size: (batch, size), self.state_size)
