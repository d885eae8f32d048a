"""Training curves: what is drawn, where the numbers come from, what is written."""

from __future__ import annotations

import json
import math
import os
import pickle
import sys

import numpy as np
import pytest
import torch

from lamina.callbacks import CSVLogger, History, plot_history
from lamina.commands.run_folder import RunFolder
from lamina.errors import ArgumentError, LoadError, UnknownNameError
from lamina.layers import Dense, Input
from lamina.models import Sequential


def panel(figure, name):
    return next(axes for axes in figure.axes if axes.get_title() == name)


def titles(figure):
    return [axes.get_title() for axes in figure.axes]


def lines(axes):
    """The lines of a panel by label: x and y, `None` for a gap."""
    found = {}
    for line in axes.lines:
        y = [None if math.isnan(value) else float(value) for value in line.get_ydata()]
        found[line.get_label()] = ([float(x) for x in line.get_xdata()], y)
    return found


def history_of(*epochs, first=0, history=None):
    """A history that heard of these epochs."""
    history = history or History()
    history.on_train_begin()
    for epoch, logs in enumerate(epochs, first):
        history.on_epoch_end(epoch, logs)
    return history


# ---------------------------------------------------------------------- panels
def test_training_and_validation_share_a_panel():
    figure = plot_history({"loss": [3.0, 2.0], "val_loss": [4.0, 3.5], "accuracy": [0.1, 0.2]})
    assert titles(figure) == ["loss", "accuracy"]
    assert lines(panel(figure, "loss")) == {"training": ([1, 2], [3, 2]), "validation": ([1, 2], [4, 3.5])}
    assert lines(panel(figure, "accuracy")) == {"training": ([1, 2], [0.1, 0.2])}
    legend = [text.get_text() for text in panel(figure, "loss").get_legend().get_texts()]
    assert legend == ["training", "validation"]
    assert {axes.get_xlabel() for axes in figure.axes} == {"epoch"}


def test_the_loss_comes_first_and_the_learning_rate_last():
    values = {"accuracy": [1.0], "learning_rate": [0.1], "auc": [1.0], "loss": [1.0], "val_loss": [1.0]}
    assert titles(plot_history(values)) == ["loss", "accuracy", "auc", "learning_rate"]


def test_lines_differ_without_colour():
    training, validation = panel(plot_history({"loss": [1.0], "val_loss": [2.0]}), "loss").lines
    assert training.get_linestyle() != validation.get_linestyle()
    assert training.get_marker() != validation.get_marker()


@pytest.mark.parametrize("count", [1, 2, 3, 7, 40, 300])
def test_ticks_are_epochs_that_there_are(count):
    axes = plot_history({"loss": list(np.linspace(1, 0, count))}).axes[0]
    low, high = axes.get_xlim()
    ticks = [tick for tick in axes.get_xticks() if low <= tick <= high]
    assert ticks and all(tick == int(tick) for tick in ticks)
    assert count == 300 or min(ticks) >= 1 and max(ticks) <= count


def test_one_epoch_is_a_point():
    line = plot_history({"loss": [0.5]}).axes[0].lines[0]
    assert line.get_marker() == "o" and list(line.get_markevery()) == [0]
    assert plot_history({"loss": [0.5]}).axes[0].get_xlim() == (0.5, 1.5)


def test_of_many_epochs_some_are_marked_and_those_without_a_neighbour_always():
    values = [1.0] * 200
    values[98] = values[100] = math.nan
    marked = plot_history({"loss": values}).axes[0].lines[0].get_markevery()
    assert 99 in marked and len(marked) < 40


@pytest.mark.parametrize("missing", [None, math.nan, math.inf, -math.inf])
def test_what_is_missing_or_not_finite_leaves_a_gap(missing):
    figure = plot_history({"loss": [3.0, missing, 1.0], "val_loss": [2.0, missing, math.nan]})
    assert lines(figure.axes[0])["training"] == ([1, 2, 3], [3, None, 1])
    assert lines(figure.axes[0])["validation"][1][0] == 2


def test_a_panel_without_a_finite_number_says_so():
    axes = plot_history({"loss": [math.nan, math.inf], "val_loss": [math.nan, math.nan]}).axes[0]
    assert [text.get_text() for text in axes.texts] == ["nothing finite"]
    assert plot_history({"loss": [math.nan, 1.0]}).axes[0].texts[:] == []


