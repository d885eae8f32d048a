"""Architectures that `to_yaml` of Keras 1 and 2 wrote."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from lamina.errors import LoadError
from lamina.saving.legacy.architecture import Builder
from lamina.saving.legacy.guarding import whole_or_refused

_MOST_VALUES = 1_000_000  # aliases let a few lines stand for more than fits into memory
# Tags of Python's own plain types, under which Keras wrote sizes and texts.
_PLAIN = re.compile(r"!!python/(?:tuple|list|dict|unicode|str|int|long|float|bool|none)(?=[\s\[{'\"]|$)")
_OTHER = re.compile(r"!(?:!|<tag:yaml\.org,2002:)python/[^\s>]+")


def model_from_legacy_yaml(text: str, custom_objects: Mapping[str, Any] | None = None) -> Any:
    """A model of an architecture that `to_yaml` of Keras 1.2, Keras 2 or tf.keras gave, with new weights.

    Args:
        text: the YAML. It needs PyYAML, and is read by its `safe_load`.
        custom_objects: classes and functions by the names that the text has for them.

    Returns:
        The model.

    Raises:
        LoadError: PyYAML is not installed, the text asks for a Python object, or it describes no model.
        UnknownNameError: a class in it is not known.
    """
    with whole_or_refused("The YAML"):
        config = parse_yaml(text)
        if not isinstance(config, dict):
            raise LoadError(
                "The YAML describes no model.", expected="keys class_name and config", received=type(config).__name__
            )
        return Builder(custom_objects).model(config)


def python_tags(text: str) -> list[str]:
    """The Python objects that a text asks for, other than numbers, texts, lists and dicts.

    Args:
        text: the YAML.

    Example:
        >>> python_tags("a: !!python/tuple [1], b: !!python/object/apply:os.system [ls]")
        ['!!python/object/apply:os.system']
    """
    return list(dict.fromkeys(match.group()[:80] for match in _OTHER.finditer(_PLAIN.sub("", text))))


def parse_yaml(text: str) -> Any:
    """What a YAML text says.

    Args:
        text: the text. It needs PyYAML, and is read by its `safe_load`.

    Raises:
        LoadError: PyYAML is not installed, the text is no YAML, asks for a Python object, or stands for too much.
    """
    tags = python_tags(text)
    if tags:
        raise LoadError(
            "The YAML asks for a Python object, which could run any code.",
            expected="texts, numbers, lists and dicts",
            received=tags[0],
            fix="do not load this text",
        )
    try:
        config = _loaded(_PLAIN.sub("", text))
    except RecursionError:
        raise LoadError("The YAML is nested beyond measure.", fix="do not load this text") from None
    _check_size(config)
    return config


def _loaded(text: str) -> Any:
    try:
        import yaml
    except ImportError:
        raise LoadError(
            "Reading YAML needs PyYAML.",
            expected="the package pyyaml",
            received="an environment without it",
            fix='pip install "lamina[yaml]"',
        ) from None
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise LoadError(
            "The text cannot be read as YAML.",
            expected="what to_yaml wrote",
            received="; ".join(lines)[:200],
            fix="get it again, or do not load it",
        ) from error


def _check_size(config: Any) -> None:
    """Refuse a text that stands for more values than any model has."""
    left, stack = _MOST_VALUES, [config]
    while stack:
        value = stack.pop()
        left -= 1
        if left < 0:
            raise LoadError(
                "The YAML stands for more values than any model has.",
                expected=f"at most {_MOST_VALUES:,}",
                received="aliases of aliases",
                fix="do not load this text",
            )
        if isinstance(value, dict):
            stack.extend(value.values())
        elif isinstance(value, (list, tuple)):
            stack.extend(value)
