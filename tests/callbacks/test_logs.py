"""Logs passed on to a CSV file or to functions."""

from __future__ import annotations

import csv

import numpy as np
import pytest
import torch

from lamina.callbacks.base import HOOKS, CallbackList
from lamina.callbacks.lazy_logs import LazyLogs
from lamina.callbacks.logs import CSVLogger, LambdaCallback
from lamina.errors import ArgumentError, WriteError


def write(logger, *epochs, first=0):
    logger.on_train_begin()
    for epoch, logs in enumerate(epochs, first):
        logger.on_epoch_end(epoch, logs)
    logger.on_train_end()


def rows(path, **options):
    with open(path, newline="") as file:
        return list(csv.reader(file, **options))


def test_each_epoch_is_a_row_with_columns_in_the_order_of_their_names(tmp_path):
    path = tmp_path / "log.csv"
    write(CSVLogger(path), LazyLogs({"val_loss": torch.tensor(2.0), "loss": 1}), {"loss": 0.5, "val_loss": 1.5})
    assert rows(path) == [["epoch", "loss", "val_loss"], ["0", "1.0", "2.0"], ["1", "0.5", "1.5"]]


def test_columns_for_a_later_validation_are_kept_free(tmp_path):
    path = tmp_path / "log.csv"
    write(CSVLogger(path), {"loss": 1.0}, {"loss": 0.5, "val_loss": 2.0})
    assert rows(path) == [["epoch", "loss", "val_loss"], ["0", "1.0", "NA"], ["1", "0.5", "2.0"]]


def test_a_row_is_in_the_file_as_soon_as_its_epoch_is_over(tmp_path):
    path = tmp_path / "log.csv"
    logger = CSVLogger(path)
    logger.on_train_begin()
    logger.on_epoch_end(0, {"loss": 1.0})
    assert len(rows(path)) == 2
    logger.close()


def test_values_with_a_separator_in_them_are_quoted(tmp_path):
    path = tmp_path / "log.csv"
    write(CSVLogger(path, separator=";"), {"a": np.array([1, 2]), "b": "x;y", "val_a": 1})
    assert rows(path, delimiter=";") == [["epoch", "a", "b", "val_a"], ["0", "[1, 2]", "x;y", "1"]]


@pytest.mark.parametrize("append, expected", [(False, ["epoch", "0"]), (True, ["epoch", "0", "1", "0"])])
def test_a_file_that_exists_is_written_anew_or_gone_on_with(tmp_path, append, expected):
    path = tmp_path / "log.csv"
    write(CSVLogger(path), {"loss": 1.0}, {"loss": 2.0})
    write(CSVLogger(path, append=append), {"loss": 3.0})
    assert [row[0] for row in rows(path)] == expected


def test_appending_to_an_empty_file_writes_the_names(tmp_path):
    path = tmp_path / "log.csv"
    path.touch()
    write(CSVLogger(path, append=True), {"loss": 1.0})
    assert rows(path)[0] == ["epoch", "loss", "val_loss"]


def test_a_resumed_run_goes_on_below_the_rows_that_are_there(tmp_path):
    path = tmp_path / "log.csv"
    first, second = CSVLogger(path), CSVLogger(path)
    write(first, {"loss": 1.0})
    second.on_train_begin()
    second.set_state(first.get_state())
    second.on_epoch_end(1, {"loss": 0.5})
    second.close()
    assert [row[:2] for row in rows(path)] == [["epoch", "loss"], ["0", "1.0"], ["1", "0.5"]]


def test_the_file_is_closed_after_an_interruption(tmp_path):
    logger = CSVLogger(tmp_path / "log.csv")
    logger.on_train_begin()
    logger.on_epoch_end(0, {"loss": 1.0})
    file = logger._file
    CallbackList(logger).close()
    assert file.closed


