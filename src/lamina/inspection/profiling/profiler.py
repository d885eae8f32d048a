"""`profile`: where the time of a step goes, layer by layer."""

from __future__ import annotations

import copy
import statistics
from typing import Any

import torch

from lamina.engine.layer import Layer
from lamina.errors import ArgumentError, NotBuiltError
from lamina.inspection.profiling.batches import Batch, device_of, given_batch, random_batches
from lamina.inspection.profiling.clocks import clock_for
from lamina.inspection.profiling.counting import count_flops
from lamina.inspection.profiling.peak import machine_peak
from lamina.inspection.profiling.probes import Probes, row_places
from lamina.inspection.profiling.quiet import unchanged
from lamina.inspection.profiling.result import Profile, ProfileRow
from lamina.inspection.profiling.steps import Steps
from lamina.inspection.profiling.timeline import OUTSIDE, Timeline

_WARM_UP = 3
_SECONDS = 1.5  # about, for the steps that nobody watches and again for the others
_FEWEST, _MOST = 7, 60


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
        NotBuiltError: it has lazy modules of torch.

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
    with unchanged(model):
        return _profile(
            _ready(model, input_size, input_data, batch_size), input_size, train, input_data, batch_size, steps
        )


def _profile(
    model: torch.nn.Module, input_size: Any, train: bool, input_data: Any, batch_size: int, steps: int | None
) -> Profile:
    """`profile`, for a model that may be changed."""
    model.train(train)
    clock = clock_for(device_of(model, input_data))
    timeline = Timeline(clock)
    batches = [given_batch(model, input_data)] if input_data is not None else None
    stepping = _first_that_fits(model, batches or random_batches(model, input_size, batch_size), train, clock)
    with stepping.going_on():
        probes = Probes(model, timeline)
        stepping.watched(probes, timeline, {}, surveying=True)
        owners = probes.owners()
        flops = count_flops(stepping, probes, timeline)
        seconds = []
        for _ in range(_WARM_UP):
            seconds.append(stepping.plain())
            stepping.watched(probes, timeline, owners)
        count = steps or min(_MOST, max(_FEWEST, round(_SECONDS / max(min(seconds), 1e-6))))
        plain: list[float] = []
        times: list[list[float]] = []
        for _ in range(count):
            plain.append(stepping.plain())
            forward, backward = stepping.watched(probes, timeline, owners)
            times.append(forward + backward)
    medians = [statistics.median(column) * 1e3 for column in zip(*times, strict=True)]
    return _result(stepping, probes, owners, flops, medians, statistics.median(plain) * 1e3, count)


def _result(
    stepping: Steps, probes: Probes, owners: dict[int, int], flops: list[float], ms: list[float], step_ms: float,
    count: int,
) -> Profile:  # fmt: skip
    """The rows from the figures of the parts: those without a row of their own count as outside of all layers."""
    model, batch = stepping.model, stepping.batch
    device, dtype = device_of(model, batch.tensors), _dtype_of(model, batch)
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
    for parameter in model.parameters():
        row = rows[owners.get(id(parameter), OUTSIDE)]
        row.num_params += parameter.numel()
        row.param_bytes += parameter.numel() * parameter.element_size()
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


def _first_that_fits(model: torch.nn.Module, batches: list[Batch], train: bool, clock: Any) -> Steps:
    """The steps on the first of the batches that the model takes; the error for the first one if it takes none."""
    found: Exception | None = None
    for batch in batches:
        steps = Steps(model, batch, train, clock)
        try:
            with steps.going_on():
                steps.try_out()
            return steps
        except Exception as error:
            found = found or error
    raise found or RuntimeError("there is no batch")


def _check(model: Any, batch_size: Any, steps: Any) -> None:
    if not isinstance(model, torch.nn.Module):
        raise ArgumentError(
            "This is no model.",
            expected="a model of lamina or a torch.nn.Module",
            received=f"{model!r} of type {type(model).__name__}",
            fix="pass an object, not its class" if isinstance(model, type) else "build the model first",
        )
    if any(torch.nn.parameter.is_lazy(tensor) for tensor in (*model.parameters(), *model.buffers())):
        raise NotBuiltError(
            f"{type(model).__name__} has weights without a size yet.",
            expected="a module whose weights exist",
            received="lazy modules that have not been called",
            fix="call it on a batch first",
        )
    for name, value in (("batch_size", batch_size), ("steps", 1 if steps is None else steps)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ArgumentError(
                f"This cannot be {name}.", expected="a whole number above zero", received=repr(value), fix=f"{name}=32"
            )


def _ready(model: Any, input_size: Any, input_data: Any, batch_size: int) -> Any:
    """The model, or for one whose weights do not exist yet a copy that has some."""
    if all(module.built for module in model.modules() if isinstance(module, Layer)):
        return model
    made = copy.deepcopy(model)
    batches = (
        [given_batch(made, input_data)] if input_data is not None else random_batches(made, input_size, batch_size)
    )
    _first_that_fits(made.eval(), batches, False, clock_for(device_of(made, input_data)))
    return made


def _dtype_of(model: Any, batch: Batch) -> torch.dtype:
    """In which dtype the products of a model are computed, as far as one can tell."""
    device = device_of(model, batch.tensors).type
    if torch.is_autocast_enabled(device):
        return torch.get_autocast_dtype(device)
    mixed = getattr(model, "_mixed", None)
    if mixed is not None:
        return mixed
    weights = (tensor.dtype for tensor in (*model.parameters(), *batch.tensors) if tensor.is_floating_point())
    return next(weights, torch.float32)
