"""What a command is about: a model in a user's script, in a module, or in a file."""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.util
import inspect
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from lamina.errors import ArgumentError, LoadError, nearest
from lamina.saving import load_model, model_from_json, model_from_yaml

FORMS = (
    "a saved model (.keras, .h5, .json, .yaml), or FILE.py:NAME or package.module:NAME, where NAME is a model, or a "
    "class or function that makes one"
)


_SUFFIXES = (".keras", ".h5", ".hdf5", ".json", ".yaml", ".yml", ".safetensors", ".pt", ".pth")


def load_target(text: str) -> Any:
    """The model that a command is to look at.

    A script is run as a module of its own name, not as `__main__`, with its folder first among those that it imports
    from. This is for a user's own words on the command line: nothing that is read from a file may come here.

    Args:
        text: a saved model's path, `path/to/script.py:NAME` or `package.module:NAME`. `NAME` may have dots in it; a
            class or function that needs no arguments is called.

    Returns:
        A torch module, such as each model of lamina is.

    Raises:
        ArgumentError: there is no such script, module or name, the script fails, or the name is of no model.
        LoadError: `text` is a file that holds no model, or must not be read.

    Example:
        >>> load_target("torch.nn:Identity")
        Identity()
    """
    place, colon, name = text.rpartition(":")
    if not colon or Path(text).exists():  # a file's name may have a colon in it
        _refuse_without_name(text)
        return _load_file(Path(text))
    if not place or not name:
        raise ArgumentError(f"{text!r} names no model", expected=FORMS)
    if Path(place).suffix == ".py" or os.sep in place or Path(place).is_file():
        path = Path(place).expanduser()
        module = _run_script(path)
        return _model_of(module, name, f"'{place}'", lambda action: _run(action, path, place))
    module = _import_module(place)
    return _model_of(module, name, f"module {place!r}", lambda action: _run(action, _file_of(module), place))


def _load_file(path: Path) -> Any:
    """A model from a file that was saved, not compiled."""
    if path.suffix in (".json", ".yaml", ".yml"):
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise LoadError(f"'{path}' is no text", expected="an architecture in UTF-8", received=str(error)) from error
        return (model_from_json if path.suffix == ".json" else model_from_yaml)(text)
    if path.suffix in (".keras", ".h5", ".hdf5"):
        return load_model(path, compile=False)
    raise LoadError(f"'{path}' holds no model that can be looked at", expected=FORMS)


def _refuse_without_name(text: str) -> None:
    """Raise unless `text` is a file that may hold a model."""
    path = Path(text)
    script = path.suffix == ".py"
    if path.is_dir() or (script and path.exists()):
        fix = f"write '{text}:model', say" if script else None
        kind = "a folder" if path.is_dir() else "a script"
        raise ArgumentError(f"'{text}' is {kind}, and no model", expected=FORMS, fix=fix)
    if not path.exists():
        file = script or path.suffix in _SUFFIXES or os.sep in text
        what = f"There is no file '{text}'" if file else f"{text!r} names no model"
        raise ArgumentError(what, expected=FORMS)


