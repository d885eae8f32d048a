"""Optimizers against Keras itself on its torch backend, and against torch.optim where the rules are the same."""

from __future__ import annotations

from collections.abc import Iterator

import keras
import numpy as np
import pytest
import torch

import lamina.optimizers as ours
from lamina.optimizers import schedules

SHAPES = [(7, 5), (5,), (3, 3, 4, 6), (1, 4), (2, 1, 3)]
STEPS = 20


@pytest.fixture(autouse=True)
def double_precision() -> Iterator[None]:
    """Compare in float64, where Keras does not round its powers of beta_2 to five digits."""
    keras.config.set_floatx("float64")
    yield
    keras.config.set_floatx("float32")


def _starts() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.normal(size=shape).astype(keras.config.floatx()) for shape in SHAPES]


def _gradients(seed: int = 1, steps: int = STEPS) -> list[list[np.ndarray]]:
    rng = np.random.default_rng(seed)
    kind = keras.config.floatx()
    return [[(rng.normal(size=s) * 3 ** rng.normal()).astype(kind) for s in SHAPES] for _ in range(steps)]


def _parameter(value: np.ndarray) -> torch.nn.Parameter:
    """A parameter whose memory is laid out as the layers lay it out: the last axis first, if there are two or more."""
    value = torch.from_numpy(value.copy())
    if value.ndim < 2:
        return torch.nn.Parameter(value)
    order = [value.ndim - 1, *range(value.ndim - 1)]
    back = [*range(1, value.ndim), 0]
    return torch.nn.Parameter(value.permute(order).contiguous().permute(back))


def _keras_run(optimizer, gradients, skip=None) -> list[np.ndarray]:
    variables = [keras.Variable(v, name=f"v{i}") for i, v in enumerate(_starts())]
    if skip:
        optimizer.exclude_from_weight_decay(var_names=skip)
    for step in gradients:
        optimizer.apply([torch.from_numpy(g) for g in step], variables)
    if optimizer.use_ema and optimizer.ema_overwrite_frequency is None:
        optimizer.finalize_variable_values(variables)
    return [v.value.detach().numpy() for v in variables]


def _our_run(optimizer, gradients, skip=None) -> list[np.ndarray]:
    parameters = [_parameter(v) for v in _starts()]
    if skip:
        optimizer.exclude_from_weight_decay(var_names=skip)
    optimizer.build(parameters, names={f"v{i}": p for i, p in enumerate(parameters)})
    for step in gradients:
        optimizer.apply([torch.from_numpy(g) for g in step], parameters)
    if optimizer.use_ema and optimizer.ema_overwrite_frequency is None:
        optimizer.finalize_variable_values(parameters)
    return [p.detach().numpy() for p in parameters]


def _same(mine: list[np.ndarray], theirs: list[np.ndarray], tolerance: float = 1e-7) -> None:
    for a, b, start in zip(mine, theirs, _starts(), strict=True):
        assert np.abs(b - start).max() > 1e-4, "the oracle did not move"
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


FAMILIES = [
    ("SGD", {}),
    ("SGD", {"momentum": 0.9}),
    ("SGD", {"momentum": 0.9, "nesterov": True}),
    ("Adam", {}),
    ("Adam", {"amsgrad": True, "beta_1": 0.5, "beta_2": 0.9, "epsilon": 1e-2}),
    ("AdamW", {}),
    ("AdamW", {"weight_decay": 0.3, "amsgrad": True}),
    ("RMSprop", {}),
    ("RMSprop", {"momentum": 0.8}),
    ("RMSprop", {"momentum": 0.8, "centered": True, "rho": 0.7}),
    ("RMSprop", {"centered": True}),
    ("Adagrad", {}),
    ("Adagrad", {"initial_accumulator_value": 0.0, "epsilon": 1e-3}),
    ("Adadelta", {}),
    ("Adadelta", {"rho": 0.5, "epsilon": 1e-3}),
    ("Adamax", {}),
    ("Nadam", {}),
    ("Ftrl", {}),
    (
        "Ftrl",
        {
            "learning_rate_power": -0.7,
            "l1_regularization_strength": 0.1,
            "l2_regularization_strength": 0.2,
            "l2_shrinkage_regularization_strength": 0.1,
            "beta": 0.1,
        },
    ),
    ("Lion", {}),
    ("Adafactor", {}),
    ("Adafactor", {"clip_threshold": 0.3, "beta_2_decay": -0.5, "relative_step": False}),
    ("Lamb", {}),
]
NAMES = sorted({name for name, _ in FAMILIES})


