from __future__ import annotations

import pytest

from lamina.errors import ArgumentError
from lamina.optimizers.schedules import CosineDecay, CosineDecayRestarts


def test_cosine_decay_is_half_way_in_the_middle_and_stays_at_alpha():
    schedule = CosineDecay(2.0, 10, alpha=0.25)
    assert [schedule(step) for step in (0, 5, 10, 99)] == pytest.approx([2.0, 1.25, 0.5, 0.5])


def test_warm_up_is_linear_and_the_decay_starts_from_its_target():
    schedule = CosineDecay(0.0, 10, warmup_target=4.0, warmup_steps=4)
    assert [schedule(step) for step in (0, 1, 4, 9, 14)] == pytest.approx([0.0, 1.0, 4.0, 2.0, 0.0])


@pytest.mark.parametrize("t_mul", [1.0, 2.0, 10.0])
def test_each_restart_is_at_its_very_step(t_mul):
    """The 3rd restart of t_mul=10 is the step where log(1000) / log(10) falls just below 3 in floating point."""
    schedule = CosineDecayRestarts(1.0, first_decay_steps=10, t_mul=t_mul, m_mul=0.5)
    step, length = 0, 10
    for restart in range(4):
        assert schedule(step) == pytest.approx(0.5**restart)
        step, length = step + int(length), length * t_mul
        assert schedule(step - 1) < 0.5 ** (restart + 1)


def test_waves_that_grow_shorter_are_refused():
    with pytest.raises(ArgumentError, match="t_mul >= 1"):
        CosineDecayRestarts(0.1, 10, t_mul=0.5)


def test_a_first_wave_without_steps_is_refused():
    with pytest.raises(ArgumentError, match="first_decay_steps > 0"):
        CosineDecayRestarts(0.1, 0)
