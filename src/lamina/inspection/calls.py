"""Rows of a model that must run to be known: a class with a `call` of its own, or any torch module."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from lamina.engine import nest
from lamina.engine.abstract import Spec
from lamina.engine.layer import Layer
from lamina.engine.torch_module import TorchModule
from lamina.inspection.described import (
    bytes_of,
    called_module,
    is_closed,
    put_inside,
    row_of,
    row_of_module,
    shape_of,
    weights_of,
)
from lamina.inspection.report import OWN_WEIGHTS, Link, Row
from lamina.inspection.running import Run
from lamina.inspection.watching import GIVEN, Made

_CONTAINERS = (torch.nn.Sequential, torch.nn.ModuleList, torch.nn.ModuleDict)

Names = dict[torch.nn.Module, str]


def modules_to_watch(model: torch.nn.Module) -> Names:
    """The modules inside `model` whose calls make rows, with their dotted names; a module without any is one itself.

    Args:
        model: the model. What layers of lamina are made of inside is left out.
    """
    found: Names = {}
    stack = [("", model)]
    while stack:
        name, module = stack.pop()
        if module is not model and not isinstance(module, TorchModule):
            if module in found:
                continue
            found[module] = name
        if module is model or not is_closed(module):
            inside = [(f"{name}.{key}" if name else key, child) for key, child in module.named_children()]
            stack += reversed(inside)
    return found or {model: ""}


class _Rows:
    """Rows from the calls that a run saw.

    Args:
        run: the run.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self.places: dict[int, int] = {}  # from a call to the place of its row
        self.numbers: dict[torch.nn.Module, list[int]] = {}  # from a module to its calls
        self._inside: dict[int | None, list[int]] = {}
        for number, call in enumerate(run.calls):
            self.numbers.setdefault(call.module, []).append(number)
            self._inside.setdefault(call.around, []).append(number)

    def add_call(self, row: Row, number: int) -> None:
        """Add to a row what one of its calls tells.

        Args:
            row: the row.
            number: the call.
        """
        run, call = self.run, self.run.calls[number]
        if not row.call_shapes:
            row.input_shape = nest.map_nest(shape_of, run.specs(number, "inputs"))
        row.failed = row.failed or number in run.unfinished[-1:]
        if call.order is None:
            return
        outputs = run.specs(number, "outputs")
        specs = [leaf for leaf in nest.flatten(outputs) if isinstance(leaf, Spec)]
        row.call_shapes.append(nest.map_nest(shape_of, outputs))
        row.dtype = row.dtype or (str(specs[0].dtype).removeprefix("torch.") if specs else None)
        row.activation_bytes += sum(map(bytes_of, specs))

    def link(self, made: Made, rows: list[Row]) -> Link:
        """The link to the row of the call that made a tensor.

        Args:
            made: the tensor.
            rows: where the row is.
        """
        place, numbers = self.places[made.call], self.numbers[self.run.calls[made.call].module]
        return Link(rows[place].name, place, numbers.index(made.call), made.tensor)

    def around(self, number: int) -> Iterator[int]:
        """The calls around a call, from the inside out.

        Args:
            number: the call.
        """
        around = self.run.calls[number].around
        while around is not None:
            yield around
            around = self.run.calls[around].around

    def flops(self, number: int, whole: bool) -> int:
        """The operations of a call; with `whole` those of all calls inside, else those that no other row counts.

        Args:
            number: the call.
            whole: whether rows inside are counted in.
        """
        total, waiting = 0, [number]
        while waiting:
            number = waiting.pop()
            total += self.run.flops(number)
            waiting += [n for n in self._inside.get(number, []) if whole or n not in self.places]
        return total


class CallRows(_Rows):
    """A row for each call in the order in which they ended, as torchsummary has them.

    Containers have no row. A weight counts at the first call of the module that it belongs to, or of the one around
    it when that is never called itself.

    Args:
        run: the run.
        model: what was run.
        names: the watched modules and their dotted names.
    """

    def __init__(self, run: Run, model: torch.nn.Module, names: Names) -> None:
        super().__init__(run)
        calls = run.calls
        ended = sorted((n for n, call in enumerate(calls) if call.order is not None), key=lambda n: calls[n].order or 0)
        shown = [n for n in [*ended, *run.unfinished[-1:]] if not isinstance(calls[n].module, _CONTAINERS)]
        self.places = {number: place for place, number in enumerate(shown)}
        self._weights = _owners(model, {calls[number].module for number in shown})
        self.rows = [self._row(number, names) for number in shown]
        for number, row in zip(shown, self.rows, strict=True):
            row.links = self._links(calls[number].takes)
        rest = self._weights.pop(model, [])
        if rest:
            row = row_of_module(model, type(model).__name__, rest)
            row.path, row.class_name, row.config = row.name, OWN_WEIGHTS, {}
            self.rows.append(row)

    def _row(self, number: int, names: Names) -> Row:
        module = self.run.calls[number].module
        row = row_of_module(module, names[module] or type(module).__name__, self._weights.pop(module, []))
        row.path = row.name
        row.depth = sum(around in self.places for around in self.around(number))
        self.add_call(row, number)
        row.flops = self.flops(number, whole=False)
        return row

    def _links(self, sources: tuple[Made, ...]) -> list[Link]:
        """Links to the rows behind tensors; behind those of a container, to what its results come from."""
        found: dict[Link, None] = {}
        waiting = list(reversed(sources))
        while waiting:
            made = waiting.pop()
            if made.call in self.places:
                found[self.link(made, self.rows)] = None
            elif made.call != GIVEN:
                waiting += reversed(self.run.calls[made.call].gives)
        return list(found)


