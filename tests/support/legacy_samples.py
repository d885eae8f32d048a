"""The samples that Keras 2 left behind, loaded, run and compared."""

from __future__ import annotations

import functools
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lamina.engine import nest
from lamina.saving.legacy import LoadReport, load_h5

FOLDER = Path(__file__).resolve().parents[1] / "saving" / "legacy_samples"
NAMES = sorted(path.stem for path in FOLDER.glob("*.npz"))


def path_of(name: str) -> Path:
    return FOLDER / f"{name}.h5"


@functools.lru_cache
def arrays_of(name: str) -> dict[str, np.ndarray]:
    with np.load(FOLDER / f"{name}.npz") as file:
        return {key: file[key] for key in file}


def numbered(name: str, letter: str) -> list[np.ndarray]:
    """The arrays `x0, x1, ...` or `y0, y1, ...` of a sample."""
    found = {key: value for key, value in arrays_of(name).items() if key[0] == letter and key[1:].isdigit()}
    return [found[f"{letter}{i}"] for i in range(len(found))]


def loaded(name: str, **options: Any) -> tuple[Any, LoadReport]:
    """The model of a sample, and what the load says of it."""
    report = LoadReport()
    return load_h5(path_of(name), report=report, **options), report


def run(model: Any, inputs: list[np.ndarray]) -> list[np.ndarray]:
    """The outputs of a model in inference mode, dicts in the order of their keys."""
    model.eval()
    tensors = [torch.as_tensor(x) for x in inputs]
    with torch.no_grad():
        outputs = model(tensors if len(tensors) > 1 else tensors[0])
    leaves = [outputs[key] for key in sorted(outputs)] if isinstance(outputs, dict) else nest.flatten(outputs)
    return [np.asarray(leaf.float() if leaf.dtype.itemsize == 2 else leaf) for leaf in leaves]


def outputs_of(model: Any, name: str) -> list[np.ndarray]:
    """The outputs for a sample's inputs; of one that keeps its states also those of a second batch."""
    inputs = numbered(name, "x")
    found = run(model, inputs)
    return found + run(model, [inputs[0] * 0.5]) if name == "stateful" else found


def edited(name: str, target: Path, change: Any) -> Path:
    """A copy of a sample in which `change(file)` has altered something."""
    import h5py

    shutil.copy(path_of(name), target)
    with h5py.File(target, "r+") as file:
        change(file)
    return target
