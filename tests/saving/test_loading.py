"""`.keras` files: whole or refused, never run, and every refusal says what to do."""

from __future__ import annotations

import copy
import io
import json
import os
import random
import zipfile
from typing import Any

import h5py
import numpy as np
import pytest
import torch

import lamina
from lamina import layers as L
from lamina.errors import ArgumentError, LaminaError, LoadError, UnknownNameError, WeightsError
from lamina.saving import load_model, model_from_json, register_serializable


def network() -> Any:
    x = L.Input((6, 6, 2), name="x")
    h = torch.relu(L.BatchNormalization(name="norm")(L.Conv2D(3, 3, name="conv")(x))[:, 1:])
    inner = lamina.Sequential([L.Input((3,)), L.Dense(4, "gelu", kernel_regularizer="l2")], name="inner")
    model = lamina.Model(x, L.Dense(2, name="out")(inner(L.GlobalAveragePooling2D()(h))), name="net")
    model.compile(lamina.optimizers.Adam(0.01), "mse", metrics=["mae", lamina.metrics.AUC(num_thresholds=10)])
    return model


def trained() -> Any:
    model = network()
    model.fit(np.ones((4, 6, 6, 2), "float32"), np.ones((4, 2), "float32"), verbose=0)
    return model


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> Any:
    path = tmp_path_factory.mktemp("saved") / "m.keras"
    trained().save(path)
    return path


def parts(path: Any) -> tuple[dict[str, Any], bytes]:
    with zipfile.ZipFile(path) as archive:
        return json.loads(archive.read("config.json")), archive.read("model.weights.h5")


def written(path: Any, config: Any, weights: bytes, compression: int = zipfile.ZIP_STORED, **more: bytes) -> Any:
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("config.json", config if isinstance(config, (str, bytes)) else json.dumps(config))
        archive.writestr("model.weights.h5", weights)
        for name, data in more.items():
            archive.writestr(name.replace("__", "/"), data)
    return path


# ---------------------------------------------------------------------- what is kept
def test_everything_comes_back(saved):
    model = load_model(saved)
    first = trained()
    data = torch.randn(3, 6, 6, 2)
    again = load_model(saved)
    assert torch.equal(model(data), again(data))
    assert [layer.name for layer in model.layers] == [layer.name for layer in first.layers]
    assert model.optimizer.iterations == 1 and model.optimizer.learning_rate == 0.01
    assert [m.name for m in model._plan.metrics[1:]] == ["auc"] and model._plan.metrics[0] == "mae"
    assert not load_model(saved, compile=False).compiled


def test_saving_changes_nothing(tmp_path):
    model = trained()
    state, mode, random_state = copy.deepcopy(model.state_dict()), model.training, torch.get_rng_state()
    config, names = json.dumps(model.get_config()), list(model.state_dict())
    steps = model.optimizer.iterations
    model.save(tmp_path / "m.keras")
    model.to_json()
    assert list(model.state_dict()) == names and json.dumps(model.get_config()) == config
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert (model.training, model.optimizer.iterations) == (mode, steps)
    assert torch.equal(torch.get_rng_state(), random_state)
    assert os.listdir(tmp_path) == ["m.keras"]


