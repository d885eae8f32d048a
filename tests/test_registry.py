"""Registries: from names to objects and back, without importing anything."""

from __future__ import annotations

import pytest

import lamina
from lamina import registry
from lamina.configurable import Configurable
from lamina.errors import ArgumentError, DtypeError, LaminaError, UnknownNameError
from lamina.registry import Registry, snake_case

REGISTRIES = {name: value for name, value in vars(registry).items() if isinstance(value, Registry)}
for package in ("activations", "callbacks", "constraints", "initializers", "layers", "losses", "metrics", "optimizers"):
    getattr(lamina, package)  # registration happens on import


@pytest.fixture
def shapes():
    """A registry with a class, a function and a class that needs an argument."""
    found = Registry("shape")

    @found.register("sq")
    class UnitSquare(Configurable):
        def __init__(self, side=1.0):
            self.side = side

    @found.register()
    class Circle(Configurable):
        def __init__(self, radius, *, colour, name=None, **rest):
            self.radius, self.colour, self.name = radius, colour, name

    @found.register("pt")
    def point(x):
        return x

    return found


@pytest.mark.parametrize(
    ("name", "snake"),
    [
        ("Dense", "dense"),
        ("Conv2DTranspose", "conv2d_transpose"),
        ("MaxPooling2D", "max_pooling2d"),
        ("LSTM", "lstm"),
        ("LSTMCell", "lstm_cell"),
        ("GRU", "gru"),
        ("ReLU", "re_lu"),
        ("PReLU", "p_re_lu"),
        ("SimpleRNN", "simple_rnn"),
        ("RNN", "rnn"),
        ("GlobalAveragePooling1D", "global_average_pooling1d"),
        ("already_snake", "already_snake"),
        ("KLDivergence", "kl_divergence"),
        ("With Space!", "with_space"),
        ("", ""),
    ],
)
def test_names_become_snake_case(name, snake):
    assert snake_case(name) == snake


def test_a_class_is_found_under_its_name_its_snake_case_name_and_its_aliases(shapes):
    kinds = {type(shapes.get(name)).__name__ for name in ("UnitSquare", "unit_square", "sq")}
    assert kinds == {"UnitSquare"}
    assert shapes.get("sq") is not shapes.get("sq")


def test_a_function_is_given_out_as_it_is(shapes):
    assert shapes.get("point") is shapes.get("pt") is shapes["point"]


def test_iteration_gives_each_object_once_in_order(shapes):
    assert list(shapes) == ["UnitSquare", "Circle", "point"]
    assert shapes.names == {
        "UnitSquare": "UnitSquare",
        "unit_square": "UnitSquare",
        "sq": "UnitSquare",
        "Circle": "Circle",
        "circle": "Circle",
        "point": "point",
        "pt": "point",
    }
    assert "sq" in shapes and "SQ" not in shapes


def test_the_table_of_names_is_a_copy(shapes):
    shapes.names.clear()
    assert "sq" in shapes


def test_get_takes_none_objects_classes_functions_and_configs(shapes):
    assert shapes.get(None) is None
    square = shapes["UnitSquare"](3.0)
    assert shapes.get(square) is square
    assert shapes.get(type(square)).side == 1.0
    assert shapes.get({"class_name": "UnitSquare", "config": {"side": 2.0}}).side == 2.0
    assert shapes.get(len) is len


def test_an_unknown_name_is_answered_with_the_nearest(shapes):
    with pytest.raises(UnknownNameError, match="There is no shape named 'Unit_Sqare'") as caught:
        shapes.get("Unit_Sqare")
    assert caught.value.fix == "did you mean 'UnitSquare'?"


@pytest.mark.parametrize("name", [["sq"], {"a": 1}, 7])
def test_a_key_that_is_no_string_names_nothing(shapes, name):
    with pytest.raises(UnknownNameError, match="There is no shape named"):
        shapes[name]


@pytest.mark.parametrize("thing", [3, 2.5, [1], object()])
def test_what_cannot_become_an_object_is_refused(shapes, thing):
    with pytest.raises(DtypeError, match="Cannot make a shape of this") as caught:
        shapes.get(thing)
    assert type(thing).__name__ in caught.value.received and "'UnitSquare'" in caught.value.fix


def test_the_article_before_a_vowel_is_an():
    with pytest.raises(DtypeError, match="Cannot make an activation of this"):
        registry.ACTIVATIONS.get(3)


