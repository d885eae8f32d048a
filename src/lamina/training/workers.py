"""Items of a data set fetched ahead by threads or processes, in order."""

from __future__ import annotations

import collections
import contextlib
import copy
import itertools
import multiprocessing
import os
import pickle
import signal
import traceback
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection, wait
from multiprocessing.reduction import ForkingPickler
from typing import Any

import torch
import torch.multiprocessing  # teaches multiprocessing to pass tensors through shared memory

from lamina.errors import DataError, LaminaError
from lamina.seeds import set_random_seed
from lamina.training.batches import Batch

Fetch = Callable[[Any, int], Batch]

_STOP_SECONDS = 5.0


def fetch_in_threads(fetch: Fetch, dataset: Any, order: Iterable[int], *, workers: int, ahead: int) -> Iterator[Batch]:
    """Fetch items with threads, which suits code that waits for files or releases Python's lock.

    Args:
        fetch: gives an item of the data set by its index.
        dataset: the data set.
        order: the indices.
        workers: how many threads.
        ahead: how many items may be waiting at most.

    Returns:
        An iterator of the items in order; an error in a thread is raised here.

    Example:
        >>> list(fetch_in_threads(lambda data, i: data[i], "abc", [2, 0], workers=2, ahead=4))
        ['c', 'a']
    """
    executor = ThreadPoolExecutor(workers, thread_name_prefix="lamina-data")
    waiting: collections.deque[Any] = collections.deque()
    indices = iter(order)
    try:
        while True:
            while len(waiting) < max(ahead, workers) and (index := next(indices, None)) is not None:
                waiting.append(executor.submit(fetch, dataset, index))
            if not waiting:
                return
            yield waiting.popleft().result()
    finally:
        executor.shutdown(wait=True, cancel_futures=True)


