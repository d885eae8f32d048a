"""House rules that a machine can check: sizes, names, docstrings, what may run, and what an import costs."""

from __future__ import annotations

import ast
import importlib
import inspect
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import lamina

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "lamina"
SOURCES = sorted(PACKAGE.rglob("*.py"))
TREES = {path.relative_to(PACKAGE).as_posix(): ast.parse(path.read_text(encoding="utf-8")) for path in SOURCES}

# Modules at the root of the package whose functions and classes users call.
PUBLIC_MODULES = ("activations", "config", "constraints", "initializers", "regularizers", "seeds")

# Imported at first use, inside the function that needs them.
HEAVY = tuple(
    "IPython PIL fontTools grandalf h5py keras matplotlib onnx onnxruntime onnxscript pandas pooch rich tensorboard "
    "torch.utils.tensorboard yaml".split()
)

# File -> what it may use although files and users' strings must never become code.
MAY_RUN_CODE = {
    "engine/codegen.py": {"compile", "exec"},  # the forward that it generated itself
    "saving/lambda_source.py": {"compile"},  # of the user's own text, to compare it with the code in memory
    "saving/legacy/yaml_text.py": {"yaml"},  # safe_load alone
    "training/workers.py": {"pickle"},  # by name, to catch PicklingError
}

# What opens or runs something -> the files that may call it. Everyone else goes through them.
OPENERS = {
    "h5py.File": {"saving/hdf5.py"},
    "zipfile.ZipFile": {"saving/zip_members.py"},
    "zipfile.PyZipFile": set(),
    "tarfile.open": {"datasets/extracting.py"},
    "tarfile.TarFile": set(),
    "shutil.unpack_archive": set(),
    "numpy.load": set(),
    "numpy.lib.npyio.NpzFile": set(),
    "torch.load": {"saving/tensors.py"},
    "torch.jit.load": set(),
    "torch.hub.load": set(),
    "torch.export.load": set(),
    "torch.package.PackageImporter": set(),
    "json.load": set(),
    "json.loads": {"saving/json_text.py", "saving/states.py", "callbacks/curves.py", "commands/run_folder.py"},
    "yaml.load": set(),
    "yaml.full_load": set(),
    "yaml.unsafe_load": set(),
    "importlib.import_module": {"__init__.py", "saving/objects.py", "commands/target.py"},
    "importlib.machinery.SourceFileLoader": {"commands/target.py"},
    "importlib.util.spec_from_file_location": set(),
    "runpy.run_path": set(),
    "runpy.run_module": set(),
    "os.system": set(),
    "os.popen": set(),
    "subprocess.run": {"kernels/native/library.py"},
    "subprocess.Popen": set(),
    "ctypes.CDLL": {"kernels/native/library.py", "allocator.py"},
    "urllib.request.urlopen": set(),
    "urllib.request.urlretrieve": set(),
    "requests.get": set(),
    "pooch.retrieve": {"datasets/store.py"},
}
# Those that also write, and the files that may do that.
WRITERS = {
    "h5py.File": {"saving/weights_h5.py", "saving/legacy/writing.py"},
    "zipfile.ZipFile": {"saving/archive.py"},
}


def length(node: ast.AST) -> int:
    """Lines of a class or function, decorators left out."""
    return node.end_lineno - node.lineno + 1  # type: ignore[attr-defined]


