"""The model that a command is about."""

from __future__ import annotations

import runpy
from typing import Any

from lamina.errors import ArgumentError


def load_target(text: str) -> Any:
    """The model that `text` names.

    Args:
        text: `FILE.py:NAME`.

    Raises:
        ArgumentError: it names none.
    """
    file, _, name = text.rpartition(":")
    found = runpy.run_path(file) if file else {}
    if name not in found:
        raise ArgumentError(f"{text!r} names no model", expected="FILE.py:NAME")
    return found[name]
