"""Logs that are fetched when they are read, once and all together."""

from __future__ import annotations

import copy
import gc
import json
import pickle
import weakref

import numpy as np
import pytest
import torch

from lamina.callbacks import lazy_logs
from lamina.callbacks.lazy_logs import LazyLogs, to_host

NUMBERS = {"loss": 0.5, "accuracy": 0.75}


@pytest.fixture
def counted():
    """Logs, and a list that grows by one with each computation."""
    calls = []

    def provider():
        calls.append(1)
        return [torch.tensor(0.5), lambda: torch.tensor(0.75)]

    return LazyLogs.from_provider(dict.fromkeys(NUMBERS), provider), calls


@pytest.mark.parametrize(
    "look",
    [list, len, bool, lambda logs: "loss" in logs, lambda logs: list(logs.keys()), lambda logs: sorted(logs)],
    ids=["iteration", "len", "bool", "in", "keys", "sorted"],
)
def test_names_are_there_without_fetching(counted, look):
    logs, calls = counted
    look(logs)
    assert list(logs) == ["loss", "accuracy"] and not calls


@pytest.mark.parametrize(
    "read",
    [
        dict,
        lambda logs: {**logs},
        lambda logs: logs.copy(),
        lambda logs: {name: logs[name] for name in logs},
        lambda logs: {name: logs.get(name) for name in logs},
        lambda logs: dict(logs.items()),
        lambda logs: dict(zip(logs, logs.values(), strict=True)),
        lambda logs: (lambda **kwargs: kwargs)(**logs),
        lambda logs: logs | {},
        lambda logs: {} | logs,
        lambda logs: json.loads(json.dumps(logs)),
        lambda logs: pickle.loads(pickle.dumps(logs)),
        copy.copy,
        copy.deepcopy,
        lambda logs: eval(repr(logs)),
        lambda logs: {name: logs.pop(name) for name in list(logs)},
        lambda logs: dict([logs.popitem() for _ in range(2)][::-1]),
        lambda logs: {name: logs.setdefault(name, 9) for name in list(logs)},
        lambda logs: {"loss": float("{loss}".format(**logs)), "accuracy": float("{accuracy}".format_map(logs))},
    ],
)
def test_every_way_to_read_gives_floats_and_computes_once(counted, read):
    logs, calls = counted
    found = read(logs)
    assert type(found) is dict and found == NUMBERS and len(calls) == 1
    assert all(type(value) is float for value in found.values())
    list(logs.items())
    assert len(calls) == 1


def test_values_may_be_numbers_tensors_and_functions():
    logs = LazyLogs(
        {"a": 1, "b": torch.tensor(2), "c": lambda: 3, "d": np.float32(4), "e": lambda: torch.tensor([5.0])}
    )
    assert dict(logs) == {"a": 1.0, "b": 2.0, "c": 3.0, "d": 4.0, "e": 5.0}


def test_a_provider_may_give_one_tensor_for_all():
    assert dict(LazyLogs.from_provider({"a": None, "b": None}, lambda: torch.tensor([1.0, 2.0]))) == {"a": 1, "b": 2}


def test_logs_equal_a_dict_of_the_same_numbers():
    assert LazyLogs(NUMBERS) == NUMBERS == LazyLogs(NUMBERS) and LazyLogs(NUMBERS) == LazyLogs(NUMBERS)
    assert LazyLogs(NUMBERS) != {"loss": 0.5}
    assert dict(LazyLogs()) == {} and not LazyLogs()


def test_callbacks_can_add_change_and_remove_values(counted):
    logs, calls = counted
    logs["learning_rate"] = 0.1
    logs["loss"] = 7.0
    logs.update(extra=1.0)
    logs |= {"more": 2.0}
    del logs["accuracy"]
    assert logs == {"loss": 7.0, "learning_rate": 0.1, "extra": 1.0, "more": 2.0} and len(calls) == 1


def test_what_is_missing_is_missing(counted):
    logs, _ = counted
    assert logs.get("nothing", 3) == 3 and logs.pop("nothing", None) is None
    with pytest.raises(KeyError):
        logs["nothing"]


def test_a_value_that_changes_later_keeps_what_was_read():
    state = torch.tensor(1.0)
    logs = LazyLogs({"loss": lambda: state.clone()})
    logs.fetch()
    state += 5
    assert logs["loss"] == 1.0


def test_all_tensors_are_read_in_one_transfer(monkeypatch):
    reads = []
    original = lazy_logs._read
    monkeypatch.setattr(lazy_logs, "_read", lambda tensors: reads.append(len(tensors)) or original(tensors))
    logs = LazyLogs({name: torch.tensor(float(i)) for i, name in enumerate("abcd")})
    assert logs["c"] == 2.0 and logs["a"] == 0.0
    assert reads == [4]


def test_tensors_of_several_dtypes_keep_their_numbers():
    count = 2**24 + 1
    found = to_host(
        [torch.tensor(count), torch.tensor(0.1), torch.tensor(True), torch.tensor(0.5, dtype=torch.bfloat16)]
    )
    assert found == [float(count), float(np.float32(0.1)), 1.0, 0.5]


def test_values_that_are_no_numbers_stay():
    text, nothing, array, confusion = to_host(["x", None, np.arange(3), torch.eye(2)])
    assert (text, nothing, array.tolist(), confusion.tolist()) == ("x", None, [0, 1, 2], [[1, 0], [0, 1]])


def test_a_gradient_does_not_stand_in_the_way():
    assert to_host([torch.ones((), requires_grad=True) * 2]) == [2.0]


def test_logs_that_nobody_reads_are_freed_without_the_collector():
    class Marked(torch.Tensor):
        pass

    gc.disable()
    try:
        tensor = torch.zeros(()).as_subclass(Marked)
        gone = weakref.ref(tensor)
        logs = LazyLogs({"loss": tensor})
        del tensor, logs
        assert gone() is None
    finally:
        gc.enable()
