"""Clocks for work on a processor, and for work that a device does by and by."""

from __future__ import annotations

import time
from typing import Any

import torch


class HostClock:
    """The time of this process, for devices that have done their work when a call returns."""

    def stamp(self) -> Any:
        """A moment, to be given to `seconds` once `settle` has been called."""
        return time.perf_counter()

    def settle(self) -> None:
        """Wait until all moments so far have come."""

    def seconds(self, begin: Any, end: Any) -> float:
        """The time between two moments.

        Args:
            begin: the first.
            end: the second.
        """
        return end - begin


class WaitingClock(HostClock):
    """The time of this process, which waits for the device at each moment.

    Args:
        device: which.
    """

    def __init__(self, device: torch.device) -> None:
        self._wait: Any = torch.get_device_module(device).synchronize

    def stamp(self) -> Any:
        """A moment at which the device has done what it was given."""
        self._wait()
        return time.perf_counter()


class EventClock(HostClock):
    """The time of a device, which notes the moments between its own pieces of work; nobody waits for it.

    Args:
        device: which.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._module: Any = torch.get_device_module(device)

    def stamp(self) -> Any:
        """The moment at which the device has done what it was given so far."""
        event = self._module.Event(enable_timing=True)
        event.record(self._module.current_stream(self._device))
        return event

    def settle(self) -> None:
        """Wait for the device."""
        self._module.synchronize(self._device)

    def seconds(self, begin: Any, end: Any) -> float:
        """The time between two moments, by the device."""
        return begin.elapsed_time(end) / 1e3


def clock_for(device: torch.device) -> HostClock:
    """The clock that suits a device.

    Args:
        device: which.

    Example:
        >>> clock = clock_for(torch.device("cpu"))
        >>> clock.seconds(clock.stamp(), clock.stamp()) >= 0
        True
    """
    if device.type == "cpu":
        return HostClock()
    module = torch.get_device_module(device)
    timed = hasattr(module, "Event") and hasattr(module, "current_stream")
    return EventClock(device) if timed else WaitingClock(device)
