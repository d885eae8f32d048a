"""Attributes of HDF5 objects: texts, numbers, and lists of them; whatever else there may be is not read."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

MAX_BYTES = 256 * 2**20


class Unreadable(Exception):
    """An attribute that must not be read; the arguments are what was expected and what is there."""


def has_loose_texts(owner: Any, name: str) -> bool:
    """Whether an attribute's texts are of any length, so that they lie in a heap elsewhere in the file.

    Args:
        owner: h5py's group or dataset.
        name: the attribute's name.
    """
    import h5py

    text = h5py.check_string_dtype(owner.attrs.get_id(name).dtype)
    return text is not None and text.length is None


def read_attribute(owner: Any, name: str) -> Any:
    """The value of an attribute; one of loose texts has been looked at by `hdf5_heaps` before.

    Args:
        owner: h5py's group or dataset.
        name: the attribute's name.

    Raises:
        Unreadable: it is of a kind that HDF5 may crash on, or larger than anything that belongs there.
    """
    import h5py

    found = owner.attrs.get_id(name)
    text = h5py.check_string_dtype(found.dtype)
    if found.shape is None or (text is None and found.dtype.kind not in "biufSU"):
        raise Unreadable("a text or numbers", f"dtype {found.dtype}")
    claimed = math.prod(found.shape) * found.dtype.itemsize
    if claimed > MAX_BYTES:
        raise Unreadable(f"at most {MAX_BYTES:,} bytes", f"{found.shape} values, {claimed:,} bytes")
    value = owner.attrs[name]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, np.ndarray):
        return [_decoded(member) for member in value.tolist()]
    if isinstance(value, (bytes, str, int, float, bool)):
        return _decoded(value)
    raise Unreadable("a text or numbers", type(value).__name__)


def _decoded(value: Any) -> Any:
    """Bytes as a text, and anything else as it is."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
