"""Automatic names."""

from __future__ import annotations

from lamina import layers
from lamina.naming import auto_name, auto_name_of, reset_names
from lamina.utils import clear_session


def test_the_first_name_is_bare_and_the_others_are_numbered():
    assert [auto_name("dense") for _ in range(3)] == ["dense", "dense_1", "dense_2"]


def test_each_prefix_counts_alone():
    assert [auto_name(prefix) for prefix in ("a", "b", "a", "b")] == ["a", "b", "a_1", "b_1"]


def test_a_class_is_named_in_snake_case():
    assert auto_name_of(type("MaxPooling2D", (), {})) == "max_pooling2d"
    assert layers.MaxPooling2D().name == "max_pooling2d_1"


def test_a_name_of_ones_own_is_not_counted():
    made = [layers.Dense(1), layers.Dense(1, name="mine"), layers.Dense(1)]
    assert [layer.name for layer in made] == ["dense", "mine", "dense_1"]


def test_counting_starts_anew():
    auto_name("x")
    reset_names()
    assert auto_name("x") == "x"
    clear_session()
    assert auto_name("x") == "x"
