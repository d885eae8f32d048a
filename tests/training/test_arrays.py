"""Whatever users call an array, as torch tensors."""

from __future__ import annotations

import re
import sys
import types
import warnings
from collections import namedtuple

import numpy as np
import pandas as pd
import pytest
import torch

from lamina.errors import DataError, DtypeError
from lamina.training.arrays import (
    as_tensor,
    batch_dtype,
    holds_read_only_memory,
    is_array,
    is_pandas,
    is_sparse,
    map_arrays,
    named_leaves,
)


class SparseMatrix:
    """The part of a scipy.sparse matrix that is used, over a dense array; scipy is no dependency of the tests."""

    def __init__(self, dense):
        self.dense = np.asarray(dense)
        self.shape = self.dense.shape

    def tocsr(self):
        return self

    def toarray(self):
        return self.dense.copy()

    def __getitem__(self, rows):
        return SparseMatrix(self.dense[rows])


@pytest.fixture
def sparse(monkeypatch):
    """A `scipy.sparse` that knows `SparseMatrix`."""
    module = types.SimpleNamespace(issparse=lambda value: isinstance(value, SparseMatrix))
    monkeypatch.setitem(sys.modules, "scipy.sparse", module)
    return SparseMatrix


@pytest.mark.parametrize(
    "value",
    [
        np.zeros(2),
        torch.zeros(2),
        [1, 2],
        [[1.0], [2.0]],
        (1, 2),
        [np.float32(1)],
        [torch.tensor(1), torch.tensor(2)],
        pd.DataFrame({"a": [1]}),
        pd.Series([1]),
        [],
        ["a", "b"],
    ],
)
def test_these_are_one_array(value):
    assert is_array(value)


@pytest.mark.parametrize(
    "value", [[np.zeros(2)], (torch.zeros(1), [1]), {"a": [1]}, [None, np.zeros(1)], object(), "x"]
)
def test_these_are_no_array(value):
    assert not is_array(value)


def test_an_array_of_another_library_is_one_by_its_array_method():
    class Foreign:
        def __array__(self, dtype=None, copy=None):
            return np.arange(3)

    assert is_array(Foreign()) and as_tensor(Foreign()).tolist() == [0, 1, 2]


def test_pandas_and_scipy_are_known_without_being_imported(monkeypatch):
    monkeypatch.delitem(sys.modules, "pandas")
    monkeypatch.delitem(sys.modules, "scipy.sparse", raising=False)
    assert not is_pandas(np.zeros(1)) and not is_sparse(np.zeros(1))
    assert "pandas" not in sys.modules and "scipy.sparse" not in sys.modules


def test_named_leaves_say_the_way_to_each_array():
    nest = {"a": [np.zeros(1), None], "b": (np.ones(1), [1, 2])}
    assert [path for path, _ in named_leaves(nest, "x")] == ["x['a'][0]", "x['b'][0]", "x['b'][1]"]


def test_map_arrays_keeps_lists_tuples_dicts_named_tuples_and_none():
    Pair = namedtuple("Pair", "left right")
    nest = {"a": [np.ones(1), None], "b": Pair(np.ones(1), (np.ones(1),))}
    doubled = map_arrays(lambda array, path: (path, float(array[0] * 2)), nest, "x")
    assert doubled == {"a": [("x['a'][0]", 2.0), None], "b": Pair(("x['b'][0]", 2.0), (("x['b'][1][0]", 2.0),))}
    assert type(doubled["b"]) is Pair


def test_floats_of_every_width_become_the_default_float_type_and_others_stay():
    for dtype in (torch.float16, torch.bfloat16, torch.float64):
        assert batch_dtype(dtype) is torch.float32
    for dtype in (torch.uint8, torch.bool, torch.int64, torch.complex64):
        assert batch_dtype(dtype) is dtype


@pytest.mark.parametrize("dtype", ["float32", "float64", "uint8", "bool", "int8", "int64", "complex64"])
def test_a_numpy_array_shares_its_memory(dtype):
    array = np.ones((3, 2), dtype=dtype)
    tensor = as_tensor(array)
    array[1, 1] = 0
    assert tensor[1, 1] == 0 and str(tensor.dtype) == f"torch.{dtype}"