def docstring_length(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    return length(node.body[0]) if ast.get_docstring(node) is not None else 0


def lines_of(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


def expect_none(offences: Iterable[str]) -> None:
    found = sorted(offences)
    assert not found, "\n" + "\n".join(found)


def every(*kinds: type[ast.AST]) -> Iterator[tuple[str, Any]]:
    """Each node of these kinds in the source, with the name of its file."""
    for name, tree in TREES.items():
        yield from ((name, node) for node in ast.walk(tree) if isinstance(node, kinds))


def test_the_source_is_found():
    assert {"errors.py", "datasets/digits.py"} <= set(TREES)


def test_no_source_file_is_over_400_lines():
    expect_none(f"{path.relative_to(ROOT)}: {lines_of(path)} lines" for path in SOURCES if lines_of(path) > 400)


def test_no_test_file_is_over_600_lines():
    files = (ROOT / "tests").rglob("*.py")
    expect_none(f"{path.relative_to(ROOT)}: {lines_of(path)} lines" for path in files if lines_of(path) > 600)


def test_no_class_is_over_300_lines():
    classes = every(ast.ClassDef)
    expect_none(
        f"{name}:{node.lineno} {node.name}: {length(node)} lines" for name, node in classes if length(node) > 300
    )


def test_no_function_is_over_60_lines_of_code():
    """The docstring does not count: documenting an argument should cost nothing."""
    functions = [(name, node) for name, node in every(ast.FunctionDef, ast.AsyncFunctionDef)]
    lengths = {f"{name}:{node.lineno} {node.name}": length(node) - docstring_length(node) for name, node in functions}
    expect_none(f"{name}: {lines} lines" for name, lines in lengths.items() if lines > 60)


def test_files_are_named_after_what_they_hold():
    """`lamina.utils` is Keras's public name; no file of our own is called after the habit of not naming it."""
    vague = {"common", "helper", "helpers", "misc", "util", "utils"}
    paths = [path.relative_to(PACKAGE).with_suffix("").parts for path in SOURCES]
    inside = [path[1:] if path[0] == "utils" and len(path) > 1 else path for path in paths]
    expect_none("/".join(path) for path in inside if vague & set(path))


def test_a_users_mistake_is_never_an_assert():
    expect_none(f"{name}:{node.lineno}" for name, node in every(ast.Assert))


def test_nothing_read_from_a_file_becomes_code():
    offences = []
    for name, node in every(ast.Import, ast.ImportFrom, ast.Call):
        if isinstance(node, ast.Import):
            used = {alias.name.split(".")[0] for alias in node.names} & {"pickle", "marshal", "dill", "shelve", "yaml"}
        elif isinstance(node, ast.ImportFrom):
            used = {(node.module or "").split(".")[0]} & {"pickle", "marshal", "dill", "shelve", "yaml"}
        else:
            used = called_dangerously(node)
        offences += [f"{name}:{node.lineno} {what}" for what in used - MAY_RUN_CODE.get(name, set())]
    expect_none(offences)


def called_dangerously(call: ast.Call) -> set[str]:
    """What is dangerous in a call: a builtin that runs code, or a reader told to accept pickles."""
    found = {call.func.id} & {"eval", "exec", "compile", "__import__"} if isinstance(call.func, ast.Name) else set()
    flags = {(word.arg, getattr(word.value, "value", None)) for word in call.keywords}
    return found | {f"{flag}={value}" for flag, value in flags & {("allow_pickle", True), ("weights_only", False)}}


@pytest.mark.parametrize(
    "code, found",
    [
        ("eval(text)", {"eval"}),
        ("np.load(file, allow_pickle=True)", {"allow_pickle=True"}),
        ("torch.load(file, weights_only=False)", {"weights_only=False"}),
        ("model.compile(loss='mse'); np.load(file, allow_pickle=False)", set()),
    ],
)
def test_the_search_for_dangerous_calls_finds_them(code, found):
    calls = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Call)]
    assert set().union(*map(called_dangerously, calls)) == found


