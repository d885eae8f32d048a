"""What is in a file that `torch.save` wrote, found before torch is let near it."""

from __future__ import annotations

import os
import re
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from lamina.errors import LoadError
from lamina.saving.pickle_reading import Call, Name, Stored, members_of, read_pickle
from lamina.saving.zip_members import ZipMembers, open_zip

MAX_PICKLE_BYTES = 128 * 2**20
MAGIC = 0x1950A86A20F9469CFC6C
"""What the files of torch before 1.6 begin with."""

_ITEM_BYTES = {
    "DoubleStorage": 8, "FloatStorage": 4, "HalfStorage": 2, "BFloat16Storage": 2, "LongStorage": 8, "IntStorage": 4,
    "ShortStorage": 2, "CharStorage": 1, "ByteStorage": 1, "BoolStorage": 1, "ComplexDoubleStorage": 16,
    "ComplexFloatStorage": 8, "UntypedStorage": 1, "QInt8Storage": 1, "QUInt8Storage": 1, "QInt32Storage": 4,
}  # fmt: skip
_DTYPES = {
    "DoubleStorage": "float64", "FloatStorage": "float32", "HalfStorage": "float16", "BFloat16Storage": "bfloat16",
    "LongStorage": "int64", "IntStorage": "int32", "ShortStorage": "int16", "CharStorage": "int8",
    "ByteStorage": "uint8", "BoolStorage": "bool", "ComplexDoubleStorage": "complex128",
    "ComplexFloatStorage": "complex64", "UntypedStorage": "bytes", "QInt8Storage": "qint8",
    "QUInt8Storage": "quint8", "QInt32Storage": "qint32",
}  # fmt: skip
_TENSOR = {"torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_tensor", "torch._utils._rebuild_tensor_v3"}
_PARAMETER = "torch._utils._rebuild_parameter"
_UNUSUAL = {f"torch._utils._rebuild_{kind}" for kind in ("sparse_tensor", "meta_tensor_no_storage", "qtensor")}
_HARMLESS = {"collections.OrderedDict", "torch.Size", "torch.serialization._get_layout", "torch.device"}


@dataclass
class PtContents:
    """What a file says.

    Attributes:
        form: `"zip"`, or `"before 1.6"`.
        value: what was saved, as `read_pickle` describes it.
        tensors: shape, dtype and bytes of each tensor, by a name that says where it is.
        names: the classes and functions that it calls for.
        problems: everything that forbids to load it.
        doubts: what torch reads without harm, and yet looks like a trap for whoever uses the tensors.
    """

    form: str
    value: Any
    tensors: dict[str, tuple[tuple[int, ...], str, int]] = field(default_factory=dict)
    names: list[str] = field(default_factory=list)
    problems: list[LoadError] = field(default_factory=list)
    doubts: list[LoadError] = field(default_factory=list)


def read_pt(path: str | os.PathLike[str]) -> PtContents:
    """Describe a file of torch without loading it.

    Args:
        path: the file.

    Raises:
        LoadError: it is none, or damaged.
    """
    try:
        if zipfile.is_zipfile(path):
            with open_zip(path, strict=False) as members:
                return _from_zip(members)
        with open(path, "rb") as file:
            return _from_old(file, str(path))
    except OSError as error:
        raise LoadError(f"{path} cannot be read.", received=str(error), fix="check the path") from error


def refuse_unsafe(path: str | os.PathLike[str]) -> None:
    """Raise unless a file holds nothing but tensors, numbers and texts, and all that it announces.

    Args:
        path: the file.

    Raises:
        LoadError: it holds, or announces, something else.
    """
    problems = read_pt(path).problems
    if problems:
        raise problems[0]


