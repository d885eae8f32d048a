"""Moments on a timeline: each piece of time belongs to one row, each node of autograd's graph to one."""

from __future__ import annotations

import pytest
import torch
from slow_modules import FakeClock, taking

from lamina.inspection.profiling import timeline as module
from lamina.inspection.profiling.backward import watched_backward
from lamina.inspection.profiling.timeline import OUTSIDE, Makers, Timeline


def test_all_time_belongs_to_a_row():
    clock = FakeClock()
    timeline = Timeline(clock)
    clock.now = 100
    timeline.begin()
    for row, seconds in ((2, 1), (1, 2), (OUTSIDE, 4), (2, 8)):
        clock.now += seconds
        timeline.switch(row)
    clock.now += 16
    timeline.close(3)
    clock.now += 32
    timeline.end()
    assert timeline.seconds(4) == [1 + 8, 4, 2 + 32, 16]
    timeline.begin()
    timeline.end()
    assert timeline.seconds(4) == [0] * 4 and timeline.current == OUTSIDE


def test_a_node_belongs_to_the_row_that_was_at_work_when_it_was_made():
    makers = Makers([10, 12, 12, 20], [OUTSIDE, 1, 2, 3])
    assert [makers.of(number) for number in (9, 10, 11, 12, 19, 20)] == [OUTSIDE, 1, 1, 3, 3, OUTSIDE]


@pytest.mark.skipif(not hasattr(torch.autograd, "_get_sequence_nr"), reason="this torch does not count its nodes")
def test_torch_numbers_its_nodes_as_a_timeline_expects():
    timeline, weight = Timeline(FakeClock()), torch.ones(1, requires_grad=True)
    timeline.begin()
    timeline.switch(1)
    first = weight * 2
    timeline.switch(2)
    second = first.exp()
    timeline.end()
    makers = timeline.makers()
    assert [makers.of(tensor.grad_fn._sequence_nr()) for tensor in (first, second)] == [1, 2]
    assert makers.of((weight * 2).grad_fn._sequence_nr()) == OUTSIDE


def way_back(clock):
    """A chain of three rows, and what it takes back; the third row's weight is used by the first too."""
    timeline, weight = Timeline(clock), torch.ones(1, requires_grad=True)
    weight.register_post_accumulate_grad_hook(lambda _: setattr(clock, "now", clock.now + 8))
    timeline.begin()
    x = weight
    for row, seconds in ((1, 1), (2, 2), (3, 4)):
        timeline.switch(row)
        x = taking(x * weight if row == 3 else x * 1, clock, 0, seconds)
    timeline.end()
    with watched_backward(x, timeline.makers(), {id(weight): 3}, timeline):
        timeline.begin()
        x.backward()
        timeline.end()
    return timeline.seconds(4), weight


def test_the_way_back_belongs_to_the_rows_of_the_way_forward():
    seconds, weight = way_back(FakeClock())
    assert seconds == [0, 1, 2, 4 + 8] and weight.grad is not None


def test_without_numbers_the_way_back_is_one_row(monkeypatch):
    monkeypatch.setattr(module, "_next_number", lambda: 0)
    seconds, _ = way_back(FakeClock())
    assert seconds == [7, 0, 0, 8]


def test_no_hook_is_left_behind_even_after_an_error():
    clock, weight = FakeClock(), torch.ones(1, requires_grad=True)
    timeline = Timeline(clock)
    timeline.begin()
    timeline.switch(1)
    y = weight * 2
    timeline.end()
    with pytest.raises(KeyError), watched_backward(y, timeline.makers(), {}, timeline):
        raise KeyError("on purpose")
    stamps = clock.stamps
    y.backward()
    assert clock.stamps == stamps, "a hook is still there"
