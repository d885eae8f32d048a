"""HDF5 files that lead to other files, claim what they do not hold, or send HDF5 astray: in each of three formats."""

from __future__ import annotations

import struct
import time
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from hostile_files import (
    changed_hdf5,
    dense,
    expect_refused,
    keras2_config,
    keras2_file,
    keras_file,
    load_any,
    nothing_happens,
)

import lamina
from lamina import layers
from lamina.errors import LaminaError
from lamina.saving import inspect_model
from lamina.saving.hdf5 import open_hdf5
from lamina.saving.hdf5_heaps import broken_heap, refuse_false_lengths

SECRET = 7777.0
"""What other files hold, and must not get into any weight."""


class Formats:
    """The same small model in each format that is HDF5, and what reads it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.model = lamina.Sequential([lamina.Input((3,)), layers.Dense(2, name="dense")], name="old")
        self.model.save(folder / "good.keras")
        self.model.save_weights(folder / "good.weights.h5")
        keras2_file(folder / "good.h5", keras2_config([dense()]))
        with h5py.File(folder / "secret.h5", "w") as file:
            file["x"] = np.full((3, 2), SECRET, "f4")
            file["y"] = np.full(2, SECRET, "f4")
        (folder / "secret.bin").write_bytes(np.full(6, SECRET, "f4").tobytes())

    def kernel(self, kind: str) -> str:
        return "model_weights/dense/dense/kernel:0" if kind == ".h5" else "layers/dense/vars/0"

    def hostile(self, kind: str, change: Any) -> Path:
        """A file of a format after a change of the HDF5 in it; `change(file, path of the kernel)`."""
        name = self.kernel(kind)
        path = self.folder / f"evil{kind}"
        if kind == ".keras":
            import zipfile

            with zipfile.ZipFile(self.folder / "good.keras") as archive:
                parts = {member: archive.read(member) for member in archive.namelist()}
            parts["model.weights.h5"] = changed_hdf5(parts["model.weights.h5"], lambda file: change(file, name))
            return keras_file(path, parts)
        path.write_bytes(changed_hdf5(self.folder / f"good{kind}", lambda file: change(file, name)))
        return path

    def read(self, path: Path) -> Any:
        """What each loader gives for a file of its kind."""
        if path.name.endswith(".weights.h5"):
            self.model.load_weights(path)
            return self.model
        if path.name.endswith(".h5"):
            self.model.load_weights(path)
        return load_any(path)


@pytest.fixture
def formats(tmp_path):
    made = Formats(tmp_path)
    yield made
    assert not any((weight == SECRET).any() for weight in made.model.weights)


KINDS = [".keras", ".weights.h5", ".h5"]


def _replace(file: Any, name: str, make: Any) -> None:
    parent, _, last = name.rpartition("/")
    del file[name]
    make(file[parent], last)


def external_link(file, name):
    _replace(file, name, lambda group, last: group.__setitem__(last, h5py.ExternalLink("secret.h5", "/x")))


def external_link_to_a_group(file, name):
    parent = name.rpartition("/")[0]
    _replace(file, parent, lambda group, last: group.__setitem__(last, h5py.ExternalLink("secret.h5", "/")))


def soft_link(file, name):
    file["elsewhere"] = np.ones((3, 2), "f4")
    _replace(file, name, lambda group, last: group.__setitem__(last, h5py.SoftLink("/elsewhere")))


def dangling_link(file, name):
    _replace(file, name, lambda group, last: group.__setitem__(last, h5py.SoftLink("/nowhere")))


def endless_links(file, name):
    def make(group, last):
        group[last] = h5py.SoftLink(f"{group.name}/other")
        group["other"] = h5py.SoftLink(f"{group.name}/{last}")

    _replace(file, name, make)


def external_storage(file, name):
    _replace(file, name, lambda g, last: g.create_dataset(last, (3, 2), "f4", external=[("secret.bin", 0, 24)]))


def virtual_dataset(file, name):
    layout = h5py.VirtualLayout((3, 2), "f4")
    layout[:] = h5py.VirtualSource("secret.h5", "x", (3, 2))
    _replace(file, name, lambda group, last: group.create_virtual_dataset(last, layout))


def object_references(file, name):
    _replace(file, name, lambda g, last: g.create_dataset(last, data=np.array([g.ref] * 2, h5py.ref_dtype)))


def region_references(file, name):
    file["target"] = np.ones((3, 2), "f4")
    region = file["target"].regionref[:]
    _replace(file, name, lambda g, last: g.create_dataset(last, data=np.array([region], h5py.regionref_dtype)))


def committed_type(file, name):
    _replace(file, name, lambda group, last: group.__setitem__(last, np.dtype("f4")))


def texts_of_any_length(file, name):
    _replace(file, name, lambda group, last: group.__setitem__(last, ["text"] * 6))


def compound(file, name):
    _replace(file, name, lambda group, last: group.__setitem__(last, np.zeros((3, 2), [("a", "f4"), ("b", "i4")])))


def empty(file, name):
    _replace(file, name, lambda group, last: group.__setitem__(last, h5py.Empty("f4")))


def a_group(file, name):
    _replace(file, name, lambda group, last: group.create_group(last))


def an_array_for_a_group(file, name):
    parent = name.rpartition("/")[0]
    _replace(file, parent, lambda group, last: group.__setitem__(last, np.zeros(3)))


def foreign_filter(file, name):
    def make(group, last):
        plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plist.set_chunk((3, 2))
        plist.set_filter(32001, h5py.h5z.FLAG_OPTIONAL)  # blosc, which is a plugin that HDF5 would load
        space = h5py.h5s.create_simple((3, 2))
        h5py.h5d.create(group.id, last.encode(), h5py.h5t.NATIVE_FLOAT, space, plist)

    _replace(file, name, make)


def itself(file, name):
    _replace(file, name, lambda group, last: group.__setitem__(last, file["/"]))


ELSEWHERE = [
    external_link,
    external_link_to_a_group,
    soft_link,
    dangling_link,
    endless_links,
    external_storage,
    virtual_dataset,
]
STRANGE = [
    object_references,
    region_references,
    committed_type,
    texts_of_any_length,
    compound,
    empty,
    a_group,
    an_array_for_a_group,
    foreign_filter,
    itself,
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("change", [*ELSEWHERE, *STRANGE])
def test_nothing_elsewhere_and_nothing_strange_is_read(change, kind, formats, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # where relative names of other files lead
    path = formats.hostile(kind, change)
    before = [weight.clone() for weight in formats.model.weights]
    error = expect_refused(lambda: formats.read(path), "", tmp_path)
    assert error.fix or error.expected
    if change in ELSEWHERE and change is not endless_links:
        assert "link" in str(error) or "other files" in str(error) or "nothing" in str(error), str(error)
    assert all(torch.equal(old, new) for old, new in zip(before, formats.model.weights, strict=True))


@pytest.mark.parametrize("change", ELSEWHERE)
def test_inspecting_names_the_link_and_goes_on(change, formats, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for kind in KINDS:
        path = formats.hostile(kind, change)
        with nothing_happens(tmp_path):
            found = inspect_model(path)
        assert [risk for risk in found.risks if risk.kind == "link" and risk.grave], found.risks
        assert found.weights or change is external_link_to_a_group
        assert kind == ".weights.h5" or found.layers


# ---------------------------------------------------------------------- sizes
def unwritten_chunks(shape):
    def change(file, name):
        def make(group, last):
            group.create_dataset(
                last, shape, "f4", chunks=(1,) * len(shape), fillvalue=1.0, maxshape=(None,) * len(shape)
            )

        _replace(file, name, make)

    return change


def one_chunk_of_many(file, name):
    def make(group, last):
        data = group.create_dataset(last, (2**30,), "f4", chunks=(2**16,), compression="gzip", compression_opts=9)
        data[: 2**16] = 0

    _replace(file, name, make)


def unwritten_contiguous(file, name):
    def make(group, last):
        plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plist.set_alloc_time(h5py.h5d.ALLOC_TIME_LATE)
        space = h5py.h5s.create_simple((2**40,))
        h5py.h5d.create(group.id, last.encode(), h5py.h5t.NATIVE_FLOAT, space, plist)

    _replace(file, name, make)


BOMBS = {
    "a gibibyte of unwritten chunks": unwritten_chunks((2**28,)),
    "an exbibyte of unwritten chunks": unwritten_chunks((2**30, 2**30)),
    "a size that overflows": unwritten_chunks((2**62, 2)),
    "one chunk of many": one_chunk_of_many,
    "an array that was never written": unwritten_contiguous,
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", BOMBS)
def test_a_claim_larger_than_what_is_stored_is_refused(name, kind, formats, tmp_path):
    path = formats.hostile(kind, BOMBS[name])
    assert path.stat().st_size < 200_000
    expect_refused(lambda: formats.read(path), "", tmp_path)
    with pytest.raises(LaminaError, match="claims more"), open_any(path, tmp_path) as file:
        file.array(formats.kernel(kind))
    found = inspect_model(path)
    assert [risk for risk in found.risks if risk.kind == "size"], found.risks


def open_any(path: Path, folder: Path) -> Any:
    """The HDF5 in a file."""
    if path.suffix == ".keras":
        import zipfile

        return open_hdf5(zipfile.ZipFile(path).read("model.weights.h5"))
    return open_hdf5(path)


def with_texts(path: Path, texts: list[str], **options: Any) -> bytearray:
    """A file with an attribute of texts of any length, and two texts in other attributes."""
    with h5py.File(path, "w", **options) as file:
        file.attrs["large"] = "y" * 5_000_000
        file.attrs["weight_names"] = texts[0] if len(texts) == 1 else texts
    with open_hdf5(path) as file:
        assert file.attribute("weight_names") == (texts[0] if len(texts) == 1 else texts)
    return bytearray(path.read_bytes())


def elements(data: bytes, name: bytes, length: int) -> int:
    """Where the first text of an attribute is described: its length, its heap, and its number there."""
    at = data.index(name + b"\0") + len(name)
    while (
        struct.unpack_from("<I", data, at)[0] != length or not 0 < struct.unpack_from("<I", data, at + 12)[0] < 10_000
    ):
        at += 1
    return at


@pytest.mark.parametrize("libver", ["earliest", "latest"])
@pytest.mark.parametrize("userblock", [0, 512])
@pytest.mark.parametrize("count", [1, 3, 4000])
def test_a_text_that_claims_to_be_longer_than_the_file_is_not_looked_for(libver, userblock, count, tmp_path):
    """HDF5 takes the memory first, up to 4 GiB for each text, and looks then."""
    path = tmp_path / "x.h5"
    data = with_texts(path, ["text"] * count, libver=libver, userblock_size=userblock)
    refuse_false_lengths(bytes(data), "weight_names", (8, 8), "x")
    at = elements(data, b"weight_names", 4)
    data[at : at + 4] = struct.pack("<I", 2**30)
    with pytest.raises(LaminaError, match="claims more for the attribute 'weight_names'"):
        refuse_false_lengths(bytes(data), "weight_names", (8, 8), "x")
    path.write_bytes(data)
    with pytest.raises(LaminaError), open_hdf5(path) as file:  # where there are checksums, HDF5 sees it too
        file.attribute("weight_names")


def test_texts_that_share_their_bytes_are_not_read(tmp_path):
    """An attribute of 4,000 texts that are all one text of 5 MB would take 20 GB."""
    path = tmp_path / "x.h5"
    data = with_texts(path, ["text"] * 4000)
    large, at = elements(data, b"large", 5_000_000), elements(data, b"weight_names", 4)
    for number in range(4000):
        data[at + 16 * number : at + 16 * (number + 1)] = data[large : large + 16]
    path.write_bytes(data)
    with (
        pytest.raises(LaminaError, match="claims more for the attribute 'weight_names'") as caught,
        open_hdf5(path) as file,
    ):
        file.attribute("weight_names")
    assert "4,000 texts of 20,000,000,000 bytes" in caught.value.received
    assert [risk for risk in inspect_model(path).risks if risk.kind == "size"]


def test_arrays_that_share_their_bytes_are_not_read_again_and_again(tmp_path):
    path = tmp_path / "x.h5"
    with h5py.File(path, "w") as file:
        file["a0"] = np.zeros(100_000, "f4")
        for number in range(1, 40):
            file[f"a{number}"] = file["a0"]
    with pytest.raises(LaminaError, match="share their bytes"), open_hdf5(path) as file:
        for name in file.arrays():
            file.array(name)


def test_groups_that_hold_each_other_end(tmp_path):
    """Sixty groups, each twice in the one before: more paths than there are atoms to count them."""
    path = tmp_path / "x.h5"
    with h5py.File(path, "w") as file:
        group = file
        for _ in range(60):
            inner = group.create_group("a")
            group["b"] = inner
            group = inner
    begun = time.perf_counter()
    with pytest.raises(LaminaError, match="nested or filled beyond measure"), open_hdf5(path) as file:
        list(file.arrays())
    assert time.perf_counter() - begun < 5, "the ways to them were followed, 200,000 of them"
    found = inspect_model(path)
    assert [risk for risk in found.risks if risk.kind == "size"]


# ---------------------------------------------------------------------- attributes
def loose():
    """An array of an array."""
    found = np.empty(1, object)
    found[0] = np.arange(3)
    return found


ATTRIBUTES = {
    "a reference": lambda file: file.attrs.__setitem__("model_config", file.ref),
    "references": lambda file: file.attrs.__setitem__("model_config", np.array([file.ref], h5py.ref_dtype)),
    "nothing": lambda file: file.attrs.__setitem__("model_config", h5py.Empty("S1")),
    "a number": lambda file: file.attrs.__setitem__("model_config", 3),
    "a table": lambda file: file.attrs.__setitem__("model_config", np.zeros(2, [("a", "i4")])),
    "an enumeration": lambda file: file.attrs.__setitem__("model_config", np.array([True])),
    "arrays of any length": lambda file: file.attrs.create("model_config", loose(), dtype=h5py.vlen_dtype("i4")),
    "bytes that are no text": lambda file: file.attrs.__setitem__("model_config", np.bytes_(b"\xff\xfe{")),
}


@pytest.mark.parametrize("kind", ATTRIBUTES)
def test_a_config_that_is_no_text_is_refused(kind, formats, tmp_path):
    path = formats.hostile(".h5", lambda file, name: ATTRIBUTES[kind](file))
    expect_refused(lambda: load_any(path), "", tmp_path)
    with nothing_happens(tmp_path):
        assert inspect_model(path).weights


def test_a_heap_without_an_end_is_refused(formats, tmp_path):
    """HDF5 goes round in a circle over a free object that takes no room; it never returns."""
    data = bytearray((tmp_path / "good.h5").read_bytes())
    heap = data.index(b"GCOL")
    assert broken_heap(bytes(data), 8) is None
    at = heap + 16
    while data[at]:
        size = int.from_bytes(data[at + 8 : at + 16], "little")
        at += 16 + (size + 7) // 8 * 8
    data[at + 8 : at + 16] = bytes(8)
    (tmp_path / "evil.h5").write_bytes(data)
    assert broken_heap(bytes(data), 8) == broken_heap(tmp_path / "evil.h5", 8) == heap
    error = expect_refused(lambda: load_any(tmp_path / "evil.h5"), "heap of texts", tmp_path)
    assert error.fix == "do not load this file"
    assert [risk for risk in inspect_model(tmp_path / "evil.h5").risks if "takes no room" in risk.what and risk.grave]


@pytest.mark.parametrize("size", [2**64 - 16, 2**63, 10**6])
def test_a_heap_that_leads_astray_is_refused(size, formats, tmp_path):
    data = bytearray((tmp_path / "good.h5").read_bytes())
    heap = data.index(b"GCOL")
    data[heap + 24 : heap + 32] = size.to_bytes(8, "little")
    (tmp_path / "evil.h5").write_bytes(data)
    expect_refused(lambda: load_any(tmp_path / "evil.h5"), "heap of texts", tmp_path)


def test_a_user_block_before_the_file_is_seen_through(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w", userblock_size=512) as file:
        file.attrs["layer_names"] = np.array([b"a"])
        file["a/w"] = np.zeros(3)
    assert inspect_model(tmp_path / "x.h5").format == "Keras 2 weights in HDF5"
