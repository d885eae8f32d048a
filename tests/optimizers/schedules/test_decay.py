from __future__ import annotations

import pytest

from lamina.errors import ArgumentError
from lamina.optimizers.schedules import ExponentialDecay, InverseTimeDecay, PiecewiseConstantDecay, PolynomialDecay


def test_exponential_decay_multiplies_by_the_rate_every_decay_steps():
    schedule = ExponentialDecay(1.0, decay_steps=4, decay_rate=0.25)
    assert [schedule(step) for step in (0, 2, 4, 8)] == [1.0, 0.5, 0.25, 0.0625]


def test_a_staircase_stays_level_between_its_steps():
    schedule = ExponentialDecay(1.0, decay_steps=4, decay_rate=0.25, staircase=True)
    assert [schedule(step) for step in (0, 3, 4, 7)] == [1.0, 1.0, 0.25, 0.25]


def test_inverse_time_decay_divides_by_time():
    assert [InverseTimeDecay(1.0, 2, 1.0)(step) for step in (0, 2, 6)] == [1.0, 0.5, 0.25]
    assert InverseTimeDecay(1.0, 2, 1.0, staircase=True)(3) == 0.5


def test_polynomial_decay_stays_at_its_end():
    assert PolynomialDecay(1.0, 10, end_learning_rate=0.5)(1000) == 0.5


def test_a_cycle_starts_again_lower():
    schedule = PolynomialDecay(1.0, 10, end_learning_rate=0.0, cycle=True)
    assert [schedule(step) for step in (0, 10, 15, 20)] == pytest.approx([1.0, 0.0, 0.25, 0.0])


def test_a_boundary_belongs_to_the_piece_before_it():
    schedule = PiecewiseConstantDecay([2, 5], [3.0, 2.0, 1.0])
    assert [schedule(step) for step in (0, 2, 3, 5, 6)] == [3.0, 3.0, 2.0, 2.0, 1.0]


def test_too_few_values_are_refused():
    with pytest.raises(ArgumentError, match="3 values for 2 boundaries"):
        PiecewiseConstantDecay([1, 2], [0.1, 0.2])


def test_boundaries_out_of_order_are_refused():
    with pytest.raises(ArgumentError, match="not in rising order"):
        PiecewiseConstantDecay([2, 1], [0.1, 0.2, 0.3])
