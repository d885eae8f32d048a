"""Configs that ask for code: in every place of a config, for every loader, nothing runs and nothing is switched."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hostile_files import (
    dense,
    expect_refused,
    keras2_config,
    keras2_file,
    keras_file,
    keras_parts,
    load_any,
    nothing_happens,
    small_model,
)

import lamina
from lamina.errors import LaminaError
from lamina.saving import deserialize_keras_object, inspect_model, legacy, load_model, model_from_json

BYTECODE = "4wEAAAAAAAAAAAAAAAEAAABTAAAAcwQAAAB8AFMAKQFOqQApAdoBeHIBAAAA"


def gadgets(canary: str) -> dict[str, Any]:
    """What has run code in Keras, read files, or switched its safety off; each as a file would say it."""
    touch = f"touch {canary}"
    python = f"open({canary!r}, 'w').close()"

    def entry(module: str | None, name: str, config: Any, registered: str | None = None) -> dict[str, Any]:
        return {"module": module, "class_name": name, "config": config, "registered_name": registered}

    return {
        "bytecode": entry("builtins", "__lambda__", {"value": BYTECODE}),
        "os.system as a class": entry("os", "system", {"command": touch}),
        "os.system as a function": entry("os", "function", "system", "function"),
        "posix.system": entry("posix", "system", touch, "system"),
        "subprocess.Popen": entry("subprocess", "Popen", {"args": ["touch", canary]}),
        "subprocess.run": entry("subprocess", "function", "run", "run"),
        "builtins.eval": entry("builtins", "function", "eval", "eval"),
        "builtins.exec": entry("builtins", "exec", {"source": python}),
        "importlib": entry("importlib", "function", "import_module"),
        "pathlib.Path.touch": entry("pathlib", "Path", {"args": [canary]}),
        "operator.methodcaller": entry("operator", "methodcaller", {"name": "system"}),
        "functools.partial": entry("functools", "partial", {"func": "os.system", "args": [touch]}),
        "keras.utils.get_file": entry("keras.utils", "get_file", {"fname": "x", "origin": "file:///etc/hostname"}),
        "lamina.utils.get_file": entry("lamina.utils", "get_file", {"fname": "x", "origin": "file:///etc/hostname"}),
        "lamina load_model": entry("lamina.saving", "load_model", {"filepath": "evil.keras", "safe_mode": False}),
        "keras load_model": entry("keras.models", "function", "load_model"),
        "unsafe mode": entry("keras.config", "enable_unsafe_deserialization", {}),
        "set_floatx": entry("lamina.config", "set_floatx", {"value": "float64"}),
        "set_floatx as a function": entry("keras.config", "function", "set_floatx"),
        "register_serializable": entry("lamina.saving", "function", "register_serializable"),
        "Lambda of bytecode": entry(
            "keras.layers", "Lambda", {"name": "evil", "function": entry("builtins", "__lambda__", {"code": BYTECODE})}
        ),
        "Lambda of Keras 2": {
            "class_name": "Lambda",
            "config": {"name": "evil", "function": [BYTECODE, None, None], "function_type": "lambda"},
        },
        "Lambda by name": entry("keras.layers", "Lambda", {"name": "evil", "function": "os.system", "module": "os"}),
        "TorchModuleWrapper": entry("keras.layers", "TorchModuleWrapper", {"module": BYTECODE}),
        "a SavedModel": entry("keras.layers", "TFSMLayer", {"filepath": "/etc"}),
        "a vocabulary": entry("keras.layers", "StringLookup", {"vocabulary": "/etc/hostname"}),
        "a type": entry("tensorflow", "__typespec__", [None]),
        "torch.load": {"class_name": "TorchOperation", "name": "x", "config": {"function": "torch.load"}},
        "torch.hub": {"class_name": "TorchOperation", "name": "x", "config": {"function": "torch.hub.load"}},
        "a private function": {"class_name": "TorchOperation", "name": "x", "config": {"function": "torch._C._jit"}},
        "tf.io": {"class_name": "TFOpLambda", "name": "x", "config": {"name": "x", "function": "io.read_file"}},
        "py_function": {"class_name": "TFOpLambda", "name": "x", "config": {"name": "x", "function": "py_function"}},
        "a class attribute": entry("keras.layers", "Dense.__init__", {"units": 3}),
        "a dunder": entry("keras.layers", "__class__", {}),
        "a module": entry("keras", "layers", {}),
        "the registry": entry("lamina.registry", "Registry", {"kind": "x"}),
    }


NAMES = list(gadgets("x"))
FEW = (
    "bytecode",
    "os.system as a function",
    "subprocess.Popen",
    "lamina load_model",
    "set_floatx",
    "Lambda of Keras 2",
)

# A path in the config of `small_model`; the gadget takes the place of what is there.
PLACES = {
    "the model": (),
    "a layer": ("config", "layers", 1),
    "an initializer": ("config", "layers", 1, "config", "kernel_initializer"),
    "an argument of an initializer": ("config", "layers", 1, "config", "kernel_initializer", "config", "seed"),
    "a regularizer": ("config", "layers", 1, "config", "kernel_regularizer"),
    "a constraint": ("config", "layers", 1, "config", "bias_constraint"),
    "an activation": ("config", "layers", 1, "config", "activation"),
    "a dtype policy": ("config", "layers", 1, "config", "dtype"),
    "units": ("config", "layers", 1, "config", "units"),
    "a name": ("config", "layers", 1, "config", "name"),
    "a new argument": ("config", "layers", 1, "config", "callbacks"),
    "a layer of a model inside": ("config", "layers", 2, "config", "layers", 1),
    "a build config": ("config", "layers", 1, "build_config", "input_shape"),
    "arguments of a call": ("config", "layers", 1, "inbound_nodes", 0, "args", 0),
    "keywords of a call": ("config", "layers", 1, "inbound_nodes", 0, "kwargs", "mask"),
    "the inputs": ("config", "input_layers"),
    "the optimizer": ("compile_config", "optimizer"),
    "a learning rate": ("compile_config", "optimizer", "config", "learning_rate"),
    "the loss": ("compile_config", "loss"),
    "a metric": ("compile_config", "metrics", 0),
    "a key beside": ("custom_objects",),
    "the class name": ("class_name",),
    "the module": ("module",),
}


def replaced(config: Any, path: tuple[Any, ...], value: Any) -> Any:
    """A copy of a config with another value at a path."""
    if not path:
        return {**value, "compile_config": config.get("compile_config")}
    found = copy.deepcopy(config)
    place = found
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return found


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    return keras_parts(small_model(), tmp_path_factory.mktemp("good"))


@pytest.fixture
def unchanged(tmp_path):
    """Afterwards the canary is not there, and every switch stands where it stood."""
    before = (lamina.config.floatx(), lamina.config.epsilon(), dict(lamina.saving.get_custom_objects()))
    yield tmp_path / "canary"
    assert not (tmp_path / "canary").exists()
    assert (lamina.config.floatx(), lamina.config.epsilon(), dict(lamina.saving.get_custom_objects())) == before


@pytest.mark.parametrize("place", PLACES)
def test_no_gadget_runs_anywhere_in_an_archive(place, parts, unchanged, tmp_path):
    for number, (name, gadget) in enumerate(gadgets(str(unchanged)).items()):
        if name not in FEW and place not in ("a layer", "an initializer"):
            continue
        config = replaced(parts["config.json"], PLACES[place], gadget)
        path = keras_file(tmp_path / "m.keras", {**parts, "config.json": config})
        with nothing_happens(tmp_path):
            try:
                model = load_model(path, safe_mode=number % 2 == 0)
            except LaminaError as error:
                assert error.what.strip(), name
            else:  # what nobody reads can stand there
                assert place in ("a key beside", "the module", "a new argument", "a build config") or model.layers


@pytest.mark.parametrize("place", PLACES)
def test_no_gadget_runs_anywhere_in_json(place, parts, unchanged, tmp_path):
    for name in FEW:
        text = json.dumps(replaced(parts["config.json"], PLACES[place], gadgets(str(unchanged))[name]))
        with nothing_happens(tmp_path):
            for reader in (model_from_json, legacy.model_from_legacy_json):
                try:
                    reader(text)
                except LaminaError as error:
                    assert error.what.strip()


@pytest.mark.parametrize("name", NAMES)
def test_a_gadget_alone_is_refused(name, unchanged, tmp_path):
    gadget = gadgets(str(unchanged))[name]
    expect_refused(lambda: deserialize_keras_object(gadget), "", tmp_path)
    expect_refused(lambda: deserialize_keras_object([{"a": gadget}]), "", tmp_path)
    expect_refused(lambda: deserialize_keras_object(gadget, safe_mode=False), "", tmp_path)


@pytest.mark.parametrize(
    "key", ["kernel_initializer", "activation", "kernel_constraint", "bias_regularizer", "dtype", "name"]
)
def test_no_gadget_runs_in_a_layer_of_keras_2(key, unchanged, tmp_path):
    for gadget in gadgets(str(unchanged)).values():
        path = keras2_file(tmp_path / "m.h5", keras2_config([dense(**{key: gadget})]))
        with nothing_happens(tmp_path):
            try:
                load_any(path, safe_mode=False)
            except LaminaError as error:
                assert error.what.strip()


@pytest.mark.parametrize("name", NAMES)
def test_no_gadget_is_a_layer_of_keras_2(name, unchanged, tmp_path):
    gadget = gadgets(str(unchanged))[name]
    path = keras2_file(tmp_path / "m.h5", keras2_config([dense(), gadget]))
    for safe_mode in (True, False):
        expect_refused(lambda mode=safe_mode: load_any(path, safe_mode=mode), "", tmp_path)


@pytest.mark.filterwarnings("ignore:.*was not restored|.*passed over|.*m.h5")
@pytest.mark.parametrize("key", ["optimizer_config", "loss", "metrics", "sample_weight_mode"])
def test_no_gadget_runs_in_the_training_of_keras_2(key, unchanged, tmp_path):
    good = {"optimizer_config": {"class_name": "SGD", "config": {"lr": 0.1}}, "loss": "mse", "metrics": []}
    for gadget in gadgets(str(unchanged)).values():
        path = keras2_file(tmp_path / "m.h5", keras2_config([dense()]), {**good, key: gadget})
        with nothing_happens(tmp_path):
            assert load_any(path).count_params() == 8  # the weights are there, whatever the training was


def test_a_refusal_of_bytecode_says_what_to_do(parts, tmp_path):
    gadget = gadgets("x")["Lambda of bytecode"]
    config = replaced(parts["config.json"], PLACES["a layer"], {**gadget, "inbound_nodes": [], "name": "evil"})
    error = expect_refused(
        lambda: load_model(keras_file(tmp_path / "m.keras", {**parts, "config.json": config})), "", tmp_path
    )
    assert "bytecode" in str(error) and error.fix
    path = keras2_file(tmp_path / "m.h5", keras2_config([dense(), gadgets("x")["Lambda of Keras 2"]]))
    error = expect_refused(lambda: load_any(path), "evil", tmp_path)
    assert "custom_objects" in error.fix


@pytest.mark.parametrize("place", PLACES)
def test_inspecting_lists_every_gadget(place, parts, unchanged, tmp_path):
    for name, gadget in gadgets(str(unchanged)).items():
        if name not in FEW and place != "an initializer":
            continue
        config = replaced(parts["config.json"], PLACES[place], gadget)
        path = keras_file(tmp_path / "m.keras", {**parts, "config.json": config})
        with nothing_happens(tmp_path):
            found = inspect_model(path)
        if name not in ("TorchModuleWrapper", "a class attribute", "a dunder", "a module", "the registry"):
            assert not found.is_harmless, (name, found.risks)
        assert place == "the model" or found.weights, "the inspection stopped at the risk"
