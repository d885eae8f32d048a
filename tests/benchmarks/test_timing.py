"""Turns and medians, with a clock that only the functions under test move."""

from __future__ import annotations

import pytest

from suite.timing import alternate, alternate_for, turns


class Clock:
    """Time that passes when a function says so; the calls are kept in their order."""

    def __init__(self):
        self.now, self.calls = 0.0, []

    def __call__(self):
        return self.now

    def function(self, name, *seconds):
        """A function whose calls take these seconds one after another; the last for all that follow."""
        left = list(seconds)

        def run():
            self.calls.append(name)
            self.now += left.pop(0) if len(left) > 1 else left[0]

        return run


def test_functions_take_turns():
    clock = Clock()
    times = turns({"a": clock.function("a", 1.0, 2.0), "b": clock.function("b", 5.0)}, 2, clock=clock)
    assert clock.calls == ["a", "b", "a", "b"]
    assert times == {"a": [1.0, 2.0], "b": [5.0, 5.0]}


def test_a_turn_of_several_calls_gives_the_time_of_one():
    clock = Clock()
    times = turns({"a": clock.function("a", 1.0, 3.0), "b": clock.function("b", 4.0)}, 1, calls=2, clock=clock)
    assert clock.calls == ["a", "a", "b", "b"]
    assert times == {"a": [2.0], "b": [4.0]}


def test_the_median_leaves_out_the_first_call_and_one_slow_turn():
    clock = Clock()
    found = alternate({"a": clock.function("a", 100.0, 1.0, 90.0, 2.0)}, 3, clock=clock)
    assert found == {"a": 2000.0}
    assert len(clock.calls) == 4


def test_times_are_those_of_one_of_the_things_that_a_function_does():
    clock = Clock()
    assert alternate({"a": clock.function("a", 4.0)}, 3, per=8, clock=clock) == {"a": 500.0}


def test_short_functions_are_called_until_the_fastest_fills_its_turn():
    clock = Clock()
    found = alternate_for({"a": clock.function("a", 0.25), "b": clock.function("b", 0.5)}, 2, 1.0, clock=clock)
    assert found == pytest.approx({"a": 250.0, "b": 500.0})
    # A call that does not count and two to learn how long it takes; then twice four, of both as many.
    assert clock.calls[6:] == (["a"] * 4 + ["b"] * 4) * 2
    assert clock.calls[:6] == ["a", "b"] * 3


def test_a_function_longer_than_its_turn_is_called_once():
    clock = Clock()
    alternate_for({"a": clock.function("a", 8.0)}, 3, 1.0, clock=clock)
    assert len(clock.calls) == 3 + 3


def test_a_clock_too_coarse_for_a_function_is_no_error():
    clock = Clock()
    assert alternate_for({"a": clock.function("a", 0.0)}, 1, 1.0, clock=clock) == {"a": 0.0}
