"""Items fetched ahead by threads and processes: order, errors, death, and what is left behind."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch

import lamina
from lamina.errors import DataError, LaminaError
from lamina.training.workers import WorkerPool, WorkerTraceback, fetch_in_threads

SOURCE = str(Path(str(lamina.__file__)).parents[1])


@pytest.fixture(autouse=True)
def forking(monkeypatch):
    """Fork, also where Python's default is another, so that the tests' own functions need no pickling."""
    context = multiprocessing.get_context("fork")
    monkeypatch.setattr(multiprocessing, "get_context", lambda method=None: context)


def item(data, index):
    return data(index)


def processes():
    return [p for p in multiprocessing.active_children() if p.name == "lamina-data"]


def threads():
    return [t for t in threading.enumerate() if t.name.startswith("lamina-data")]


def pooled(data, order, workers=2, ahead=4):
    return WorkerPool(item, workers=workers, ahead=ahead).items(data, order)


def threaded(data, order, workers=2, ahead=4):
    return fetch_in_threads(item, data, order, workers=workers, ahead=ahead)


def slow_first(index):
    time.sleep(0.05 if index == 0 else 0)
    return torch.full((2,), index)


BOTH = pytest.mark.parametrize("fetch", [threaded, pooled], ids=["threads", "processes"])


@BOTH
def test_items_come_in_order_although_some_take_longer(fetch):
    assert [t.tolist() for t in fetch(slow_first, [0, 3, 1, 2])] == [[0, 0], [3, 3], [1, 1], [2, 2]]
    assert not processes() and not threads()


@BOTH
def test_no_more_than_so_many_items_are_fetched_ahead(fetch, tmp_path):
    def noting(index):
        (tmp_path / str(index)).touch()
        return index

    items = fetch(noting, range(100), workers=2, ahead=5)
    next(items)
    time.sleep(0.3)
    seen = len(list(tmp_path.iterdir()))
    items.close()
    assert 1 <= seen <= 6


@BOTH
def test_an_endless_order_can_be_left(fetch):
    import itertools

    items = fetch(lambda i: i, itertools.count())
    assert [next(items) for _ in range(10)] == list(range(10))
    items.close()
    assert not processes() and not threads()


@BOTH
def test_an_error_in_a_worker_is_raised_here_and_the_workers_end(fetch):
    def broken(index):
        if index == 2:
            raise KeyError("no such file: 2.png")
        return index

    items = fetch(broken, range(8))
    assert [next(items), next(items)] == [0, 1]
    with pytest.raises(KeyError, match=r"no such file: 2\.png") as caught:
        next(items)
    if fetch is pooled:
        assert isinstance(caught.value.__cause__, WorkerTraceback)
        assert "in broken" in str(caught.value.__cause__)
    assert not processes() and not threads()


def test_an_error_that_cannot_be_sent_keeps_its_words():
    class Odd(Exception):
        def __init__(self, code, reason):
            super().__init__(f"{reason} ({code})")

    def broken(index):
        raise Odd(7, "disk on fire")

    with pytest.raises(LaminaError, match=r"raised Odd: disk on fire \(7\)") as caught:
        next(pooled(broken, [0]))
    assert "in broken" in str(caught.value.__cause__)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_worker_is_an_error_at_once_and_never_a_hang(how):
    def deadly(index):
        if index == 3:
            os.kill(os.getpid(), how)
        return torch.zeros(4)

    start = time.monotonic()
    items = pooled(deadly, range(20))
    with pytest.raises(DataError, match=f"signal {how.name}"):
        list(items)
    assert time.monotonic() - start < 20 and not processes()


def test_a_worker_that_is_killed_while_it_waits_is_an_error():
    items = pooled(lambda i: i, range(50), workers=2, ahead=2)
    next(items)
    victims = processes()
    for process in victims:
        os.kill(process.pid, signal.SIGKILL)
    with pytest.raises(DataError, match="A worker process of the data set died") as caught:
        list(items)
    assert "signal SIGKILL" in str(caught.value) and "workers=0" in str(caught.value)


def test_a_worker_that_exits_is_an_error():
    with pytest.raises(DataError, match="exit code 3"):
        list(pooled(lambda i: os._exit(3), range(4)))


def test_random_numbers_depend_on_the_seed_and_the_place_and_not_on_the_worker():
    def draw(index):
        return random.random(), float(np.random.rand()), float(torch.rand(()))

    def run(workers):
        torch.manual_seed(5)
        return list(pooled(draw, range(6), workers=workers))

    one, three = run(1), run(3)
    assert one == three and len({a for a, _, _ in one}) == len({c for _, _, c in one}) == 6


def test_large_tensors_come_whole():
    big = torch.arange(2_000_000.0)
    (found,) = pooled(lambda i: big + i, [1])
    assert torch.equal(found, big + 1)


def test_workers_compute_with_one_thread():
    assert list(pooled(lambda i: torch.get_num_threads(), [0])) == [1]


def test_a_data_set_changed_between_passes_is_seen_by_forked_workers():
    pool = WorkerPool(lambda data, i: data[i], workers=1, ahead=1)
    data = [1, 2]
    assert list(pool.items(data, [0, 1])) == [1, 2]
    data[0] = 9
    assert list(pool.items(data, [0, 1])) == [9, 2]


SPAWNING = """
import multiprocessing, sys
import numpy as np
import torch
from lamina.errors import DataError
from lamina.training.pydataset import PyDataset, PyDatasetAdapter

