"""Where progress is shown."""

from __future__ import annotations

import io
import sys
import types

import numpy as np
import pytest
import torch

from lamina.callbacks.displays import Bar, Lines, Notebook, Progress, choose, duration, number, step_time


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def notebook(monkeypatch):
    """An IPython with a kernel; gives what was displayed and how often the display was changed."""
    shown = types.SimpleNamespace(displays=[], updates=[])

    class Handle:
        def update(self, thing):
            shown.updates.append(repr(thing))

    def display(thing, display_id=None):
        assert display_id
        shown.displays.append(repr(thing))
        return Handle()

    shell = types.SimpleNamespace(kernel=object())
    module = types.ModuleType("IPython")
    module.get_ipython = lambda: shell
    module.display = types.ModuleType("IPython.display")
    module.display.display = display
    monkeypatch.setitem(sys.modules, "IPython", module)
    monkeypatch.setitem(sys.modules, "IPython.display", module.display)
    shown.shell = shell
    return shown


@pytest.mark.parametrize(
    "seconds, text",
    [(0.2, "0s"), (59.4, "59s"), (59.6, "1:00"), (61, "1:01"), (3599.9, "1:00:00"), (36610, "10:10:10")],
)
def test_times_are_written_as_people_do(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize(
    "seconds, text", [(12.3, "12s/step"), (0.5, "500ms/step"), (0.0011, "1ms/step"), (2e-5, "20us/step")]
)
def test_the_time_of_a_step_has_the_unit_that_suits_it(seconds, text):
    assert step_time(seconds) == text


@pytest.mark.parametrize(
    "value, text",
    [
        (0.5, "0.5000"),
        (-12.34567, "-12.3457"),
        (0.001, "1.0000e-03"),
        (-2e-7, "-2.0000e-07"),
        (0, "0.0000"),
        (float("inf"), "inf"),
        (torch.tensor(2), "2.0000"),
        (np.array([1.0, 2.0]), "[1., 2.]"),
        ("text", "text"),
    ],
)
def test_numbers_have_four_digits(value, text):
    assert number(value) == text


def test_the_finished_line_leaves_out_what_is_not_known():
    assert Progress(seen=3, total=3, seconds=2.0).line() == "3/3 - 2s"
    progress = Progress("Epoch 1/2", 10, 10, 75, 0.0075, {"loss": 0.5, "val_loss": 1e-5})
    assert progress.line() == "Epoch 1/2 - 10/10 - 1:15 - 8ms/step - loss: 0.5000 - val_loss: 1.0000e-05"


def test_the_count_keeps_its_width_and_goes_up_without_a_total():
    assert [Progress(seen=n, total=100).count for n in (1, 100)] == ["  1/100", "100/100"]
    assert Progress(seen=7).count == "7"


def test_the_time_left_is_that_of_the_steps_left():
    assert Progress(seen=10, total=100, step_seconds=1.0).left == "about 1:30 left"
    assert Progress(seen=10, step_seconds=1.0).left == ""
    assert Progress(seen=10, total=10, step_seconds=1.0, note="validation 3").left == "validation 3"


def test_a_file_gets_lines_and_a_terminal_a_bar(monkeypatch, tmp_path):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert type(choose(io.StringIO(), 1)) is Lines
    with open(tmp_path / "log", "w") as file:
        assert type(choose(file, 1)) is Lines
    assert type(choose(Terminal(), 1)) is Bar
    assert type(choose(Terminal(), 2)) is Lines
    monkeypatch.setenv("TERM", "dumb")
    assert type(choose(Terminal(), 1)) is Lines


def test_a_notebook_gets_a_display_unless_a_file_is_named(notebook):
    assert type(choose(None, 1)) is Notebook
    assert type(choose(None, 2)) is Lines and type(choose(io.StringIO(), 1)) is Lines
    del notebook.shell.kernel
    assert type(choose(None, 1)) is Lines


def test_a_notebook_has_one_display_with_the_lines_of_all_epochs(notebook):
    display = Notebook()
    for epoch in range(3):
        display.draw(Progress(f"Epoch {epoch + 1}/3", 5, 10, 1, 0.1, {"loss": 0.5}))
        display.finish(Progress(f"Epoch {epoch + 1}/3", 10, 10, 1, 0.1, {"loss": 0.5}))
    display.close()
    assert len(notebook.displays) == 1 and len(notebook.updates) == 5
    assert "█████" in notebook.displays[0] and "░░░░░" in notebook.displays[0]
    assert [line[:9] for line in notebook.updates[-1].splitlines()] == ["Epoch 1/3", "Epoch 2/3", "Epoch 3/3"]


def test_a_notebook_escapes_names_and_forgets_old_lines(notebook):
    from lamina.callbacks.displays import _Shown

    assert "&lt;b&gt;" in _Shown("<b>")._repr_html_()
    display = Notebook()
    for epoch in range(150):
        display.finish(Progress(f"Epoch {epoch}", 1))
    lines = notebook.updates[-1].splitlines()
    assert len(lines) == 100 and lines[-1].startswith("Epoch 149")
    display.draw(Progress("Epoch 150", 3))
    assert "█" not in notebook.updates[-1]


def test_a_bar_shows_the_cursor_again_and_leaves_its_last_state():
    file = Terminal()
    bar = Bar(file)
    bar.draw(Progress("Epoch 1/2", 5, 10, 1, 0.1, {"loss": 0.5}))
    assert "\x1b[?25l" in file.getvalue() and "\x1b[?25h" not in file.getvalue()
    bar.close()
    bar.close()
    assert file.getvalue().rstrip("\n").endswith("\x1b[?25h") and "loss: 0.5000" in file.getvalue()


def test_a_bar_without_a_total_counts_up():
    file = Terminal()
    bar = Bar(file)
    bar.draw(Progress("", 5))
    bar.finish(Progress("", 6, 6))
    assert "6/6" in file.getvalue()
