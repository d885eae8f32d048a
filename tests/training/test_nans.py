"""The first layer whose output is not finite."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import lamina
from lamina import layers
from lamina.errors import NonFiniteError
from lamina.training.nans import check_loss, watched


def spoil(x: torch.Tensor) -> torch.Tensor:
    """NaN everywhere."""
    return torch.log(-x * x - 1)


def chain(*middle: Any, **names: Any) -> Any:
    return lamina.Sequential([layers.Input((4,)), layers.Dense(3, name="first"), *middle], **names)


def run(model: torch.nn.Module, x: Any = None) -> NonFiniteError:
    """The error that a call of `model` raises."""
    with pytest.raises(NonFiniteError) as caught, watched(model, True):
        model(torch.ones(2, 4) if x is None else x)
    return caught.value


def test_a_model_without_fault_passes():
    model = chain(layers.Dense(2))
    with watched(model, True):
        assert model(torch.ones(2, 4)).shape == (2, 2)


def test_nothing_is_watched_unless_asked():
    model = chain(layers.Lambda(spoil))
    with watched(model, False):
        assert not model._forward_hooks and torch.isnan(model(torch.ones(2, 4))).all()


def test_afterwards_nothing_is_watched():
    model = chain(layers.Lambda(spoil))
    run(model)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    assert torch.isnan(model(torch.ones(2, 4))).all()


def test_the_layer_and_the_numbers_are_named():
    model = chain(layers.Lambda(spoil, name="culprit"), layers.Dense(1, name="after"), name="net")
    error = run(model)
    assert str(error).splitlines() == [
        "Layer 'net/culprit': The output of Lambda 'culprit' is the first that is not finite.",
        "  expected: finite numbers",
        "  received: 6 NaN and 0 infinite of 6 values; its input and weights were finite",
        "  fix:      check the function it computes for log(0) or 1/0",
    ]


@pytest.mark.parametrize(("value", "counts"), [(np.nan, "1 NaN and 0 infinite"), (np.inf, "0 NaN and 1 infinite")])
def test_nan_and_infinity_are_told_apart(value, counts):
    def add(x):
        spoiled = torch.zeros_like(x)
        spoiled[0, 0] = value
        return x + spoiled

    assert f"{counts} of 6 values" in run(chain(layers.Lambda(add))).received


@pytest.mark.parametrize("name", ["kernel", "bias"])
def test_weights_that_are_not_finite_are_blamed(name):
    model = chain(layers.Dense(2, name="second"), name="net")
    with torch.no_grad():
        getattr(model.get_layer("second"), name)[0] = np.inf
    error = run(model)
    assert error.path == ["net", "second"] and f"its weights {name} were not finite" in error.received
    assert "clipnorm" in error.fix


def test_statistics_that_are_not_finite_are_blamed():
    model = chain(layers.BatchNormalization(name="norm"))
    model.get_layer("norm").moving_mean.fill_(np.nan)
    assert "its weights moving_mean were not finite" in run(model).received


def test_data_that_are_not_finite_are_blamed():
    error = run(chain(layers.Dense(2), name="net"), torch.tensor([[1.0, 2.0, np.nan, 4.0]]))
    assert error.path == ["net", "first"] and error.received.endswith("its input was not finite either")
    assert "look for NaN in the data" in error.fix


def test_a_function_between_two_layers_is_found_by_the_layer_after_it():
    x = layers.Input((4,))
    model = lamina.Model(x, layers.Dense(1, name="after")(spoil(layers.Dense(3, name="before")(x))), name="net")
    error = run(model)
    assert (
        error.path == ["net", "after"] and "though the data are: a function before the layer gave it" in error.received
    )
    assert "between this layer and the one before" in error.fix


def test_a_function_at_the_end_is_found_by_the_model_itself():
    x = layers.Input((4,))
    error = run(lamina.Model(x, spoil(layers.Dense(3)(x)), name="net"))
    assert str(error).startswith("The output of Functional 'net' is the first that is not finite.")


class Block(lamina.Layer):
    """A layer with another one inside, and a function of its own after it."""

    def __init__(self, function: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.inner = layers.Dense(3, name="inner")
        self.function = function

    def call(self, x):
        return self.function(self.inner(x))


def test_the_innermost_layer_is_named_with_the_way_to_it():
    model = lamina.Sequential([layers.Input((4,)), Block(lambda x: x, name="block")], name="net")
    model.build((None, 4))
    with torch.no_grad():
        model.get_layer("block").inner.kernel.fill_(np.nan)
    assert str(run(model)).startswith("Layer 'net/block/inner': The output of Dense 'inner' is the first")


def test_what_a_layer_does_around_its_inner_ones_is_its_own_fault():
    error = run(chain(Block(spoil, name="block"), layers.Dense(1, name="after"), name="net"))
    assert error.path == ["net", "block"] and "its input and weights were finite" in error.received


def test_a_recurrent_layer_that_never_calls_its_cell_is_named():
    model = lamina.Sequential(
        [layers.Input((5, 2)), layers.LSTM(3, name="lstm"), layers.Dense(1, name="after")], name="net"
    )
    with torch.no_grad():
        model.get_layer("lstm").weights[0].fill_(np.nan)
    error = run(model, torch.ones(1, 5, 2))
    assert error.path[:2] == ["net", "lstm"] and "were not finite" in error.received


def test_modules_of_torch_are_watched_too():
    model = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.Softplus())
    with torch.no_grad():
        model[0].bias.fill_(np.nan)
    assert str(run(model)).startswith("Layer '0': The output of Linear 'Linear' is the first")
    assert run(torch.nn.Sequential(torch.nn.ReLU(), model)).path == ["1", "0"]
    inside = lamina.Sequential([layers.Input((4,)), layers.TorchModule(model, name="wrapped")], name="net")
    assert run(inside).path == ["net", "wrapped", "module", "0"]
    assert run(torch.nn.Sequential(inside)).path == ["net", "wrapped", "module", "0"]


def test_outputs_in_nests_and_of_whole_numbers_are_looked_through():
    class Split(lamina.Layer):
        def call(self, x):
            return {"good": x, "rest": (x.argmax(-1), [x / 0])}

    model = lamina.Sequential([layers.Input((4,)), Split(name="split")])
    assert "6 NaN and 2 infinite of 18 values" in run(model, torch.eye(4)[:2]).received


@pytest.mark.parametrize("deferred", [False, True])
def test_a_model_that_is_built_by_the_first_batch_can_be_watched(deferred):
    # The layers inside a wrapped one are built by a run on tensors without values, which must not be judged.
    inner = [layers.TimeDistributed(Block(lambda x: x)), layers.Lambda(spoil, name="culprit")]
    model = lamina.Sequential(inner if deferred else [layers.Input((3, 4)), *inner], name="net")
    assert run(model, torch.ones(2, 3, 4)).path == ["net", "culprit"]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_loss_that_is_not_finite_is_refused(value):
    with pytest.raises(NonFiniteError, match="The loss is not finite, though every layer's output is") as caught:
        check_loss(torch.tensor(value))
    assert caught.value.received == str(value)


@pytest.mark.parametrize("loss", [torch.tensor(0.0), torch.tensor(1e30), torch.tensor(3)])
def test_a_finite_loss_passes(loss):
    check_loss(loss)


# ---------------------------------------------------------------------- within training
X, Y = np.ones((8, 4), "float32"), np.ones((8, 1), "float32")


def compiled(*middle: Any, **arguments: Any) -> Any:
    model = chain(*middle, layers.Dense(1))
    model.compile("sgd", "mse", debug_nans=True, **arguments)
    return model


@pytest.mark.parametrize("call", ["fit", "evaluate", "train_on_batch", "test_on_batch"])
def test_debug_nans_finds_the_layer_wherever_the_model_runs(call):
    with pytest.raises(NonFiniteError, match="Lambda 'culprit' is the first"):
        getattr(compiled(layers.Lambda(spoil, name="culprit")), call)(X, Y)


@pytest.mark.parametrize("call", ["fit", "train_on_batch"])
def test_targets_that_are_not_finite_do_not_reach_the_weights(call):
    model = compiled()
    before = model.get_weights()
    with pytest.raises(NonFiniteError, match="The loss is not finite") as caught:
        getattr(model, call)(X, Y * np.nan)
    assert "check the targets" in caught.value.fix
    for one, other in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_step_of_ones_own_is_checked_after_it():
    class Own(lamina.Sequential):
        def train_step(self, data):
            return {"loss": torch.tensor(np.nan)}

    model = Own([layers.Input((4,)), layers.Dense(1)])
    model.compile("sgd", "mse", debug_nans=True)
    with pytest.raises(NonFiniteError, match="The loss is not finite"):
        model.train_on_batch(X, Y)
