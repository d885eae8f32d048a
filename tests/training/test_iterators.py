"""Data that arrive as batches: generators, iterables, torch's data sets and loaders."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from lamina.errors import ArgumentError, DataError, DtypeError
from lamina.training.iterators import IterableAdapter, LoaderAdapter, dataset_loader

CPU = torch.device("cpu")


class Samples(Dataset):
    """Five samples of one number and its square."""

    def __len__(self):
        return 5

    def __getitem__(self, index):
        return np.float64(index), index * index


class Stream(IterableDataset):
    """The same without a length."""

    def __iter__(self):
        return iter((torch.tensor([float(i)]), i * i) for i in range(5))


def endless():
    i = 0
    while True:
        yield np.full((2, 1), i), np.zeros(2)
        i += 1


def drawn(adapter):
    return [x.reshape(-1)[0].item() for x, _, _ in adapter.epoch(CPU)]


@pytest.mark.parametrize(
    "batch, parts",
    [
        (np.zeros((2, 1)), (True, False, False)),
        ((np.zeros((2, 1)),), (True, False, False)),
        ((np.zeros((2, 1)), [1, 0]), (True, True, False)),
        ((torch.zeros(2, 1), torch.zeros(2), np.ones(2)), (True, True, True)),
    ],
)
def test_generators_give_inputs_with_or_without_targets_and_weights(batch, parts):
    (found,) = IterableAdapter(b for b in [batch]).epoch(CPU)
    assert tuple(isinstance(part, torch.Tensor) for part in found) == parts
    assert found[0].dtype == torch.float32


def test_a_list_or_dict_from_a_generator_is_several_inputs():
    (list_batch,) = IterableAdapter(b for b in [[np.zeros(2), np.ones(2)]]).epoch(CPU)
    (dict_batch,) = IterableAdapter(b for b in [({"a": np.zeros(2)}, {"b": [1, 2]})]).epoch(CPU)
    assert [t.tolist() for t in list_batch[0]] == [[0, 0], [1, 1]] and list_batch[1] is None
    assert dict_batch[0]["a"].tolist() == [0, 0] and dict_batch[1]["b"].tolist() == [1, 2]


def test_an_endless_generator_is_not_started_again_between_epochs():
    adapter = IterableAdapter(endless(), steps=3)
    assert [drawn(adapter), drawn(adapter)] == [[0, 1, 2], [3, 4, 5]]


def test_a_generator_draws_no_batch_that_is_not_asked_for():
    generator = endless()
    adapter = IterableAdapter(generator, steps=2)
    drawn(adapter)
    adapter.close()
    assert next(generator)[0][0, 0] == 2


def test_a_generator_that_runs_dry_is_an_error_and_no_short_epoch():
    adapter = IterableAdapter((np.zeros((1, 1)) for _ in range(10)), steps=24)
    with pytest.raises(DataError, match="10 batches in this epoch") as caught:
        drawn(adapter)
    assert "24 batches" in str(caught.value)


def test_a_generator_is_one_epoch_without_steps():
    adapter = IterableAdapter(np.full((1, 1), i) for i in range(3))
    assert drawn(adapter) == [0, 1, 2] and adapter.num_batches == 3
    with pytest.raises(DataError, match="gives its batches only once"):
        drawn(adapter)


def test_an_object_that_can_be_iterated_again_is():
    class Again:
        def __iter__(self):
            return iter([np.full((1, 1), i) for i in range(2)])

    adapter = IterableAdapter(Again())
    assert [drawn(adapter), drawn(adapter)] == [[0, 1], [0, 1]]
    adapter = IterableAdapter(Again(), steps=3)
    assert [drawn(adapter), drawn(adapter)] == [[0, 1, 0], [1, 0, 1]]


def test_class_weights_are_looked_up_batch_by_batch():
    adapter = IterableAdapter(((np.zeros(2), [0, i]) for i in range(2)), class_weight={1: 7.0})
    assert [w.tolist() for _, _, w in adapter.epoch(CPU)] == [[1, 1], [1, 7]]


def test_texts_in_a_batch_are_refused_by_name():
    with pytest.raises(DtypeError, match=r"x\['file'\] holds no numbers"):
        drawn(IterableAdapter(b for b in [{"image": np.zeros(1), "file": ["a.png"]}]))


def test_a_loader_is_used_as_it_is():
    adapter = LoaderAdapter(DataLoader(Samples(), batch_size=2))
    assert (adapter.num_batches, adapter.batch_size, adapter.num_samples) == (3, 2, 5)
    found = [(x.tolist(), y.tolist(), w) for x, y, w in adapter.epoch(CPU)]
    assert found == [([0, 1], [0, 1], None), ([2, 3], [4, 9], None), ([4], [16], None)]
    assert next(adapter.epoch(CPU))[0].dtype == torch.float32


def test_a_loader_without_a_length_has_an_unknown_number_of_batches():
    adapter = LoaderAdapter(DataLoader(Stream(), batch_size=2))
    assert (adapter.num_batches, adapter.num_samples) == (None, None)
    assert drawn(adapter) == [0, 2, 4] and adapter.num_batches == 3


def test_a_loader_of_dicts_gives_inputs_alone():
    loader = DataLoader([{"a": i, "b": i + 1} for i in range(2)], batch_size=2)
    ((x, y, _),) = LoaderAdapter(loader).epoch(CPU)
    assert x["b"].tolist() == [1, 2] and y is None


def test_a_loader_with_a_batch_sampler_says_its_batch_size():
    sampler = torch.utils.data.BatchSampler(range(5), batch_size=3, drop_last=False)
    assert LoaderAdapter(DataLoader(Samples(), batch_sampler=sampler)).batch_size == 3


def test_a_loader_is_begun_again_when_an_epoch_needs_more():
    assert drawn(LoaderAdapter(DataLoader(TensorDataset(torch.arange(4.0)), batch_size=2), steps=3)) == [0, 2, 0]


def test_a_data_set_of_samples_gets_a_loader():
    loader = dataset_loader(Samples())
    assert loader.batch_size == 32 and len(loader) == 1
    torch.manual_seed(0)
    shuffled = [int(i) for x, _ in dataset_loader(Samples(), batch_size=1, shuffle=True) for i in x]
    assert sorted(shuffled) == [0, 1, 2, 3, 4] != shuffled
    assert len(dataset_loader(Samples(), batch_size=2, drop_remainder=True)) == 2
    assert len(list(dataset_loader(Stream(), batch_size=2, shuffle=True))) == 3
    with pytest.raises(ArgumentError, match="batch_size cannot be used"):
        dataset_loader(Samples(), batch_size=0)
