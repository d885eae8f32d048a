"""`profile`: where the time of a step goes, layer by layer."""

from __future__ import annotations

import contextlib
import statistics
from typing import Any

import torch

from lamina.engine.layer import on_trial
from lamina.errors import ArgumentError, LaminaError
from lamina.inspection.copies import copied, has_no_weights_yet
from lamina.inspection.described import weights_of
from lamina.inspection.measuring import measure
from lamina.inspection.profiling.batches import Batch, batches_for
from lamina.inspection.profiling.clocks import clock_for
from lamina.inspection.profiling.counting import count_flops
from lamina.inspection.profiling.peak import machine_peak
from lamina.inspection.profiling.probes import Probes, row_places
from lamina.inspection.profiling.result import Profile, ProfileRow
from lamina.inspection.profiling.steps import Steps
from lamina.inspection.profiling.timeline import OUTSIDE, Timeline
from lamina.inspection.quiet import unchanged

_WARM_UP = 3
_SECONDS = 1.5  # about, for the steps that nobody watches and again for the others
_FEWEST, _MOST = 5, 60


def profile(
    model: torch.nn.Module,
    input_size: Any = None,
    train: bool = True,
    *,
    input_data: Any = None,
    batch_size: int = 32,
    steps: int | None = None,
) -> Profile:
    """Measure how long each layer takes in a step as it really runs, forward and back.

    Layers that lamina runs as one are one row. A step of training takes the mean of the outputs for a loss; there is
    no optimizer in it, and nothing that `jit_compile` would make. The rows add up to the whole step, which is also
    timed with nothing in the model that measures, in turn with the others. The model is left as it was.

    Args:
        model: a model or layer of lamina, or any torch module, on whatever device its weights are.
        input_size: the size of one sample, without the batch axis; a list of sizes for several inputs. A shape that
            begins with `None` has its batch axis already. A built model knows it.
        train: whether to measure a step of training, or one of inference.
        input_data: a batch to call the model on, in place of random numbers; a module of torch takes a list as its
            arguments and a dict as its keywords.
        batch_size: the number of samples in a batch of random numbers.
        steps: how many steps to measure; by default as many as take a second or two.

    Returns:
        The rows, the slowest first. Print it for a table.

    Raises:
        ArgumentError: the size of the input is not known, the model fails on it, or it has nothing to train.
        NotBuiltError: it has no weights yet and cannot be copied.

    Example:
        >>> from lamina import Sequential, layers
        >>> model = Sequential([layers.Input((8,)), layers.Dense(4, name="first"), layers.Dense(2, name="second")])
        >>> found = profile(model, batch_size=16, steps=3)
        >>> sorted(row.name for row in found.rows), found.find("first").num_params
        (['first', 'outside layers', 'second'], 36)
        >>> found.total_ms > 0 and found.step_ms > 0
        True
    """
    _check(model, batch_size, steps)
    with torch.inference_mode(False), unchanged(model, hooks=True):
        return _profile(model, input_size, input_data, batch_size, train, steps)


def _profile(
    model: torch.nn.Module, input_size: Any, input_data: Any, batch_size: int, train: bool, steps: int | None
) -> Profile:
    """`profile`, for a model that may be changed."""
    batches = batches_for(model, input_size, input_data, batch_size)
    try:
        model = _built(model, batches)
        model.train(train)
        stepping = _first_that_fits(model, batches, train)
    except _Failed as failed:
        raise _failure(model, input_size, input_data, batches[0], failed.reason) from failed.reason
    timeline = Timeline(stepping.clock)
    with stepping.going_on():
        probes = Probes(model, timeline)
        stepping.watched(probes, timeline, {}, surveying=True)
        owners = probes.owners()
        flops = count_flops(stepping, probes, timeline)
        count = steps or _how_many(_warmed_up(stepping, probes, timeline, owners))
        plain: list[list[float]] = []
        times: list[list[float]] = []
        for turn in range(2 * count):
            if turn % 4 in (0, 3):  # each kind comes after itself as often as after the other
                plain.append([stepping.plain()])
            else:
                forward, backward = stepping.watched(probes, timeline, owners)
                times.append(forward + backward)
    return _result(stepping, probes, owners, flops, _typical(times), _typical(plain)[0], count)


def _warmed_up(stepping: Steps, probes: Probes, timeline: Timeline, owners: dict[int, int]) -> float:
    """The seconds of a step, after a few of both kinds."""
    seconds: list[float] = []
    while len(seconds) < _WARM_UP and sum(seconds) < _SECONDS:
        seconds.append(stepping.plain())
        stepping.watched(probes, timeline, owners)
    return min(seconds)


def _how_many(seconds: float) -> int:
    """How many steps of so many seconds to measure."""
    return min(_MOST, max(_FEWEST, round(_SECONDS / max(seconds, 1e-6))))


