"""The choice between eager and compiled steps, with a clock and a compiler of the tests' own."""

from __future__ import annotations

import copy
import pickle
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import lamina
from lamina import layers
from lamina.callbacks import LambdaCallback
from lamina.metrics import Metric
from lamina.training.acceleration import Acceleration, Chooser, Rules

RNG = np.random.RandomState(0)
X = RNG.randn(72, 4).astype("float32")
Y = (X @ RNG.randn(4, 1)).astype("float32")
CPU = torch.device("cpu")
# 2 steps to look, 4 eager ones that are timed, 2 compiled ones to warm up, 4 that are timed: 12 until the verdict.
RULES = Rules(warm=2, lap=2, laps=2, short=0.02, ahead=0.1, gain=0.1, shapes=3)


class World:
    """A clock that the forward pass moves, and a compiler that makes it move less."""

    def __init__(self, eager: float = 0.01, compiled: float = 0.005, fail: Callable[[int], bool] | None = None) -> None:
        self.now, self.eager, self.compiled = 0.0, eager, compiled
        self.fail = fail or (lambda call: False)
        self.cost = eager
        self.waits: list[float] = []
        self.calls: list[tuple[int, ...]] = []  # the shapes that the compiled pass was given
        self.compilations = 0

    def compile_model(self, model: Any) -> Callable[[Any], Any]:
        self.compilations += 1

        def run(x: torch.Tensor) -> torch.Tensor:
            self.calls.append(tuple(x.shape))
            self.cost = self.compiled
            try:
                y = model(x)
            finally:
                self.cost = self.eager
            if self.fail(len(self.calls)):
                raise RuntimeError("the graph cannot be replayed")
            return y

        return run

    def chooser(self, rules: Rules = RULES) -> Chooser:
        wait = lambda device: self.waits.append(self.now)  # noqa: E731
        return Chooser(self.compile_model, wait, lambda: self.now, rules, "cpu")


