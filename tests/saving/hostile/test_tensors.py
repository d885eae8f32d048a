"""Files of tensors that run code, claim what they do not hold, or hold objects: .pt, .safetensors, .npz."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pickle
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hostile_files import expect_refused, nothing_happens

from lamina.errors import LoadError
from lamina.saving import inspect_model, load_weights, save_weights
from lamina.saving.npz import read_npz
from lamina.saving.pickle_reading import read_pickle
from lamina.saving.safetensors_header import read_header


def module() -> torch.nn.Module:
    return torch.nn.Linear(3, 2)


def refused(path: Path, words: str = "", risk: str | None = None) -> LoadError:
    """The loader refuses the file, nothing changes, and the inspection lists a risk of that kind."""
    model = module()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    error = expect_refused(lambda: load_weights(model, path), words, path.parent)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    with nothing_happens(path.parent):
        try:
            found = inspect_model(path)
        except LoadError:
            assert risk is None
        else:
            assert risk is None or [r for r in found.risks if r.kind == risk and r.grave], found.risks
    return error


# ---------------------------------------------------------------------- .pt
class Calls:
    """Calls a function with arguments when it is unpickled by whoever runs what it is told to."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def raw_pt(
    path: Path, pickled: bytes, storages: dict[str, bytes] | None = None, packing: int = zipfile.ZIP_STORED
) -> Path:
    with zipfile.ZipFile(path, "w", packing) as archive:
        archive.writestr("archive/data.pkl", pickled)
        archive.writestr("archive/version", "3\n")
        archive.writestr("archive/byteorder", "little")
        for key, data in (storages or {}).items():
            archive.writestr(f"archive/data/{key}", data)
    return path


def tensor_pickle(size: str, stride: str, numbers: int, offset: int = 0) -> bytes:
    """The pickle of a state_dict with one tensor, in the text form of protocol 0 where numbers are written out."""
    storage = f"(S'storage'\nctorch\nFloatStorage\nS'0'\nS'cpu'\nL{numbers}L\ntQ"
    return (
        f"(dS'weight'\nctorch._utils\n_rebuild_tensor_v2\n({storage}L{offset}L\n{size}{stride}I00\n"
        "ccollections\nOrderedDict\n(tRtRs."
    ).encode()


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize(
    "function, arguments",
    [
        (os.system, ("touch canary",)),
        (eval, ("1+1",)),
        (bytearray, (2**31,)),
        (torch.load, ("x",)),
        (getattr, (3, "real")),
        (open, ("canary", "w")),
    ],
)
def test_what_a_pickle_calls_is_named_and_not_called(function, arguments, old, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    content = {"weight": torch.zeros(2, 3), "bias": Calls(function, *arguments)}
    torch.save(content, tmp_path / "w.pt", _use_new_zipfile_serialization=not old)
    error = refused(tmp_path / "w.pt", "cannot be read as .pt", "foreign code")
    assert function.__name__ in str(error)
    assert not (tmp_path / "canary").exists()


def test_a_name_that_a_pickle_only_mentions_is_refused(tmp_path):
    raw_pt(tmp_path / "w.pt", b"\x80\x02}X\x06\x00\x00\x00weightcos\nsystem\ns.")
    assert refused(tmp_path / "w.pt", "calls for code", "foreign code").received == "os.system"


def test_a_call_of_what_a_pickle_has_computed_is_refused(tmp_path):
    raw_pt(tmp_path / "w.pt", b"\x80\x02}X\x06\x00\x00\x00weightK\x05)Rs.")
    refused(tmp_path / "w.pt", "calls something that it has computed")


@pytest.mark.parametrize(
    "pickled",
    [
        tensor_pickle("(L1000000000L\nL1000000000L\nt", "(I1\nI1\nt", 6),
        tensor_pickle("(I2\nI3\nt", "(I3\nI1\nt", 10**12),
        tensor_pickle("(I2\nI3\nt", "(I3\nI1\nt", 6, offset=10**9),
        tensor_pickle("(I-2\nI3\nt", "(I3\nI1\nt", 6),
        tensor_pickle("(I2\nI3\nt", "(I-3\nI1\nt", 6),
        tensor_pickle("(I2\nI3\nt", "(I1\nt", 6),
        tensor_pickle("(I2\nS'x'\nt", "(I3\nI1\nt", 6),
    ],
    ids=["shape", "storage", "offset", "negative shape", "negative stride", "too few strides", "text"],
)
def test_a_tensor_beyond_its_storage_is_refused(pickled, tmp_path):
    raw_pt(tmp_path / "w.pt", pickled, {"0": bytes(24)})
    refused(tmp_path / "w.pt", "claims more|a tensor that cannot be")


def test_an_old_file_that_announces_more_than_it_holds_is_refused(tmp_path):
    torch.save({"weight": torch.zeros(2, 3)}, tmp_path / "w.pt", _use_new_zipfile_serialization=False)
    data = (tmp_path / "w.pt").read_bytes()
    assert data.count(b"K\x06N") == 1
    (tmp_path / "w.pt").write_bytes(data.replace(b"K\x06N", b"\x8a\x05\x00\x00\x00\x00\x01N"))
    refused(tmp_path / "w.pt", "claims more than it holds", "size")


def test_members_that_are_compressed_are_refused(tmp_path):
    raw_pt(tmp_path / "w.pt", tensor_pickle("(I2\nt", "(I1\nt", 10**7), {"0": bytes(4 * 10**7)}, zipfile.ZIP_DEFLATED)
    assert (tmp_path / "w.pt").stat().st_size < 10**5
    refused(tmp_path / "w.pt", "is compressed", "size")


def test_torchscript_is_refused(tmp_path):
    torch.jit.save(torch.jit.script(torch.nn.ReLU()), tmp_path / "w.pt")
    refused(tmp_path / "w.pt", "cannot be read as .pt", "foreign code")


def test_a_pickle_that_stands_for_more_than_there_is_memory_is_refused(tmp_path):
    value: Any = [torch.zeros(1)]
    for _ in range(40):
        value = [value, value]
    torch.save({"weight": value}, tmp_path / "w.pt")
    refused(tmp_path / "w.pt", "beyond measure")


def test_a_pickle_that_holds_itself_is_refused(tmp_path):
    value: list[Any] = []
    value.append(value)
    with pytest.raises(LoadError, match="beyond measure"):
        read_pickle(io.BytesIO(pickle.dumps(value)), "x")


def test_every_instruction_of_pickle_is_followed():
    class Plain:
        pass

    value = {"a": [1, -1, 2**40, 2**80, 1.5, None, True, "é", b"x", bytearray(b"y"), (1, 2, 3, 4), {1}, frozenset({2})]}
    for protocol in range(6):
        found = read_pickle(io.BytesIO(pickle.dumps(value, protocol)), "x").value
        assert found["a"][:6] == [1, -1, 2**40, 2**80, 1.5, None] and found["a"][7] == "é"
        assert found["a"][10] == (1, 2, 3, 4)
    names = read_pickle(io.BytesIO(pickle.dumps(os.path.join, 4)), "x").names
    assert names == ["posixpath.join"] or names == ["ntpath.join"]


@pytest.mark.parametrize(
    "data", [b"", b"\x80", b".", b"0.", b"(", b"\x80\x05\x95\xff", b"}u.", b"h\x00.", b"X\xff\xff\xff\x7fa"]
)
def test_broken_pickles_are_refused(data):
    with pytest.raises(LoadError, match="no whole pickle"):
        read_pickle(io.BytesIO(data), "x")


# ---------------------------------------------------------------------- .safetensors
def raw_safetensors(path: Path, header: Any, data: bytes = b"", length: int | None = None) -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + data)
    return path


