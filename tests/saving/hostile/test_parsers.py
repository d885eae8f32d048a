"""Whatever bytes the small readers are given, they give data or a `LoadError`."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pickle
import struct
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lamina.errors import LoadError
from lamina.saving.hdf5_heaps import broken_heap
from lamina.saving.json_text import parse_json
from lamina.saving.lambda_source import function_from
from lamina.saving.npz import npy_header
from lamina.saving.pickle_reading import read_pickle
from lamina.saving.safetensors_header import read_header
from lamina.saving.zip_members import open_zip, unsafe_name

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner, inner),
    max_leaves=20,
)
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)
COUNT = settings(max_examples=150, deadline=None, derandomize=True)


def changed(data: bytes, at: int, new: bytes) -> bytes:
    place = at % (len(data) + 1)
    return data[:place] + new + data[place + len(new) :]


@COUNT
@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused_as_json(data):
    with contextlib.suppress(LoadError):
        assert parse_json(data, "x") is not NotImplemented


@COUNT
@given(PLAIN)
def test_json_is_read_as_json_has_it(value):
    text = json.dumps(value)
    assert parse_json(text, "x") == json.loads(text)


@COUNT
@given(VALUES, st.integers(0, 5))
def test_pickles_of_plain_data_are_read_as_pickle_has_them(value, protocol):
    assert read_pickle(io.BytesIO(pickle.dumps(value, protocol)), "x").value == value or protocol < 3


@COUNT
@given(VALUES, st.integers(0, 5), st.integers(0), st.binary(max_size=5))
def test_damaged_pickles_are_read_or_refused(value, protocol, at, new):
    with contextlib.suppress(LoadError):
        read_pickle(io.BytesIO(changed(pickle.dumps(value, protocol), at, new)), "x")


@COUNT
@given(
    st.integers(0),
    st.binary(max_size=6),
    st.sampled_from(["<f4", "i8", "U3", "?"]),
    st.sampled_from([(), (2,), (3, 4)]),
)
def test_damaged_arrays_are_read_or_refused(at, new, dtype, shape):
    made = io.BytesIO()
    np.save(made, np.zeros(shape, dtype))
    good = made.getvalue()
    assert npy_header(good, len(good), "x")[:2] == (shape, np.dtype(dtype))
    data = changed(good, at % 128, new)
    with contextlib.suppress(LoadError):
        found, kind, _, start = npy_header(data, len(data), "x")
        assert int(np.prod(found, dtype=object)) * kind.itemsize == len(data) - start


@COUNT
@given(st.integers(0), st.binary(max_size=6))
def test_damaged_headers_of_safetensors_are_read_or_refused(at, new):
    entries = {"a": ("F32", [2, 3], [0, 24]), "b": ("I8", [], [24, 25])}
    named = {name: dict(zip(("dtype", "shape", "data_offsets"), entry, strict=True)) for name, entry in entries.items()}
    header = json.dumps(named).encode()
    path = Path(tempfile.gettempdir()) / f"lamina-{os.getpid()}.safetensors"
    path.write_bytes(changed(struct.pack("<Q", len(header)) + header, at, new) + bytes(25))
    with contextlib.suppress(LoadError):
        found = read_header(path)
        assert found.problems or sum(size for _, _, size in found.tensors.values()) <= path.stat().st_size
    path.unlink()


@COUNT
@given(st.text(max_size=30))
def test_a_name_that_is_safe_stays_in_its_folder(name):
    import os.path

    if unsafe_name(name) is None:
        assert os.path.normpath(os.path.join("/a/b", name)).startswith("/a/b")


@COUNT
@given(st.binary(max_size=200))
def test_any_bytes_are_no_archive_or_one(data):
    with contextlib.suppress(LoadError), open_zip(io.BytesIO(b"PK\x03\x04" + data), "x") as members:
        for name in members:
            with contextlib.suppress(LoadError):
                members.read(name)


@COUNT
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 2**64 - 1)), max_size=8))
def test_any_heap_is_walked_to_an_end(objects):
    body = b"".join(struct.pack("<HHIQ", index, 0, 0, size) + bytes(size % 64) for index, size in objects)
    assert broken_heap(b"GCOL\x01\0\0\0" + struct.pack("<Q", len(body) + 16) + body, 8) in (None, 0)


WORDS = "lambda x : ( ) [ ] , . + ** * - 1 9 'a' x relu sum torch __class__ open eval if else for in == = load".split()


@COUNT
@given(st.lists(st.sampled_from(WORDS), max_size=15))
def test_any_text_is_a_function_of_tensors_or_refused(words):
    with contextlib.suppress(LoadError):
        text = function_from("lambda x: " + " ".join(words)).__dict__["source"]
        assert not any(word in text for word in ("__class__", "open", "eval", "for", "load"))


@pytest.mark.parametrize("name", ["a", "a/b", "a..b", "...", "a b", ".hidden", "ab:c", "ü/é"])
def test_ordinary_names_are_safe(name):
    assert unsafe_name(name) is None


@pytest.mark.parametrize("name", ["", "/", "..", "a/..", "..\\a", "\\a", "c:", "c:\\a", "a\0", "a\n", "//a"])
def test_dangerous_names_are_not(name):
    assert unsafe_name(name) is not None
