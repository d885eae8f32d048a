"""`check_layer` over every registered layer: what each of them has to do, whatever it computes."""

from __future__ import annotations

import copy
import importlib
import importlib.util
import json
import pkgutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

import lamina.layers
from lamina.engine import nest
from lamina.engine.masking import get_mask, set_mask
from lamina.models import Model
from lamina.registry import LAYERS


def _load_cases() -> ModuleType:
    """`layer_cases.py`, which no import finds: a folder of tests is not on the path."""
    spec = importlib.util.spec_from_file_location("layer_cases", Path(__file__).with_name("layer_cases.py"))
    assert spec is not None and spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


for _found in pkgutil.iter_modules(lamina.layers.__path__, "lamina.layers."):
    importlib.import_module(_found.name)
layer_cases = _load_cases()
Case = Any
CASES: dict[str, list[Case]] = layer_cases.CASES
CLOSE: dict[str, float] = {"rtol": 1e-5, "atol": 1e-5}


class NoHostSync(TorchDispatchMode):
    """Fails when an operation would make the host wait for the device."""

    waits = ("_local_scalar_dense", "nonzero", "masked_select", "is_nonzero", "_unique", "bincount", "equal.default")

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if any(word in str(func) for word in self.waits):
            raise AssertionError(f"{func} makes the host wait")
        return func(*args, **(kwargs or {}))


def run(layer: Any, arguments: list[Any], **kwargs: Any) -> list[Tensor]:
    """The tensors that a call gives."""
    return nest.flatten(layer(*arguments, **kwargs))


def built(case: Case, **common: Any) -> Any:
    """A layer built for the case's inputs, with weights none of which is zero."""
    layer = case.make(**common)
    run(layer, case.arguments())
    with torch.no_grad():
        for weight in layer.weights:
            if weight.is_floating_point():
                weight.uniform_(0.1, 0.6)
    return layer


def weights_moved_to(layer: Any, arguments: list[Any], source: Any) -> Any:
    """`layer`, built by a call on the arguments, with the weights of `source`."""
    run(layer, arguments)
    layer.set_weights(source.get_weights())
    return layer


def detached(tensors: list[Tensor]) -> list[Tensor]:
    return [t.detach().clone() for t in tensors]


def assert_close(found: list[Tensor], expected: list[Tensor], **tolerance: float) -> None:
    assert len(found) == len(expected) > 0
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, **(tolerance or CLOSE))


def shapes_of(shapes: Any) -> list[tuple[Any, ...]]:
    """A nest of shapes as a list."""
    found: list[tuple[Any, ...]] = []
    nest.map_shapes(lambda shape: found.append(tuple(shape)), shapes)
    return found


def mapped(function: Callable[[Tensor], Tensor], arguments: list[Any]) -> list[Any]:
    return [nest.map_nest(function, argument) for argument in arguments]


# Shapes and dtypes


def check_symbolic_and_eager_calls_agree_on_shapes_and_dtypes(case: Case) -> None:
    layer = case.make()
    symbolic = nest.flatten(layer(*case.symbols()))
    eager = run(layer, case.arguments())
    assert [t.dtype for t in symbolic] == [t.dtype for t in eager]
    assert [t.shape for t in symbolic] == [(None, *t.shape[1:]) for t in eager]


def check_sizes_may_be_unknown(case: Case) -> None:
    layer = case.make()
    symbolic = nest.flatten(layer(*case.symbols(free=True)))
    for one, other in zip(symbolic, run(layer, case.arguments()), strict=True):
        assert len(one.shape) == other.ndim and one.dtype is other.dtype
        assert all(size in (None, real) for size, real in zip(one.shape, other.shape, strict=True)), one.shape


def check_a_fixed_batch_size_is_kept(case: Case) -> None:
    batch = nest.flatten(case.arguments())[0].shape[0]
    layer = case.make()
    symbolic = nest.flatten(layer(*case.symbols(batch_size=batch)))
    assert [t.shape for t in symbolic] == [tuple(t.shape) for t in run(layer, case.arguments())]