def _from_zip(members: ZipMembers) -> PtContents:
    """The contents of an archive: a pickle, and one member a storage."""
    packed = [name for name in members if members.is_packed(name)]
    problems = (
        [_problem(members.name, "is compressed, as no file of torch is", "stored members", packed[0])] if packed else []
    )
    problems += members.problems
    pickles = [name for name in members if name.rpartition("/")[2] == "data.pkl"]
    if len(pickles) != 1:
        raise _problem(members.name, "is no file of torch", "one member data.pkl", f"{len(pickles)} of them")
    folder = pickles[0][: -len("data.pkl")]
    if f"{folder}constants.pkl" in members:
        problems.append(_problem(members.name, "holds TorchScript, which is code", "tensors by name", "constants.pkl"))
    with members.open(pickles[0]) as file:
        if members.size(pickles[0]) > MAX_PICKLE_BYTES:
            raise _problem(members.name, "is beyond measure", f"a pickle of {MAX_PICKLE_BYTES:,} bytes", "more")
        found = read_pickle(file, f"{pickles[0]} in {members.name}")
    contents = PtContents("zip", found.value, names=found.names, problems=problems)
    reader = _Reader(contents, members.name)
    reader.look()
    for key, needed in reader.storages.items():
        member = f"{folder}data/{key}"
        held = members.size(member) if member in members else 0
        if held < needed:
            claim = f"{needed:,} bytes for storage {key[:40]}"
            problems.append(_problem(members.name, "claims more than it holds", f"at most {held:,} bytes", claim))
    return contents


def _from_old(file: IO[bytes], name: str) -> PtContents:
    """The contents of a file of torch before 1.6: five pickles, then the storages one after the other."""
    size = os.fstat(file.fileno()).st_size
    if file.read(1) != b"\x80":
        raise _problem(name, "is no file of torch", "an archive, or a pickle", "something else")
    file.seek(0)
    if read_pickle(file, name).value != MAGIC:
        raise _problem(name, "is no file of torch", "an archive, or torch's number at the beginning", "another pickle")
    parts = [read_pickle(file, name) for _ in range(4)]
    names = [called for part in parts for called in part.names]
    contents = PtContents("before 1.6", parts[2].value, names=list(dict.fromkeys(names)))
    reader = _Reader(contents, name)
    reader.look()
    held, needed = size - file.tell(), sum(reader.storages.values()) + 8 * len(reader.storages)
    if needed > held:
        claim = f"storages of {needed:,} bytes"
        contents.problems.append(_problem(name, "claims more than it holds", f"at most {held:,} bytes", claim))
    return contents


