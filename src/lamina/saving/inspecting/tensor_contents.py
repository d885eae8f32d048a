"""What is in files of tensors by name: `.safetensors`, `.npz`, `.pt`."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lamina.errors import LoadError
from lamina.saving.inspecting.known_names import harm
from lamina.saving.inspecting.records import Inspection, WeightRecord, shown
from lamina.saving.npz import MAX_HEADER, npy_header
from lamina.saving.pt_files import read_pt
from lamina.saving.safetensors_header import read_header
from lamina.saving.states import read_state
from lamina.saving.zip_members import ZipMembers

_STATE = ("optimizer", "optimizer_state", "optimizer_states", "optim")


def describe_safetensors(path: Path, found: Inspection) -> None:
    """Enter the tensors of a `.safetensors` file into an inspection.

    Args:
        path: the file.
        found: the inspection.
    """
    header = read_header(path)
    found.facts.update({shown(key, 60): shown(value) for key, value in list(header.metadata.items())[:50]})
    found.weights += _records(header.tensors)
    for problem in header.problems:
        found.note("the header", problem)


def describe_pt(path: Path, found: Inspection) -> None:
    """Enter the tensors of a file of torch, and the code that it would run, into an inspection.

    Args:
        path: the file.
        found: the inspection.
    """
    contents = read_pt(path)
    found.format = "torch file" if contents.form == "zip" else "torch file from before torch 1.6"
    for record in _records(contents.tensors):
        is_state = record.name.partition(".")[0] in _STATE
        (found.state if is_state else found.weights).append(record)
    if isinstance(contents.value, dict):
        facts = {shown(k, 60): v for k, v in contents.value.items() if isinstance(v, (bool, int, float, str))}
        found.facts.update({k: shown(v) if isinstance(v, str) else v for k, v in list(facts.items())[:50]})
    for called in contents.names:
        module, _, name = called.rpartition(".")
        danger = harm(module, name)
        if danger is not None:
            found.add("the pickle", "foreign code", f"runs {shown(danger, 80)} when it is loaded")
    for problem in contents.problems:
        found.note("the pickle", problem)
    for doubt in contents.doubts:
        found.add("the pickle", "size", f"{doubt.what} ({doubt.received})", grave=False)


def describe_state(path: Path, found: Inspection) -> None:
    """Enter the tensors and arrays of the state of a training into an inspection.

    Args:
        path: the file.
        found: the inspection.
    """
    waiting: list[tuple[str, Any]] = [("", read_state(path))]
    while waiting:
        name, value = waiting.pop()
        if isinstance(value, (torch.Tensor, np.ndarray)):
            shape, dtype = tuple(value.shape), str(value.dtype).removeprefix("torch.")
            record = WeightRecord(shown(name), shape, dtype, math.prod(shape) * value.itemsize)
            (found.weights if name.startswith("model.") else found.state).append(record)
        elif isinstance(value, dict):
            waiting.extend(reversed([(f"{name}.{key}" if name else str(key), member) for key, member in value.items()]))
        elif isinstance(value, (list, tuple)):
            waiting.extend(reversed([(f"{name}[{place}]", member) for place, member in enumerate(value)]))
        elif isinstance(value, (str, int, float)) and "." not in name and "[" not in name and len(found.facts) < 50:
            found.facts[shown(name, 60)] = shown(value) if isinstance(value, str) else value


def describe_npz(members: ZipMembers, found: Inspection, prefix: str = "") -> None:
    """Enter the arrays of a `.npz` archive into an inspection.

    Args:
        members: the open archive.
        found: the inspection.
        prefix: what stands before names in it.
    """
    for member in members:
        place = f"{prefix}{member}"
        try:
            size = members.size(member)
            with members.open(member) as file:
                head = _start(file, min(size, MAX_HEADER))
            shape, dtype, _, _ = npy_header(head, size, place)
        except LoadError as error:
            found.note(place, error)
            continue
        numbers = WeightRecord(shown(place.removesuffix(".npy")), shape, str(dtype), 0).count
        found.weights.append(
            WeightRecord(shown(place.removesuffix(".npy")), shape, str(dtype), numbers * dtype.itemsize)
        )


def _start(file: Any, length: int) -> bytes:
    """The first bytes of a stream, or a `LoadError`."""
    try:
        return file.read(length)
    except Exception as error:  # zlib and zipfile fail in ways of their own
        raise LoadError("A member is damaged.", received=str(error)[:100], fix="get the file again") from error


def _records(tensors: dict[str, tuple[tuple[int, ...], str, int]]) -> list[WeightRecord]:
    return [WeightRecord(shown(name), shape, dtype, size) for name, (shape, dtype, size) in tensors.items()]