def _owners(model: torch.nn.Module, shown: set[torch.nn.Module]) -> dict[torch.nn.Module, list[torch.Tensor]]:
    """The weights that the row of each shown module counts, each weight once; the rest are the model's."""
    owned: dict[torch.nn.Module, list[torch.Tensor]] = {}
    counted: set[int] = set()
    stack = [(model, model)]
    while stack:
        module, owner = stack.pop()
        owner = module if module in shown else owner
        whole = is_closed(module)
        for weight in weights_of(module, inside=whole):
            if id(weight) not in counted:
                counted.add(id(weight))
                owned.setdefault(owner, []).append(weight)
        if not whole:
            stack += [(child, owner) for child in reversed(list(module.children()))]
    return owned


class LayerRows(_Rows):
    """A row for each layer right inside a model, and below it for those inside it on request, as Keras has them.

    A model's layers come in the order in which they were assigned, the modules inside anything else in the order in
    which they were called.

    Args:
        run: the run.
        rows: where the rows are appended.
        model: what was run.
        inside: the place of the model's own row, or `None` for the outermost.
        expand_nested: whether layers inside have rows as well.
    """

    def __init__(self, run: Run, rows: list[Row], model: Any, inside: int | None, expand_nested: bool) -> None:
        super().__init__(run)
        self._rows = rows
        self._around = inside
        self._expand = expand_nested
        self._members: dict[torch.nn.Module, list[torch.nn.Module]] = {}
        for module, numbers in self.numbers.items():
            around = run.calls[numbers[0]].around
            if module is not model:
                self._members.setdefault(model if around is None else run.calls[around].module, []).append(module)
        start = len(rows)
        self._append(model, inside)
        if len(rows) == start and model in self.numbers:  # it has nothing inside
            self._append_row(row_of_module(model, type(model).__name__, weights_of(model)), model, inside)

    def _append(self, model: Any, inside: int | None) -> None:
        """Append the rows inside `model`."""
        if isinstance(model, Layer) and hasattr(model, "layers"):
            members = [(called_module(layer), row_of(layer)) for layer in model.layers]
        else:
            members = [(module, self._row_inside(model, module)) for module in self._members.get(model, [])]
        for module, row in members:
            place = self._append_row(row, module, inside)
            if self._expand and not is_closed(module):
                self._append(module, place)

    def _row_inside(self, model: torch.nn.Module, module: torch.nn.Module) -> Row:
        if isinstance(module, Layer):
            return row_of(module)
        name = next((name for name, found in model.named_modules() if found is module), type(module).__name__)
        return row_of_module(module, name, weights_of(module))

    def _append_row(self, row: Row, module: torch.nn.Module, inside: int | None) -> int:
        numbers = self.numbers.get(module, [])
        if any(number in self.places for number in numbers):  # a second row of a layer that two models share
            numbers = []
        place = len(self._rows)
        for number in numbers:
            self.places[number] = place
            self.add_call(row, number)
            row.flops += self.flops(number, whole=True)
        put_inside(row, self._rows, inside)
        self._rows.append(row)
        return place

    def connect(self) -> None:
        """Say for each row which tensors it takes, and from which rows inside its results come."""
        rows = self._rows
        if self._around is not None:
            rows[self._around].results = self._links(self.run.gives)
        for number, place in self.places.items():
            call = self.run.calls[number]
            rows[place].links += self._links(call.takes)
            if not rows[place].results:
                inner = self._links(call.gives)
                rows[place].results = [link for link in inner if _is_inside(rows, link.row, place)]

    def _links(self, sources: tuple[Made, ...]) -> list[Link]:
        """Links to the rows behind tensors; behind those of a call without a row, to the row around it."""
        found: dict[Link, None] = {}
        outer = [] if self._around is None else self._rows[self._around].links
        for made in sources:
            if made.call == GIVEN:
                found.update(dict.fromkeys(outer[made.tensor : made.tensor + 1]))
                continue
            around = next((n for n in self.around(made.call) if n in self.places), None)
            if made.call in self.places:
                found[self.link(made, self._rows)] = None
            elif around is not None:
                found[self.link(Made(around, 0), self._rows)] = None
        return list(found)


def _is_inside(rows: list[Row], row: int, around: int) -> bool:
    """Whether a row is somewhere inside another."""
    parent = rows[row].parent
    while parent is not None and parent != around:
        parent = rows[parent].parent
    return parent == around
