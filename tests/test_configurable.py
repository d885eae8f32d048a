"""Configs read off signatures."""

from __future__ import annotations

import pytest

from lamina.configurable import Configurable, init_parameters
from lamina.errors import ArgumentError


class Scale(Configurable):
    def __init__(self, factor=2.0, *, name=None):
        self.factor, self.name = factor, name


class Named(Scale):
    """Inherits `__init__`."""


class Wider(Scale):
    def __init__(self, width, factor=2.0, *rest, name=None, **others):
        super().__init__(factor, name=name)
        self.width = width


def test_parameters_are_named_in_order_without_self_and_variable_ones():
    assert init_parameters(Scale) == ("factor", "name")
    assert init_parameters(Named) == ("factor", "name")
    assert init_parameters(Wider) == ("width", "factor", "name")
    assert init_parameters(type("Bare", (Configurable,), {})) == ()


@pytest.mark.parametrize("thing", [Scale(3.0, name="a"), Named(5), Wider(4, 1.0)])
def test_a_config_makes_an_equal_object(thing):
    twin = type(thing).from_config(thing.get_config())
    assert type(twin) is type(thing) and vars(twin) == vars(thing)


def test_the_config_shows_what_the_attributes_are_now():
    scale = Scale()
    scale.factor = 7
    assert scale.get_config() == {"factor": 7, "name": None}


def test_an_argument_that_was_not_stored_is_named():
    class Forgetful(Configurable):
        def __init__(self, gamma, delta=1):
            self._gamma = gamma

    with pytest.raises(ArgumentError, match="Forgetful does not know with which gamma it was made") as caught:
        Forgetful(2).get_config()
    assert caught.value.received == "no attribute gamma, delta"
    assert caught.value.fix.startswith("set self.gamma = gamma in __init__")
