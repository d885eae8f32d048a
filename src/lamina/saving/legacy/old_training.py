"""How a model is compiled, and what its optimizer keeps, as Keras 2 writes it."""

from __future__ import annotations

from typing import Any

import numpy as np

from lamina.configurable import init_parameters
from lamina.losses.base import Loss
from lamina.metrics.base import Metric
from lamina.optimizers.base import Optimizer
from lamina.optimizers.schedules.base import LearningRateSchedule
from lamina.saving.legacy.layouts import Origin
from lamina.saving.legacy.optimizer_state import SLOTS
from lamina.saving.legacy.weights import Order

_OLD = {"OldRMSprop": "RMSprop", "OldNadam": "Nadam"}
_TODAY = ("loss_scale_factor", "gradient_accumulation_steps")  # arguments that Keras 2 lacks
_NEWER = ("weight_decay", "use_ema", "ema_momentum", "ema_overwrite_frequency")  # those of after TensorFlow 2.10


def training_config(model: Any) -> dict[str, Any] | None:
    """The arguments of `compile`, or `None` where the model is not compiled or Keras 2 could not repeat them.

    Args:
        model: a model.
    """
    plan, optimizer = getattr(model, "_plan", None), getattr(model, "optimizer", None)
    if plan is None or not isinstance(optimizer, Optimizer) or type(optimizer).__name__ not in SLOTS:
        return None
    try:
        return {
            "loss": _described(plan.loss),
            "metrics": _described(plan.metrics),
            "weighted_metrics": _described(plan.weighted_metrics),
            "loss_weights": _described(plan.loss_weights),
            "optimizer_config": _optimizer(optimizer),
        }
    except _Unknown:
        return None


class _Unknown(Exception):
    """A loss or metric is nothing that Keras 2 could make again."""


def _described(value: Any) -> Any:
    """Losses, metrics and factors as data."""
    if isinstance(value, dict):
        return {key: _described(member) for key, member in value.items()}
    if isinstance(value, (list, tuple)):
        return [_described(member) for member in value]
    if value is None or isinstance(value, (str, int, float)):
        return value
    if isinstance(value, (Loss, Metric)) and type(value).__module__.startswith("lamina."):
        config = {key: _described(member) for key, member in value.get_config().items() if key != "dtype"}
        return {"class_name": type(value).__name__, "config": config}
    if isinstance(value, type) and issubclass(value, (Loss, Metric)):
        return value.__name__
    raise _Unknown


def _optimizer(optimizer: Any) -> dict[str, Any]:
    kind = type(optimizer).__name__
    config: dict[str, Any] = {}
    for name in (*init_parameters(type(optimizer).__mro__[1] if kind in _OLD else type(optimizer)), "name"):
        if name not in _TODAY and not (kind in _OLD and name in _NEWER):
            config[name] = getattr(optimizer, name)
    rate = optimizer._learning_rate
    if isinstance(rate, LearningRateSchedule):
        rate = {"class_name": type(rate).__name__, "config": rate.get_config()}
    config["learning_rate"] = rate if isinstance(rate, dict) else float(optimizer.learning_rate)
    if kind in _OLD:
        config["decay"] = getattr(optimizer, "schedule_decay", 0.0)
        return {"class_name": _OLD[kind], "config": config}
    config.update(is_legacy_optimizer=False, jit_compile=False)
    return {"class_name": kind, "config": config}


def optimizer_arrays(model: Any) -> list[tuple[str, np.ndarray]]:
    """What the optimizer keeps for each weight, under the names and in the order of Keras 2.

    Args:
        model: a compiled model.
    """
    optimizer = model.optimizer
    kind = type(optimizer).__name__
    if not optimizer.built or kind not in SLOTS:
        return []
    short = {}
    for old, slot in SLOTS[kind].items():
        short.setdefault(slot, old)
    short["average"] = "average"
    if kind in ("RMSprop", "Adadelta"):
        short.update({slot: slot for slot in short})
    places = {id(parameter): place for place, parameter in enumerate(optimizer.known().parameters)}
    slots = optimizer.state_dict()["slots"]
    order = Order({}, Origin("2", "tensorflow")).trainable(model.layers)
    first = "iter" if kind in _OLD else "iteration"
    found = [(f"{first}:0", np.asarray(optimizer.iterations, np.int64))]
    blocks = [("average",)] if "average" in slots else []
    if kind in _OLD:
        found += (
            [("momentum_cache:0", np.float32(optimizer.product(optimizer.iterations)))] if kind == "OldNadam" else []
        )
        blocks += [(name,) for block in optimizer.slots() for name in block]
    else:
        blocks += optimizer.slots()
    for block in blocks:
        for number, parameter in enumerate(order):
            for slot in block:
                value = slots[slot][places[id(parameter)]].detach().cpu().numpy()
                name = f"{kind}/{short[slot]}/weight_{number}:0"
                found.append((name, np.array(value)))
    return found
