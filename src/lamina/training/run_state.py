"""All that a `fit` is at one moment, as data that another process can go on from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import torch

from lamina.errors import LaminaError, LoadError
from lamina.saving.states import plain
from lamina.seeds import random_states, set_random_states
from lamina.training.batches import specs_of, zeros_of
from lamina.training.belongings import Belongings
from lamina.training.epochs import DataAdapter
from lamina.training.on_batch import to_inference

_DEPTH_IN_LAYERS = 2  # generators are attributes of a layer, or of an object or list in one


class RunState:
    """Takes and puts back the state of a training.

    Args:
        model: what is trained.
        adapter: what its batches come from.
        validation: what those of validation come from, or `None`.
        callbacks: those of this `fit`.
    """

    def __init__(self, model: Any, adapter: DataAdapter, validation: DataAdapter | None, callbacks: Any) -> None:
        self._model = model
        self._sources = {"data": adapter, **({} if validation is None else {"validation": validation})}
        self._callbacks = callbacks
        for source in self._sources.values():
            source.record()
        names = ("num_samples", "batch_size", "steps", "num_batches")  # as they are before the first epoch
        self._data = {"kind": type(adapter).__name__, **{name: getattr(adapter, name) for name in names}}
        self._inputs: Any = None

    def take(self, epoch: int, done: int, logs: Any, batch: Any = None) -> dict[str, Any]:
        """The state as plain data; its tensors are those in use, to be written before training goes on.

        Args:
            epoch: the epoch that is next, or under way.
            done: how many of its batches have been trained.
            logs: those of the last of them, or of the epoch before.
            batch: the last of them, `(x, y, sample_weight)`.

        Raises:
            DtypeError: the state of a callback holds something that no file can.
        """
        random = random_states()
        model = self._model
        if batch is not None:
            self._inputs = specs_of(batch[0])
        if "validation" in self._sources:
            self._sources["validation"].reset()  # as the next evaluation would
        weights = dict(model.state_dict())
        optimizer = model.optimizer
        logs = None if logs is None else plain(dict(logs), "logs")
        return {
            "model": type(model).__name__,
            "optimizers": _kinds(optimizer),
            "data_kind": self._data,
            "place": {"epoch": epoch, "done": done, "logs": logs, "stop": model.stop_training},
            "weights": weights,
            "buffers": {name: buffer for name, buffer in model.named_buffers() if name not in weights},
            "generators": self._generators().state(),
            "inputs": self._inputs,
            "targets": model._plan.bound_to,
            "optimizer": None if optimizer is None else plain(optimizer.state_dict(), "the optimizer's state"),
            "optimizer_built": bool(getattr(optimizer, "built", False)),
            "metrics": [(name, metric.state_dict()) for name, metric in model._named_metrics()] if done else [],
            "callbacks": {key: plain(c.get_state(), f"the state of {key}") for key, c in self._with_states()},
            "sources": {name: plain(source.state(), f"the state of {name}") for name, source in self._sources.items()},
            "random": random,
        }

    def put_back(self, state: dict[str, Any], data: bool) -> None:
        """Be what `take` saw.

        Args:
            state: what it gave.
            data: whether the sources of batches too are put where they stood.

        Raises:
            LoadError: it is of another model, optimizer, or other data.
        """
        self._check(state)
        try:
            self._make_weights_and_metrics(state)
            self._put_back(state)
            if data:
                for name, source in self._sources.items():
                    if name in state["sources"]:
                        source.restore(state["sources"][name], self._model._device())
            set_random_states(state["random"])
        except LoadError:
            raise
        except (LaminaError, RuntimeError, ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
            raise _does_not_fit("a state that this training can take over", _first_line(error)) from error

    def _put_back(self, state: dict[str, Any]) -> None:
        model = self._model
        if state["weights"]:
            model.load_state_dict(state["weights"])
        with torch.no_grad():
            for name, value in state["buffers"].items():
                _set_buffer(model, name, value.to(model._device()))
        self._generators().restore(state["generators"])
        optimizer = model.optimizer
        if optimizer is not None and state["optimizer"] is not None:
            if state["optimizer_built"] and not optimizer.built:
                optimizer.build(model.trainable_weights, dict(model.named_parameters()))
            optimizer.load_state_dict(state["optimizer"])
        if state["place"]["done"]:
            self._put_back_metrics(state["metrics"])
        for key, callback in self._with_states():
            if key in state["callbacks"]:
                callback.set_state(state["callbacks"][key])
        self._inputs = state["inputs"]
        model.stop_training = bool(state["place"]["stop"])

    def _put_back_metrics(self, states: list[Any]) -> None:
        named = self._model._named_metrics()
        saved, own = [name for name, _ in states], [name for name, _ in named]
        if saved != own:
            raise _does_not_fit(f"the metrics {', '.join(saved)}", f"a model with {', '.join(own)}")
        for (_, metric), (_, values) in zip(named, states, strict=True):
            metric.load_state_dict(values)

    def _make_weights_and_metrics(self, state: dict[str, Any]) -> None:
        """Let the first batch's work be done: weights and metrics that come into being with it."""
        model, device = self._model, self._model._device()
        if state["inputs"] is not None and not _has_weights(model, state["weights"]):
            with torch.no_grad():
                to_inference(model)
                model._run_model(zeros_of(state["inputs"], device))
                model.train()
        if state["targets"] is not None and model._plan.heads is None:
            y, y_pred = (zeros_of(specs, "meta") for specs in state["targets"])
            model._plan.bind(y, y_pred, getattr(model, "output_names", None))
            model.__dict__["_log_names"] = None

    def _check(self, state: dict[str, Any]) -> None:
        """See that the state is one of a training like this."""
        try:
            saved, own = state["optimizers"], _kinds(self._model.optimizer)
            before = {**state["data_kind"], **state["place"]}
        except (TypeError, KeyError) as error:
            raise _does_not_fit("the state of a training", f"a file without {error}") from error
        if saved != own:
            raise _does_not_fit(f"the optimizer {' around '.join(saved)}", f"{' around '.join(own)}")
        for name, value in self._data.items():
            if before.get(name) != value:
                words = name.replace("_", " ").replace("num", "number of").replace("kind", "kind of data")
                raise _does_not_fit(f"data as they were then, {words}: {before.get(name)}", f"{words}: {value}")
        built = {name: tuple(t.shape) for name, t in self._model.state_dict().items() if _is_made(t)}
        for name, shape in built.items():
            weight = state["weights"].get(name)
            if state["weights"] and (weight is None or tuple(weight.shape) != shape):
                other = "no such weight" if weight is None else f"one of shape {tuple(weight.shape)}"
                raise _does_not_fit(f"a model in which {name} is {other}", f"{name} of shape {shape}")
        extra = sorted(state["weights"].keys() - built.keys())
        if extra and state["model"] != type(self._model).__name__:
            raise _does_not_fit(f"a {state['model']} with the weight {extra[0]}", type(self._model).__name__)

    def _generators(self) -> Belongings:
        """The generators that layers own."""
        owners = dict(self._model.named_modules())
        return Belongings(owners, contents=False, depth=_DEPTH_IN_LAYERS)

    def _with_states(self) -> Iterator[tuple[str, Any]]:
        """The callbacks that have a state, each under its class and its number among those of that class."""
        seen: Counter[str] = Counter()
        for callback in self._callbacks:
            if hasattr(callback, "get_state") and hasattr(callback, "set_state"):
                name = type(callback).__name__
                seen[name] += 1
                yield f"{name} {seen[name]}", callback


