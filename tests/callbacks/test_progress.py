"""Progress of training, evaluation and prediction: in a file, in a terminal, in a notebook."""

from __future__ import annotations

import gc
import io
import os
import pty
import re
import select
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path

import pytest
import torch

import lamina
from lamina.callbacks import progress as progress_module
from lamina.callbacks.base import Callback, CallbackList
from lamina.callbacks.lazy_logs import LazyLogs
from lamina.callbacks.progress import ProgbarLogger
from lamina.errors import ArgumentError

SOURCE = str(Path(str(lamina.__file__)).parents[1])


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def clock(monkeypatch):
    """A clock that goes on only when it is told to."""

    class Clock:
        now = 100.0

        def perf_counter(self):
            return self.now

    found = Clock()
    monkeypatch.setattr(progress_module, "time", found)
    return found


def fit(file, epochs=2, steps=4, known=True, verbose=1, validation=2, clock=None, step_seconds=0.1, logs=None):
    callbacks = CallbackList([ProgbarLogger(file=file)], epochs=epochs, steps=steps if known else None, verbose=verbose)
    callbacks.on_train_begin()
    for epoch in range(epochs):
        callbacks.on_epoch_begin(epoch)
        for batch in range(steps):
            callbacks.on_train_batch_begin(batch)
            if clock is not None:
                clock.now += step_seconds
            callbacks.on_train_batch_end(batch, logs or {"loss": 1.0 / (batch + 1)})
        callbacks.on_test_begin()
        for batch in range(validation):
            if clock is not None:
                clock.now += 1.0
            callbacks.on_test_batch_end(batch, {"loss": 9.0})
        callbacks.on_test_end({"loss": 9.0})
        callbacks.on_epoch_end(epoch, {"loss": 0.25, "val_loss": 9.0})
    callbacks.on_train_end()
    callbacks.close()
    return callbacks


def test_a_file_gets_one_plain_line_an_epoch(clock):
    file = io.StringIO()
    fit(file, clock=clock)
    assert file.getvalue().splitlines() == [
        "Epoch 1/2 - 4/4 - 2s - 100ms/step - loss: 0.2500 - val_loss: 9.0000",
        "Epoch 2/2 - 4/4 - 2s - 100ms/step - loss: 0.2500 - val_loss: 9.0000",
    ]
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\uffff]", file.getvalue())


def test_a_total_that_nobody_knew_is_known_at_the_end():
    file = io.StringIO()
    fit(file, known=False)
    assert [line.split(" - ")[1] for line in file.getvalue().splitlines()] == ["4/4", "4/4"]


@pytest.mark.parametrize("verbose, lines", [(0, 0), (1, 2), (2, 2), ("auto", 2), (True, 2), (False, 0)])
def test_verbose_says_whether_there_is_anything(verbose, lines):
    file = io.StringIO()
    fit(file, verbose=verbose)
    assert len(file.getvalue().splitlines()) == lines


def test_nothing_is_listened_to_when_nothing_is_shown():
    assert not CallbackList(ProgbarLogger(), verbose=0).has_batch_hooks("train")
    assert CallbackList(ProgbarLogger(verbose=1), verbose=0).has_batch_hooks("train")


def test_two_in_a_terminal_is_lines():
    file = Terminal()
    fit(file, verbose=2)
    assert "\x1b" not in file.getvalue() and len(file.getvalue().splitlines()) == 2


@pytest.mark.parametrize("kind", ["test", "predict"])
@pytest.mark.parametrize("known", [True, False])
def test_evaluation_and_prediction_get_a_line_too(kind, known, clock):
    file = io.StringIO()
    callbacks = CallbackList(ProgbarLogger(file=file), steps=3 if known else None, verbose=1)
    for _ in range(2):
        getattr(callbacks, f"on_{kind}_begin")()
        for batch in range(3):
            clock.now += 0.002
            getattr(callbacks, f"on_{kind}_batch_end")(batch, {"loss": 0.5, "outputs": torch.zeros(2)})
        getattr(callbacks, f"on_{kind}_end")({"loss": 0.5})
    results = " - loss: 0.5000" if kind == "test" else ""
    assert file.getvalue() == f"3/3 - 0s - 2ms/step{results}\n" * 2