def entry(begin=0, end=24, shape=(2, 3), dtype="F32"):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end]}


HEADERS = {
    "a longer header than file": ({"weight": entry()}, bytes(24), 10**6),
    "a header of exabytes": ({"weight": entry()}, bytes(24), 2**63),
    "no header": (b"", b"", 0),
    "a list": ([1], b"", None),
    "two of one name": (
        b'{"a":' + json.dumps(entry()).encode() + b',"a":' + json.dumps(entry()).encode() + b"}",
        bytes(24),
        None,
    ),
    "shared bytes": ({"weight": entry(), "bias": entry(0, 8, (2,))}, bytes(24), None),
    "a gap": ({"weight": entry(8, 32)}, bytes(32), None),
    "bytes that belong to nobody": ({"weight": entry()}, bytes(100), None),
    "more than there is": ({"weight": entry(0, 2400, (20, 30))}, bytes(24), None),
    "another size": ({"weight": entry(0, 24, (2, 4))}, bytes(24), None),
    "a shape of exabytes": ({"weight": entry(0, 24, (2**62, 2**62))}, bytes(24), None),
    "a negative size": ({"weight": entry(0, 24, (-2, -3))}, bytes(24), None),
    "a broken number": ({"weight": entry(0, 24, (2.0, 3.0))}, bytes(24), None),
    "an unknown dtype": ({"weight": entry(dtype="OBJECT")}, bytes(24), None),
    "another dtype": ({"weight": entry(dtype="F64")}, bytes(24), None),
    "offsets from behind": ({"weight": entry(24, 0)}, bytes(24), None),
    "metadata of lists": ({"__metadata__": {"a": [1]}, "weight": entry()}, bytes(24), None),
    "brackets": (b"[" * 10_000, b"", None),
    "no text": (b"\xff\xfe" * 10, b"", None),
}


