"""What `compile` was given, as data, and back."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Mapping
from typing import Any

from lamina import losses, metrics, optimizers
from lamina.errors import ArgumentError, LaminaError, LoadError
from lamina.metrics.torch_metric import is_torch_metric
from lamina.registry import LOSSES, METRICS, OPTIMIZERS, Registry

_log = logging.getLogger("lamina")
_KEYS = ("optimizer", "loss", "loss_weights", "metrics", "weighted_metrics")


def compile_config_of(model: Any) -> dict[str, Any]:
    """What `compile` was given, with the optimizer as it is now.

    What cannot be written, such as a metric of torchmetrics, makes the model one without compile state in the file, and
    a line in the log says so.

    Args:
        model: any model.

    Returns:
        The arguments; an empty dict for a model that is not compiled.
    """
    arguments = getattr(model, "_compile_arguments", None)
    if not arguments:
        return {}
    try:
        return {
            "optimizer": None if model.optimizer is None else optimizers.serialize(model.optimizer),
            "loss": _described(arguments["loss"], _loss),
            "loss_weights": arguments["loss_weights"],
            "metrics": _described(arguments["metrics"], _metric),
            "weighted_metrics": _described(arguments["weighted_metrics"], _metric),
            "run_eagerly": False,
            "steps_per_execution": 1,
            "jit_compile": arguments.get("jit_compile", "auto"),
        }
    except LaminaError as error:
        _log.warning("%s is saved without what compile() was given: %s", model.name, error.what)
        return {}


def _described(value: Any, leaf: Callable[[Any], Any]) -> Any:
    """A nest of losses or metrics as data."""
    if isinstance(value, dict) and "class_name" not in value:
        return {key: _described(member, leaf) for key, member in value.items()}
    if isinstance(value, (list, tuple)):
        return [_described(member, leaf) for member in value]
    return value if value is None or isinstance(value, (str, dict)) else leaf(value)


def _made(value: Any) -> Any:
    """An object of a class."""
    return value() if inspect.isclass(value) else value


def _loss(value: Any) -> Any:
    value = _made(value)
    return losses.serialize(value) if hasattr(value, "get_config") or hasattr(value, "forward") else value


def _metric(value: Any) -> Any:
    value = _made(value)
    if not (hasattr(value, "get_config") or hasattr(value, "forward")):
        return value  # a function
    if is_torch_metric(value):
        raise ArgumentError("A metric of torchmetrics cannot be made again from its config.")
    if hasattr(value, "get_config"):
        return METRICS.serialize(value)
    return metrics.serialize(metrics.as_metric(value))


def compile_arguments_from(config: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments for `compile`, made of data.

    Args:
        config: what `compile_config_of` gave, here or in Keras.

    Raises:
        LoadError: the data have not that form.
        UnknownNameError: a name is neither the library's nor among the custom objects.
    """
    found: dict[str, Any] = {key: config.get(key) for key in _KEYS}
    found["optimizer"] = optimizers.get(_checked(found["optimizer"], OPTIMIZERS))
    found["loss"] = _revived(found["loss"], LOSSES)
    found["metrics"] = _revived(found["metrics"], METRICS)
    found["weighted_metrics"] = _revived(found["weighted_metrics"], METRICS)
    return found


def _checked(value: Any, registry: Registry) -> Any:
    """An optimizer's description; anything else would be called by `optimizers.get`."""
    if value is None or isinstance(value, str) or (isinstance(value, dict) and value.get("class_name") != "function"):
        return value
    raise LoadError(
        f"This is no description of an {registry.kind}.",
        expected="a name, or a dict with 'class_name' and 'config'",
        received=f"{value!r:.200}",
        fix="load with compile=False",
    )


def _revived(value: Any, registry: Registry) -> Any:
    """A nest of losses or metrics, made of data."""
    if isinstance(value, dict) and isinstance(value.get("class_name"), str):
        other = METRICS if registry is LOSSES else LOSSES
        module = value.get("module")
        parts = module.split(".") if isinstance(module, str) else []
        wanted = {LOSSES: "losses", METRICS: "metrics"}
        chosen = other if wanted[other] in parts and wanted[registry] not in parts else registry
        return chosen.deserialize(value)
    if isinstance(value, dict):
        return {key: _revived(member, registry) for key, member in value.items()}
    if isinstance(value, (list, tuple)):
        return [_revived(member, registry) for member in value]
    return value
