"""The command line: `lamina train`, `lamina summary`, `lamina plot`, `lamina profile`, `lamina inspect` and so on."""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Sequence
from typing import NoReturn

from lamina import __version__
from lamina.commands import convert, inspect, plot, profile, summary, train
from lamina.errors import LaminaError


class _Parser(argparse.ArgumentParser):
    """A parser that says in one line what is wrong."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        arguments: those after the program's name; by default the process's own.

    Returns:
        The exit status: 0, 2 for a mistake in the arguments, the data or the model that is looked at, 130 after Ctrl-C,
        except that training which is stopped so ends well, and what was done is written.

    Example:
        >>> main(["train", "--data", "no/such/folder"])
        2
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a class's name that the terminal cannot show is no reason to stop
    parser = _Parser(prog="lamina", description="Keras's words on PyTorch's engine.")
    parser.add_argument("--version", action="version", version=f"lamina {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    train.add_parser(commands)
    summary.add_parser(commands)
    plot.add_parser(commands)
    profile.add_parser(commands)
    inspect.add_parser(commands)
    convert.add_parser(commands)
    try:
        given = parser.parse_args(arguments)
    except SystemExit as stop:  # help, version, or a mistake that has been reported
        return int(stop.code or 0)
    try:
        status = given.run(given)
    except (LaminaError, OSError, MemoryError) as error:
        sys.stderr.write(f"lamina {given.command}: {_one_line(error)}\n")
        return 2
    except KeyboardInterrupt:
        sys.stderr.write(f"lamina {given.command}: interrupted\n")
        return 130
    return status or 0


def _one_line(error: BaseException) -> str:
    """An error as one clear line: what is wrong, the facts in parentheses, then what to do."""
    if isinstance(error, OSError) and error.strerror:
        text = error.strerror + (f": '{error.filename}'" if error.filename else "")
    elif isinstance(error, LaminaError):
        facts = (("expected", error.expected), ("received", error.received))
        details = "; ".join(f"{label} {fact}" for label, fact in facts if fact)
        text = error.what.rstrip(".") + (f" ({details})" if details else "")
        if error.fix:
            prose = error.fix.split()[0].isalpha()
            text += f". {error.fix[0].upper() if prose else error.fix[0]}{error.fix[1:]}"
    else:
        text = str(error) or type(error).__name__
    return " ".join(text.split()) + ("" if text.endswith((".", "?")) else ".")
