"""Clocks, and the peak of the machine by them."""

from __future__ import annotations

import time
from types import SimpleNamespace

import pytest
import torch

from lamina.inspection import machine_peak
from lamina.inspection.profiling import peak
from lamina.inspection.profiling.clocks import EventClock, HostClock, WaitingClock, clock_for


def test_the_clock_of_the_processor_goes():
    clock = clock_for(torch.device("cpu"))
    assert type(clock) is HostClock
    began = clock.stamp()
    time.sleep(0.01)
    assert 0.01 <= clock.seconds(began, clock.stamp()) < 5


class Event:
    """An event of a device on which each piece of work takes two milliseconds."""

    made = 0

    def __init__(self, enable_timing):
        assert enable_timing
        self.at = None

    def record(self, stream):
        Event.made += 1
        self.at = (Event.made, stream)

    def elapsed_time(self, other):
        return 2.0 * (other.at[0] - self.at[0])


def test_a_device_with_events_is_not_waited_for(monkeypatch):
    waits = []
    module = SimpleNamespace(Event=Event, current_stream=lambda device: f"stream of {device}", synchronize=waits.append)
    monkeypatch.setattr(torch, "get_device_module", lambda device: module)
    device = torch.device("cuda", 1)
    clock = clock_for(device)
    assert type(clock) is EventClock
    began, ended = clock.stamp(), clock.stamp()
    assert waits == [] and began.at[1] == "stream of cuda:1"
    clock.settle()
    assert waits == [device] and clock.seconds(began, ended) == pytest.approx(0.002)


def test_a_device_without_events_is_waited_for(monkeypatch):
    waits = []
    monkeypatch.setattr(
        torch, "get_device_module", lambda device: SimpleNamespace(synchronize=lambda: waits.append(device))
    )
    clock = clock_for(torch.device("mps"))
    assert type(clock) is WaitingClock
    assert clock.seconds(clock.stamp(), clock.stamp()) >= 0 and len(waits) == 2


@pytest.fixture
def fresh(monkeypatch):
    """No peak is known, and matrices are small."""
    monkeypatch.setattr(peak, "_found", {})
    monkeypatch.setattr(peak, "_SIZE", {"cpu": 64})


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_the_peak_is_measured_once_and_draws_no_random_number(fresh, monkeypatch, dtype):
    before = torch.get_rng_state()
    found = machine_peak("cpu", dtype)
    assert found > 0 and torch.equal(before, torch.get_rng_state())
    monkeypatch.setattr(peak, "_measured", lambda device, dtype: pytest.fail("measured again"))
    assert machine_peak(torch.device("cpu"), dtype) == found


def test_the_peak_is_the_best_of_all_products(fresh, monkeypatch):
    clock = SimpleNamespace(now=0.0, settle=lambda: None, seconds=lambda a, b: b - a)
    clock.stamp = lambda: clock.now
    takes = iter([9, 4, 2, 5, *[7] * (peak._TURNS - 3)])  # the first one warms up
    monkeypatch.setattr(peak, "clock_for", lambda device: clock)
    monkeypatch.setattr(peak, "_products", lambda a, b: [lambda: setattr(clock, "now", clock.now + next(takes))])
    assert machine_peak("cpu") == pytest.approx(2 * 64**3 / 2 / 1e9)


def test_a_dtype_in_which_the_device_does_not_multiply_has_no_peak(fresh, monkeypatch):
    def refuse(device, dtype):
        raise RuntimeError("not implemented for this dtype")

    monkeypatch.setattr(peak, "_measured", refuse)
    assert machine_peak("cpu", torch.float16) == 0
