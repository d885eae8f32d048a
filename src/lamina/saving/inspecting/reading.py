"""`inspect_model`: from a file of any kind to what is in it."""

from __future__ import annotations

import os
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lamina.errors import LaminaError, LoadError
from lamina.saving.hdf5 import open_hdf5
from lamina.saving.inspecting.architecture import describe, describe_compilation
from lamina.saving.inspecting.hdf5_contents import describe_hdf5, format_of
from lamina.saving.inspecting.records import Inspection, shown
from lamina.saving.inspecting.tensor_contents import describe_npz, describe_pt, describe_safetensors, describe_state
from lamina.saving.json_text import MAX_BYTES, parse_json
from lamina.saving.legacy.yaml_text import parse_yaml, python_tags
from lamina.saving.zip_members import ZipMembers, open_zip

CONFIG, METADATA, WEIGHTS, ARRAYS = "config.json", "metadata.json", "model.weights.h5", "model.weights.npz"
_EXPECTED = (CONFIG, METADATA, WEIGHTS, ARRAYS)
_HDF5 = b"\x89HDF\r\n\x1a\n"


def inspect_model(filepath: str | os.PathLike[str]) -> Inspection:
    """Look into a file of a model without building or running anything in it.

    What the file is, is decided by what is in it, not by its name. Whatever is dangerous in it does not stop the
    inspection: all of it is listed in `risks`.

    Args:
        filepath: a `.keras` archive, an HDF5 file of Keras 1, 2 or 3 (a whole model or weights), `.safetensors`,
            `.npz`, a file of torch, an architecture as JSON or YAML, or the folder of a run.

    Returns:
        Its format, versions, layers, weights, compile state, the custom names that it needs, and its risks.

    Raises:
        LoadError: there is no such file, or it is of no kind that is known.

    Example:
        >>> import lamina, tempfile
        >>> model = lamina.Sequential([lamina.Input((3,)), lamina.layers.Dense(2, name="scores")])
        >>> path = os.path.join(tempfile.mkdtemp(), "model.keras")
        >>> model.save(path)
        >>> found = inspect_model(path)
        >>> found, found.layers[-1].name, found.layers[-1].count
        (<Keras 3 archive: 2 layers, 2 weights, 8 parameters, 0 grave risks>, 'scores', 8)
    """
    path = Path(filepath)
    try:
        mode = os.stat(path).st_mode
        if stat.S_ISDIR(mode):
            found = _folder(path)
        elif stat.S_ISREG(mode):
            found = _file(path)
        else:
            raise LoadError(f"{path} is no file.", received="a device or a pipe", fix="pass the path of a file")
    except FileNotFoundError:
        raise LoadError("There is no such file.", received=str(path), fix="check the path") from None
    except OSError as error:
        raise LoadError(f"{path} cannot be read.", received=error.strerror, fix="check its permissions") from error
    found.risks.sort(key=lambda risk: not risk.grave)
    return found


def _file(path: Path) -> Inspection:
    """A file, by what it begins with."""
    found = Inspection(str(path), "", path.stat().st_size)
    with open(path, "rb") as file:
        head = file.read(2048)
    describer = _describer(path, head)
    try:
        describer(path, found)
    except LaminaError:
        raise
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError, MemoryError) as error:
        raise LoadError(
            f"{path} cannot be read.",
            received=f"{type(error).__name__}: {shown(error, 120)}",
            fix="the file may be damaged; get it again",
        ) from error
    return found


def _describer(path: Path, head: bytes) -> Callable[[Path, Inspection], None]:
    """What reads a file that begins like that."""
    if head.startswith(_HDF5) or any(head[at:].startswith(_HDF5) for at in (512, 1024)):
        return _hdf5
    if head.startswith(b"PK") or zipfile.is_zipfile(path):
        return _zip
    if len(head) > 8 and head[8:9] == b"{" and path.suffix not in (".json", ".yaml", ".yml"):
        return _safetensors
    if head.startswith(b"lamina state "):
        return _state
    if head[:1] == b"\x80":
        return describe_pt
    if head.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in (b"{", b"["):
        return _json
    if path.suffix == ".safetensors":
        return _safetensors
    if path.suffix in (".yaml", ".yml") or b"class_name:" in head:
        return _yaml
    raise LoadError(
        f"{path} is of no kind that is known.",
        expected=".keras, HDF5, .safetensors, .npz, a file of torch, JSON or YAML",
        received=f"a file that begins with {head[:8]!r}" if head else "an empty file",
        fix="check that it is the right file",
    )


def _hdf5(path: Path, found: Inspection) -> None:
    with open_hdf5(path) as file:
        found.format = format_of(file)
        describe_hdf5(file, found)


def _safetensors(path: Path, found: Inspection) -> None:
    found.format = "safetensors"
    describe_safetensors(path, found)


def _state(path: Path, found: Inspection) -> None:
    found.format = "state of a training"
    describe_state(path, found)


def _json(path: Path, found: Inspection) -> None:
    with open(path, "rb") as file:
        config = parse_json(file.read(MAX_BYTES + 1), str(path))
    _config(config, found, path.name, "JSON")