class _Reader:
    """Looks for tensors, and for what is none of the things that may be there."""

    def __init__(self, contents: PtContents, name: str) -> None:
        self.storages: dict[str, int] = {}
        self._contents, self._name = contents, name
        self._seen: set[int] = set()

    def look(self) -> None:
        """Go through the whole value."""
        for called in self._contents.names:
            if not _is_known(called):
                self._say("calls for code", "tensors, numbers and texts", called)
        waiting: list[tuple[str, Any]] = [("", self._contents.value)]
        while waiting:
            path, value = waiting.pop()
            if id(value) in self._seen:
                continue
            self._seen.add(id(value))
            if isinstance(value, Call):
                waiting.extend(self._call(path, value))
            elif isinstance(value, dict):
                inner = [(f"{path}.{key}" if path else str(key), member) for key, member in value.items()]
                waiting.extend(reversed(inner))
            elif isinstance(value, (list, tuple)):
                waiting.extend(reversed([(f"{path}[{i}]", member) for i, member in enumerate(value)]))
            elif isinstance(value, Stored):
                self._tried(lambda stored=value: self._storage(stored))

    def _call(self, path: str, call: Call) -> Iterator[tuple[str, Any]]:
        """What is in a call, unless it makes a tensor."""
        function = str(call.function) if isinstance(call.function, Name) else ""
        if function in _TENSOR:
            self._tried(lambda: self._tensor(path, call.arguments))
            return
        if not function:
            self._say("calls something that it has computed", "tensors, numbers and texts", path)
        elif not _is_known(function):
            self._say(f"makes {function} at {path[:80] or 'the top'}", "tensors, numbers and texts", function)
        if function == _PARAMETER and isinstance(call.arguments, tuple):
            yield from ((path, member) for member in call.arguments[:1])
        else:
            yield from ((path, member) for member in members_of(call))

    def _tried(self, action: Callable[[], Any]) -> None:
        """Do something that fails where a tensor is not described as tensors are."""
        try:
            action()
        except (TypeError, ValueError, IndexError, KeyError, OverflowError, AttributeError) as error:
            reason = str(error)[:100]
            self._say("describes a tensor that cannot be", "a storage, an offset, a shape and strides", reason)

    def _tensor(self, path: str, arguments: tuple[Any, ...]) -> None:
        storage, offset, shape, strides = arguments[:4]
        kind, count = self._storage(storage)
        shape, strides = tuple(map(int, shape)), tuple(map(int, strides))
        if min((*shape, *strides, int(offset)), default=0) < 0 or len(shape) != len(strides):
            raise ValueError(f"shape {shape}, strides {strides}, offset {offset}")
        numbers = 1
        for size in shape:
            numbers *= size
        item = _ITEM_BYTES[kind]
        dtype = _DTYPES[kind]
        if kind == "UntypedStorage" and len(arguments) > 6 and isinstance(arguments[6], Name):
            dtype = arguments[6].name
        reach = offset + sum((size - 1) * step for size, step in zip(shape, strides, strict=True)) + 1 if numbers else 0
        claim = f"shape {shape} at {path[:80]}"
        if reach > count:
            self._say("claims more for a tensor than it holds", f"at most {count:,} numbers", claim)
        elif kind != "UntypedStorage" and numbers > count:
            doubt = _problem(self._name, "repeats a few numbers as a large tensor", f"{count:,} numbers", claim)
            self._contents.doubts.append(doubt)
        self._contents.tensors[path or "tensor"] = shape, dtype, numbers * item

    def _storage(self, stored: Stored) -> tuple[str, int]:
        """The kind of a storage, and how many numbers are in it."""
        word, cls, key, location, count = stored.key[:5]
        kind = cls.name if isinstance(cls, Name) else str(cls)
        if word != "storage" or kind not in _ITEM_BYTES or not isinstance(count, int) or count < 0:
            raise ValueError(f"a storage {kind} of {count} numbers")
        if not re.fullmatch(r"\w{1,64}", str(key)) or not isinstance(location, str):
            raise ValueError(f"a storage under {str(key)[:40]!r}")
        self.storages[str(key)] = max(self.storages.get(str(key), 0), count * _ITEM_BYTES[kind])
        return kind, count

    def _say(self, what: str, expected: str, received: str) -> None:
        self._contents.problems.append(_problem(self._name, what, expected, received))


def _is_known(called: str) -> bool:
    """Whether a class or function belongs to tensors, which torch itself reads without running anything."""
    module, _, name = called.rpartition(".")
    if called in _TENSOR | _HARMLESS | _UNUSUAL or called == _PARAMETER:
        return True
    if module == "torch" and re.fullmatch(r"(b?float|u?int|complex|bool|per_\w+_affine|strided|sparse_)\w*", name):
        return True
    return module in ("torch", "torch.storage") and name in _ITEM_BYTES


def _problem(name: str, what: str, expected: str, received: str) -> LoadError:
    return LoadError(
        f"{name} {what}.",
        expected=expected,
        received=received,
        fix="do not load it, or save its weights again as .safetensors",
    )


def is_pt(path: Path) -> bool:
    """Whether a file looks like one of torch's.

    Args:
        path: the file.
    """
    if zipfile.is_zipfile(path):
        with open_zip(path, strict=False) as members:
            return any(name.rpartition("/")[2] == "data.pkl" for name in members)
    with open(path, "rb") as file:
        return file.read(2) in (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
