"""`Metric`: a number kept over many batches, on the device where the data are."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor
from typing_extensions import Self

from lamina import config
from lamina.configurable import Configurable
from lamina.dtypes import get_policy, torch_dtype
from lamina.engine.masking import get_mask, set_mask
from lamina.errors import LaminaError, WeightsError
from lamina.initializers import get as get_initializer
from lamina.losses.alignment import as_tensor
from lamina.registry import snake_case


class Metric(Configurable):
    """A number that is updated batch by batch and read when it is wanted.

    A subclass makes its state with `add_variable`, adds to it in `update_state` and computes from it in
    `result`. State lives where the data are and is only ever added to there, so an update never waits for the
    device. `update_state` runs without gradients, and gets arrays and lists as tensors.

    Args:
        name: what logs call it; by default the class name in snake_case, never numbered, so that
            `monitor="val_auc"` means the same in a model made twice.
        dtype: the dtype of the result; `None` for `config.floatx()`.

    Example:
        >>> class Positives(Metric):
        ...     def __init__(self, name=None, dtype=None):
        ...         super().__init__(name, dtype)
        ...         self.count = self.add_variable(())
        ...     def update_state(self, y_true, y_pred, sample_weight=None):
        ...         self.count += (y_pred > 0).sum()
        ...     def result(self):
        ...         return self.count
        >>> metric = Positives()
        >>> metric.update_state([1, 0], [0.5, -1.0]); metric.update_state([1], [2.0])
        >>> metric.name, metric.result()
        ('positives', tensor(2.))
    """

    direction: ClassVar[Literal["up", "down"] | None] = None
    """Where better lies, for callbacks that are not told; `None` when the metric does not say."""

    def __init__(self, name: str | None = None, dtype: Any = None) -> None:
        self.name = name or snake_case(type(self).__name__)
        self.dtype = get_policy(dtype or config.floatx()).compute_dtype
        self._state: dict[str, Tensor] = {}
        self._initial: dict[str, Tensor] = {}  # only of what does not start at zero
        self._constants: list[Tensor] = []
        self._device = torch.device("cpu")

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "update_state" in cls.__dict__:
            cls.update_state = _on_device(cls.__dict__["update_state"])  # type: ignore[method-assign]

    @property
    def variables(self) -> list[Tensor]:
        """The state, in order of creation."""
        return list(self._state.values())

    def add_variable(
        self, shape: Sequence[int] = (), initializer: Any = "zeros", dtype: Any = None, name: str | None = None
    ) -> Tensor:
        """A tensor of state.

        Args:
            shape: its sizes.
            initializer: what it holds at first and after `reset_state`; what `initializers.get` takes.
            dtype: its dtype; the metric's by default. A sum over many batches is best kept in float64: float32
                cannot count beyond 2**24.
            name: its name in `state_dict`.

        Returns:
            The tensor, to be changed in place; assigning to the attribute that holds it changes it in place too.
        """
        kind = torch_dtype(dtype or self.dtype)
        value = torch.zeros(tuple(shape), dtype=kind)
        name = name or f"variable_{len(self._state)}"
        if name in self._state:
            name = f"{name}_{len(self._state)}"
        if not (initializer is None or (isinstance(initializer, str) and initializer == "zeros")):
            value.copy_(torch.as_tensor(get_initializer(initializer)(tuple(shape), dtype=kind)))  # type: ignore[misc]
            self._initial[name] = value.clone()
        self._state[name] = value.to(self._device)
        return self._state[name]

    add_weight = add_variable

    def add_constant(self, values: Any, dtype: Any = None) -> Tensor:
        """A tensor that follows the state to its device, but is no state.

        Args:
            values: what it holds.
            dtype: its dtype; the metric's by default.

        Returns:
            The tensor.
        """
        constant = torch.as_tensor(values, dtype=torch_dtype(dtype or self.dtype)).clone().to(self._device)
        self._constants.append(constant)
        return constant

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Take in one batch; a subclass writes this.

        Args:
            y_true: the labels.
            y_pred: the predictions.
            sample_weight: one weight a sample, or `None`.

        Raises:
            LaminaError: the subclass did not write it.
        """
        raise _unwritten(self, "update_state(self, y_true, y_pred, sample_weight=None)")

    def result(self) -> Any:
        """The metric over all batches since the last `reset_state`; a subclass writes this.

        Returns:
            A tensor, or a dict of them by name.

        Raises:
            LaminaError: the subclass did not write it.
        """
        raise _unwritten(self, "result(self)")

    @torch.no_grad()
    def reset_state(self) -> None:
        """Forget all batches. The tensors of state stay the same objects."""
        for name, value in self._state.items():
            if name in self._initial:
                value.copy_(self._initial[name])
            else:
                value.zero_()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Update, then give the result over all batches so far.

        Args:
            *args: what `update_state` takes.
            **kwargs: likewise.

        Returns:
            What `result` gives.
        """
        self.update_state(*args, **kwargs)
        return self.result()

    def to(self, device: torch.device | str) -> Self:
        """Move the state to `device`.

        Args:
            device: where to.

        Returns:
            The metric itself; its tensors stay the same objects.
        """
        self._device = torch.device(device)
        for tensor in (*self._state.values(), *self._constants):
            if tensor.device != self._device:
                _move(tensor, self._device)
        return self

    def state_dict(self) -> dict[str, Tensor]:
        """The state as plain tensors by name, copied.

        Returns:
            What `load_state_dict` takes.
        """
        return {name: value.detach().clone() for name, value in self._state.items()}

    @torch.no_grad()
    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Go on from a saved state.

        Args:
            state: what `state_dict` gave.

        Raises:
            WeightsError: it belongs to a metric with other state.
        """
        if not self._state:
            self.build_from_state(state)
        shapes = {name: tuple(value.shape) for name, value in self._state.items()}
        given = {name: tuple(value.shape) for name, value in state.items()}
        if shapes != given:
            raise WeightsError(
                f"This is not the state of metric {self.name!r}.",
                expected=str(shapes),
                received=str(given),
                fix="load it into a metric of the same class and arguments",
            )
        for name, value in state.items():
            self._state[name].copy_(value)

    def build_from_state(self, state: Mapping[str, Tensor]) -> None:
        """Make the variables that a saved state has; for metrics that make theirs at the first batch.

        Args:
            state: what `state_dict` gave.
        """

    def __setattr__(self, name: str, value: Any) -> None:
        held = self.__dict__.get(name)
        if isinstance(value, Tensor) and held is not None and held is not value and self._is_state(held):
            with torch.no_grad():
                held.copy_(value)
        else:
            super().__setattr__(name, value)

    def __getattr__(self, name: str) -> Any:
        if name in ("name", "dtype", "_state", "_device"):
            raise LaminaError(
                f"{type(self).__name__} was not initialised as a metric.",
                expected="super().__init__(name=name, dtype=dtype), first in its __init__",
                received="an __init__ that does not call it",
                fix="call super().__init__ before anything else",
            )
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def _is_state(self, value: Any) -> bool:
        return any(value is variable for variable in self._state.values())

    def _place(self, tensors: Sequence[Tensor]) -> None:
        """Follow the data to an accelerator; data that come later from the host are brought to the state."""
        for tensor in tensors:
            if tensor.device != self._device and tensor.device.type != "cpu":
                self.to(tensor.device)
                return

    def __repr__(self) -> str:
        return f"<{type(self).__name__} name={self.name!r}>"


