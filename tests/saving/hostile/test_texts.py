"""JSON and YAML that are bombs, and archives that are."""

from __future__ import annotations

import json
import stat
import struct
import zipfile
from pathlib import Path

import pytest
from hostile_files import (
    dense,
    expect_refused,
    keras2_config,
    keras2_file,
    keras_file,
    keras_parts,
    load_any,
    small_model,
)

from lamina.errors import LoadError
from lamina.saving import inspect_model, legacy, load_model, model_from_json
from lamina.saving.json_text import MAX_DEPTH, parse_json

TEXTS = {
    "deep lists": "[" * 100_000 + "]" * 100_000,
    "deep lists without an end": "[" * 1_000_000,
    "deep dicts": '{"config":' * 100_000 + "1" + "}" * 100_000,
    "just too deep": "[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1),
    "a long number": "9" * 5000,
    "a name that stands twice": '{"class_name": "Dense", "class_name": "Lambda"}',
    "millions of values": "[" + "1," * 4_000_001 + "1]",
    "millions of lists": "[" + "[]," * 2_000_001 + "[]]",
    "no UTF-8": b"\xff\xfe{",
    "half a text": '{"class_name": "Den',
    "two texts": "{} {}",
    "nothing": "",
    "a comment": '{"class_name": "Dense" /* x */}',
}


@pytest.mark.parametrize("kind", TEXTS)
def test_a_text_that_is_no_config_is_refused(kind, tmp_path):
    text = TEXTS[kind]
    with pytest.raises(LoadError) as caught:
        parse_json(text, "The text")
    assert "The text" in str(caught.value) and caught.value.fix
    (tmp_path / "m.json").write_bytes(text if isinstance(text, bytes) else text.encode())
    if isinstance(text, str):
        expect_refused(lambda: model_from_json(text), "", tmp_path)
        expect_refused(lambda: legacy.model_from_legacy_json(text), "", tmp_path)
        assert not legacy.is_legacy_config(text)
    expect_refused(lambda: inspect_model(tmp_path / "m.json"), "", tmp_path)


@pytest.mark.parametrize("kind", ["deep lists", "a name that stands twice", "no UTF-8", "half a text"])
def test_the_same_texts_inside_of_files_are_refused(kind, tmp_path):
    text = TEXTS[kind]
    parts = keras_parts(small_model(), tmp_path)
    expect_refused(lambda: load_model(keras_file(tmp_path / "m.keras", {**parts, "config.json": text})), "", tmp_path)
    found = inspect_model(tmp_path / "m.keras")
    assert found.weights and found.risks, "one bad member hid the others"
    if isinstance(text, str):
        expect_refused(lambda: load_any(keras2_file(tmp_path / "m.h5", text)), "", tmp_path)
        found = inspect_model(tmp_path / "m.h5")
        assert found.weights and found.risks


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "1e-999", "-0", str(2**64), "1" * 400])
@pytest.mark.parametrize("key", ["units", "name", "activation", "kernel_initializer", "batch_input_shape"])
def test_strange_numbers_end_in_a_model_or_an_error(number, key, tmp_path):
    text = json.dumps(keras2_config([dense(**{key: "NUMBER"})])).replace('"NUMBER"', number)
    expect_refused(lambda: load_any(keras2_file(tmp_path / "m.h5", text)), "", tmp_path)


def test_good_numbers_beyond_json_are_taken():
    assert parse_json('{"a": Infinity}', "x") == {"a": float("inf")}


# ---------------------------------------------------------------------- YAML
YAML = {
    "a python object": "class_name: !!python/object/apply:os.system ['touch canary']",
    "a python name": "class_name: !!python/name:os.system",
    "a python module": "class_name: !!python/module:os",
    "a new object": "a: !!python/object/new:subprocess.Popen [[touch, canary]]",
    "a whole tag": "a: !<tag:yaml.org,2002:python/object/apply:os.system> ['touch canary']",
    "billions of laughs": "a: &a [x, x]\n"
    + "\n".join(
        f"{b}: &{b} [*{a}, *{a}, *{a}]"
        for a, b in zip("abcdefghijklmnopqrstuvw", "bcdefghijklmnopqrstuvwx", strict=True)
    ),
    "itself": "class_name: Sequential\nconfig: &a [*a]",
    "deep lists": "a: " + "[" * 5000,
    "an unknown tag": "a: !evil x",
    "a tab": "a:\n\t- b",
    "nothing": "",
}


