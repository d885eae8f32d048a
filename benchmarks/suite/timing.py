"""Times of functions that take turns, so that a drift of the machine's speed falls on all of them alike."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

Function = Callable[[], Any]
Clock = Callable[[], float]


def turns(
    functions: Mapping[str, Function], repeats: int, calls: int = 1, clock: Clock = time.perf_counter
) -> dict[str, list[float]]:
    """Seconds a call of each function, turn by turn: the first, the second, ..., the first again.

    Args:
        functions: under their names.
        repeats: how many turns each has.
        calls: how often a function is called in one turn.
        clock: gives the seconds since some moment.

    Returns:
        One list for each function, of `repeats` times.
    """
    times: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(repeats):
        for name, function in functions.items():
            began = clock()
            for _ in range(calls):
                function()
            times[name].append((clock() - began) / calls)
    return times


def alternate(
    functions: Mapping[str, Function], repeats: int, per: int = 1, clock: Clock = time.perf_counter
) -> dict[str, float]:
    """The median milliseconds of each function, all of them run in turn after one call that does not count.

    Args:
        functions: under their names.
        repeats: how many turns each has.
        per: how many things of the same kind a function does; the time is that of one.
        clock: gives the seconds since some moment.
    """
    for function in functions.values():
        function()
    times = turns(functions, repeats, clock=clock)
    return {name: statistics.median(values) / per * 1e3 for name, values in times.items()}


def alternate_for(
    functions: Mapping[str, Function], repeats: int, seconds: float, clock: Clock = time.perf_counter
) -> dict[str, float]:
    """`alternate` for functions too short to be timed alone: a turn is as many calls as take about `seconds`.

    Args:
        functions: under their names.
        repeats: how many turns each has.
        seconds: how long the fastest function's turn should be; the others are called as often.
        clock: gives the seconds since some moment.
    """
    for function in functions.values():
        function()
    fastest = min(min(values) for values in turns(functions, 2, clock=clock).values())
    calls = max(1, math.ceil(seconds / fastest)) if fastest > 0 else 1
    times = turns(functions, repeats, calls, clock)
    return {name: statistics.median(values) * 1e3 for name, values in times.items()}