def test_a_terminal_is_drawn_at_most_four_times_a_second_and_logs_are_read_no_more_often(clock):
    reads = []
    logs = LazyLogs.from_provider({"loss": None}, lambda: reads.append(1) or [0.5])

    class Fresh(dict):
        def keys(self):
            reads.append(1)
            return super().keys()

        def __iter__(self):
            return super().__iter__()

    file = Terminal()
    fit(file, epochs=1, steps=1000, validation=0, clock=clock, step_seconds=0.01, logs=Fresh(loss=0.5))
    # 10 seconds: the first batch, then one in a quarter of a second.
    assert 35 <= len(reads) <= 42
    assert logs["loss"] == 0.5


def test_a_file_never_reads_the_logs_of_a_batch():
    class Unread(dict):
        def keys(self):
            raise AssertionError("read")

        def __iter__(self):
            raise AssertionError("read")

    fit(io.StringIO(), logs=Unread(loss=0.5))


def test_the_bar_shows_batches_time_left_and_validation(clock):
    file = Terminal()
    fit(file, epochs=1, steps=100, clock=clock, step_seconds=0.5)
    text = file.getvalue()
    assert "Epoch 1/1" in text and "51/100" in text and "about 25s left 500ms/step" in text
    assert "validation 1" in text
    final = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", text.split("\r")[-1])
    assert final.split() == [
        "Epoch",
        "1/1",
        "100/100",
        "━" * 20,
        "52s",
        "500ms/step",
        "loss:",
        "0.2500",
        "-",
        "val_loss:",
        "9.0000",
    ]


def test_a_batch_that_is_not_drawn_costs_next_to_nothing():
    logger = ProgbarLogger(file=Terminal())
    logger.set_params({"verbose": 1, "epochs": 1, "steps": 10**6})
    logger.on_epoch_begin(0)
    logger._due = float("inf")
    logs = {"loss": 1.0}
    best = float("inf")
    for _ in range(20):
        start = time.perf_counter()
        for batch in range(1000):
            logger.on_train_batch_end(batch, logs)
        best = min(best, (time.perf_counter() - start) / 1000)
    logger.close()
    assert best < 1e-6


@pytest.mark.parametrize("terminal", [False, True], ids=["lines", "a bar"])
def test_memory_stays_flat(terminal, clock):
    class Nowhere(io.StringIO):
        def isatty(self):
            return terminal

        def write(self, text):
            return len(text)

    callbacks = CallbackList(ProgbarLogger(file=Nowhere()), epochs=10**6, steps=5, verbose=1)
    callbacks.on_train_begin()

    def epochs(count):
        for _ in range(count):
            callbacks.on_epoch_begin(0)  # always the same: rich remembers the width of up to 4096 texts
            for batch in range(5):
                clock.now += 1.0
                callbacks.on_train_batch_end(batch, {"loss": 1.0})
            callbacks.on_epoch_end(0, {"loss": 1.0})

    epochs(20)
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        epochs(60)
        gc.collect()
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    callbacks.close()
    assert grown < 10_000


def test_an_interruption_leaves_the_terminal_tidy(clock):
    file = Terminal()
    callbacks = CallbackList(ProgbarLogger(file=file), epochs=1, steps=10, verbose=1)
    callbacks.on_train_begin()
    callbacks.on_epoch_begin(0)
    callbacks.on_train_batch_end(0, {"loss": 1.0})
    callbacks.close()
    assert file.getvalue().rstrip("\n").endswith("\x1b[?25h")
    callbacks.on_test_begin()
    callbacks.on_test_batch_end(0, {"loss": 1.0})
    callbacks.on_test_end({"loss": 1.0})
    assert "1/10" in file.getvalue()