def _kinds(optimizer: Any) -> list[str]:
    """The class of an optimizer, and of those inside it."""
    kinds = []
    while optimizer is not None:
        kinds.append(type(optimizer).__name__)
        optimizer = getattr(optimizer, "inner_optimizer", None)
    return kinds or ["none"]


def _is_made(value: Any) -> bool:
    """Whether this is a tensor with numbers, rather than the place of one."""
    return isinstance(value, torch.Tensor) and not torch.nn.parameter.is_lazy(value)


def _has_weights(model: Any, names: dict[str, Any]) -> bool:
    """Whether the model has its weights already."""
    own = model.state_dict()
    return getattr(model, "built", True) and names.keys() <= own.keys() and all(_is_made(own[n]) for n in names)


def _set_buffer(model: torch.nn.Module, path: str, value: torch.Tensor) -> None:
    """Give a buffer its value; one that the first batch would make is made."""
    parent, _, name = path.rpartition(".")
    module = model.get_submodule(parent)
    own = module._buffers.get(name)
    if own is not None and own.shape == value.shape:
        own.copy_(value)
    else:
        module.register_buffer(name, value.clone(), persistent=False)


def _first_line(error: Exception) -> str:
    """What an error says, in a line."""
    if isinstance(error, LaminaError):
        return " ".join(part for part in (error.what, error.received and f"({error.received})") if part)
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _does_not_fit(expected: str, received: str) -> LoadError:
    return LoadError(
        "The folder holds a run that this training cannot go on with.",
        expected=expected,
        received=received,
        fix="start the script that began the run, unchanged; or pass another folder to begin anew",
    )
