"""A profile by a clock that only the modules of `slow_modules` move."""

from __future__ import annotations

import pytest
from slow_modules import FakeClock

from lamina.inspection.profiling import profiler


@pytest.fixture
def clock(monkeypatch):
    """The clock of every profile in this test; nothing else takes any time."""
    found = FakeClock()
    monkeypatch.setattr(profiler, "clock_for", lambda device: found)
    monkeypatch.setattr(profiler, "machine_peak", lambda device, dtype: 100.0)
    return found
