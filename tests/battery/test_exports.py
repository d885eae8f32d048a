"""Every registered layer as torch modules and as ONNX: the same numbers and gradients, or an error that names it."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import onnxruntime
import pytest
import torch

import lamina
from lamina.engine import nest
from lamina.errors import ExportError

CLOSE = {"rtol": 1e-5, "atol": 1e-5}
# What has no counterpart while training, by class and the words that set the case apart.
REFUSED = {
    "BatchNormalization": "renorm", "AlphaDropout": "noise_shape", "GaussianDropout": "", "GaussianNoise": "",
    "SimpleRNN": "recurrent_dropout", "LSTM": "recurrent_dropout", "GRU": "recurrent_dropout",
}  # fmt: skip


def _load_cases() -> ModuleType:
    """`layer_cases.py`, which no import finds: a folder of tests is not on the path."""
    name = "layer_cases"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name("layer_cases.py"))
        assert spec is not None and spec.loader is not None
        module = sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return sys.modules[name]


CASES: dict[str, list[Any]] = _load_cases().CASES
EACH = [
    pytest.param(name, case, id=f"{name}-{place}") for name, cases in CASES.items() for place, case in enumerate(cases)
]


def model_of(case: Any) -> tuple[Any, list[torch.Tensor]]:
    """A functional model around the layer, with weights none of which is zero, and data for it."""
    layer, arguments = case.make(), case.arguments()
    layer(*arguments)
    with torch.no_grad():
        for weight in layer.weights:
            if weight.is_floating_point():
                weight.uniform_(0.1, 0.6)
    symbols = case.symbols(free=True)
    data = [x.requires_grad_() if x.is_floating_point() else x for x in nest.flatten(arguments)]
    return lamina.Model(nest.flatten(symbols), layer(*symbols)), data


def gradients(outputs: list[torch.Tensor], inputs: list[torch.Tensor]) -> list[torch.Tensor | None]:
    """Gradients of the sum of the squares."""
    moved = [y for y in outputs if y.requires_grad]
    wanted = [x for x in inputs if x.requires_grad]
    if not moved or not wanted:
        return []
    return list(torch.autograd.grad(sum(y.square().sum() for y in moved), wanted, allow_unused=True))


@pytest.mark.parametrize("name, case", EACH)
def test_a_torch_module_computes_what_the_layer_computes(name, case):
    model, data = model_of(case)
    if name in REFUSED and REFUSED[name] in case.note:
        with pytest.raises(ExportError, match=name):
            model.to_torch()
    module = model.to_torch(inference=name in REFUSED and REFUSED[name] in case.note)
    expected, found = nest.flatten(model(data)), nest.flatten(module(*data))
    torch.testing.assert_close(found, expected, **CLOSE)
    if case.training == "other":
        return  # random numbers, and statistics of the batch, have tests of their own
    torch.testing.assert_close(gradients(found, data), gradients(expected, data), **CLOSE)
    energy = [
        sum(g.square().sum() for g in gradients(y, list(owner.parameters())) if g is not None)
        for y, owner in ((nest.flatten(model(data)), model), (nest.flatten(module(*data)), module))
    ]
    torch.testing.assert_close(energy[1], energy[0], rtol=1e-4, atol=1e-4)  # of all weights, in whatever layout


@pytest.mark.parametrize("name, case", EACH)
def test_an_onnx_file_computes_what_the_layer_computes(name, case, tmp_path):
    model, data = model_of(case)
    model.export(tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    for batch in (1, 3):
        some = [torch.cat([x, x]).detach()[:batch] for x in data]
        names = [each.name for each in session.get_inputs()]
        found = session.run(None, {key: x.numpy() for key, x in zip(names, some, strict=True)})
        expected = [y.detach() for y in nest.flatten(model(some))]
        torch.testing.assert_close([torch.as_tensor(y) for y in found], expected, **CLOSE)