@pytest.mark.parametrize(
    ("rates", "scale"),
    [([0.1, 0.01, 0.001], "log"), ([0.1, 0.1], "linear"), ([0.1, 0.05], "linear"), ([0.1, 0.0], "linear")],
)
def test_a_learning_rate_has_a_logarithmic_axis_if_it_changes_much(rates, scale):
    for name in ("learning_rate", "lr"):
        assert panel(plot_history({"loss": [1.0] * 3, name: rates}), name).get_yscale() == scale
    assert panel(plot_history({"loss": [1.0, 1e-9]}), "loss").get_yscale() == "linear"


def test_a_name_with_signs_of_mathematics_is_shown_as_it_is(tmp_path):
    name = r"$\frac$"
    assert titles(plot_history({name: [1.0], f"val_{name}": [0.5]}, tmp_path / "a.png")) == [name]


# ---------------------------------------------------------------------- choosing
@pytest.mark.parametrize(
    ("metrics", "found"),
    [
        (None, ["loss", "accuracy"]),
        ("accuracy", ["accuracy"]),
        (["accuracy", "loss"], ["accuracy", "loss"]),
        (["val_loss", "loss"], ["loss"]),
    ],
)
def test_metrics_are_drawn_in_the_order_in_which_they_are_named(metrics, found):
    figure = plot_history({"loss": [1.0], "val_loss": [1.0], "accuracy": [1.0]}, metrics=metrics)
    assert titles(figure) == found


@pytest.mark.parametrize("name", ["acuracy", "val_acuracy"])
def test_an_unknown_metric_is_refused_with_the_nearest_name(name):
    with pytest.raises(UnknownNameError, match="no metric named") as caught:
        plot_history({"loss": [1.0], "accuracy": [1.0]}, metrics=[name])
    assert "did you mean 'accuracy'?" in str(caught.value)


def test_no_metric_is_refused():
    with pytest.raises(ArgumentError, match="No metric is named"):
        plot_history({"loss": [1.0]}, metrics=[])


# ---------------------------------------------------------------------- histories
def test_a_history_draws_itself(tmp_path):
    figure = history_of({"loss": 2.0, "val_loss": 3.0}, {"loss": 1.0, "val_loss": 2.0}).plot(tmp_path / "a.png", "loss")
    assert lines(figure.axes[0]) == {"training": ([1, 2], [2, 1]), "validation": ([1, 2], [3, 2])}
    assert os.listdir(tmp_path) == ["a.png"]


def test_what_fit_returns_can_be_drawn():
    model = Sequential([Input((2,)), Dense(1)])
    model.compile("sgd", "mse")
    x, y = np.ones((8, 2), "float32"), np.ones((8, 1), "float32")
    history = model.fit(x, y, epochs=4, validation_data=(x, y), validation_freq=2, verbose=0)
    found = lines(history.plot().axes[0])
    assert found["training"] == ([1, 2, 3, 4], history.history["loss"])
    assert found["validation"] == ([2, 4], history.history["val_loss"])


def test_a_later_start_is_where_it_was():
    assert lines(history_of({"loss": 2.0}, {"loss": 1.0}, first=5).plot().axes[0])["training"][0] == [6, 7]


def test_an_interrupted_epoch_has_no_validation():
    history = history_of({"loss": 3.0, "val_loss": 4.0}, {"loss": 2.0, "val_loss": 3.0}, {"loss": 1.0})
    assert lines(history.plot().axes[0])["validation"] == ([1, 2], [4, 3])


def test_validations_in_no_regular_order_have_gaps_between_them():
    epochs = [{"loss": 1.0}, {"loss": 1.0, "val_loss": 2.0}, {"loss": 1.0, "val_loss": 3.0}, {"loss": 1.0}]
    history = history_of(*epochs, {"loss": 1.0, "val_loss": 4.0})
    assert lines(history.plot().axes[0])["validation"] == ([1, 2, 3, 4, 5], [None, 2, 3, None, 4])


def test_a_history_of_two_fits_goes_on():
    history = history_of({"loss": 4.0}, {"loss": 3.0})
    history_of({"loss": 2.0}, history=history)
    assert lines(history.plot().axes[0])["training"] == ([1, 2, 3], [4, 3, 2])