def test_a_read_only_array_shares_its_memory_without_a_warning():
    array = np.arange(4.0)
    view = array.view()
    view.flags.writeable = False
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tensor = as_tensor(view)
    array[2] = 9
    assert tensor.tolist() == [0, 1, 9, 3] and holds_read_only_memory(view)
    del array, view
    assert tensor.tolist() == [0, 1, 9, 3]


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6.0)[::-1],
        np.arange(6).reshape(2, 3)[:, ::-1],
        np.arange(4, dtype=">f4"),
        np.array([1, 2**40], dtype="uint64"),
        np.array([1, 65535], dtype="uint16"),
        np.arange(3, dtype=np.longdouble),
        np.zeros((0, 3)),
        np.array([(1.5, 2), (2.5, 3)], dtype=[("a", "f4"), ("b", "i2")])["a"],
    ],
    ids=["reversed", "reversed columns", "big endian", "uint64", "uint16", "long double", "empty", "a field"],
)
def test_memory_that_torch_cannot_address_is_copied_with_the_same_numbers(array):
    tensor = as_tensor(array)
    assert tensor.shape == array.shape
    np.testing.assert_array_equal(tensor.numpy().astype("float64"), array.astype("float64"))


def test_a_field_whose_strides_are_no_multiple_of_its_size_is_copied():
    packed = np.array([(1.5, 2), (2.5, 3)], dtype=[("a", "f4"), ("b", "i2")])
    assert as_tensor(packed["a"]).tolist() == [1.5, 2.5]


def test_a_tensor_is_taken_without_its_gradient_and_a_sparse_one_dense():
    weight = torch.ones(2, requires_grad=True)
    assert not as_tensor(weight).requires_grad
    assert as_tensor(torch.eye(2).to_sparse()).tolist() == [[1, 0], [0, 1]]


def test_lists_of_python_floats_have_the_default_float_type_and_numpy_floats_their_own():
    assert as_tensor([1.0, 2.0]).dtype == torch.float32
    assert as_tensor([np.float64(1.0)]).dtype == torch.float64
    assert as_tensor([1, 2]).dtype == torch.int64
    assert as_tensor([True, False]).dtype == torch.bool
    assert as_tensor([torch.tensor(3), torch.tensor(4)]).tolist() == [3, 4]


def test_a_frame_becomes_columns_and_a_series_one_column():
    frame = pd.DataFrame({"a": [1, 2], "b": [0.5, 1.5], "c": [True, False]})
    assert as_tensor(frame).tolist() == [[1, 0.5, 1], [2, 1.5, 0]]
    assert as_tensor(pd.Series([1, 2])).tolist() == [[1], [2]]
    assert as_tensor(pd.DataFrame({"a": [1, 2]})).dtype == torch.int64
    assert as_tensor(pd.DataFrame(index=[0, 1])).shape == (2, 0)


def test_nullable_columns_have_nan_where_they_have_no_value():
    column = as_tensor(pd.Series([1, None], dtype="Int64"))
    assert column[0].item() == 1 and torch.isnan(column[1]).all()


def test_a_frame_of_wide_unsigned_integers_keeps_its_numbers():
    assert as_tensor(pd.DataFrame({"a": np.array([1, 2**40], dtype="uint64")})).tolist() == [[1], [2**40]]


def test_a_sparse_matrix_becomes_dense(sparse):
    assert is_sparse(sparse([[0, 1]])) and as_tensor(sparse([[0, 1]])).tolist() == [[0, 1]]


@pytest.mark.parametrize(
    "value, words",
    [
        (np.array(["cat", "dog"]), "np.unique(labels, return_inverse=True)[1]"),
        (np.array(["cat", 1], dtype=object), "first value 'cat'"),
        (np.array([1, None], dtype=object), "x.astype('float32')"),
        (np.array(["2024-01-01"], dtype="datetime64[D]"), "x.astype('int64')"),
        (["a", "b"], "holds no numbers"),
        (object(), "dtype object"),
    ],
)
def test_what_holds_no_numbers_is_refused_with_what_to_do(value, words):
    with pytest.raises(DtypeError, match=re.escape(words)):
        as_tensor(value)


def test_an_object_array_of_rows_is_to_be_stacked():
    rows = np.empty(2, dtype=object)
    rows[:] = [np.zeros(3), np.zeros(2)]
    with pytest.raises(DtypeError, match=r"np.stack\(x\)"):
        as_tensor(rows)


def test_a_column_without_numbers_is_named():
    with pytest.raises(DtypeError, match=r"x\['city'\] holds no numbers"):
        as_tensor(pd.DataFrame({"a": [1], "city": ["Rome"]}))


def test_lists_of_different_lengths_are_no_array():
    with pytest.raises(DataError, match="differ in length"):
        as_tensor([[1, 2], [3]])


def test_what_fails_to_become_an_array_says_why():
    class Broken:
        def __array__(self, dtype=None, copy=None):
            raise RuntimeError("the file is gone")

    with pytest.raises(DtypeError, match="the file is gone"):
        as_tensor(Broken())
