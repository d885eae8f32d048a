"""Reading the data files that come with the package."""

from __future__ import annotations

from importlib import resources
from typing import Any

import numpy as np


def packaged_arrays(filename: str) -> dict[str, np.ndarray[Any, Any]]:
    """The named arrays of a `.npz` file in this package; one that holds pickled objects is refused."""
    with (
        (resources.files("lamina.datasets") / filename).open("rb") as file,
        np.load(file, allow_pickle=False) as arrays,
    ):
        return dict(arrays)
