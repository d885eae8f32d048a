"""Arrays in memory, a batch at a time."""

from __future__ import annotations

import re
import sys
import types
import warnings

import numpy as np
import pandas as pd
import pytest
import torch

from lamina import config
from lamina.errors import ArgumentError, DataError
from lamina.training.memory import ArrayAdapter, SparseRows, TensorRows, check_lengths, split_validation

CPU = torch.device("cpu")


def batches(adapter, device=CPU):
    return list(adapter.epoch(device))


def xs(adapter):
    return [x.tolist() for x, _, _ in batches(adapter)]


def test_batches_come_in_order_with_a_last_one_of_fewer_samples():
    adapter = ArrayAdapter(np.arange(5), np.arange(5) * 2, np.arange(5) * 0.5, batch_size=2)
    assert (adapter.num_batches, adapter.num_samples, adapter.batch_size) == (3, 5, 2)
    found = [(x.tolist(), y.tolist(), w.tolist()) for x, y, w in batches(adapter)]
    assert found == [([0, 1], [0, 2], [0, 0.5]), ([2, 3], [4, 6], [1, 1.5]), ([4], [8], [2])]


def test_the_last_batch_can_be_dropped():
    assert xs(ArrayAdapter(np.arange(5), batch_size=2, drop_remainder=True)) == [[0, 1], [2, 3]]
    assert xs(ArrayAdapter(np.arange(4), batch_size=2, drop_remainder=True)) == [[0, 1], [2, 3]]


def test_thirty_two_samples_are_a_batch_by_default():
    assert [len(x) for x in xs(ArrayAdapter(np.arange(70)))] == [32, 32, 6]


def test_unshuffled_batches_are_views():
    array = np.arange(4, dtype="float32")
    tensor = torch.arange(4.0)
    for memory, data in ((array, array), (tensor, tensor)):
        batch = batches(ArrayAdapter(data, batch_size=2))[1][0]
        memory[2] = 7
        assert batch.tolist() == [7, 3]


def test_a_batch_of_read_only_memory_can_be_written_and_leaves_it_alone():
    array = np.arange(4, dtype="float32")
    array.flags.writeable = False
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        batch = batches(ArrayAdapter(array, batch_size=4))[0][0]
    batch.add_(1)
    assert array.tolist() == [0, 1, 2, 3] and batch.tolist() == [1, 2, 3, 4]


def test_a_file_mapped_read_only_is_cast_by_the_batch(tmp_path):
    path = tmp_path / "x.npy"
    np.save(path, np.arange(4.0))
    mapped = np.load(path, mmap_mode="r")
    rows = TensorRows(mapped, "x")
    assert rows.tensor.dtype == torch.float64
    for shuffle in (False, True):
        (x, _, _), *_ = batches(ArrayAdapter(mapped, batch_size=4, shuffle=shuffle))
        assert x.dtype == torch.float32 and sorted(x.tolist()) == [0, 1, 2, 3]


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("shuffle", [False, True])
def test_floats_arrive_in_the_default_float_type(dtype, shuffle):
    x = batches(ArrayAdapter(np.arange(4, dtype=dtype), shuffle=shuffle))[0][0]
    assert x.dtype == torch.float32 and sorted(x.tolist()) == [0, 1, 2, 3]
    config.set_floatx("float64")
    assert batches(ArrayAdapter(np.arange(4, dtype=dtype), shuffle=shuffle))[0][0].dtype == torch.float64


@pytest.mark.parametrize("dtype", ["uint8", "bool", "int32", "int64"])
def test_integers_and_booleans_keep_their_dtype(dtype):
    x = batches(ArrayAdapter(np.ones(3, dtype=dtype)))[0][0]
    assert str(x.dtype) == f"torch.{dtype}"


def test_sample_weights_are_floats():
    assert batches(ArrayAdapter(np.zeros(2), np.zeros(2), [1, 2]))[0][2].dtype == torch.float32


def test_shuffled_samples_stay_together_and_all_come_once_in_another_order_each_pass():
    x = np.arange(40)
    adapter = ArrayAdapter(x, x * 2, x * 3.0, batch_size=7, shuffle=True)
    orders = []
    for _ in range(2):
        found = batches(adapter)
        for a, b, c in found:
            assert torch.equal(a * 2, b) and torch.equal(a * 3.0, c)
        orders.append([i for a, _, _ in found for i in a.tolist()])
    assert sorted(orders[0]) == sorted(orders[1]) == list(range(40))
    assert orders[0] != orders[1] and orders[0] != list(range(40))


