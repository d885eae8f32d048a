"""Any torch module is a layer, by itself where a graph is defined, and untouched everywhere else."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from lamina.engine import watching
from lamina.engine.torch_module import TorchModule, as_layer
from lamina.errors import ArgumentError, GraphError, ShapeError
from lamina.layers import Dense, Input, add
from lamina.models import Model, Sequential

PLAIN = watching.plain_call


@pytest.fixture(autouse=True)
def torchs_own_call_afterwards():
    yield
    watching.stop()
    assert torch.nn.Module.__call__ is PLAIN


class Scale(torch.nn.Module):
    def __init__(self, factor=2.0):
        super().__init__()
        self.factor = torch.nn.Parameter(torch.tensor(factor))

    def forward(self, x, offset=0.0):
        return x * self.factor + offset


# ---------------------------------------------------------------------- wrapped by hand
def test_a_wrapped_module_computes_what_it_computes():
    module = torch.nn.Linear(4, 2)
    layer, x = TorchModule(module), torch.randn(3, 4)
    assert torch.equal(layer(x), module(x))
    assert layer.name == "linear" and layer.count_params() == 10
    assert [tuple(w.shape) for w in layer.weights] == [(2, 4), (2,)]
    assert TorchModule(module, name="mine").name == "mine" and TorchModule(Scale()).name == "scale"


def test_arguments_go_through():
    layer = TorchModule(Scale())
    assert layer(torch.ones(2), offset=1.0).tolist() == [3.0, 3.0]
    assert layer(torch.ones(2), 1.0).tolist() == [3.0, 3.0]


def test_a_mask_argument_of_the_module_goes_through_too():
    class Masked(torch.nn.Module):
        def forward(self, x, mask=None):
            return x if mask is None else x * mask

    assert TorchModule(Masked())(torch.ones(2), mask=torch.tensor([1, 0])).tolist() == [1.0, 0.0]


def test_data_are_converted_for_the_weights_of_the_module():
    layer = TorchModule(torch.nn.Linear(4, 2))
    for x in (np.ones((1, 4)), torch.ones(1, 4, dtype=torch.float64)):
        for _ in range(2):
            assert layer(x).dtype is torch.float32
    assert layer.double()(torch.ones(1, 4)).dtype is torch.float64


def test_a_frozen_wrapper_freezes_its_module():
    layer = TorchModule(torch.nn.Linear(4, 2), trainable=False)
    layer(torch.ones(1, 4))
    assert layer.trainable_weights == [] and not layer.module.weight.requires_grad


@pytest.mark.parametrize("value", [torch.nn.Linear, len, 3])
def test_what_is_no_module_is_refused(value):
    with pytest.raises(ArgumentError, match="TorchModule wraps a torch.nn.Module") as caught:
        TorchModule(value)
    assert ("pass an object, not its class" if isinstance(value, type) else "use Lambda") in str(caught.value)


def test_errors_of_the_module_get_a_note():
    layer = TorchModule(torch.nn.Linear(4, 2), name="head")
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied") as caught:
        layer(torch.ones(1, 3))
    assert "In layer 'head' (TorchModule), called on (1, 3)." in getattr(caught.value, "__notes__", caught.value.args)


# ---------------------------------------------------------------------- in a graph
def test_a_module_called_on_a_symbolic_tensor_is_a_layer_of_the_graph():
    linear, norm = torch.nn.Linear(4, 3), torch.nn.BatchNorm1d(3)
    x = Input((4,))
    model = Model(x, torch.relu(norm(linear(x))))
    assert [layer.name for layer in model.layers] == ["input_layer", "linear", "batch_norm1d"]
    assert isinstance(model.layers[1], TorchModule) and model.layers[1].module is linear
    assert {id(p) for p in model.parameters()} == {id(p) for p in [*linear.parameters(), *norm.parameters()]}
    data = torch.randn(5, 4)
    torch.testing.assert_close(model(data), torch.relu(norm(linear(data))))


def test_a_module_used_twice_is_one_layer():
    linear = torch.nn.Linear(4, 4)
    x = Input((4,))
    model = Model(x, add([linear(linear(x)), torch.nn.Linear(4, 4)(x)]))
    assert [layer.name for layer in model.layers] == ["input_layer", "linear", "linear_1", "add"]
    assert len(model.weights) == 4


def test_several_inputs_keywords_and_outputs_of_a_module():
    class Both(torch.nn.Module):
        def forward(self, pair, factor=1.0, *, extra):
            return {"sum": (pair[0] + pair[1]) * factor, "extra": extra}

    x, y = Input((4,)), Input((4,))
    found = Both()([x, y], factor=3.0, extra=x)
    outputs = Model([x, y], found)([torch.ones(1, 4), torch.ones(1, 4)])
    assert outputs["sum"].tolist() == [[6.0] * 4] and outputs["extra"].tolist() == [[1.0] * 4]


def test_a_containers_modules_are_one_layer():
    stack = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU(), torch.nn.Linear(3, 2))
    x = Input((4,))
    model = Model(x, stack(x))
    assert len(model.layers) == 2 and model.output_shape == (None, 2)


def test_modes_follow_the_model():
    x = Input((4,))
    drop, norm = torch.nn.Dropout(0.5), torch.nn.BatchNorm1d(4)
    model = Model(x, norm(drop(x)))
    assert not drop.training and not norm.training
    model.train()
    assert drop.training and norm.training
    model.eval()
    data = torch.randn(8, 4)
    assert torch.equal(model(data), model(data))
    assert not torch.equal(model(data, training=True), model(data, training=True))
    assert not norm.training and norm.num_batches_tracked == 2
    model.train()
    late = Model(y := Input((4,)), model(y))
    assert drop.training and not late.training


def test_a_sequential_takes_modules():
    model = Sequential([Input((4,)), torch.nn.Linear(4, 3), torch.nn.Dropout(0.5), Dense(2), torch.nn.Flatten()])
    assert model.output_shape == (None, 2)
    assert [layer.name for layer in model.layers] == ["linear", "dropout", "dense", "flatten"]
    assert not any(module.training for module in model.modules())
    assert torch.equal(model(torch.ones(1, 4)), model(torch.ones(1, 4)))
    assert list(model.state_dict())[:2] == ["linear.module.weight", "linear.module.bias"]


def test_a_sequential_in_training_takes_modules_into_training():
    model = Sequential([Input((4,))])
    model.train()
    model.add(torch.nn.Dropout(0.5))
    assert model.layers[0].module.training


LAZY = {
    "linear": lambda: torch.nn.LazyLinear(3),
    "convolution": lambda: torch.nn.LazyConv1d(3, 5),
    "normalization": torch.nn.LazyBatchNorm1d,
}


@pytest.mark.parametrize("kind", LAZY)
def test_a_lazy_module_makes_its_weights_when_its_shape_is_known(kind):
    x = Input((7, 9))
    model = Model(x, LAZY[kind]()(x))
    assert not any(isinstance(p, torch.nn.parameter.UninitializedParameter) for p in model.parameters())
    assert model(torch.ones(2, 7, 9)).shape == (2, *model.output_shape[1:])
    assert Sequential([LAZY[kind](), Dense(2)])(torch.ones(2, 7, 9)).shape[-1] == 2


def test_the_weights_learn_in_a_plain_torch_loop():
    x = Input((4,))
    model = Model(x, torch.nn.Linear(8, 1)(Dense(8, "relu")(torch.nn.LayerNorm(4)(x))))
    data = torch.randn(64, 4)
    target = data[:, :1] - data[:, 1:2]
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    losses = []
    for _ in range(20):
        optimizer.zero_grad()
        loss = torch.nn.functional.mse_loss(model(data), target)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


# ---------------------------------------------------------------------- and nowhere else
def test_torchs_own_call_is_back_as_soon_as_a_model_is_complete():
    x = Input((4,))
    assert torch.nn.Module.__call__ is not PLAIN
    Model(x, torch.nn.Linear(4, 2)(x))
    assert torch.nn.Module.__call__ is PLAIN
    Sequential([Input((4,)), torch.nn.Linear(4, 2)])
    assert torch.nn.Module.__call__ is PLAIN
    model = Sequential()
    model.add(Input((4,)))
    model.add(Dense(2))
    assert torch.nn.Module.__call__ is PLAIN
    Sequential([Dense(2)])(torch.ones(1, 3))
    assert torch.nn.Module.__call__ is PLAIN
    for made in (copy.deepcopy(model), Sequential.from_config(model.get_config())):
        made(torch.ones(1, 4))
        assert torch.nn.Module.__call__ is PLAIN


def test_torchs_own_call_is_back_after_a_definition_that_fails():
    x, y = Input((4,)), Input((4,))
    with pytest.raises(GraphError, match="disconnected"):
        Model(x, Dense(2)(y))
    assert torch.nn.Module.__call__ is PLAIN
    with pytest.raises(ShapeError):
        Sequential([Input((4,)), Dense(2), Dense(2, input_shape=(9,)), BadSpec()])
    assert torch.nn.Module.__call__ is PLAIN


class BadSpec(Dense):
    """Takes what nobody gives."""

    def __init__(self):
        super().__init__(1)
        self.input_spec.min_ndim = 9


def test_a_definition_goes_on_after_a_model_inside_it_is_complete():
    x = Input((4,))
    block = Sequential([Input((4,)), Dense(4)])
    y = torch.nn.Linear(4, 2)(block(x))
    model = Model(x, y)
    assert [type(layer).__name__ for layer in model.layers] == ["InputLayer", "Sequential", "TorchModule"]


def test_a_module_called_after_the_definition_is_refused_and_not_taken_apart():
    x = Input((4,))
    code = Dense(4)(x)
    Model(x, code)
    for module in (torch.nn.Linear(4, 2), torch.nn.Sequential(Dense(3))):
        with pytest.raises(GraphError, match="was called on a symbolic tensor after a model was completed") as caught:
            module(code)
        assert f"TorchModule({type(module).__name__}(...))(x)" in str(caught.value)
    decoder = TorchModule(torch.nn.Linear(4, 2))(code)
    assert torch.nn.Linear(2, 1)(decoder).shape == (None, 1)  # a definition is under way again


def test_a_module_called_on_data_while_a_graph_is_defined_is_called_as_ever():
    linear = torch.nn.Linear(4, 2)
    Input((4,))
    assert linear(torch.ones(1, 4)).shape == (1, 2)
    assert "_lamina_layer" not in linear.__dict__


def test_as_layer_gives_one_layer_for_a_module_and_may_leave_its_mode():
    module, other, layer = torch.nn.Dropout(0.5), torch.nn.Dropout(0.5), Dense(2)
    assert as_layer(module, keep_mode=True) is as_layer(module) and module.training
    assert as_layer(other).module is other and not other.training
    assert as_layer(layer) is layer
