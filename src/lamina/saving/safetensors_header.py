"""What a `.safetensors` file says about itself, checked before anything is read by it."""

from __future__ import annotations

import math
import os
import struct
from dataclasses import dataclass, field
from typing import Any

from lamina.errors import LoadError
from lamina.saving.json_text import parse_json

MAX_HEADER = 100 * 2**20
DTYPES = {
    "BOOL": ("bool", 1), "U8": ("uint8", 1), "I8": ("int8", 1), "F8_E5M2": ("float8_e5m2", 1),
    "F8_E4M3": ("float8_e4m3fn", 1), "F8_E8M0": ("float8_e8m0fnu", 1), "I16": ("int16", 2), "U16": ("uint16", 2),
    "F16": ("float16", 2), "BF16": ("bfloat16", 2), "I32": ("int32", 4), "U32": ("uint32", 4), "F32": ("float32", 4),
    "C64": ("complex64", 8), "F64": ("float64", 8), "I64": ("int64", 8), "U64": ("uint64", 8),
}  # fmt: skip


@dataclass
class SafetensorsHeader:
    """What a file announces.

    Attributes:
        tensors: shape, dtype and bytes of each tensor by name.
        metadata: texts by name.
        problems: everything that forbids to load it.
    """

    tensors: dict[str, tuple[tuple[int, ...], str, int]] = field(default_factory=dict)
    metadata: dict[str, str] = field(default_factory=dict)
    problems: list[LoadError] = field(default_factory=list)


def read_header(path: str | os.PathLike[str]) -> SafetensorsHeader:
    """Read the beginning of a file, and check it against the file's length.

    Args:
        path: the file.

    Raises:
        LoadError: it is no such file, or damaged.
    """
    name = str(path)
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            start = file.read(8)
            length = struct.unpack("<Q", start)[0] if len(start) == 8 else -1
            if not 0 <= length <= min(size - 8, MAX_HEADER):
                raise _problem(name, f"a header within its {size:,} bytes", f"one of {length:,} bytes")
            text = file.read(length)
    except OSError as error:
        raise LoadError(f"{path} cannot be read.", received=str(error), fix="check the path") from error
    entries = parse_json(text, f"The header of {name}")
    if not isinstance(entries, dict):
        raise _problem(name, "a header with tensors by name", type(entries).__name__)
    header = SafetensorsHeader()
    metadata = entries.pop("__metadata__", None) or {}
    if isinstance(metadata, dict) and all(isinstance(value, str) for value in metadata.values()):
        header.metadata = metadata
    else:
        header.problems.append(_problem(name, "metadata of texts", "something else"))
    end = 0
    for key, entry in sorted(entries.items(), key=lambda item: _begin(item[1])):
        try:
            shape, dtype, begin, stop = _checked(entry)
        except (TypeError, ValueError, KeyError, OverflowError) as error:
            header.problems.append(
                _problem(name, "a dtype, a shape and two offsets that agree", f"{key[:80]}: {error}")
            )
            continue
        if begin != end:
            what = "a gap before" if begin > end else "bytes that belong to two tensors, one of them"
            header.problems.append(_problem(name, "tensors one after the other", f"{what} {key[:80]}"))
        end = max(end, stop)
        header.tensors[key] = shape, dtype, stop - begin
    if end != size - 8 - length:
        header.problems.append(_problem(name, f"{end:,} bytes of numbers", f"{size - 8 - length:,}"))
    return header


def _begin(entry: Any) -> int:
    """Where a tensor begins, for sorting."""
    offsets = entry.get("data_offsets") if isinstance(entry, dict) else None
    first = offsets[0] if isinstance(offsets, list) and offsets else 0
    return first if isinstance(first, int) else 0


def _checked(entry: Any) -> tuple[tuple[int, ...], str, int, int]:
    """Shape, dtype, beginning and end of one tensor."""
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise ValueError("other facts than dtype, shape and data_offsets")
    if not isinstance(entry["dtype"], str) or entry["dtype"] not in DTYPES:
        raise ValueError(f"dtype {str(entry['dtype'])[:20]}")
    dtype, item = DTYPES[entry["dtype"]]
    sizes = [*entry["shape"], *entry["data_offsets"]]
    if any(type(size) is not int or not 0 <= size < 2**63 for size in sizes):
        raise ValueError(f"sizes {str(sizes)[:60]}")
    begin, stop = entry["data_offsets"]
    claimed = math.prod(entry["shape"]) * item
    if stop - begin != claimed:
        raise ValueError(f"shape {tuple(entry['shape'])} of {dtype}, {claimed:,} bytes over {stop - begin:,}")
    return tuple(entry["shape"]), dtype, begin, stop


def _problem(name: str, expected: str, received: str) -> LoadError:
    return LoadError(
        f"{name} is no sound .safetensors file.", expected=expected, received=received, fix="do not load this file"
    )
