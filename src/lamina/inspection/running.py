"""A run of a model for its report: without memory where that can be done, on real numbers where it cannot."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from lamina.engine import nest
from lamina.engine.abstract import Spec, abstract_call, counted, map_arguments
from lamina.inspection.quiet import same_random_numbers, unchanged
from lamina.inspection.watching import Call, Made, Seen, Watcher, tensors_in

_BATCHES = (2, 3)  # of runs on real numbers


@dataclass
class Run:
    """What was seen of a model that ran, once for each of two batch sizes or once only.

    Attributes:
        calls: the calls of the first run.
        again: those of the second, or `None`.
        batches: the two batch sizes.
        outside: the floating-point operations outside of all calls, in both runs.
        unfinished: the calls that an error ended, the outermost first.
        error: that error, or `None`.
        gives: the results of calls from which those of the model come.
        countable: whether operations can be counted: no size but the batch's is open.
    """

    calls: list[Call]
    again: list[Call] | None
    batches: tuple[int, int]
    outside: tuple[int, int]
    unfinished: list[int]
    error: Exception | None
    gives: tuple[Made, ...]
    countable: bool

    def specs(self, number: int, what: str) -> Any:
        """The `inputs` or `outputs` of a call as a nest of `Spec`, with `None` for sizes that differ between runs.

        Args:
            number: which call.
            what: which of the two.
        """
        first = getattr(self.calls[number], what)
        second = None if self.again is None else getattr(self.again[number], what)
        return _merged(first, second, self.batches[0])

    def flops(self, number: int) -> int:
        """The floating-point operations of a call of its own for one sample.

        Args:
            number: which call.
        """
        first = self.calls[number].flops
        second = None if self.again is None else self.again[number].flops
        return self._of_one(first, second)

    @property
    def flops_outside(self) -> int:
        """Those of the model itself, outside of all calls, for one sample."""
        return self._of_one(self.outside[0], None if self.again is None else self.outside[1])

    def _of_one(self, first: int, second: int | None) -> int:
        """What was counted for two batch sizes, for a batch of one."""
        small, large = self.batches
        if not self.countable:
            return 0
        if second is None or small == large:
            return first // small
        return max(0, round(first - (small - 1) * (second - first) / (large - small)))


def run(
    model: torch.nn.Module,
    function: Callable[..., Any],
    modules: list[torch.nn.Module],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    device: torch.device,
    keep: bool = False,
    ways: tuple[str, ...] = ("abstract", "real"),
) -> Run:
    """Run a model in inference mode and watch it.

    Args:
        model: what is run and must stay the same.
        function: what to call.
        modules: whose calls count.
        args: the arguments, with a `Spec` or a tensor for each tensor; `None` in a shape is any size.
        kwargs: those by name.
        device: of the tensors that stand for a `Spec`.
        keep: whether what the run changes stays, as in a copy that was made to be built; otherwise the model is as it
            was before.
        ways: which ways of running it are tried in turn: `"abstract"`, which takes no memory, and `"real"`.
    """
    leaves = nest.flatten([list(args), kwargs])
    countable = not any(None in leaf.shape[1:] for leaf in leaves if hasattr(leaf, "shape"))
    runs: list[Watcher] = []
    batches: list[int] = []

    def watched(*given: Any, **named: Any) -> None:
        for module in model.modules():
            module.training = False
        runs.append(Watcher(modules, tensors_in([given, named])))
        batches.append(next((t.shape[0] for t in tensors_in([given, named]) if t.dim()), 1))
        with runs[-1].watching(), _no_shortcuts():
            runs[-1].end_with(function(*given, **named))

    def guard() -> AbstractContextManager[None]:
        return same_random_numbers(model) if keep else unchanged(model)

    error: Exception | None = None
    if "abstract" in ways:
        try:
            with guard(), torch.no_grad(), counted():
                abstract_call(watched, _abstract(args), _abstract(kwargs), device)
            return _run_of(runs, batches, None, countable)
        except Exception as found:  # the model needs numbers to decide by, or it is wrong; real numbers show which
            error = found
    if "real" in ways:
        runs.clear()
        batches.clear()
        try:
            for batch in _BATCHES:
                with guard(), torch.no_grad():
                    watched(*_real(args, batch, device), **_real(kwargs, batch, device))
            return _run_of(runs, batches, None, countable)
        except Exception as found:
            error = found if len(runs) == 1 else None
    return _run_of(runs[:1], batches[:1], error, countable)


@contextmanager
def _no_shortcuts() -> Iterator[None]:
    """Let torch's attention run part by part, so that it can be watched and counted."""
    mha = torch.backends.mha
    before = mha.get_fastpath_enabled()
    mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        mha.set_fastpath_enabled(before)


def _run_of(runs: list[Watcher], batches: list[int], error: Exception | None, countable: bool) -> Run:
    """What one run saw, or two that agree on which modules were called."""
    first, second = runs[0], runs[-1]
    modules = [[call.module for call in watcher.calls] for watcher in (first, second)]
    agree = len(runs) > 1 and len(modules[0]) == len(modules[1]) and all(a is b for a, b in zip(*modules, strict=True))
    return Run(
        first.calls,
        second.calls if agree else None,
        (batches[0], batches[-1]),
        (first.flops, second.flops),
        [] if error is None else first.unfinished,
        error,
        first.gives,
        countable,
    )


def _abstract(arguments: Any) -> Any:
    """Arguments with a `Spec` for each tensor, whose first size is taken for that of the batch."""
    return map_arguments(
        lambda leaf: (
            Spec((None, *leaf.shape[1:]) if leaf.dim() else (), leaf.dtype) if isinstance(leaf, torch.Tensor) else leaf
        ),
        arguments,
    )


def _real(arguments: Any, batch: int, device: torch.device) -> Any:
    """Arguments with a tensor for each `Spec`: random numbers, zeros where they are whole."""

    def make(leaf: Any) -> Any:
        if isinstance(leaf, torch.Tensor):
            return leaf.to(device)
        if not (hasattr(leaf, "shape") and hasattr(leaf, "dtype")):
            return leaf
        sizes = [size if size is not None else (batch if axis == 0 else 64) for axis, size in enumerate(leaf.shape)]
        if leaf.dtype.is_floating_point:
            return torch.rand(sizes, device=device).to(leaf.dtype)
        return torch.zeros(sizes, dtype=leaf.dtype, device=device)

    return map_arguments(make, arguments)


def _merged(first: Any, second: Any, batch: int) -> Any:
    """A nest of `Spec` from what two runs saw; of one run alone, the first size is unknown if it is the batch's."""
    if isinstance(first, Seen):
        if isinstance(second, Seen) and len(second.shape) == len(first.shape):
            shape = tuple(a if a == b else None for a, b in zip(first.shape, second.shape, strict=True))
        else:
            shape = tuple(None if axis == 0 and size == batch else size for axis, size in enumerate(first.shape))
        return Spec(shape, first.dtype)
    if isinstance(first, dict):
        return {key: _merged(value, (second or {}).get(key), batch) for key, value in first.items()}
    if nest.is_nest(first):
        others = second if nest.is_nest(second) and len(second) == len(first) else [None] * len(first)
        return type(first)(_merged(a, b, batch) for a, b in zip(first, others, strict=True))
    return None
