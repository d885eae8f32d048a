"""The one hierarchy of errors that lamina raises.

Every message answers four questions in the same order: where it happened (the layer's path), what was
expected, what was received, and one thing to do about it. Each class also derives from the built-in
exception that Python programmers expect, so `except ValueError` keeps working.
"""

from __future__ import annotations

import difflib
import errno
from collections.abc import Iterable


class LaminaError(Exception):
    """The root of every error that lamina raises on purpose.

    The path grows on the way out: a layer that sees one of these pass through puts its own name in front,
    so an error raised deep inside a nested model names every level.

    Args:
        what: one sentence on what went wrong.
        expected: what would have been right, or `None` when `what` says it.
        received: what came instead, with its values.
        fix: one thing that the reader can do.
        path: names of the layers around the fault, outermost first.

    Example:
        >>> print(LaminaError("The batch is empty.", expected="at least 1 row", received="0 rows",
        ...                   fix="check the data set's length"))
        The batch is empty.
          expected: at least 1 row
          received: 0 rows
          fix:      check the data set's length
    """

    def __init__(
        self,
        what: str,
        *,
        expected: str | None = None,
        received: str | None = None,
        fix: str | None = None,
        path: Iterable[str] = (),
    ) -> None:
        super().__init__(what)
        self.what = what
        self.expected = expected
        self.received = received
        self.fix = fix
        self.path: list[str] = list(path)

    def __str__(self) -> str:
        where = f"Layer '{'/'.join(self.path)}': " if self.path else ""
        lines = [where + self.what]
        for label, text in (("expected", self.expected), ("received", self.received), ("fix", self.fix)):
            if text:
                lines.append(f"  {label + ':':<9} {text}")
        return "\n".join(lines)


class ArgumentError(LaminaError, ValueError):
    """An argument has a value that its function cannot take."""


class UnknownNameError(LaminaError, ValueError):
    """A string names no registered object; the message offers the nearest name."""


class ShapeError(LaminaError, ValueError):
    """A tensor's shape does not fit the layer, loss or metric that received it."""


class DtypeError(LaminaError, TypeError):
    """A tensor's dtype, or an argument's type, cannot be used here."""


class GraphError(LaminaError, ValueError):
    """A functional graph is disconnected, cyclic, or names two layers alike."""


class NotBuiltError(LaminaError, ValueError):
    """The weights of a layer are needed before they exist."""


class NotCompiledError(LaminaError, ValueError):
    """Training or evaluation is asked of a model that has no loss and optimizer yet."""


class DataError(LaminaError, ValueError):
    """The data given to `fit`, `evaluate` or `predict` do not fit together, or ran out."""


class TargetError(LaminaError, ValueError):
    """Labels do not have the form that the loss or metric takes."""


class WeightsError(LaminaError, ValueError):
    """Weights given to a layer do not match the ones that it has."""


class NonFiniteError(LaminaError, ArithmeticError):
    """A value became NaN or infinite."""


class ExportError(LaminaError, ValueError):
    """A model cannot be written in the form that is asked for."""


class LoadError(LaminaError, ValueError):
    """A file cannot be read as what it claims to be, or must not be."""


class WriteError(LaminaError, OSError):
    """A file cannot be written; what was there before is untouched."""


def write_error(path: object, error: OSError, fix: str | None = None) -> WriteError:
    """The error for a file that the system did not let us write.

    Args:
        path: the file.
        error: what the system said.
        fix: one thing that the reader can do, if it is not the usual one.

    Returns:
        The error, with the system's number in `errno`.

    Example:
        >>> print(write_error("a.state", OSError(28, "No space left on device")))
        a.state cannot be written.
          received: No space left on device
          fix:      free some space on the disk, or write to another one
    """
    if isinstance(error, WriteError):
        return error
    full = error.errno in (None, errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    usual = "free some space on the disk, or write to another one" if full else "check the folder and its permissions"
    place = f": {error.filename}" if error.filename is not None and str(error.filename) != str(path) else ""
    made = WriteError(
        f"{path} cannot be written.", received=(error.strerror or str(error)) + place, fix=usual if fix is None else fix
    )
    made.errno = error.errno
    return made


def nearest(name: str, names: Iterable[str]) -> str | None:
    """The member of `names` most like `name`, or `None` when nothing is close.

    Example:
        >>> nearest("adm", ["sgd", "adam", "rmsprop"])
        'adam'
    """
    by_lower = {n.lower(): n for n in sorted(names, reverse=True)}
    close = difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=0.5)
    return by_lower[close[0]] if close else None


def unknown_name(kind: str, name: object, names: Iterable[str], spellings: Iterable[str] = ()) -> UnknownNameError:
    """The error for a string that names nothing, with the nearest known name as its fix.

    Args:
        kind: what is named, such as `"optimizer"`.
        name: what was passed.
        names: what there is.
        spellings: other forms that are accepted; one in the letter case of `name` is offered first.

    Example:
        >>> print(unknown_name("optimizer", "adm", ["Adam", "SGD"], ["adam", "sgd"]).fix)
        did you mean 'adam'?
    """
    names = sorted(names)
    guess = None
    if isinstance(name, str):
        alike = [spelling for spelling in spellings if spelling.islower() == name.islower()]
        guess = nearest(name, alike) or nearest(name, names)
    return UnknownNameError(
        f"There is no {kind} named {name!r}.",
        expected="one of " + ", ".join(names),
        received=repr(name),
        fix=f"did you mean {guess!r}?" if guess else f"pass one of the names above, or the {kind} itself",
    )