@pytest.mark.parametrize(("name", "arguments"), FAMILIES, ids=lambda v: v if isinstance(v, str) else "-".join(v))
def test_rule_gives_keras_parameters_after_20_steps(name, arguments):
    gradients = _gradients()
    theirs = _keras_run(getattr(keras.optimizers, name)(learning_rate=0.05, **arguments), gradients)
    _same(_our_run(getattr(ours, name)(learning_rate=0.05, **arguments), gradients), theirs)


@pytest.mark.parametrize(("name", "arguments"), FAMILIES, ids=lambda v: v if isinstance(v, str) else "-".join(v))
def test_rule_gives_keras_parameters_in_single_precision(name, arguments):
    keras.config.set_floatx("float32")
    gradients = _gradients()
    theirs = _keras_run(getattr(keras.optimizers, name)(learning_rate=0.05, **arguments), gradients)
    _same(_our_run(getattr(ours, name)(learning_rate=0.05, **arguments), gradients), theirs, tolerance=1e-5)


OPTIONS = {
    "decay": {"weight_decay": 0.3},
    "clipnorm": {"clipnorm": 0.7},
    "clipvalue": {"clipvalue": 0.4},
    "global_clipnorm": {"global_clipnorm": 1.5},
    "ema": {"use_ema": True, "ema_momentum": 0.8},
    "ema_overwrite": {"use_ema": True, "ema_momentum": 0.5, "ema_overwrite_frequency": 3},
    "accumulation": {"gradient_accumulation_steps": 3},
    "loss_scale": {"loss_scale_factor": 8.0},
    "all": {
        "weight_decay": 0.1,
        "global_clipnorm": 2.0,
        "use_ema": True,
        "ema_overwrite_frequency": 2,
        "loss_scale_factor": 4.0,
        "gradient_accumulation_steps": 2,
    },
}


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("name", NAMES)
def test_option_gives_keras_parameters_after_20_steps(name, option):
    gradients, arguments = _gradients(2), OPTIONS[option]
    theirs = _keras_run(getattr(keras.optimizers, name)(learning_rate=0.05, **arguments), gradients)
    _same(_our_run(getattr(ours, name)(learning_rate=0.05, **arguments), gradients), theirs)


@pytest.mark.parametrize("name", [*NAMES, "momentum", "nesterov"])
def test_falling_rate_gives_keras_parameters_after_20_steps(name):
    arguments = {"momentum": {"momentum": 0.9}, "nesterov": {"momentum": 0.9, "nesterov": True}}.get(name, {})
    name, gradients = ("SGD" if arguments else name), _gradients(3)
    theirs = keras.optimizers.schedules.ExponentialDecay(0.1, 3, 0.7, staircase=True)
    mine = schedules.ExponentialDecay(0.1, 3, 0.7, staircase=True)
    expected = _keras_run(getattr(keras.optimizers, name)(theirs, weight_decay=0.1, **arguments), gradients)
    _same(_our_run(getattr(ours, name)(mine, weight_decay=0.1, **arguments), gradients), expected)


def test_schedule_counts_every_step_under_accumulation_as_keras_does():
    gradients = _gradients(4)
    theirs = keras.optimizers.Adam(
        keras.optimizers.schedules.ExponentialDecay(0.1, 2, 0.8), gradient_accumulation_steps=4
    )
    mine = ours.Adam(schedules.ExponentialDecay(0.1, 2, 0.8), gradient_accumulation_steps=4)
    _same(_our_run(mine, gradients), _keras_run(theirs, gradients))
    assert mine.iterations == int(theirs.iterations) == 5


@pytest.mark.parametrize("name", ["Adam", "SGD", "Lion"])
def test_exclusion_from_decay_by_name_gives_keras_parameters(name):
    gradients = _gradients(5)
    theirs = _keras_run(getattr(keras.optimizers, name)(0.05, weight_decay=0.5), gradients, skip=["v1", "v[34]"])
    _same(_our_run(getattr(ours, name)(0.05, weight_decay=0.5), gradients, skip=["v1", "v[34]"]), theirs)


