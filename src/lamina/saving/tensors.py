"""Weights as `.safetensors`, `.npz` and `.pt` files, under the names of `state_dict`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lamina.atomic import atomic_path
from lamina.errors import ArgumentError, LoadError, NotBuiltError, write_error
from lamina.saving.npz import read_npz
from lamina.saving.pt_files import refuse_unsafe
from lamina.saving.report import Assignment, Plan, as_tensor
from lamina.saving.safetensors_header import read_header

SUFFIXES = (".safetensors", ".npz", ".pt", ".pth")


def write_tensors(module: torch.nn.Module, path: Path) -> None:
    """Write the weights of a module to a file of tensors by name, whole or not at all.

    Args:
        module: a built model, or any torch module.
        path: its suffix says the format.

    Raises:
        ArgumentError: the module's state holds more than tensors.
        NotBuiltError: a lazy module of torch has no weights yet.
        OSError: there is no such folder, or a folder of that name.
        WriteError: the file cannot be written; the one that was there is untouched.
    """
    write_named(state_of(module, "save"), path)


def write_named(named: Mapping[str, torch.Tensor], path: Path) -> None:
    """Write tensors by name, whole or not at all.

    Args:
        named: the tensors.
        path: its suffix says the format.

    Raises:
        OSError: there is no such folder, or a folder of that name.
        WriteError: the file cannot be written; the one that was there is untouched.
    """
    # Weights keep Keras's shapes; files hold them in that order too, whatever their order in memory.
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in named.items()}
    try:
        with atomic_path(path) as part:
            _write(tensors, part, path.suffix)
    except (FileNotFoundError, IsADirectoryError):
        raise  # of the folder or name that was given
    except OSError as error:
        raise write_error(path, error) from error


def _write(tensors: dict[str, torch.Tensor], part: Path, suffix: str) -> None:
    """Write tensors in the format that a suffix says."""
    try:
        if suffix == ".safetensors":
            from safetensors.torch import save_file

            save_file({name: tensor.clone() for name, tensor in tensors.items()}, part)
        elif suffix == ".npz":
            with open(part, "wb") as file:  # given a name, NumPy would add its suffix
                np.savez(file, **{name: _array(tensor) for name, tensor in tensors.items()})
        else:
            torch.save(tensors, part)
    except OSError:
        raise
    except Exception as error:  # safetensors and torch report a full disk each in a way of its own
        raise OSError(_first_line(error)) from error


def _array(tensor: torch.Tensor) -> np.ndarray:
    """A tensor as an array; bfloat16, which NumPy lacks, as float32."""
    return (tensor.float() if tensor.dtype is torch.bfloat16 else tensor).numpy()


def plan_from_tensors(module: torch.nn.Module, tensors: Mapping[str, torch.Tensor]) -> Plan:
    """What tensors by name have for a module.

    Args:
        module: a built model, or any torch module.
        tensors: from a file.

    Raises:
        ArgumentError: the module's state holds more than tensors.
        NotBuiltError: a lazy module of torch has no weights yet.
    """
    own, plan = state_of(module, "load"), Plan()
    for name, tensor in own.items():
        if name not in tensors:
            plan.missing[name] = tuple(tensor.shape)
            continue
        value = tensors[name]
        plan.assignments.append(
            Assignment(name, tensor, tuple(value.shape), value.dtype, lambda value=value: value)  # type: ignore[misc]
        )
    plan.extra = sorted(tensors.keys() - own.keys())
    return plan


def state_of(module: torch.nn.Module, what: str) -> dict[str, torch.Tensor]:
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
            raise not_built(what)
    return state


def not_built(what: str) -> NotBuiltError:
    return NotBuiltError(
        f"The model is not built, so it has no weights to {what}.",
        expected="a model that knows the shape of its input",
        received="no input shape yet",
        fix="call model.build((None, ...)) with the shape of a batch, or call it on data first",
    )


def read_tensors(path: Path) -> Mapping[str, torch.Tensor]:
    """The tensors in a file by name; nothing in the file is run.

    Args:
        path: its suffix says the format.

    Raises:
        LoadError: there is no such file, or it is not what its name says.
    """
    if not path.is_file():
        raise LoadError("There is no such file.", received=str(path), fix="check the path")
    try:
        if path.suffix == ".safetensors":
            return _read_safetensors(path)
        if path.suffix == ".npz":
            return {name: as_tensor(array) for name, array in read_npz(path).items()}
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


def _read_safetensors(path: Path) -> Mapping[str, torch.Tensor]:
    """The tensors in a file whose header has been checked."""
    from safetensors.torch import load_file

    problems = read_header(path).problems
    if problems:
        raise problems[0]
    return load_file(path)


def _is_plain(value: Any) -> bool:
    """Whether `value` is a tensor with numbers of its own, one for each place."""
    if not isinstance(value, torch.Tensor) or value.is_nested or value.is_quantized:
        return False
    return value.layout is torch.strided and value.device.type == "cpu"


def _first_line(error: Exception) -> str:
    """What an error says, in one line."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
