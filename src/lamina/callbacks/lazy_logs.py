"""Logs whose values are computed and fetched from the device when they are read, all at once."""

from __future__ import annotations

from collections.abc import Callable, ItemsView, Iterable, Iterator, Mapping, Sequence, ValuesView
from typing import Any

import numpy as np
import torch

Value = Any
"""A number, a tensor, or a function without arguments that gives one of these."""
Provider = Callable[[], "Sequence[Value] | torch.Tensor"]


def _own_values() -> Sequence[Value]:
    """Stands for values that the dict itself holds; a bound method would keep the dict alive in a circle."""
    return ()


class LazyLogs(dict[str, Any]):
    """A dict of losses and metrics that costs nothing until a value is read.

    Names are there at once; the first value that is read computes all of them and brings them to the host in one
    transfer, as Python floats. A value given as a function is computed at that moment: read a batch's logs before the
    next batch, or keep a copy, `dict(logs)`.

    Args:
        values: for each name a number, a tensor, or a function without arguments that gives one.

    Example:
        >>> logs = LazyLogs({"loss": torch.tensor(0.5), "accuracy": lambda: torch.tensor(0.75)})
        >>> "loss" in logs, logs["accuracy"], dict(logs)
        (True, 0.75, {'loss': 0.5, 'accuracy': 0.75})
    """

    __slots__ = ("_provider",)

    def __init__(self, values: Mapping[str, Value] | None = None) -> None:
        super().__init__({} if values is None else values)
        self._provider: Provider | None = _own_values

    @classmethod
    def from_provider(cls, names: Mapping[str, None], provider: Provider) -> LazyLogs:
        """Logs of one function that gives all values, the cheapest kind to make for every batch.

        Args:
            names: a dict with the names as keys, made once: `dict.fromkeys(names)`.
            provider: gives a value for each name in the same order, or a tensor of shape `(names,)`.

        Returns:
            The logs.

        Example:
            >>> LazyLogs.from_provider({"loss": None, "mae": None}, lambda: torch.tensor([0.5, 0.25]))
            {'loss': 0.5, 'mae': 0.25}
        """
        logs = cls(names)
        logs._provider = provider
        return logs

    def fetch(self) -> None:
        """Compute every value now; later reads give the same numbers."""
        provider, self._provider = self._provider, None
        if provider is not None:
            values = super().values() if provider is _own_values else provider()
            super().update(zip(list(self), to_host(values), strict=True))

    def __iter__(self) -> Iterator[str]:
        # Defined although it adds nothing: without it `dict(logs)` would copy the storage and skip `fetch`.
        return super().__iter__()

    def __getitem__(self, name: str) -> Any:
        if self._provider is not None:
            self.fetch()
        return super().__getitem__(name)

    def get(self, name: str, default: Any = None) -> Any:
        """The value of `name`, or `default`."""
        if self._provider is not None:
            self.fetch()
        return super().get(name, default)

    def items(self) -> ItemsView[str, Any]:  # type: ignore[override]
        """Names with values."""
        self.fetch()
        return super().items()

    def values(self) -> ValuesView[Any]:  # type: ignore[override]
        """The values alone."""
        self.fetch()
        return super().values()

    def copy(self) -> dict[str, Any]:
        """A plain dict of the values as they are now."""
        return dict(self.items())

    def __setitem__(self, name: str, value: Any) -> None:
        self.fetch()
        super().__setitem__(name, value)

    def __delitem__(self, name: str) -> None:
        self.fetch()
        super().__delitem__(name)

    def update(self, *args: Any, **values: Any) -> None:
        """Set several values, as `dict.update` does."""
        self.fetch()
        super().update(*args, **values)

    def setdefault(self, name: str, default: Any = None) -> Any:
        """The value of `name`, which is set to `default` if it is new."""
        self.fetch()
        return super().setdefault(name, default)

    def pop(self, name: str, *default: Any) -> Any:
        """Remove `name` and give its value."""
        self.fetch()
        return super().pop(name, *default)

    def popitem(self) -> tuple[str, Any]:
        """Remove the last name and give it with its value."""
        self.fetch()
        return super().popitem()

    def __eq__(self, other: object) -> bool:
        self.fetch()
        return self.copy() == (other.copy() if isinstance(other, LazyLogs) else other)

    __hash__ = None  # type: ignore[assignment]

    def __or__(self, other: Any) -> dict[str, Any]:  # type: ignore[override]
        return self.copy() | dict(other)

    def __ror__(self, other: Any) -> dict[str, Any]:  # type: ignore[override]
        return dict(other) | self.copy()

    def __ior__(self, other: Any) -> LazyLogs:  # type: ignore[override,misc]
        self.update(other)
        return self

    def __repr__(self) -> str:
        return repr(self.copy())

    def __reduce__(self) -> tuple[Any, ...]:
        return dict, (self.copy(),)


def to_host(values: Iterable[Value]) -> list[Any]:
    """Numbers, tensors and functions as Python floats, with one transfer for all tensors of one device.

    A tensor of more than one value becomes a NumPy array.

    Args:
        values: what is to be read.

    Returns:
        A float, or an array, for each.

    Example:
        >>> to_host([torch.tensor(2), lambda: 3, 0.5])
        [2.0, 3.0, 0.5]
    """
    found: list[Any] = [v() if callable(v) and not isinstance(v, torch.Tensor) else v for v in values]
    scalars: dict[torch.device, list[int]] = {}
    for i, value in enumerate(found):
        if isinstance(value, torch.Tensor):
            if value.numel() == 1:
                scalars.setdefault(value.device, []).append(i)
            else:
                found[i] = value.detach().cpu().numpy()
        elif value is not None and not isinstance(value, (str, np.ndarray, list, tuple, dict)):
            found[i] = float(value)
    for places in scalars.values():
        for i, number in zip(places, _read([found[i].detach().reshape(()) for i in places]), strict=True):
            found[i] = float(number)
    return found


def _read(tensors: list[torch.Tensor]) -> list[Any]:
    """The numbers in 0-d tensors of one device, exactly."""
    if len({t.dtype for t in tensors}) > 1:
        # Wide enough for every count below 2**53; Apple's devices have no float64.
        wide = torch.float32 if tensors[0].device.type == "mps" else torch.float64
        tensors = [t.to(wide) for t in tensors]
    return torch.stack(tensors).tolist()