@pytest.mark.parametrize("hook", [h for h in HOOKS if h not in ("on_batch_begin", "on_batch_end")])
def test_a_function_is_called_at_its_hook(hook):
    calls = []
    callbacks = CallbackList(LambdaCallback(**{hook: lambda *args: calls.append(args)}))
    args = (1, {"loss": 2.0}) if "epoch" in hook or "batch" in hook else ({"loss": 2.0},)
    getattr(callbacks, hook)(*args)
    assert calls == [args]


def test_functions_can_be_given_by_position_and_left_out():
    calls = []
    callback = LambdaCallback(None, lambda epoch, logs: calls.append(epoch))
    callback.on_epoch_end(3, {})
    assert calls == [3] and not callback.listens_to("on_epoch_begin")


def test_a_hook_that_does_not_exist_is_refused_with_the_nearest_name():
    with pytest.raises(ArgumentError, match="did you mean 'on_epoch_end'"):
        LambdaCallback(on_epoch_ends=print)


# ---------------------------------------------------------------------- whole rows
def test_a_row_that_is_half_there_is_cut_off_where_the_run_goes_on(tmp_path):
    path = tmp_path / "log.csv"
    first = CSVLogger(path)
    first.on_train_begin()
    first.on_epoch_end(0, {"loss": 1.0})
    state = first.get_state()
    first.on_epoch_end(1, {"loss": 0.7})
    first.close()
    path.write_bytes(path.read_bytes()[:-2])
    second = CSVLogger(path)
    second.on_train_begin()
    second.set_state(state)
    second.on_epoch_end(1, {"loss": 0.5})
    second.close()
    assert path.read_text().splitlines() == ["epoch,loss,val_loss", "0,1.0,NA", "1,0.5,NA"]


def test_rows_of_other_runs_stay_above(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text("epoch,loss\n0,9.0\n")
    logger = CSVLogger(path, append=True)
    logger.on_train_begin()
    state = logger.get_state()
    logger.on_epoch_end(0, {"loss": 1.0, "val_loss": 2.0})
    logger.close()
    again = CSVLogger(path, append=True)
    again.on_train_begin()
    again.set_state(state)
    again.on_epoch_end(0, {"loss": 1.0, "val_loss": 2.0})
    again.close()
    assert path.read_text() == "epoch,loss\n0,9.0\n0,1.0,2.0\n"


def test_a_file_without_an_end_of_line_gets_one_before_the_next_row(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text("epoch,loss\n0,9.0")
    write(CSVLogger(path, append=True), {"loss": 1.0})
    assert path.read_text().splitlines()[1] == "0,9.0"


def test_a_file_that_has_lost_rows_is_said(tmp_path, capsys):
    path = tmp_path / "log.csv"
    first, second = CSVLogger(path), CSVLogger(path)
    write(first, {"loss": 1.0})
    state = first.get_state()
    path.write_text("epoch\n")
    second.set_state(state)
    assert "is shorter than it was" in capsys.readouterr().err


def test_a_full_disk_leaves_whole_rows(tmp_path, monkeypatch):
    path = tmp_path / "log.csv"
    logger = CSVLogger(path)
    logger.on_train_begin()
    logger.on_epoch_end(0, {"loss": 1.0})

    class Full:
        """Takes five bytes, and no more."""

        def __init__(self, file):
            self.file, self.taken = file, 0

        def write(self, data):
            if self.taken:
                raise OSError(28, "No space left on device")
            self.taken = self.file.write(data[:5])
            return self.taken

        def __getattr__(self, name):
            return getattr(self.file, name)

    logger._file = Full(logger._file)
    with pytest.raises(WriteError, match=r"log.csv cannot be written(.|\n)*No space left"):
        logger.on_epoch_end(1, {"loss": 0.5})
    logger.close()
    assert path.read_text().splitlines() == ["epoch,loss,val_loss", "0,1.0,NA"]


def test_a_place_that_cannot_be_written_is_a_write_error(tmp_path):
    logger = CSVLogger(tmp_path / "missing" / "log.csv")
    with pytest.raises(WriteError, match="cannot be written"):
        write(logger, {"loss": 1.0})
