"""How a model of Keras 1 or 2 was compiled, in today's words."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from lamina import losses, metrics, optimizers
from lamina.configurable import init_parameters
from lamina.engine import nest
from lamina.errors import LaminaError, LoadError, unknown_name
from lamina.optimizers.schedules import InverseTimeDecay
from lamina.registry import LOSSES, METRICS, OPTIMIZERS, SCHEDULES
from lamina.saving.legacy.objects import custom_object, plain_name
from lamina.saving.legacy.optimizers import LEGACY_OPTIMIZERS

_LOSSES = {
    "kullback_leibler_divergence": "kl_divergence", "logcosh": "log_cosh", "cosine": "cosine_similarity",
    "cosine_proximity": "cosine_similarity", "CosineProximity": "CosineSimilarity", "huber_loss": "huber",
}  # fmt: skip
_METRICS = {**_LOSSES, "fmeasure": "f1_score", "LogCosh": "LogCoshError", "logcosh": "log_cosh_error"}
_WEIGHT_MODES = (None, "temporal")


def compile_arguments(config: Mapping[str, Any], custom: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of `compile`.

    Args:
        config: the training configuration of the file.
        custom: losses, metrics and optimizers by name.

    Raises:
        LoadError: the configuration says something that is not known.
        UnknownNameError: there is no loss, metric or optimizer of a name.
    """
    found = {
        "optimizer": read_optimizer(config["optimizer_config"], custom),
        "loss": _map(lambda value: _read(value, custom, _loss), config.get("loss")),
        "loss_weights": config.get("loss_weights") or None,
        "metrics": _metrics(config.get("metrics"), custom),
        "weighted_metrics": _metrics(config.get("weighted_metrics"), custom),
    }
    if isinstance(found["loss"], list) and len(found["loss"]) == 1:
        found["loss"] = found["loss"][0]
    return found


def _map(function: Any, value: Any) -> Any:
    """`function` of each description in lists and dicts of them."""
    if isinstance(value, list):
        return [_map(function, member) for member in value]
    if isinstance(value, dict) and "class_name" not in value:
        return {key: _map(function, member) for key, member in value.items()}
    return function(value)


def _read(value: Any, custom: Mapping[str, Any], make: Any) -> Any:
    """A loss or metric of its name or description."""
    if value is None:
        return None
    if isinstance(value, str):
        own = custom_object(value, custom)
        return own if own is not None else make(plain_name(value), None)
    if not isinstance(value, dict):
        raise LoadError("The training configuration is not what Keras writes.", received=repr(value)[:80])
    name, config = value["class_name"], value.get("config")
    if name == "function" or isinstance(config, str):
        return _read(config, custom, make)
    own = custom_object(name, custom)
    if own is not None:
        return own.from_config(dict(config)) if hasattr(own, "from_config") else own
    config = dict(config or {})
    function = config.get("fn")
    if isinstance(function, dict):
        function = config["fn"] = function.get("config")
    if isinstance(function, str):
        own = custom_object(function, custom)
        if own is not None:
            return own
    return make(plain_name(name), config)


def _loss(name: str, config: dict[str, Any] | None) -> Any:
    """A loss of this library."""
    if config is None:
        return _renamed(name, _LOSSES, LOSSES)
    if name == "LossFunctionWrapper" and isinstance(config.get("fn"), str):
        name = config["fn"]
    cls = LOSSES[_renamed(name, _LOSSES, LOSSES)]
    taken = {key: value for key, value in config.items() if key in init_parameters(cls)}
    if taken.get("reduction") in ("auto", None):
        taken.pop("reduction", None)
    return cls(**taken)


def _metric(name: str, config: dict[str, Any] | None) -> Any:
    """A metric of this library."""
    if config is None:
        return name if name in ("acc", "accuracy", "ce", "crossentropy") else _renamed(name, _METRICS, METRICS)
    if isinstance(config.get("fn"), str):
        name = config["fn"]
    cls = METRICS[_renamed(name, _METRICS, METRICS)]
    known = inspect.signature(cls.__init__).parameters
    taken = {key: value for key, value in config.items() if key in known}
    if "num_labels" in taken and not taken["num_labels"]:
        taken.pop("num_labels")
    return cls(**taken)


def _renamed(name: str, names: Mapping[str, str], registry: Any) -> str:
    name = name if name in registry else names.get(name, name)
    if name not in registry:
        raise unknown_name(registry.kind, name, registry, registry.names)
    return name


def _metrics(value: Any, custom: Mapping[str, Any]) -> Any:
    """Metrics in the form of `compile`; one output's in a list of its own are given as they are."""
    found = _without_gaps(_map(lambda member: _read(member, custom, _metric), value))
    if isinstance(found, list) and len(found) == 1 and isinstance(found[0], list):
        return found[0]
    return found or None