@pytest.mark.parametrize("kind", HEADERS)
def test_a_header_that_is_not_sound_is_refused(kind, tmp_path):
    header, data, length = HEADERS[kind]
    path = raw_safetensors(tmp_path / "w.safetensors", header, data, length)
    refused(path, "cannot be read as .safetensors")
    with contextlib.suppress(LoadError):  # the file's own reader would refuse it too; here it is known before
        assert read_header(path).problems


def test_a_sound_file_written_by_hand_is_read(tmp_path):
    header = {"__metadata__": {"a": "b"}, "bias": entry(24, 32, (2,)), "weight": entry()}
    raw_safetensors(tmp_path / "w.safetensors", header, np.arange(8, dtype="f4").tobytes())
    model = module()
    load_weights(model, tmp_path / "w.safetensors")
    assert model.bias.tolist() == [6, 7]
    found = inspect_model(tmp_path / "w.safetensors")
    assert found.is_harmless and found.facts == {"a": "b"} and found.count == 8


# ---------------------------------------------------------------------- .npz
def raw_npy(header: str, data: bytes = b"", version: bytes = b"\x01\x00") -> bytes:
    text = header.encode().ljust(10)
    return b"\x93NUMPY" + version + struct.pack("<H", len(text)) + text + data


def raw_npz(path: Path, packing: int = zipfile.ZIP_STORED, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w", packing) as archive:
        for name, data in members.items():
            archive.writestr(f"{name}.npy", data)
    return path


def header(shape: str = "(2, 3)", dtype: str = "'<f4'", order: str = "False") -> str:
    return f"{{'descr': {dtype}, 'fortran_order': {order}, 'shape': {shape}, }}"


NPY = {
    "a shape of terabytes": raw_npy(header("(1000000, 1000000)"), bytes(24)),
    "a shape that overflows": raw_npy(header("(4611686018427387904, 4)"), bytes(24)),
    "a negative shape": raw_npy(header("(-2, -3)"), bytes(24)),
    "too few bytes": raw_npy(header(), bytes(20)),
    "too many bytes": raw_npy(header(), bytes(28)),
    "objects": raw_npy(header("(1,)", "'|O'"), pickle.dumps(Calls(os.system, "touch canary"))),
    "a field of objects": raw_npy(header("(1,)", "[('a', '|O')]"), pickle.dumps([1])),
    "a table": raw_npy(header("(1,)", "[('a', '<f4')]"), bytes(4)),
    "a call in the header": raw_npy("__import__('os').system('touch canary')"),
    "a call for a shape": raw_npy(header("(__import__('os').system('touch canary'),)"), bytes(4)),
    "brackets": raw_npy("(" * 5000),
    "a long header": b"\x93NUMPY\x02\x00" + struct.pack("<I", 2**31) + b" " * 100,
    "another version": raw_npy(header(), bytes(24), b"\x09\x09"),
    "nothing": b"",
    "no array": b"text",
}


@pytest.mark.parametrize("kind", NPY)
def test_an_array_that_is_not_what_it_says_is_refused(kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = raw_npz(tmp_path / "w.npz", weight=NPY[kind])
    refused(path, "cannot be read as .npz")
    expect_refused(lambda: read_npz(path), "no array that can be read|beyond measure", tmp_path)
    found = inspect_model(path)
    assert found.risks and not (tmp_path / "canary").exists()


def test_an_npz_bomb_is_refused(tmp_path):
    data = raw_npy(header("(50000000,)", "'|u1'"), bytes(50_000_000))
    path = raw_npz(tmp_path / "w.npz", zipfile.ZIP_DEFLATED, weight=data)
    assert path.stat().st_size < 100_000
    refused(path, "unfolds to far more", "size")


def test_an_array_in_the_order_of_columns_is_read(tmp_path):
    np.savez(tmp_path / "w.npz", a=np.asfortranarray(np.arange(6).reshape(2, 3)), b=np.float32(3), c=np.empty((0, 5)))
    found = read_npz(tmp_path / "w.npz")
    assert found["a"].tolist() == [[0, 1, 2], [3, 4, 5]] and found["b"].shape == () and found["c"].shape == (0, 5)


@pytest.mark.parametrize("suffix", [".safetensors", ".npz", ".pt"])
def test_good_files_have_no_risk(suffix, tmp_path):
    save_weights(module(), tmp_path / f"w{suffix}")
    found = inspect_model(tmp_path / f"w{suffix}")
    assert found.risks == [] and found.count == 8
    assert {(w.name, w.shape, w.dtype) for w in found.weights} == {
        ("weight", (2, 3), "float32"),
        ("bias", (2,), "float32"),
    }
