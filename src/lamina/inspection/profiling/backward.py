"""The way back: which row made which node of autograd's graph, and when the nodes are at work."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

from lamina.inspection.profiling.timeline import OUTSIDE, Makers, Timeline


@contextmanager
def watched_backward(
    loss: torch.Tensor, makers: Makers, owners: Mapping[int, int], timeline: Timeline
) -> Iterator[None]:
    """Note on a timeline when the work of `loss.backward()` passes from one row to another.

    Autograd runs the node with the highest number first. So only where two nodes that follow each other are of
    different rows is there a hook; each one costs time.

    Args:
        loss: where the way back begins.
        makers: which row made which node.
        owners: by id of a parameter the row that it belongs to.
        timeline: where the moments go.
    """
    nodes, givers = _graph_of(loss)
    handles: list[Any] = []
    try:
        current = OUTSIDE  # with which a timeline begins
        for node in sorted((n for n in nodes if not _gathers(n)), key=lambda n: n._sequence_nr(), reverse=True):
            row = makers.of(node._sequence_nr())
            if row != current:
                handles.append(node.register_prehook(_calling(timeline.switch, row)))
                current = row
        for node in filter(_gathers, nodes):
            owner = owners.get(id(node.variable))
            if owner is not None and any(makers.of(giver._sequence_nr()) != owner for giver in givers[node]):
                handles += _visit(node, owner, timeline)
        yield
    finally:
        for handle in handles:
            handle.remove()


def _gathers(node: Any) -> bool:
    """Whether a node adds to the gradient of a parameter."""
    return type(node).__name__ == "AccumulateGrad"


def _graph_of(loss: torch.Tensor) -> tuple[list[Any], dict[Any, list[Any]]]:
    """All nodes behind `loss`, and for those that gather gradients the nodes that give them."""
    seen: dict[Any, None] = {loss.grad_fn: None}
    givers: dict[Any, list[Any]] = defaultdict(list)
    waiting: list[Any] = [loss.grad_fn]
    while waiting:
        node = waiting.pop()
        for following, _ in node.next_functions:
            if following is None:
                continue
            if _gathers(following):
                givers[following].append(node)
            if following not in seen:
                seen[following] = None
                waiting.append(following)
    return list(seen), givers


def _calling(function: Callable[[int], None], row: int) -> Callable[..., None]:
    """A hook that tells `function` of a row."""
    return lambda *_: function(row)


def _visit(node: Any, row: int, timeline: Timeline) -> list[Any]:
    """Hooks that give the time of one node to `row`, and what comes then to whoever was at work before."""
    before: list[int] = []

    def enter(*_: Any) -> None:
        before.append(timeline.current)
        timeline.switch(row)

    def leave(*_: Any) -> None:
        timeline.switch(before.pop())

    return [node.register_prehook(enter), node.register_hook(leave)]
