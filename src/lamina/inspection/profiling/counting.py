"""The floating-point operations of each part of a model, on one way forward."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from lamina.engine.layer import Layer
from lamina.inspection.flops import flops_of
from lamina.inspection.measuring import measure
from lamina.inspection.profiling.clocks import HostClock
from lamina.inspection.profiling.probes import Probes
from lamina.inspection.profiling.steps import Steps
from lamina.inspection.profiling.timeline import Timeline


class _Counter(TorchDispatchMode, HostClock):
    """A clock that shows how many operations there were; without hooks, so that layers run as one do so."""

    def __init__(self) -> None:
        super().__init__()
        self._total = 0

    def stamp(self) -> Any:
        return self._total

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        with self:  # what a composed operation consists of may be known
            result = func.decompose(*args, **kwargs)
        if result is NotImplemented:
            result = func(*args, **kwargs)
            self._total += flops_of(func, args, kwargs, result)
        return result


def count_flops(steps: Steps, probes: Probes, timeline: Timeline) -> list[float]:
    """For each part the operations of one way forward: what `measure` says of a layer, else what torch counts.

    Args:
        steps: of the model.
        probes: of the model, which has been surveyed.
        timeline: theirs.
    """
    counted = _counted(steps, probes, timeline)
    known = _known(steps.model)
    found: list[float] = []
    for part, operations in zip(probes.parts, counted, strict=True):
        by_name = [known.get(layer, (0, 1)) for layer in part.layers if part.has_row]
        stated = sum(flops / calls for flops, calls in by_name) * max(part.calls, 1) * steps.batch.size
        found.append(stated or operations)
    return found


def _counted(steps: Steps, probes: Probes, timeline: Timeline) -> list[float]:
    """What torch's own counter sees while each part is at work; it does not know every operation."""
    clock, count = timeline.clock, len(probes.parts)
    try:
        with torch.no_grad(), _Counter() as counter, probes.installed():
            timeline.clock = counter
            timeline.begin()
            steps.call()
            timeline.end()
            return timeline.seconds(count)
    except Exception:  # such as an operation that does not run while others look on; the table then has no figures
        return [0.0] * count
    finally:
        timeline.clock = clock


def _known(model: Any) -> dict[str, tuple[int, int]]:
    """By a layer's path its operations for one sample over all calls, and the number of the calls."""
    if not isinstance(model, Layer) or not hasattr(model, "layers"):
        return {}
    return {row.path: (row.flops, max(len(row.call_shapes), 1)) for row in measure(model, expand_nested=True).rows}
