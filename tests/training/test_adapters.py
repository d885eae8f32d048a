"""The right source of batches for each kind of data."""

from __future__ import annotations

import collections
import re

import numpy as np
import pandas as pd
import pytest
import torch
from torch.utils.data import DataLoader, Dataset, TensorDataset

from lamina.errors import ArgumentError, DtypeError
from lamina.training.adapters import make_adapter
from lamina.training.iterators import IterableAdapter, LoaderAdapter
from lamina.training.memory import ArrayAdapter
from lamina.training.pydataset import PyDataset, PyDatasetAdapter

CPU = torch.device("cpu")


class Samples(Dataset):
    def __len__(self):
        return 4

    def __getitem__(self, index):
        return torch.tensor([float(index)]), index


class Batches(PyDataset):
    def __len__(self):
        return 3

    def __getitem__(self, index):
        return np.full((2, 1), index), np.zeros(2)


class KerasLike:
    """As Keras 2's `Sequence`, without its base class."""

    def __len__(self):
        return 3

    def __getitem__(self, index):
        return np.full((2, 1), index), np.zeros(2)


@pytest.mark.parametrize(
    "x, kind",
    [
        (np.zeros((2, 1)), ArrayAdapter),
        (torch.zeros(2, 1), ArrayAdapter),
        ([[0.0], [1.0]], ArrayAdapter),
        ([np.zeros(2), torch.zeros(2)], ArrayAdapter),
        ({"a": np.zeros(2)}, ArrayAdapter),
        (collections.UserDict(a=np.zeros(2)), ArrayAdapter),
        (pd.DataFrame({"a": [1, 2]}), ArrayAdapter),
        (dict(pd.DataFrame({"a": [1, 2]})), ArrayAdapter),
        (TensorDataset(torch.zeros(2, 1)), ArrayAdapter),
        (Samples(), LoaderAdapter),
        (DataLoader(Samples()), LoaderAdapter),
        (Batches(), PyDatasetAdapter),
        (KerasLike(), PyDatasetAdapter),
        ((b for b in [np.zeros((2, 1))]), IterableAdapter),
        (iter([np.zeros((2, 1))]), IterableAdapter),
    ],
    ids=lambda value: type(value).__name__,
)
def test_each_kind_of_data_gets_its_adapter_and_gives_tensors(x, kind):
    adapter = make_adapter(x)
    assert type(adapter) is kind
    for batch in adapter.epoch(CPU):
        inputs = batch[0]
        inputs = list(inputs.values()) if isinstance(inputs, dict) else inputs
        assert all(isinstance(t, torch.Tensor) for t in (inputs if isinstance(inputs, list) else [inputs]))


def test_an_adapter_is_returned_as_it_is():
    adapter = ArrayAdapter(np.zeros(3))
    assert make_adapter(adapter) is adapter


def test_a_tensor_data_set_gives_the_same_batches_as_its_loader():
    data = TensorDataset(torch.arange(5.0), torch.arange(5) * 2)
    loader = [(x.tolist(), y.tolist()) for x, y in DataLoader(data, batch_size=2)]
    assert [(x.tolist(), y.tolist()) for x, y, _ in make_adapter(data, batch_size=2).epoch(CPU)] == loader


@pytest.mark.parametrize("x", [Samples(), Batches(), KerasLike()], ids=lambda value: type(value).__name__)
def test_options_reach_data_sets(x):
    torch.manual_seed(1)
    adapter = make_adapter(x, batch_size=1, steps=5, shuffle=True, class_weight={0: 3.0})
    found = list(adapter.epoch(CPU))
    assert len(found) == 5 and {float(w) for _, y, ws in found for w in ws[y == 0]} == {3.0}
    length = 4 if isinstance(x, Samples) else 3
    order = [int(a.reshape(-1)[0]) for a, _, _ in found]
    assert sorted(order[:length]) == list(range(length))


def test_options_reach_arrays():
    adapter = make_adapter(
        np.arange(5), np.zeros(5), np.ones(5), batch_size=2, steps=3, class_weight={0: 2.0}, drop_remainder=True
    )
    found = [(x.tolist(), w.tolist()) for x, _, w in adapter.epoch(CPU)]
    assert found == [([0, 1], [2, 2]), ([2, 3], [2, 2]), ([0, 1], [2, 2])]


def test_steps_and_class_weights_reach_generators_and_loaders():
    generator = ((np.zeros(1), [1]) for _ in range(5))
    assert [w.item() for _, _, w in make_adapter(generator, steps=2, class_weight={1: 4.0}).epoch(CPU)] == [4, 4]
    loader = DataLoader(Samples(), batch_size=2)
    found = list(make_adapter(loader, steps=1, class_weight={1: 4.0}).epoch(CPU))
    assert [w.tolist() for _, _, w in found] == [[1, 4]]


@pytest.mark.parametrize("name", ["y", "sample_weight"])
@pytest.mark.parametrize(
    "x",
    [Samples(), DataLoader(Samples()), Batches(), iter([]), TensorDataset(torch.zeros(2))],
    ids=lambda v: type(v).__name__,
)
def test_data_that_bring_their_own_targets_refuse_others(x, name):
    with pytest.raises(ArgumentError, match=f"{name} cannot be passed beside x of type {type(x).__name__}"):
        make_adapter(x, **{name: np.zeros(4)})


@pytest.mark.parametrize(
    "x, received",
    [
        (None, "x of type NoneType"),
        (3.5, "x of type float"),
        ("data", "x of type str"),
        ([np.zeros(2), "text"], "x[1] of type str"),
        ({"a": object()}, "x['a'] of type object"),
    ],
)
def test_what_gives_no_batches_is_named(x, received):
    with pytest.raises(DtypeError, match=re.escape(received)):
        make_adapter(x)
