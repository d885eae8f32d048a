"""What commands write as JSON, so that every reader takes it."""

from __future__ import annotations

import json
import math
from typing import Any


def json_output(data: Any) -> str:
    """Data as JSON, with text in place of the numbers that JSON does not have, and as the keys of dicts.

    Args:
        data: a nest of dicts, lists, texts and numbers.
    """
    return json.dumps(_finite(data), indent=2, allow_nan=False) + "\n"


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _finite(member) for key, member in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(member) for member in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