@pytest.mark.parametrize("name", NAMES)
def test_config_has_the_keys_and_values_of_keras(name):
    theirs, mine = getattr(keras.optimizers, name)().get_config(), getattr(ours, name)().get_config()
    assert theirs.keys() == mine.keys()
    theirs.pop("name"), mine.pop("name")
    assert mine.pop("learning_rate") == pytest.approx(theirs.pop("learning_rate"), rel=1e-6)
    assert mine == theirs


@pytest.mark.parametrize("name", NAMES)
def test_state_tensors_are_listed_in_the_order_of_keras(name):
    extra = {"use_ema": True, "gradient_accumulation_steps": 2}
    theirs, mine = getattr(keras.optimizers, name)(**extra), getattr(ours, name)(**extra)
    theirs.build([keras.Variable(v) for v in _starts()])
    mine.build([torch.nn.Parameter(torch.from_numpy(v)) for v in _starts()])
    expected = [tuple(v.shape) for v in theirs.variables if v.path.startswith(theirs.name)][2:]
    if name == "Adafactor":  # Keras keeps the product of rows and columns too, and scalars for what it does not keep
        assert sum(t.numel() for t in mine.variables) < sum(int(np.prod(s)) for s in expected)
    else:
        assert [tuple(t.shape) for t in mine.variables] == expected


@pytest.mark.parametrize(
    ("mine", "theirs"),
    [
        (lambda: ours.SGD(0.05), lambda p: torch.optim.SGD(p, 0.05)),
        (lambda: ours.SGD(0.05, momentum=0.9), lambda p: torch.optim.SGD(p, 0.05, momentum=0.9)),
        (
            lambda: ours.SGD(0.05, momentum=0.9, nesterov=True),
            lambda p: torch.optim.SGD(p, 0.05, momentum=0.9, nesterov=True),
        ),
        (lambda: ours.Adam(0.05, epsilon=1e-12), lambda p: torch.optim.Adam(p, 0.05, eps=1e-12)),
        (
            lambda: ours.AdamW(0.05, epsilon=1e-12, weight_decay=0.1),
            lambda p: torch.optim.AdamW(p, 0.05, eps=1e-12, weight_decay=0.1),
        ),
        (lambda: ours.Adamax(0.05, epsilon=1e-12), lambda p: torch.optim.Adamax(p, 0.05, eps=1e-12)),
    ],
    ids=["sgd", "momentum", "nesterov", "adam", "adamw", "adamax"],
)
def test_rule_gives_the_parameters_of_torch_optim(mine, theirs):
    gradients = _gradients(6)
    parameters = [torch.nn.Parameter(torch.from_numpy(v)) for v in _starts()]
    oracle = theirs(parameters)
    for step in gradients:
        for parameter, grad in zip(parameters, step, strict=True):
            parameter.grad = torch.from_numpy(grad)
        oracle.step()
    _same(_our_run(mine(), gradients), [p.detach().numpy() for p in parameters])


@pytest.mark.parametrize("name", NAMES)
def test_dynamic_loss_scale_gives_keras_parameters_and_scale(name):
    """Three of twenty steps meet a gradient that is not finite; the average, decay and schedule must not notice."""
    gradients = _gradients(7)
    for step, value in ((0, np.inf), (8, np.nan), (9, -np.inf)):
        gradients[step][1][2] = value
    options = {"weight_decay": 0.1, "use_ema": True, "ema_momentum": 0.8}
    theirs = keras.optimizers.LossScaleOptimizer(getattr(keras.optimizers, name)(0.05, **options), 64.0, 3)
    mine = ours.LossScaleOptimizer(getattr(ours, name)(0.05, **options), 64.0, 3)
    variables = [keras.Variable(v) for v in _starts()]
    parameters = [_parameter(v) for v in _starts()]
    for step in gradients:
        theirs.apply([torch.from_numpy(g) for g in step], variables)
        mine.apply([torch.from_numpy(g) for g in step], parameters)
        assert mine.dynamic_scale.item() == float(theirs.dynamic_scale)
    assert mine.iterations == int(theirs.iterations) == 17
    _same([p.detach().numpy() for p in parameters], [v.value.detach().numpy() for v in variables], tolerance=1e-6)
    theirs.finalize_variable_values(variables)
    mine.finalize_variable_values(parameters)
    _same([p.detach().numpy() for p in parameters], [v.value.detach().numpy() for v in variables], tolerance=1e-6)
