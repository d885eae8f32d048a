"""Users' classes and functions by name: registered for good, in a block, or passed to whoever loads."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import lamina
from lamina import layers as L
from lamina.custom_objects import find_custom, find_custom_function
from lamina.errors import ArgumentError, LoadError, UnknownNameError
from lamina.saving import (
    CustomObjectScope,
    custom_object_scope,
    deserialize_keras_object,
    get_custom_objects,
    get_registered_name,
    get_registered_object,
    load_model,
    register_keras_serializable,
    register_serializable,
    serialize_keras_object,
)


@pytest.fixture(autouse=True)
def clean():
    before = dict(get_custom_objects())
    yield
    get_custom_objects().clear()
    get_custom_objects().update(before)


class Scaled(L.Layer):
    def __init__(self, factor: float = 2.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.factor = factor

    def call(self, x: Any) -> Any:
        return x * self.factor


def test_both_names_are_one_function():
    assert register_serializable is register_keras_serializable and CustomObjectScope is custom_object_scope
    assert lamina.saving.register_serializable is register_serializable


def test_registering_gives_a_name_with_a_package():
    assert register_serializable("pack")(Scaled) is Scaled
    assert get_registered_name(Scaled) == "pack>Scaled" and get_registered_object("pack>Scaled") is Scaled
    register_serializable()(len)
    assert get_registered_name(len) == "Custom>len"
    assert get_registered_name(print) == "print" and get_registered_object("nothing") is None
    assert get_registered_object("x", {"x": 1}) == 1 and get_registered_object("y", None, {"y": 2}) == 2


def test_a_class_without_a_config_is_not_registered():
    class Bare:
        pass

    with pytest.raises(ArgumentError, match="Bare cannot be registered") as caught:
        register_serializable()(Bare)
    assert "get_config" in str(caught.value)
    register_serializable()(torch.nn.Linear)  # a torch module keeps its state itself


def test_a_scope_ends():
    with CustomObjectScope({"Scaled": Scaled}) as scope:
        assert find_custom("Scaled") is Scaled
        with scope, CustomObjectScope({"other": len}):
            assert find_custom("Scaled") is Scaled and find_custom("other") is len
        assert find_custom("other") is None
    assert find_custom("Scaled") is None
    with pytest.raises(RuntimeError), CustomObjectScope({"Scaled": Scaled}):
        raise RuntimeError
    assert find_custom("Scaled", None, 3) is None


def test_names_with_and_without_a_package():
    with CustomObjectScope({"Scaled": Scaled}):
        assert find_custom("pack>Scaled") is Scaled
    register_serializable("pack")(Scaled)
    assert find_custom("Scaled") is None and find_custom("pack>Scaled") is Scaled
    register_serializable("pack")(scale)
    assert find_custom_function("scale") is scale and find_custom_function("Scaled") is None


def scale(x: Any) -> Any:
    return x * 2


@pytest.mark.parametrize("how", ["registered", "scope", "passed"])
def test_a_custom_layer_loads(how, tmp_path):
    if how == "registered":
        register_serializable("pack")(Scaled)
    model = lamina.Sequential([L.Input((2,)), Scaled(3.0), L.Dense(1)])
    model.save(tmp_path / "m.keras")
    x = torch.randn(3, 2)
    if how == "registered":
        again = load_model(tmp_path / "m.keras")
    elif how == "scope":
        with CustomObjectScope({"Scaled": Scaled}):
            again = load_model(tmp_path / "m.keras")
    else:
        again = load_model(tmp_path / "m.keras", custom_objects={"Scaled": Scaled})
    assert again.layers[0].factor == 3.0 and torch.equal(again(x), model(x))
    get_custom_objects().clear()
    with pytest.raises(UnknownNameError, match="There is no layer named 'Scaled'"):
        load_model(tmp_path / "m.keras")


def test_custom_objects_of_every_kind_load(tmp_path):
    class Halves(lamina.initializers.Initializer):
        def __call__(self, shape, dtype=None):
            return torch.full(shape, 0.5, dtype=dtype)

    class Sum(lamina.regularizers.Regularizer):
        def __call__(self, x):
            return x.sum()

    class Cubed(lamina.losses.Loss):
        def call(self, y_true, y_pred):
            return (y_true - y_pred).abs().pow(3).mean(dim=-1)

    class Halving(lamina.optimizers.schedules.LearningRateSchedule):
        def __init__(self, start=0.5):
            self.start = start

        def __call__(self, step):
            return self.start * 0.5**step

    class SignDescent(lamina.optimizers.Optimizer):
        def update(self, group, grads, learning_rate, step):
            torch._foreach_sub_(group.parameters, [learning_rate * g.sign() for g in grads])

    def distance(y_true, y_pred):
        return (y_true - y_pred).abs().mean(dim=-1)

    inner = L.RNN(L.LSTMCell(2, kernel_initializer=Halves(), recurrent_regularizer=Sum()))
    model = lamina.Sequential([L.Input((3, 2)), inner, L.Dense(1, activation=scale, kernel_initializer=Halves())])
    model.compile(SignDescent(Halving(0.25)), Cubed(), metrics=[distance])
    model.fit(torch.ones(4, 3, 2), torch.ones(4, 1), verbose=0)
    model.save(tmp_path / "m.keras")
    custom = {c.__name__: c for c in (Halves, Sum, Cubed, Halving, SignDescent, distance, scale)}
    again = load_model(tmp_path / "m.keras", custom)
    assert type(again.optimizer) is SignDescent and again.optimizer.learning_rate == 0.125
    assert type(again.layers[-1].kernel_initializer) is Halves and again.layers[-1].activation is scale
    x, y = torch.ones(4, 3, 2), torch.ones(4, 1)
    assert again.evaluate(x, y, verbose=0) == model.evaluate(x, y, verbose=0)
    for name in custom:
        with pytest.raises((UnknownNameError, LoadError), match=name):
            load_model(tmp_path / "m.keras", {key: value for key, value in custom.items() if key != name})


def test_plain_data_and_objects_go_round():
    data = {"a": [1, 2.5, None, True, "x"], "b": (1, slice(1, None, 2)), "c": b"bytes", "d": Ellipsis}
    again = deserialize_keras_object(serialize_keras_object(data))
    assert again == {**data, "b": [1, slice(1, None, 2)]}
    tensor = deserialize_keras_object(serialize_keras_object(torch.tensor([1.5, 2.0], dtype=torch.float64)))
    assert tensor.dtype is torch.float64 and tensor.tolist() == [1.5, 2.0]
    assert serialize_keras_object(torch.float16) == "float16"
    policy = deserialize_keras_object(serialize_keras_object(lamina.DTypePolicy("mixed_bfloat16")))
    assert policy == lamina.DTypePolicy("mixed_bfloat16")
    layer = deserialize_keras_object(serialize_keras_object([L.Dense(3, name="d")]))[0]
    assert layer.units == 3 and layer.name == "d" and not layer.built
    built = L.Dense(3)
    built.build((None, 4))
    assert deserialize_keras_object(serialize_keras_object(built)).kernel.shape == (4, 3)


def test_one_object_in_two_places_is_one_again():
    shared = L.Dense(3)
    first, second = deserialize_keras_object(serialize_keras_object([shared, shared]))
    assert first is second
    first, second = deserialize_keras_object(serialize_keras_object([L.Dense(3), L.Dense(3)]))
    assert first is not second
    assert "shared_object_id" not in serialize_keras_object(L.Dense(3))


def test_what_no_file_can_hold_is_named():
    class Holder(L.Layer):
        def __init__(self, thing: Any = None, **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self.thing = thing

        def call(self, x: Any) -> Any:
            return x

    with pytest.raises(
        ArgumentError, match=r"Holder keeper\['config'\]\['thing'\] cannot be written to a file"
    ) as caught:
        serialize_keras_object(Holder(object(), name="keeper"))
    assert "write get_config" in str(caught.value)


@pytest.mark.parametrize("name", ["__lambda__", "__typespec__"])
def test_code_is_refused_wherever_it_stands(name):
    with pytest.raises(LoadError, match="Python bytecode, which is never run"):
        deserialize_keras_object({"a": [{"class_name": name, "config": {"value": "x"}}]}, safe_mode=False)


# ---------------------------------------------------------------------- torch modules
class Own(torch.nn.Module):
    def __init__(self, width: int, bias: bool = True) -> None:
        super().__init__()
        self.width = width
        self.net = torch.nn.Sequential(torch.nn.Linear(3, width, bias=bias), torch.nn.BatchNorm1d(width))

    def forward(self, x: Any) -> Any:
        return self.net(x)


def test_a_torch_module_loads_only_when_its_class_is_given(tmp_path):
    model = lamina.Sequential([L.Input((3,)), Own(4), torch.nn.Linear(4, 2, bias=False), L.Dense(1)])
    with torch.no_grad():
        for weight in model.parameters():
            weight.uniform_()
    model.save(tmp_path / "m.keras")
    path = f"{Own.__module__}.Own"
    with pytest.raises(LoadError, match="never imported because a file says so") as caught:
        load_model(tmp_path / "m.keras")
    assert repr(path) in str(caught.value)
    x = torch.randn(5, 3)
    for classes in (
        {path: Own, "torch.nn.modules.linear.Linear": torch.nn.Linear},
        {"Own": lambda: Own(4), "Linear": torch.nn.Linear},
        {"Own": Own(4), "Linear": torch.nn.Linear(4, 2, bias=False)},
    ):
        assert torch.equal(load_model(tmp_path / "m.keras", classes)(x), model(x))
    with pytest.raises(LoadError, match="cannot be made from what the file says"):
        load_model(tmp_path / "m.keras", {"Own": lambda width: width, "Linear": torch.nn.Linear})
    register_serializable("mine")(Own)
    register_serializable("torch")(torch.nn.Linear)
    model.save(tmp_path / "r.keras")
    assert torch.equal(load_model(tmp_path / "r.keras")(x), model(x))
