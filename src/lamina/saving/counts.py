"""Numbers in configs that are no sizes of weights, and still cost memory, such as how many classes a metric has."""

from __future__ import annotations

import os
from typing import Any

from lamina.errors import LoadError

LIMITS = {"num_thresholds": 1_000_000, "num_classes": 10_000, "num_labels": 1_000_000, "max_bins": 1_000_000}
"""The memory of a table of classes grows with their square."""


def check_counts(data: Any) -> None:
    """Refuse a description of metrics that would take gigabytes before any data come.

    Args:
        data: from JSON.

    Raises:
        LoadError: a count is beyond measure.

    Example:
        >>> check_counts({"class_name": "AUC", "config": {"num_thresholds": 200}})
    """
    waiting = [data]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            for key in value.keys() & LIMITS.keys():
                if isinstance(value[key], (int, float)) and value[key] > LIMITS[key]:
                    raise LoadError(
                        f"The config asks for {key}={value[key]:.6g}.",
                        expected=f"at most {LIMITS[key]:,}",
                        received=str(value[key])[:60],
                        fix="do not load this file, or load it with compile=False",
                    )
            waiting.extend(value.values())
        elif isinstance(value, (list, tuple)):
            waiting.extend(value)


def numbers_that_fit() -> int:
    """How many float32 numbers this machine has free memory for; many, where it does not say."""
    try:
        with open("/proc/meminfo", encoding="ascii") as lines:
            for line in lines:
                if line.startswith("MemAvailable:"):
                    return int(line.split()[1]) * 1024 // 4
    except (OSError, ValueError):
        pass
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 4
    except (AttributeError, OSError, ValueError):  # Windows
        return 2**40
