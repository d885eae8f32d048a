"""`TensorBoard`, which writes the logs where the program of that name shows them."""

from __future__ import annotations

import contextlib
import io
import math
import os
import time
import warnings
from collections.abc import Mapping
from typing import Any

import torch

from lamina.callbacks.base import Callback, Logs
from lamina.callbacks.rates import get_rate
from lamina.dtypes import torch_dtype
from lamina.engine.nest import map_nest
from lamina.errors import ArgumentError, LaminaError
from lamina.registry import CALLBACKS


@CALLBACKS.register()
class TensorBoard(Callback):
    """Writes losses, metrics and weights as TensorBoard's event files, those of validation apart.

    Args:
        log_dir: the folder; files go to `train` and `validation` in it.
        histogram_freq: every how many epochs to write histograms of the weights; 0 for never.
        write_graph: whether the graph of the model is written, where it can be traced.
        write_images: not supported; it must be false.
        write_steps_per_second: whether the speed of training is written.
        update_freq: `"epoch"`, `"batch"`, or every how many batches to write values of single batches.
        profile_batch: not supported; it must be 0.
        embeddings_freq: not supported; it must be 0.
        embeddings_metadata: not supported; it must be `None`.

    Raises:
        ArgumentError: an argument that is not supported, or an `update_freq` that is none of these.
        LaminaError: once training begins, the package `tensorboard` is not installed.

    Example:
        >>> callback = TensorBoard("logs", update_freq="batch")
        >>> callback.update_freq
        1
    """

    def __init__(
        self,
        log_dir: str | os.PathLike[str] = "logs",
        histogram_freq: int = 0,
        write_graph: bool = True,
        write_images: bool = False,
        write_steps_per_second: bool = False,
        update_freq: str | int = "epoch",
        profile_batch: int = 0,
        embeddings_freq: int = 0,
        embeddings_metadata: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__()
        _refuse(write_images=write_images, embeddings_freq=embeddings_freq, embeddings_metadata=embeddings_metadata)
        if profile_batch:
            raise ArgumentError(
                "The TensorBoard callback does not profile.",
                expected="profile_batch=0",
                received=f"profile_batch={profile_batch!r}",
                fix="run the training in `with torch.profiler.profile(...):`",
            )
        self.log_dir = os.fspath(log_dir)
        self.histogram_freq = histogram_freq
        self.write_graph = write_graph
        self.write_images = write_images
        self.write_steps_per_second = write_steps_per_second
        self.update_freq = 1 if update_freq == "batch" else update_freq
        if self.update_freq != "epoch" and not (isinstance(self.update_freq, int) and self.update_freq > 0):
            raise ArgumentError(
                "There is no such time to write.",
                expected="update_freq='epoch', 'batch', or a number of batches",
                received=repr(update_freq),
                fix="update_freq='epoch'",
            )
        self.profile_batch = profile_batch
        self.embeddings_freq = embeddings_freq
        self.embeddings_metadata = embeddings_metadata
        self._writers: dict[str, Any] = {}
        self._train_batches = 0
        self._epoch_start = (0, 0.0)
        self._batch_start = 0.0
        self._trains = False

    def listens_to(self, hook: str) -> bool:
        """Single batches only if something is written for them; their number is needed for the speed too."""
        wanted = self.update_freq != "epoch" or (self.write_steps_per_second and hook == "on_train_batch_end")
        return super().listens_to(hook) and ("batch" not in hook or wanted)

    def writer(self, part: str) -> Any:
        """The `SummaryWriter` of `"train"` or `"validation"`, for values of the user's own.

        Args:
            part: which of the two.

        Raises:
            LaminaError: the package `tensorboard` is not installed.
        """
        if part not in self._writers:
            self._writers[part] = _summary_writer(os.path.join(self.log_dir, part))
        return self._writers[part]

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Open the file, so that a package that is missing is noticed before anything is trained."""
        self._trains = True
        self._train_batches = 0
        writer = self.writer("train")
        if self.write_graph:
            _write_graph(writer, self.model)

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Close the files."""
        self.close()

    def close(self) -> None:
        """Close the files, also when training was interrupted."""
        self._trains = False
        writers, self._writers = self._writers, {}
        for writer in writers.values():
            writer.close()

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Look at the clock."""
        self._epoch_start = (self._train_batches, time.perf_counter())

    def on_train_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Look at the clock."""
        self._batch_start = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Write the values of a batch, if it is one of those that are written."""
        self._train_batches += 1
        if self.update_freq == "epoch" or self._train_batches % int(self.update_freq):
            return
        writer = self.writer("train")
        for name, value in (logs or {}).items():
            writer.add_scalar(f"batch_{name}", value, self._train_batches)
        if self.write_steps_per_second:
            seconds = time.perf_counter() - self._batch_start
            writer.add_scalar("batch_steps_per_second", 1.0 / max(seconds, 1e-9), self._train_batches)

    def on_test_end(self, logs: Logs | None = None) -> None:
        """Write the results of an evaluation against the number of steps that the model has been trained for."""
        iterations = getattr(getattr(self.model, "optimizer", None), "iterations", None)
        if iterations is not None:
            for name, value in (logs or {}).items():
                self.writer("validation").add_scalar(f"evaluation_{name}_vs_iterations", value, int(iterations))
        if not self._trains:
            self.close()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Write the values of an epoch, the learning rate among them, and histograms if it is time."""
        training = {name: value for name, value in (logs or {}).items() if not name.startswith("val_")}
        validation = {name[4:]: value for name, value in (logs or {}).items() if name.startswith("val_")}
        if training and getattr(self.model, "optimizer", None) is not None:
            training["learning_rate"] = get_rate(self.model)
        if training and self.write_steps_per_second:
            batches, start = self._epoch_start
            seconds = max(time.perf_counter() - start, 1e-9)
            training["steps_per_second"] = (self._train_batches - batches) / seconds
        for part, values in (("train", training), ("validation", validation)):
            for name, value in values.items():
                self.writer(part).add_scalar(f"epoch_{name}", value, epoch)
        if self.histogram_freq and epoch % self.histogram_freq == 0:
            for name, weight in self.model.named_parameters():
                self.writer("train").add_histogram(name.replace(".", "/"), weight.detach(), epoch)

    def get_state(self) -> dict[str, Any]:
        """How many batches have been trained, and how long the files are."""
        for writer in self._writers.values():
            writer.flush()
        return {
            "train_batches": self._train_batches,
            "files": {name: os.path.getsize(path) for name, path in self._files()},
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on counting batches; what files hold of batches that are trained again is cut off."""
        self._train_batches = state["train_batches"]
        for name, path in self._files():
            if os.path.getsize(path) > state["files"].get(name, math.inf):
                os.truncate(path, state["files"][name])

    def _files(self) -> list[tuple[str, str]]:
        """The event files by their names in the folder."""
        found = []
        for part in ("train", "validation"):
            folder = os.path.join(self.log_dir, part)
            names = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
            found += [(f"{part}/{name}", os.path.join(folder, name)) for name in names if "tfevents" in name]
        return found


def _refuse(**arguments: Any) -> None:
    """Arguments of Keras's that would do nothing here must not seem to do something."""
    for name, value in arguments.items():
        if value:
            raise ArgumentError(
                f"The TensorBoard callback does not support {name}.",
                expected=f"{name} left out",
                received=f"{name}={value!r}",
                fix="write it yourself: callback.writer('train').add_image(...) or add_embedding(...)",
            )


def _summary_writer(folder: str) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise LaminaError(
            "The TensorBoard callback needs the package tensorboard.",
            received=str(error),
            fix="pip install tensorboard",
        ) from error
    return SummaryWriter(folder)


def _write_graph(writer: Any, model: Any) -> None:
    """The graph of a model whose input shapes are known; nothing where torch cannot trace it."""
    inputs = getattr(model, "inputs", None)
    if not inputs or not isinstance(model, torch.nn.Module):
        return
    modes = {module: module.training for module in model.modules()}
    state = torch.get_rng_state()
    try:
        device = next((p.device for p in model.parameters()), torch.device("cpu"))

        def example(symbol: Any) -> torch.Tensor:
            sizes = [1 if size is None else size for size in symbol.shape]
            return torch.zeros(sizes, dtype=torch_dtype(symbol.dtype), device=device)

        # torch prints the reason for which it cannot trace a model.
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), torch.no_grad():
            warnings.simplefilter("ignore")
            model.eval()
            writer.add_graph(model, map_nest(example, inputs))
    except Exception:
        # What torch cannot trace is left out, as the documentation of write_graph says.
        return
    finally:
        torch.set_rng_state(state)
        for module, mode in modes.items():
            module.training = mode
