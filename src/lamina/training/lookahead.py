"""The next batch, made while this one is computed with, where a processor core is free to do it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

T = TypeVar("T")


def spare_core() -> bool:
    """Whether the process may use more cores than torch's kernels do, so that a thread would take nothing from them.

    Example:
        >>> spare_core() in (True, False)
        True
    """
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return allowed > torch.get_num_threads()


def one_ahead(makers: Iterator[Callable[[], T]]) -> Iterator[T]:
    """What each maker gives, in order; while a result is in use, the next one is made in a thread.

    Args:
        makers: functions without arguments that touch no random generator, since threads have no order.

    Returns:
        An iterator; an error of a maker is raised in its turn.

    Example:
        >>> list(one_ahead(iter([lambda: 1, lambda: 2])))
        [1, 2]
    """
    with ThreadPoolExecutor(1, thread_name_prefix="lamina-lookahead") as executor:
        waiting = None
        for maker in makers:
            following = executor.submit(maker)
            if waiting is not None:
                yield waiting.result()
            waiting = following
        if waiting is not None:
            yield waiting.result()