def check_a_functional_model_computes_what_the_layer_computes(case: Case) -> None:
    layer, symbols, arguments = built(case), case.symbols(free=True), case.arguments()
    model = Model(nest.flatten(symbols), layer(*symbols))
    assert_close(run(model, [nest.flatten(arguments)]), run(layer, arguments))


def check_compute_output_shape_says_what_a_run_gives(case: Case) -> None:
    if case.more:
        return  # it takes the shape of one input
    for layer in (case.make(), built(case)):
        eager = [tuple(t.shape) for t in run(built(case), case.arguments())]
        assert shapes_of(layer.compute_output_shape(case.shape)) == eager
        unknown = nest.map_shapes(lambda shape: (None, *shape[1:]), case.shape)
        assert shapes_of(layer.compute_output_shape(unknown)) == [(None, *shape[1:]) for shape in eager]


def check_building_alone_makes_the_weights(case: Case) -> None:
    if case.more:
        return  # a cell's states are no part of its shape
    layer, like = case.make(), built(case)
    layer.build(nest.map_shapes(lambda shape: (None, *shape[1:]), case.shape))
    assert layer.built and [w.shape for w in layer.weights] == [w.shape for w in like.weights]


# Configs and weights


def check_the_config_makes_the_same_layer(case: Case) -> None:
    layer, arguments = built(case), case.arguments()
    config = layer.get_config()
    if case.plain:
        assert json.loads(json.dumps(config)) == json.loads(json.dumps(layer.get_config()))
        config = json.loads(json.dumps(config))
    again = type(layer).from_config(config)
    assert again.name == layer.name and type(again) is type(layer)
    weights_moved_to(again, arguments, layer)
    if case.plain:
        assert json.dumps(again.get_config()) == json.dumps(layer.get_config())
    assert_close(run(again, arguments), run(layer, arguments))


def check_a_common_argument_is_kept_in_the_config(case: Case) -> None:
    if case.policies:
        config = case.make(trainable=False).get_config()
        assert config["trainable"] is False


def check_weights_can_be_read_and_set(case: Case) -> None:
    layer, other = built(case), built(case)
    before = layer.get_weights()
    other.set_weights(before)
    assert len(before) == len(layer.weights)
    assert all((a == b).all() for a, b in zip(before, other.get_weights(), strict=True))
    assert sum(w.size for w in before) == layer.count_params()
    arguments = case.arguments()
    assert_close(run(other, arguments), run(layer, arguments))


def check_the_state_dict_moves_everything(case: Case) -> None:
    layer, other, arguments = built(case), built(case), case.arguments()
    assert len(layer.state_dict()) >= len(layer.weights)
    assert other.load_state_dict(layer.state_dict()).missing_keys == []
    assert_close(run(other, arguments), run(layer, arguments))


def check_a_deep_copy_is_equal_and_apart(case: Case) -> None:
    layer, arguments = built(case), case.arguments()
    twin, expected = copy.deepcopy(layer), detached(run(layer, arguments))
    assert_close(run(twin, arguments), expected)
    assert not {id(w) for w in twin.weights} & {id(w) for w in layer.weights}
    with torch.no_grad():
        for weight in twin.weights:
            weight.zero_()
    assert_close(run(layer, arguments), expected)


def check_a_second_call_uses_the_same_weights(case: Case) -> None:
    layer = case.make()
    run(layer, case.arguments())
    before = [id(w) for w in layer.weights]
    run(layer, case.arguments())
    assert [id(w) for w in layer.weights] == before


# Gradients and modes


def check_gradients_reach_every_weight_and_input(case: Case) -> None:
    layer = built(case).train()
    arguments = mapped(lambda t: t.requires_grad_() if t.is_floating_point() else t, case.arguments())
    outputs = [y for y in run(layer, arguments) if y.requires_grad]
    wanted = [t for t in [*layer.trainable_weights, *nest.flatten(arguments)] if t.requires_grad]
    if not wanted:
        return  # whole numbers in, no weights
    found = torch.autograd.grad(sum((y * torch.randn_like(y)).sum() for y in outputs), wanted)
    assert all(bool(g.isfinite().all()) and float(g.abs().sum()) > 0 for g in found)


