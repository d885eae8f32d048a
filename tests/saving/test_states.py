"""Files of states come back as they were, and anything else is refused without being run."""

from __future__ import annotations

import json
import os
import pickle
import zlib

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lamina.errors import DtypeError, LoadError, WriteError
from lamina.saving.states import plain, read_state, write_state

LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
KEYS = st.text() | st.integers() | st.booleans()
NESTS = st.recursive(
    LEAVES, lambda inner: st.lists(inner) | st.lists(inner).map(tuple) | st.dictionaries(KEYS, inner), max_leaves=20
)


@given(NESTS)
@settings(max_examples=50, deadline=None)
def test_a_nest_comes_back_with_its_types(tmp_path_factory, nest):
    path = tmp_path_factory.mktemp("state") / "a.state"
    write_state(path, nest)
    assert repr(read_state(path)) == repr(nest)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16", "float64", "int64", "uint8", "bool", "complex64"])
def test_tensors_come_back_bit_for_bit(tmp_path, dtype):
    values = (torch.randn(3, 4, 2) * 3).to(getattr(torch, dtype))
    tensors = [
        values,
        values.transpose(0, 2),
        values[1:, ::2],
        values[0, 0, 0],
        values[:0],
        torch.nn.Identity()(values),
    ]
    write_state(tmp_path / "a", tensors)
    for one, other in zip(tensors, read_state(tmp_path / "a"), strict=True):
        assert one.dtype == other.dtype and one.shape == other.shape and torch.equal(one, other)


def test_not_a_number_comes_back_with_its_bits(tmp_path):
    values = torch.tensor([float("nan"), -0.0, float("inf")])
    write_state(tmp_path / "a", {"t": values, "n": values.numpy(), "f": [float("nan"), -0.0, float("-inf")]})
    found = read_state(tmp_path / "a")
    assert found["t"].numpy().tobytes() == found["n"].tobytes() == values.numpy().tobytes()
    assert repr(found["f"]) == "[nan, -0.0, -inf]"


def test_arrays_come_back_as_arrays_that_can_be_written(tmp_path):
    arrays = [np.arange(6, dtype=kind).reshape(2, 3) for kind in ("uint32", ">i4", "float64")] + [np.zeros((0, 3))]
    write_state(tmp_path / "a", arrays)
    for one, other in zip(arrays, read_state(tmp_path / "a"), strict=True):
        assert isinstance(other, np.ndarray) and one.dtype == other.dtype and np.array_equal(one, other)
        other += 1


def test_a_parameter_and_a_sparse_tensor_are_tensors(tmp_path):
    write_state(tmp_path / "a", [torch.nn.Parameter(torch.ones(2)), torch.eye(2).to_sparse()])
    one, other = read_state(tmp_path / "a")
    assert type(one) is torch.Tensor and not one.requires_grad and torch.equal(other, torch.eye(2))


def test_numpys_numbers_become_plain_data():
    found = plain({"a": (np.float64(0.5), np.int32(3))}, "x")
    assert found["a"] == (0.5, 3) and type(found["a"][0]) is float


@pytest.mark.parametrize("value", [object(), {1, 2}, b"bytes", 1j, np.array(["text"]), lambda: 0])
def test_what_no_file_can_hold_is_named_and_nothing_is_written(tmp_path, value):
    with pytest.raises(DtypeError, match=r"the state\['a'\]\[1\] cannot be written"):
        write_state(tmp_path / "a", {"a": [1, value]})
    assert os.listdir(tmp_path) == []


def test_a_file_that_cannot_be_written_says_so(tmp_path):
    with pytest.raises(WriteError, match="no/such/folder/a cannot be written"):
        write_state("no/such/folder/a", 1)


@pytest.fixture
def path(tmp_path):
    write_state(tmp_path / "a.state", {"w": torch.arange(100.0), "n": [1, 2, 3]})
    return tmp_path / "a.state"


def test_every_cut_is_noticed(path):
    content = path.read_bytes()
    for length in range(len(content)):
        path.write_bytes(content[:length])
        with pytest.raises(LoadError):
            read_state(path)
    path.write_bytes(content + b"x")
    with pytest.raises(LoadError):
        read_state(path)


def test_every_flipped_bit_is_noticed(path):
    content = path.read_bytes()
    for place in range(len(content)):
        path.write_bytes(content[:place] + bytes([content[place] ^ (1 << place % 8)]) + content[place + 1 :])
        with pytest.raises(LoadError):
            read_state(path)


def forged(text, data=b""):
    """A file with a right checksum and any description."""
    body = b"lamina state 1\n" + len(text).to_bytes(8, "little") + text + data
    return body + zlib.crc32(body).to_bytes(4, "little")


@pytest.mark.parametrize(
    "text",
    [
        "{",
        '{"x": ["float32", [100]]}',
        '{"x": ["float32", [-1]]}',
        '{"x": ["float32", [1.5]]}',
        '{"x": ["os", [0]]}',
        '{"n": ["|O8", [0]]}',
        '{"n": ["V8", [0]]}',
        '{"z": ["float32", [0]]}',
        '{"a": 1, "b": 2}',
        '{"d": [[[1], 2]]}',
        '{"d": 3}',
        "[" * 100_000,
        "\xff",
    ],
)
def test_a_description_that_makes_no_sense_is_refused(tmp_path, text):
    (tmp_path / "a").write_bytes(forged(text.encode("latin-1")))
    with pytest.raises(LoadError, match="damaged"):
        read_state(tmp_path / "a")


def test_files_of_others_are_refused_and_not_run(tmp_path):
    class Evil:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "run"),))

    contents = [pickle.dumps(Evil()), json.dumps({"a": 1}).encode(), b"PK\3\4" + bytes(100)]
    torch.save({"a": Evil()}, tmp_path / "t")
    for content in [*contents, (tmp_path / "t").read_bytes()]:
        (tmp_path / "a").write_bytes(content)
        with pytest.raises(LoadError, match="something else from its first bytes"):
            read_state(tmp_path / "a")
    assert not (tmp_path / "run").exists()


def test_a_file_of_another_version_and_one_that_is_missing_are_told_apart(path):
    path.write_bytes(b"lamina state 2\n" + bytes(50))
    with pytest.raises(LoadError, match="another version of lamina"):
        read_state(path)
    with pytest.raises(LoadError, match="No such file"):
        read_state(path.with_name("other"))
