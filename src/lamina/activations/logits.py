"""The scores behind probabilities, kept for a loss that would rather have them.

A cross-entropy of scores is one kernel; of the probabilities that softmax made of them it is a division, a clipping, a
logarithm and their gradients, and softmax's own. The scores ride on the result as an attribute while a gradient is
wanted.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

_ATTRIBUTE = "_lamina_logits"


def with_logits(probabilities: Tensor, logits: Tensor) -> Tensor:
    """`probabilities`, with the scores they were made of attached if a gradient will be asked for.

    Args:
        probabilities: what softmax gave along the last axis.
        logits: what it was given.
    """
    if logits.requires_grad and torch.is_grad_enabled() and not torch.compiler.is_compiling():
        kept: Any = probabilities
        setattr(kept, _ATTRIBUTE, (logits, logits._version, probabilities._version))
    return probabilities


def carried(probabilities: Tensor, result: Tensor, change: Callable[[Tensor], Tensor]) -> Tensor:
    """`result`, with the scores behind `probabilities`, changed in the same way, if there are any.

    Args:
        probabilities: what a model gave.
        result: the same in another dtype or shape.
        change: what was done, and is to be done to the scores.
    """
    logits = None if result is probabilities else logits_of(probabilities)
    return result if logits is None else with_logits(result, change(logits))


def logits_of(probabilities: Any) -> Tensor | None:
    """The scores that `probabilities` were made of, or `None` if that is not known or either has been changed since.

    Nor are they given if somebody waits for the gradient of the probabilities, which would get none.

    Args:
        probabilities: what a model gave.

    Example:
        >>> from lamina.activations import softmax
        >>> x = torch.zeros(2, 3, requires_grad=True)
        >>> logits_of(softmax(x)) is x, logits_of(softmax(x) * 1) is None
        (True, True)
    """
    kept = getattr(probabilities, _ATTRIBUTE, None)
    if kept is None or probabilities.retains_grad or probabilities._backward_hooks:
        return None
    logits, *versions = kept
    return logits if versions == [logits._version, probabilities._version] else None