def calls_by_name(tree: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    """Each call in a file with the full name of what is called, whatever the file imported it as."""
    known: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                top = alias.name.split(".")[0]
                known[alias.asname or top] = alias.name if alias.asname else top
        elif isinstance(node, ast.ImportFrom) and node.module:
            known.update({alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names})
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            parts, function = [], node.func
            while isinstance(function, ast.Attribute):
                parts.append(function.attr)
                function = function.value
            if isinstance(function, ast.Name) and function.id in known:
                yield ".".join([known[function.id], *reversed(parts)]), node


def opened_beside(name: str, tree: ast.AST) -> list[str]:
    """The calls in a file of what only other files may call."""
    found = []
    for called, node in calls_by_name(tree):
        if called in OPENERS and name not in OPENERS[called]:
            modes = [value.value for value in node.args[1:2] if isinstance(value, ast.Constant)]
            if not (name in WRITERS.get(called, ()) and modes == ["w"]):
                found.append(f"{name}:{node.lineno} {called}")
    return found


def test_files_are_opened_and_code_is_run_in_a_few_places_only():
    expect_none(offence for name, tree in TREES.items() for offence in opened_beside(name, tree))


def test_every_place_that_may_open_something_still_does():
    """A permission that nobody needs is a hole."""
    used = {(called, name) for name, tree in TREES.items() for called, _ in calls_by_name(tree)}
    allowed = [(called, name) for table in (OPENERS, WRITERS) for called, names in table.items() for name in names]
    expect_none(f"{name} {called}" for called, name in allowed if (called, name) not in used)


@pytest.mark.parametrize(
    "code",
    [
        "import h5py\nh5py.File(path)",
        "import h5py as h\nh.File(path, 'r')",
        "from zipfile import ZipFile\nZipFile(path)",
        "import zipfile\nwith zipfile.ZipFile(path, 'a') as archive: pass",
        "import numpy as np\nnp.load(path, allow_pickle=False)",
        "from numpy import load as read\nread(path)",
        "import torch\ndef f():\n    return torch.load(path, weights_only=True)",
        "import importlib\nimportlib.import_module(name)",
        "from importlib import import_module as take\ntake(name)",
        "import os\nos.system('ls')",
        "import json\njson.loads(text)",
    ],
)
def test_the_search_for_openers_finds_them(code):
    assert len(opened_beside("layers/core.py", ast.parse(code))) == 1


def test_the_search_for_openers_finds_nothing_else():
    code = "import h5py, json\nh5py.File(path, 'w')\njson.dumps(text)\nself.load(path)\nload(path)"
    assert opened_beside("saving/weights_h5.py", ast.parse(code)) == []
    assert len(opened_beside("saving/weights_h5.py", ast.parse("import h5py\nh5py.File(path, 'r+')"))) == 1


def submodules() -> list[str]:
    """The dotted names of every module of lamina but `__main__`."""
    dotted = [".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts) for path in SOURCES]
    return [name.removesuffix(".__init__") for name in dotted if not name.endswith("__main__")]


def re_exports(package: ModuleType) -> Iterator[str]:
    """The names that a package's `__init__` gives to others: `from ... import X as X`, and the root's lazy ones."""
    for node in ast.walk(ast.parse(Path(str(package.__file__)).read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            yield from (alias.asname for alias in node.names if alias.asname)
    if package is lamina:
        yield from lamina.__all__


def public_objects() -> dict[str, Any]:
    """Each public class and function of lamina's own, under its dotted name."""
    found: dict[str, Any] = {}
    for name in submodules():
        module = importlib.import_module(name)
        if hasattr(module, "__path__"):
            names = list(re_exports(module))
        elif name.removeprefix("lamina.") in PUBLIC_MODULES:
            names = [key for key, value in vars(module).items() if getattr(value, "__module__", None) == name]
        else:
            continue
        for public in (key for key in names if not key.startswith("_")):
            obj = getattr(module, public)
            if (inspect.isclass(obj) or inspect.isroutine(obj)) and obj.__module__.startswith("lamina"):
                found[f"{obj.__module__}.{obj.__qualname__}"] = obj
    return found


def documented_arguments(docstring: str | None) -> set[str]:
    """The names before a colon under `Args`, or a record's `Attributes`: `name:`, `name (type):`, `first, second:`."""
    text = inspect.cleandoc(docstring or "") + "\n"
    section = re.search(r"^(?:Args|Attributes):\n((?:[ \t]+.*\n|\n)*)", text, re.MULTILINE)
    entries = re.findall(r"^ {4}(\S[^:\n]*):", section.group(1), re.MULTILINE) if section else []
    return {name for entry in entries for name in re.findall(r"\w+", re.sub(r"\(.*?\)", "", entry))}


def undocumented_arguments(obj: Any) -> list[str]:
    """Arguments of a function, or of a class's `__init__`, that its docstring and its bases' leave out."""
    owners = (
        [owner for owner in obj.__mro__ if owner.__module__.startswith("lamina")] if inspect.isclass(obj) else [obj]
    )
    known = set().union(*(documented_arguments(owner.__doc__) for owner in owners))
    if inspect.isclass(obj):
        if not any("__init__" in vars(owner) for owner in owners):
            return []  # the constructor of torch or Python, documented there
        known |= set().union(*(documented_arguments(getattr(owner.__init__, "__doc__", None)) for owner in owners))
    parameters = list(inspect.signature(obj.__init__ if inspect.isclass(obj) else obj).parameters.values())
    named = [p.name for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD) and p.name != "self"]
    return [name for name in named if name not in known]


def test_an_argument_that_the_docstring_leaves_out_is_found():
    def resize(image, size, *, mode="bilinear", **options):
        """Make an image larger or smaller.

        Args:
            image, size: what to resize, and the size: height and width.
                quality: no argument, only the second line of an entry.

        Returns:
            mode: no argument either.
        """

    assert undocumented_arguments(resize) == ["mode"]


def test_public_objects_are_collected():
    found = public_objects()
    assert {"lamina.datasets.images.load_image_folder", "lamina.config.set_device"} <= set(found)


def test_everything_public_has_a_docstring():
    expect_none(name for name, obj in public_objects().items() if not vars(obj).get("__doc__", obj.__doc__))


def test_docstrings_mention_every_argument():
    missing = {name: undocumented_arguments(obj) for name, obj in public_objects().items()}
    expect_none(f"{name}: {', '.join(arguments)}" for name, arguments in missing.items() if arguments)


@pytest.mark.parametrize("modules", [["lamina"], submodules()], ids=["the package", "every module"])
def test_importing_loads_nothing_heavy_and_prints_and_writes_nothing(modules, tmp_path):
    program = (
        f"import importlib, sys\nfor name in {modules!r}: importlib.import_module(name)\n"
        f"sys.exit(', '.join(name for name in {HEAVY!r} if name in sys.modules) or 0)"
    )
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE.parent), "HOME": str(tmp_path), "TMPDIR": str(tmp_path)}
    result = subprocess.run(
        [sys.executable, "-B", "-c", program],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout + result.stderr == ""
    assert list(tmp_path.iterdir()) == []


def test_the_tests_are_of_this_tree():
    assert Path(str(lamina.__file__)).resolve() == PACKAGE / "__init__.py"