def test_a_file_is_whole_or_not_there(tmp_path, monkeypatch):
    model, path = network(), tmp_path / "m.keras"
    model.save(path)
    before = path.read_bytes()
    with pytest.raises(ArgumentError, match="is there already"):
        model.save(path, overwrite=False)
    monkeypatch.setattr(zipfile.ZipFile, "writestr", lambda *a: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        model.save(path)
    assert path.read_bytes() == before and os.listdir(tmp_path) == ["m.keras"]
    with pytest.raises(ArgumentError, match="The name of a saved model says its format") as caught:
        model.save(tmp_path / "m.pt")
    assert "use m.keras" in str(caught.value)


def test_compile_state_that_no_file_can_hold_is_left_out_with_a_line_in_the_log(tmp_path, caplog):
    torchmetrics = pytest.importorskip("torchmetrics")
    model = network()
    model.compile("adam", "mse", metrics=[torchmetrics.MeanSquaredError()])
    model.save(tmp_path / "m.keras")
    assert "net is saved without what compile() was given" in caplog.text
    assert not load_model(tmp_path / "m.keras").compiled


# ---------------------------------------------------------------------- what is refused
CODE = {"class_name": "__lambda__", "config": {"code": "4wEAAAA=", "defaults": None, "closure": None}}


def test_bytecode_is_never_run_whatever_the_mode(saved, tmp_path):
    config, weights = parts(saved)
    for place in (CODE, {"module": "builtins", "class_name": "function", "config": "eval", "registered_name": "eval"}):
        broken = copy.deepcopy(config)
        broken["config"]["layers"][1] = {
            **broken["config"]["layers"][1], "class_name": "Lambda", "config": {"name": "conv", "function": place},
        }  # fmt: skip
        path = written(tmp_path / "m.keras", broken, weights)
        for safe_mode in (True, False):
            with pytest.raises(LoadError, match="bytecode, which is never run|nobody has passed or registered"):
                load_model(path, safe_mode=safe_mode)


def test_a_function_by_name_loads_when_it_is_passed_or_registered(tmp_path):
    def tripled(x):
        return 3 * x

    model = lamina.Sequential([L.Input((2,)), L.Lambda(tripled), L.Dense(1, activation=tripled)])
    model.save(tmp_path / "m.keras")
    with pytest.raises(LoadError, match="names a function 'tripled' that nobody has passed or registered") as caught:
        load_model(tmp_path / "m.keras")
    assert "custom_objects={'tripled': f}" in str(caught.value)
    x = torch.randn(3, 2)
    assert torch.equal(load_model(tmp_path / "m.keras", {"tripled": tripled})(x), model(x))
    register_serializable("loading")(tripled)
    try:
        model.save(tmp_path / "r.keras")
        assert torch.equal(load_model(tmp_path / "r.keras")(x), model(x))
    finally:
        del lamina.saving.get_custom_objects()["loading>tripled"]


@pytest.mark.parametrize("module", ["os", "builtins", "subprocess", "keras.src.utils", "__main__"])
def test_a_module_in_a_file_is_never_imported(saved, tmp_path, module, monkeypatch):
    config, weights = parts(saved)
    config["config"]["layers"][1].update(module=module, class_name="system", registered_name="system")
    monkeypatch.setattr("builtins.__import__", _refuse_import(module))
    with pytest.raises(UnknownNameError, match="There is no layer named 'system'"):
        load_model(written(tmp_path / "m.keras", config, weights))


def _refuse_import(module: str) -> Any:
    real = __import__

    def guarded(name: str, *args: Any, **kwargs: Any) -> Any:
        assert not (name == module and name.startswith("keras")), f"{name} was imported"
        return real(name, *args, **kwargs)

    return guarded


def test_names_find_only_what_they_are_for(saved, tmp_path):
    config, weights = parts(saved)
    wrong = copy.deepcopy(config)
    wrong["config"]["layers"][1]["class_name"] = "Adam"
    with pytest.raises(UnknownNameError, match="There is no layer named 'Adam'"):
        load_model(written(tmp_path / "m.keras", wrong, weights))
    wrong = copy.deepcopy(config)
    wrong["compile_config"]["optimizer"]["class_name"] = "Dense"
    with pytest.raises(UnknownNameError, match="There is no optimizer named 'Dense'") as caught:
        load_model(written(tmp_path / "m.keras", wrong, weights))
    assert "or load with compile=False" in str(caught.value)
    assert load_model(tmp_path / "m.keras", compile=False).name == "net"
    wrong = copy.deepcopy(config)
    wrong["config"]["layers"][1]["config"]["kernel_initializer"] = {"class_name": "relu", "config": {}}
    with pytest.raises(LaminaError, match="There is no initializer named 'relu'"):
        load_model(written(tmp_path / "m.keras", wrong, weights))


def test_a_custom_function_does_not_stand_for_a_class(saved, tmp_path):
    config, weights = parts(saved)
    config["config"]["layers"][1]["class_name"] = "mine"
    called = []
    with pytest.raises(LoadError, match="'mine' is described as a class, but is none"):
        load_model(written(tmp_path / "m.keras", config, weights), {"mine": lambda **k: called.append(k)})
    assert not called


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no json",
        "[1, 2]",
        "3",
        "{}",
        '{"class_name": 3, "config": {}}',
        "[" * 100_000,
        '{"a":' * 500 + "1" + "}" * 500,
    ],
    ids=["empty", "text", "list", "number", "nothing", "no name", "brackets", "nested"],
)
def test_a_config_of_another_form_is_refused(text, saved, tmp_path):
    with pytest.raises(LoadError):
        load_model(written(tmp_path / "m.keras", text, parts(saved)[1]))
    with pytest.raises(LoadError):
        model_from_json(text)


