"""`lamina inspect`: what it prints, and how it ends."""

from __future__ import annotations

import json

import pytest
from hostile_files import keras_file, keras_parts, small_model

from lamina.cli import main


@pytest.fixture
def file(tmp_path):
    model = small_model()
    model.save(tmp_path / "m.keras")
    return tmp_path / "m.keras"


def test_the_layers_are_printed_with_their_parameters(file, capsys):
    assert main(["inspect", str(file)]) == 0
    shown = capsys.readouterr().out
    for words in (
        "Keras 3 archive",
        "optimizer: Adam",
        "first",
        "inside",
        "35",
        "no grave risk found",
        "69 parameters",
    ):
        assert words in shown, shown
    assert "layers/dense/vars/0" not in shown


def test_the_weights_are_printed_on_demand(file, capsys):
    assert main(["inspect", str(file), "--weights"]) == 0
    shown = capsys.readouterr().out
    assert "layers/dense/vars/0" in shown and "(6, 5)" in shown


def test_risks_are_printed_with_the_names_of_their_objects(file, tmp_path, capsys, monkeypatch):
    parts = keras_parts(small_model(), tmp_path)
    parts["config.json"]["config"]["layers"][1]["config"]["activation"] = {"class_name": "__lambda__", "config": {}}
    path = keras_file(tmp_path / "evil.keras", parts)
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert main(["inspect", str(path)]) == 0
    shown = capsys.readouterr().out
    assert "RISK" in shown and "first" in shown and "bytecode" in shown and "no grave risk" not in shown
    assert "\x1b[1;31mRISK" in shown, "risks are red"


def test_json_has_everything(file, capsys):
    assert main(["inspect", str(file), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["totals"]["parameters"] == 69 and found["is_harmless"] and found["risks"] == []
    assert [layer["name"] for layer in found["layers"]][1] == "first"
    assert found["weights"][0].keys() == {"name", "shape", "dtype", "bytes"}


def test_numbers_that_json_lacks_are_texts(tmp_path, capsys):
    (tmp_path / "r.json").write_text('{"loss": NaN, "best": Infinity}')
    assert main(["inspect", str(tmp_path / "r.json"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["facts"] == {"loss": "nan", "best": "inf"}


@pytest.mark.parametrize("content", [None, b"", b"no model"])
def test_what_cannot_be_read_ends_with_2_and_one_line(content, tmp_path, capsys):
    if content is not None:
        (tmp_path / "x.keras").write_bytes(content)
    assert main(["inspect", str(tmp_path / "x.keras")]) == 2
    shown = capsys.readouterr()
    assert shown.out == "" and shown.err.startswith("lamina inspect: ") and shown.err.count("\n") == 1


def test_many_rows_are_cut(tmp_path, capsys):
    entries = [{"class_name": "Dense", "config": {"name": f"d{i}", "units": 1}} for i in range(500)]
    (tmp_path / "m.json").write_text(json.dumps({"class_name": "Sequential", "config": {"layers": entries}}))
    assert main(["inspect", str(tmp_path / "m.json")]) == 0
    shown = capsys.readouterr().out
    assert "and 300 more" in shown and "500 layers" in shown


def test_markup_in_names_is_no_markup(tmp_path, capsys):
    entry = {"class_name": "Dense", "config": {"name": "[red]x[/red]"}}
    (tmp_path / "m.json").write_text(json.dumps({"class_name": "Sequential", "config": [entry]}))
    assert main(["inspect", str(tmp_path / "m.json")]) == 0
    assert "[red]x[/red]" in capsys.readouterr().out
