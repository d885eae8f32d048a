"""Single steps for loops of one's own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import lamina
from lamina import layers
from lamina.errors import ArgumentError, NotCompiledError, TargetError
from lamina.training.on_batch import modes_kept, results_of, to_inference

RNG = np.random.RandomState(0)
X = RNG.randn(6, 4).astype("float32")
Y = RNG.randn(6, 1).astype("float32")


def model(*middle: Any, **arguments: Any) -> Any:
    net = lamina.Sequential([layers.Input((4,)), *middle, layers.Dense(1)])
    net.compile(**{"optimizer": "sgd", "loss": "mse", **arguments})
    return net


# ---------------------------------------------------------------------- results
@pytest.mark.parametrize("call", ["train_on_batch", "test_on_batch"])
def test_results_come_as_a_number_a_list_or_a_dict(call):
    net = model()
    square = float(((net.predict(X, verbose=0) - Y) ** 2).mean())
    found = getattr(net, call)(X, Y)
    assert type(found) is float and found == pytest.approx(square, rel=1e-5)
    net = model(metrics=["mae"])
    predicted = net.predict(X, verbose=0)
    expected = {"loss": float(((predicted - Y) ** 2).mean()), "mae": float(np.abs(predicted - Y).mean())}
    assert getattr(net, call)(X, Y) == pytest.approx(list(expected.values()), rel=1e-5)
    net = model(metrics=["mae"])
    assert list(getattr(net, call)(X, Y, return_dict=True)) == ["loss", "mae"]


def test_results_are_those_of_one_batch():
    net = model(metrics=["mae"])
    first = net.test_on_batch(X[:3], Y[:3])
    net.test_on_batch(X[3:], Y[3:])
    assert net.test_on_batch(X[:3], Y[:3]) == first


@pytest.mark.parametrize(
    ("logs", "as_list", "as_dict"),
    [({"loss": 1.0}, 1.0, {"loss": 1.0}), ({"a": 1, "b": 2}, [1, 2], {"a": 1, "b": 2}), ({}, [], {})],
)
def test_the_form_of_results(logs, as_list, as_dict):
    assert results_of(logs, False) == as_list and results_of(logs, True) == as_dict


@pytest.mark.parametrize(
    ("returned", "expected"),
    [
        (torch.tensor(2.0), {"loss": 2.0}),
        (None, {}),
        ({"a": torch.tensor(1.0), "b": {"c": 3.0, "d": lambda: torch.tensor(4)}}, {"a": 1.0, "c": 3.0, "d": 4.0}),
    ],
)
def test_a_step_of_ones_own_may_return_what_it_likes(returned, expected):
    class Own(lamina.Sequential):
        def train_step(self, data):
            return returned

        test_step = train_step

    net = Own([layers.Input((4,)), layers.Dense(1)])
    net.compile("sgd", "mse")
    assert net.train_on_batch(X, Y, return_dict=True) == expected
    assert net.test_on_batch(X, Y, return_dict=True) == expected


# ---------------------------------------------------------------------- training
def test_a_constraint_holds_after_each_batch():
    net = lamina.Sequential([layers.Input((4,)), layers.Dense(1, kernel_constraint="non_neg")])
    net.compile(lamina.optimizers.SGD(1.0), "mse")
    free = lamina.Sequential([layers.Input((4,)), layers.Dense(1)])
    free.compile(lamina.optimizers.SGD(1.0), "mse")
    free.set_weights(net.get_weights())
    for each in (net, free):
        each.train_on_batch(X, -10 * X[:, :1])
    assert free.get_weights()[0].min() < 0
    np.testing.assert_allclose(net.get_weights()[0], np.maximum(free.get_weights()[0], 0))


def test_batches_one_by_one_train_as_fit_does():
    net, twin = model(optimizer="adam"), model(optimizer="adam")
    twin.set_weights(net.get_weights())
    net.fit(X, Y, batch_size=3, epochs=2, shuffle=False, verbose=0)
    for _ in range(2):
        for start in (0, 3):
            twin.train_on_batch(X[start : start + 3], Y[start : start + 3])
    for one, other in zip(net.get_weights(), twin.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_class_weights_are_sample_weights():
    labels = np.array([0, 1, 1, 0, 1, 0])
    results = []
    for weights in ({"class_weight": {0: 1.0, 1: 3.0}}, {"sample_weight": np.where(labels, 3.0, 1.0)}):
        torch.manual_seed(0)
        results.append(model(loss="binary_crossentropy").train_on_batch(X, labels, **weights))
    assert results[0] == results[1] != model(loss="binary_crossentropy").train_on_batch(X, labels)


@pytest.mark.parametrize("kind", [np.asarray, torch.from_numpy, np.ndarray.tolist])
def test_a_batch_may_be_arrays_tensors_or_lists(kind):
    net = model()
    assert net.test_on_batch(kind(X), kind(Y)) == pytest.approx(net.test_on_batch(X, Y))
    np.testing.assert_array_equal(net.predict_on_batch(kind(X)), net.predict(X, verbose=0))


def test_a_batch_is_never_split():
    rows = []
    net = model(layers.Lambda(lambda x: (rows.append(len(x)), x)[1]))
    rows.clear()
    many = np.zeros((1000, 4), "float32")
    net.train_on_batch(many, many[:, :1])
    net.test_on_batch(many, many[:, :1])
    net.predict_on_batch(many)
    assert rows == [1000] * 3


# ---------------------------------------------------------------------- prediction
def test_predictions_have_the_form_of_the_outputs_and_memory_of_their_own():
    x = layers.Input((4,))
    net = lamina.Model(x, {"same": layers.Identity()(x), "twice": [x * 2]})
    given = X.copy()
    found = net.predict_on_batch(given)
    np.testing.assert_array_equal(found["twice"][0], 2 * X)
    found["same"][:] = 0
    np.testing.assert_array_equal(given, X)


def test_predict_on_batch_needs_no_compile_and_no_gradient():
    net = lamina.Sequential([layers.Input((4,)), layers.Dense(1), layers.Dropout(0.5)])
    net.train()
    np.testing.assert_array_equal(net.predict_on_batch(X), net.predict_on_batch(X))
    assert net.training


def test_an_overridden_prediction_step_gets_the_same_data_everywhere():
    seen = []

    class Own(lamina.Model):
        def predict_step(self, data):
            seen.append(data)
            return data if isinstance(data, torch.Tensor) else data[0][0]

    net = Own()
    for x in (X, [X, X]):
        seen.clear()
        net.predict(x, verbose=0)
        net.predict_on_batch(x)
        one, other = seen
        assert type(one) is type(other) and len(one) == len(other)
    assert isinstance(seen[0], tuple) and isinstance(seen[0][0], list)


# ---------------------------------------------------------------------- modes
class Modes(lamina.Layer):
    """Notes the mode and whether gradients are recorded."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Any] = ["start"]

    def call(self, x):
        self.seen.append((self.training, torch.is_grad_enabled()))
        return x


