"""A model as a program of `torch.export`: a module of torch's classes if it can be one, else the model itself."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import re
import warnings
from collections.abc import Generator
from typing import Any

import torch

from lamina.atomic import atomic_path
from lamina.engine import nest
from lamina.engine.abstract import Spec
from lamina.engine.layer import Layer
from lamina.errors import ExportError, LaminaError
from lamina.saving.exporting.modules import built, names_of
from lamina.saving.exporting.signatures import Signature, examples, unique


class Itself(torch.nn.Module):
    """A model at inference, for torch to follow its `call` where there is no module of torch's for it.

    Args:
        model: the model.
        signature: what it takes.
    """

    def __init__(self, model: Layer, signature: Signature) -> None:
        super().__init__()
        # Past torch's registration, which would put this module's mode on the model.
        self._modules["model"] = model
        self.training = False
        self.__dict__["signature"] = signature
        self.__dict__["names"] = None

    def forward(self, *leaves: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """What the model gives, one after another."""
        outputs = self._modules["model"](self.signature.packed(leaves), training=False)  # type: ignore[misc]
        self.__dict__["names"] = names_of(self._modules["model"], outputs)
        return tuple(nest.flatten(outputs))


class Exportable:
    """What is exported of a model: a module, examples of its inputs, and the names of what goes in and out.

    Args:
        model: a built model or layer.
        signature: what it takes.

    Attributes:
        module: computes what the model computes at inference; takes and gives tensors, one after another.
        plain: whether that is a module of torch's own classes.
        refusal: why it is not.

    Raises:
        ExportError: neither the module nor the model runs.
        ArgumentError: the model fails on the data that are made up for it.
    """

    def __init__(self, model: Layer, signature: Signature) -> None:
        self.signature = signature
        self.refusal: ExportError | None = None
        try:
            self.module: torch.nn.Module = built(model, signature, inference=True, flat=True)
        except ExportError as refusal:
            self.module, self.refusal = Itself(model, signature), refusal
        self.plain = self.refusal is None
        device = next((tensor.device for tensor in model.parameters()), torch.device("cpu"))
        self.specs = [
            Spec(spec.shape, torch.int64) if guess and self._only_as_whole(name) else spec
            for name, spec, guess in zip(signature.names, signature.specs, signature.guessed, strict=True)
        ]
        with torch.no_grad():
            self.examples = examples(self.specs, self.module, device)
        names: Any = self.module.meta["output_names"] if self.plain else self.module.names
        self.input_names = signature.names
        self.output_names = unique(names, signature.names)

    def _only_as_whole(self, name: str) -> bool:
        """Whether the module first of all makes whole numbers of an input, as it does for a table of embeddings."""
        if not isinstance(self.module, torch.fx.GraphModule):
            return False
        users = next(list(node.users) for node in self.module.graph.nodes if node.target == name)
        return bool(users) and all(user.target == "to" and user.args[1:] == (torch.int64,) for user in users)

    def program(self) -> torch.export.ExportedProgram:
        """The program, each size free that the model leaves free.

        Raises:
            ExportError: torch cannot follow the model, needs a size, or meets a kernel that only lamina has.
        """
        sizes = [_free_sizes(spec.shape) for spec in self.specs]
        # Arguments by name, and those behind a star as the tuple that they are.
        shapes = dict(zip(self.input_names, sizes, strict=True)) if self.plain else {"leaves": tuple(sizes)}
        try:
            with quietly():
                program = torch.export.export(self.module, tuple(self.examples), dynamic_shapes=shapes, strict=False)
        except LaminaError:
            raise
        except Exception as error:
            raise self.failure("torch.export cannot follow this model", error) from error
        self._check(program)
        return program

    def failure(self, what: str, error: Exception) -> ExportError:
        """The error for torch's own.

        Args:
            what: what did not work.
            error: torch's.
        """
        reason = re.sub(r"\x1b\[[0-9;]*m", "", (str(error).strip() or type(error).__name__).splitlines()[0])
        if "Constraints violated" in reason:
            return ExportError(
                "torch.export can write this model only for sizes that are fixed.",
                expected="sizes that may vary, as Input has None",
                received=", ".join(
                    f"{name} {spec.shape}" for name, spec in zip(self.input_names, self.specs, strict=True)
                ),
                fix="give Input those sizes, the number of steps of a recurrent layer for one; or export an .onnx file",
            )
        return ExportError(
            f"{what}: {reason}",
            expected="calls that are the same for all data and sizes",
            received=type(error).__name__ if self.refusal is None else str(self.refusal.what),
            fix="give Input the sizes that are unknown, or use layers and torch functions that do not depend on values",
        )

    def _check(self, program: torch.export.ExportedProgram) -> None:
        """Refuse a program that is not what was asked for."""
        ops = {str(node.target) for node in program.graph.nodes if node.op == "call_function"}
        own = sorted(op for op in ops if op.startswith("lamina"))
        if own:
            raise ExportError(
                "The program would need lamina's own kernels.",
                expected="operators of torch",
                received=", ".join(own),
                fix="use torch 2.7 or newer, or layers that to_torch() can convert",
            )


def _free_sizes(shape: tuple[int | None, ...]) -> dict[int, Any]:
    """What torch is told about the sizes that may vary; all batches have one size."""
    dim: Any = torch.export.Dim
    batch = dim("batch", max=2**31 - 1)  # without an end torch 2.6 finds a batch too large for an integer
    return {axis: dim.DYNAMIC if axis else batch for axis, size in enumerate(shape) if size is None}


@contextlib.contextmanager
def quietly() -> Generator[None, None, None]:
    """Keep what torch says about itself from the user, and the random state as it is."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), torch.random.fork_rng(devices=[]):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def write_program(exportable: Exportable, filepath: str | os.PathLike[str]) -> None:
    """Write a program of `torch.export`, whole or not at all.

    Args:
        exportable: what to write.
        filepath: where to.

    Raises:
        ExportError: torch cannot follow the model, or not write down what it found.
    """
    program, buffer = exportable.program(), io.BytesIO()
    try:
        with quietly():
            torch.export.save(program, buffer)
    except Exception as error:  # torch 2.6 lacks words for some arithmetic with sizes
        raise exportable.failure("torch.export cannot write down this model", error) from error
    with atomic_path(filepath) as part:
        part.write_bytes(buffer.getbuffer())
