"""Conversions of recurrent layers: `nn.RNN`, `nn.LSTM` and `nn.GRU`, or a loop over the steps."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from lamina import activations
from lamina.engine import nest
from lamina.engine.abstract import Spec
from lamina.errors import ExportError
from lamina.kernels import recurrence
from lamina.layers.bidirectional import Bidirectional
from lamina.layers.cells import GRUCell, LSTMCell, SimpleRNNCell
from lamina.layers.recurrent import GRU, LSTM, SimpleRNN
from lamina.layers.rnn import RNN
from lamina.layers.stacked_cells import StackedRNNCells
from lamina.saving.exporting.builder import Builder, copied
from lamina.saving.exporting.calls import call_layer, traced
from lamina.saving.exporting.conversions import converts
from lamina.saving.exporting.elementwise import dropped
from lamina.saving.exporting.masked_steps import at_last, back_in_place, in_front

_NAMES = {activations.tanh: "tanh", torch.tanh: "tanh", activations.relu: "relu", torch.relu: "relu"}
_SIGMOID = (activations.sigmoid, torch.sigmoid)


@converts(RNN, SimpleRNN, LSTM, GRU)
def recurrent(builder: Builder, layer: Any, x: Any, initial_state: Any = None, mask: Any = None) -> Any:
    """The cell's module along the steps."""
    _refuse_stateful(layer)
    mask = None if mask is None else nest.flatten(mask)[0]
    with builder.follow():
        if layer.go_backwards:
            x, mask = x.flip(1), None if mask is None else mask.flip(1)
        outputs, states = _run(
            builder, builder.path(layer), layer.cell, x, nest.flatten(initial_state) if initial_state is not None else
            None, mask, layer.return_sequences, layer.return_state,
        )  # fmt: skip
        if mask is not None and layer.zero_output_for_mask:
            marks = mask.unsqueeze(-1) if layer.return_sequences else mask[:, -1:]
            outputs = outputs.masked_fill(marks.logical_not(), 0.0)
    return (outputs, *states) if layer.return_state else outputs


def _refuse_stateful(layer: Any) -> None:
    if layer.stateful:
        raise ExportError(
            f"{type(layer).__name__} keeps its states from one batch to the next, which torch's modules do not.",
            expected="stateful=False",
            received="stateful=True",
            fix="make the layer with return_state=True and pass initial_state, so that the states go in and out",
        )


def _run(
    builder: Builder, path: str, cell: Any, x: Any, states: list[Any] | None, mask: Any, sequences: bool, wanted: bool
) -> tuple[Any, list[Any]]:
    """The outputs of `cell` along the steps, and, if they are wanted, its last states."""
    if type(cell) is StackedRNNCells:
        after: list[Any] = []
        for place, member in enumerate(cell.cells):
            count = len(nest.flatten(member.state_size))
            own = None if states is None else [states.pop(0) for _ in range(count)]
            last = place == len(cell.cells) - 1
            x, new = _run(builder, f"{path}.{place}", member, x, own, mask, sequences or not last, wanted)
            after.append(new if nest.is_nest(member.state_size) else new[0] if new else None)
        return x, after
    if type(cell) not in (SimpleRNNCell, LSTMCell, GRUCell):
        raise ExportError(
            f"Torch has no module for a cell of class {type(cell).__name__}.",
            expected="SimpleRNNCell, LSTMCell or GRUCell, or a stack of them",
            received=type(cell).__name__,
            fix="write the layer as a torch.nn.Module that goes through the steps",
        )
    x = _input_dropout(builder, path, cell, x)
    make = _maker(cell)
    if make is None or (mask is not None and wanted and isinstance(cell, LSTMCell)):
        return _loop(builder, path, cell, x, states, mask, sequences)
    given = [] if states is None else [_for_torch([state.unsqueeze(0) for state in states])]
    if mask is None:
        result = builder.call(path, lambda: make(cell), x, *given)
        outputs = result[0] if sequences else result[0][:, -1]
        return outputs, [state.squeeze(0) for state in _states(result[1], cell)] if wanted else []
    packed = in_front(x, mask)
    result = builder.call(path, lambda: make(cell), packed, *given)
    last = at_last(result[0], mask)
    outputs = back_in_place(result[0], mask) if sequences else last
    state = last if states is None else torch.where(mask.any(1, keepdim=True), last, states[0])
    return outputs, [state] if wanted else []


def _for_torch(states: list[Any]) -> Any:
    """States as torch's modules take them."""
    return tuple(states) if len(states) > 1 else states[0]


