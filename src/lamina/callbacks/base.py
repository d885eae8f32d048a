"""Callbacks: what they can hear of training, who calls them, and the history that every `fit` returns."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from lamina.callbacks.curves import plot_history
from lamina.callbacks.monitors import check_monitors as check_monitors
from lamina.callbacks.monitors import listens
from lamina.registry import CALLBACKS

Logs = Mapping[str, Any]
MODES = ("train", "test", "predict")
# `on_batch_begin` is the older name of `on_train_batch_begin`, as in Keras.
_OLDER_NAMES = {"on_train_batch_begin": "on_batch_begin", "on_train_batch_end": "on_batch_end"}


class Callback:
    """Something that is told what happens during training, and may act on it.

    A subclass overrides the hooks that it needs; those that it leaves alone cost nothing. `logs` is a dict of losses
    and metrics whose values are fetched from the device when they are read. Setting `self.model.stop_training = True`
    ends training after the current batch.

    Example:
        >>> class Counter(Callback):
        ...     batches = 0
        ...
        ...     def on_train_batch_end(self, batch, logs=None):
        ...         self.batches += 1
        >>> counter = Counter()
        >>> CallbackList(counter).on_train_batch_end(0, {"loss": 1.0})
        >>> counter.batches
        1
    """

    adds_logs: tuple[str, ...] = ()
    """Names that the callback puts into the logs of an epoch."""
    comes_last: bool = False
    """Whether each hook is to be called after those of the others, wherever the callback stands in the list."""

    def __init__(self) -> None:
        self.params: dict[str, Any] = {}
        self._model: Any = None

    @property
    def model(self) -> Any:
        """The model that is being trained, evaluated or used."""
        return getattr(self, "_model", None)

    def set_model(self, model: Any) -> None:
        """Say which model the callback works with."""
        self._model = model

    def set_params(self, params: dict[str, Any]) -> None:
        """Say how training runs: `"epochs"`, `"steps"` (batches an epoch, or `None`), `"verbose"`."""
        self.params = params

    def listens_to(self, hook: str) -> bool:
        """Whether calling this hook does anything; a hook that does not is never called.

        Args:
            hook: a name such as `"on_test_batch_end"`.

        Returns:
            Whether the class, or the object itself, has a method of its own under that name.
        """
        names = [hook, *([_OLDER_NAMES[hook]] if hook in _OLDER_NAMES else [])]
        return any(n in self.__dict__ or getattr(type(self), n) is not getattr(Callback, n) for n in names)

    def get_state(self) -> dict[str, Any]:
        """What a resumed run needs: numbers, strings, lists, dicts and tensors, nothing else."""
        return {}

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on from what `get_state` gave."""

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_model"}

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Called when `fit` begins."""

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Called when `fit` ends, with the logs of the last epoch."""

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Called before each epoch; the first is 0."""

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Called after each epoch and its validation, whose results are in `logs` as `val_...`."""

    def on_train_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Called before each batch of training; the first of an epoch is 0."""
        self.on_batch_begin(batch, logs)

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Called after each batch of training, with results of the epoch so far."""
        self.on_batch_end(batch, logs)

    def on_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """The older name of `on_train_batch_begin`."""

    def on_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """The older name of `on_train_batch_end`."""

    def on_test_begin(self, logs: Logs | None = None) -> None:
        """Called when an evaluation begins, also the one within `fit`."""

    def on_test_end(self, logs: Logs | None = None) -> None:
        """Called when an evaluation ends, with its results."""

    def on_test_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Called before each batch of an evaluation."""

    def on_test_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Called after each batch of an evaluation, with results so far."""

    def on_predict_begin(self, logs: Logs | None = None) -> None:
        """Called when `predict` begins."""

    def on_predict_end(self, logs: Logs | None = None) -> None:
        """Called when `predict` ends."""

    def on_predict_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Called before each batch of `predict`."""

    def on_predict_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Called after each batch of `predict`, with the predictions as `logs["outputs"]`."""


HOOKS = tuple(name for name in vars(Callback) if name.startswith("on_"))


