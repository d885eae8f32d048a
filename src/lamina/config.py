"""Settings of the whole process: the default float type, epsilon, image layout and device.

Nothing here is read from or written to a file; a setting lasts as long as the process.
"""

from __future__ import annotations

import math

import torch

from lamina.errors import ArgumentError

_floatx = "float32"
_epsilon = 1e-7
_image_data_format = "channels_last"
_device: torch.device | None = None


def floatx() -> str:
    """The default float type, `"float32"` unless `set_floatx` said otherwise."""
    return _floatx


def set_floatx(value: str) -> None:
    """Set the default float type.

    Args:
        value: `"float16"`, `"bfloat16"`, `"float32"` or `"float64"`.

    Raises:
        ArgumentError: `value` is none of these.
    """
    global _floatx
    if value not in ("float16", "bfloat16", "float32", "float64"):
        raise ArgumentError(
            "Unknown float type.",
            expected="'float16', 'bfloat16', 'float32' or 'float64'",
            received=repr(value),
            fix="set_floatx('float32')",
        )
    _floatx = value


def epsilon() -> float:
    """The small constant that keeps divisions and logarithms finite; 1e-7 by default."""
    return _epsilon


def set_epsilon(value: float) -> None:
    """Set the small constant that `epsilon` gives.

    Args:
        value: above zero, such as 1e-7.

    Raises:
        ArgumentError: `value` is no finite number above zero.
    """
    global _epsilon
    try:
        found = float(value)
    except (TypeError, ValueError):
        found = math.nan
    if not 0 < found < math.inf:
        raise ArgumentError(
            "This cannot be epsilon.",
            expected="a finite number above zero",
            received=repr(value),
            fix="set_epsilon(1e-7)",
        )
    _epsilon = found


def image_data_format() -> str:
    """The default position of the channel axis: `"channels_last"` unless set otherwise."""
    return _image_data_format


def set_image_data_format(value: str) -> None:
    """Set the default position of the channel axis.

    Args:
        value: `"channels_last"` or `"channels_first"`.

    Raises:
        ArgumentError: `value` is neither.
    """
    global _image_data_format
    _image_data_format = standardize_data_format(str(value))


def standardize_data_format(value: str | None) -> str:
    """`value` checked and in lower case, or the default format for `None`.

    Args:
        value: `"channels_last"`, `"channels_first"` or `None`.

    Raises:
        ArgumentError: `value` names no data format.
    """
    if value is None:
        return _image_data_format
    found = str(value).lower()
    if found not in ("channels_last", "channels_first"):
        raise ArgumentError(
            "Unknown data format.",
            expected="'channels_last' or 'channels_first'",
            received=repr(value),
            fix="data_format='channels_last'",
        )
    return found


def set_device(device: str | torch.device | None) -> None:
    """Choose where new weights are made and batches are sent.

    Args:
        device: such as `"cpu"` or `"cuda:0"`; `None` returns to the default, the best device there is.

    Raises:
        ArgumentError: this machine has no such device.
    """
    global _device
    if device is None:
        _device = None
        return
    try:
        found = torch.device(device)
        torch.empty(0, device=found)
    except (RuntimeError, AssertionError, TypeError) as error:
        raise ArgumentError(
            "This device cannot be used.",
            expected="a device of this machine",
            received=f"{device!r} ({str(error).splitlines()[0]})",
            fix="set_device('cpu')",
        ) from error
    _device = found


def device() -> torch.device:
    """Where new weights are made: what `set_device` chose, else CUDA where there is one, else the CPU."""
    if _device is not None:
        return _device
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
