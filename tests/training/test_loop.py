"""`compile`, `fit`, `evaluate`, `predict` and what surrounds a step."""

from __future__ import annotations

import gc
import os
import signal
import threading
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import lamina
from lamina import layers
from lamina.callbacks import Callback, LambdaCallback
from lamina.errors import ArgumentError, NonFiniteError, NotCompiledError
from lamina.losses import MeanSquaredError
from lamina.metrics import Mean

RNG = np.random.RandomState(0)
X = RNG.randn(64, 4).astype("float32")
Y = (X @ RNG.randn(4, 1)).astype("float32")


def model(**arguments: Any) -> Any:
    net = lamina.Sequential([layers.Input((4,)), layers.Dense(8, activation="relu"), layers.Dense(1)])
    net.compile(**{"optimizer": "sgd", "loss": "mse", **arguments})
    return net


# ---------------------------------------------------------------------- kinds of data
def as_generator():
    while True:
        for start in range(0, 64, 32):
            yield X[start : start + 32], Y[start : start + 32]


class Batches(lamina.utils.PyDataset):
    def __len__(self):
        return 2

    def __getitem__(self, index):
        return X[32 * index : 32 * index + 32], Y[32 * index : 32 * index + 32]


DATA: dict[str, Any] = {
    "arrays": lambda: ((X, Y), {}),
    "tensors": lambda: ((torch.from_numpy(X), torch.from_numpy(Y)), {}),
    "float64 arrays": lambda: ((X.astype("float64"), Y.astype("float64")), {}),
    "lists of numbers": lambda: ((X.tolist(), Y.tolist()), {}),
    "pandas": lambda: ((pd.DataFrame(X), pd.Series(Y[:, 0])), {}),
    "torch data set": lambda: ((torch.utils.data.TensorDataset(torch.from_numpy(X), torch.from_numpy(Y)),), {}),
    "torch loader": lambda: (
        (
            torch.utils.data.DataLoader(
                torch.utils.data.TensorDataset(torch.from_numpy(X), torch.from_numpy(Y)), batch_size=32
            ),
        ),
        {},
    ),
    "generator": lambda: ((as_generator(),), {"steps_per_epoch": 2}),
    "PyDataset": lambda: ((Batches(),), {}),
}


