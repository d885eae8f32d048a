"""Architectures as JSON and YAML, and which Keras they are of."""

from __future__ import annotations

import builtins
import json

import h5py
import numpy as np
import pytest
from legacy_samples import NAMES, loaded, path_of, run

from lamina.errors import GraphError, LoadError, UnknownNameError
from lamina.saving.legacy import is_legacy_config, load_h5, model_from_legacy_json, model_from_legacy_yaml

UNREADABLE = {"lambda_layer"}


def config_of(name):
    with h5py.File(path_of(name)) as file:
        return (
            file.attrs["model_config"]
            if isinstance(file.attrs["model_config"], str)
            else file.attrs["model_config"].decode()
        )


@pytest.mark.parametrize("name", ["mlp", "nested", "return_state", "operators", "keras1_functional", "keras1_rnn"])
def test_json_gives_a_model_of_the_same_layers_with_new_weights(name):
    model, (other, _) = model_from_legacy_json(config_of(name)), loaded(name)
    assert [layer.name for layer in model.layers] == [layer.name for layer in other.layers]
    assert [tuple(w.shape) for w in model.weights] == [tuple(w.shape) for w in other.weights]
    assert model.output_shape == other.output_shape


@pytest.mark.parametrize("name", ["mlp", "shared", "keras1_cnn"])
def test_yaml_gives_the_same_model(name):
    yaml = pytest.importorskip("yaml")
    text = yaml.safe_dump(json.loads(config_of(name)))
    model, (other, _) = model_from_legacy_yaml(text), loaded(name)
    assert [tuple(w.shape) for w in model.weights] == [tuple(w.shape) for w in other.weights]


KERAS_2_YAML = """
backend: tensorflow
class_name: Sequential
config:
  layers:
  - class_name: Conv2D
    config: {batch_input_shape: !!python/tuple [null, 8, 8, 1], filters: 4, kernel_size: !!python/tuple [3, 3],
      name: !!python/unicode 'conv2d_1', padding: valid, strides: !!python/tuple
      - 1
      - 1
      }
  name: sequential_1
keras_version: 2.2.4
""".replace("!!python/tuple\n      - 1\n      - 1\n      }", "!!python/tuple [1, 1]}")


def test_tuples_of_python_in_yaml_are_lists():
    pytest.importorskip("yaml")
    assert model_from_legacy_yaml(KERAS_2_YAML).output_shape == (None, 6, 6, 4)


@pytest.mark.parametrize(
    "value",
    [
        "!!python/object/apply:os.system ['echo']",
        "!!python/object/new:os.system [echo]",
        "!!python/name:os.system ''",
        "!!python/module:os ''",
        "!<tag:yaml.org,2002:python/object/apply:os.system> ['echo']",
    ],
)
def test_yaml_that_asks_for_a_python_object_is_refused_by_its_tag(value):
    with pytest.raises(LoadError, match="asks for a Python object") as caught:
        model_from_legacy_yaml(f"class_name: Sequential\nconfig: {value}\n")
    assert "python/" in caught.value.received


def test_an_unknown_tag_of_yaml_is_refused():
    pytest.importorskip("yaml")
    with pytest.raises(LoadError, match="cannot be read as YAML") as caught:
        model_from_legacy_yaml("%TAG !p! tag:yaml.org,2002:python/\n---\nclass_name: !p!name:os.system ''\n")
    assert "python/name:os.system" in caught.value.received


def test_aliases_of_aliases_are_refused():
    pytest.importorskip("yaml")
    lines = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9)]
    with pytest.raises(LoadError, match="more values than any model"):
        model_from_legacy_yaml("\n".join(lines))


def test_without_pyyaml_the_message_says_what_to_install(monkeypatch):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name == "yaml":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(LoadError, match="needs PyYAML") as caught:
        model_from_legacy_yaml("class_name: Sequential\n")
    assert 'pip install "lamina[yaml]"' in caught.value.fix


@pytest.mark.parametrize("name", [name for name in NAMES if name not in UNREADABLE])
def test_every_sample_is_known_for_an_old_one(name):
    assert is_legacy_config(config_of(name))