def test_the_order_is_one_draw_from_the_global_generator():
    torch.manual_seed(3)
    expected = torch.randperm(10).tolist()
    after = torch.rand(1)
    torch.manual_seed(3)
    assert xs(ArrayAdapter(np.arange(10), shuffle=True)) == [expected]
    assert torch.equal(torch.rand(1), after)


def test_nests_keep_their_form():
    x = {"a": np.arange(3), "b": [np.arange(3) + 1, (np.arange(3) + 2,)]}
    y = [np.arange(3.0), None]
    for shuffle in (False, True):
        (x_batch, y_batch, weight), *_ = batches(ArrayAdapter(x, y, shuffle=shuffle, batch_size=3))
        assert set(x_batch) == {"a", "b"} and isinstance(x_batch["b"][1], tuple) and weight is None
        assert torch.equal(x_batch["a"] + 2, x_batch["b"][1][0]) and torch.equal(x_batch["a"].float(), y_batch[0])
        assert y_batch[1] is None


def test_weights_without_targets_stay_weights():
    x, y, weight = batches(ArrayAdapter(np.zeros(2), None, np.ones(2)))[0]
    assert y is None and weight.tolist() == [1, 1]


def test_frames_series_lists_and_tensors_go_together():
    adapter = ArrayAdapter(pd.DataFrame({"a": [1.0, 2.0], "b": [3.0, 4.0]}), [0, 1], torch.tensor([1.0, 2.0]))
    x, y, weight = batches(adapter)[0]
    assert (x.tolist(), y.tolist(), weight.tolist()) == ([[1, 3], [2, 4]], [0, 1], [1, 2])


def test_arrays_in_another_order_of_memory_give_contiguous_batches():
    x = np.asfortranarray(np.arange(12.0, dtype="float32").reshape(4, 3))
    batch = batches(ArrayAdapter(x, batch_size=2))[1][0]
    assert batch.is_contiguous() and batch.tolist() == [[6, 7, 8], [9, 10, 11]]


def test_sparse_matrices_are_made_dense_by_the_batch(monkeypatch):
    class Matrix:
        def __init__(self, dense):
            self.dense, self.shape = dense, dense.shape

        def tocsr(self):
            return self

        def toarray(self):
            return self.dense

        def __getitem__(self, rows):
            assert isinstance(rows, (slice, np.ndarray))
            return Matrix(self.dense[rows])

    monkeypatch.setitem(sys.modules, "scipy.sparse", types.SimpleNamespace(issparse=lambda v: isinstance(v, Matrix)))
    dense = np.arange(10.0).reshape(5, 2)
    assert len(SparseRows(Matrix(dense), "x")) == 5
    assert xs(ArrayAdapter(Matrix(dense), batch_size=3)) == [dense[:3].tolist(), dense[3:].tolist()]
    shuffled = batches(ArrayAdapter(Matrix(dense), dense[:, 0], shuffle=True))[0]
    assert torch.equal(shuffled[0][:, 0], shuffled[1]) and shuffled[0].dtype == torch.float32
    (train, _, _), (validation, _, _) = split_validation(Matrix(dense), None, None, 0.2)
    assert (train.shape, validation.shape) == ((4, 2), (1, 2))


def test_data_on_another_device_than_the_batches_are_carried_there():
    x = torch.arange(6.0)
    for shuffle in (False, True):
        found = batches(ArrayAdapter(x, x.double(), batch_size=4, shuffle=shuffle), torch.device("meta"))
        assert [(a.device.type, tuple(a.shape), b.dtype) for a, b, _ in found] == [
            ("meta", (4,), torch.float32),
            ("meta", (2,), torch.float32),
        ]


def test_class_weights_multiply_sample_weights():
    adapter = ArrayAdapter(np.zeros(3), np.array([0, 1, 2]), [1.0, 2.0, 3.0], class_weight={1: 10.0})
    assert batches(adapter)[0][2].tolist() == [1, 20, 3]
    assert batches(ArrayAdapter(np.zeros(3), [0, 1, 2], class_weight={0: 4.0}))[0][2].tolist() == [4, 1, 1]