class Data(PyDataset):
    def __init__(self):
        super().__init__(workers=2, use_multiprocessing=True)
        self.offset = 0
        self.extra = None
    def __len__(self):
        return 3
    def __getitem__(self, index):
        return np.full((2,), index + self.offset), np.zeros(2)
    def on_epoch_end(self):
        self.offset += 10

if __name__ == "__main__":
    multiprocessing.set_start_method(sys.argv[1])
    data = Data()
    adapter = PyDatasetAdapter(data)
    pids = []
    for _ in range(2):
        print([int(x[0]) for x, y, _ in adapter.epoch(torch.device("cpu"))])
        adapter.on_epoch_end()
        pids.append({p.pid for p in multiprocessing.active_children()})
    print("kept" if pids[0] == pids[1] and len(pids[0]) == 2 else pids)
    data.extra = lambda: 0
    try:
        list(adapter.epoch(torch.device("cpu")))
    except DataError as error:
        print(error.what)
    adapter.close()
    print(len(multiprocessing.active_children()))
"""


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_spawned_workers_stay_and_are_sent_the_data_set_anew(method, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SPAWNING)
    result = subprocess.run(
        [sys.executable, str(script), method],
        env={**os.environ, "PYTHONPATH": SOURCE},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (result.stdout.splitlines(), result.stderr) == (
        ["[0, 1, 2]", "[10, 11, 12]", "kept", "The data set cannot be sent to its worker processes.", "0"],
        "",
    )


ORPHANING = """
import multiprocessing, os, signal
from lamina.training.workers import WorkerPool

multiprocessing.set_start_method("fork")
items = WorkerPool(lambda data, i: i, workers=3, ahead=3).items(None, range(100))
next(items)
print(*[p.pid for p in multiprocessing.active_children()], flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def alive(pid):
    """Whether a process runs; one that nobody has waited for does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


def test_workers_do_not_outlive_a_parent_that_was_killed():
    result = subprocess.run(
        [sys.executable, "-c", ORPHANING],
        env={**os.environ, "PYTHONPATH": SOURCE},
        stdout=subprocess.PIPE,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == -signal.SIGKILL
    pids = [int(pid) for pid in result.stdout.split()]
    deadline = time.monotonic() + 15
    while any(map(alive, pids)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert len(pids) == 3 and not any(map(alive, pids))
