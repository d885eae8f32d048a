"""Files that hold a state: nests of numbers, texts, arrays and tensors, with a checksum, and nothing that could run.

A file is a line that names the format, the length of a JSON text, that text, the bytes of the tensors one after the
other, and the CRC-32 of all of it.
"""

from __future__ import annotations

import json
import math
import os
import zlib
from typing import Any, BinaryIO

import numpy as np
import torch

from lamina.atomic import atomic_path
from lamina.errors import DtypeError, LoadError, write_error

_FAMILY = b"lamina state "
_MAGIC = _FAMILY + b"1\n"
_NUMBER = 8  # bytes of a length
_CHECK = 4  # bytes of the checksum
_NOT_PLAIN = ("float4_e2m1fn_x2", "quint8", "qint8", "qint32", "quint4x2", "quint2x4")
_DTYPES = {
    str(kind).removeprefix("torch."): kind
    for kind in vars(torch).values()
    if isinstance(kind, torch.dtype) and str(kind).removeprefix("torch.") not in _NOT_PLAIN
}
_NUMERIC_KINDS = "biufc"  # what `numpy.dtype.kind` calls booleans, integers, floats and complex numbers


def write_state(path: str | os.PathLike[str], state: Any, name: str = "the state") -> None:
    """Write a state to a file, whole or not at all.

    Args:
        path: the file; its folder must exist.
        state: `None`, numbers, texts, NumPy arrays, tensors, and lists, tuples and dicts of these.
        name: what error messages call it.

    Raises:
        DtypeError: there is something else in it; nothing is written then.
        WriteError: the file cannot be written; the one that was there is untouched.

    Example:
        >>> import tempfile
        >>> path = os.path.join(tempfile.mkdtemp(), "a.state")
        >>> write_state(path, {"best": np.float32(0.5), 3: (torch.ones(2), "text")})
        >>> read_state(path)
        {'best': 0.5, 3: (tensor([1., 1.]), 'text')}
    """
    held: list[Any] = []
    text = json.dumps(_encoded(state, name, held)).encode()
    try:
        with atomic_path(path) as part, open(part, "wb") as file:
            check = 0
            for piece in (_MAGIC, len(text).to_bytes(_NUMBER, "little"), text, *map(_bytes_of, held)):
                check = zlib.crc32(piece, check)
                file.write(piece)
            file.write(check.to_bytes(_CHECK, "little"))
    except OSError as error:
        raise write_error(path, error) from error


def read_state(path: str | os.PathLike[str]) -> Any:
    """The state that `write_state` wrote; nothing in the file is run.

    Args:
        path: the file.

    Returns:
        The state, its tensors on the CPU.

    Raises:
        LoadError: there is no such file, or it is cut short, damaged, or something else.
    """
    try:
        with open(path, "rb") as file:
            text, data = _checked_parts(file, path)
        return _decoded(json.loads(text), data)
    except OSError as error:
        raise LoadError(
            f"{path} cannot be read.", received=error.strerror or str(error), fix="check the path"
        ) from error
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RuntimeError, OverflowError) as error:
        if isinstance(error, LoadError):
            raise
        raise _damaged(path, "a description that does not hold together") from error


def plain(value: Any, name: str) -> Any:
    """`value` as data that a file may hold without running code when it is read.

    Args:
        value: nests of numbers, texts, NumPy arrays and tensors.
        name: what error messages call it.

    Returns:
        The same with NumPy's numbers as Python's.

    Raises:
        DtypeError: there is something else in it.

    Example:
        >>> plain({"best": np.float32(0.5)}, "a state")
        {'best': 0.5}
    """
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, torch.Tensor) and str(value.dtype).removeprefix("torch.") in _DTYPES:
        return value if value.layout is torch.strided and not value.is_nested else value.detach().to_dense()
    if isinstance(value, np.ndarray) and value.dtype.kind in _NUMERIC_KINDS:
        return value
    if isinstance(value, dict):
        return {plain(key, f"a key of {name}"): plain(member, f"{name}[{key!r}]") for key, member in value.items()}
    if isinstance(value, (list, tuple)):
        members = [plain(member, f"{name}[{i}]") for i, member in enumerate(value)]
        return members if isinstance(value, list) else tuple(members)
    raise DtypeError(
        f"{name} cannot be written to a file.",
        expected="numbers, texts, arrays, tensors, and lists and dicts of these",
        received=f"{value!r:.80} of type {type(value).__name__}",
        fix="leave it out of get_state, or turn it into one of these",
    )