def check_inference_repeats_itself(case: Case) -> None:
    layer, arguments = built(case), case.arguments()
    assert layer.training is False
    assert_close(run(layer, arguments), detached(run(layer, arguments)), rtol=0, atol=0)


def check_an_argument_wins_over_the_mode(case: Case) -> None:
    layer, arguments = built(case), case.arguments()
    inference = detached(run(layer, arguments))
    layer.train()
    assert_close(run(layer, arguments, training=False), inference)
    assert all(module.training for module in layer.modules())
    layer.eval()
    training = detached(run(layer, arguments, training=True))
    assert not any(module.training for module in layer.modules())
    different = any(not torch.allclose(a, b) for a, b in zip(training, inference, strict=True))
    assert different is (case.training == "other")


def check_training_never_makes_the_host_wait(case: Case) -> None:
    layer = built(case).train()
    arguments = mapped(lambda t: t.requires_grad_() if t.is_floating_point() else t, case.arguments())
    with NoHostSync():
        outputs = [y for y in run(layer, arguments) if y.requires_grad]
        if outputs:
            sum(y.sum() for y in outputs).backward()


def check_inputs_are_left_as_they_are(case: Case) -> None:
    layer, arguments = built(case), case.arguments()
    before = detached(nest.flatten(arguments))
    run(layer, arguments), run(layer, arguments, training=True)
    assert_close(nest.flatten(arguments), before, rtol=0, atol=0)


def check_a_frozen_layer_has_nothing_to_train(case: Case) -> None:
    layer = built(case)
    count = len(layer.weights)
    layer.trainable = False
    assert layer.trainable_weights == [] and len(layer.non_trainable_weights) == count
    layer.trainable = True
    assert len(layer.trainable_weights) == len(list(layer.parameters()))
    if case.policies:
        assert built(case, trainable=False).trainable_weights == []


def check_a_sample_does_not_depend_on_its_batch(case: Case) -> None:
    layer, arguments = built(case), case.arguments()
    alone = run(layer, mapped(lambda t: t[:1], arguments))
    assert_close(alone, [y[:1] for y in run(layer, arguments)])


# Precision, memory, masks


def check_float64_computes_in_float64(case: Case) -> None:
    if case.policies and (case.whole is None or built(case).weights):  # whole numbers divide as torch divides them
        layer, arguments = built(case), case.arguments(torch.float64)
        double = weights_moved_to(case.make(dtype="float64"), arguments, layer)
        found = run(double, arguments)
        assert all(w.dtype is torch.float64 for w in double.weights)
        assert all(y.dtype is torch.float64 for y in found if y.is_floating_point())
        single = run(layer, mapped(lambda t: t.float() if t.is_floating_point() else t, arguments))
        assert_close([y.float() for y in found], [y.float() for y in single], rtol=1e-4, atol=1e-4)


def check_floats_of_another_width_are_cast_from_the_first_call_on(case: Case) -> None:
    layer, like, arguments = case.make(), built(case), case.arguments()
    double = mapped(lambda t: t.double() if t.is_floating_point() else t, arguments)
    if layer_cases.owns_floats(like):
        first, second = run(layer, double), run(layer, double)
        assert all(y.dtype is torch.float32 for y in [*first, *second])
        assert_close(second, run(layer, arguments))


def check_mixed_precision_keeps_weights_in_float32(case: Case) -> None:
    if case.policies:
        layer, arguments = built(case), case.arguments()
        mixed = weights_moved_to(case.make(dtype="mixed_bfloat16"), arguments, layer)
        found = run(mixed, arguments)
        assert all(w.dtype is torch.float32 for w in mixed.weights)
        assert [y.dtype for y in nest.flatten(mixed(*case.symbols()))] == [y.dtype for y in found]
        assert_close([y.float() for y in found], [y.float() for y in run(layer, arguments)], rtol=0.05, atol=0.05)