def _typical(times: list[list[float]]) -> list[float]:
    """The figures of a typical step, in milliseconds: the mean of the third that is in the middle by the whole time.

    Medians of single rows would leave out what disturbs another row in each step, and add up to less than any step.

    Args:
        times: of each step, for each row.
    """
    ordered = sorted(times, key=sum)
    size = max(1, len(ordered) // 3)
    first = (len(ordered) - size) // 2
    return [statistics.fmean(column) * 1e3 for column in zip(*ordered[first : first + size], strict=True)]


def _result(
    stepping: Steps, probes: Probes, owners: dict[int, int], flops: list[float], ms: list[float], step_ms: float,
    count: int,
) -> Profile:  # fmt: skip
    """The rows from the figures of the parts: those without a row of their own count as outside of all layers."""
    model, batch = stepping.model, stepping.batch
    device, dtype = batch.device, _dtype_of(model, batch)
    peak = machine_peak(device, dtype)
    places = row_places(probes.parts)
    rows = {place: ProfileRow(" + ".join(part.layers), part.class_name, part.layers, part.calls, peak=peak,
                              output_bytes=part.output_bytes)
            for place, part in enumerate(probes.parts) if places[place] == place}  # fmt: skip
    rows[OUTSIDE] = ProfileRow("outside layers", "", peak=peak)
    for part, place in enumerate(places):
        row = rows[place]
        row.forward_ms += ms[part]
        row.backward_ms += ms[part + len(places)]
        row.flops += flops[part] * (3 if stepping.train else 1)
    for weight in weights_of(model):
        row = rows[owners.get(id(weight), OUTSIDE)]
        row.num_params += weight.numel()
        row.param_bytes += weight.numel() * weight.element_size()
    return Profile(
        name=getattr(model, "name", type(model).__name__),
        class_name=type(model).__name__,
        rows=sorted(rows.values(), key=lambda row: row.ms, reverse=True),
        step_ms=step_ms,
        peak=peak,
        train=stepping.train,
        batch_size=batch.size,
        steps=count,
        device=str(device),
        dtype=str(dtype).removeprefix("torch."),
        input_shapes=[tuple(tensor.shape) for tensor in batch.tensors],
    )


class _Failed(Exception):
    """A model that fails on every batch."""

    def __init__(self, reason: Exception) -> None:
        super().__init__(reason)
        self.reason = reason


def _first_that_fits(model: torch.nn.Module, batches: list[Batch], train: bool) -> Steps:
    """The steps on the first of the batches that the model takes."""
    reasons: list[Exception] = []
    for batch in batches:
        steps = Steps(model, batch, train, clock_for(batch.device))
        try:
            with steps.going_on():
                loss = steps.loss_of(steps.call())
        except Exception as error:
            reasons.append(error)
        else:
            steps.check(loss)
            return steps
    raise _Failed(reasons[0])


def _failure(model: Any, input_size: Any, input_data: Any, batch: Batch, error: Exception) -> Exception:
    """The error for a model that fails: its own, if it is clear, else one that says in which layer."""
    if isinstance(error, LaminaError):
        return error
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    what, expected, received = f"{type(model).__name__} fails on this batch: {reason}", None, f"shapes {batch.shapes}"
    fix = "check input_size, without the batch axis, or pass a real batch as input_data"
    with contextlib.suppress(Exception):
        found = measure(model, input_size, input_data).failure
        if found is not None:
            what, expected = f"{type(model).__name__} fails at {found.where!r}: {found.what}", found.expected
            received, fix = found.received or received, found.fix or fix
    return ArgumentError(what, expected=expected, received=received, fix=fix)


def _check(model: Any, batch_size: Any, steps: Any) -> None:
    if not isinstance(model, torch.nn.Module):
        raise ArgumentError(
            "This is no model.",
            expected="a model of lamina or a torch.nn.Module",
            received=f"{model!r} of type {type(model).__name__}",
            fix="pass an object, not its class" if isinstance(model, type) else "build the model first",
        )
    for name, value in (("batch_size", batch_size), ("steps", 1 if steps is None else steps)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ArgumentError(
                f"This cannot be {name}.", expected="a whole number above zero", received=repr(value), fix=f"{name}=32"
            )


def _built(model: Any, batches: list[Batch]) -> Any:
    """The model, or for one whose weights do not exist yet a copy that has some."""
    if not has_no_weights_yet(model):
        return model
    with on_trial():
        made = copied(model)
        _first_that_fits(made, batches, False)
    return made


def _dtype_of(model: Any, batch: Batch) -> torch.dtype:
    """In which dtype the products of a model are computed, as far as one can tell."""
    device = batch.device.type
    if torch.is_autocast_enabled(device):
        return torch.get_autocast_dtype(device)
    mixed = getattr(model, "_mixed", None)
    if mixed is not None:
        return mixed
    weights = (tensor.dtype for tensor in (*model.parameters(), *batch.tensors) if tensor.is_floating_point())
    return next(weights, torch.float32)
