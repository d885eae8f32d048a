"""Weights as `.safetensors` and `.pt` files, under the names of `state_dict`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from lamina.errors import ArgumentError, LoadError, NotBuiltError, WeightsError
from lamina.saving.atomic import atomic_path
from lamina.saving.pt_files import refuse_unsafe
from lamina.saving.safetensors_header import read_header

SUFFIXES = (".safetensors", ".pt", ".pth")


def save_weights(module: torch.nn.Module, filepath: str | os.PathLike[str], overwrite: bool = True) -> None:
    """Write the weights of a model to a file, whole or not at all.

    Args:
        module: a built model, or any torch module.
        filepath: ends in `.safetensors`, or in `.pt` or `.pth` for torch's own format.
        overwrite: whether a file that is there may be replaced.

    Raises:
        ArgumentError: the name ends otherwise, a file is there and must not be replaced, or the module's state holds
            more than tensors.
        NotBuiltError: the model has no weights yet.
        OSError: the file cannot be written; the one that was there is untouched.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "linear.safetensors"
        >>> save_weights(torch.nn.Linear(3, 2), path)
        >>> load_weights(torch.nn.Linear(3, 2), path)
    """
    path = _checked(filepath)
    if not getattr(module, "built", True):
        raise _not_built("save")
    if path.exists() and not overwrite:
        raise ArgumentError(f"{path} is there already.", received="overwrite=False", fix="pass overwrite=True")
    # Weights keep Keras's shapes; files hold them in that order too, whatever their order in memory.
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in _state_of(module, "save").items()}
    with atomic_path(path) as part:
        try:
            if path.suffix == ".safetensors":
                from safetensors.torch import save_file

                save_file({name: tensor.clone() for name, tensor in tensors.items()}, part)
            else:
                torch.save(tensors, part)
        except OSError:
            raise
        except Exception as error:  # safetensors and torch report a full disk each in a way of its own
            raise OSError(f"{path} cannot be written: {_first_line(error)}") from error


def load_weights(module: torch.nn.Module, filepath: str | os.PathLike[str]) -> None:
    """Give a model the weights in a file; nothing in the file is run, and nothing changes unless all of it fits.

    Args:
        module: a built model of the same architecture, or any torch module.
        filepath: what `save_weights` wrote.

    Raises:
        LoadError: there is no such file, or it is not what its name says.
        WeightsError: a weight is missing, is one too many, or has another shape or a dtype that cannot be converted.
        ArgumentError: the module's state holds more than tensors.
        NotBuiltError: a lazy module of torch has no weights yet.
    """
    path = _checked(filepath)
    tensors = _read(path)
    own = _state_of(module, "load")
    missing, extra = sorted(own.keys() - tensors.keys()), sorted(tensors.keys() - own.keys())
    wrong = [name for name in own.keys() & tensors.keys() if not _holds(own[name], tensors[name])]
    if missing or extra or wrong:
        shown = [f"no {name}" for name in missing[:3]] + [f"{name}, which the model lacks" for name in extra[:3]]
        for name in sorted(wrong)[:3]:
            shape, dtype = tensors[name].shape, tensors[name].dtype
            shown.append(f"{name} of shape {tuple(shape)}" + (f", {dtype}" if shape == own[name].shape else ""))
        raise WeightsError(
            f"The weights in {path} do not fit the model.",
            expected=", ".join(f"{name} {tuple(own[name].shape)}" for name in (missing + sorted(wrong))[:3])
            or f"{len(own)} weights",
            received="; ".join(shown),
            fix="load them into a model of the same layers and names"
            if getattr(module, "built", True)
            else "build the model first: model.build((None, ...))",
        )
    module.load_state_dict(tensors)


def _state_of(module: torch.nn.Module, what: str) -> dict[str, torch.Tensor]:
    """The tensors of a module by name."""
    state = module.state_dict()
    for name, value in state.items():
        if not isinstance(value, torch.Tensor):
            raise ArgumentError(
                f"The state of {type(module).__name__} holds more than tensors.",
                expected="tensors by name",
                received=f"{name} of type {type(value).__name__}",
                fix="keep it out of the state: get_extra_state() must return a tensor",
            )
        if torch.nn.parameter.is_lazy(value):
            raise _not_built(what)
    return state


def _not_built(what: str) -> NotBuiltError:
    return NotBuiltError(
        f"The model is not built, so it has no weights to {what}.",
        expected="a model that knows the shape of its input",
        received="no input shape yet",
        fix="call model.build((None, ...)) with the shape of a batch, or call it on data first",
    )


def _holds(own: torch.Tensor, value: torch.Tensor) -> bool:
    """Whether a weight can take a value: of its shape, and nothing but precision is lost."""
    return own.shape == value.shape and torch.can_cast(value.dtype, own.dtype)


def _read(path: Path) -> Mapping[str, torch.Tensor]:
    """The tensors in a file by name."""
    if not path.is_file():
        raise LoadError("There is no such file.", received=str(path), fix="check the path")
    try:
        if path.suffix == ".safetensors":
            return _read_safetensors(path)
        refuse_unsafe(path)
        found: Any = torch.load(path, map_location="cpu", weights_only=True)
    except LoadError as error:
        raise LoadError(
            f"{path} cannot be read as {path.suffix}: it {error.what.removeprefix(str(path)).strip()}",
            expected=error.expected,
            received=error.received,
            fix=error.fix,
        ) from error
    except Exception as error:
        # torch's message for a pickle that it refuses advises to run what is in it.
        refused = type(error).__name__ == "UnpicklingError"
        raise LoadError(
            f"{path} cannot be read as {path.suffix}.",
            expected="what save_weights wrote, or torch.save(model.state_dict(), ...)",
            received="something else than tensors by name" if refused else _first_line(error),
            fix="the file may be cut short, or hold a whole model; save its weights again",
        ) from error
    received = type(found).__name__
    if isinstance(found, Mapping):
        odd = [name for name, value in found.items() if not (isinstance(name, str) and _is_plain(value))]
        if not odd:
            return found
        received = f"{odd[0]!r} of type {type(found[odd[0]]).__name__}"
        received += f" ({found[odd[0]].layout})" if isinstance(found[odd[0]], torch.Tensor) else ""
    raise LoadError(
        f"{path} holds no state_dict.", expected="tensors by name", received=received, fix="save model.state_dict()"
    )


def _is_plain(value: Any) -> bool:
    """Whether `value` is a tensor with numbers of its own, one for each place."""
    if not isinstance(value, torch.Tensor) or value.is_nested or value.is_quantized:
        return False
    return value.layout is torch.strided and value.device.type == "cpu"


def _read_safetensors(path: Path) -> Mapping[str, torch.Tensor]:
    """The tensors in a file whose header has been checked."""
    from safetensors.torch import load_file

    problems = read_header(path).problems
    if problems:
        raise problems[0]
    return load_file(path)


def _first_line(error: Exception) -> str:
    """What an error says, in one line."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _checked(filepath: str | os.PathLike[str]) -> Path:
    """The path, if its suffix names a format."""
    path = Path(filepath)
    if path.suffix not in SUFFIXES:
        raise ArgumentError(
            "The name of a file of weights says its format.",
            expected="a name that ends in " + ", ".join(SUFFIXES),
            received=str(path),
            fix=f"use {path.stem}.safetensors",
        )
    return path
