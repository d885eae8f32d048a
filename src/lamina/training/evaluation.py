"""`evaluate` and `predict`: the loops around the other two steps."""

from __future__ import annotations

import contextlib
from typing import Any

import torch

from lamina.callbacks.base import CallbackList
from lamina.kernels.products import constant_weights
from lamina.training.adapters import make_adapter
from lamina.training.nans import watched
from lamina.training.on_batch import OnBatch, modes_kept, results_of, to_inference
from lamina.training.outputs import Outputs
from lamina.training.step import not_compiled


class Evaluation(OnBatch):
    """Evaluation and prediction, as methods of a model."""

    def evaluate(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        verbose: Any = "auto",
        sample_weight: Any = None,
        steps: int | None = None,
        callbacks: Any = None,
        return_dict: bool = False,
    ) -> Any:
        """The loss and metrics on data, in inference mode.

        Args:
            x: data, as `fit` takes it.
            y: targets, unless `x` brings them.
            batch_size: samples a batch; 32 by default.
            verbose: as in `fit`.
            sample_weight: a weight for each sample.
            steps: batches to use; by default one pass.
            callbacks: a list of callbacks.
            return_dict: whether the results come as a dict by name.

        Returns:
            A list of floats in the order of `metrics_names`, the loss alone if there are no metrics, or a dict.

        Raises:
            NotCompiledError: `compile` has not been called.
            DataError: the data do not fit together.
            NonFiniteError: a layer gives NaN or infinity, if `compile` was told `debug_nans`.
        """
        if not self.compiled:
            raise not_compiled(self, "be evaluated")
        adapter = make_adapter(x, y, sample_weight, batch_size=batch_size, steps=steps)
        called = callback_list(callbacks, self, verbose, epochs=1, steps=adapter.num_batches)
        with modes_kept(self), watched(self, self._debug_nans):
            try:
                results = self._evaluate(adapter, called)
            finally:
                called.close()
                adapter.close()
        return results_of(results, return_dict)

    def _evaluate(self, adapter: Any, called: Any) -> dict[str, Any]:
        """One evaluation within the callbacks and modes of whoever asks for it."""
        to_inference(self)
        self.reset_metrics()
        adapter.reset()
        hooks = called.has_batch_hooks("test")
        called.on_test_begin()
        logs: Any = None
        constant = contextlib.nullcontext() if hooks else constant_weights()
        with torch.no_grad(), constant:
            for step, data in enumerate(adapter.epoch(self._device())):
                if hooks:
                    called.on_test_batch_begin(step)
                logs = self._test_on(data)
                if hooks:
                    called.on_test_batch_end(step, logs)
        adapter.on_epoch_end()
        results = dict(logs or {})
        called.on_test_end(results)
        return results

    def predict(
        self,
        x: Any,
        batch_size: int | None = None,
        verbose: Any = "auto",
        steps: int | None = None,
        callbacks: Any = None,
    ) -> Any:
        """The model's outputs for data, in inference mode.

        Args:
            x: data, as `fit` takes it; targets in it are ignored.
            batch_size: samples a batch; 32 by default.
            verbose: as in `fit`.
            steps: batches to use; by default one pass.
            callbacks: a list of callbacks.

        Returns:
            A NumPy array of shape `(samples, ...)`, or a nest of them in the form of the outputs.

        Raises:
            DataError: the data are empty or of different lengths.
            ShapeError: the outputs of the batches cannot be joined.
        """
        adapter = make_adapter(x, batch_size=batch_size, steps=steps)
        called = None
        if verbose != 0 or callbacks:
            called = callback_list(callbacks, self, verbose, epochs=1, steps=adapter.num_batches)
        outputs = Outputs()
        # A callback might change weights behind torch's back.
        constant = constant_weights() if called is None and adapter.num_batches != 1 else contextlib.nullcontext()
        with modes_kept(self), torch.no_grad(), constant:
            to_inference(self)
            try:
                if called is not None:
                    called.on_predict_begin()
                for step, data in enumerate(adapter.epoch(self._device())):
                    if called is not None:
                        called.on_predict_batch_begin(step)
                    batch = self.predict_step(_inputs(data))
                    outputs.add(batch)
                    if called is not None:
                        called.on_predict_batch_end(step, {"outputs": batch})
                if called is not None:
                    called.on_predict_end()
            finally:
                if called is not None:
                    called.close()
                adapter.close()
        return outputs.to_numpy()


def _inputs(batch: Any) -> Any:
    """A batch as `predict_step` takes it: the inputs alone, wrapped if they are a tuple themselves."""
    x = batch[0]
    return (x,) if isinstance(x, (tuple, list)) else x


def callback_list(callbacks: Any, model: Any, verbose: Any, epochs: int, steps: Any, history: bool = False) -> Any:
    """The callbacks of one call, unless they come as a list that is ready.

    Args:
        callbacks: what the user passed.
        model: whose training or evaluation they hear of.
        verbose: how much is shown.
        epochs: how many there will be.
        steps: batches an epoch, or `None`.
        history: whether a `History` is added.
    """
    if isinstance(callbacks, CallbackList):
        return callbacks
    return CallbackList(
        callbacks,
        add_history=history,
        add_progbar=verbose != 0,
        model=model,
        verbose=verbose,
        epochs=epochs,
        steps=steps,
    )