@pytest.mark.parametrize("verbose", [3, -1, "loud", 0.5])
def test_there_are_three_ways_to_show_progress(verbose):
    with pytest.raises(ArgumentError, match="There is no such way to show progress"):
        ProgbarLogger(verbose=verbose)
    with pytest.raises(ArgumentError, match="There is no such way to show progress"):
        CallbackList(ProgbarLogger(), verbose=verbose)


PROGRAM = """
import sys, time
from lamina.callbacks.base import Callback, CallbackList
from lamina.callbacks.progress import ProgbarLogger

class Chatty(Callback):
    def on_epoch_end(self, epoch, logs=None):
        print("a word of the user's")

verbose = sys.argv[1] if sys.argv[1] == "auto" else int(sys.argv[1])
callbacks = CallbackList([Chatty()], add_progbar=True, epochs=2, steps=30, verbose=verbose)
try:
    callbacks.on_train_begin()
    for epoch in range(2):
        callbacks.on_epoch_begin(epoch)
        for batch in range(30):
            time.sleep(0.02)
            callbacks.on_train_batch_end(batch, {"loss": 1.0})
        callbacks.on_epoch_end(epoch, {"loss": 0.5})
        if sys.argv[2] == "break":
            callbacks.on_epoch_begin(1)
            callbacks.on_train_batch_end(0, {"loss": 1.0})
            raise SystemExit(3)
    callbacks.on_train_end()
finally:
    callbacks.close()
"""


def in_terminal(*arguments):
    """What the program writes to a pseudo-terminal, and its exit code."""
    master, slave = pty.openpty()
    environment = {**os.environ, "PYTHONPATH": SOURCE, "TERM": "xterm-256color", "COLUMNS": "120", "LINES": "30"}
    command = [sys.executable, "-c", PROGRAM, *arguments]
    process = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, env=environment, close_fds=True)
    os.close(slave)
    chunks = []
    while True:
        ready, _, _ = select.select([master], [], [], 60)
        try:
            chunk = os.read(master, 65536) if ready else b""
        except OSError:
            chunk = b""
        if not chunk:
            break
        chunks.append(chunk)
    os.close(master)
    return b"".join(chunks).decode(), process.wait(60)


def test_a_pseudo_terminal_gets_a_live_bar_and_what_is_printed_stands_above_it():
    text, code = in_terminal("auto", "end")
    assert code == 0
    assert 4 <= text.count("30/30") + len(re.findall(r"\b\d+/30\b", text)) <= 40
    assert text.count("\x1b[?25l") == text.count("\x1b[?25h") == 2
    assert "left" in text and "━" in text
    plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", text)
    kept = [line.split("\r")[-1] for line in plain.split("\r\n") if line]
    assert kept[0] == kept[2] == "a word of the user's"
    assert kept[1].startswith("Epoch 1/2 30/30") and kept[3].startswith("Epoch 2/2 30/30")
    assert all("loss: 0.5000" in line and "ms/step" in line for line in (kept[1], kept[3]))


def test_a_pseudo_terminal_gets_its_cursor_back_after_an_error():
    text, code = in_terminal("1", "break")
    assert code == 3 and text.count("\x1b[?25l") == text.count("\x1b[?25h") == 2
    assert text.rstrip("\r\n").endswith("\x1b[?25h")


def test_a_pipe_gets_no_control_character():
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM, "auto", "end"],
        env={**os.environ, "PYTHONPATH": SOURCE, "FORCE_COLOR": "1", "TERM": "xterm-256color"},
        capture_output=True,
        timeout=60,
        check=True,
    )
    assert not re.search(rb"[\x00-\x09\x0b-\x1f\x7f-\xff]", result.stdout) and result.stderr == b""
    lines = result.stdout.decode().splitlines()
    assert [line[:9] for line in lines] == ["a word of", "Epoch 1/2", "a word of", "Epoch 2/2"]


def test_a_callback_of_the_users_may_print_while_nothing_is_shown(capsys):
    class Chatty(Callback):
        def on_epoch_end(self, epoch, logs=None):
            print("word")

    CallbackList([Chatty()], add_progbar=True, verbose=0).on_epoch_end(0, {})
    assert capsys.readouterr().out == "word\n"
