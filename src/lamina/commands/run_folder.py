"""The folder that a run leaves behind: curves, history, weights, and how it was made."""

from __future__ import annotations

import contextlib
import csv
import json
import math
import os
import secrets
import shutil
from pathlib import Path
from typing import Any

from lamina.atomic import atomic_path, sync
from lamina.callbacks.curves import plot_history
from lamina.errors import ArgumentError, LoadError, write_error

_ARGUMENTS = "arguments.json"


class RunFolder:
    """A folder that appears whole or not at all.

    Args:
        path: where it will be; it must not exist, except as an empty folder.

    Attributes:
        path: where it is, once written; with a number behind it if something else has taken the place meanwhile.
        names: the files in it, once written.

    Raises:
        ArgumentError: something is there already, or nothing can be written there.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.names: list[str] = []
        if not _is_free(path) or os.path.ismount(path):
            raise ArgumentError(
                f"'{path}' exists already",
                expected="a folder that does not",
                received=_kind(path),
                fix="choose another --out, or remove it",
            )
        nearest = next(parent for parent in Path(os.path.abspath(path)).parents if parent.exists())
        try:  # better now than after the training
            probe = nearest / _part_of(path).name
            probe.mkdir()
            probe.rmdir()
        except OSError as error:
            raise ArgumentError(
                f"Nothing can be written under '{nearest}'",
                expected="a folder where a new one can be made",
                received=str(error.strerror),
                fix="choose another --out",
            ) from error

    def write(self, model: Any, history: Any, results: dict[str, Any], confusion: list[list[int]]) -> None:
        """Write every file beside the final place, then move the folder there at once.

        Args:
            model: whose weights are kept.
            history: what `fit` returned.
            results: numbers and settings for `results.json`.
            confusion: the confusion table.

        Raises:
            OSError: a file cannot be written; nothing is left behind then.
        """
        final = Path(os.path.abspath(self.path))
        part = _part_of(final)
        new_parents = [parent for parent in final.parents if not parent.exists()]
        try:
            part.mkdir(parents=True)
            _write_history(part, history)
            _write_json(part / "results.json", {**results, "confusion": confusion})
            model.save_weights(part / "weights.safetensors")
            if history.epoch:
                plot_history(history, part / "curves.png")
            self.names = sorted(file.name for file in part.iterdir())
            for file in part.iterdir():
                sync(file)
            sync(part)
            number = 0
            while not _is_free(final):  # taken since the training began
                number += 1
                final = Path(os.path.abspath(f"{self.path}-{number}"))
            if os.name == "nt" and final.exists():  # where nothing can be moved onto a folder, even an empty one
                final.rmdir()
            os.replace(part, final)
            sync(final.parent)
            self.path = Path(f"{self.path}-{number}") if number else self.path
        except BaseException:
            shutil.rmtree(part, ignore_errors=True)
            for parent in new_parents:
                with contextlib.suppress(OSError):
                    parent.rmdir()
            raise


def keep_arguments(folder: Path, arguments: dict[str, Any]) -> None:
    """Note how a run that can be resumed was begun, or see that it goes on in the same way.

    Args:
        folder: that of the run; it is made if need be.
        arguments: those of the command, in what JSON has.

    Raises:
        LoadError: it was begun with other arguments.
        WriteError: nothing can be written there.
    """
    if same_arguments(folder, arguments):
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with atomic_path(folder / _ARGUMENTS) as part:
            _write_json(part, arguments)
    except OSError as error:
        raise write_error(folder, error, fix="choose another --resume") from error


def same_arguments(folder: Path, arguments: dict[str, Any]) -> bool:
    """Whether a run was begun in a folder with these arguments; without a run, no.

    Args:
        folder: that of the run.
        arguments: those of the command.

    Raises:
        LoadError: it was begun with other arguments.
    """
    try:
        before = json.loads((folder / _ARGUMENTS).read_text(encoding="utf-8"))
        differ = [name for name in {**before, **arguments} if before.get(name) != arguments.get(name)]
    except FileNotFoundError:
        return False
    except (OSError, ValueError, TypeError) as error:
        raise LoadError(
            f"'{folder}' holds no run that can be resumed",
            expected=f"the {_ARGUMENTS} that lamina train wrote there",
            received=str(error).splitlines()[0],
            fix="choose another --resume",
        ) from error
    if differ:
        raise LoadError(
            f"The run in '{folder}' was begun with other arguments",
            expected=", ".join(f"--{name.replace('_', '-')} {before.get(name)}" for name in differ),
            received=", ".join(f"--{name.replace('_', '-')} {arguments.get(name)}" for name in differ),
            fix="start the same command, or choose another --resume",
        )
    return True


def _is_free(path: Path) -> bool:
    """Whether there is nothing at `path`, or an empty folder."""
    empty = not path.exists() or (path.is_dir() and not any(path.iterdir()))
    return empty and not path.is_symlink()


def _kind(path: Path) -> str:
    """What is at `path`."""
    if path.is_symlink():
        return "a link"
    return ("a mount point" if os.path.ismount(path) else "a folder with files") if path.is_dir() else "a file"


def _part_of(path: Path) -> Path:
    """A hidden name beside `path` that nobody else has."""
    path = Path(os.path.abspath(path))
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")


def _write_json(path: Path, content: Any) -> None:
    """Write `content` so that every reader takes it: in UTF-8, without NaN."""
    text = json.dumps(_finite(content), indent=2, ensure_ascii=False, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8", errors="backslashreplace")


def _finite(content: Any) -> Any:
    """`content` with `None` for numbers that JSON does not have."""
    if isinstance(content, dict):
        return {key: _finite(value) for key, value in content.items()}
    if isinstance(content, list):
        return [_finite(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content


def _write_history(folder: Path, history: Any) -> None:
    """One row an epoch, as CSV and JSON; what an interrupted epoch did not come to stays empty."""
    missing = {name: len(history.epoch) - len(values) for name, values in history.history.items()}
    columns = {name: values + [None] * missing[name] for name, values in history.history.items()}
    with open(folder / "history.csv", "w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["epoch", *columns])
        rows.writerows(zip(history.epoch, *columns.values(), strict=True))
    _write_json(folder / "history.json", {"epoch": history.epoch, **columns})
