"""`compile` and `fit`: the loop around the training step."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from lamina import optimizers as optimizer_package
from lamina.callbacks.base import check_monitors
from lamina.engine import nest
from lamina.errors import ArgumentError
from lamina.training.acceleration import Acceleration, Chooser, accelerated
from lamina.training.adapters import make_adapter
from lamina.training.epochs import DataAdapter
from lamina.training.evaluation import Evaluation, callback_list
from lamina.training.interrupts import Interrupts
from lamina.training.memory import split_validation
from lamina.training.nans import watched
from lamina.training.on_batch import modes_kept
from lamina.training.plan import Plan
from lamina.training.resuming import Run, run_of
from lamina.training.step import not_compiled


class Trainer(Evaluation):
    """Training, on top of evaluation and prediction, as methods of a model."""

    stop_training: bool
    history: Any

    def _init_training(self) -> None:
        """Set up before `compile`."""
        self._init_steps()
        self.__dict__.update(stop_training=False, history=None, _debug_nans=False, _compile_arguments=None)

    def compile(
        self,
        optimizer: Any = "rmsprop",
        loss: Any = None,
        loss_weights: Any = None,
        metrics: Any = None,
        weighted_metrics: Any = None,
        run_eagerly: bool = False,
        steps_per_execution: int = 1,
        jit_compile: bool | str = "auto",
        auto_scale_loss: bool = True,
        debug_nans: bool = False,
    ) -> None:
        """Say how the model is trained and judged.

        Args:
            optimizer: an optimizer, its name or class, or one of `torch.optim`.
            loss: a loss, its name or class, a function `f(y_true, y_pred)`, a loss module of torch; a list or dict
                of them for several outputs.
            loss_weights: the factor of each output's loss, in the form of `loss`.
            metrics: a list of metrics, names, functions or torchmetrics; a list or dict of lists for several outputs.
            weighted_metrics: metrics that take `sample_weight` and `class_weight` into account.
            run_eagerly: with `True`, `jit_compile="auto"` compiles nothing.
            steps_per_execution: accepted for Keras's sake; a step here has no overhead to share.
            jit_compile: `True` runs the model through `torch.compile`, `False` does not. With `"auto"`, `fit` on a CUDA
                device times its first steps, and those of a compiled model if they are short, and keeps the faster
                kind; `model.acceleration` says what came of it. Which one that is can differ from run to run, and
                with it rounding and what dropout draws: for runs that must repeat exactly, pass `False`.
            auto_scale_loss: under the policy `mixed_float16`, scale the loss so that small gradients survive.
            debug_nans: stop at the first layer that gives NaN or infinity; every step then waits for the device.

        Raises:
            UnknownNameError: a string names no optimizer, loss or metric; the message offers the nearest name.
            ArgumentError: `jit_compile` is something else.

        Example:
            >>> from lamina.layers import Dense, Input
            >>> from lamina.models import Sequential
            >>> model = Sequential([Input((3,)), Dense(1)])
            >>> model.compile("adam", "mse", metrics=["mae"])
            >>> round(model.evaluate(torch.zeros(4, 3), torch.zeros(4, 1), verbose=0)[0], 3)
            0.0
        """
        found = optimizer_package.get(optimizer)
        scaled = isinstance(found, optimizer_package.LossScaleOptimizer)
        if auto_scale_loss and self.dtype_policy.name == "mixed_float16" and found is not None and not scaled:
            found = optimizer_package.LossScaleOptimizer(found)
        plan = Plan(loss, loss_weights, metrics, weighted_metrics)
        if jit_compile not in (True, False, None, "auto"):
            raise ArgumentError(
                "compile() does not know this jit_compile.",
                expected="True, False or 'auto'",
                received=f"jit_compile={jit_compile!r}",
                fix="leave it out: 'auto' measures which is faster",
            )
        automatic = jit_compile == "auto" and not (run_eagerly or debug_nans)
        self._init_steps()
        self.__dict__.update(
            optimizer=found,
            loss=loss,
            stop_training=False,
            _plan=plan,
            _debug_nans=debug_nans,
            _compiled_forward=torch.compile(self) if jit_compile is True else None,
            _chooser=Chooser() if automatic else None,
            _compile_arguments={
                "optimizer": optimizer,
                "loss": loss,
                "loss_weights": loss_weights,
                "metrics": metrics,
                "weighted_metrics": weighted_metrics,
                "jit_compile": jit_compile,
                "auto_scale_loss": auto_scale_loss,
            },
        )

    @property
    def acceleration(self) -> Acceleration:
        """What `jit_compile` came to: the choice, its reason, and the times that were measured.

        Example:
            >>> from lamina.layers import Dense, Input
            >>> from lamina.models import Sequential
            >>> model = Sequential([Input((3,)), Dense(1)])
            >>> model.compile("adam", "mse", jit_compile=False)
            >>> model.acceleration.choice, model.acceleration.reason
            ('eager', 'nothing was to be chosen')
        """
        if self._chooser is not None:
            return self._chooser.report
        if self._compiled_forward is not None:
            return Acceleration("compiled", "jit_compile=True")
        return Acceleration("eager", "nothing was to be chosen")

    # ------------------------------------------------------------------ fit
    def fit(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        epochs: int = 1,
        verbose: Any = "auto",
        callbacks: Any = None,
        validation_split: float = 0.0,
        validation_data: Any = None,
        shuffle: bool = True,
        class_weight: Any = None,
        sample_weight: Any = None,
        initial_epoch: int = 0,
        steps_per_epoch: int | None = None,
        validation_steps: int | None = None,
        validation_batch_size: int | None = None,
        validation_freq: Any = 1,
        on_interrupt: str = "raise",
        resume: Any = None,
    ) -> Any:
        """Train for a number of passes over the data.

        Args:
            x: arrays, tensors, a list or dict of them, a pandas frame, a torch data set or loader, a `PyDataset`, a
                generator of batches.
            y: targets, unless `x` brings them.
            batch_size: samples a batch; 32 by default.
            epochs: the number of the last epoch, counted from 0.
            verbose: 0 shows nothing, 1 a live bar, 2 a line an epoch; `"auto"` a bar in a terminal or notebook and
                plain lines in a file.
            callbacks: a list of callbacks.
            validation_split: the share of the samples, the last ones, kept for validation.
            validation_data: `(x, y)`, `(x, y, sample_weight)`, or data that give such batches.
            shuffle: whether each epoch has an order of its own.
            class_weight: a dict from class to weight.
            sample_weight: a weight for each sample.
            initial_epoch: where to start counting.
            steps_per_epoch: batches an epoch; by default one pass.
            validation_steps: batches of a validation; by default one pass.
            validation_batch_size: samples a batch of validation; by default `batch_size`.
            validation_freq: validate after every so many epochs, or after those in a list (counted from 1).
            on_interrupt: what Ctrl-C does after the batch that is running: `"raise"` it again, or `"stop"` training
                and return.
            resume: a folder, or a `lamina.training.Resume`, where the state of the run is kept: the same call in a new
                process goes on from there, to the same weights as if it had not been interrupted. What is
                kept, and for which data that cannot be so, is in docs/design/0007-resume.md.

        Returns:
            A `History`: `history.history` maps each name to a list of one value an epoch.

        Raises:
            NotCompiledError: `compile` has not been called.
            DataError: the data do not fit together, or end before an epoch does.
            ArgumentError: a callback waits for a value that no log has.
            KeyboardInterrupt: after Ctrl-C; `model.history` holds what was done.
            LoadError: the folder holds another run, or none that can be read.
            WriteError: a state of the run cannot be written; the last one is still there.
        """
        if not self.compiled:
            raise not_compiled(self, "be trained")
        if on_interrupt not in ("raise", "stop"):
            raise ArgumentError(
                "Unknown on_interrupt.", expected="'raise' or 'stop'", received=repr(on_interrupt), fix="'stop'"
            )
        if validation_split and validation_data is None:
            (x, y, sample_weight), validation_data = split_validation(x, y, sample_weight, validation_split)
        labels = y if all(hasattr(leaf, "shape") for leaf in nest.flatten(y)) else None  # in memory, as arrays
        adapter = make_adapter(
            x, y, sample_weight,
            batch_size=batch_size, steps=steps_per_epoch, shuffle=shuffle, class_weight=class_weight,
        )  # fmt: skip
        validation = None
        if validation_data is not None:
            size = validation_batch_size or batch_size
            validation = _validation_adapter(validation_data, size, validation_steps)
        called = callback_list(callbacks, self, verbose, epochs=epochs, steps=adapter.num_batches, history=True)
        run = run_of(resume, self, adapter, validation, called, says=verbose != 0)
        self.__dict__.update(stop_training=False, _labels=labels)
        wanted = _validation_epochs(validation_freq) if validation is not None else None
        interrupted = self._epochs(range(initial_epoch, epochs), adapter, validation, wanted, called, run)
        if interrupted and on_interrupt == "raise":
            raise KeyboardInterrupt
        return self.history

    def _epochs(
        self,
        epochs: range,
        adapter: DataAdapter,
        validation: DataAdapter | None,
        wanted: Any,
        called: Any,
        run: Run | None,
    ) -> bool:
        """All epochs, and what comes before and after them; gives whether Ctrl-C ended them."""
        with modes_kept(self), Interrupts() as interrupts, self._attended(adapter, len(epochs)):
            try:
                called.on_train_begin()
                logs: Any = {}
                first = called.first_epoch(epochs.start)
                if run is not None:
                    first, logs = run.begin(first, epochs.stop)
                for epoch in range(first, epochs.stop):
                    logs = self._one_epoch(epoch, adapter, validation, wanted, called, interrupts, run)
                    if self.stop_training or interrupts.requested:
                        break
                if getattr(self.optimizer, "use_ema", False) and self.optimizer.built:
                    self.optimizer.finalize_variable_values(self.trainable_weights)
                called.on_train_end(logs)
                if run is not None:
                    run.end(is_over=not interrupts.requested)
            finally:
                called.close()
                adapter.close()
                if validation is not None:
                    validation.close()
                if run is not None:
                    run.close()
                self.__dict__["_labels"] = None
            return interrupts.requested

    @contextmanager
    def _attended(self, adapter: DataAdapter, epochs: int) -> Iterator[None]:
        """Watch for NaN and time the steps, where `compile` was told to."""
        planned = None if adapter.num_batches is None else adapter.num_batches * epochs
        with watched(self, self._debug_nans), accelerated(self, self._chooser, self._device(), planned):
            yield

    def _one_epoch(
        self,
        epoch: int,
        adapter: DataAdapter,
        validation: DataAdapter | None,
        wanted: Any,
        called: Any,
        interrupts: Any,
        run: Run | None = None,
    ) -> Any:
        """One pass over the data, then validation if this epoch has one."""
        self.train()
        self.reset_metrics()
        called.on_epoch_begin(epoch)
        hooks = called.has_batch_hooks("train")
        constrained, data = None, None
        done, logs = (0, None) if run is None else run.enter(epoch)
        if done:
            self._check_monitors(logs, validation, called)
        for step, data in enumerate(() if done and self.stop_training else adapter.epoch(self._device(), done), done):
            if hooks:
                called.on_train_batch_begin(step)
            logs = self._train_on(data)
            if constrained is None:  # known once the first batch has built every layer
                constrained = self.constrained_weights()
                self._check_monitors(logs, validation, called)
            if constrained:
                with torch.no_grad():
                    for weight, constraint in constrained:
                        weight.copy_(constraint(weight))
            if hooks:
                called.on_train_batch_end(step, logs)
            if run is not None:
                done = step + 1
                run.after_batch(epoch, done, logs, data)
            if self.stop_training or interrupts.requested:
                break
        if self._accelerating is not None:
            self._accelerating.pause()
        whole = not interrupts.requested
        if run is not None and not whole:
            run.interrupted(epoch, done, logs, data)
        adapter.on_epoch_end()
        logs = dict(logs or {})
        if wanted is not None and wanted(epoch) and whole:
            results = self._evaluate(validation, called)
            logs.update({f"val_{name}": value for name, value in results.items()})
        if hasattr(self.optimizer, "on_epoch_end"):
            self.optimizer.on_epoch_end(logs)
        called.on_epoch_end(epoch, logs)
        if run is not None and whole:
            run.after_epoch(epoch, logs, last=self.stop_training or interrupts.requested)
        return logs

    def _check_monitors(self, logs: Any, validation: Any, called: Any) -> None:
        """Before a callback waits in vain: do the values that it asks for exist?"""
        names = list(logs)
        if validation is not None:
            names += [f"val_{name}" for name in names]
        check_monitors(called, names)


def _validation_adapter(data: Any, batch_size: int | None, steps: int | None) -> DataAdapter:
    """The source of batches for `validation_data`."""
    if isinstance(data, (tuple, list)) and 1 <= len(data) <= 3:
        return make_adapter(*data, batch_size=batch_size, steps=steps)
    return make_adapter(data, batch_size=batch_size, steps=steps)


def _validation_epochs(frequency: Any) -> Callable[[int], bool]:
    """Whether an epoch, counted from 0, is followed by a validation."""
    if isinstance(frequency, int) and not isinstance(frequency, bool) and frequency > 0:
        return lambda epoch: (epoch + 1) % frequency == 0
    if isinstance(frequency, (list, tuple, set)):
        return lambda epoch: epoch + 1 in frequency
    raise ArgumentError(
        "Unknown validation_freq.",
        expected="a positive whole number, or a list of epochs counted from 1",
        received=repr(frequency),
        fix="validation_freq=1",
    )
