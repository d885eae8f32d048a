"""lamina: Keras's words on PyTorch's engine.

Everything public is reached from here: `lamina.layers.Dense`, `lamina.Model`, `lamina.losses`, and so on. Packages
are imported when they are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from lamina.allocator import keep_freed_memory as _keep_freed_memory

if TYPE_CHECKING:
    from lamina import (
        activations,
        applications,
        callbacks,
        config,
        constraints,
        datasets,
        dtypes,
        errors,
        initializers,
        inspection,
        layers,
        losses,
        metrics,
        mixed_precision,
        models,
        optimizers,
        regularizers,
        saving,
        training,
        utils,
    )
    from lamina.callbacks import plot_history
    from lamina.dtypes import DTypePolicy
    from lamina.engine.layer import Layer
    from lamina.engine.spec import InputSpec
    from lamina.engine.symbolic import SymbolicTensor
    from lamina.initializers import Initializer
    from lamina.inspection import plot_model, profile, summary
    from lamina.layers import Input
    from lamina.losses import Loss
    from lamina.metrics import Metric
    from lamina.models import Model, Sequential
    from lamina.optimizers import Optimizer

__version__ = "0.1.0"

_PACKAGES = (
    "activations",
    "applications",
    "callbacks",
    "config",
    "constraints",
    "datasets",
    "dtypes",
    "errors",
    "initializers",
    "inspection",
    "layers",
    "losses",
    "metrics",
    "mixed_precision",
    "models",
    "optimizers",
    "regularizers",
    "saving",
    "training",
    "utils",
)
_OBJECTS = {
    "DTypePolicy": "lamina.dtypes",
    "Initializer": "lamina.initializers",
    "Input": "lamina.layers",
    "InputSpec": "lamina.engine.spec",
    "Layer": "lamina.engine.layer",
    "Loss": "lamina.losses",
    "Metric": "lamina.metrics",
    "Model": "lamina.models",
    "Optimizer": "lamina.optimizers",
    "Sequential": "lamina.models",
    "SymbolicTensor": "lamina.engine.symbolic",
    "plot_history": "lamina.callbacks",
    "plot_model": "lamina.inspection",
    "profile": "lamina.inspection",
    "summary": "lamina.inspection",
}

__all__ = [*_PACKAGES, *_OBJECTS, "__version__"]

_keep_freed_memory()  # before the first large block


def __getattr__(name: str) -> Any:
    if name in _PACKAGES:
        return importlib.import_module(f"lamina.{name}")
    if name in _OBJECTS:
        return getattr(importlib.import_module(_OBJECTS[name]), name)
    raise AttributeError(f"module 'lamina' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
