"""Modules that a test's scripts become."""

from __future__ import annotations

import sys
from pathlib import Path


def forget_modules_of(folder: Path) -> None:
    """Forget the modules whose files are in a folder; what torch has imported meanwhile stays.

    Another dict in place of `sys.modules` would not do: imports that run in C keep to the first one.
    """
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None) or "").startswith(str(folder)):
            del sys.modules[name]
