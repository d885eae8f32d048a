"""How a model that is a graph becomes a torch module: call by call."""

from __future__ import annotations

from typing import Any

from lamina.engine import nest
from lamina.models.functional import Functional
from lamina.models.sequential import Sequential
from lamina.saving.exporting.calls import walk
from lamina.saving.exporting.conversions import converts


@converts(Functional, Sequential)
def graph(builder: Any, model: Any, inputs: Any) -> Any:
    """Each call of the graph in turn.

    Args:
        builder: what the module is built with.
        model: the model.
        inputs: a nest of symbols, in any form that the model takes.
    """
    form = model.graph.inputs
    leaves = nest.flatten(inputs)
    if nest.is_nest(form) and isinstance(inputs, dict):
        leaves = nest.flatten(model.arrange_inputs(inputs))
    return walk(builder, model.graph, leaves)
