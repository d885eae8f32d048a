"""What folded rows are: a tree of places and groups."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Union

LONGEST = 60  # characters that a group may take inside another group's title

Item = Union[int, "Group"]


@dataclass(frozen=True)
class Group:
    """Rows that one line can stand for.

    Attributes:
        kind: `"parallel"`, `"run"` or `"block"`; `fold` says what each is.
        count: how many copies there are.
        copies: the items of each copy, all of them; the first one represents the others, and its items stand in the
            same order as theirs.
        title: what the line says, such as `"32 x (Lambda -> Conv2D)"`.
    """

    kind: str
    count: int
    copies: list[list[Item]]
    title: str


def members(item: Item) -> list[int]:
    """The places of all rows that an item stands for, in order.

    Args:
        item: a place, or a group.

    Returns:
        The places, each once.

    Example:
        >>> members(Group("run", 2, [[3, Group("parallel", 3, [[4], [5], [6]], "3 x ReLU")], [7, 8]], "..."))
        [3, 4, 5, 6, 7, 8]
    """
    found: list[int] = []
    waiting = [item]
    while waiting:
        item = waiting.pop()
        if isinstance(item, Group):
            waiting.extend(member for copy in item.copies for member in copy)
        else:
            found.append(item)
    return sorted(found)


def moved(items: Sequence[Item], places: dict[int, int]) -> list[Item]:
    """The same items for other rows.

    Args:
        items: items.
        places: for the place of each row that of the other one.
    """
    return [
        Group(item.kind, item.count, [moved(copy, places) for copy in item.copies], item.title)
        if isinstance(item, Group)
        else places[item]
        for item in items
    ]


def chain(words: Sequence[str], telling: Sequence[bool]) -> str:
    """Words with arrows between; of a long chain the first three, what tells most, and the last.

    Args:
        words: a word for each item.
        telling: which of them a short title keeps; where these are groups, the title has room for one word before them.

    Example:
        >>> chain(["Conv2D", "ReLU", "Conv2D", "ReLU", "Conv2D", "Add", "ReLU"], [False] * 5 + [True, False])
        '(Conv2D -> ReLU -> Conv2D -> ... -> Add -> ReLU)'
        >>> chain(["Dense"], [False]), chain(["Dense x 3"], [False])
        ('Dense', '(Dense x 3)')
    """
    if len(words) == 1:
        return f"({words[0]})" if " " in words[0] else words[0]
    last = len(words) - 1
    begin = 1 if any(keep and " " in word for word, keep in zip(words, telling, strict=True)) else 3
    shown = [
        i < begin or i == last or last < 5 or (keep and len(word) <= LONGEST)
        for i, (word, keep) in enumerate(zip(words, telling, strict=True))
    ]
    parts = [word if keep else "..." for word, keep in zip(words, shown, strict=True)]
    return f"({' -> '.join(part for i, part in enumerate(parts) if shown[i] or shown[i - 1])})"
