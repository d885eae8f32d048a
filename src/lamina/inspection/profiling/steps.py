"""One step of a model: as it is, and with probes in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Any

import torch

from lamina.engine.layer import Layer
from lamina.errors import ArgumentError
from lamina.inspection.profiling.backward import watched_backward
from lamina.inspection.profiling.batches import Batch
from lamina.inspection.profiling.clocks import HostClock
from lamina.inspection.profiling.probes import Probes
from lamina.inspection.profiling.timeline import Timeline
from lamina.inspection.watching import tensors_in
from lamina.kernels.products import constant_weights


class Steps:
    """The steps that a profile measures.

    A step of training goes forward, takes the mean of all outputs for a loss, goes back, and drops the gradients
    outside of the time that is taken; one of inference goes forward as `predict` does.

    Args:
        model: the model, in the mode for these steps.
        batch: what it is called on.
        train: whether the steps are of training.
        clock: what the time is.
    """

    def __init__(self, model: torch.nn.Module, batch: Batch, train: bool, clock: HostClock) -> None:
        self.model, self.batch, self.train, self.clock = model, batch, train, clock
        self._parameters = list(model.parameters())

    @contextmanager
    def going_on(self) -> Iterator[None]:
        """Autograd as the steps need it."""
        with ExitStack() as stack:
            stack.enter_context(torch.enable_grad() if self.train else torch.no_grad())
            stack.enter_context(
                constant_weights() if not self.train and isinstance(self.model, Layer) else nullcontext()
            )
            self._drop_gradients()
            yield

    def call(self) -> Any:
        """The way forward alone."""
        return self.model(*self.batch.args, **self.batch.kwargs)

    def loss_of(self, outputs: Any) -> torch.Tensor | None:
        """What a step of training goes back from, for any model: the sum of the means of the outputs.

        Args:
            outputs: in any form.

        Returns:
            `None` for inference, and if there is no float among the outputs.
        """
        total: torch.Tensor | None = None
        for leaf in tensors_in(outputs) if self.train else ():
            if leaf.is_floating_point():
                mean = (leaf if leaf.dtype in (torch.float32, torch.float64) else leaf.float()).mean()
                total = mean if total is None else total + mean
        return total

    def check(self, loss: torch.Tensor | None) -> None:
        """Refuse a step of training that has no way back.

        Args:
            loss: what `loss_of` gave.

        Raises:
            ArgumentError: there is nothing to differentiate, or nothing to train.
        """
        if self.train and (loss is None or not loss.requires_grad):
            name, wanted = type(self.model).__name__, sum(p.requires_grad for p in self._parameters)
            raise ArgumentError(
                f"{name} gives no tensor of floats that depends on a weight to train, so there is no way back.",
                expected="at least one output to differentiate",
                received=("outputs" if loss is not None else "no output of floats") + f", {wanted} weights to train",
                fix="pass train=False",
            )

    def plain(self) -> float:
        """The seconds of a step that nobody watches."""
        self.clock.settle()
        began = self.clock.stamp()
        outputs = self.call()
        loss = self.loss_of(outputs)
        if loss is not None:
            loss.backward()
        ended = self.clock.stamp()
        self.clock.settle()
        self._drop_gradients()
        return self.clock.seconds(began, ended)

    def watched(
        self, probes: Probes, timeline: Timeline, owners: Mapping[int, int], surveying: bool = False
    ) -> tuple[list[float], list[float]]:
        """For each of the probes' parts the seconds forward and back.

        Args:
            probes: of this model.
            timeline: theirs.
            owners: by id of a parameter the part that it belongs to.
            surveying: whether calls and the memory of their results are counted.
        """
        count = len(probes.parts)
        with probes.installed(surveying):
            self.clock.settle()
            timeline.begin()
            outputs = self.call()
            loss = self.loss_of(outputs)
            timeline.end()
            forward = timeline.seconds(count)
            if loss is None:
                return forward, [0.0] * count
            with watched_backward(loss, timeline.makers(), owners, timeline):
                timeline.begin()
                loss.backward()
                timeline.end()
        self._drop_gradients()
        return forward, timeline.seconds(count)

    def _drop_gradients(self) -> None:
        for parameter in self._parameters:
            parameter.grad = None