class Tick(layers.Layer):
    """Takes the world's time."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self.__dict__["world"] = world

    def call(self, x):
        self.world.now += self.world.cost
        return x


def net(world: World, optimizer: Any = "adam", rules: Rules = RULES, **arguments: Any) -> Any:
    lamina.utils.set_random_seed(3)
    model = lamina.Sequential(
        [
            layers.Input((4,)),
            Tick(world),
            layers.Dense(5, activation="relu"),
            layers.BatchNormalization(),
            layers.Dense(1),
        ]
    )
    model.compile(optimizer, "mse", metrics=["mae"], **arguments)
    model.__dict__["_chooser"] = world.chooser(rules)
    return model


def fit(model: Any, epochs: int = 3, size: int = 8, **arguments: Any) -> Any:
    return model.fit(X, Y, batch_size=size, epochs=epochs, shuffle=False, verbose=0, **arguments)


def plain(epochs: int = 3, size: int = 8, optimizer: Any = "adam", **arguments: Any) -> Any:
    """The same training with nothing to choose."""
    model = net(World(), optimizer)
    model.__dict__["_chooser"] = None
    fit(model, epochs, size, **arguments)
    return model


def assert_same(model: Any, twin: Any) -> None:
    """Weights, moving averages, optimizer and losses are those of the twin, bit for bit."""
    for name, value in model.state_dict().items():
        assert torch.equal(value, twin.state_dict()[name]), name
    for one, other in zip(model.optimizer.variables, twin.optimizer.variables, strict=True):
        assert torch.equal(one, other)
    assert model.optimizer.iterations == twin.optimizer.iterations
    assert model.history.history == twin.history.history


# ---------------------------------------------------------------------- the choice
def test_the_faster_way_is_kept_and_reported():
    world = World()
    model = net(world)
    fit(model)
    assert model.acceleration == Acceleration(
        "compiled",
        "compiled steps save at least 10% of the time",
        ((8, 4),),
        eager=pytest.approx(0.01),
        compiled=pytest.approx(0.005),
    )
    assert (world.compilations, len(world.calls)) == (1, 27 - 6)
    assert_same(model, plain())


@pytest.mark.parametrize("compiled", [0.0095, 0.01, 0.5])
def test_a_way_that_saves_too_little_is_given_up(compiled):
    world = World(compiled=compiled)
    model = net(world)
    fit(model)
    assert model.acceleration.choice == "eager"
    assert model.acceleration.reason == "compiled steps save less than 10% of the time"
    assert model.acceleration.compiled == pytest.approx(compiled)
    assert len(world.calls) == 6
    fit(model)
    assert len(world.calls) == 6 and world.compilations == 1


def test_long_steps_are_not_compiled():
    world = World(eager=0.03, compiled=0.0)
    model = net(world)
    fit(model)
    assert world.compilations == 0
    assert "a step takes 30 ms, and one of more than 20 ms is busy computing" in model.acceleration.reason


def test_nothing_is_compiled_for_a_short_training():
    world = World()
    model = net(world, rules=Rules(2, 2, 2, 0.02, ahead=0.5))
    fit(model)
    assert world.compilations == 0
    assert model.acceleration.choice == "undecided"
    assert "too little training lies ahead" in model.acceleration.reason
    fit(model, epochs=7)  # 63 steps of 10 ms
    assert model.acceleration.choice == "compiled"


def test_a_training_of_unknown_length_is_expected_to_go_on_for_as_long_as_it_has():
    def batches():
        while True:
            yield X[:8], Y[:8]

    world = World()
    model = net(world, rules=Rules(2, 2, 2, 0.02, ahead=0.195))
    counts = []
    model.fit(batches(), steps_per_epoch=5, epochs=1, verbose=0)
    for _ in range(5):  # each too short by itself
        model.fit(batches(), steps_per_epoch=5, epochs=1, verbose=0)
        counts.append(world.compilations)
    assert counts == [0, 0, 1, 1, 1]


def test_one_slow_lap_does_not_decide():
    world = World()
    model = net(world)

    def disturb(batch, logs):
        world.now += 5.0 if batch in (3, 8) else 0.0  # one of the eager laps, and one of the compiled ones

    fit(model, callbacks=[LambdaCallback(on_train_batch_end=disturb)])
    assert model.acceleration.eager == pytest.approx(0.01)
    assert model.acceleration.choice == "compiled"


# ---------------------------------------------------------------------- what is measured
def test_the_device_is_waited_for_at_the_ends_of_laps_alone():
    world = World()
    fit(net(world))
    # Two eager and two compiled laps have two ends each; the end of the first epoch cuts one lap in two.
    assert len(world.waits) in (8, 10)
    assert max(world.waits) < 0.2


def test_neither_validation_nor_what_else_is_between_epochs_is_timed():
    world = World()
    model = net(world, rules=Rules(2, lap=4, laps=1, short=0.02, ahead=0.1))
    pause = LambdaCallback(on_epoch_end=lambda epoch, logs: setattr(world, "now", world.now + 100.0))
    fit(model, epochs=14, size=24, validation_data=(X, Y), callbacks=[pause])  # three steps, and laps of four
    assert model.acceleration.eager == pytest.approx(0.01)
    assert model.acceleration.compiled == pytest.approx(0.005)
    assert_same(model, plain(14, 24, validation_data=(X, Y)))


def test_validation_and_prediction_are_eager():
    world = World()
    model = net(world)
    seen: list[int] = []

    def predict(epoch, logs):
        before = len(world.calls)
        model.predict(X[:8], verbose=0)
        model.evaluate(X[:8], Y[:8], verbose=0)
        seen.append(len(world.calls) - before)

    fit(model, validation_data=(X, Y), callbacks=[LambdaCallback(on_epoch_end=predict)])
    assert seen == [0, 0, 0] and model.acceleration.choice == "compiled"
    before = len(world.calls)
    model.train_on_batch(X[:8], Y[:8])
    assert len(world.calls) == before


def test_a_smaller_last_batch_is_eager_and_not_timed():
    world = World()
    model = net(world)
    fit(model, epochs=6, size=16)  # four of 16 and one of 8
    assert model.acceleration.shapes == ((16, 4),)
    assert model.acceleration.choice == "compiled"
    assert set(world.calls) == {(16, 4)}
    assert_same(model, plain(6, 16))


def test_batches_of_another_shape_within_a_lap_are_not_timed():
    def batches():
        while True:
            yield X[:16], Y[:16]
            yield X[:8], Y[:8]

    world = World()
    model = net(world, rules=Rules(2, lap=4, laps=1, short=0.02, ahead=0.1))
    slow = LambdaCallback(on_train_batch_end=lambda b, logs: setattr(world, "now", world.now + 7.0 * (b % 2)))
    model.fit(batches(), steps_per_epoch=40, verbose=0, callbacks=[slow])
    assert model.acceleration.eager == pytest.approx(0.01)
    assert model.acceleration.choice == "compiled" and set(world.calls) == {(16, 4)}


def test_inputs_of_many_shapes_stay_eager():
    world = World()
    model = net(world)

    def batches():
        for size in range(2, 30):
            yield X[:size], Y[:size]

    model.fit(batches(), verbose=0)
    assert model.acceleration.reason == "the inputs have more than 3 shapes"
    assert world.compilations == 0


# ---------------------------------------------------------------------- failures
@pytest.mark.parametrize("call", [1, 2, 5, 15], ids=["at first", "warming up", "while timed", "when kept"])
@pytest.mark.parametrize(
    "optimizer", ["adam", lambda: lamina.optimizers.SGD(0.01, gradient_accumulation_steps=2)], ids=range(2)
)
def test_a_failing_pass_leaves_no_trace_but_its_report(call, optimizer):
    """It fails behind batch normalization, whose moving averages it has moved already."""
    made = optimizer if isinstance(optimizer, str) else optimizer()
    world = World(fail=lambda number: number == call)
    model = net(world, made)
    fit(model)
    assert model.acceleration.choice == "eager"
    assert model.acceleration.reason == "the compiled step failed"
    assert model.acceleration.error == "RuntimeError: the graph cannot be replayed"
    assert len(world.calls) == call
    twin = made if isinstance(optimizer, str) else optimizer()
    assert_same(model, plain(optimizer=twin))
    fit(model)
    assert len(world.calls) == call and model._compiled_forward is None and "step" not in vars(model.optimizer)


class Broken(torch.autograd.Function):
    """Cannot be gone back through."""

    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        raise RuntimeError("no backward pass")


def test_after_a_failure_nothing_is_compiled_in_another_setting_either():
    world = World(fail=lambda number: number == 1)
    model = net(world)
    fit(model)
    model.layers[-2].trainable = False
    fit(model)
    assert (world.compilations, len(world.calls)) == (1, 1)
    assert model.acceleration.error == "RuntimeError: the graph cannot be replayed"


def test_a_backward_pass_that_fails_counts_the_batch_once():
    world = World()
    compile_model = world.compile_model
    world.compile_model = lambda model: lambda x: Broken.apply(compile_model(model)(x))  # type: ignore[method-assign]
    model = net(world)
    fit(model)
    assert model.acceleration.error == "RuntimeError: no backward pass"
    assert_same(model, plain())


def test_a_compiler_that_fails_is_not_asked_again():
    world = World()

    def refuse(model):
        world.compilations += 1
        raise ImportError("no triton")

    world.compile_model = refuse  # type: ignore[method-assign]
    model = net(world)
    fit(model)
    fit(model)
    assert world.compilations == 1
    assert (model.acceleration.reason, model.acceleration.error) == (
        "the model could not be compiled",
        "ImportError: no triton",
    )
    assert_same(model, fitted_twice())


def fitted_twice() -> Any:
    model = plain()
    fit(model)
    return model


class Failing(Metric):
    """Fails at its tenth batch."""

    def __init__(self):
        super().__init__(name="failing")
        self.batches = 0

    def update_state(self, y_true, y_pred, sample_weight=None):
        self.batches += 1
        if self.batches == 10:
            raise ValueError("a metric of the user's")

    def result(self):
        return torch.tensor(0.0)


def test_an_error_behind_the_update_is_raised_and_the_batch_is_not_repeated():
    world = World()
    model = net(world)
    metric = Failing()
    model.compile("adam", "mse", metrics=[metric])
    model.__dict__["_chooser"] = world.chooser()
    with pytest.raises(ValueError, match="a metric of the user's"):
        fit(model)
    assert (metric.batches, model.optimizer.iterations, len(world.calls)) == (10, 10, 4)
    assert model._compiled_forward is None and model._accelerating is None


def test_an_error_of_the_users_comes_out_of_the_eager_step():
    world = World()
    model = net(world)
    labels = Y.copy()

    class Strict(lamina.losses.MeanSquaredError):
        def call(self, y_true, y_pred):
            if bool((y_true > 1e6).any()):
                raise ValueError("a target is out of range")
            return super().call(y_true, y_pred)

    model.compile("adam", Strict())
    model.__dict__["_chooser"] = world.chooser()
    labels[60] = 1e9
    with pytest.raises(ValueError, match="a target is out of range"):
        model.fit(X, labels, batch_size=4, epochs=2, shuffle=False, verbose=0)
    assert model.optimizer.iterations == 15
    assert model._accelerating is None


# ---------------------------------------------------------------------- what changes meanwhile
def test_another_setting_is_measured_anew():
    world = World()
    model = net(world)
    fit(model)
    fit(model)
    assert world.compilations == 1
    model.layers[-2].trainable = False  # batch normalization, frozen
    assert fit(model) and model.acceleration.choice == "compiled"
    assert world.compilations == 2
    with torch.autocast("cuda", torch.float16, enabled=False):
        fit(model)
    assert world.compilations == 2 and model.acceleration.eager == pytest.approx(0.01)


def test_frozen_batch_normalization_stays_as_it_is():
    model = net(World(fail=lambda number: number == 3))
    model.layers[-2].trainable = False
    before = model.layers[-2].moving_mean.clone()
    fit(model)
    assert torch.equal(model.layers[-2].moving_mean, before)


def test_a_hook_that_comes_later_ends_compiled_steps_at_the_next_epoch():
    world = World()
    model = net(world)
    called: list[int] = []

    def register(epoch, logs):
        if epoch == 1:
            model.layers[-1].register_forward_hook(lambda module, args, out: called.append(1))

    fit(model, epochs=4, callbacks=[LambdaCallback(on_epoch_end=register)])
    assert len(world.calls) == 18 - 6 and len(called) == 18
    assert model.acceleration.choice == "eager" and "has hooks" in model.acceleration.reason
    model.layers[-1]._forward_hooks.clear()
    fit(model, epochs=1)
    assert model.acceleration.choice == "compiled" and len(world.calls) == 18 - 6 + 9


def test_a_model_that_its_first_step_builds_is_measured_once():
    world = World()
    model = lamina.Sequential([Tick(world), layers.Dense(3), layers.Dense(1)])
    model.compile("sgd", "mse")
    model.__dict__["_chooser"] = world.chooser()
    fit(model, epochs=2)
    assert model.acceleration.choice == "compiled" and world.compilations == 1


def test_layers_that_add_losses_stay_eager():
    class Penalty(layers.Layer):
        def call(self, x):
            self.add_loss(torch.mean(x * x))
            return x

    world = World()
    model = lamina.Sequential([layers.Input((4,)), Tick(world), Penalty(), layers.Dense(1)])
    model.compile("sgd", "mse")
    model.__dict__["_chooser"] = world.chooser()
    fit(model)
    assert world.compilations == 0 and model.acceleration.reason == "layers add losses in their calls"


def test_another_optimizer_between_two_fits_is_built():
    model = net(World())
    fit(model)
    model.optimizer = lamina.optimizers.SGD(0.01)
    fit(model)
    assert model.optimizer.iterations == 27


def test_the_compilers_advice_is_not_shown():
    world = World()
    compile_model = world.compile_model

    def advise(model):
        run = compile_model(model)

        def warned(x):
            if len(world.calls) < 2:
                warnings.warn("TensorFloat32 tensor cores are available but not enabled", stacklevel=1)
            return run(x)

        return warned

    world.compile_model = advise  # type: ignore[method-assign]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = net(world)
        fit(model)
    assert model.acceleration.choice == "compiled"


def test_a_copy_of_the_model_measures_for_itself():
    model = net(World())
    fit(model)
    chooser = pickle.loads(pickle.dumps(model._chooser))
    assert chooser.report.choice == "eager" and chooser.device_type == "cuda"
    twin = copy.deepcopy(model)
    assert twin.acceleration.choice == "eager" and model.acceleration.choice == "compiled"
    fit(twin)


# ---------------------------------------------------------------------- a compiler of torch
@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_a_pass_through_torch_compile_trains_as_an_eager_one(policy):
    def made(chooser: Chooser | None) -> Any:
        lamina.utils.set_random_seed(3)
        model = lamina.Sequential(
            [
                layers.Input((4,)),
                layers.Dense(8, dtype=policy),
                layers.BatchNormalization(),
                layers.Dropout(0.5),
                layers.Dense(1),
            ]
        )
        # Not Adam, which makes full steps of what rounding leaves of a gradient: the bias before the normalization.
        model.compile("sgd", "mse", metrics=["mae"])
        model.__dict__["_chooser"] = chooser
        lamina.utils.set_random_seed(5)
        fit(model, epochs=4, size=16)
        return model

    rules = Rules(1, 1, 1, short=100.0, ahead=0.0, gain=-1e9)
    chooser = Chooser(
        lambda m: torch.compile(m, backend="aot_eager"), lambda device: None, rules=rules, device_type="cpu"
    )
    model, twin = made(chooser), made(None)
    assert model.acceleration.choice == "compiled"
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, twin.state_dict()[name], rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(model.history.history["loss"], twin.history.history["loss"], rtol=1e-3)


def test_a_loss_scale_goes_on_through_compiled_steps():
    scaled = lambda: lamina.optimizers.LossScaleOptimizer(lamina.optimizers.SGD(0.01), 8.0, dynamic_growth_steps=5)  # noqa: E731
    model = net(World(fail=lambda number: number == 9), scaled())
    fit(model)
    assert_same(model, plain(optimizer=scaled()))


# ---------------------------------------------------------------------- where there is nothing to choose
def test_on_a_cpu_auto_leaves_the_steps_alone():
    model = net(World())
    model.compile("adam", "mse")
    seen = []
    fit(model, callbacks=[LambdaCallback(on_train_batch_begin=lambda batch, logs: seen.append(model._accelerating))])
    assert set(seen) == {None}
    assert (model.acceleration.choice, model.acceleration.reason) == ("eager", "no training on a CUDA device yet")


@pytest.mark.parametrize("arguments", [{"jit_compile": False}, {"run_eagerly": True}, {"debug_nans": True}], ids=str)
def test_nothing_is_chosen_where_eager_steps_are_asked_for(arguments):
    model = net(World())
    model.compile("adam", "mse", **arguments)
    assert model._chooser is None
    assert model.acceleration == Acceleration("eager", "nothing was to be chosen")


def test_true_compiles_without_a_choice():
    model = net(World())
    model.compile("adam", "mse", jit_compile=True)
    assert model._chooser is None and model._compiled_forward is not None
    assert model.acceleration == Acceleration("compiled", "jit_compile=True")


@pytest.mark.parametrize("wrong", ["fast", "True", 2], ids=repr)
def test_another_jit_compile_is_refused_and_changes_nothing(wrong):
    model = net(World())
    model.compile("adam", "mse")
    before = model.optimizer
    with pytest.raises(lamina.errors.ArgumentError, match="True, False or 'auto'"):
        model.compile("sgd", "mse", jit_compile=wrong)
    assert model.optimizer is before
