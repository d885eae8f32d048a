"""What one batch does, and the metrics that a model keeps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import lamina
from lamina import layers, metrics
from lamina.callbacks.lazy_logs import LazyLogs
from lamina.errors import ArgumentError, DataError, NotCompiledError

X = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
Y = torch.randn(6, 1, generator=torch.Generator().manual_seed(1))
WEIGHTS = torch.arange(6.0)


def linear(*before: Any, **dense: Any) -> Any:
    return lamina.Sequential([layers.Input((4,)), *before, layers.Dense(1, name="dense", **dense)])


def compiled(model: Any = None, loss: Any = "mse", **arguments: Any) -> Any:
    model = model or linear()
    model.compile(**{"optimizer": lamina.optimizers.SGD(0.1), "loss": loss, **arguments})
    return model


# ---------------------------------------------------------------------- steps
@pytest.mark.parametrize("data", [(X, Y), [X, Y], (X, Y, None), ({"input_layer": X}, [Y])], ids=range(4))
def test_a_training_step_follows_the_gradient(data):
    model = compiled()
    kernel, bias = (w.detach().clone().requires_grad_() for w in model.weights)
    loss = ((X @ kernel + bias - Y) ** 2).mean()
    loss.backward()
    logs = model.train_step(data)
    assert dict(logs) == {"loss": pytest.approx(loss.item(), rel=1e-5)}
    np.testing.assert_allclose(model.get_weights()[0], (kernel - 0.1 * kernel.grad).detach(), rtol=1e-5)
    np.testing.assert_allclose(model.get_weights()[1], (bias - 0.1 * bias.grad).detach(), rtol=1e-5)


def test_a_training_step_uses_sample_weights():
    model = compiled()
    errors = (model(X) - Y)[:, 0] ** 2
    assert model.train_step((X, Y, WEIGHTS))["loss"] == pytest.approx((errors * WEIGHTS).mean().item(), rel=1e-5)


def test_gradients_do_not_add_up_over_steps():
    model, twin = compiled(), compiled()
    twin.set_weights(model.get_weights())
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, 100.0)
    model.train_step((X, Y))
    twin.train_step((X, Y))
    np.testing.assert_array_equal(model.get_weights()[0], twin.get_weights()[0])


def test_a_test_step_changes_no_weight_and_leaves_no_gradient():
    model = compiled()
    before, expected = model.get_weights(), ((model(X) - Y) ** 2).mean().item()
    with torch.no_grad():
        assert model.test_step((X, Y))["loss"] == pytest.approx(expected, rel=1e-5)
    np.testing.assert_array_equal(model.get_weights()[0], before[0])
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize("data", [X, (X,), (X, Y), (X, Y, WEIGHTS), [X]], ids=range(5))
def test_a_prediction_step_needs_the_inputs_alone(data):
    model = linear()
    assert torch.equal(model.predict_step(data), model(X))


@pytest.mark.parametrize("step", ["train_step", "test_step", "predict_step"])
def test_a_batch_of_four_parts_cannot_be_taken_apart(step):
    with pytest.raises(DataError, match="A batch cannot be taken apart"):
        getattr(compiled(), step)((X, Y, WEIGHTS, X))


def test_the_loss_of_an_epoch_weighs_batches_by_their_size():
    model = compiled()
    for x, y in ((X[:4], Y[:4]), (X[4:], Y[4:])):
        logs = model.test_step((x, y))
    assert logs["loss"] == pytest.approx(((model(X) - Y) ** 2).mean().item(), rel=1e-5)


@pytest.mark.parametrize("nest", [lambda x: [x, x], lambda x: {"a": x, "b": x}, lambda x: ([x], {"c": x})])
def test_the_size_of_a_batch_is_found_in_a_nest(nest):
    class Sum(lamina.Model):
        def __init__(self):
            super().__init__()
            self.dense = layers.Dense(1)

        def call(self, inputs):
            return self.dense(sum(torch.utils._pytree.tree_leaves(inputs)))

    model = compiled(Sum())
    for x, y in ((X[:4], Y[:4]), (X[4:], Y[4:])):
        logs = model.test_step((nest(x), y))
    assert logs["loss"] == pytest.approx(((model(nest(X)) - Y) ** 2).mean().item(), rel=1e-5)


# ---------------------------------------------------------------------- what stands in the way
def test_a_step_needs_a_compiled_model():
    with pytest.raises(NotCompiledError, match=r"Sequential 'sequential' cannot compute a loss before compile\(\)"):
        linear().train_step((X, Y))
    with pytest.raises(NotCompiledError, match=r"cannot compute a loss before compile\(\)"):
        linear().compute_loss(y=Y, y_pred=Y)


def test_training_needs_an_optimizer_and_evaluation_none():
    model = compiled(optimizer=None)
    assert model.test_step((X, Y))["loss"] > 0
    with pytest.raises(NotCompiledError, match="has no optimizer to train it") as caught:
        model.fit(X, Y, verbose=0)
    assert "compile(optimizer='adam'" in caught.value.fix


@pytest.mark.parametrize("arguments", [{}, {"metrics": ["accuracy"]}, {"metrics": ["mae"]}], ids=str)
@pytest.mark.parametrize("call", ["fit", "evaluate", "train_on_batch"])
def test_a_loss_without_targets_is_refused_in_clear_words(call, arguments):
    with pytest.raises(DataError, match="There are no targets for the loss"):
        getattr(compiled(**arguments), call)(X)


@pytest.mark.parametrize("loss", [None, [None], {}, {"dense": None}], ids=str)
def test_no_loss_at_all_is_refused(loss):
    with pytest.raises(ArgumentError, match="There is no loss to train on"):
        compiled(loss=loss).train_step((X, Y))


def test_nothing_to_train_is_refused_at_any_time():
    model = compiled()
    model.trainable = False
    words = "There is nothing to train: the loss depends on no trainable weight"
    with pytest.raises(ArgumentError, match=words) as caught:
        model.fit(X, Y, verbose=0)
    assert caught.value.received == "0 trainable weights in the model"
    model.trainable = True
    model.fit(X, Y, verbose=0)
    model.trainable = False
    with pytest.raises(ArgumentError, match=words):
        model.fit(X, Y, verbose=0)
    model.trainable = True
    with torch.no_grad(), pytest.raises(ArgumentError, match=words) as caught:
        model.fit(X, Y, verbose=0)
    assert "torch.no_grad()" in caught.value.fix


# ---------------------------------------------------------------------- the loss
class Penalty(lamina.Layer):
    """Adds the mean square of what passes."""

    def call(self, x):
        self.add_loss(torch.mean(x * x))
        return x


def test_the_loss_is_that_of_the_outputs_the_weights_and_the_layers():
    model = compiled(linear(Penalty(), kernel_regularizer=lamina.regularizers.L2(0.5)))
    y_pred = model(X)
    expected = ((y_pred - Y) ** 2).mean() + 0.5 * (model.weights[0] ** 2).sum() + (X * X).mean()
    found = model.compute_loss(X, Y, y_pred)
    assert found.shape == () and found.item() == pytest.approx(expected.item(), rel=1e-5)


def test_layers_alone_may_give_the_loss():
    for loss in (None, "mse"):
        model = compiled(linear(Penalty()), loss=loss, metrics=["accuracy"])
        assert model.evaluate(X, verbose=0, return_dict=True)["loss"] == pytest.approx(float((X * X).mean()), rel=1e-5)


def test_metrics_are_matched_when_targets_come():
    """A first batch without targets, as losses of layers allow it, does not fix the form of the outputs."""
    model = compiled(linear(Penalty()), loss="mse", metrics=["mae"])
    model.evaluate(X, verbose=0)
    assert model.metrics_names == ["loss"]
    found = model.evaluate(X, Y, verbose=0, return_dict=True)
    assert found["mae"] == pytest.approx((model(X) - Y).abs().mean().item(), rel=1e-5)


def test_a_penalty_that_was_there_before_compile_counts_after_compiling_again():
    model = compiled(linear(kernel_regularizer="l2"))
    first = model.evaluate(X, Y, verbose=0)
    plain = ((model(X) - Y) ** 2).mean().item()
    compiled(model)
    assert (
        model.evaluate(X, Y, verbose=0) == first == pytest.approx(plain + 0.01 * (model.weights[0] ** 2).sum().item())
    )


# ---------------------------------------------------------------------- metrics
class Counting(lamina.Sequential):
    """Counts its own steps in `self.own`, or wherever `keep` puts it."""

    def __init__(self, keep: Any, name: str = "own") -> None:
        super().__init__([layers.Input((4,)), layers.Dense(1)])
        self.__dict__["counter"] = None
        self.kept = metrics.Sum(name=name)
        self.holder = keep(self.kept)
        if self.holder is not self.kept:
            del self.kept

    def train_step(self, data):
        super().train_step(data)
        counter = self.holder
        while not isinstance(counter, metrics.Metric):
            counter = next(iter(counter.values() if isinstance(counter, dict) else counter))
        counter.update_state(1.0)
        return self.get_metrics_result()


@pytest.mark.parametrize("keep", [lambda m: m, lambda m: [m], lambda m: (m,), lambda m: {"key": m}], ids=range(4))
def test_metrics_of_the_models_own_are_logged_and_start_anew_each_epoch(keep):
    model = compiled(Counting(keep), metrics=["mae"])
    history = model.fit(X, Y, batch_size=2, epochs=2, verbose=0).history
    assert list(history) == ["loss", "mae", "own"] == model.metrics_names
    assert history["own"] == [3.0, 3.0]
    assert [type(metric).__name__ for metric in model.metrics] == ["Mean", "MeanAbsoluteError", "Sum"]


@pytest.mark.parametrize("name", ["loss", "mae"])
def test_a_metric_of_the_models_own_goes_before_one_of_compile(name):
    model = compiled(Counting(lambda m: m, name), metrics=["mae"])
    history = model.fit(X, Y, batch_size=2, epochs=2, verbose=0).history
    assert list(history) == ["loss", "mae"] == model.metrics_names
    assert history[name] == [3.0, 3.0]


class Watching(lamina.Layer):
    """Keeps the mean of what passes."""

    def __init__(self, name: str | None = None) -> None:
        super().__init__(name=name)
        self.mean = metrics.Mean(name="passed")

    def call(self, x):
        self.mean.update_state(x)
        return x


def test_metrics_of_layers_are_logged_and_start_anew():
    model = compiled(linear(Watching()))
    history = model.fit(X, Y, epochs=2, verbose=0).history
    assert history["passed"] == pytest.approx([float(X.mean())] * 2, rel=1e-5)
    assert model.evaluate(X[:2], Y[:2], verbose=0, return_dict=True)["passed"] == pytest.approx(float(X[:2].mean()))


def test_a_model_inside_keeps_its_results_to_itself():
    inner = lamina.Sequential([layers.Input((4,)), layers.Dense(4)])
    inner.compile("sgd", "mse", metrics=["mse"])
    inner.own = metrics.Mean(name="inner")
    model = compiled(linear(inner), metrics=["mae"])
    assert list(model.evaluate(X, Y, verbose=0, return_dict=True)) == ["loss", "mae"]


def test_metrics_that_only_an_overridden_property_knows_are_logged_and_start_anew():
    class Hiding(lamina.Sequential):
        def __init__(self):
            super().__init__([layers.Input((4,)), layers.Dense(1)])
            self._hidden = [metrics.Sum(name="own")]

        @property
        def metrics(self):
            return [*super().metrics, *self._hidden]

        def train_step(self, data):
            super().train_step(data)
            self._hidden[0].update_state(1.0)
            return self.get_metrics_result()

    model = compiled(Hiding(), metrics=["mae"])
    history = model.fit(X, Y, batch_size=2, epochs=2, verbose=0).history
    assert list(history) == ["loss", "mae", "own"] == model.metrics_names and history["own"] == [3.0, 3.0]


def test_a_metric_that_comes_later_is_logged_from_the_next_epoch_on():
    class Late(lamina.Sequential):
        def train_step(self, data):
            logs = super().train_step(data)
            if not hasattr(self, "late"):
                self.late = metrics.Mean(name="late")
            self.late.update_state(2.0)
            return logs

    model = compiled(Late([layers.Input((4,)), layers.Dense(1)]), metrics=["mae"])
    history = model.fit(X, Y, epochs=2, batch_size=3, verbose=0).history
    assert {name: len(values) for name, values in history.items()} == {"loss": 2, "mae": 2, "late": 1}


def test_a_metric_with_several_results_is_spread():
    class Both(metrics.Mean):
        def result(self):
            return {"low": super().result() - 1, "high": super().result() + 1}

    model = compiled(metrics=[Both(name="both")])
    found = model.evaluate(X, Y, verbose=0, return_dict=True)
    assert list(found) == ["loss", "low", "high"] and found["high"] == pytest.approx(found["low"] + 2)


def test_results_are_read_when_they_are_wanted():
    model = compiled(metrics=["mae"])
    logs = model.test_step((X, Y))
    assert isinstance(logs, LazyLogs) and list(logs) == ["loss", "mae"]
    assert logs["mae"] == pytest.approx((model(X) - Y).abs().mean().item(), rel=1e-5)


def test_metrics_can_be_reset_and_read():
    model = compiled(metrics=["mae"])
    model.test_step((X, Y))
    assert dict(model.get_metrics_result())["mae"] > 0
    model.reset_metrics()
    assert dict(model.get_metrics_result()) == {"loss": 0.0, "mae": 0.0}


def test_before_compile_there_are_only_the_metrics_of_the_models_own():
    model = linear(Watching())
    assert model.metrics_names == ["passed"]
    model.own = metrics.Mean(name="own")
    assert model.metrics_names == ["own", "passed"]


def test_metrics_see_no_gradient():
    class Spy(metrics.Metric):
        def update_state(self, y_true, y_pred, sample_weight=None):
            self.saw = (torch.is_grad_enabled(), y_pred.shape)

        def result(self):
            return torch.tensor(0.0)

        def reset_state(self):
            pass

    spy = Spy(name="spy")
    compiled(metrics=[spy]).train_on_batch(X, Y)
    assert spy.saw == (False, (6, 1))