@pytest.mark.parametrize(
    "config, old",
    [
        ('{"class_name": "Sequential", "config": [], "keras_version": "1.0.5"}', True),
        ('{"class_name": "Model", "config": {"layers": [], "name": "m"}}', True),
        ('{"class_name": "Functional", "config": {"layers": []}, "keras_version": "3.9.0"}', False),
        ('{"class_name": "Functional", "config": {"layers": []}, "keras_version": "2.21.0"}', True),
        ("nonsense", False),
        ("[1, 2]", False),
        ({"class_name": "Sequential", "config": {"layers": [{"config": {"batch_shape": [None, 3]}}]}}, False),
        ({"class_name": "Sequential", "config": {"layers": [{"config": {"batch_input_shape": [None, 3]}}]}}, True),
    ],
)
def test_old_and_new_configs_are_told_apart(config, old):
    assert is_legacy_config(config) is old


def test_a_config_of_keras_3_is_none_of_the_old_ones():
    keras = pytest.importorskip("keras")
    x = keras.Input((4,))
    for model in (keras.Sequential([x, keras.layers.Dense(2)]), keras.Model(x, keras.layers.Dense(2)(x))):
        assert not is_legacy_config(model.to_json())


def functional(*layers, outputs):
    first = {"class_name": "InputLayer", "name": "x", "inbound_nodes": [], "config": {"name": "x"}}
    first["config"]["batch_input_shape"] = [None, 3]
    config = {"name": "m", "layers": [first, *layers], "input_layers": [["x", 0, 0]], "output_layers": outputs}
    return {"class_name": "Model", "config": config}


def dense(name, source):
    return {
        "class_name": "Dense",
        "name": name,
        "config": {"name": name, "units": 3},
        "inbound_nodes": [[[source, 0, 0]]],
    }


def test_layers_may_stand_in_any_order():
    model = model_from_legacy_json(functional(dense("b", "a"), dense("a", "x"), outputs=[["b", 0, 0]]))
    assert [layer.name for layer in model.layers] == ["x", "a", "b"]


@pytest.mark.parametrize(
    "layers, outputs",
    [
        ([dense("a", "b"), dense("b", "a")], [["b", 0, 0]]),
        ([dense("a", "nowhere")], [["a", 0, 0]]),
        ([dense("a", "x")], [["a", 1, 0]]),
        ([dense("a", "x"), dense("a", "x")], [["a", 0, 0]]),
    ],
)
def test_a_graph_that_cannot_be_is_refused(layers, outputs):
    with pytest.raises(GraphError):
        model_from_legacy_json(functional(*layers, outputs=outputs))


def test_layers_in_the_reverse_order_are_called_in_the_right_one():
    count = 300
    layers = [dense(f"l{i}", f"l{i - 1}" if i else "x") for i in range(count)]
    for layer in layers:
        layer["class_name"], layer["config"] = "Activation", {"name": layer["name"], "activation": "relu"}
    model = model_from_legacy_json(functional(*reversed(layers), outputs=[[f"l{count - 1}", 0, 0]]))
    assert len(model.layers) == count + 1


def test_a_class_that_nobody_knows_is_named_with_the_nearest():
    with pytest.raises(UnknownNameError, match="layer named 'Desne'"):
        model_from_legacy_json({"class_name": "Sequential", "config": [{"class_name": "Desne", "config": {}}]})


def test_a_subclass_of_model_needs_its_class():
    with pytest.raises(LoadError, match="a model made by code that is not in the file") as caught:
        model_from_legacy_json({"class_name": "MyModel", "config": {"units": 3}})
    assert "custom_objects={'MyModel'" in caught.value.fix


def test_hdf5_files_of_keras_3_are_read_too(tmp_path):
    keras = pytest.importorskip("keras")
    x = keras.Input((4,))
    inner = keras.Sequential([keras.Input((4,)), keras.layers.Dense(4), keras.layers.BatchNormalization()])
    y = keras.layers.Concatenate()([inner(x), inner(keras.layers.Dense(4, activation="relu")(x)), x])
    model = keras.Model(x, keras.layers.LSTM(3)(keras.layers.Reshape((3, 4))(y)))
    model.save(tmp_path / "m.h5")
    data = np.random.default_rng(0).normal(size=(2, 4)).astype("float32")
    expected = model.predict(data, verbose=0)
    np.testing.assert_allclose(run(load_h5(tmp_path / "m.h5"), [data])[0], expected, rtol=1e-5, atol=1e-5)
