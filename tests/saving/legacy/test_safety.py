"""Nothing in an old file is run, and a damaged one ends in an error of lamina's."""

from __future__ import annotations

import base64
import json
import marshal
import random

import h5py
import numpy as np
import pytest
import torch
from legacy_samples import NAMES, edited, outputs_of, path_of

from lamina.errors import LaminaError, LoadError
from lamina.saving.legacy import LoadReport, load_h5, model_from_legacy_json

RAN = []


def bytecode():
    code = compile("__import__('test_safety').RAN.append(1)", "x", "eval")
    return [base64.b64encode(marshal.dumps(code)).decode(), None, None]


def with_lambda(**config):
    lambda_ = {"class_name": "Lambda", "config": {"name": "mystery", **config}}
    dense = {"class_name": "Dense", "config": {"name": "dense", "units": 2, "batch_input_shape": [None, 3]}}
    return {"class_name": "Sequential", "config": {"name": "s", "layers": [dense, lambda_]}}


@pytest.mark.parametrize("safe_mode", [True, False])
def test_a_lambda_is_refused_by_its_name_in_either_mode(safe_mode):
    with pytest.raises(LoadError, match="Lambda layer 'double_and_one' is a Python function") as caught:
        load_h5(path_of("lambda_layer"), safe_mode=safe_mode)
    assert caught.value.fix == "pass custom_objects={'double_and_one': function}"
    assert "bytecode" in caught.value.received


def test_the_bytecode_is_not_even_read():
    with pytest.raises(LoadError):
        model_from_legacy_json(with_lambda(function=bytecode(), function_type="lambda"))
    assert not RAN


def test_a_function_under_the_layers_name_takes_its_place():
    model = load_h5(path_of("lambda_layer"), custom_objects={"double_and_one": lambda x: x * 0})
    bias = model.layers[-1].get_weights()[1]
    np.testing.assert_allclose(outputs_of(model, "lambda_layer")[0], np.broadcast_to(bias, (3, 2)), atol=1e-6)


def test_a_lambda_that_names_its_function_takes_it_from_the_user_alone():
    config = with_lambda(function="system", function_type="function", module="os", arguments={"by": 3.0})
    with pytest.raises(LoadError, match="is a Python function"):
        model_from_legacy_json(config)
    model = model_from_legacy_json(config, {"system": lambda x, by: x * by})
    x = torch.ones(1, 3)
    torch.testing.assert_close(model(x), model.layers[0](x) * 3)


@pytest.mark.parametrize("name", ["load_model", "get_file", "os.system", "Layer", "lamina.saving.legacy.load_h5", ""])
def test_a_class_name_finds_layers_and_nothing_else(name):
    entry = {"class_name": name, "module": "os", "registered_name": name, "config": {"name": "x"}}
    with pytest.raises(LaminaError):
        model_from_legacy_json({"class_name": "Sequential", "config": [entry]})


@pytest.mark.parametrize(
    "function", ["io.read_file", "numpy_function", "py_function", "load_op_library", "os.system", None, 3]
)
def test_a_function_of_tensorflow_is_one_of_the_table(function):
    op = {"class_name": "TFOpLambda", "name": "op", "config": {"name": "op", "function": function}}
    op["inbound_nodes"] = [["x", 0, 0, {}]]
    first = {"class_name": "InputLayer", "name": "x", "inbound_nodes": []}
    first["config"] = {"name": "x", "batch_input_shape": [None, 3]}
    config = {"name": "m", "layers": [first, op], "input_layers": [["x", 0, 0]], "output_layers": [["op", 0, 0]]}
    with pytest.raises(LoadError, match="function of TensorFlow that is not known here, at 'op'"):
        model_from_legacy_json({"class_name": "Functional", "config": config})


def test_a_function_that_a_keras_1_merge_holds_is_refused():
    config = {"name": "m", "mode": bytecode(), "mode_type": "lambda"}
    with pytest.raises(LoadError, match="Merge layer 'm' is a Python function"):
        model_from_legacy_json(
            {"class_name": "Sequential", "config": [{"class_name": "Merge", "config": {**config, "layers": []}}]}
        )


def test_an_activation_that_is_no_name_is_refused():
    dense = {"name": "d", "units": 2, "batch_input_shape": [None, 3], "activation": bytecode()}
    with pytest.raises(LoadError, match="activation has no name"):
        model_from_legacy_json({"class_name": "Sequential", "config": [{"class_name": "Dense", "config": dense}]})


