"""How callbacks say something to the user."""

from __future__ import annotations

import sys


def announce(message: str) -> None:
    """Write one line to standard output; a live progress bar stays below it.

    Args:
        message: the line.

    Example:
        >>> announce("Epoch 3: stopped early.")
        Epoch 3: stopped early.
    """
    sys.stdout.write(message + "\n")
    sys.stdout.flush()


def warn(message: str) -> None:
    """Write one line to standard error: something that the user should know, and that is no error.

    Args:
        message: the line.
    """
    sys.stderr.write(f"lamina: {message}\n")
    sys.stderr.flush()
