"""Batches made one ahead: their order, their errors, when it is done, and that the numbers stay the same."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch

import lamina
from lamina.training import lookahead, memory
from lamina.training.lookahead import one_ahead, spare_core


def test_results_come_in_order_each_made_in_another_thread():
    threads: list[str] = []

    def maker(number: int):
        def make() -> int:
            threads.append(threading.current_thread().name)
            return number

        return make

    assert list(one_ahead(maker(i) for i in range(5))) == list(range(5))
    assert all(name.startswith("lamina-lookahead") for name in threads)


def test_the_next_result_is_made_while_one_is_in_use():
    made = threading.Event()
    results = one_ahead(iter([lambda: 1, lambda: made.set() or 2, lambda: 3]))
    assert next(results) == 1
    assert made.wait(10)
    assert list(results) == [2, 3]


def test_an_error_comes_in_its_turn():
    results = one_ahead(iter([lambda: 1, lambda: 1 // 0]))
    assert next(results) == 1
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_a_core_is_spare_if_torch_leaves_one(monkeypatch):
    monkeypatch.setattr(lookahead.os, "sched_getaffinity", lambda _: {0, 1}, raising=False)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    assert spare_core()
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    assert not spare_core()


def test_training_gives_the_same_numbers_either_way(monkeypatch):
    x, y = np.random.default_rng(0).random((50, 4), dtype=np.float32), np.arange(50) % 3

    def history(spare: bool) -> list[float]:
        monkeypatch.setattr(memory, "spare_core", lambda: spare)
        lamina.naming.reset_names()
        torch.manual_seed(3)
        layers = [lamina.layers.Dense(5, "relu"), lamina.layers.Dropout(0.5), lamina.layers.Dense(3, "softmax")]
        model = lamina.Sequential([lamina.Input((4,)), *layers])
        model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
        return model.fit(x, y, batch_size=8, epochs=3, verbose=0).history

    assert history(True) == history(False)
