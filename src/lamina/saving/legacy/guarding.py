"""A file is what it claims to be, or a `LoadError`; building what it describes takes no more memory than it holds."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from lamina.errors import LaminaError, LoadError

_FREE_BYTES = 2**26
_TIMES = 8  # how often the bytes of a file may be taken for building: initial values, copies in other layouts
_MAKERS = {
    "aten::empty", "aten::zeros", "aten::ones", "aten::full", "aten::rand", "aten::randn", "aten::empty_strided",
    "aten::new_empty", "aten::new_zeros", "aten::new_full", "aten::new_ones",
}  # fmt: skip


@contextmanager
def whole_or_refused(name: str) -> Iterator[None]:
    """Any error inside becomes a `LoadError` that names the file, unless it is lamina's own.

    Args:
        name: what the message calls the file.

    Raises:
        LoadError: what is inside failed.
    """
    try:
        yield
    except (LaminaError, OSError):  # what HDF5 cannot read is reported by who opened the file
        raise
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        raise LoadError(
            f"{name} does not describe a model that can be made.",
            expected="what Keras 1.2, Keras 2 or tf.keras wrote",
            received=f"{type(error).__name__}: {reason}",
            fix="the file may be damaged; get it again",
        ) from error


class _Budget(TorchDispatchMode):
    """Refuses tensors whose sum of bytes goes beyond a limit, before they are made."""

    def __init__(self, name: str, limit: int) -> None:
        super().__init__()
        self._name, self._limit, self._left = name, limit, limit

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func.name().partition(".")[0] in _MAKERS:
            sizes = next((a for a in args if isinstance(a, (list, tuple))), kwargs.get("size", ()))
            count = 1
            for size in sizes:
                count *= int(size)
            if not count or kwargs.get("device") != torch.device("meta"):
                self._left -= 4 * count
            if self._left < 0:
                raise LoadError(
                    f"{self._name} describes a model that is larger than the weights in it.",
                    expected=f"weights of about {self._limit // _TIMES:,} bytes",
                    received=f"a tensor of shape {tuple(sizes)}",
                    fix="do not load this file",
                )
        return func(*args, **kwargs)


def within_bytes(name: str, stored: int) -> Any:
    """A context in which no more memory is taken for weights than a file with so many bytes of them can need.

    Args:
        name: what messages call the file.
        stored: the bytes of the weights in it.
    """
    return _Budget(name, _FREE_BYTES + _TIMES * stored)