@pytest.mark.parametrize("kind", YAML)
def test_yaml_that_is_no_config_is_refused(kind, tmp_path, monkeypatch):
    if "python" not in YAML[kind]:
        pytest.importorskip("yaml")
    monkeypatch.chdir(tmp_path)
    expect_refused(lambda: legacy.model_from_legacy_yaml(YAML[kind]), "", tmp_path)
    assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize("kind", [kind for kind in YAML if "python" in YAML[kind]])
def test_inspecting_lists_every_python_object(kind, tmp_path):
    (tmp_path / "m.yaml").write_text("class_name: Sequential\n" + YAML[kind] + "\nb: !!python/name:os.getcwd\n")
    found = inspect_model(tmp_path / "m.yaml")
    assert len(found.risks) == 2 and all(risk.grave for risk in found.risks)


# ---------------------------------------------------------------------- archives
@pytest.fixture
def parts(tmp_path):
    return keras_parts(small_model(), tmp_path)


def test_members_that_lead_elsewhere_are_refused(parts, tmp_path):
    for name in ("../canary", "/tmp/canary", "C:\\canary", "..\\canary", "a/../../canary"):
        path = keras_file(tmp_path / "m.keras", {**parts, name: b"dead"})
        if "\\" in name:  # zipfile writes them as they are on this system
            path.write_bytes(path.read_bytes())
        expect_refused(lambda path=path: load_model(path), "whose name", tmp_path)
        assert [risk for risk in inspect_model(path).risks if risk.kind == "path" and risk.grave]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["good.keras", "m.keras"]


def test_two_members_of_one_name_are_refused(parts, tmp_path):
    path = tmp_path / "m.keras"
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(path, "w") as archive:
        for name, data in [*parts.items(), ("config.json", {"class_name": "Lambda"})]:
            archive.writestr(name, data if isinstance(data, bytes) else json.dumps(data))
    expect_refused(lambda: load_model(path), "two members of one name", tmp_path)
    assert [risk for risk in inspect_model(path).risks if "two members" in risk.what]


def test_a_link_for_a_member_is_refused(parts, tmp_path):
    path = tmp_path / "m.keras"
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in parts.items():
            record = zipfile.ZipInfo(name)
            record.external_attr = (stat.S_IFLNK if name == "model.weights.h5" else stat.S_IFREG) << 16
            archive.writestr(record, data if isinstance(data, bytes) else json.dumps(data))
    expect_refused(lambda: load_model(path), "a member that is no file", tmp_path)


def bombs(parts: dict, folder: Path) -> dict[str, Path]:
    """Archives of a few kilobytes that unfold to a great deal."""
    made = {}
    zeros = bytes(100_000_000)
    for member in ("config.json", "metadata.json", "model.weights.h5"):
        path = made[member] = folder / f"{member}.keras"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in {**parts, member: zeros}.items():
                archive.writestr(name, data if isinstance(data, bytes) else json.dumps(data))
    path = made["a size that is not true"] = folder / "lies.keras"
    keras_file(path, parts)
    data = bytearray(path.read_bytes())
    at = data.rindex(b"PK\x01\x02")
    data[at + 24 : at + 28] = struct.pack("<I", 2**32 - 2)
    path.write_bytes(data)
    path = made["members that overlap"] = folder / "overlap.keras"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in parts.items():
            archive.writestr(name, data if isinstance(data, bytes) else json.dumps(data))
        first = archive.filelist[0]
        for number in range(1000):
            copied = zipfile.ZipInfo(f"assets/{number}")
            for field in ("compress_type", "CRC", "compress_size", "file_size", "header_offset"):
                setattr(copied, field, getattr(first, field))
            archive.filelist.append(copied)
        archive._didModify = True
    return made


def test_archives_that_unfold_to_too_much_are_refused(parts, tmp_path):
    for kind, path in bombs(parts, tmp_path).items():
        assert path.stat().st_size < 500_000, kind
        expect_refused(lambda path=path: load_model(path), "unfolds|overlap", tmp_path)
        assert [risk for risk in inspect_model(path).risks if risk.kind == "size"], kind


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_unusual_packing_is_refused(method, parts, tmp_path):
    with zipfile.ZipFile(tmp_path / "m.keras", "w", method) as archive:
        for name, data in parts.items():
            archive.writestr(name, data if isinstance(data, bytes) else json.dumps(data))
    expect_refused(lambda: load_model(tmp_path / "m.keras"), "packed in an unusual way", tmp_path)


def test_an_archive_in_an_archive_is_not_opened(parts, tmp_path):
    inner = keras_file(tmp_path / "inner.keras", parts).read_bytes()
    path = keras_file(tmp_path / "m.keras", {"config.json": parts["config.json"], "model.weights.h5": inner})
    expect_refused(lambda: load_model(path), "cannot be read as HDF5", tmp_path)
