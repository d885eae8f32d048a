"""What of a model goes to files and to other programs, and comes from files."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

from lamina.engine.budget import weights_within
from lamina.engine.layer import Layer
from lamina.saving.archive import save_model
from lamina.saving.compile_config import compile_arguments_from, compile_config_of
from lamina.saving.exporting import export, to_torch
from lamina.saving.objects import serialize_keras_object
from lamina.saving.report import WeightsReport
from lamina.saving.weights import load_weights, save_weights
from lamina.training.loop import Trainer


class Persistence(Layer):
    """A layer that can be written to files, whole or its weights alone, and take weights from them."""

    _waiting_weights: list[Callable[[Any], Any]] = []
    _weights_limit: int | None = None

    def save(self, filepath: Any, overwrite: bool = True) -> None:
        """Write the model to a `.keras` file, whole or not at all; Keras 3 reads it too.

        Args:
            filepath: where to; ends in `.keras`.
            overwrite: whether a file that is there may be replaced.

        Raises:
            ArgumentError: the ending is another, a file is there and must not be replaced, or a layer holds what no
                file can.
        """
        save_model(self, filepath, overwrite)

    def to_json(self, **kwargs: Any) -> str:
        """The architecture, and what `compile` was given, as JSON in Keras 3's form.

        Args:
            **kwargs: for `json.dumps`.
        """
        return json.dumps(serialize_keras_object(self), **kwargs)

    def save_weights(self, filepath: Any, overwrite: bool = True) -> None:
        """Write the weights to a file, whole or not at all.

        Args:
            filepath: where to; its ending says the format: `.weights.h5` is Keras 3's, and `.safetensors`, `.npz` and
                `.pt` keep the names of `state_dict`.
            overwrite: whether a file that is there may be replaced.

        Raises:
            ArgumentError: the ending is none of these, or a file is there and must not be replaced.
            NotBuiltError: the model has no weights yet.
        """
        save_weights(self, filepath, overwrite)

    def load_weights(self, filepath: Any, skip_mismatch: bool = False, by_name: bool = False) -> WeightsReport:
        """Take weights from a file; a model that is not built takes them as soon as it is.

        Args:
            filepath: what `save_weights` wrote, here or in Keras 3.
            skip_mismatch: whether weights that do not fit are left as they are.
            by_name: whether layers take the weights of the layers of their names.

        Returns:
            What was restored, skipped and missing.

        Raises:
            LoadError: there is no such file, or it is not what its name says.
            WeightsError: the weights do not fit; nothing is changed then.
        """
        return load_weights(self, filepath, skip_mismatch, by_name)

    def weights_wait(self, load: Callable[[Any], Any]) -> None:
        """Keep weights until the model is built.

        Args:
            load: gives them to the model.
        """
        self.__dict__.setdefault("_waiting_weights", []).append(load)

    def limit_weights(self, count: int) -> None:
        """Refuse to build the model if its weights would have more numbers: those of a file, say, that wait for it.

        Args:
            count: how many there may be.
        """
        self.__dict__["_weights_limit"] = count

    def _within_limit(self) -> AbstractContextManager[None]:
        """A block in which no more weights are made."""
        if self.built or self._weights_limit is None:
            return nullcontext()
        return weights_within(self._weights_limit)

    def mark_built(self) -> None:
        """Take the weights that waited for this."""
        super().mark_built()
        if self._waiting_weights and self._has_all_layers:
            waiting, self.__dict__["_waiting_weights"] = self._waiting_weights, []
            for load in waiting:
                load(self)

    @property
    def _has_all_layers(self) -> bool:
        """Whether the layers inside are built."""
        return all(layer.built for layer in self.modules() if isinstance(layer, Layer))

    def get_compile_config(self) -> dict[str, Any]:
        """What `compile` was given, as data; empty before."""
        return compile_config_of(self)

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """Compile the model as `get_compile_config` said; one that overrides `compile` must override this too.

        Args:
            config: what it gave.
        """
        if type(self).compile is Trainer.compile:
            self.compile(**compile_arguments_from(config))

    def to_torch(self, data_format: str = "channels_last", inference: bool = False) -> torch.fx.GraphModule:
        """A module of torch's own classes with the same weights, which needs no lamina; see `lamina.saving.to_torch`.

        Args:
            data_format: `"channels_first"` for a module that takes and gives images as torch's users have them.
            inference: whether the module is never to be trained.

        Raises:
            ExportError: a layer cannot be written with torch alone.
            NotBuiltError: the model has no weights yet.
        """
        return to_torch(self, data_format, inference)

    def export(
        self,
        filepath: Any,
        format: str | None = None,
        verbose: bool | None = None,
        input_signature: Any = None,
        **kwargs: Any,
    ) -> None:
        """Write what the model computes at inference to a file for other programs.

        Args:
            filepath: where to; `.onnx` and `.pt2` say the format.
            format: `"onnx"` or `"torch_export"`; by default what the name ends in.
            verbose: whether to print a line when it is done.
            input_signature: a shape or an example for each input, where it is not to be the model's own.
            **kwargs: see `lamina.saving.export`.

        Raises:
            ExportError: the model cannot be written in that form.
            ArgumentError: there is no such format or argument, or a package is missing.
            NotBuiltError: the model has no weights yet.
        """
        export(self, filepath, format, verbose, input_signature, **kwargs)
