"""What objects own is found, kept and put back."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from lamina.saving.states import read_state, write_state
from lamina.seeds import SeedGenerator
from lamina.training import belongings
from lamina.training.belongings import Belongings


class Data:
    """Owns one of everything."""

    def __init__(self):
        self.generators = {"torch": torch.Generator().manual_seed(1), "seeds": SeedGenerator(2)}
        self.legacy = np.random.RandomState(3)
        self.inner = type("Inner", (), {})()
        self.inner.modern = [np.random.default_rng(4), random.Random(5)]
        self.twister = np.random.Generator(np.random.MT19937(6))
        self.x = np.arange(12.0).reshape(6, 2)
        self.labels = torch.arange(6)
        self.order = list(range(6))
        self.epoch, self.rate, self.name, self.nothing = 0, 0.5, "train", None
        self.counts = {"seen": 0}
        self.itself = self

    def draw(self):
        torchs = (
            torch.rand(1, generator=self.generators["torch"]),
            torch.rand(1, generator=self.generators["seeds"].on("cpu")),
        )
        one, other = self.inner.modern
        numpys = self.legacy.rand(), one.random(), self.twister.random()
        return [float(v) for v in (*torchs, *numpys, other.random())]

    def change(self):
        self.draw()
        self.legacy.shuffle(self.x)
        self.labels = self.labels[torch.randperm(6, generator=self.generators["torch"])]
        self.inner.modern[1].shuffle(self.order)
        self.epoch, self.rate, self.name, self.nothing = self.epoch + 1, self.rate / 2, self.name + "!", 3
        self.counts["seen"] += 7
        self.fresh = torch.ones(2)


def contents(data):
    values = (data.x.tolist(), data.labels.tolist(), data.order, data.epoch, data.rate, data.name, data.nothing)
    return *values, data.counts, data.fresh.tolist()


def test_everything_goes_on_in_another_process(tmp_path):
    data = Data()
    owned = Belongings({"data": data})
    data.change()
    data.change()
    write_state(tmp_path / "a", owned.state())
    again = Data()
    held = again.x, again.order  # by somebody else too
    Belongings({"data": again}).restore(read_state(tmp_path / "a"))
    assert contents(again) == contents(data) and again.x is held[0] and again.order is held[1]
    assert again.draw() == data.draw()


def test_what_has_not_changed_is_not_kept():
    owned = Belongings({"data": Data()})
    assert {kind for kind, _ in owned.state().values()} == {"generator"}


def test_of_layers_only_generators_are_kept():
    data = Data()
    owned = Belongings({"data": data}, contents=False)
    data.change()
    assert len(owned.state()) == 6 and {kind for kind, _ in owned.state().values()} == {"generator"}


def test_a_state_is_a_copy():
    data = Data()
    owned = Belongings({"data": data})
    data.change()
    state = owned.state()
    before = state["data.x"][1].tolist()
    data.change()
    assert state["data.x"][1].tolist() == before


def test_an_object_may_decide_itself():
    class Decides:
        def __init__(self):
            self.hidden, self.place = object(), 0

        def get_state(self):
            return {"at": self.place}

        def set_state(self, state):
            self.place = state["at"] * 10

    data, again = Decides(), Decides()
    data.place = 4
    Belongings({"a": [again]}).restore(Belongings({"a": [data]}).state())
    assert again.place == 40


def test_generators_are_found_and_missed():
    assert Belongings({"data": Data()}).has_generators
    assert not Belongings({"data": [1, object()]}).has_generators


def test_what_is_missing_or_of_another_kind_is_left_out():
    data = Data()
    state = Belongings({"data": data}).state()
    data.legacy = None
    del data.twister
    Belongings({"data": data}).restore(
        {**state, "data.inner.gone.deep": ("content", 3), "data.__class__": ("content", 1)}
    )
    assert data.legacy is None and type(data) is Data


def test_a_change_in_a_large_array_is_noticed(monkeypatch):
    monkeypatch.setattr(belongings, "_WHOLE", 1000)
    data = type("Large", (), {})()
    data.x, data.t = np.arange(100_000.0), torch.arange(100_000.0)
    owned = Belongings({"data": data})
    assert owned.state() == {}
    np.random.RandomState(0).shuffle(data.x)
    data.t += 1
    assert set(owned.state()) == {"data.x", "data.t"}


def test_what_is_too_large_for_a_file_is_left_out(monkeypatch):
    monkeypatch.setattr(belongings, "_LARGEST", 100)
    data = type("Large", (), {})()
    data.x, data.few = np.zeros(100), np.zeros(3)
    owned = Belongings({"data": data})
    data.x += 1
    data.few += 1
    assert set(owned.state()) == {"data.few"}


@pytest.mark.parametrize("owner", [None, 3, "text", len, np, torch.zeros(2), iter([1])])
def test_any_object_may_be_an_owner(owner):
    owned = Belongings({"owner": owner})
    owned.restore(owned.state())
