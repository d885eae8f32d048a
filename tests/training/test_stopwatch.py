"""Timing steps, a lap at a time."""

from __future__ import annotations

from lamina.training.stopwatch import Stopwatch


class Device:
    """A clock, and a device that is behind until it is waited for."""

    def __init__(self) -> None:
        self.now = 0.0
        self.behind = 0.0
        self.waits = 0

    def work(self, seconds: float) -> None:
        self.behind += seconds

    def wait(self) -> None:
        self.waits += 1
        self.now += self.behind
        self.behind = 0.0


def test_the_devices_time_counts_and_is_waited_for_twice_a_lap():
    device = Device()
    watch = Stopwatch(lambda: device.now, device.wait, lap=5)
    device.work(100.0)  # before the first step
    for _ in range(10):
        watch.start()
        device.work(2.0)
        watch.count()
    assert watch.laps == [2.0, 2.0]
    assert device.waits == 4


def test_a_lap_goes_on_after_a_stop():
    device = Device()
    watch = Stopwatch(lambda: device.now, device.wait, lap=4)
    for step in range(4):
        watch.start()
        device.work(1.0)
        if step == 1:
            assert watch.count() == 0
            watch.stop()
            watch.stop()
            device.now += 50.0
        else:
            watch.count()
    assert watch.laps == [1.0]
