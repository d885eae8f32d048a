"""Names of dtypes, and policies that say which dtype weights and computations have."""

from __future__ import annotations

from typing import Any

import torch

from lamina import config
from lamina.errors import ArgumentError, DtypeError, nearest

TORCH_DTYPES: dict[str, torch.dtype] = {
    name: getattr(torch, name)
    for name in (
        "bool uint8 int8 int16 int32 int64 float16 bfloat16 float32 float64 complex64 complex128 "
        "float8_e4m3fn float8_e5m2"
    ).split()
}
_ALIASES = {
    "half": "float16",
    "float": "float32",
    "double": "float64",
    "int": "int64",
    "long": "int64",
    "complex": "complex64",
    "bool_": "bool",  # what NumPy 1 calls its class
}


def standardize_dtype(dtype: Any) -> str:
    """The name of a dtype given as a name, a `torch.dtype`, a NumPy or a Python type.

    Args:
        dtype: the dtype, or `None` for `config.floatx()`.

    Raises:
        DtypeError: no dtype of torch's has that name.

    Example:
        >>> standardize_dtype(torch.float32), standardize_dtype(float), standardize_dtype("half")
        ('float32', 'float32', 'float16')
    """
    if dtype is None:
        return config.floatx()
    if isinstance(dtype, torch.dtype):
        name = str(dtype).removeprefix("torch.")
    elif isinstance(dtype, str):
        name = dtype
    elif dtype is float:
        name = config.floatx()
    else:
        name = getattr(dtype, "name", None) or getattr(dtype, "__name__", str(dtype))
    name = _ALIASES.get(name, name)
    if name not in TORCH_DTYPES:
        guess = nearest(name, TORCH_DTYPES)
        raise DtypeError(
            "Unknown dtype.",
            expected="one of " + ", ".join(TORCH_DTYPES),
            received=repr(dtype),
            fix=f"did you mean {guess!r}?" if guess else "use 'float32'",
        )
    return name


def torch_dtype(dtype: Any) -> torch.dtype:
    """`dtype`, in any of the forms that `standardize_dtype` takes, as torch's own object."""
    return dtype if isinstance(dtype, torch.dtype) else TORCH_DTYPES[standardize_dtype(dtype)]


class DTypePolicy:
    """Which dtype a layer's weights have, and which one it computes in.

    Args:
        name: a dtype such as `"float32"`, which holds for both; or `"mixed_bfloat16"` or `"mixed_float16"`:
            weights in float32, matrix products and convolutions in the short type through
            `torch.autocast`, reductions that need it in float32.

    Raises:
        ArgumentError: there is no such mixed policy.
        DtypeError: there is no such dtype.

    Example:
        >>> policy = DTypePolicy("mixed_bfloat16")
        >>> policy.variable_dtype, policy.compute_dtype
        ('float32', 'bfloat16')
    """

    def __init__(self, name: str) -> None:
        if not isinstance(name, str):
            name = standardize_dtype(name)
        if name.startswith("mixed_"):
            if name not in ("mixed_bfloat16", "mixed_float16"):
                raise ArgumentError(
                    "Unknown dtype policy.",
                    expected="'mixed_bfloat16', 'mixed_float16' or a float dtype",
                    received=repr(name),
                    fix="use 'mixed_bfloat16'",
                )
            self.variable_dtype = "float32"
            self.compute_dtype = name.removeprefix("mixed_")
        else:
            name = self.variable_dtype = self.compute_dtype = standardize_dtype(name)
        self.name = name

    @property
    def mixed(self) -> bool:
        """Whether weights and computations have different dtypes."""
        return self.variable_dtype != self.compute_dtype

    def get_config(self) -> dict[str, Any]:
        """The argument of `__init__`."""
        return {"name": self.name}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> DTypePolicy:
        """A policy like the one whose `get_config` gave `config`."""
        return cls(**config)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DTypePolicy) and other.name == self.name

    def __hash__(self) -> int:
        return hash(self.name)

    def __repr__(self) -> str:
        return f"<DTypePolicy {self.name!r}>"


_global_policy: DTypePolicy | None = None


def global_policy() -> DTypePolicy:
    """The policy of layers that name none: what was set, else `config.floatx()` for everything."""
    return _global_policy if _global_policy is not None else DTypePolicy(config.floatx())


def set_global_policy(policy: str | DTypePolicy | None) -> None:
    """Set the policy of the layers made from now on; `None` returns to the default."""
    global _global_policy
    _global_policy = None if policy is None else get_policy(policy)


def get_policy(identifier: Any) -> DTypePolicy:
    """A policy given as such, as its name, as a dtype, as its config; the global one for `None`.

    Args:
        identifier: any of these.

    Raises:
        ArgumentError: there is no such mixed policy.
        DtypeError: there is no such dtype, or a dict does not name one.
    """
    if identifier is None:
        return global_policy()
    if isinstance(identifier, DTypePolicy):
        return identifier
    if isinstance(identifier, dict):
        described = identifier.get("config", identifier)
        if not isinstance(described, dict) or set(described) != {"name"}:
            raise DtypeError(
                "This dict does not describe a dtype policy.",
                expected="the key 'name', alone or under 'config'",
                received=repr(identifier),
                fix="pass what get_config gave, or a name such as 'float32'",
            )
        return DTypePolicy.from_config(described)
    return DTypePolicy(identifier if isinstance(identifier, str) else standardize_dtype(identifier))