def _run_script(path: Path) -> ModuleType:
    """The module that a script makes when it is run."""
    if not path.is_file():
        guess = nearest(path.name, (other.name for other in path.parent.glob("*.py")))
        raise ArgumentError(
            f"There is no file '{path}'",
            expected=FORMS,
            fix=f"did you mean '{path.parent / guess}'?" if guess else None,
        )
    if path.suffix not in (".py", ""):
        raise ArgumentError(f"'{path}' is no Python script", expected=FORMS)
    folder = str(path.resolve().parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    # A script that is called like a module that is in use, such as torch.py, does not take its place.
    name = path.stem if path.stem not in sys.modules else f"{path.stem}_script"
    loader = importlib.machinery.SourceFileLoader(name, str(path.resolve()))
    module = importlib.util.module_from_spec(importlib.machinery.ModuleSpec(name, loader, origin=str(path.resolve())))
    module.__file__ = str(path.resolve())
    sys.modules[name] = module  # as dataclasses and pickle look their module up there
    caching, sys.dont_write_bytecode = sys.dont_write_bytecode, True  # running a script leaves nothing beside it
    try:
        _run(lambda: loader.exec_module(module), path, str(path))
    except BaseException:
        sys.modules.pop(name, None)
        raise
    finally:
        sys.dont_write_bytecode = caching
    return module


def _import_module(name: str) -> ModuleType:
    """The module of that name, looked for in the working folder first."""
    if os.getcwd() not in sys.path and "" not in sys.path:
        sys.path.insert(0, os.getcwd())
    parts = name.split(".")
    if not all(part.isidentifier() for part in parts):
        raise ArgumentError(f"{name!r} is no module's name", expected=FORMS)
    parents = {".".join(parts[: length + 1]) for length in range(len(parts))}
    try:
        return _run(lambda: importlib.import_module(name), None, name, passes=ModuleNotFoundError)
    except ModuleNotFoundError as error:
        if error.name in parents:
            raise ArgumentError(f"There is no module {error.name!r}", expected=FORMS) from error
        raise ArgumentError(f"Module {name!r} needs {error.name!r}, which is not installed") from error


def _file_of(module: ModuleType) -> Path | None:
    """The file of a module, if it is Python's text."""
    file = getattr(module, "__file__", None)
    return Path(file) if file else None


def _model_of(module: ModuleType, name: str, where: str, run: Callable[[Callable[[], Any]], Any]) -> Any:
    """The model of that name in a module; `run` calls what is the user's own and says where it fails."""
    found: Any = module
    for part in name.split("."):
        if not hasattr(found, part):
            models = [key for key, value in vars(module).items() if _makes_model(value, module)]
            names = [key for key in dir(found) if not key.startswith("_")]
            guess = nearest(part, [key for key in names if key in models]) or nearest(part, names)
            raise ArgumentError(
                f"There is no {name!r} in {where}",
                expected=f"a model there, such as {', '.join(models[:5])}" if models else None,
                fix=f"did you mean {guess}?" if guess else None,
            )
        found = getattr(found, part)
    if isinstance(found, torch.nn.Module):
        return found
    if not callable(found):
        raise ArgumentError(f"{name!r} in {where} is no model", expected="a torch.nn.Module", received=_kind(found))
    missing = _needed(found)
    if missing:
        raise ArgumentError(
            f"{name!r} in {where} cannot be called without arguments",
            received=f"a {'class' if inspect.isclass(found) else 'function'} that needs {', '.join(missing)}",
            fix="name a model, or write a function without arguments that makes one",
        )
    made = run(found)
    if not isinstance(made, torch.nn.Module):
        raise ArgumentError(f"{name!r} in {where} makes no model", expected="a torch.nn.Module", received=_kind(made))
    return made


def _makes_model(value: Any, module: ModuleType) -> bool:
    """Whether an attribute of a module is a model, or a class of models that the module defines."""
    if inspect.isclass(value):
        return issubclass(value, torch.nn.Module) and value.__module__ == module.__name__
    return isinstance(value, torch.nn.Module)


def _needed(function: Callable[..., Any]) -> list[str]:
    """The names of arguments that have no default."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # some builtins do not say
        return []
    return [p.name for p in parameters if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]


def _run(action: Callable[[], Any], path: Path | None, where: str, passes: type[Exception] | tuple = ()) -> Any:
    """What `action` gives; what it raises becomes an error with the line of the user's file in it.

    Args:
        action: runs the user's code.
        path: the user's file, if there is one.
        where: what it is called.
        passes: exceptions that are let through.
    """
    try:
        return action()
    except passes:
        raise
    except SystemExit as stop:
        raise ArgumentError(
            f"'{where}' ends by itself, with sys.exit({stop.code!r}), before there is a model"
        ) from stop
    except Exception as error:
        said = error.msg if isinstance(error, SyntaxError) else str(error)
        raise ArgumentError(
            f"{_line_of(error, path) or repr(where)} raises {type(error).__name__}" + (f": {said}" if said else "")
        ) from error


def _line_of(error: BaseException, path: Path | None) -> str | None:
    """The line of the user's file in which an error came up, or else that in which it was raised."""
    if isinstance(error, SyntaxError) and error.filename and error.lineno:
        return f"Line {error.lineno} of '{os.path.relpath(error.filename)}', {(error.text or '').strip()!r},"
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if path is not None and frame.filename == str(path.resolve())]
    outside = [frame for frame in frames if not frame.filename.startswith("<frozen") and frame.filename != __file__]
    for frame in (own or outside)[-1:]:
        return f"Line {frame.lineno} of '{os.path.relpath(frame.filename)}', {frame.line!r},"
    return None


def _kind(value: Any) -> str:
    """What a value is, in a few words."""
    return (
        f"{type(value).__name__} {str(value)[:60]!r}" if isinstance(value, (str, int, float)) else type(value).__name__
    )