def _states(result: Any, cell: Any) -> list[Any]:
    """What a module gives behind its outputs, in a list."""
    return [result[place] for place in range(cell.state_count)] if cell.state_count > 1 else [result]


def _input_dropout(builder: Builder, path: str, cell: Any, x: Any) -> Any:
    """The input with some features dropped, the same ones at each step."""
    if builder.training is False or not (cell.dropout or cell.recurrent_dropout):
        return x
    if cell.recurrent_dropout or cell.implementation == 1:
        raise ExportError(
            "Torch's recurrent modules have no dropout of the state, nor one for each gate.",
            expected="recurrent_dropout=0 and implementation=2",
            received=f"recurrent_dropout={cell.recurrent_dropout}, implementation={cell.implementation}",
            fix="pass inference=True, which leaves dropout out",
        )
    spec = builder.specs.get(x.node)
    y = dropped(builder, f"{path}_dropout", nn.Dropout1d, cell.dropout, x.transpose(1, 2)).transpose(1, 2)
    if spec is not None:
        builder.specs[y.node] = spec
    return y


# ---------------------------------------------------------------------- torch's modules
def _maker(cell: Any) -> Any:
    """What makes the module for `cell`, or `None` if torch has none."""
    name = _NAMES.get(cell.activation)
    if type(cell) is SimpleRNNCell:
        return None if name is None else lambda *cells: _filled(nn.RNN, cells, nonlinearity=name)
    if name != "tanh" or cell.recurrent_activation not in _SIGMOID:
        return None
    if type(cell) is LSTMCell:
        return lambda *cells: _filled(nn.LSTM, cells)
    return (lambda *cells: _filled(nn.GRU, cells)) if cell.reset_after else None


def _filled(kind: Any, cells: tuple[Any, ...], **options: Any) -> nn.Module:
    """A module with the weights of a cell, or of two, one for each direction."""
    cell = cells[0]
    features, units, bias = cell.kernel.shape[0], cell.units, cell.bias is not None
    module = kind(features, units, bias=bias, batch_first=True, bidirectional=len(cells) == 2, device="meta", **options)
    for one, end in zip(cells, ("", "_reverse"), strict=False):
        weights = {"weight_ih": copied(one.kernel, 1, 0), "weight_hh": copied(one.recurrent_kernel, 1, 0)}
        if bias:
            biases = one.bias if one.bias.dim() == 2 else (one.bias, None)
            weights["bias_ih"] = _like(one.bias, biases[0])
            # Torch adds two biases where Keras has one; trained both, they would learn twice as fast.
            weights["bias_hh"] = (
                nn.Parameter(torch.zeros_like(one.bias.detach()), requires_grad=False)
                if biases[1] is None
                else _like(one.bias, biases[1])
            )
        for name, weight in weights.items():
            value = _reset_first(weight) if kind is nn.GRU else weight
            setattr(module, f"{name}_l0{end}", value)
    return module


def _like(weight: torch.Tensor, value: torch.Tensor) -> nn.Parameter:
    """A Parameter of its own with that value, trained if `weight` is."""
    return nn.Parameter(value.detach().clone(), requires_grad=weight.requires_grad)


def _reset_first(weight: torch.Tensor) -> nn.Parameter:
    """Rows with the reset gate first, as torch's GRU has them; Keras has the update gate first."""
    update, reset, candidate = weight.detach().chunk(3)
    return nn.Parameter(torch.cat([reset, update, candidate]), requires_grad=weight.requires_grad)


@converts(Bidirectional)
def bidirectional(builder: Builder, layer: Bidirectional, x: Any, initial_state: Any = None, mask: Any = None) -> Any:
    """One module of both directions where both layers are alike and nothing is masked; else one for each."""
    forward: Any = layer.forward_layer
    backward: Any = layer.backward_layer
    for one in (forward, backward):
        _refuse_stateful(one)
    plain = mask is None and initial_state is None and not forward.go_backwards
    if not plain or not _alike(builder, forward, backward):
        return _both(builder, layer, x, initial_state, mask)
    cell, path = forward.cell, builder.path(layer)
    with builder.follow():
        x = _input_dropout(builder, path, cell, x)
        make: Any = _maker(cell)
        result = builder.call(path, lambda: make(cell, backward.cell), x)
        states = _states(result[1], cell)
        units = cell.units
        if layer.return_sequences:
            halves = result[0][..., :units], result[0][..., units:]
            outputs = result[0] if layer.merge_mode == "concat" else _merged(layer, *halves)
        else:
            outputs = _merged(layer, states[0][0], states[0][1])
        if not layer.return_state:
            return outputs
        ends = [state[direction] for direction in (0, 1) for state in states]
    return (*outputs, *ends) if layer.merge_mode is None else (outputs, *ends)