def _on_device(update: Callable[..., None]) -> Callable[..., None]:
    """`update` without gradients, with its data as tensors on the device of the state."""

    @functools.wraps(update)
    def update_state(self: Metric, *args: Any, **kwargs: Any) -> None:
        here = self._device
        if not kwargs and not torch.is_grad_enabled() and all(type(a) is Tensor and a.device == here for a in args):
            update(self, *args)  # as the training loop calls it
            return
        values = [_as_data(value) for value in args]
        named = {name: _as_data(value) for name, value in kwargs.items()}
        self._place([v for v in (*values, *named.values()) if isinstance(v, Tensor)])
        with torch.no_grad():
            update(
                self,
                *(_moved(v, self._device) for v in values),
                **{n: _moved(v, self._device) for n, v in named.items()},
            )

    return update_state


def _as_data(value: Any) -> Any:
    """Arrays, lists and numbers as tensors; anything else as it is."""
    if isinstance(value, Tensor) or value is None or isinstance(value, (bool, str, dict)):
        return value
    if isinstance(value, (int, float)):
        return torch.as_tensor(value)
    return as_tensor(value) if isinstance(value, (np.ndarray, list, tuple)) or hasattr(value, "__array__") else value


def _move(tensor: Tensor, device: torch.device) -> None:
    """Let the same object hold its values on another device."""
    moved = tensor.to(device)
    try:
        torch.utils.swap_tensors(tensor, moved)
    except RuntimeError:  # someone holds a view of it
        tensor.data = moved


def _moved(value: Any, device: torch.device) -> Any:
    """A tensor, and its mask, on `device`; without axes it may stay with the host, where torch reads it as a number."""
    if not isinstance(value, Tensor) or value.device == device or not value.ndim:
        return value
    mask = get_mask(value)
    return set_mask(value.to(device), None if mask is None else mask.to(device))


def _unwritten(metric: Metric, method: str) -> LaminaError:
    return LaminaError(
        f"{type(metric).__name__} is no whole metric.",
        expected=f"a method {method}",
        received="a subclass of Metric without one",
        fix=f"write {method}",
    )