def _without_gaps(value: Any) -> Any:
    """Metrics without the `None` that stands for an output that has none."""
    if isinstance(value, dict):
        return {key: member for key, found in value.items() if (member := _without_gaps(found)) not in (None, [])}
    if isinstance(value, list):
        return [[] if member is None and _nested(value) else _without_gaps(member) for member in value
                if member is not None or _nested(value)]  # fmt: skip
    return value


def _nested(value: list[Any]) -> bool:
    return any(isinstance(member, list) for member in value)


# ---------------------------------------------------------------------- optimizers
_ARGUMENTS = {"lr": "learning_rate"}


def read_optimizer(config: Mapping[str, Any], custom: Mapping[str, Any]) -> Any:
    """An optimizer without its state.

    Args:
        config: its `class_name` and `config`.
        custom: optimizers by name.

    Raises:
        LoadError: it was one of TensorFlow's, of which the file does not say more.
        UnknownNameError: there is none of that name.
    """
    own = custom_object(config["class_name"], custom)
    arguments = {_ARGUMENTS.get(key, key): value for key, value in dict(config["config"]).items()}
    if own is not None:
        return own.from_config(arguments) if hasattr(own, "from_config") else own
    name = plain_name(config["class_name"])
    if name == "TFOptimizer":
        raise LoadError("The model was compiled with an optimizer of TensorFlow 1, which no file describes.")
    if name == "LossScaleOptimizer":
        inner = read_optimizer(arguments["inner_optimizer"], custom)
        made = {key: arguments[key] for key in ("initial_scale", "dynamic_growth_steps") if arguments.get(key)}
        return optimizers.LossScaleOptimizer(inner, **made)
    cls = optimizer_class(name, arguments)
    decay = arguments.pop("decay", 0.0)
    if "schedule_decay" in init_parameters(cls):  # which TensorFlow named decay
        arguments.setdefault("schedule_decay", decay)
        decay = 0.0
    rate = arguments.get("learning_rate")
    if isinstance(rate, dict):
        arguments["learning_rate"] = read_schedule(rate, custom)
    elif decay:
        arguments["learning_rate"] = InverseTimeDecay(float(rate), 1, float(decay))
    if arguments.get("epsilon", 0.0) is None:
        arguments.pop("epsilon")
    if not arguments.get("use_ema"):
        arguments.pop("ema_overwrite_frequency", None)
    return cls(**{key: value for key, value in arguments.items() if key in init_parameters(cls)})


def optimizer_class(name: str, arguments: Mapping[str, Any]) -> type:
    """The class of an optimizer; one of before TensorFlow 2.11 may have had other numbers.

    Args:
        name: its name in the file, in whatever case.
        arguments: its config.

    Raises:
        UnknownNameError: there is none of that name.
    """
    spellings = {spelling.lower(): own for spelling, own in OPTIMIZERS.names.items()}
    if name.lower() not in spellings:
        raise unknown_name("optimizer", name, OPTIMIZERS, OPTIMIZERS.names)
    today = spellings[name.lower()]
    old = "is_legacy_optimizer" not in arguments and "jit_compile" not in arguments
    return LEGACY_OPTIMIZERS[today] if old and today in LEGACY_OPTIMIZERS else OPTIMIZERS[today]


def read_schedule(value: Mapping[str, Any], custom: Mapping[str, Any]) -> Any:
    """A learning-rate schedule.

    Args:
        value: its `class_name` and `config`.
        custom: schedules by name.
    """
    own = custom_object(value["class_name"], custom)
    if own is not None:
        return own.from_config(dict(value["config"]))
    cls = SCHEDULES[plain_name(value["class_name"])]
    taken = {key: entry for key, entry in value["config"].items() if key in init_parameters(cls) and key != "name"}
    return cls(**taken)


def compiled(model: Any, config: Mapping[str, Any], custom: Mapping[str, Any]) -> str | None:
    """Compile a model as its file says.

    Args:
        model: the model.
        config: the training configuration of the file.
        custom: losses, metrics and optimizers by name.

    Returns:
        `None`, or why it cannot be compiled; it is then left as it was.
    """
    try:
        arguments = compile_arguments(config, custom)
        outputs = list(getattr(model, "output_names", ()))
        if len(outputs) > 1:  # whose names stand in front of those of their metrics in the file, as here only in logs
            for metric in nest.flatten([arguments["metrics"], arguments["weighted_metrics"]]):
                for output in outputs:
                    if getattr(metric, "name", "").startswith(f"{output}_"):
                        metric.name = metric.name.removeprefix(f"{output}_")
                        break
        model.compile(**arguments)
    except (LaminaError, KeyError, TypeError, ValueError, AttributeError) as error:
        return (str(error).strip() or type(error).__name__).splitlines()[0]
    return None


_USED = (losses, metrics)  # importing them fills the registries
