"""`evaluate` and `predict`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import lamina
from lamina import layers
from lamina.callbacks import Callback
from lamina.callbacks.base import HOOKS, CallbackList
from lamina.errors import DataError, NotCompiledError, ShapeError
from lamina.training.evaluation import callback_list

RNG = np.random.RandomState(0)
X = RNG.randn(50, 4).astype("float32")
Y = RNG.randn(50, 1).astype("float32")


def model(**arguments: Any) -> Any:
    net = lamina.Sequential([layers.Input((4,)), layers.Dense(3, activation="tanh"), layers.Dense(1)])
    net.compile(**{"optimizer": "sgd", "loss": "mse", **arguments})
    return net


def square(net: Any, x: np.ndarray = X, y: np.ndarray = Y) -> float:
    return float(((net.predict(x, verbose=0) - y) ** 2).mean())


class Recorder(Callback):
    """Notes each hook that is called, with the names or the number in its arguments."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Any] = []
        self.closed = False

    def close(self) -> None:
        self.closed = True


def _record(hook: str) -> Any:
    def method(self, *args, logs=None, **kwargs):
        logs = logs if logs is not None else (args[-1] if args and isinstance(args[-1], dict) else None)
        number = [arg for arg in args if isinstance(arg, int)]
        self.calls.append((hook, *number, *([sorted(logs)] if logs else [])))

    return method


for hook in HOOKS:
    if hook not in ("on_batch_begin", "on_batch_end"):
        setattr(Recorder, hook, _record(hook))


# ---------------------------------------------------------------------- evaluate
@pytest.mark.parametrize("size", [None, 1, 7, 50, 1000])
def test_the_loss_is_that_of_all_samples_whatever_the_batches(size):
    net = model(metrics=["mae"])
    found = net.evaluate(X, Y, batch_size=size, verbose=0)
    assert found == pytest.approx([square(net), float(np.abs(net.predict(X, verbose=0) - Y).mean())], rel=1e-5)


def test_results_come_as_a_number_a_list_or_a_dict():
    assert type(model().evaluate(X, Y, verbose=0)) is float
    assert [type(value) for value in model(metrics=["mae"]).evaluate(X, Y, verbose=0)] == [float, float]
    found = model(metrics=["mae"]).evaluate(X, Y, verbose=0, return_dict=True)
    assert type(found) is dict and list(found) == ["loss", "mae"]


def test_each_evaluation_starts_anew():
    net = model(metrics=["mae"])
    first = net.evaluate(X, Y, verbose=0)
    net.evaluate(X[:5], Y[:5] + 100, verbose=0)
    assert net.evaluate(X, Y, verbose=0) == first


def test_steps_limit_what_is_seen():
    net = model()
    assert net.evaluate(X, Y, batch_size=5, steps=3, verbose=0) == pytest.approx(square(net, X[:15], Y[:15]), rel=1e-5)


def batches():
    for start in range(0, 50, 10):
        yield X[start : start + 10], Y[start : start + 10]


def test_a_generator_is_gone_through_once_or_for_some_steps():
    net = model()
    assert net.evaluate(batches(), verbose=0) == pytest.approx(square(net), rel=1e-5)
    assert net.evaluate(batches(), steps=2, verbose=0) == pytest.approx(square(net, X[:20], Y[:20]), rel=1e-5)
    with pytest.raises(DataError, match="The data ran out"):
        net.evaluate(batches(), steps=6, verbose=0)


def test_sample_weights_weigh():
    net, weights = model(), np.arange(50.0)
    errors = ((net.predict(X, verbose=0) - Y) ** 2)[:, 0]
    found = net.evaluate(X, Y, sample_weight=weights, batch_size=50, verbose=0)
    assert found == pytest.approx(float((errors * weights).mean()), rel=1e-5)


def test_callbacks_hear_of_the_evaluation():
    recorder = Recorder()
    net = model(metrics=["mae"])
    net.evaluate(X, Y, batch_size=25, verbose=0, callbacks=[recorder])
    names = ["loss", "mae"]
    assert recorder.calls == [
        ("on_test_begin",),
        ("on_test_batch_begin", 0),
        ("on_test_batch_end", 0, names),
        ("on_test_batch_begin", 1),
        ("on_test_batch_end", 1, names),
        ("on_test_end", names),
    ]
    assert recorder.model is net and recorder.params["steps"] == 2 and recorder.closed


def test_an_evaluation_changes_nothing():
    net = lamina.Sequential([layers.Input((4,)), layers.BatchNormalization(), layers.Dropout(0.5), layers.Dense(1)])
    net.compile("sgd", "mse")
    net.train()
    before = net.get_weights()
    assert net.evaluate(X, Y, verbose=0) == net.evaluate(X, Y, verbose=0)
    assert net.training and all(np.array_equal(a, b) for a, b in zip(net.get_weights(), before, strict=True))


def test_a_line_is_printed_unless_asked_otherwise(capsys):
    net = model(metrics=["mae"])
    loss, error = net.evaluate(X, Y, batch_size=10)
    out = capsys.readouterr().out
    assert out.count("\n") == 1 and f"loss: {loss:.4f}" in out and f"mae: {error:.4f}" in out and "5/5" in out
    assert not {"\r", "\b", "\x1b"} & set(out)
    net.evaluate(X, Y, verbose=0)
    assert capsys.readouterr().out == ""