# ---------------------------------------------------------------------- damage
def mutated(name: str, rng: random.Random) -> bytes:
    """A sample with some bytes changed: in its description, anywhere, or cut short."""
    data = bytearray(path_of(name).read_bytes())
    begin, kind = data.find(b'{"class_name"'), rng.random()
    if kind < 0.6:
        for _ in range(rng.choice([1, 2, 4, 20])):
            data[rng.randrange(begin, min(len(data), begin + 9000))] = rng.choice(b'0123456789[]{}",:-.abcnul')
    elif kind < 0.9:
        for _ in range(rng.choice([1, 3, 10])):
            place = rng.randrange(len(data))
            data[place] = rng.randrange(256)
    else:
        del data[rng.randrange(len(data)) :]
    return bytes(data)


SMALL = [name for name in NAMES if path_of(name).stat().st_size < 40_000]


@pytest.mark.parametrize("seed", range(6))
def test_a_damaged_file_loads_or_ends_in_an_error_of_lamina(seed, tmp_path):
    rng, refused = random.Random(seed), 0
    for _ in range(25):
        path = tmp_path / "m.h5"
        path.write_bytes(mutated(rng.choice(SMALL), rng))
        try:
            load_h5(path, report=LoadReport())
        except LaminaError as error:
            assert error.what
            refused += 1
    assert refused > 5


@pytest.mark.parametrize(
    "config", [None, 3, [], {}, {"layers": 3}, {"layers": [None]}, {"layers": [{"class_name": "Dense"}]}]
)
@pytest.mark.parametrize("kind", ["Sequential", "Functional", "Model", "Dense", 7, None])
def test_a_description_of_nothing_is_refused(kind, config):
    with pytest.raises(LaminaError):
        made = model_from_legacy_json({"class_name": kind, "config": config})
        if kind == "Sequential" and config in ([], {"layers": []}):
            raise LoadError(f"an empty model is one: {made}")


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "3", '{"class_name": "Sequential"}', "[" * 100_000])
def test_text_that_is_no_architecture_is_refused(text):
    with pytest.raises(LoadError):
        model_from_legacy_json(text)


ODD = [("units", -3), ("units", 1.5), ("units", "8"), ("units", None), ("units", [1]), ("name", 5), ("name", None)]
ODD += [("kernel_initializer", {"class_name": "os"}), ("kernel_regularizer", 5), ("dtype", "complex999")]
ODD += [("activation", 5), ("trainable", "no")]


@pytest.mark.parametrize("key, value", ODD)
def test_an_argument_of_another_kind_is_refused_or_taken(key, value):
    config = {"name": "d", "units": 2, "batch_input_shape": [None, 3], key: value}
    try:
        model_from_legacy_json({"class_name": "Sequential", "config": [{"class_name": "Dense", "config": config}]})
    except LaminaError as error:
        assert error.what


def test_a_link_to_another_file_is_refused(tmp_path):
    def change(file):
        del file["model_weights/dense/dense/kernel:0"]
        file["model_weights/dense/dense/kernel:0"] = h5py.ExternalLink("/etc/passwd", "/x")

    with pytest.raises(LoadError, match="holds a link"):
        load_h5(edited("mlp", tmp_path / "m.h5", change))


def test_an_attribute_of_a_kind_that_hdf5_crashes_on_is_refused(tmp_path):
    def change(file):
        value = np.empty(1, object)
        value[0] = np.array([1, 2], np.uint8)
        file.attrs.create("strange", value, dtype=h5py.vlen_dtype(np.uint8))

    with pytest.raises(LoadError, match="does not have at /@strange what belongs there"):
        load_h5(edited("mlp", tmp_path / "m.h5", change))


def test_a_heap_of_texts_that_hdf5_would_walk_for_ever_is_refused(tmp_path):
    data = bytearray(path_of("model_of_models").read_bytes())
    heap = data.find(b"GCOL")
    data[heap + 3136] = 213  # the size of an object, so that the next one is looked for among zeros
    (tmp_path / "m.h5").write_bytes(data)
    with pytest.raises(LoadError, match=f"does not have at byte {heap} what belongs there"):
        load_h5(tmp_path / "m.h5")


def test_a_model_far_larger_than_its_weights_is_not_built(tmp_path):
    def change(file):
        config = json.loads(file.attrs["model_config"])
        config["config"]["layers"][1]["config"].update(input_dim=2_000_000_000)
        file.attrs["model_config"] = json.dumps(config)

    with pytest.raises(LaminaError, match="larger than the weights in it"):
        load_h5(edited("embedding", tmp_path / "m.h5", change))
