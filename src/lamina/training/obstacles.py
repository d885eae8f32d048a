"""What keeps a model's training step from being compiled unasked, and what a measurement of it depends on."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

import torch

from lamina.engine.added import added_losses
from lamina.engine.rewrite import hooked
from lamina.layers.rnn import RNN
from lamina.seeds import SeedGenerator
from lamina.training.step import Steps, own_metrics


def obstacle_to_compiling(model: Any) -> str | None:
    """Why the forward pass of `model` must stay eager, `None` if nothing is in the way.

    A compiled pass replays recorded kernels, and what a model does beside them, in Python, is lost or frozen. So this
    names whatever could make a compiled step differ from an eager one by more than rounding.

    Args:
        model: a compiled model, in the modes in which it trains.

    Returns:
        The reason, for people to read.

    Example:
        >>> from lamina.layers import LSTM, Dense, Input
        >>> from lamina.models import Sequential
        >>> obstacle_to_compiling(Sequential([Input((3,)), Dense(1)])) is None
        True
        >>> obstacle_to_compiling(Sequential([Input((5, 3)), LSTM(2)]))
        "'lstm' is recurrent: it runs in one kernel of cuDNN, which a compiler takes apart, step by step"
    """
    if getattr(model.train_step, "__func__", None) is not Steps.train_step:
        return "train_step is overridden, so nothing is known of what it keeps from one step to the next"
    if torch.are_deterministic_algorithms_enabled():
        return "deterministic algorithms are asked for, and a choice by the clock is not deterministic"
    if added_losses.in_use and any(getattr(module, "_added_losses", None) for module in model.modules()):
        return "layers add losses in their calls"
    for path, module in model.named_modules():
        for applies, reason in _REASONS:
            if applies(module):
                return f"{(path or model.name)!r} {reason}"
    return None


def _has_generator(module: torch.nn.Module) -> bool:
    return any(isinstance(value, (SeedGenerator, torch.Generator)) for value in vars(module).values())


def _keeps_metrics(module: torch.nn.Module) -> bool:
    """Whether there are metrics besides the mean loss, which a model keeps and its step updates."""
    return any(metric is not getattr(module, "_loss_tracker", None) for metric in own_metrics(module))


_REASONS: tuple[tuple[Callable[[torch.nn.Module], bool], str], ...] = (
    (
        lambda module: isinstance(module, (RNN, torch.nn.RNNBase)),
        "is recurrent: it runs in one kernel of cuDNN, which a compiler takes apart, step by step",
    ),
    (_has_generator, "draws from a random generator of its own, whose state a recorded pass would not move"),
    (lambda module: hooked([module]), "has hooks, which a recorded pass would not call"),
    (_keeps_metrics, "keeps a metric, which a recorded pass would not update"),
)


def setting_of(model: torch.nn.Module) -> Hashable:
    """What a compiled pass was made for, apart from the shapes: another setting needs another one.

    Args:
        model: whose parameters may have been frozen or moved, and whose layers may have changed their modes.

    Example:
        >>> model = torch.nn.Linear(2, 1)
        >>> before = setting_of(model)
        >>> model.bias.requires_grad = False
        >>> setting_of(model) == before
        False
    """
    parameters = tuple((p.requires_grad, p.dtype, p.device) for p in model.parameters())
    modes = tuple((module.training, getattr(module, "trainable", None)) for module in model.modules())
    autocast = torch.is_autocast_enabled("cuda"), torch.get_autocast_dtype("cuda")
    return parameters, modes, autocast
