"""`PyDataset` and what reads it: order, hooks, workers."""

from __future__ import annotations

import math
import multiprocessing
import threading

import numpy as np
import pytest
import torch

from lamina.errors import ArgumentError, DataError
from lamina.training.pydataset import PyDataset, PyDatasetAdapter, fetch_batch

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def forking(monkeypatch):
    """Fork, also where Python's default is another, so that the tests' own classes need no pickling."""
    context = multiprocessing.get_context("fork")
    monkeypatch.setattr(multiprocessing, "get_context", lambda method=None: context)


class Squares(PyDataset):
    """Ten numbers in batches of three, with their squares."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.x = np.arange(10.0)
        self.calls = []

    def __len__(self):
        return math.ceil(len(self.x) / 3)

    def __getitem__(self, index):
        x = self.x[3 * index : 3 * index + 3]
        return x, x**2

    def on_epoch_begin(self):
        self.calls.append("begin")

    def on_epoch_end(self):
        self.calls.append("end")
        self.x = self.x + 10


KINDS = [{}, {"workers": 0}, {"workers": 3}, {"workers": 2, "use_multiprocessing": True}]


def xs(adapter):
    return [x.tolist() for x, _, _ in adapter.epoch(CPU)]


@pytest.mark.parametrize("kind", KINDS, ids=["caller", "no workers", "threads", "processes"])
def test_batches_come_in_order_and_hooks_are_seen_whoever_fetches(kind):
    data = Squares(**kind)
    adapter = PyDatasetAdapter(data)
    assert adapter.num_batches == 4
    first = xs(adapter)
    adapter.on_epoch_end()
    second = xs(adapter)
    adapter.close()
    assert first == [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9]]
    assert second == [[v + 10 for v in batch] for batch in first]
    assert data.calls == ["begin", "end", "begin"]


@pytest.mark.parametrize("kind", KINDS, ids=["caller", "no workers", "threads", "processes"])
def test_shuffling_changes_the_order_of_batches_only(kind):
    torch.manual_seed(0)
    adapter = PyDatasetAdapter(Squares(**kind), shuffle=True)
    first, second = xs(adapter), xs(adapter)
    adapter.close()
    assert sorted(first) == sorted(second) == [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9]]
    assert first != second


def test_batches_are_float32_tensors_with_targets():
    x, y, weight = next(PyDatasetAdapter(Squares()).epoch(CPU))
    assert (x.dtype, y.tolist(), weight) == (torch.float32, [0, 1, 4], None)


def test_a_list_is_a_tuple_in_a_batch():
    assert [part.tolist() for part in fetch_batch([[np.zeros(1), np.ones(1)]], 0)[:2]] == [[0], [1]]


def test_a_data_set_without_end_needs_steps():
    class Endless(PyDataset):
        num_batches = None

        def __getitem__(self, index):
            return (np.full(1, index),)

    with pytest.raises(ArgumentError, match="steps_per_epoch=100"):
        PyDatasetAdapter(Endless())
    for kind in KINDS:
        adapter = PyDatasetAdapter(Endless(**kind), steps=3, shuffle=True)
        assert [xs(adapter), xs(adapter)] == [[[0], [1], [2]], [[3], [4], [5]]]
        adapter.close()


def test_a_length_that_changes_between_epochs_is_followed():
    data = Squares()
    adapter = PyDatasetAdapter(data)
    xs(adapter)
    data.x = data.x[:5]
    adapter.on_epoch_end()
    assert adapter.num_batches == 2 and xs(adapter) == [[10, 11, 12], [13, 14]]


def test_a_subclass_that_never_called_the_constructor_works():
    class Careless(PyDataset):
        def __init__(self):
            pass

        def __len__(self):
            return 1

        def __getitem__(self, index):
            return (np.zeros(1),)

    assert xs(PyDatasetAdapter(Careless())) == [[0]]
    assert (Careless().workers, Careless().use_multiprocessing, Careless().max_queue_size) == (1, False, 10)


def test_a_data_set_can_be_iterated_by_hand():
    assert [x.tolist() for x, _ in Squares()] == [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9]]


def test_class_weights_apply():
    class Labels(Squares):
        def __getitem__(self, index):
            return np.zeros(2), np.array([0, 1])

    assert next(PyDatasetAdapter(Labels(), class_weight={1: 3.0}).epoch(CPU))[2].tolist() == [1, 3]


def test_an_epoch_left_early_ends_its_workers():
    for kind in KINDS[2:]:
        adapter = PyDatasetAdapter(Squares(**kind))
        epoch = adapter.epoch(CPU)
        next(epoch)
        adapter.close()
        assert not [t for t in threading.enumerate() if t.name.startswith("lamina-data")]
        assert not [p for p in multiprocessing.active_children() if p.name == "lamina-data"]
        assert len(xs(adapter)) == 4
        adapter.close()


def test_no_batches_are_an_error():
    class Empty(PyDataset):
        def __len__(self):
            return 0

    with pytest.raises(DataError, match="Empty of length 0"):
        PyDatasetAdapter(Empty())


@pytest.mark.parametrize("workers", [-1, 1.5, "two", True])
def test_the_number_of_workers_is_a_count(workers):
    with pytest.raises(ArgumentError, match="workers of Squares cannot be used"):
        PyDatasetAdapter(Squares(workers=workers))


def test_a_subclass_must_say_what_its_batches_are():
    with pytest.raises(NotImplementedError, match=r"PyDataset must define __getitem__"):
        PyDataset()[0]
    with pytest.raises(NotImplementedError, match="PyDataset must define __len__"):
        _ = PyDataset().num_batches


def test_a_batch_of_four_parts_is_refused():
    class Four(Squares):
        def __getitem__(self, index):
            return 1, 2, 3, 4

    with pytest.raises(DataError, match="a tuple of 4 members"):
        xs(PyDatasetAdapter(Four()))