def _yaml(path: Path, found: Inspection) -> None:
    """An architecture as YAML; one that asks for Python objects is not parsed, and each of them is noted."""
    with open(path, "rb") as file:
        text = file.read(MAX_BYTES + 1).decode("utf-8", "replace")
    tags = python_tags(text)
    if not tags:
        _config(parse_yaml(text), found, path.name, "YAML")
        return
    found.format = "YAML"
    for tag in tags:
        found.add(path.name, "foreign code", f"asks for a Python object: {tag}")


def _config(config: Any, found: Inspection, where: str, form: str) -> None:
    """An architecture, or something else that is written as text."""
    if not (isinstance(config, dict) and "class_name" in config):
        found.format = form
        describe(config, found, where)
        found.layers.clear()
        if isinstance(config, dict):
            _facts(config, found)
        return
    found.format = f"architecture as {form}"
    _facts(config, found)
    _architecture(config, found, where)


def _facts(config: dict[str, Any], found: Inspection) -> None:
    """The numbers and texts that stand at the top."""
    plain = [(key, value) for key, value in config.items() if isinstance(value, (str, int, float, bool))]
    for key, value in plain[:50]:
        found.facts[shown(key, 60)] = shown(value) if isinstance(value, str) else value


def _architecture(config: dict[str, Any], found: Inspection, where: str) -> None:
    """An architecture with what the model was compiled with."""
    compiled = config.get("compile_config")
    describe({key: value for key, value in config.items() if key != "compile_config"}, found, where)
    if isinstance(compiled, dict) and compiled:
        describe_compilation(compiled, found, f"{where}.compile_config")


def _zip(path: Path, found: Inspection) -> None:
    """An archive: of Keras 3, of NumPy or of torch."""
    with open_zip(path, strict=False) as members:
        names = list(members)
        if any(name.rpartition("/")[2] == "data.pkl" for name in names):
            found.format = "torch file"
            _tried(found, "the pickle", lambda: describe_pt(path, found))
            return
        for problem in members.problems:
            found.note("the archive", problem)
        if CONFIG in names or WEIGHTS in names:
            found.format = "Keras 3 archive"
            _keras(members, found)
        elif names and all(name.endswith(".npy") for name in names):
            found.format = "NumPy arrays"
            describe_npz(members, found)
        else:
            raise LoadError(
                f"{path} is an archive of another kind.",
                expected="a .keras, .npz or .pt file",
                received=", ".join(shown(name, 40) for name in names[:5]) or "no members",
                fix="check that it is the right file",
            )


def _keras(members: ZipMembers, found: Inspection) -> None:
    """The members of a `.keras` archive, each on its own: what is wrong with one does not hide the others."""
    if METADATA in members:
        _tried(found, METADATA, lambda: _facts(_text(members, METADATA), found))
    if CONFIG in members:
        _tried(found, CONFIG, lambda: _architecture(_text(members, CONFIG), found, CONFIG))
    else:
        found.add("the archive", "damage", f"there is no {CONFIG}", grave=False)
    if WEIGHTS in members:
        _tried(found, WEIGHTS, lambda: _weights(members, found))
    if ARRAYS in members:
        found.add(ARRAYS, "damage", "weights in a form that Keras no longer writes; they are not read", grave=False)
    for name in members:
        if name not in _EXPECTED:
            is_code = name.endswith((".py", ".pyc", ".so", ".pkl", ".pickle", ".dll", ".sh", ".exe"))
            found.add(name, "foreign code" if is_code else "path", "an additional member of the archive", grave=False)


def _text(members: ZipMembers, name: str) -> dict[str, Any]:
    """A member that is a JSON object."""
    found = parse_json(members.read(name, MAX_BYTES), name)
    if not isinstance(found, dict):
        raise LoadError(f"{name} is no JSON object.", received=type(found).__name__, fix="get the file again")
    return found


def _weights(members: ZipMembers, found: Inspection) -> None:
    """The weights in an archive; where its table of contents lies, they are not unpacked."""
    if members.problems and members.is_packed(WEIGHTS):
        found.add(WEIGHTS, "size", "not unpacked, since the archive is not sound")
        return
    with open_hdf5(members.read(WEIGHTS), WEIGHTS) as file:
        describe_hdf5(file, found)


def _tried(found: Inspection, where: str, action: Callable[[], None]) -> None:
    """Do one part; if it fails, that is noted."""
    try:
        action()
    except LoadError as error:
        found.note(where, error)


def _folder(path: Path) -> Inspection:
    """The folder of a run: its weights, with what its results say."""
    weights, results = path / "weights.safetensors", path / "results.json"
    if not weights.is_file():
        is_graph = (path / "saved_model.pb").is_file()
        raise LoadError(
            f"{path} is a folder{' of TensorFlow, a SavedModel' if is_graph else ''}.",
            expected="a file, or the folder of a run of lamina",
            fix="save the model as .keras or .h5 in TensorFlow" if is_graph else "pass the path of a file in it",
        )
    found = _file(weights)
    found.path, found.format = str(path), "folder of a run, with weights as safetensors"
    if results.is_file():
        with open(results, "rb") as file:
            text = file.read(MAX_BYTES + 1)
        _tried(found, results.name, lambda: _facts(parse_json(text, results.name), found))
    return found
