"""The hierarchy of errors and the words that they are made of."""

from __future__ import annotations

import builtins
import copy
import inspect
import pickle

import pytest

from lamina import errors
from lamina.errors import ArgumentError, LaminaError, ShapeError, nearest, unknown_name

CLASSES = [value for value in vars(errors).values() if inspect.isclass(value) and value.__module__ == errors.__name__]


def test_a_message_has_four_parts_in_one_order():
    error = ShapeError("It does not fit.", fix="turn it", received="(3,)", expected="(2,)", path=["net", "dense"])
    assert str(error).splitlines() == [
        "Layer 'net/dense': It does not fit.",
        "  expected: (2,)",
        "  received: (3,)",
        "  fix:      turn it",
    ]


def test_parts_that_are_not_there_leave_no_line():
    assert str(LaminaError("Something is wrong.")) == "Something is wrong."
    assert str(LaminaError("Something is wrong.", fix="")) == "Something is wrong."


def test_the_path_grows_on_the_way_out():
    error = LaminaError("Wrong.", path=["dense"])
    error.path.insert(0, "encoder")
    assert str(error).startswith("Layer 'encoder/dense': ")


@pytest.mark.parametrize("kind", CLASSES)
def test_every_error_is_caught_by_one_class_and_by_a_builtin_one(kind):
    assert issubclass(kind, LaminaError)
    standard = [base for base in kind.__mro__ if getattr(builtins, base.__name__, None) is base]
    assert kind is LaminaError or standard[0] in (ValueError, TypeError, ArithmeticError, OSError)


@pytest.mark.parametrize("kind", CLASSES)
@pytest.mark.parametrize("carry", [copy.deepcopy, lambda error: pickle.loads(pickle.dumps(error))])
def test_an_error_survives_the_way_back_from_a_worker(kind, carry):
    error = kind("What.", expected="a", received="b", fix="c", path=["one", "two"])
    twin = carry(error)
    assert type(twin) is kind
    assert str(twin) == str(error) and twin.path == ["one", "two"] and twin.args == ("What.",)


@pytest.mark.parametrize(
    ("name", "found"),
    [("adm", "adam"), ("ADAM", "adam"), ("rms_prop", "rmsprop"), ("Sgd", "sgd"), ("", None), ("zzzz", None)],
)
def test_the_nearest_name_is_found_whatever_its_case(name, found):
    assert nearest(name, ["sgd", "adam", "rmsprop"]) == found


def test_of_two_spellings_that_differ_in_case_one_is_chosen_always():
    assert {nearest("relu", names) for names in (["ReLU", "relu"], ["relu", "ReLU"])} == {"ReLU"}


def test_an_unknown_name_lists_the_known_ones_in_order_and_offers_the_nearest():
    error = unknown_name("optimizer", "adm", {"sgd": 1, "adam": 2})
    assert str(error).splitlines() == [
        "There is no optimizer named 'adm'.",
        "  expected: one of adam, sgd",
        "  received: 'adm'",
        "  fix:      did you mean 'adam'?",
    ]


@pytest.mark.parametrize("name", ["qqqq", 3, None])
def test_an_unknown_name_without_a_likely_one_says_what_may_be_passed(name):
    assert unknown_name("loss", name, ["mse"]).fix == "pass one of the names above, or the loss itself"


def test_except_value_error_catches_a_wrong_argument():
    with pytest.raises(ValueError, match="Too small"):
        raise ArgumentError("Too small.")
