"""From a file to a model."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lamina.custom_objects import CustomObjectScope
from lamina.engine.budget import weights_within
from lamina.engine.layer import Layer
from lamina.errors import LaminaError, LoadError, WeightsError
from lamina.registry import LAYERS
from lamina.saving.archive import Archive, parsed, read_archive
from lamina.saving.counts import numbers_that_fit
from lamina.saving.hdf5 import open_hdf5
from lamina.saving.lambda_source import function_from
from lamina.saving.legacy import is_legacy_config, load_h5, model_from_legacy_json, model_from_legacy_yaml
from lamina.saving.objects import complete_registries, finish, unreadable
from lamina.saving.optimizer_h5 import load_optimizer
from lamina.saving.report import WeightsReport, carry_out
from lamina.saving.weights import h5_planner
from lamina.serialized import functions_as_text, sharing

_SLACK = 2**22  # numbers that a layer of a user may have beside those in the file


def load_model(
    filepath: str | os.PathLike[str],
    custom_objects: Mapping[str, Any] | None = None,
    compile: bool = True,
    safe_mode: bool = True,
) -> Any:
    """The model in a file, with its weights, its compile state and the state of its optimizer.

    Nothing in the file is run, imported or unpacked to disk. Names are looked up in the library's own registries and
    among custom objects; a lambda, which Keras writes as Python bytecode, is refused whatever `safe_mode` says.

    Args:
        filepath: a `.keras` file, written here or by Keras 3, or an `.h5` file of Keras 1, Keras 2 or tf.keras.
        custom_objects: classes and functions of your own by name.
        compile: whether to compile the model as it was.
        safe_mode: with `False`, a function of a `Lambda` layer that nobody knows is made of its text in the file, if
            that is an expression of torch's functions, as lamina writes it; it can compute with tensors and nothing
            else. Bytecode is refused all the same.

    Returns:
        The model. One that cannot be built from what the file says takes its weights with the first data.

    Raises:
        LoadError: there is no such file, it is not what its name says, or it holds code.
        UnknownNameError: a class is neither the library's nor among the custom objects.
        WeightsError: the weights do not fit the model that the file describes.

    Example:
        >>> import lamina, tempfile
        >>> model = lamina.Sequential([lamina.Input((3,)), lamina.layers.Dense(2)])
        >>> path = Path(tempfile.mkdtemp()) / "model.keras"
        >>> model.save(path)
        >>> load_model(path).count_params()
        8
    """
    path = Path(filepath)
    if path.suffix in (".h5", ".hdf5"):
        return load_h5(path, custom_objects, compile, safe_mode)
    archive = read_archive(path)
    config = dict(archive.config)
    arguments = config.pop("compile_config", None)
    try:
        with CustomObjectScope(custom_objects), functions_as_text(read=None if safe_mode else function_from):
            with weights_within(_count(archive, str(path)) + _SLACK):
                model = _model_from(config)
            if compile and isinstance(arguments, dict) and arguments:
                _compile(model, arguments, str(path))
            _give_weights(model, archive, str(path))
    except LaminaError:
        raise
    except Exception as error:
        raise unreadable(error) from error
    return model


def model_from_json(json_string: str, custom_objects: Mapping[str, Any] | None = None) -> Any:
    """A new model, with new weights, of the architecture in a JSON string.

    Args:
        json_string: what `model.to_json()` gave, here, in Keras 3 or in an earlier Keras.
        custom_objects: classes and functions of your own by name.

    Returns:
        The model, compiled if the string says how.

    Raises:
        LoadError: the string is no JSON of that form, or holds code.
        UnknownNameError: a class is neither the library's nor among the custom objects.

    Example:
        >>> import lamina
        >>> model = lamina.Sequential([lamina.Input((3,)), lamina.layers.Dense(2)])
        >>> model_from_json(model.to_json()).count_params()
        8
    """
    config = parsed(json_string, "The JSON")
    if is_legacy_config(config):
        with weights_within(numbers_that_fit(), "this machine has memory for"):
            return model_from_legacy_json(config, custom_objects)
    arguments = config.pop("compile_config", None)
    with CustomObjectScope(custom_objects):
        with weights_within(numbers_that_fit(), "this machine has memory for"):
            model = _model_from(config)
        if isinstance(arguments, dict) and arguments:
            _compile(model, arguments, "the JSON")
    return model


def model_from_yaml(yaml_string: str, custom_objects: Mapping[str, Any] | None = None) -> Any:
    """A new model, with new weights, of the architecture in a YAML string of Keras 1 or 2. Needs PyYAML.

    Args:
        yaml_string: what their `model.to_yaml()` gave.
        custom_objects: classes and functions of your own by name.

    Returns:
        The model.

    Raises:
        LoadError: the string is no YAML of that form, holds code, or PyYAML is not installed.
        UnknownNameError: a class is neither the library's nor among the custom objects.

    Example:
        >>> dense = "{class_name: Dense, config: {name: d, output_dim: 2, batch_input_shape: [null, 3]}}"
        >>> model_from_yaml("{class_name: Sequential, config: [" + dense + "]}").count_params()
        8
    """
    with weights_within(numbers_that_fit(), "this machine has memory for"):
        return model_from_legacy_yaml(yaml_string, custom_objects)


def _model_from(config: Mapping[str, Any]) -> Any:
    """The model of a description, built if the description says for which shapes."""
    complete_registries()
    if not isinstance(config.get("class_name"), str):
        raise LoadError(
            "This does not describe a model.",
            expected="a dict with 'class_name' and 'config'",
            received=f"keys {sorted(map(str, config))[:8]}",
            fix="save the model with model.save('model.keras')",
        )
    try:
        with sharing():
            model = LAYERS.deserialize(config)
            if not isinstance(model, Layer):
                raise LoadError(
                    f"{config['class_name']!r} is no model.",
                    expected="a model or a layer",
                    received=repr(model)[:200],
                    fix="pass the class of the model in custom_objects",
                )
            finish(model, config)
    except LaminaError:
        raise
    except Exception as error:
        raise unreadable(error) from error
    return model


def _compile(model: Any, arguments: Mapping[str, Any], source: str) -> None:
    """Compile a model as a file says."""
    try:
        model.compile_from_config(arguments)
    except LaminaError as error:
        error.fix = f"{error.fix}; or load with compile=False" if error.fix else "load with compile=False"
        raise
    except Exception as error:
        raise LoadError(
            f"The compile state in {source} cannot be used.",
            received=f"{type(error).__name__}: {str(error)[:200]}",
            fix="load with compile=False, and compile the model yourself",
        ) from error


def _give_weights(model: Any, archive: Archive, name: str) -> None:
    """Give a model its weights now or, if it is not built, with the first data; then its optimizer its state."""
    planned = h5_planner(archive.weights, name)

    def load(built: Any) -> WeightsReport:
        report = planned(built, lambda plan: carry_out(plan, name))
        optimizer = getattr(built, "optimizer", None)
        if optimizer is not None:
            _give_state(built, optimizer, archive.weights, name)
        return report

    if model.built:
        load(model)
        return
    count = _count(archive, name)
    if hasattr(model, "limit_weights"):
        model.limit_weights(count + _SLACK if count else numbers_that_fit())
    if count:
        model.weights_wait(load)


def _count(archive: Archive, name: str) -> int:
    """How many numbers the weights in a file have; a model that was not built when it was saved has none."""
    with open_hdf5(archive.weights, name) as file:
        arrays = [path for path in file.arrays() if not path.startswith("optimizer/")]
        return sum(math.prod(file.shape(path)) for path in arrays)


def _give_state(model: Any, optimizer: Any, weights: bytes, name: str) -> None:
    """Give an optimizer the state in a file, if there is one of a training that had begun."""
    with open_hdf5(weights, name) as file:
        kept = file.group("optimizer") if "optimizer" in file and file.is_group("optimizer") else None
        if kept is None or "vars" not in kept or len(kept.group("vars")) == 0:
            return
        if len(kept.group("vars")) > 2:
            optimizer.build(model.trainable_weights, dict(model.named_parameters()))
        reason = load_optimizer(optimizer, file)
    if reason is not None:
        raise WeightsError(
            f"The state of {optimizer.name} in {name} does not fit the model.",
            received=reason,
            fix="load with compile=False, and compile the model anew",
        )
