"""From a model to its report, without changing it."""

from __future__ import annotations

from typing import Any

import torch

from lamina.engine import nest
from lamina.engine.layer import Layer, on_trial
from lamina.errors import ArgumentError, NotBuiltError, ShapeError
from lamina.inspection.advice import failure_of
from lamina.inspection.calls import CallRows, LayerRows, modules_to_watch
from lamina.inspection.copies import copied, has_no_weights_yet, is_lazy
from lamina.inspection.described import bytes_of, own_row, put_inside, shape_of, weights_of
from lamina.inspection.graphs import GraphRows, is_graph
from lamina.inspection.inputs import Arguments, arguments_of, as_whole_numbers, known_arguments
from lamina.inspection.quiet import silence
from lamina.inspection.readable import Report
from lamina.inspection.report import Row
from lamina.inspection.running import Run, run


def measure(
    model: Any,
    input_size: Any = None,
    input_data: Any = None,
    *,
    expand_nested: bool = False,
    style: str | None = None,
    dtypes: Any = None,
) -> Report:
    """Count weights and operations and find shapes, without changing the model.

    A functional or `Sequential` model says all of it. Any other is run once in inference mode, without memory if that
    can be done, and put back as it was; one that has no weights yet, as with lazy torch modules, is copied first.

    Args:
        model: any torch module.
        input_size: the shape of one sample, `(3, 32, 32)`; a list of shapes for several inputs, a dict for inputs by
            name. A shape that begins with `None` has its batch axis already. Not needed for a built model of lamina.
        input_data: a batch in place of `input_size`: a tensor or array, or a list or dict of them.
        expand_nested: whether the layers inside layers have rows too.
        style: `"keras"` for a row a layer, `"torch"` for a row a call in the order in which they ended; by default
            that to which the model belongs.
        dtypes: of inputs that only have a size: a dtype, or a list of one for each; by default that of the weights,
            and whole numbers where these fail.

    Returns:
        The report. If the run failed, its `failure` says why, and the rows end where it did.

    Raises:
        ArgumentError: `model` is no module, or a torch module without an input size.
        NotBuiltError: a model of lamina does not know the shape of its input yet.
        ShapeError: an `input_size` that a functional model does not take.

    Example:
        >>> report = measure(torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.ReLU()), (3,))
        >>> [(row.class_name, row.output_shape, row.num_params) for row in report.rows], report.flops
        ([('Linear', (None, 2), 8), ('ReLU', (None, 2), 0)], 12)
    """
    if not isinstance(model, torch.nn.Module):
        raise ArgumentError(
            "There is nothing to measure.",
            expected="a model, a layer or any other torch module",
            received=f"{model!r} of type {type(model).__name__}",
            fix="pass an object, not its class" if isinstance(model, type) else None,
        )
    style = style or ("keras" if isinstance(model, Layer) else "torch")
    given = arguments_of(model, input_size, input_data, dtypes)
    if isinstance(model, Layer) and is_graph(model) and model.built:
        _check_inputs(model, given)
        rows: list[Row] = []
        _append_graph(rows, model, None, expand_nested)
        _append_own(rows, model, None)
        return _report(model, rows, "keras", list(model.graph.input_list))
    arguments = given or known_arguments(model)
    if arguments is None:
        raise _no_input(model)
    settled = input_data is not None or dtypes is not None
    return _measure_by_running(model, arguments, settled, expand_nested, style)


def _measure_by_running(model: Any, arguments: Arguments, settled: bool, expand_nested: bool, style: str) -> Report:
    """The report of a model that must be run; `settled` says that the dtypes of its arguments are not a guess."""
    keep = has_no_weights_yet(model)
    tries = [arguments] if settled else [arguments, as_whole_numbers(arguments)]
    found: list[tuple[Any, Run]] = []
    for attempt in tries:
        with on_trial():
            patient = _built_copy(model, attempt) if keep else model
            modules = list(modules_to_watch(patient))
            found.append((patient, run(patient, patient_call(patient), modules, *attempt, keep=keep)))
        if found[-1][1].error is None:
            break
    else:
        del found[1:]
        attempt = arguments
    patient, seen = found[-1]
    names = modules_to_watch(patient)
    if style == "torch":
        rows = CallRows(seen, patient, names).rows
    else:
        rows = []
        LayerRows(seen, rows, patient, None, expand_nested).connect()
        if list(names) != [patient]:
            _append_own(rows, patient, None)
    report = _report(patient, rows, style, nest.flatten([attempt.args, attempt.kwargs]))
    if seen.error is not None:
        _mark_failure(report, seen, patient, names)
    return report


def patient_call(model: torch.nn.Module) -> Any:
    """What to call to run a model: lamina's convert their arguments first.

    Args:
        model: the model.
    """
    return model._run_abstractly if isinstance(model, Layer) and model.built else model


