"""Rows that repeat themselves, taken together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lamina.inspection.report import Row


@dataclass(frozen=True)
class Group:
    """Rows that are shown as one.

    Attributes:
        kind: `"parallel"`, `"run"` or `"block"`.
        count: how many copies there are.
        copies: the items of each copy, in order: places of rows, or groups in their turn.
        title: what stands for them.
    """

    kind: str
    count: int
    copies: list[list[Any]]
    title: str


Item = int | Group


def fold(rows: list[Row]) -> list[Item]:
    """Take together the rows that repeat themselves.

    Args:
        rows: the rows of a report.

    Returns:
        Places of rows, and groups of them, in order.
    """
    return list(range(len(rows)))
