"""Comparing a value with the best so far."""

from __future__ import annotations

import math
import types

import pytest

from lamina.callbacks.improvement import MonitorCallback
from lamina.errors import ArgumentError


@pytest.mark.parametrize(
    "mode, value, reference, better",
    [
        ("min", 0.4, 0.5, True),
        ("min", 0.5, 0.5, False),
        ("max", 0.5, 0.4, True),
        ("max", 0.4, 0.5, False),
        ("min", 0.4, None, True),
        ("max", math.nan, None, False),
        ("min", math.nan, 0.5, False),
        ("min", 0.5, math.nan, True),
        ("min", 0.5, math.inf, True),
        ("max", 0.5, -math.inf, True),
    ],
)
def test_better_depends_on_the_mode(mode, value, reference, better):
    assert MonitorCallback("x", mode).improves(value, reference) is better


@pytest.mark.parametrize("min_delta", [0.1, -0.1])
def test_a_value_must_be_better_by_more_than_the_least_difference(min_delta):
    callback = MonitorCallback("loss", min_delta=min_delta)
    assert callback.improves(0.39, 0.5) and not callback.improves(0.41, 0.5)
    # 0.4 - 0.3 is a little more than 0.1 in double precision; in that of the metrics it is not.
    assert not callback.improves(0.3, 0.4)


def test_auto_goes_by_the_metric():
    callback = MonitorCallback("val_auc")
    assert callback.sign == 1 and MonitorCallback("loss").sign == -1
    callback.set_model(types.SimpleNamespace(metrics=[types.SimpleNamespace(name="auc", direction="down")]))
    assert callback.sign == -1


def test_there_are_three_modes():
    with pytest.raises(ArgumentError, match="'auto', 'min' or 'max'"):
        MonitorCallback("loss", "maximum")


def test_a_value_that_is_not_there_is_an_error_unless_it_was_promised():
    callback = MonitorCallback("val_loss")
    assert callback.current({"val_loss": 0.5}) == 0.5
    assert callback.current({"loss": 0.5}) is None
    with pytest.raises(ArgumentError, match="expected: one of loss"):
        MonitorCallback("val_loss").current({"loss": 0.5})