def check_a_module_can_be_moved(case: Case) -> None:
    layer, arguments = built(case), case.arguments()
    expected = detached(run(layer, arguments))
    assert layer.to("cpu") is layer
    layer.to(torch.float64)
    found = run(layer, mapped(lambda t: t.double() if t.is_floating_point() else t, arguments))
    if case.whole is None or layer.weights:
        assert all(y.dtype is torch.float64 for y in found)
    assert_close([y.to(e.dtype) for y, e in zip(found, expected, strict=True)], expected, rtol=1e-4, atol=1e-4)
    assert_close(run(layer.to(torch.float32), arguments), expected)


def check_the_layout_of_memory_does_not_change_the_numbers(case: Case) -> None:
    layer, arguments = built(case), case.arguments()
    strange = mapped(lambda t: t.transpose(0, -1).contiguous().transpose(0, -1), arguments)
    assert any(not t.is_contiguous() for t in nest.flatten(strange))
    assert_close(run(layer, strange), run(layer, arguments))


def check_numpy_arrays_are_taken(case: Case) -> None:
    layer, arguments = built(case), case.arguments()
    assert_close(run(layer, mapped(lambda t: t.numpy(), arguments)), run(layer, arguments))


def check_masks_pass_where_they_should(case: Case) -> None:
    layer, arguments = built(case), case.arguments()
    first = nest.flatten(arguments[0])[0]
    if first.ndim < 3 or not first.is_floating_point() or case.mask == "own":
        return
    expected = case.mask or ("kept" if layer.supports_masking else "dropped")
    mask = torch.arange(first.shape[1]) < torch.arange(1, first.shape[0] + 1)[:, None]
    given = [nest.map_nest(lambda t: set_mask(t.clone(), mask), arguments[0]), *arguments[1:]]
    for output in nest.flatten(layer(*given))[:1]:
        found = get_mask(output)
        if expected == "dropped":
            assert found is None
        else:
            assert found is not None and torch.equal(found, mask)
    assert all(get_mask(y) is None for y in run(layer, arguments))


# What torch does with a module


def check_compiling_finds_one_graph_with_the_same_result(case: Case) -> None:
    layer, arguments = built(case), case.arguments()
    torch._dynamo.reset()
    compiled = torch.compile(layer, backend="eager", fullgraph=True)
    assert_close(run(compiled, arguments), run(layer, arguments))


def check_exporting_gives_the_same_result(case: Case) -> None:
    layer, arguments = built(case), case.arguments()
    program = torch.export.export(layer, tuple(arguments), strict=False)
    assert_close(run(program.module(), arguments), run(layer, arguments))


CHECKS = {name.removeprefix("check_"): check for name, check in globals().items() if name.startswith("check_")}
SLOW = {"compiling_finds_one_graph_with_the_same_result", "exporting_gives_the_same_result"}  # on one case a class
PAIRS = [
    pytest.param(check, case, id=f"{name}-{case.note or at}-{what}")
    for name, cases in CASES.items()
    for at, case in enumerate(cases)
    for what, check in CHECKS.items()
    if at == 0 or what not in SLOW
]


def check_layer(case: Case, check: Callable[[Case], None]) -> None:
    """One of the checks above on one case."""
    torch.manual_seed(0)
    check(case)


@pytest.mark.filterwarnings("ignore:The tensor attribute self._added_losses")  # torch.export, of activity penalties
@pytest.mark.parametrize(("check", "case"), PAIRS)
def test_every_layer(check: Callable[[Case], None], case: Case):
    check_layer(case, check)


def uncovered(registered: set[str]) -> list[str]:
    """Names of layers for which `layer_cases.py` has no case."""
    return sorted(registered - set(CASES))


def test_every_registered_layer_has_a_case():
    assert uncovered(layer_cases.registered()) == [], "write a case for each of these in layer_cases.py"
    assert sorted(set(CASES) - layer_cases.registered()) == []
    for name, cases in CASES.items():
        assert cases and all(isinstance(case.make(), LAYERS[name]) for case in cases)


def test_a_layer_without_a_case_is_found():
    assert uncovered({*layer_cases.registered(), "Forgotten"}) == ["Forgotten"]
    assert {"Dense", "BatchNormalization", "LSTM", "Functional"} <= layer_cases.registered()