def test_a_resumed_history_knows_when_its_validations_were():
    first, second = history_of({"loss": 4.0}, {"loss": 3.0, "val_loss": 1.0}), History()
    second.set_state(json.loads(json.dumps(first.get_state())))
    second.on_epoch_end(2, {"loss": 2.0})
    second.on_epoch_end(3, {"loss": 1.0, "val_loss": 0.5})
    assert lines(second.plot().axes[0])["validation"] == ([2, 4], [1, 0.5])
    twice, third = History(), History()
    twice.set_state(history_of({"loss": 2.0}, history=history_of({"loss": 4.0}, {"loss": 3.0})).get_state())
    twice.on_epoch_end(1, {"loss": 1.0, "val_loss": 5.0})
    assert lines(twice.plot().axes[0]) == {"training": ([1, 2, 3, 4], [4, 3, 2, 1]), "validation": ([4], [5])}
    third.set_state({"epoch": [0, 1], "history": {"loss": [2.0, 1.0]}})  # as it was written before
    assert lines(third.plot().axes[0])["training"] == ([1, 2], [2, 1])


def test_a_dict_may_have_epochs_and_lists_of_different_lengths():
    assert lines(plot_history({"epoch": [3, 4], "loss": [2.0, 1.0]}).axes[0])["training"][0] == [4, 5]
    found = lines(plot_history({"loss": [1.0] * 9, "val_loss": [3.0, 2.0, 1.0]}).axes[0])
    assert found["validation"] == ([3, 6, 9], [3, 2, 1])
    found = lines(plot_history({"loss": [1.0] * 3, "val_loss": [3.0, 2.0]}).axes[0])
    assert found["validation"] == ([1, 2], [3, 2])


def test_numbers_of_any_kind_are_drawn_and_arrays_are_left_out():
    values = {
        "loss": [np.float32(2), torch.tensor(1.0), 0],
        "matrix": [np.ones((2, 2))] * 3,
        "pair": [[1.0, 2.0]] * 3,
        "array": np.array([1.0, 2.0, 3.0]),
    }
    figure = plot_history(values)
    assert titles(figure) == ["loss", "array"]
    assert lines(panel(figure, "loss"))["training"][1] == [2, 1, 0]


@pytest.mark.parametrize("source", [{}, {"epoch": []}, {"loss": []}, History(), {"loss": [None]}])
def test_an_empty_history_is_refused(source):
    with pytest.raises(ArgumentError, match="nothing to draw") as caught:
        plot_history(source)
    assert caught.value.received == "an empty history"


@pytest.mark.parametrize("source", [3, None, [1.0, 2.0]])
def test_what_holds_no_history_is_refused(source):
    with pytest.raises(ArgumentError, match="holds no history") as caught:
        plot_history(source)
    assert type(source).__name__ in caught.value.received


def test_one_number_in_place_of_a_list_is_refused():
    with pytest.raises(ArgumentError, match="'loss' is no list") as caught:
        plot_history({"loss": 0.5})
    assert caught.value.received == "0.5 of type float"


# ---------------------------------------------------------------------- files
@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_the_file_of_a_csv_logger_is_read(tmp_path, separator):
    logger = CSVLogger(tmp_path / "log.csv", separator=separator)
    logger.on_train_begin()
    for epoch, logs in enumerate([{"loss": 2.0, "f1": np.ones(2)}, {"loss": 1.0, "f1": np.ones(2), "val_loss": 3.0}]):
        logger.on_epoch_end(epoch, logs)
    logger.on_train_end()
    figure = plot_history(tmp_path / "log.csv")
    assert titles(figure) == ["loss"]
    assert lines(figure.axes[0])["training"] == ([1, 2], [2, 1])
    assert [y for y in lines(figure.axes[0])["validation"][1] if y is not None] == [3]


def test_a_file_that_another_program_wrote_is_read(tmp_path):
    path = tmp_path / "log.csv"
    path.write_bytes(b'\xef\xbb\xbf"loss","epoch","val_loss"\r\n2,0,nan\r\n\r\nNA,1,4\r\n1,2\r\n')
    found = lines(plot_history(str(path)).axes[0])
    assert found == {"training": ([1, 2, 3], [2, None, 1]), "validation": ([1, 2], [None, 4])}


