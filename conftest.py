"""What every test and every docstring's example starts from: one thread, fixed seeds, lamina's own settings."""

from __future__ import annotations

import os
from collections.abc import Iterator

# Keras, the oracle, reads its backend and OpenMP its threads once: at the first import.
os.environ["KERAS_BACKEND"] = "torch"
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["MKL_NUM_THREADS"] = "1"

import contextlib
import importlib
import random
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
import torch

from lamina import config, dtypes, naming

torch.set_num_threads(1)
SOURCE = Path(__file__).parent / "src"

# The oracle is Keras 3.15. Its earlier versions, the last ones for Python 3.10, have other arguments and numbers.
KERAS = metadata.version("keras")
ORACLE_RUNS = tuple(map(int, KERAS.split(".")[:2])) >= (3, 15)
collect_ignore = [] if ORACLE_RUNS else ["tests/oracle"]


def pytest_report_header() -> str:
    """Which Keras the results were compared with."""
    return f"oracle: Keras {KERAS}" + ("" if ORACLE_RUNS else ", too old: tests/oracle is left out")


def pytest_collect_file(file_path: Path) -> None:
    """Import a module of lamina under its own name before pytest looks for examples in it.

    In its importlib mode pytest runs a module's code a second time if importing the module's package runs it first;
    every class in it would be registered twice. A module that is there already is left as it is.
    """
    if file_path.suffix == ".py" and file_path.name != "__main__.py" and SOURCE in file_path.parents:
        name = ".".join(file_path.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__")
        with contextlib.suppress(Exception):  # pytest imports it next, and reports what went wrong
            importlib.import_module(name)


@pytest.fixture(autouse=True)
def fresh_start() -> Iterator[None]:
    """Seed every generator and number names from zero; afterwards put lamina's settings back."""
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
    naming.reset_names()
    yield
    naming.reset_names()
    dtypes.set_global_policy(None)
    config.set_floatx("float32")
    config.set_epsilon(1e-7)
    config.set_image_data_format("channels_last")
    config.set_device(None)