def _encoded(value: Any, name: str, held: list[Any]) -> Any:
    """`value` in what JSON has; tensors and arrays go to `held`. A dict of one entry says what is no list."""
    value = plain(value, name) if not isinstance(value, (dict, list, tuple)) else value
    if isinstance(value, torch.Tensor):
        held.append(value)
        return {"x": [str(value.dtype).removeprefix("torch."), list(value.shape)]}
    if isinstance(value, np.ndarray):
        held.append(value)
        return {"n": [value.dtype.str, list(value.shape)]}
    if isinstance(value, dict):
        pairs = value.items()
        return {"d": [[_encoded(k, f"a key of {name}", held), _encoded(v, f"{name}[{k!r}]", held)] for k, v in pairs]}
    if isinstance(value, (list, tuple)):
        members = [_encoded(member, f"{name}[{i}]", held) for i, member in enumerate(value)]
        return members if isinstance(value, list) else {"t": members}
    return value


def _bytes_of(value: Any) -> memoryview:
    """The memory of a tensor or array in the order of its axes."""
    if isinstance(value, np.ndarray):
        flat = np.ascontiguousarray(value).reshape(-1).view(np.uint8)
    else:
        flat = value.detach().to("cpu").resolve_conj().contiguous().reshape(-1).view(torch.uint8).numpy()
    return memoryview(flat)


class _Data:
    """Bytes that are given out one piece after the other."""

    def __init__(self, data: bytearray) -> None:
        self._data = data
        self._at = 0

    def take(self, count: int) -> bytearray:
        piece = self._data[self._at : self._at + count]
        if count < 0 or len(piece) != count:
            raise ValueError("more numbers are described than there are")
        self._at += count
        return piece


def _decoded(value: Any, data: _Data) -> Any:
    """What `_encoded` was given."""
    if isinstance(value, list):
        return [_decoded(member, data) for member in value]
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind == "d":
        return {_decoded(k, data): _decoded(v, data) for k, v in content}
    if kind == "t":
        return tuple(_decoded(member, data) for member in content)
    dtype, shape = content
    if not all(type(size) is int and size >= 0 for size in shape):
        raise ValueError("sizes that are none")
    if kind == "x":
        piece = data.take(math.prod(shape) * _DTYPES[dtype].itemsize)
        whole = torch.frombuffer(piece, dtype=_DTYPES[dtype]) if piece else torch.empty(0, dtype=_DTYPES[dtype])
        return whole.reshape(shape)
    found = np.dtype(dtype)
    if kind != "n" or found.kind not in _NUMERIC_KINDS:
        raise ValueError(f"no such kind of value: {kind}")
    return np.frombuffer(data.take(math.prod(shape) * found.itemsize), dtype=found).reshape(shape)


def _checked_parts(file: BinaryIO, path: Any) -> tuple[bytearray, _Data]:
    """The JSON text and the tensors' bytes of a file that is whole."""
    size = os.fstat(file.fileno()).st_size
    head = file.read(len(_MAGIC))
    if head != _MAGIC:
        if head.startswith(_FAMILY):
            raise LoadError(
                f"{path} was written by another version of lamina.",
                expected=_MAGIC.decode().strip(),
                received=repr(head.decode(errors="replace").strip()),
                fix="go on with the version that wrote it, or begin anew in another folder",
            )
        raise _damaged(path, "an empty file" if not head else "something else from its first bytes on")
    number = file.read(_NUMBER)
    length = int.from_bytes(number, "little")
    rest = size - len(_MAGIC) - _NUMBER - _CHECK - length
    if len(number) < _NUMBER or rest < 0:
        raise _damaged(path, f"{size} bytes, fewer than it needs")
    text, data = bytearray(length), bytearray(rest)
    check = zlib.crc32(number, zlib.crc32(head))
    for piece in (text, data):
        if file.readinto(piece) != len(piece):  # type: ignore[attr-defined]
            raise _damaged(path, "fewer bytes than it had a moment ago")
        check = zlib.crc32(piece, check)
    if file.read(_CHECK) != check.to_bytes(_CHECK, "little"):
        raise _damaged(path, "a checksum that does not fit: it is cut short or was changed")
    return text, _Data(data)


def _damaged(path: Any, received: str) -> LoadError:
    return LoadError(
        f"{path} is damaged, or no file of a state.",
        expected="a file that lamina wrote, whole",
        received=received,
        fix="use an older file, or begin anew in another folder",
    )
