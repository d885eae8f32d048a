"""What an inspection says of good files, compared with the models that wrote them, and of files that are none."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from hostile_files import keras_file, keras_parts, small_model

import lamina
from lamina import layers
from lamina.errors import LoadError
from lamina.saving import inspect_model

LEGACY = Path(__file__).parents[1] / "legacy_samples"


def trained() -> lamina.Model:
    model = small_model()
    model.fit(np.zeros((4, 6), "float32"), np.zeros((4, 2), "float32"), verbose=0)
    return model


def test_an_archive_is_described_as_the_model_in_it(tmp_path):
    model = trained()
    model.save(tmp_path / "m.keras")
    found = inspect_model(tmp_path / "m.keras")
    assert found.format == "Keras 3 archive" and found.bytes == (tmp_path / "m.keras").stat().st_size
    outer = [layer for layer in found.layers if layer.level == 0]
    assert [(layer.name, layer.class_name) for layer in outer] == [(x.name, type(x).__name__) for x in model.layers]
    assert [layer.name for layer in found.layers if layer.level == 1][-1] == "inside"
    assert found.count == model.count_params() == sum(layer.count for layer in found.layers)
    counts = {layer.name: layer.count for layer in found.layers}
    assert counts["first"] == 6 * 5 + 5 and counts["inside"] == 5 * 4 + 4 and counts["last"] == 4 * 2 + 2
    assert sorted(w.shape for w in found.weights) == sorted(tuple(w.shape) for w in model.weights)
    assert {w.dtype for w in found.weights} == {"float32"} and found.weights[0].bytes == 4 * found.weights[0].count
    assert found.state and found.compiled == {
        "optimizer": "Adam",
        "learning_rate": 0.001,
        "loss": ["mse"],
        "metrics": ["mae"],
    }
    assert "keras_version" in found.facts and "date_saved" in found.facts
    assert found.custom == [] and found.risks == [] and found.is_harmless


@pytest.mark.parametrize("suffix", [".weights.h5", ".safetensors", ".npz", ".pt"])
def test_weights_are_listed_in_every_format(suffix, tmp_path):
    model = small_model()
    model.save_weights(tmp_path / f"w{suffix}")
    found = inspect_model(tmp_path / f"w{suffix}")
    assert sorted(w.shape for w in found.weights) == sorted(tuple(w.shape) for w in model.weights)
    assert found.count == model.count_params() and found.layers == [] and found.risks == []
    assert (tmp_path / f"w{suffix}").rename(tmp_path / "no_suffix") and inspect_model(
        tmp_path / "no_suffix"
    ).count == found.count


def test_a_checkpoint_of_torch_is_told_apart(tmp_path):
    linear = torch.nn.Linear(3, 2)
    optimizer = torch.optim.Adam(linear.parameters())
    linear(torch.zeros(1, 3)).sum().backward()
    optimizer.step()
    content = {"epoch": 7, "model": linear.state_dict(), "optimizer": optimizer.state_dict(), "note": "mine"}
    for old in (False, True):
        torch.save(content, tmp_path / "c.pt", _use_new_zipfile_serialization=not old)
        found = inspect_model(tmp_path / "c.pt")
        assert {w.name for w in found.weights} == {"model.weight", "model.bias"} and len(found.state) == 6
        assert found.facts == {"epoch": 7, "note": "mine"} and found.is_harmless
        assert found.format == ("torch file from before torch 1.6" if old else "torch file")


def test_a_whole_module_of_torch_is_a_risk(tmp_path):
    torch.save(torch.nn.Linear(3, 2), tmp_path / "m.pt")
    found = inspect_model(tmp_path / "m.pt")
    assert any("torch.nn.modules.linear.Linear" in risk.what for risk in found.risks) and not found.is_harmless


@pytest.mark.parametrize("path", sorted(LEGACY.glob("*.h5")), ids=lambda path: path.stem)
def test_every_old_sample_is_described(path):
    found = inspect_model(path)
    assert found.format.startswith(("Keras 2 model", "Keras 2 weights"))
    with h5py.File(path) as file:
        arrays: list[str] = []
        file.visititems(lambda name, item: arrays.append(name) if isinstance(item, h5py.Dataset) else None)
    assert len(found.weights) + len(found.state) == len(arrays)
    grave = [risk for risk in found.risks if risk.grave]
    assert bool(grave) == ("lambda" in path.stem or "bytecode" in path.stem), grave
    if found.layers and found.weights:
        assert sum(layer.count or 0 for layer in found.layers) == found.count


def test_an_architecture_as_json_is_described(tmp_path):
    (tmp_path / "m.json").write_text(small_model().to_json())
    found = inspect_model(tmp_path / "m.json")
    assert found.format == "architecture as JSON" and [layer.name for layer in found.layers][:2] == ["data", "first"]
    assert found.compiled["optimizer"] == "Adam" and found.weights == []


def test_an_architecture_as_yaml_is_described(tmp_path):
    pytest.importorskip("yaml")
    (tmp_path / "m.yaml").write_text(
        "class_name: Sequential\nconfig:\n- class_name: Dense\n  config: {name: d, units: 3}\n"
    )
    found = inspect_model(tmp_path / "m.yaml")
    assert found.format == "architecture as YAML" and found.layers[0].name == "d"


def test_the_state_of_a_training_is_described(tmp_path):
    from lamina.saving.states import write_state

    write_state(tmp_path / "x", {"epoch": 3, "model": {"w": torch.zeros(2, 3)}, "random": [np.zeros(4), 1], "a": "b"})
    found = inspect_model(tmp_path / "x")
    assert found.format == "state of a training" and found.facts == {"epoch": 3, "a": "b"}
    assert [(w.name, w.shape, w.bytes) for w in found.weights] == [("model.w", (2, 3), 24)]
    assert [(w.name, w.dtype) for w in found.state] == [("random[0]", "float64")]


def test_custom_classes_are_listed(tmp_path):
    parts = keras_parts(small_model(), tmp_path)
    parts["config.json"]["config"]["layers"][1].update(
        class_name="Mine", module="my.package", registered_name="mine>Mine"
    )
    parts["compile_config"] = None
    found = inspect_model(keras_file(tmp_path / "m.keras", {**parts, "compile_config": b""}))
    assert found.custom == ["mine>Mine"] and found.is_harmless
    assert [risk.what for risk in found.risks if "my.package" in risk.what]
    assert [layer.known for layer in found.layers if layer.class_name == "Mine"] == [False]


def test_the_folder_of_a_run_is_described(tmp_path):
    model = lamina.Sequential([lamina.Input((3,)), layers.Dense(2)])
    model.save_weights(tmp_path / "weights.safetensors")
    (tmp_path / "results.json").write_text(json.dumps({"accuracy": 0.5, "confusion": [[1]]}))
    found = inspect_model(tmp_path)
    assert found.facts["accuracy"] == 0.5 and found.count == 8 and "folder of a run" in found.format
    found = inspect_model(tmp_path / "results.json")
    assert found.format == "JSON" and found.facts["accuracy"] == 0.5


def test_nothing_is_built_and_nothing_is_imported(tmp_path):
    model = small_model()
    model.save(tmp_path / "m.keras")
    names, modules = lamina.naming.reset_names, set(sys.modules)
    random = torch.get_rng_state()
    inspect_model(tmp_path / "m.keras")
    assert set(sys.modules) == modules and torch.equal(random, torch.get_rng_state()) and names
    assert layers.Dense(1).name == "dense", "the inspection made a layer"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "an empty file"),
        (b"hello", "b'hello'"),
        (b"\x89PNG\r\n\x1a\n", "PNG"),
        (b"PK\x05\x06" + bytes(18), "no members"),
    ],
)
def test_a_file_of_another_kind_is_refused(content, words, tmp_path):
    (tmp_path / "x.bin").write_bytes(content)
    with pytest.raises(LoadError) as caught:
        inspect_model(tmp_path / "x.bin")
    assert words in caught.value.received


def test_what_is_no_file_is_refused(tmp_path):
    with pytest.raises(LoadError, match="no such file"):
        inspect_model(tmp_path / "missing.keras")
    with pytest.raises(LoadError, match="is a folder"):
        inspect_model(tmp_path)
    (tmp_path / "saved_model.pb").write_bytes(b"")
    with pytest.raises(LoadError, match="SavedModel"):
        inspect_model(tmp_path)
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(LoadError, match="is no file"):
            inspect_model(tmp_path / "pipe")


def test_names_from_a_file_cannot_write_to_the_terminal(tmp_path):
    parts = keras_parts(small_model(), tmp_path)
    parts["config.json"]["config"]["layers"][1]["config"]["name"] = "\x1b[2J[red]evil"
    parts["config.json"]["config"]["layers"][1]["name"] = "\x1b[2J[red]evil"
    found = inspect_model(keras_file(tmp_path / "m.keras", parts))
    assert "\x1b" not in json.dumps(found.to_dict(), ensure_ascii=False)
    assert any(layer.name == "\\x1b[2J[red]evil" for layer in found.layers)


def test_all_risks_are_listed_and_not_only_the_first(tmp_path):
    parts = keras_parts(small_model(), tmp_path)
    entries = parts["config.json"]["config"]["layers"]
    entries[1]["config"]["kernel_initializer"] = {"class_name": "__lambda__", "config": {"value": "x"}}
    entries[1]["config"]["units"] = 2**40
    entries[3]["config"]["activation"] = {"class_name": "function", "module": "os", "config": "system"}
    path = keras_file(tmp_path / "m.keras", {**parts, "../up": b"", "evil.pkl": b"", "model.weights.h5": b"damaged"})
    found = inspect_model(path)
    assert {"bytecode", "size", "foreign code", "path", "damage"} <= {risk.kind for risk in found.risks}
    grave = [risk.grave for risk in found.risks]
    assert grave == sorted(grave, reverse=True), "the grave ones come first"
    assert any(risk.where.startswith("layer 'first'") for risk in found.risks)
