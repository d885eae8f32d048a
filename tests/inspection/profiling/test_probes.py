"""Probes: put in, taken out, and what they leave alone."""

from __future__ import annotations

import pytest
import torch
from slow_modules import FakeClock, Slow
from torch import nn

from lamina.inspection.profiling.batches import batches_for
from lamina.inspection.profiling.probes import Probes
from lamina.inspection.profiling.steps import Steps
from lamina.inspection.profiling.timeline import Timeline
from lamina.layers import Dense, Input
from lamina.models import Sequential


def both():
    """A torch module and a graph in it."""
    model = nn.Sequential(nn.Linear(4, 4), Sequential([Input((4,)), Dense(2, name="dense")]))
    model(torch.ones(1, 4))
    return model


@pytest.mark.parametrize("fails", [False, True])
def test_probes_are_gone_after_each_step(fails):
    model, clock = both(), FakeClock()
    probes, compiled = Probes(model, Timeline(clock)), model[1]._compiled
    own = [sorted(vars(module)) for module in model.modules()]
    try:
        with probes.installed():
            assert "forward" in vars(model[0]) and model[1]._compiled is not compiled
            model(torch.ones(2, 4))
            assert clock.stamps
            if fails:
                raise KeyError("on purpose")
    except KeyError:
        assert fails
    stamps = clock.stamps
    model(torch.ones(2, 4))
    assert clock.stamps == stamps and model[1]._compiled is compiled
    assert [sorted(vars(module)) for module in model.modules()] == own


def test_a_function_in_place_of_forward_is_put_back():
    model, calls = nn.Sequential(nn.Linear(4, 4)), []
    inner = model[0].forward
    model[0].forward = own = lambda x: calls.append(1) or inner(x)
    probes = Probes(model, Timeline(FakeClock()))
    with probes.installed():
        model(torch.ones(1, 4))
    assert calls == [1] and model[0].forward is own


def test_calls_and_memory_are_counted_in_a_survey_alone():
    model = both()
    probes = Probes(model, Timeline(FakeClock()))
    for surveying in (False, True, False):
        with probes.installed(surveying), torch.no_grad():
            model(torch.ones(3, 4))
    found = {part.layers: (part.calls, part.output_bytes) for part in probes.parts if part.has_row and part.layers}
    assert found == {("0",): (1, 3 * 4 * 4), ("1/dense",): (1, 3 * 2 * 4)}


def test_steps_drop_their_gradients_and_watch_only_when_they_should():
    clock = FakeClock()
    model = nn.Sequential(Slow(clock, 0.5, 0.25))
    (batch, _) = batches_for(model, (3,), None, 2)
    timeline = Timeline(clock)
    steps, probes = Steps(model, batch, True, clock), Probes(model, timeline)
    with steps.going_on():
        assert steps.plain() == 0.75 and model[0].weight.grad is None
        stamps = clock.stamps
        forward, backward = steps.watched(probes, timeline, {})
        assert (sum(forward), sum(backward)) == (0.5, 0.25) and model[0].weight.grad is None
        assert clock.stamps > stamps + 4
