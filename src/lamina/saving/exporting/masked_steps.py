"""Sequences of which some steps do not count, for torch's recurrent modules, which know no masks.

The steps that count are moved to the front of each row, where the module meets them as a loop would that skips the
others; what it makes of the rest is never read.
"""

from __future__ import annotations

from typing import Any

import torch


def in_front(x: Any, mask: Any) -> Any:
    """`x` with the steps that count first, in their order, and zeros behind them.

    Args:
        x: `(batch, steps, features)`.
        mask: bool `(batch, steps)`.

    Example:
        >>> in_front(torch.tensor([[[1.0], [2.0], [3.0]]]), torch.tensor([[True, False, True]])).flatten().tolist()
        [1.0, 3.0, 0.0]
    """
    place = mask.to(torch.int64).cumsum(1) - 1
    behind = torch.full_like(place, 0) + mask.size(1)  # where the other steps go, to be cut off
    target = torch.where(mask, place, behind).unsqueeze(-1).expand_as(x)
    room = torch.cat([torch.zeros_like(x), torch.zeros_like(x[:, :1])], 1)
    return room.scatter(1, target, x)[:, :-1]


def back_in_place(y: Any, mask: Any) -> Any:
    """Outputs of moved steps where the steps were; a step that does not count repeats the one before, zero at first.

    Args:
        y: `(batch, steps, units)`.
        mask: bool `(batch, steps)`.

    Example:
        >>> back_in_place(torch.tensor([[[1.0], [3.0], [0.0]]]), torch.tensor([[True, False, True]])).flatten().tolist()
        [1.0, 1.0, 3.0]
    """
    count = mask.to(torch.int64).cumsum(1)
    return _taken(y, count)


def at_last(y: Any, mask: Any) -> Any:
    """The output after the last step that counts; zero if there is none.

    Args:
        y: `(batch, steps, units)`.
        mask: bool `(batch, steps)`.

    Example:
        >>> at_last(torch.tensor([[[1.0], [3.0], [0.0]]]), torch.tensor([[True, True, False]])).tolist()
        [[3.0]]
    """
    return _taken(y, mask.to(torch.int64).sum(1, keepdim=True))[:, 0]


def _taken(y: Any, count: Any) -> Any:
    """For each of `count`, `(batch, n)`, the output of that many steps."""
    place = (count - 1).clamp(min=0).unsqueeze(-1)
    return y.gather(1, place.expand(-1, -1, y.size(-1))).masked_fill((count == 0).unsqueeze(-1), 0.0)