class Failing(lamina.utils.PyDataset):
    """Breaks at its second batch."""

    def __len__(self):
        return 3

    def __getitem__(self, index):
        if index == 1:
            raise OSError("the disk is gone")
        return X[:10], Y[:10]


@pytest.mark.parametrize("call", ["evaluate", "predict"])
def test_after_an_error_callbacks_are_closed_and_modes_are_back(call):
    recorder, net = Recorder(), model()
    net.train()
    with pytest.raises(OSError, match="the disk is gone"):
        getattr(net, call)(Failing(), verbose=0, callbacks=[recorder])
    assert recorder.closed and net.training and torch.is_grad_enabled()


def test_a_model_must_be_compiled():
    net = lamina.Sequential([layers.Input((4,)), layers.Dense(1)])
    with pytest.raises(NotCompiledError, match=r"cannot be evaluated before compile\(\)"):
        net.evaluate(X, Y)


# ---------------------------------------------------------------------- predict
@pytest.mark.parametrize("size", [None, 1, 7, 50, 1000])
def test_predictions_are_those_of_the_model_in_order(size):
    net = model()
    with torch.no_grad():
        expected = net(torch.from_numpy(X)).numpy()
    np.testing.assert_allclose(net.predict(X, batch_size=size, verbose=0), expected, rtol=1e-5, atol=1e-6)


def test_predictions_need_no_compile_and_no_targets():
    net = lamina.Sequential([layers.Input((4,)), layers.Dense(1)])
    # Batches of equal sizes, since a product may round otherwise for another number of rows.
    tens, expected = net.predict(X, batch_size=10, verbose=0), net.predict(X, verbose=0)
    np.testing.assert_array_equal(net.predict(batches(), batch_size=None, verbose=0), tens)
    data = torch.utils.data.TensorDataset(torch.from_numpy(X), torch.from_numpy(Y))
    np.testing.assert_array_equal(net.predict(data, verbose=0), expected)


def test_steps_limit_what_is_predicted():
    assert model().predict(X, batch_size=4, steps=3, verbose=0).shape == (12, 1)


def test_callbacks_get_the_predictions_of_each_batch():
    class Collector(Recorder):
        def on_predict_batch_end(self, batch, logs=None):
            self.calls.append(logs["outputs"].numpy())

    collector = Collector()
    found = model().predict(X, batch_size=30, verbose=0, callbacks=[collector])
    assert collector.calls[:2] == [("on_predict_begin",), ("on_predict_batch_begin", 0)]
    assert collector.calls[-1] == ("on_predict_end",) and collector.closed
    np.testing.assert_array_equal(np.concatenate([c for c in collector.calls if isinstance(c, np.ndarray)]), found)


def test_predicting_records_no_gradient_and_uses_inference_mode():
    seen = []
    net = lamina.Sequential([layers.Input((4,)), layers.Lambda(lambda x: x), layers.Dropout(0.9)])
    net.layers[0].register_forward_hook(lambda m, a, o: seen.append((m.training, torch.is_grad_enabled())))
    net.train()
    np.testing.assert_array_equal(net.predict(X, verbose=0), X)
    assert set(seen) == {(False, False)} and net.training


def test_outputs_of_different_lengths_are_refused():
    net = lamina.Sequential([layers.Input((None, 2)), layers.Identity()])
    lengths = ((np.zeros((2, length, 2), "float32"),) for length in (3, 4))
    with pytest.raises(ShapeError, match="The outputs of the batches cannot be joined") as caught:
        net.predict(lengths, verbose=0)
    assert caught.value.received == "(2, 3, 2), (2, 4, 2)"


@pytest.mark.parametrize("call", ["evaluate", "predict"])
def test_no_data_are_an_error(call):
    with pytest.raises(DataError, match="empty"):
        getattr(model(), call)(iter(()), verbose=0)


def test_a_line_is_printed_for_predictions(capsys):
    model().predict(X, batch_size=10)
    out = capsys.readouterr().out
    assert out.count("\n") == 1 and "5/5" in out
    model().predict(X, verbose=0)
    assert capsys.readouterr().out == ""


# ---------------------------------------------------------------------- callbacks
def test_a_list_of_callbacks_that_is_ready_is_used_as_it_is():
    ready = CallbackList([])
    assert callback_list(ready, model(), 1, epochs=1, steps=1) is ready


def test_a_list_of_callbacks_gets_what_it_lacks():
    names = {
        (verbose, history): {type(c).__name__ for c in callback_list([], model(), verbose, 1, 1, history)}
        for verbose in (0, 1)
        for history in (False, True)
    }
    assert names == {
        (0, False): set(),
        (1, False): {"ProgbarLogger"},
        (0, True): {"History"},
        (1, True): {"ProgbarLogger", "History"},
    }


def test_weights_that_a_callback_changes_behind_torchs_back_are_used_at_once():
    layer = layers.Dense(64, use_bias=False, kernel_initializer="ones")
    model = lamina.Sequential([layers.Input((256,)), layer])
    model.compile(loss="mse")
    x, y = np.ones((128, 256), "float32"), np.full((128, 64), 256.0, "float32")

    class Zero(Callback):
        def on_test_batch_begin(self, batch, logs=None):
            if batch == 1:
                layer.kernel.data.zero_()

    assert model.evaluate(x, y, batch_size=64, verbose=0) == 0.0
    assert model.evaluate(x, y, batch_size=64, verbose=0, callbacks=[Zero()]) == 256.0**2 / 2
