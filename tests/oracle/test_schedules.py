"""Learning-rate schedules against Keras itself."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from lamina.optimizers import schedules
from lamina.registry import SCHEDULES

CASES = [
    ("ExponentialDecay", {"initial_learning_rate": 0.1, "decay_steps": 7, "decay_rate": 0.6}),
    ("ExponentialDecay", {"initial_learning_rate": 0.1, "decay_steps": 7, "decay_rate": 0.6, "staircase": True}),
    ("InverseTimeDecay", {"initial_learning_rate": 0.1, "decay_steps": 7, "decay_rate": 0.6}),
    ("InverseTimeDecay", {"initial_learning_rate": 0.1, "decay_steps": 7, "decay_rate": 0.6, "staircase": True}),
    ("PolynomialDecay", {"initial_learning_rate": 0.1, "decay_steps": 20}),
    ("PolynomialDecay", {"initial_learning_rate": 0.1, "decay_steps": 20, "end_learning_rate": 0.02, "power": 2.5}),
    ("PolynomialDecay", {"initial_learning_rate": 0.1, "decay_steps": 8, "power": 0.5, "cycle": True}),
    ("PiecewiseConstantDecay", {"boundaries": [3, 10, 11], "values": [1.0, 0.5, 0.25, 0.1]}),
    ("CosineDecay", {"initial_learning_rate": 0.1, "decay_steps": 20}),
    ("CosineDecay", {"initial_learning_rate": 0.1, "decay_steps": 20, "alpha": 0.2}),
    (
        "CosineDecay",
        {"initial_learning_rate": 0.01, "decay_steps": 20, "alpha": 0.1, "warmup_target": 0.3, "warmup_steps": 6},
    ),
    ("CosineDecay", {"initial_learning_rate": 0.01, "decay_steps": 20, "warmup_target": 0.3}),
    ("CosineDecayRestarts", {"initial_learning_rate": 0.1, "first_decay_steps": 9.5}),
    (
        "CosineDecayRestarts",
        {"initial_learning_rate": 0.1, "first_decay_steps": 6.5, "t_mul": 1.5, "m_mul": 0.7, "alpha": 0.1},
    ),
    ("CosineDecayRestarts", {"initial_learning_rate": 0.1, "first_decay_steps": 6.5, "t_mul": 1.0, "m_mul": 0.8}),
]
IDS = [f"{name}-{'-'.join(list(arguments)[2:])}" for name, arguments in CASES]


@pytest.mark.parametrize(("name", "arguments"), CASES, ids=IDS)
def test_schedule_gives_keras_rate_at_each_of_50_steps(name, arguments):
    theirs, mine = getattr(keras.optimizers.schedules, name)(**arguments), getattr(schedules, name)(**arguments)
    expected = [float(theirs(step)) for step in range(50)]
    assert max(expected) > min(expected)
    np.testing.assert_allclose([mine(step) for step in range(50)], expected, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize(("name", "arguments"), CASES, ids=IDS)
def test_schedule_has_keras_config(name, arguments):
    theirs, mine = getattr(keras.optimizers.schedules, name)(**arguments), getattr(schedules, name)(**arguments)
    assert mine.get_config() == theirs.get_config()


def test_every_registered_schedule_is_compared():
    assert {name for name, _ in CASES} == set(SCHEDULES)