def test_each_step_has_its_mode_and_puts_it_back():
    layer = Modes()
    net = model(layer)
    for before in (True, False):
        net.train(before)
        layer.seen.clear()
        net.train_on_batch(X, Y)
        net.test_on_batch(X, Y)
        net.predict_on_batch(X)
        assert layer.seen == [(True, True), (False, False), (False, False)]
        assert all(module.training is before for module in net.modules())


@pytest.mark.parametrize("call", ["train_on_batch", "test_on_batch"])
def test_modes_are_put_back_after_an_error(call):
    net = model(loss="sparse_categorical_crossentropy")
    net.train(call == "test_on_batch")
    with pytest.raises(TargetError):
        getattr(net, call)(X, Y)
    assert all(module.training is (call == "test_on_batch") for module in net.modules())


def test_a_module_that_is_added_meanwhile_takes_the_mode_of_the_model():
    net = torch.nn.Sequential(torch.nn.Linear(1, 1))
    with modes_kept(net):
        net.eval()
        net.append(torch.nn.ReLU().eval())
    assert net.training and net[0].training and net[1].training


def test_a_frozen_part_keeps_the_mode_that_it_had():
    net = torch.nn.Sequential(torch.nn.BatchNorm1d(1).eval(), torch.nn.Linear(1, 1))
    with modes_kept(net):
        to_inference(net)
        assert not any(module.training for module in net.modules())
    assert [module.training for module in net.modules()] == [True, False, True]


# ---------------------------------------------------------------------- mistakes
@pytest.mark.parametrize(("call", "what"), [("train_on_batch", "be trained"), ("test_on_batch", "be evaluated")])
def test_a_step_needs_compile(call, what):
    with pytest.raises(NotCompiledError, match=rf"cannot {what} before compile\(\)"):
        getattr(lamina.Sequential([layers.Input((4,)), layers.Dense(1)]), call)(X, Y)


def test_both_kinds_of_weights_are_refused():
    with pytest.raises(ArgumentError, match="takes sample_weight or class_weight"):
        model().train_on_batch(X, Y, sample_weight=Y[:, 0], class_weight={0: 1.0})


def test_compiled_says_whether_compile_has_been_called():
    net = lamina.Sequential([layers.Input((4,)), layers.Dense(1)])
    assert not net.compiled
    net.compile()
    assert net.compiled