@CALLBACKS.register()
class History(Callback):
    """The losses and metrics of every epoch; what `fit` returns.

    Example:
        >>> history = History()
        >>> history.on_train_begin()
        >>> history.on_epoch_end(0, {"loss": 0.5})
        >>> history.epoch, history.history
        ([0], {'loss': [0.5]})
    """

    def __init__(self) -> None:
        super().__init__()
        self.epoch: list[int] = []
        self.history: dict[str, list[Any]] = {}
        # The epochs of every fit, and for each value which of them it is of: a validation may come only now and then.
        self._rows: list[int] = []
        self._places: dict[str, list[int]] = {}

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Forget the epochs' numbers; the values of an earlier `fit` with this object stay, as in Keras."""
        self.epoch = []

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Add one value for each name."""
        self.epoch.append(epoch)
        self._rows.append(epoch)
        for name, value in (logs or {}).items():
            self._places.setdefault(name, []).append(len(self._rows) - 1)
            self.history.setdefault(name, []).append(value if isinstance(value, np.ndarray) else float(value))
        if self.model is not None:
            self.model.history = self

    def get_state(self) -> dict[str, Any]:
        """The epochs and their values."""
        values = {k: [v.tolist() if isinstance(v, np.ndarray) else v for v in vs] for k, vs in self.history.items()}
        places = {name: list(rows) for name, rows in self._places.items()}
        return {"epoch": list(self.epoch), "history": values, "rows": list(self._rows), "places": places}

    def set_state(self, state: dict[str, Any]) -> None:
        """Take over the epochs of the run that is resumed."""
        self.epoch = list(state["epoch"])
        self.history = {name: list(values) for name, values in state["history"].items()}
        self._rows = list(state.get("rows", self.epoch))
        self._places = {name: list(rows) for name, rows in state.get("places", {}).items()}

    def plot(self, to_file: Any = None, metrics: Any = None) -> Any:
        """Draw losses and metrics over the epochs: a panel for each, with training and validation in it.

        Args:
            to_file: a file to write, whole or not at all, as PNG, SVG or PDF by its ending.
            metrics: names of the quantities to draw, in order; by default all. `"val_loss"` stands for `"loss"`.

        Returns:
            A figure of matplotlib's, which a notebook shows.

        Raises:
            UnknownNameError: there is no such metric.
            ArgumentError: there is nothing to draw, or the ending says no format.

        Example:
            >>> history = History()
            >>> history.on_epoch_end(0, {"loss": 0.5, "val_loss": 0.7})
            >>> [line.get_label() for line in history.plot().axes[0].lines]
            ['training', 'validation']
        """
        return plot_history(self, to_file, metrics)


class CallbackList:
    """The callbacks of one run; calls each hook of just those that do something there.

    Args:
        callbacks: a callback, or a list of them, nested if need be; objects that are no `Callback` need only the
            methods that they want called.
        add_history: whether a `History` is added if there is none.
        add_progbar: whether a `ProgbarLogger` is added if there is none.
        model: given to each callback.
        **params: given to each callback: `epochs`, `steps`, `verbose`.

    Example:
        >>> callbacks = CallbackList(add_history=True, epochs=3)
        >>> callbacks.has_batch_hooks("train"), callbacks.history.params
        (False, {'epochs': 3})
    """

    def __init__(
        self,
        callbacks: Any = None,
        add_history: bool = False,
        add_progbar: bool = False,
        model: Any = None,
        **params: Any,
    ) -> None:
        self.callbacks: list[Any] = list(_flat(callbacks))
        # After the user's: these show and keep what the others put into the logs.
        for wanted, name in ((add_progbar, "ProgbarLogger"), (add_history, "History")):
            if wanted and not any(isinstance(callback, CALLBACKS[name]) for callback in self.callbacks):
                self.callbacks.append(CALLBACKS[name]())
        self.params: dict[str, Any] = {}
        self.model: Any = None
        self._bind()
        if model is not None:
            self.set_model(model)
        if params:
            self.set_params(params)

    @property
    def history(self) -> History | None:
        """The first `History` among the callbacks."""
        return next((c for c in self.callbacks if isinstance(c, History)), None)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.callbacks)

    def append(self, callback: Any) -> None:
        """Add one more callback at the end."""
        self.callbacks.append(callback)
        self._bind()

    def set_model(self, model: Any) -> None:
        """Give the model to each callback, and the history to the model."""
        self.model = model
        if self.history is not None:
            model.history = self.history
        for callback in self.callbacks:
            _call(callback, "set_model", model)
            _call(callback, "set_callbacks", self.callbacks)

    def set_params(self, params: dict[str, Any]) -> None:
        """Give `params` to each callback."""
        self.params = params
        for callback in self.callbacks:
            _call(callback, "set_params", params)
        self._bind()

    def has_batch_hooks(self, mode: str) -> bool:
        """Whether any callback is to be called for single batches.

        Args:
            mode: `"train"`, `"test"` or `"predict"`.
        """
        return bool(self._hooks[f"on_{mode}_batch_begin"] or self._hooks[f"on_{mode}_batch_end"])

    def first_epoch(self, initial_epoch: int = 0) -> int:
        """Where training starts: later than `initial_epoch` if a callback has restored an interrupted run.

        Args:
            initial_epoch: what the user asked for.

        Returns:
            The epoch, known once `on_train_begin` has been called.
        """
        restored = [c.restored_epoch for c in self.callbacks if getattr(c, "restored_epoch", None) is not None]
        return max([initial_epoch, *restored])

    def close(self) -> None:
        """Let each callback leave things tidy, also after an error; callbacks without `close` need nothing."""
        for callback in self.callbacks:
            _call(callback, "close")

    def _bind(self) -> None:
        """Find out once which callbacks each hook concerns."""
        self._hooks: dict[str, tuple[Callable[..., None], ...]] = {}
        ordered = sorted(self.callbacks, key=lambda c: getattr(c, "comes_last", False))
        for hook in HOOKS:
            self._hooks[hook] = tuple(getattr(c, hook) for c in ordered if listens(c, hook))

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Call the hook of this name; `logs` is empty."""
        self._bind()
        for hook in self._hooks["on_train_begin"]:
            hook(logs)

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Call the hook of this name with the last epoch's logs."""
        for hook in self._hooks["on_train_end"]:
            hook(logs)

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Call the hook of this name."""
        for hook in self._hooks["on_epoch_begin"]:
            hook(epoch, logs)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Call the hook of this name with the epoch's logs, to which callbacks may add."""
        for hook in self._hooks["on_epoch_end"]:
            hook(epoch, logs)

    def on_train_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Call the hook of this name."""
        for hook in self._hooks["on_train_batch_begin"]:
            hook(batch, logs)

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Call the hook of this name with results of the epoch so far."""
        for hook in self._hooks["on_train_batch_end"]:
            hook(batch, logs)

    on_batch_begin = on_train_batch_begin
    on_batch_end = on_train_batch_end

    def on_test_begin(self, logs: Logs | None = None) -> None:
        """Call the hook of this name."""
        for hook in self._hooks["on_test_begin"]:
            hook(logs)

    def on_test_end(self, logs: Logs | None = None) -> None:
        """Call the hook of this name with the evaluation's results."""
        for hook in self._hooks["on_test_end"]:
            hook(logs)

    def on_test_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Call the hook of this name."""
        for hook in self._hooks["on_test_batch_begin"]:
            hook(batch, logs)

    def on_test_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Call the hook of this name with results so far."""
        for hook in self._hooks["on_test_batch_end"]:
            hook(batch, logs)

    def on_predict_begin(self, logs: Logs | None = None) -> None:
        """Call the hook of this name."""
        for hook in self._hooks["on_predict_begin"]:
            hook(logs)

    def on_predict_end(self, logs: Logs | None = None) -> None:
        """Call the hook of this name."""
        for hook in self._hooks["on_predict_end"]:
            hook(logs)

    def on_predict_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Call the hook of this name."""
        for hook in self._hooks["on_predict_batch_begin"]:
            hook(batch, logs)

    def on_predict_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Call the hook of this name with the batch's predictions."""
        for hook in self._hooks["on_predict_batch_end"]:
            hook(batch, logs)


def _flat(callbacks: Any) -> Iterator[Any]:
    """The callbacks in nested lists and tuples; one alone is a list of one."""
    if isinstance(callbacks, (list, tuple, CallbackList)):
        for member in callbacks:
            yield from _flat(member)
    elif callbacks is not None:
        yield callbacks


def _call(callback: Any, method: str, *args: Any) -> None:
    found = getattr(callback, method, None)
    if found is not None:
        found(*args)
