"""Every registered layer as torch modules and as ONNX: the same numbers and gradients, or an error that names it."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
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


# These must be converted; a layer that is not here may refuse, with words that help.
CONVERTED = """
    Dense Activation Identity Lambda Masking Embedding InputLayer TorchModule BatchNormalization LayerNormalization
    GroupNormalization RMSNormalization UnitNormalization Dropout SpatialDropout1D SpatialDropout2D SpatialDropout3D
    AlphaDropout GaussianDropout GaussianNoise ActivityRegularization Flatten Reshape Permute RepeatVector Add
    Subtract Multiply Average Maximum Minimum Concatenate Dot ReLU LeakyReLU PReLU ELU Softmax SimpleRNNCell
    LSTMCell GRUCell StackedRNNCells RNN Bidirectional SimpleRNN LSTM GRU Wrapper TimeDistributed Model Functional
    Sequential Conv1D Conv1DTranspose DepthwiseConv1D SeparableConv1D MaxPooling1D GlobalMaxPooling1D
    AveragePooling1D GlobalAveragePooling1D ZeroPadding1D Cropping1D UpSampling1D Conv2D Conv2DTranspose
    DepthwiseConv2D SeparableConv2D MaxPooling2D GlobalMaxPooling2D AveragePooling2D GlobalAveragePooling2D
    ZeroPadding2D Cropping2D UpSampling2D Conv3D Conv3DTranspose MaxPooling3D GlobalMaxPooling3D AveragePooling3D
    GlobalAveragePooling3D ZeroPadding3D Cropping3D UpSampling3D
""".split()
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


def refuses(name: str, case: Any) -> bool:
    """Whether torch has no counterpart for the layer while training."""
    return name in REFUSED and REFUSED[name] in case.note


def converted(name: str, model: Any, convert: Callable[[], Any]) -> Any:
    """What `convert` gives; a layer that need not be converted may say that it cannot be, by its name."""
    try:
        return convert()
    except ExportError as error:
        if name in CONVERTED:
            raise
        assert model.layers[-1].name in str(error) and error.fix
        pytest.skip(f"{name} cannot be exported, and says so")


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
    inference = refuses(name, case)
    if inference:
        with pytest.raises(ExportError, match=model.layers[-1].name):
            model.to_torch()
    module = converted(name, model, lambda: model.to_torch(inference=inference))
    expected, found = nest.flatten(model(data)), nest.flatten(module(*data))
    torch.testing.assert_close(found, expected, **CLOSE)
    if case.training == "other":
        return  # random numbers, and statistics of the batch, have tests of their own
    # Those of inputs and weights together: torch 2.13 crashes on those of GroupNorm's weights alone.
    of_layer = gradients(expected, [*data, *model.parameters()])
    of_module = gradients(found, [*data, *module.parameters()])
    inputs = sum(x.requires_grad for x in data)
    torch.testing.assert_close(of_module[:inputs], of_layer[:inputs], **CLOSE)
    energy = [sum(g.square().sum() for g in found[inputs:] if g is not None) for found in (of_layer, of_module)]
    torch.testing.assert_close(energy[1], energy[0], rtol=1e-4, atol=1e-4)  # of all weights, in whatever layout


@pytest.mark.parametrize("name, case", EACH)
def test_an_onnx_file_computes_what_the_layer_computes(name, case, tmp_path):
    model, data = model_of(case)
    converted(name, model, lambda: model.export(tmp_path / "model.onnx"))
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    for batch in (1, 3):
        some = [torch.cat([x, x]).detach()[:batch] for x in data]
        names = [each.name for each in session.get_inputs()]
        found = session.run(None, {key: x.numpy() for key, x in zip(names, some, strict=True)})
        expected = [y.detach() for y in nest.flatten(model(some))]
        torch.testing.assert_close([torch.as_tensor(y) for y in found], expected, **CLOSE)