@pytest.mark.parametrize("kind", DATA)
def test_every_kind_of_data_trains_to_the_same_weights(kind):
    torch.manual_seed(0)
    reference = model()
    weights = reference.get_weights()
    reference.fit(X, Y, batch_size=32, epochs=2, shuffle=False, verbose=0)
    net = model()
    net.set_weights(weights)
    args, kwargs = DATA[kind]()
    if len(args) == 2 or kind == "torch data set":
        kwargs = {"batch_size": 32, **kwargs}
    history = net.fit(*args, epochs=2, shuffle=False, verbose=0, **kwargs)
    assert len(history.history["loss"]) == 2
    for one, other in zip(net.get_weights(), reference.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_inputs_may_be_a_dict_by_name():
    a, b = layers.Input((4,), name="a"), layers.Input((4,), name="b")
    net = lamina.Model([a, b], layers.Dense(1)(layers.Lambda(lambda ts: ts[0] + 2 * ts[1])([a, b])))
    wanted = net.predict([X, X[::-1].copy()], verbose=0)
    np.testing.assert_array_equal(net.predict({"b": X[::-1].copy(), "a": X}, verbose=0), wanted)


def test_predictions_have_the_form_of_the_outputs():
    x = layers.Input((4,))
    net = lamina.Model(x, {"sum": layers.Dense(1)(x), "parts": [layers.Dense(2)(x), layers.Dense(3)(x)]})
    found = net.predict(X, batch_size=10, verbose=0)
    assert found["sum"].shape == (64, 1)
    assert [part.shape for part in found["parts"]] == [(64, 2), (64, 3)]
    with torch.no_grad():
        np.testing.assert_allclose(found["sum"], net(torch.from_numpy(X))["sum"].numpy(), rtol=1e-5, atol=1e-6)


# ---------------------------------------------------------------------- the parts of torch
def test_optimizers_schedulers_losses_of_torch_are_taken_as_they_are():
    net = model()
    twin = model()
    twin.set_weights(net.get_weights())
    optimizer = torch.optim.AdamW(net.parameters(), lr=0.01)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.5)
    net.compile((optimizer, schedule), torch.nn.MSELoss())
    net.fit(X, Y, batch_size=32, epochs=2, shuffle=False, verbose=0)
    plain = torch.optim.AdamW(twin.parameters(), lr=0.01)
    rates = torch.optim.lr_scheduler.StepLR(plain, step_size=1, gamma=0.5)
    for _ in range(2):
        for start in (0, 32):
            loss = torch.nn.functional.mse_loss(
                twin(torch.from_numpy(X[start : start + 32])), torch.from_numpy(Y[start : start + 32])
            )
            plain.zero_grad()
            loss.backward()
            plain.step()
        rates.step()
    for one, other in zip(net.get_weights(), twin.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_a_metric_of_torchmetrics_is_taken_as_it_is():
    from torchmetrics.regression import MeanAbsoluteError

    net = model(metrics=[MeanAbsoluteError(), "mae"])
    results = net.evaluate(X, Y, verbose=0)
    assert results[1] == pytest.approx(results[2], rel=1e-5)


# ---------------------------------------------------------------------- modes
def test_fit_and_predict_put_every_mode_back():
    net = lamina.Sequential([layers.Input((4,)), layers.Dense(4), torch.nn.Dropout(0.5), layers.Dense(1)])
    net.compile("sgd", "mse")
    net.train()
    net.layers[1].eval()
    before = [module.training for module in net.modules()]
    seen = []
    hook = net.layers[1].register_forward_hook(lambda module, args, out: seen.append(module.training))
    net.fit(X, Y, validation_data=(X, Y), verbose=0)
    net.predict(X, verbose=0)
    hook.remove()
    assert [module.training for module in net.modules()] == before
    assert seen == [True, True, False, False, False, False]


def test_evaluate_leaves_moving_statistics_alone():
    net = lamina.Sequential([layers.Input((4,)), torch.nn.BatchNorm1d(4), layers.Dense(1)])
    net.compile("sgd", "mse")
    before = {name: value.clone() for name, value in net.state_dict().items()}
    net.train()
    net.evaluate(X, Y, verbose=0)
    net.predict(X, verbose=0)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


# ---------------------------------------------------------------------- overriding
class OwnStep(lamina.Model):
    def __init__(self):
        super().__init__()
        self.dense = layers.Dense(1)
        self.own = Mean(name="own")

    def call(self, x):
        return self.dense(x)

    def train_step(self, data):
        x, y = data
        self.zero_grad()
        loss = self.compute_loss(y=y, y_pred=self(x, training=True))
        loss.backward()
        weights = self.trainable_weights
        with torch.no_grad():
            self.optimizer.apply([w.grad for w in weights], weights)
        self.own.update_state(loss)
        return {"own": self.own.result()}


def test_an_overridden_train_step_gives_the_weights_of_the_built_in_one():
    own = OwnStep()
    own.build((None, 4))
    plain = lamina.Sequential([layers.Input((4,)), layers.Dense(1)])
    plain.set_weights(own.get_weights())
    for net in (own, plain):
        net.compile("adam", "mse")
        net.fit(X, Y, batch_size=16, epochs=2, shuffle=False, verbose=0)
    for one, other in zip(own.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
    assert list(own.history.history) == ["own"]
    assert own.metrics_names == ["loss", "own"]


def test_an_overridden_compute_loss_is_used():
    class Doubled(lamina.Sequential):
        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
            return 2 * super().compute_loss(x, y, y_pred, sample_weight, training)

    net = Doubled([layers.Input((4,)), layers.Dense(1)])
    net.compile("sgd", "mse")
    single = net.predict(X, verbose=0)
    assert net.evaluate(X, Y, verbose=0) == pytest.approx(2 * float(((single - Y) ** 2).mean()), rel=1e-5)


# ---------------------------------------------------------------------- losses that layers add
class Penalty(lamina.Layer):
    def call(self, x):
        self.add_loss(torch.sum(x * x) * 0.1)
        return x


def test_losses_added_in_a_call_count_once():
    x = layers.Input((4,))
    net = lamina.Model(x, layers.Dense(1)(Penalty()(x)))
    net.compile("sgd", "mse")
    alone = lamina.Model(x, net.layers[-1](x))
    alone.compile("sgd", "mse")
    wanted = alone.evaluate(X, Y, batch_size=64, verbose=0) + 0.1 * float((X * X).sum())
    for _ in range(2):
        assert net.evaluate(X, Y, batch_size=64, verbose=0) == pytest.approx(wanted, rel=1e-5)
    net(torch.from_numpy(X))
    net(torch.from_numpy(X))
    assert len(net.losses) == 1


# ---------------------------------------------------------------------- stopping
class Interrupt(Callback):
    """Sends this process a Ctrl-C at the start of a batch."""

    def __init__(self, batch: int) -> None:
        super().__init__()
        self.batch, self.finished = batch, []

    def on_train_batch_begin(self, batch, logs=None):
        if batch == self.batch:
            os.kill(os.getpid(), signal.SIGINT)

    def on_train_batch_end(self, batch, logs=None):
        self.finished.append(batch)


def test_ctrl_c_stops_after_the_batch_and_raises_with_the_history_kept():
    net, interrupt = model(), Interrupt(1)
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        net.fit(X, Y, batch_size=16, epochs=5, callbacks=[interrupt], verbose=0)
    assert interrupt.finished == [0, 1]
    assert net.history.epoch == [0] and len(net.history.history["loss"]) == 1
    assert signal.getsignal(signal.SIGINT) is before


def test_ctrl_c_may_stop_training_and_return():
    net, interrupt = model(), Interrupt(0)
    history = net.fit(X, Y, batch_size=16, epochs=5, callbacks=[interrupt], verbose=0, on_interrupt="stop")
    assert interrupt.finished == [0] and history.epoch == [0]


def test_fit_runs_outside_the_main_thread():
    net = model()
    thread = threading.Thread(target=lambda: net.fit(X, Y, verbose=0))
    thread.start()
    thread.join()
    assert net.history.epoch == [0]


def test_stop_training_ends_after_the_batch():
    net = model()
    steps = []

    def stop(batch, logs):
        steps.append(batch)
        net.stop_training = batch == 1

    net.fit(X, Y, batch_size=16, epochs=3, callbacks=[LambdaCallback(on_train_batch_end=stop)], verbose=0)
    assert steps == [0, 1]


def test_an_unknown_answer_to_ctrl_c_is_refused():
    with pytest.raises(ArgumentError, match="Unknown on_interrupt"):
        model().fit(X, Y, on_interrupt="ignore", verbose=0)


# ---------------------------------------------------------------------- validation
@pytest.mark.parametrize(("frequency", "epochs"), [(1, [0, 1, 2, 3]), (2, [1, 3]), ([1, 4], [0, 3])])
def test_validation_happens_when_asked(frequency, epochs):
    seen = []
    callback = LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(epoch) if "val_loss" in logs else None)
    model().fit(X, Y, epochs=4, validation_data=(X, Y), validation_freq=frequency, callbacks=[callback], verbose=0)
    assert seen == epochs


def test_a_validation_frequency_of_zero_is_refused():
    with pytest.raises(ArgumentError, match="Unknown validation_freq"):
        model().fit(X, Y, validation_data=(X, Y), validation_freq=0, verbose=0)


def test_validation_data_may_be_a_list():
    history = model().fit(X, Y, validation_data=[X, Y], verbose=0).history
    assert "val_loss" in history


def test_epochs_count_from_initial_epoch():
    assert model().fit(X, Y, initial_epoch=2, epochs=4, verbose=0).epoch == [2, 3]


# ---------------------------------------------------------------------- nothing waits, nothing leaks
class NoSync(TorchDispatchMode):
    """Fails where a value is read back from a tensor."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func in (torch.ops.aten._local_scalar_dense.default, torch.ops.aten.is_nonzero.default):
            raise AssertionError("a step waits for the device")
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "rmsprop"])
def test_a_step_reads_nothing_back(optimizer):
    net = lamina.Sequential([layers.Input((4,)), layers.Dense(8, activation="relu"), layers.Dense(3, "softmax")])
    net.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    batch = torch.from_numpy(X), torch.from_numpy((X[:, 0] > 0).astype("int64"))
    net.train()
    net.train_step(batch)
    with NoSync():
        for _ in range(3):
            logs = net.train_step(batch)
    assert 0 <= logs["accuracy"] <= 1


def live_tensors() -> int:
    return sum(1 for obj in gc.get_objects() if isinstance(obj, torch.Tensor))


@pytest.mark.parametrize("what", ["train", "predict"])
def test_tensors_stay_as_many_over_500_calls_without_the_garbage_collector(what):
    net = lamina.Sequential([layers.Input((4,)), layers.Dense(8, activation="relu"), layers.Dense(1)])
    net.compile("adam", "mse", metrics=["mae"])
    call = (lambda: net.train_on_batch(X[:8], Y[:8])) if what == "train" else (lambda: net.predict_on_batch(X[:8]))
    counts = []
    gc.collect()
    gc.disable()
    try:
        for number in range(1, 501):
            call()
            if number in (20, 500):
                counts.append(live_tensors())
    finally:
        gc.enable()
    assert counts[0] == counts[1]


def test_fit_leaves_no_tensor_behind():
    net = model(metrics=["mae"])
    net.fit(X, Y, epochs=1, verbose=0)
    gc.collect()
    before = live_tensors()
    gc.disable()
    try:
        for _ in range(5):
            net.fit(X, Y, epochs=2, validation_data=(X, Y), verbose=0)
        assert live_tensors() == before
    finally:
        gc.enable()


# ---------------------------------------------------------------------- values that are not finite
def test_the_first_layer_that_is_not_finite_is_named():
    net = lamina.Sequential(
        [
            layers.Input((4,)),
            layers.Dense(3, name="fine"),
            layers.Lambda(lambda x: torch.log(-x * x - 1), name="culprit"),
            layers.Dense(1, name="after"),
        ]
    )
    net.compile("sgd", "mse", debug_nans=True)
    with pytest.raises(NonFiniteError, match="Lambda 'culprit' is the first.*\n.*\n.*input and weights were finite"):
        net.fit(X, Y, verbose=0)
    net.compile("sgd", "mse")
    assert np.isnan(net.fit(X, Y, verbose=0).history["loss"][0])


def test_a_layer_with_bad_weights_says_so():
    net = model(debug_nans=True)
    weights = net.get_weights()
    weights[0][0, 0] = np.nan
    net.set_weights(weights)
    with pytest.raises(NonFiniteError, match="its weights kernel were not finite"):
        net.fit(X, Y, verbose=0)


def test_bad_data_is_blamed_on_the_input():
    bad = X.copy()
    bad[3, 2] = np.inf
    with pytest.raises(NonFiniteError, match="its input was not finite either"):
        model(debug_nans=True).fit(bad, Y, verbose=0)


def test_targets_that_are_not_finite_are_found():
    bad = Y.copy()
    bad[0] = np.nan
    with pytest.raises(NonFiniteError, match="The loss is not finite"):
        model(debug_nans=True).fit(X, bad, verbose=0)


# ---------------------------------------------------------------------- names and errors
def test_a_metric_keeps_its_name_in_a_second_model():
    for _ in range(2):
        net = model(metrics=[lamina.metrics.AUC(), "mae"])
        assert net.evaluate(X, (Y > 0).astype("float32"), verbose=0, return_dict=True).keys() == {"loss", "auc", "mae"}


def test_two_metrics_of_one_name_are_told_apart():
    net = model(metrics=[lamina.metrics.MeanSquaredError(name="m"), lamina.metrics.MeanAbsoluteError(name="m")])
    net.evaluate(X, Y, verbose=0)
    assert net.metrics_names == ["loss", "m", "m_1"]


@pytest.mark.parametrize("call", ["fit", "evaluate", "train_on_batch", "test_on_batch"])
def test_a_model_must_be_compiled_first(call):
    net = lamina.Sequential([layers.Input((4,)), layers.Dense(1)])
    with pytest.raises(NotCompiledError, match=r"before compile\(\)"):
        getattr(net, call)(X, Y)


def test_a_model_without_any_loss_cannot_train():
    with pytest.raises(ArgumentError, match="There is no loss to train on"):
        model(loss=None).fit(X, Y, verbose=0)


def test_both_kinds_of_weights_at_once_are_refused():
    with pytest.raises(ArgumentError, match="takes sample_weight or class_weight"):
        model().train_on_batch(X, Y, sample_weight=Y, class_weight={0: 1.0})


@pytest.mark.parametrize("y", [Y, Y[:, 0]])
@pytest.mark.parametrize("loss", ["mse", MeanSquaredError(), torch.nn.MSELoss(), lambda t, p: ((t - p) ** 2).mean(-1)])
def test_targets_with_and_without_a_last_axis_give_one_loss(loss, y):
    torch.manual_seed(0)
    net = model(loss=loss)
    assert net.evaluate(X, y, verbose=0) == pytest.approx(
        float(((net.predict(X, verbose=0) - Y) ** 2).mean()), rel=1e-5
    )


# ---------------------------------------------------------------------- precision and seeds
@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_trains_float32_weights(policy):
    lamina.mixed_precision.set_global_policy(policy)
    net = model(optimizer="adam")
    assert type(net.optimizer).__name__ == ("LossScaleOptimizer" if policy == "mixed_float16" else "Adam")
    history = net.fit(X, Y, epochs=5, verbose=0).history["loss"]
    assert history[-1] < history[0]
    assert all(weight.dtype == np.float32 for weight in net.get_weights())
    seen = []
    net.layers[0].register_forward_hook(lambda module, args, out: seen.append(out.dtype))
    net.predict(X, verbose=0)
    assert seen[0] == getattr(torch, policy.removeprefix("mixed_"))


def test_one_seed_gives_one_result():
    results = []
    for _ in range(2):
        lamina.utils.set_random_seed(7)
        net = lamina.Sequential([layers.Input((4,)), layers.Dense(8), torch.nn.Dropout(0.5), layers.Dense(1)])
        net.compile("adam", "mse")
        net.fit(X, Y, epochs=2, batch_size=16, verbose=0)
        results.append(net.get_weights())
    for one, other in zip(*results, strict=True):
        np.testing.assert_array_equal(one, other)


def test_training_goes_through_torch_compile_when_asked():
    net, twin = model(), model()
    twin.set_weights(net.get_weights())
    net.compile("sgd", "mse", jit_compile=True)
    net.__dict__["_compiled_forward"] = torch.compile(net, backend="eager", fullgraph=True)
    for each in (net, twin):
        each.fit(X, Y, batch_size=32, shuffle=False, verbose=0)
    for one, other in zip(net.get_weights(), twin.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-7)
