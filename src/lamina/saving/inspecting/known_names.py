"""Which classes and functions lamina has, for whoever reads their names in a file."""

from __future__ import annotations

import functools

from lamina import registry
from lamina.registry import Registry
from lamina.saving.legacy.layers import ROWS
from lamina.saving.legacy.objects import LEGACY_ACTIVATIONS
from lamina.saving.legacy.optimizers import LEGACY_OPTIMIZERS
from lamina.saving.legacy.retired import LEGACY_LAYERS
from lamina.saving.objects import complete_registries
from lamina.saving.operations.lookup import known_operations

_MARKS = frozenset(
    "__tensor__ __numpy__ __bytes__ __ellipsis__ __slice__ __tuple__ __dtype__ __weight__ __keras_tensor__ TensorShape "
    "DTypePolicy FloatDTypePolicy DTypePolicyMap QuantizedDTypePolicy Policy function TorchOperation CompileLoss "
    "CompileMetrics".split()
)
_NAMESPACES = ("keras", "tf_keras", "tensorflow", "keras_core", "lamina", "builtins")
_HARMFUL_MODULES = frozenset(
    "os posix nt subprocess sys shutil importlib socket ctypes pickle marshal runpy pty code pathlib io tempfile "
    "urllib http requests webbrowser multiprocessing threading signal platform timeit pdb inspect types "
    "operator functools torch.hub torch.serialization keras.utils keras.src.utils keras.config keras.src.backend "
    "keras.src.saving keras.saving keras.models.load_model tensorflow.io lamina.saving lamina.utils "
    "lamina.config".split()
)
_HARMFUL_NAMES = frozenset(
    "eval exec compile open __import__ getattr setattr system popen Popen run call check_output spawn fork execv "
    "rmtree remove unlink get_file load_model load_weights enable_unsafe_deserialization import_module loads "
    "load".split()
)


def is_known(name: str) -> bool:
    """Whether lamina has a class or function of that name, in any registry, of today or of Keras 1 and 2.

    Args:
        name: as a file has it, with or without a package in front.

    Example:
        >>> is_known("Dense"), is_known("relu"), is_known("get_file")
        (True, True, False)
    """
    return name in _MARKS or any(name in known for known in _registries()) or name in _elsewhere()


def is_foreign(module: str) -> bool:
    """Whether a module is neither Keras's nor lamina's.

    Args:
        module: its dotted name.
    """
    return module.partition(".")[0] not in _NAMESPACES


def harm(module: str | None, name: str) -> str | None:
    """What is dangerous about a name, to a loader that imports what files name; `None` if nothing is known to be.

    Args:
        module: where it is said to be.
        name: the class or function.

    Example:
        >>> harm("subprocess", "run")
        'subprocess.run'
        >>> harm("keras.layers", "Dense")
    """
    full = f"{module}.{name}" if module else name
    parts = (module or "").split(".")
    prefixes = {".".join(parts[: length + 1]) for length in range(len(parts))}
    if prefixes & _HARMFUL_MODULES and not is_known(name):
        return full
    if name.rpartition(".")[2] in _HARMFUL_NAMES and not is_known(name):
        return full
    if parts[0] == "builtins" and not is_known(name):
        return full
    return None


@functools.lru_cache(maxsize=1)
def _registries() -> tuple[Registry, ...]:
    """Every registry there is, filled."""
    complete_registries()
    found = [value for value in vars(registry).values() if isinstance(value, Registry)]
    return (*found, LEGACY_LAYERS, LEGACY_ACTIVATIONS, LEGACY_OPTIMIZERS)


@functools.lru_cache(maxsize=1)
def _elsewhere() -> frozenset[str]:
    """Names of Keras 1 and 2, and of Keras 3's operations, that the loaders turn into something of today."""
    return frozenset(
        {*ROWS, *known_operations(), "TFOpLambda", "SlicingOpLambda", "TensorFlowOpLayer", "Merge", "Lambda"}
    )