@pytest.mark.parametrize("kept", ["history.csv", "history.json", "both"])
def test_the_folder_of_a_run_is_read(tmp_path, kept):
    class Weightless:
        def save_weights(self, path):
            path.touch()

    history = history_of({"loss": 2.0, "val_loss": 3.0}, {"loss": 1.0})
    folder = tmp_path / "run"
    RunFolder(folder).write(Weightless(), history, {}, [])
    for name in {"history.csv", "history.json"} - {kept} if kept != "both" else ():
        (folder / name).unlink()
    assert lines(plot_history(folder).axes[0]) == {"training": ([1, 2], [2, 1]), "validation": ([1], [3])}


def test_a_place_without_anything_is_named(tmp_path):
    with pytest.raises(LoadError, match="no file or folder") as caught:
        plot_history(tmp_path / "no.csv")
    assert str(tmp_path / "no.csv") in str(caught.value)
    with pytest.raises(LoadError, match="There is no history in") as caught:
        plot_history(tmp_path)
    assert caught.value.expected == "history.csv or history.json in the folder"
    assert caught.value.received == "an empty folder"


@pytest.mark.parametrize(
    ("name", "content", "expected", "received"),
    [
        ("a.csv", "step,loss\n0,1\n", "a column 'epoch'", "columns step, loss"),
        ("a.csv", "epochs,loss\n0,1\n", "a column 'epoch'", "columns epochs, loss"),
        ("a.csv", "", "a column 'epoch'", "an empty file"),
        ("a.csv", "epoch,name\n0,x\n1,y\n", "numbers beside the epochs", "columns name"),
        ("a.csv", "epoch\n0\n1\n", "numbers beside the epochs", "columns epoch alone"),
        ("a.csv", "epoch,f1\n0,\"[1.0, 2.0]\"\n", "numbers beside the epochs", "columns f1"),
        ("a.csv", b"\xff\xfe\x00", "as CSVLogger writes it", "utf-8"),
        ("a.json", "[1, 2]", "as CSVLogger writes it", "no lists by name"),
        ("a.json", "{", "as CSVLogger writes it", "Expecting"),
    ],
)  # fmt: skip
def test_a_file_without_a_history_is_refused(tmp_path, name, content, expected, received):
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(LoadError, match="holds no history") as caught:
        plot_history(tmp_path / name)
    assert expected in caught.value.expected and received in caught.value.received


def test_a_file_without_rows_is_an_empty_history(tmp_path):
    (tmp_path / "a.csv").write_text("epoch,loss\n")
    with pytest.raises(ArgumentError, match="nothing to draw"):
        plot_history(tmp_path / "a.csv")


# ---------------------------------------------------------------------- pictures
SIGNATURES = {"png": b"\x89PNG\r\n\x1a\n", "svg": b"<?xml", "pdf": b"%PDF-", "SVG": b"<?xml"}


@pytest.mark.parametrize("ending", SIGNATURES)
def test_pictures_of_each_kind_are_written_and_repeat_themselves(tmp_path, ending, recwarn):
    first, second = (tmp_path / f"{name}.{ending}" for name in ("first", "second"))
    for path in (first, second):
        plot_history({"loss": [2.0, 1.0]}, path)
    assert first.read_bytes().startswith(SIGNATURES[ending])
    assert first.read_bytes() == second.read_bytes()
    assert sorted(os.listdir(tmp_path)) == sorted([first.name, second.name])
    assert [str(warning.message) for warning in recwarn] == []


@pytest.mark.parametrize("name", ["curves", "curves.gif", "curves.csv"])
def test_an_unknown_ending_is_refused_before_anything_is_read(tmp_path, name):
    with pytest.raises(ArgumentError, match="ending of the file") as caught:
        plot_history("no/such/file", tmp_path / name)
    assert name in caught.value.received and os.listdir(tmp_path) == []


def test_a_picture_is_replaced_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "curves.png"
    path.write_bytes(b"old")

    def fail(*args):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space"):
        patch.setattr(os, "replace", fail)
        plot_history({"loss": [1.0]}, path)
    assert path.read_bytes() == b"old" and os.listdir(tmp_path) == ["curves.png"]
    plot_history({"loss": [1.0]}, path)
    assert path.read_bytes().startswith(SIGNATURES["png"])


def test_a_notebook_shows_the_figure_and_no_window_opens():
    figure = plot_history({"loss": [2.0, 1.0]})
    assert figure._repr_png_().startswith(SIGNATURES["png"])
    assert "matplotlib.pyplot" not in sys.modules or not sys.modules["matplotlib.pyplot"].get_fignums()
    assert titles(pickle.loads(pickle.dumps(figure))) == ["loss"]
