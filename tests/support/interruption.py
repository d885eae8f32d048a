"""Trainings that stop at a batch as if the process had died there, and begin again."""

from __future__ import annotations

import contextlib
from typing import Any

import torch

from lamina.callbacks import Callback
from lamina.seeds import set_random_seed
from lamina.training import Resume


class Died(BaseException):
    """What ends a training in a test; nothing in lamina catches it."""


class DiesAt(Callback):
    """Ends `fit` after so many batches, counted over this call, or when an epoch ends."""

    def __init__(self, batches: int | None = None, epoch: int | None = None) -> None:
        super().__init__()
        self.batches, self.epoch, self.seen = batches, epoch, 0

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.seen += 1
        if self.seen == self.batches:
            raise Died

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if epoch == self.epoch:
            raise Died


def fit(make: Any, folder: Any, dies: Any = None, **arguments: Any) -> Any:
    """One process's training: `make` gives a new model and what `fit` is to have; gives the model."""
    set_random_seed(3)
    torch.rand(4)  # a state that no seed gives
    model, given = make()
    callbacks = [*given.pop("callbacks", []), *arguments.pop("callbacks", []), *([] if dies is None else [dies])]
    if not isinstance(folder, Resume) and folder is not None:
        folder = Resume(folder, every_batches=2)
    with contextlib.suppress(Died):
        model.fit(**{"verbose": 0, **given, "callbacks": callbacks, "resume": folder, **arguments})
    return model


def same(one: Any, other: Any) -> bool:
    """Whether two models have the same weights, optimizers and histories, to the last bit."""
    states = [model.state_dict() for model in (one, other)]
    weights = states[0].keys() == states[1].keys() and all(torch.equal(states[0][n], states[1][n]) for n in states[0])
    optimizers = [repr(model.optimizer.state_dict()) for model in (one, other)]
    logs = [(model.history.epoch, repr(model.history.history)) for model in (one, other)]
    return weights and optimizers[0] == optimizers[1] and logs[0] == logs[1]