def test_steps_go_on_through_the_data_and_begin_again():
    adapter = ArrayAdapter(np.arange(6), batch_size=2, steps=2)
    assert [xs(adapter), xs(adapter)] == [[[0, 1], [2, 3]], [[4, 5], [0, 1]]]


def test_live_tensors_do_not_grow_with_the_batches():
    import gc

    adapter = ArrayAdapter(np.zeros((64, 2), "float32"), np.zeros(64), batch_size=4, shuffle=True)
    gc.collect()
    gc.disable()
    try:
        counts = []
        for _ in range(3):
            for _ in adapter.epoch(CPU):
                pass
            counts.append(sum(issubclass(type(o), torch.Tensor) for o in gc.get_objects()))
    finally:
        gc.enable()
    assert counts[0] == counts[1] == counts[2]


# ---------------------------------------------------------------- mistakes
def test_different_lengths_name_each_array():
    with pytest.raises(DataError, match=r"x\['a'\]: 3, x\['b'\]: 4, y: 3"):
        ArrayAdapter({"a": np.zeros(3), "b": np.zeros(4)}, np.zeros(3))
    with pytest.raises(DataError, match="x: 3, y: 3, sample_weight: 2"):
        ArrayAdapter(np.zeros(3), np.zeros(3), np.zeros(2))


def test_a_list_of_samples_is_to_be_stacked():
    with pytest.raises(DataError, match=re.escape("np.stack(x)")):
        ArrayAdapter([np.zeros(8)] * 5, np.zeros(5))


@pytest.mark.parametrize("x", [np.zeros((0, 3)), [], torch.zeros(0)])
def test_no_samples_are_an_error(x):
    with pytest.raises(DataError, match="The data are empty"):
        ArrayAdapter(x)


@pytest.mark.parametrize("x", [None, {}, {"a": None}])
def test_no_inputs_are_an_error(x):
    with pytest.raises(DataError, match="There are no inputs"):
        check_lengths(x, np.zeros(2), None)


def test_a_single_number_has_no_samples():
    with pytest.raises(DataError, match="y is a single number"):
        ArrayAdapter(np.zeros(1), np.float32(1))


@pytest.mark.parametrize("size", [0, -3, 2.5, "all"])
def test_a_batch_size_is_a_positive_integer(size):
    with pytest.raises(ArgumentError, match="batch_size cannot be used"):
        ArrayAdapter(np.zeros(4), batch_size=size)


# ---------------------------------------------------------------- validation_split
def test_the_last_part_is_held_out():
    train, validation = split_validation(np.arange(10), [i * 2 for i in range(10)], None, 0.25)
    assert (train[0].tolist(), train[1], train[2]) == (list(range(7)), [0, 2, 4, 6, 8, 10, 12], None)
    assert (validation[0].tolist(), validation[1]) == ([7, 8, 9], [14, 16, 18])


def test_parts_are_views_of_the_same_kind():
    array, frame = np.arange(4), pd.DataFrame({"a": range(4)}, index=list("wxyz"))
    train, validation = split_validation([array, frame], torch.arange(4), None, 0.5)
    array[0] = 9
    assert train[0][0].tolist() == [9, 1] and validation[0][1]["a"].tolist() == [2, 3]
    assert isinstance(train[1], torch.Tensor)


@pytest.mark.parametrize("fraction", [0, 1, -0.1, 1.5, "0.2", None, float("nan")])
def test_a_fraction_is_between_zero_and_one(fraction):
    with pytest.raises(ArgumentError, match="validation_split cannot be used"):
        split_validation(np.arange(10), None, None, fraction)


def test_a_part_without_samples_is_an_error():
    with pytest.raises(DataError, match="2 samples and validation_split=0.9, which gives 0 and 2"):
        split_validation(np.arange(2), None, None, 0.9)


def test_only_arrays_can_be_split():
    with pytest.raises(ArgumentError, match="x of type generator"):
        split_validation((i for i in range(3)), None, None, 0.5)


def test_parts_of_different_lengths_are_noticed_before_the_split():
    with pytest.raises(DataError, match="x: 4, y: 3"):
        split_validation(np.arange(4), np.arange(3), None, 0.5)
