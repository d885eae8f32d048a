"""What is put into a model so that it says whose work is going on, and taken out again."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch

from lamina.engine.layer import Layer
from lamina.engine.rewrite import Fused
from lamina.engine.symbolic import Operation
from lamina.engine.torch_module import TorchModule
from lamina.inspection.described import called_module, weights_of
from lamina.inspection.graphs import is_graph
from lamina.inspection.profiling.timeline import OUTSIDE, Timeline
from lamina.inspection.watching import tensors_in

_ABSENT: Any = object()


@dataclass
class Part:
    """What a row of a profile stands for: a layer, layers that run as one, or a module that may do work of its own.

    Attributes:
        layers: the layers' paths.
        class_name: their classes.
        modules: themselves, whose parameters are the row's.
        calls: how often a step calls it.
        output_bytes: the memory of what the calls give.
        has_row: whether it has a row; the time of others counts as outside of all layers.
    """

    layers: tuple[str, ...]
    class_name: str
    modules: list[torch.nn.Module] = field(default_factory=list)
    calls: int = 0
    output_bytes: int = 0
    has_row: bool = True


class Probes:
    """Tells a timeline which part of a model is at work, without switching anything off that makes the model fast.

    A graph runs its own code with a mark behind each call: layers that run as one stay one. The code of other modules
    is called through a function that notes when it begins and ends; torch and lamina look for hooks before they take
    a short way, so there are none.

    Args:
        model: the model.
        timeline: what is told.
    """

    def __init__(self, model: torch.nn.Module, timeline: Timeline) -> None:
        self.parts = [Part((), "")]
        self.surveying = False
        self._timeline = timeline
        self._entered = 0  # parts so far, which tells a module that does without the ones inside
        self._known: dict[Any, int] = {}
        self._swaps: list[tuple[dict[str, Any], str, Any]] = []
        self._watch(model, "")

    @contextmanager
    def installed(self, surveying: bool = False) -> Iterator[None]:
        """Let the model tell its timeline, in here.

        Args:
            surveying: whether calls and the memory of their results are counted meanwhile.
        """
        before = [(where, name, where.get(name, _ABSENT)) for where, name, _ in self._swaps]
        self.surveying = surveying
        try:
            for where, name, function in self._swaps:
                where[name] = function
            yield
        finally:
            self.surveying = False
            for where, name, kept in before:
                if kept is _ABSENT:
                    where.pop(name, None)
                else:
                    where[name] = kept

    def owners(self) -> dict[int, int]:
        """By id of a weight the first row that it belongs to, once the model has been surveyed."""
        found: dict[int, int] = {}
        for place, part in enumerate(self.parts):
            for module in part.modules if part.has_row and part.calls else ():
                for weight in weights_of(module):
                    found.setdefault(id(weight), place)
        return found

    # ------------------------------------------------------------------ where to
    def _watch(self, module: torch.nn.Module, path: str) -> None:
        """Follow a module, or what is inside it."""
        if id(module) in self._known:
            return
        self._known[id(module)] = -1
        if isinstance(module, Layer) and is_graph(module):
            self._watch_graph(module, path)
            return
        inside = _inside(module)
        name = path or getattr(module, "name", type(module).__name__)
        place = self._place((name,), [module])
        self.parts[place].has_row = not inside
        self._watch_calls(module, place)
        for child, child_path in inside:
            self._watch(child, f"{path}{'/' if isinstance(module, Layer) else '.'}{child_path}" if path else child_path)

    def _place(self, layers: tuple[str, ...], modules: list[torch.nn.Module], class_name: str = "") -> int:
        """The number of a part, which is one for all calls of the same layers."""
        key = (layers, *map(id, modules))
        if key not in self._known:
            names = class_name or " + ".join(type(called_module(module)).__name__ for module in modules)
            self._known[key] = len(self.parts)
            self.parts.append(Part(layers, names, modules))
        return self._known[key]

    def _watch_calls(self, module: torch.nn.Module, place: int) -> None:
        """Note when a module begins and ends."""
        name = "forward" if getattr(module, "_compiled_call_impl", None) is None else "_compiled_call_impl"
        inner, timeline, part = getattr(module, name), self._timeline, self.parts[place]

        @functools.wraps(inner)
        def timed(*args: Any, **kwargs: Any) -> Any:
            around = timeline.current
            self._entered += 1
            entered = self._entered
            timeline.switch(place)
            try:
                result = inner(*args, **kwargs)
            finally:
                timeline.switch(around)
            if self.surveying:
                part.has_row = part.has_row or entered == self._entered
                self._note(part, result)
            return result

        self._swaps.append((module.__dict__, name, timed))

    def _watch_graph(self, model: Any, path: str) -> None:
        """Let a graph run code with a mark behind each call."""
        timeline, places = self._timeline, dict[int, int]()
        prefix = f"{path}/" if path else ""

        def mark(number: int, *results: Any) -> None:
            place = places.get(number)
            timeline.close(timeline.current if place is None else place)
            self._entered += 1
            if self.surveying and place is not None:
                self._note(self.parts[place], results)

        _ = model.graph  # a Sequential writes its code when it is asked for it
        program = model._program_with(mark)
        for number, node in enumerate(program.graph.nodes):
            place = self._statement(node, prefix) if node.inputs else None
            if place is not None:
                places[number] = place
        marked = program.compile(f"lamina profile of {model.name}")

        def run(owner: Any, inputs: Any) -> Any:
            timeline.close(timeline.current)
            return marked(owner, inputs)

        self._swaps.append((model.__dict__, "_compiled", run))

    def _statement(self, node: Any, prefix: str) -> int | None:
        """The part for one call of a graph; `None` if it is that of a model, which tells of its own parts."""
        op = node.op
        if isinstance(op, Fused):
            return self._place(tuple(prefix + layer.name for layer in op.layers), list(op.layers))
        if isinstance(op, Operation):
            return self._place((prefix + op.name,), [], getattr(op.function, "__name__", "function"))
        if is_graph(op) or _inside(op):
            self._watch(op.module if isinstance(op, TorchModule) else op, prefix + op.name)
            return None
        return self._place((prefix + op.name,), [op])

    @staticmethod
    def _note(part: Part, results: Any) -> None:
        part.calls += 1
        part.output_bytes += sum(tensor.numel() * tensor.element_size() for tensor in tensors_in(results))


def _inside(module: torch.nn.Module) -> list[tuple[torch.nn.Module, str]]:
    """The modules to follow in place of `module`, with their names; none where it is one piece."""
    if isinstance(module, TorchModule):
        return _inside(module.module)
    if isinstance(module, Layer) and isinstance(getattr(type(module), "layers", None), property):  # a model
        return [(called_module(layer), layer.name) for layer in module.layers]
    if type(module).__module__.startswith("lamina.") and isinstance(module, Layer):
        return []
    if "_orig_mod" in module._modules or getattr(module, "_compiled_call_impl", None) is not None:  # compiled, as one
        return []
    by_name = isinstance(module, Layer)  # a torch module calls those inside by their attributes
    return [
        (child, child.name if by_name and isinstance(child, Layer) else key) for key, child in module.named_children()
    ]


def row_places(parts: list[Part]) -> list[int]:
    """For each part the place of the row that its time goes to: its own, or `OUTSIDE`.

    Args:
        parts: of a model that has been surveyed.
    """
    return [place if part.has_row and part.calls else OUTSIDE for place, part in enumerate(parts)]