def test_archives_that_are_none_or_not_whole(saved, tmp_path):
    path, data = tmp_path / "m.keras", saved.read_bytes()
    config, weights = parts(saved)
    with pytest.raises(LoadError, match="There is no such file"):
        load_model(tmp_path / "missing.keras")
    for content in (b"", b"PK", data[: len(data) // 2], os.urandom(1000)):
        path.write_bytes(content)
        with pytest.raises(LoadError, match="cannot be read as a .keras file"):
            load_model(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", json.dumps(config))
    with pytest.raises(LoadError, match="is no .keras file") as caught:
        load_model(path)
    assert "one member named model.weights.h5" in str(caught.value)
    with pytest.warns(UserWarning, match="Duplicate name"), zipfile.ZipFile(path, "w") as archive:
        for _ in range(2):
            archive.writestr("config.json", json.dumps(config))
        archive.writestr("model.weights.h5", weights)
    with pytest.raises(LoadError, match="two members of one name"):
        load_model(path)


def test_an_archive_that_unfolds_to_far_more_is_refused(saved, tmp_path):
    config, weights = parts(saved)
    big = json.dumps({**config, "note": "a" * 30_000_000})
    path = written(tmp_path / "m.keras", big, weights, zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 200_000
    with pytest.raises(LoadError, match="unfolds to far more than it holds") as caught:
        load_model(path)
    assert "30,0" in str(caught.value)
    packed = written(tmp_path / "ok.keras", config, weights, zipfile.ZIP_DEFLATED)
    assert load_model(packed).name == "net"


def test_other_members_are_not_looked_at(saved, tmp_path):
    config, weights = parts(saved)
    more = {"assets__x.txt": b"x", "metadata.json": b"{}"}
    assert load_model(written(tmp_path / "m.keras", config, weights, **more)).name == "net"
    with pytest.raises(LoadError, match="leads out of the folder"):
        load_model(written(tmp_path / "m.keras", config, weights, **{"..__outside.txt": b"x"}))
    assert sorted(os.listdir(tmp_path)) == ["m.keras"] and not (tmp_path.parent / "outside.txt").exists()


def test_a_small_file_cannot_ask_for_a_huge_model(saved, tmp_path):
    config, weights = parts(saved)
    config["config"]["layers"][-1]["config"]["units"] = 2_000_000_000
    with pytest.raises(LoadError, match="asks for more weights than the file holds"):
        load_model(written(tmp_path / "m.keras", config, weights))


def test_weights_that_do_not_fit_are_named(saved, tmp_path):
    config, weights = parts(saved)
    config["config"]["layers"][-1]["config"]["units"] = 5
    with pytest.raises(WeightsError, match="do not fit the model") as caught:
        load_model(written(tmp_path / "m.keras", config, weights))
    assert "out.kernel (4, 5)" in str(caught.value)
    file = io.BytesIO(weights)
    with h5py.File(file, "r+") as h5:
        del h5["layers/dense/vars"]
    with pytest.raises(WeightsError, match="no out.bias"):
        load_model(written(tmp_path / "m.keras", parts(saved)[0], file.getvalue()))


def test_state_of_an_optimizer_that_does_not_fit_is_named(saved, tmp_path):
    config, weights = parts(saved)
    file = io.BytesIO(weights)
    with h5py.File(file, "r+") as h5:
        del h5["optimizer/vars/5"]
        h5["optimizer/vars/5"] = np.zeros((7, 7), "float32")
    path = written(tmp_path / "m.keras", config, file.getvalue())
    with pytest.raises(WeightsError, match="The state of adam in .* does not fit the model"):
        load_model(path)
    assert load_model(path, compile=False).name == "net"


def everything(data: Any, path: tuple[Any, ...] = ()) -> Any:
    """The path of each value in a config."""
    yield path
    members = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, member in members:
        yield from everything(member, (*path, key))


STRANGE: list[Any] = [
    None, True, -1, 2**70, 1e400, "", "x", [], {}, [None], CODE, {"class_name": "Dense", "config": {}},
    {"class_name": "function", "config": "eval"}, ["x", 0, 0], ["x", 9, 0], ["x", 0, 9], [[["x", 0, 0]]],
    {"class_name": "__keras_tensor__", "config": {"keras_history": ["q", 1, 1]}},
    {"class_name": "__tensor__", "config": {"value": [1, [2]], "dtype": "q"}},
]  # fmt: skip


def test_whatever_is_changed_in_a_file_ends_well_or_in_an_error_of_ours(saved, tmp_path):
    config, weights = parts(saved)
    paths = [path for path in everything(config) if path]
    chance = random.Random(7)
    refused = 0
    for _ in range(150):
        broken = copy.deepcopy(config)
        *above, last = chance.choice(paths)
        holder = broken
        for key in above:
            holder = holder[key]
        if chance.random() < 0.2:
            del holder[last]
        else:
            holder[last] = chance.choice(STRANGE)
        data = bytearray(weights)
        if chance.random() < 0.2:
            data[chance.randrange(len(data))] ^= 255
        try:
            load_model(written(tmp_path / "m.keras", broken, bytes(data)))
        except LaminaError as error:
            refused += 1
            assert str(error)
    assert refused > 50