@pytest.mark.parametrize("how", ["Circle", "circle", "class"])
def test_a_class_that_needs_arguments_says_which(shapes, how):
    with pytest.raises(ArgumentError, match="The shape Circle cannot be made from its name or class alone") as caught:
        shapes.get(shapes["Circle"] if how == "class" else how)
    assert caught.value.expected == "an object, made with radius, colour"
    assert caught.value.fix == "pass Circle(radius=..., colour=...)"


def test_an_error_in_a_constructor_without_arguments_is_passed_on(shapes):
    class Broken:
        def __init__(self):
            len(3)

    with pytest.raises(TypeError, match="has no len"):
        shapes.get(Broken)


def test_no_two_objects_share_a_name(shapes):
    def register(name, *aliases):
        shapes.register(*aliases)(type(name, (), {}))

    for name, aliases in [("UnitSquare", ()), ("Other", ("sq",)), ("Other", ("point",)), ("pt", ()), ("circle", ())]:
        with pytest.raises(ArgumentError, match="The shape name '.*' is taken"):
            register(name, *aliases)
    assert list(shapes) == ["UnitSquare", "Circle", "point"] and "Other" not in shapes


def test_registering_one_object_again_changes_nothing(shapes):
    shapes.register("sq", "quad")(shapes["UnitSquare"])
    assert list(shapes) == ["UnitSquare", "Circle", "point"] and shapes["quad"] is shapes["sq"]


def test_a_snake_case_name_goes_to_whoever_comes_first(shapes):
    shapes.register()(type("UnitSQUARE", (), {}))
    assert snake_case("UnitSQUARE") == "unit_square"
    assert shapes["unit_square"] is shapes["UnitSquare"]


def test_serialize_and_deserialize_undo_each_other(shapes):
    data = shapes.serialize(shapes["Circle"](2.0, colour="red", name="c"))
    assert data == {"class_name": "Circle", "config": {"radius": 2.0, "colour": "red", "name": "c"}}
    twin = shapes.deserialize(data)
    assert (twin.radius, twin.colour, twin.name) == (2.0, "red", "c")
    assert shapes.serialize(shapes["point"]) == "point" and shapes.deserialize("point") is shapes["point"]


@pytest.mark.parametrize("data", [None, "sq", {"class_name": "UnitSquare"}])
def test_serialize_leaves_data_alone(shapes, data):
    assert shapes.serialize(data) is data


def test_an_object_without_config_is_serialized_by_its_name(shapes):
    assert shapes.serialize(object()) == "object"


@pytest.mark.parametrize("config", [{}, {"config": None}, {"config": {}}])
def test_a_config_may_be_left_out(shapes, config):
    assert shapes.deserialize({"class_name": "sq", **config}).side == 1.0


def test_a_class_without_from_config_is_called():
    plain = Registry("thing")

    @plain.register()
    class Thing:
        def __init__(self, a):
            self.a = a

    assert plain.deserialize({"class_name": "Thing", "config": {"a": 5}}).a == 5


def test_a_dict_that_describes_nothing_is_refused(shapes):
    with pytest.raises(DtypeError, match="This dict does not describe a shape") as caught:
        shapes.get({"name": "sq", "module": "os"})
    assert caught.value.received == "keys ['module', 'name']"


@pytest.mark.parametrize("config", ["text", {"colour": 1}, 3, [1, 2]])
def test_a_config_of_the_wrong_form_is_refused(shapes, config):
    with pytest.raises(LaminaError, match="UnitSquare does not take this config"):
        shapes.deserialize({"class_name": "UnitSquare", "config": config})


@pytest.mark.parametrize("name", ["os.system", "builtins.eval", "lamina.seeds.set_random_seed", "__import__"])
@pytest.mark.parametrize("kind", REGISTRIES)
def test_no_registry_reaches_outside_itself(kind, name):
    for request in (name, {"class_name": name, "config": {}, "module": "builtins"}):
        with pytest.raises(UnknownNameError, match="There is no"):
            REGISTRIES[kind].get(request)


@pytest.mark.parametrize("kind", REGISTRIES)
def test_every_registered_object_is_found_under_its_own_name(kind):
    found = REGISTRIES[kind]
    assert list(found)
    for name in found:
        assert found[name].__name__ == name
        assert found[name].__module__.startswith("lamina.")
