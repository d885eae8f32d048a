"""The only way in which JSON from a file is read: bounded, and the same to every reader."""

from __future__ import annotations

import json
from typing import Any

from lamina.errors import LoadError

MAX_BYTES = 256 * 2**20
MAX_DEPTH = 256
MAX_VALUES = 4_000_000
"""Commas and brackets: each value in a list takes up to a hundred bytes of memory, and two of text."""


def parse_json(text: str | bytes, name: str) -> Any:
    """What a JSON text says.

    NaN and Infinity are taken, as Keras writes them; a name that stands twice in one object is not, since readers
    differ in which of the two they believe.

    Args:
        text: the text, or its bytes in UTF-8.
        name: what messages call it.

    Raises:
        LoadError: it is no JSON, or too large or too deeply nested to be any model's.

    Example:
        >>> parse_json('{"a": [1, 2.5, null]}', "an example")
        {'a': [1, 2.5, None]}
        >>> parse_json('{"a": 1, "a": 2}', "an example")
        Traceback (most recent call last):
        lamina.errors.LoadError: an example says two things about one name.
          received: 'a'
          fix:      do not load this file
    """
    if len(text) > MAX_BYTES:
        raise _excessive(name, f"at most {MAX_BYTES:,} bytes of JSON", f"{len(text):,}")
    try:
        if isinstance(text, bytes):
            text = text.decode("utf-8-sig")
        values = text.count(",") + text.count("[") + text.count("{")
        if values > MAX_VALUES:
            raise _excessive(name, f"at most {MAX_VALUES:,} values", f"about {values:,}")
        found = json.loads(text, object_pairs_hook=lambda pairs: _object(pairs, name))
    except LoadError:
        raise
    except RecursionError:
        raise _excessive(name, f"at most {MAX_DEPTH} levels", "more than can be followed") from None
    except (ValueError, MemoryError) as error:
        raise LoadError(
            f"{name} is no JSON.",
            expected="a whole JSON text",
            received=(str(error).strip() or type(error).__name__).splitlines()[0][:200],
            fix="the file may be cut short or damaged; get it again",
        ) from error
    if depth_of(found) > MAX_DEPTH:
        raise _excessive(name, f"at most {MAX_DEPTH} levels", f"{depth_of(found):,}")
    return found


def depth_of(value: Any) -> int:
    """How many lists and dicts lie inside each other.

    Args:
        value: what JSON gave; it holds itself nowhere.

    Example:
        >>> depth_of(1), depth_of([1]), depth_of({"a": [[]]})
        (0, 1, 3)
    """
    depth, level = 0, [value]
    while True:
        level = [member for member in level if isinstance(member, (list, dict))]
        if not level:
            return depth
        depth += 1
        level = [inner for member in level for inner in (member.values() if isinstance(member, dict) else member)]


def _object(pairs: list[tuple[str, Any]], name: str) -> dict[str, Any]:
    """A JSON object whose names are all different."""
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))
        raise LoadError(
            f"{name} says two things about one name.", received=repr(twice[:80]), fix="do not load this file"
        )
    return found


def _excessive(name: str, expected: str, received: str) -> LoadError:
    return LoadError(f"{name} is beyond measure.", expected=expected, received=received, fix="do not load this file")