class WorkerPool:
    """Processes that fetch items of a data set, each over a pipe of its own, so that none can block another.

    The start method is the one that `multiprocessing.set_start_method` chose. With `fork` each pass has fresh
    processes, which see the data set as it is then and need no pickling; with `spawn` and `forkserver` they stay, and
    are sent the data set at the start of each pass. An item has the same random numbers whichever process fetches it.

    Args:
        fetch: gives an item of the data set by its index; a function of a module.
        workers: how many processes.
        ahead: how many items may be waiting at most.
    """

    def __init__(self, fetch: Fetch, *, workers: int, ahead: int) -> None:
        self._fetch = fetch
        self._count = workers
        self._ahead = max(ahead, workers)
        self._context: Any = multiprocessing.get_context()
        self._members: list[tuple[Any, Connection]] = []

    def items(self, dataset: Any, order: Iterable[int], skipped: int = 0) -> Iterator[Batch]:
        """Fetch items of `dataset`; the processes are started, and their seed is drawn, when this is called.

        Args:
            dataset: the data set.
            order: the indices.
            skipped: how many of them, the first ones, are left out; the others come as they would have behind those.

        Returns:
            An iterator of the items in order.

        Raises:
            DataError: a process died.
            Exception: whatever the data set raised, with the process's traceback as its cause.
        """
        self._start(dataset)
        seed = int(torch.randint(2**31, (), device="cpu"))
        return self._items(itertools.islice(enumerate(order), skipped, None), seed)

    def _items(self, indices: Iterator[tuple[int, int]], seed: int) -> Iterator[Batch]:
        waiting: collections.deque[tuple[Any, Connection]] = collections.deque()
        whole = False
        try:
            while True:
                while len(waiting) < self._ahead and (numbered := next(indices, None)) is not None:
                    number, index = numbered
                    member = self._members[number % len(self._members)]
                    self._send(member, (index, (seed + number) % 2**32))
                    waiting.append(member)
                if not waiting:
                    whole = True
                    return
                yield self._receive(waiting.popleft())
        finally:
            if not whole or self._forks:
                self.close()

    def close(self) -> None:
        """End the processes: by asking, and by force those that do not listen."""
        members, self._members = self._members, []
        for _, connection in members:
            with contextlib.suppress(OSError):
                connection.close()
        for process, _ in members:
            # One that waits in the user's code would see the closed pipe only at its end.
            process.terminate()
        for process, _ in members:
            process.join(_STOP_SECONDS)
            if process.is_alive():
                process.kill()
                process.join()
            process.close()

    @property
    def _forks(self) -> bool:
        return self._context.get_start_method() == "fork"

    def _start(self, dataset: Any) -> None:
        """Have processes that hold the data set as it is now."""
        fresh = not self._members
        while len(self._members) < self._count:
            ours, theirs = self._context.Pipe()
            held = dataset if self._forks else None
            process = self._context.Process(
                target=_work,
                args=(theirs, ours if self._forks else None, self._fetch, held),
                daemon=True,
                name="lamina-data",
            )
            process.start()
            theirs.close()
            self._members.append((process, ours))
        if not (fresh and self._forks):
            for member in self._members:
                self._send(member, dataset, is_dataset=True)

    def _send(self, member: tuple[Any, Connection], message: Any, is_dataset: bool = False) -> None:
        try:
            member[1].send((is_dataset, message))
        except OSError:
            raise self._died(member[0]) from None
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            self.close()
            raise DataError(
                "The data set cannot be sent to its worker processes.",
                expected="a data set that can be pickled, as the start method "
                f"{self._context.get_start_method()!r} needs",
                received=str(error).splitlines()[0],
                fix="define its class in a module, hold no open files or lambdas, or set use_multiprocessing=False",
            ) from error

    def _receive(self, member: tuple[Any, Connection]) -> Batch:
        process, connection = member
        wait([connection, process.sentinel])
        try:
            if not connection.poll():
                raise EOFError
            kind, value = connection.recv()
        except (EOFError, OSError, RuntimeError):
            raise self._died(process) from None
        if kind == "error":
            error, text = value
            raise error from WorkerTraceback(text)
        return value

    def _died(self, process: Any) -> DataError:
        process.join(_STOP_SECONDS)
        code = process.exitcode
        how = "it lost its connection" if code is None else f"exit code {code}"
        if code is not None and code < 0:
            how = f"signal {signal.Signals(-code).name}"
        pid = process.pid
        self.close()
        return DataError(
            "A worker process of the data set died.",
            expected=f"{self._count} worker processes until the end of the pass",
            received=f"process {pid} ended: {how}",
            fix="look for memory that ran out (also /dev/shm), for code that crashes, or for a script without "
            "`if __name__ == '__main__':`; workers=0 runs the data set here, where its fault can be seen",
        )


class WorkerTraceback(Exception):
    """The traceback of an error in a worker process, as the cause of the error that is raised here.

    Args:
        text: the traceback, written out.
    """

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        return f'in a worker process\n"""\n{self.text}"""'


def _work(connection: Connection, inherited: Connection | None, fetch: Fetch, dataset: Any) -> None:
    """What a worker process does until its pipe is closed or its parent is gone."""
    if inherited is not None:
        inherited.close()
    # Ctrl-C reaches the whole group; the parent ends its workers itself.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
    parent = os.getppid()
    try:
        while True:
            # A later worker may have inherited the pipe's other end, so that it stays open when the parent dies.
            while not connection.poll(2.0):
                if os.getppid() != parent:
                    return
            is_dataset, message = connection.recv()
            if is_dataset:
                dataset = message
            else:
                connection.send(_answer(fetch, dataset, *message))
    except (EOFError, OSError):
        return


def _answer(fetch: Fetch, dataset: Any, index: int, seed: int) -> tuple[str, Any]:
    """The item, or the error that fetching it raised and its traceback."""
    try:
        set_random_seed(seed)
        return "item", fetch(dataset, index)
    except Exception as error:
        text = traceback.format_exc()
        try:
            # An error whose class takes other arguments than it keeps can be sent, but not made again at the other end.
            ForkingPickler.dumps(copy.copy(error))
        except Exception:
            error = LaminaError(f"A worker process of the data set raised {type(error).__name__}: {error}")
        return "error", (error, text)
