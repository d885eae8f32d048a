"""A source of batches that is put where another one stood goes on with the batch that came next."""

from __future__ import annotations

import itertools
import random

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, RandomSampler, SubsetRandomSampler, TensorDataset

from lamina.errors import ArgumentError, DataError
from lamina.seeds import random_states, set_random_seed, set_random_states
from lamina.training import PyDataset, make_adapter

CPU = torch.device("cpu")
X = np.arange(14.0, dtype="float32")[:, None]


class Samples(Dataset):
    """Draws from every global generator, and from one of its own."""

    fetched = 0

    def __init__(self):
        self.random = np.random.default_rng(3)

    def __len__(self):
        return len(X)

    def __getitem__(self, index):
        Samples.fetched += 1
        noise = float(torch.rand(())) + np.random.rand() + random.random() + self.random.random()
        return torch.from_numpy(X[index]) + noise


class Stream(IterableDataset):
    def __iter__(self):
        order = torch.randperm(14).tolist()
        for index in order:
            yield torch.from_numpy(X[index])


class Batches(PyDataset):
    """Shuffles in place, from a generator of its own, when an epoch ends."""

    fetched = 0

    def __init__(self, **options):
        super().__init__(**options)
        self.rows, self.random, self.begun = np.arange(14), random.Random(4), 0

    def __len__(self):
        return 5

    def __getitem__(self, index):
        Batches.fetched += 1
        return X[self.rows[3 * index : 3 * index + 3]] + np.random.rand() + self.random.random()

    def on_epoch_begin(self):
        self.begun += 1

    def on_epoch_end(self):
        self.random.shuffle(self.rows)


class Noisy(PyDataset):
    """Draws from the global generator of whatever process fetches."""

    def __len__(self):
        return 5

    def __getitem__(self, index):
        return X[3 * index : 3 * index + 2] + np.random.rand()


class Anew:
    """An iterable that begins anew each time, in an order of its own."""

    def __iter__(self):
        for index in np.random.permutation(5):
            yield X[index : index + 2]


def endless():
    generator = np.random.default_rng(9)
    while True:
        yield X[generator.permutation(14)[:3]]


def weighted():
    return torch.utils.data.WeightedRandomSampler(np.arange(1.0, 15.0).tolist(), 14)


SOURCES = {
    "arrays": lambda: {"x": X, "batch_size": 3},
    "arrays, shuffled": lambda: {"x": X, "batch_size": 3, "shuffle": True},
    "arrays in steps": lambda: {"x": X, "batch_size": 3, "shuffle": True, "steps": 4},
    "data set": lambda: {"x": Batches()},
    "data set, shuffled": lambda: {"x": Batches(), "shuffle": True},
    "data set in steps": lambda: {"x": Batches(), "shuffle": True, "steps": 7},
    "processes": lambda: {"x": Batches(workers=2, use_multiprocessing=True, max_queue_size=3), "shuffle": True},
    "processes, each item with a seed": lambda: {
        "x": Noisy(workers=2, use_multiprocessing=True, max_queue_size=3),
        "shuffle": True,
    },
    "samples": lambda: {"x": Samples(), "batch_size": 3, "shuffle": True},
    "samples in steps": lambda: {"x": Samples(), "batch_size": 3, "shuffle": True, "steps": 7},
    "a sampler's generator": lambda: {
        "x": DataLoader(Samples(), sampler=RandomSampler(X, generator=torch.Generator().manual_seed(1)), batch_size=4)
    },
    "a loader's generator": lambda: {
        "x": DataLoader(Samples(), shuffle=True, batch_size=4, generator=torch.Generator().manual_seed(1))
    },
    "weights": lambda: {"x": DataLoader(Samples(), sampler=weighted(), batch_size=4)},
    "a subset": lambda: {"x": DataLoader(Samples(), sampler=SubsetRandomSampler(range(9)), batch_size=2)},
    "two workers": lambda: {"x": DataLoader(Samples(), shuffle=True, batch_size=4, num_workers=2)},
    "a stream": lambda: {"x": Stream(), "batch_size": 4},
    "a stream with a worker": lambda: {"x": DataLoader(Stream(), batch_size=4, num_workers=1)},
    "an iterable": lambda: {"x": Anew()},
    "an iterable in steps": lambda: {"x": Anew(), "steps": 3},
    "a generator": lambda: {"x": endless(), "steps": 3},
    "tensors": lambda: {"x": TensorDataset(torch.from_numpy(X)), "batch_size": 3, "shuffle": True},
}


def drawn(adapter, count, first=0):
    """So many batches over epochs, beginning behind the first so many of an epoch; the place of the last one."""
    found, done, batches = [], first, None
    while len(found) < count:
        batches = adapter.epoch(CPU, done)
        for batch in batches:
            done += 1
            found.append(batch[0].flatten().tolist())
            if len(found) == count:
                return found, done, batches
        adapter.on_epoch_end()
        done = 0
    return found, done, batches


@pytest.mark.parametrize("kind", SOURCES)
def test_the_next_batch_is_the_one_that_came_next(kind):
    for count in (3, 6) if "worker" in kind or "processes" in kind else (1, 3, 4, 6, 8):
        set_random_seed(5)
        one = make_adapter(**SOURCES[kind]())
        one.record()
        _, done, held = drawn(one, count)
        if done == one.num_batches:
            continue
        state, globally = one.state(), random_states()
        expected = [batch[0].flatten().tolist() for batch in held]
        one.on_epoch_end()
        expected += drawn(one, 6)[0]
        one.close()
        set_random_seed(99)
        other = make_adapter(**SOURCES[kind]())
        other.record()
        other.restore(state, CPU)
        assert repr(other.state()) == repr(state)
        set_random_states(globally)
        assert drawn(other, len(expected), done)[0] == expected, f"after {count}"
        other.close()


@pytest.mark.parametrize("kind", ["arrays", "arrays, shuffled", "data set, shuffled", "samples", "weights", "a subset"])
def test_batches_that_are_done_are_not_fetched_again(kind):
    set_random_seed(5)
    one = make_adapter(**SOURCES[kind]())
    one.record()
    drawn(one, 3)
    state = one.state()
    other = make_adapter(**SOURCES[kind]())
    Samples.fetched = Batches.fetched = 0
    other.restore(state, CPU)
    assert Samples.fetched == Batches.fetched == 0
    one.close()


def test_a_data_set_hears_that_its_epoch_begins_before_it_is_put_there():
    data, adapter = Batches(), None
    one = make_adapter(Batches())
    one.record()
    drawn(one, 7)
    adapter = make_adapter(data)
    adapter.restore(one.state(), CPU)
    assert data.begun == 2


def test_a_generator_that_is_too_short_is_an_error():
    one = make_adapter(endless(), steps=3)
    one.record()
    drawn(one, 8)
    other = make_adapter(itertools.islice(endless(), 5), steps=3)
    with pytest.raises(DataError, match="end before the batch at which the interrupted run stopped"):
        other.restore(one.state(), CPU)


def test_a_state_needs_a_record():
    with pytest.raises(ArgumentError, match=r"record\(\)"):
        make_adapter(X).state()