def _append_graph(rows: list[Row], model: Any, inside: int | None, expand_nested: bool) -> None:
    """The rows of a graph; what is no graph inside it is run on its own."""
    waiting: list[LayerRows] = []

    def append_other(layer: Any, node: Any, place: int) -> None:
        seen = run(layer, layer._run_abstractly, list(modules_to_watch(layer)), node.args, node.kwargs, layer.home())
        start = len(rows)
        waiting.append(LayerRows(seen, rows, layer, place, expand_nested))
        if len(rows) > start:
            _append_own(rows, layer, place)

    GraphRows(rows, model, expand_nested, append_other, inside)
    for inner in waiting:  # now that the rows around them know what they take
        inner.connect()


def _append_own(rows: list[Row], model: Any, inside: int | None) -> None:
    """A row for weights that are the model's own."""
    own = own_row(model)
    if own is not None:
        put_inside(own, rows, inside)
        rows.append(own)


def _check_inputs(model: Any, given: Arguments | None) -> None:
    """Refuse sizes that a graph was not defined for."""
    wanted = [tensor.shape for tensor in model.graph.input_list]
    shapes = None if given is None else [leaf.shape for leaf in nest.flatten([given.args, given.kwargs])]
    if shapes is None or model._loose_inputs:
        return
    fits = len(shapes) == len(wanted) and all(
        len(s) == len(w) and all(a is None or b in (None, a) for a, b in zip(w[1:], s[1:], strict=True))
        for s, w in zip(shapes, wanted, strict=True)
    )
    if not fits:
        raise ShapeError(
            f"{type(model).__name__} {model.name!r} takes inputs of another size.",
            expected=", ".join(map(str, wanted)),
            received=", ".join(str(tuple(shape)) for shape in shapes),
            fix="leave input_size out: the model knows what it takes",
        )


def _built_copy(model: torch.nn.Module, arguments: Arguments) -> torch.nn.Module:
    """A copy of `model` with its weights made, as far as that goes."""
    made = copied(model)
    silence(made)
    ways = ("real",) if is_lazy(made) else ("abstract", "real")
    run(made, patient_call(made), [], *arguments, keep=True, ways=ways)
    return made


def _report(model: Any, rows: list[Row], style: str, inputs: list[Any]) -> Report:
    """The totals around the rows."""
    weights = weights_of(model)
    return Report(
        name=getattr(model, "name", type(model).__name__),
        class_name=type(model).__name__,
        rows=rows,
        total_params=sum(w.numel() for w in weights),
        trainable_params=sum(w.numel() for w in weights if w.requires_grad),
        params_bytes=sum(w.numel() * w.element_size() for w in weights),
        trainable_bytes=sum(w.numel() * w.element_size() for w in weights if w.requires_grad),
        input_bytes=sum(bytes_of(leaf) for leaf in inputs if hasattr(leaf, "dtype")),
        optimizer_bytes=_optimizer_bytes(model),
        style=style,
    )


def _optimizer_bytes(model: Any) -> int:
    """The memory of what the optimizer of a compiled model keeps or will keep for the weights."""
    optimizer = getattr(model, "optimizer", None)
    slots = getattr(optimizer, "slots", None)
    if not callable(slots):
        return 0
    trained = sum(w.numel() * w.element_size() for w in weights_of(model) if w.requires_grad)
    return trained * sum(len(block) for block in slots())


def _mark_failure(report: Report, seen: Run, model: torch.nn.Module, names: dict[torch.nn.Module, str]) -> None:
    """Say in a report why the run ended, and end the rows there."""
    error = seen.error
    failing = seen.unfinished[-1:]
    module, where, spec = model, report.name, None
    if failing:
        module = seen.calls[failing[0]].module
        first = nest.flatten(seen.specs(failing[0], "inputs"))
        spec = first[0] if first else None
        where = next((row.path for row in report.rows if row.failed), "") or names[module]
    path = getattr(error, "path", None)
    report.failure = failure_of(
        error, "/".join(path) if path else where, module, shape_of(spec), getattr(spec, "dtype", None)
    )
    places = [place for place, row in enumerate(report.rows) if row.failed]
    if not places:
        report.rows.append(Row(report.name, report.class_name, path=report.name, failed=True))
    else:
        report.rows = [r for place, r in enumerate(report.rows) if place <= places[-1] or r.call_shapes]


def _no_input(model: Any) -> Exception:
    """The error for a model that nobody has said the input of."""
    if isinstance(model, Layer):
        return NotBuiltError(
            f"{type(model).__name__} {model.name!r} is not built, so there is nothing to show yet.",
            expected="a model that knows the shape of its input",
            received="no input shape yet",
            fix="call model.build((None, ...)) with the shape of a batch, fit it on data, or pass input_size=(...)",
        )
    return ArgumentError(
        f"{type(model).__name__} is a torch module, which does not say what it takes.",
        expected="input_size or input_data",
        received="neither",
        fix="pass input_size=(3, 32, 32), the shape of one sample, or input_data=batch",
    )