def _alike(builder: Builder, forward: Any, backward: Any) -> bool:
    """Whether one module of torch's does what both layers do."""
    if not all(type(one) in (SimpleRNN, LSTM, GRU) for one in (forward, backward)):
        return False
    cells = (forward.cell, backward.cell)
    settings = [
        (type(c), c.units, c.use_bias, c.kernel.shape[0], _NAMES.get(c.activation), _maker(c) is None) for c in cells
    ]
    dropout = builder.training is not False and any(cell.dropout for cell in cells)  # each direction draws its own
    return settings[0] == settings[1] and not settings[0][-1] and not dropout


def _both(builder: Builder, layer: Any, x: Any, initial_state: Any, mask: Any) -> Any:
    """The two layers apart."""
    given: list[dict[str, Any]] = [{} if mask is None else {"mask": mask} for _ in range(2)]
    if initial_state is not None:
        half = len(initial_state) // 2
        given[0]["initial_state"], given[1]["initial_state"] = initial_state[:half], initial_state[half:]
    y = call_layer(builder, layer.forward_layer, (x,), given[0])
    reverse = call_layer(builder, layer.backward_layer, (x,), given[1])
    states: tuple[Any, ...] = ()
    if layer.return_state:
        states, y, reverse = (*y[1:], *reverse[1:]), y[0], reverse[0]
    if layer.return_sequences:
        reverse = reverse.flip(1)
    outputs = _merged(layer, y, reverse)
    if not layer.return_state:
        return outputs
    return (*outputs, *states) if layer.merge_mode is None else (outputs, *states)


def _merged(layer: Any, y: Any, reverse: Any) -> Any:
    if layer.merge_mode is None:
        return y, reverse
    if layer.merge_mode == "concat":
        return torch.cat([y, reverse], -1)
    return {"sum": y + reverse, "mul": y * reverse, "ave": (y + reverse) / 2}[layer.merge_mode]


# ---------------------------------------------------------------------- step by step
def _loop(
    builder: Builder, path: str, cell: Any, x: Any, states: list[Any] | None, mask: Any, sequences: bool
) -> tuple[Any, list[Any]]:
    """The cell's own arithmetic, written out for each step. Its weights keep lamina's names and layout."""
    spec = builder.specs.get(x.node)
    if not isinstance(spec, Spec) or spec.shape[1] is None:
        raise ExportError(
            f"Torch has no module for this {type(cell).__name__}, and it cannot be written out step by step.",
            expected="tanh and sigmoid, reset_after=True and no states behind a mask; or a known number of steps",
            received=f"activation={activations.serialize(cell.activation)!r} and input shape "
            f"{spec.shape if isinstance(spec, Spec) else 'unknown'}",
            fix="define the model with the number of steps: Input((steps, features))",
        )
    kernel = builder.read(f"{path}.kernel", cell.kernel)
    recurrent_kernel = builder.read(f"{path}.recurrent_kernel", cell.recurrent_kernel)
    bias = None if cell.bias is None else builder.read(f"{path}.bias", cell.bias)
    if states is None:
        states = [torch.zeros_like(x[:, 0, :1]).expand(-1, cell.units) for _ in range(cell.state_count)]
    weights = (kernel, recurrent_kernel, bias, cell.activation)
    if isinstance(cell, SimpleRNNCell):
        outputs, *after = recurrence.simple_rnn_reference(x, *states, *weights, mask, sequences)
    elif isinstance(cell, LSTMCell):
        outputs, *after = recurrence.lstm_reference(
            x, *states, *weights, cell.recurrent_activation, mask=mask, sequences=sequences
        )
    else:
        outputs, *after = recurrence.gru_reference(
            x, *states, *weights, cell.recurrent_activation, cell.reset_after, mask, sequences
        )
    return outputs, after


@converts(SimpleRNNCell, LSTMCell, GRUCell)
def one_step(builder: Builder, layer: Any, x: Any, states: Any = None) -> Any:
    """A cell by itself: its own arithmetic."""
    if builder.training is not False and (layer.dropout or layer.recurrent_dropout):
        raise ExportError(
            f"{type(layer).__name__} by itself has dropout, which torch's cells have not.",
            expected="dropout=0 and recurrent_dropout=0",
            received=f"dropout={layer.dropout}, recurrent_dropout={layer.recurrent_dropout}",
            fix="pass inference=True, which leaves dropout out",
        )
    with builder.in_mode(False):
        return traced(builder, layer, x, states=states)
