"""Held-out parts: every class in its share, every row once, the same rows each time."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lamina.datasets import split
from lamina.errors import ArgumentError, DataError


@settings(max_examples=100, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=6).filter(lambda sizes: sum(sizes) >= 12),
    fraction=st.floats(0.05, 0.95),
    seed=st.integers(0, 9),
)
def test_every_row_is_in_one_part_and_every_class_in_its_share(sizes, fraction, seed):
    y = np.repeat(np.arange(len(sizes)), sizes)
    x = np.arange(len(y))
    try:
        (x_train, y_train), (x_test, y_test) = split(x, y, fraction, seed)
    except DataError:
        assert round(fraction * len(y)) <= len(sizes)  # only single rows could have been held out
        return
    assert sorted([*x_train, *x_test]) == x.tolist()
    np.testing.assert_array_equal(y[x_train], y_train)
    np.testing.assert_array_equal(y[x_test], y_test)
    held_out = np.bincount(y_test, minlength=len(sizes))
    expected = np.minimum(fraction * np.array(sizes), np.array(sizes) - 1)
    assert np.abs(held_out - expected).max() < 1
    assert (held_out < sizes).all()


def test_the_total_is_the_fraction_of_all_rows():
    y = np.repeat(np.arange(7), 13)
    (_, y_train), (_, y_test) = split(y, y, 0.2)
    assert len(y_test) == round(0.2 * 91) and len(y_train) == 91 - len(y_test)


def test_a_seed_gives_the_same_rows_for_ever():
    """Numbers recorded once: a file of results must be comparable with next year's."""
    (x_train, _), (x_test, _) = split(np.arange(10), np.array([0, 0, 0, 0, 0, 1, 1, 1, 1, 1]), 0.4, seed=3)
    assert x_train.tolist() == [1, 9, 0, 2, 8, 5]
    assert x_test.tolist() == [3, 6, 4, 7]


def test_another_seed_gives_other_rows():
    y = np.zeros(50, int)
    assert split(np.arange(50), y, seed=0)[1][0].tolist() != split(np.arange(50), y, seed=1)[1][0].tolist()


def test_rows_come_shuffled_when_the_classes_were_in_order():
    y = np.repeat([0, 1], 50)
    (_, y_train), (_, y_test) = split(y, y, 0.5)
    assert len(set(y_train[:20])) == 2 and len(set(y_test[:20])) == 2


def test_tensors_and_string_labels_are_split_too():
    x = torch.arange(8.0)
    (x_train, y_train), (x_test, y_test) = split(x, np.array(list("aabbaabb")), 0.25)
    assert isinstance(x_train, torch.Tensor) and isinstance(x_test, torch.Tensor)
    assert sorted(y_test) == ["a", "b"] and sorted(y_train) == ["a"] * 3 + ["b"] * 3
    assert sorted([*x_train.tolist(), *x_test.tolist()]) == x.tolist()


@pytest.mark.parametrize("fraction", [0, 1, -0.5, 20])
def test_a_fraction_outside_0_to_1_is_refused(fraction):
    with pytest.raises(ArgumentError, match="cannot be held out[\\s\\S]*between 0 and 1[\\s\\S]*" + str(fraction)):
        split(np.arange(4), np.array([0, 0, 1, 1]), fraction)


def test_labels_of_another_length_are_refused():
    with pytest.raises(DataError, match=r"do not fit together[\s\S]*the 4 rows of x[\s\S]*y of shape \(3,\)"):
        split(np.arange(4), np.array([0, 0, 1]))


def test_one_hot_labels_are_refused_with_the_way_out():
    with pytest.raises(DataError, match=r"y of shape \(4, 2\)[\s\S]*y.argmax\(axis=-1\)"):
        split(np.arange(4), np.eye(2)[[0, 1, 0, 1]])


def test_too_few_rows_to_hold_any_out_are_refused():
    with pytest.raises(DataError, match=r"too few rows to hold any out[\s\S]*3 rows in 3 classes, fraction=0.5"):
        split(np.arange(3), np.array([0, 1, 2]), 0.5)
