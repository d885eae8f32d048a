"""`lamina train`, from arguments to the folder that it writes."""

from __future__ import annotations

import argparse
import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import lamina
from lamina.commands import run_folder
from lamina.commands.train import _load, _models, add_parser, confusion

FILES = ["curves.png", "history.csv", "history.json", "results.json", "weights.safetensors"]
SOURCE = Path(str(lamina.__file__)).parents[1]


def found_in(folder: Path) -> list[str]:
    """Everything in a folder, hidden or not."""
    return sorted(os.listdir(folder))


def rows_of(path: Path) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def read(path: Path) -> dict:
    """JSON as every program reads it: without NaN."""

    def refuse(name):
        raise ValueError(f"{name} is not JSON")

    return json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)


# ---------------------------------------------------------------------- a run
@pytest.fixture(scope="module")
def finished(tmp_path_factory, images):
    """One run of two epochs in a process of its own with its output in a pipe: the folder, stdout, stderr."""
    folder = tmp_path_factory.mktemp("run")
    command = [sys.executable, "-m", "lamina", "train", "--data", str(images), "--image-size", "16", "--epochs", "2"]
    result = subprocess.run(
        [*command, "--batch-size", "8", "--seed", "3", "--out", "deep/out"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(SOURCE), "PYTHONIOENCODING": "utf-8", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return folder / "deep" / "out", result.stdout, result.stderr


def test_a_run_leaves_its_folder_and_nothing_else(finished):
    folder, out, err = finished
    assert found_in(folder) == FILES
    assert found_in(folder.parent) == ["out"] and found_in(folder.parents[1]) == ["deep"]
    assert err == ""
    assert f"Written to deep/out: {', '.join(FILES)}" in out


def test_a_pipe_gets_plain_lines_without_control_characters(finished):
    _, out, _ = finished
    assert not [character for character in out if ord(character) < 32 and character != "\n" or ord(character) == 127]
    assert len(re.findall(r"^Epoch [12]/2 - .* - loss: \d.*val_accuracy: \d.*$", out, re.MULTILINE)) == 2
    assert "Training on 19 images, 5 held out." in out and "Total params: 196,963" in out


def test_the_history_is_the_same_in_both_files(finished):
    folder, _, _ = finished
    history = read(folder / "history.json")
    assert list(history) == ["epoch", "loss", "accuracy", "val_loss", "val_accuracy"]
    assert history["epoch"] == [0, 1] and all(len(values) == 2 for values in history.values())
    rows = rows_of(folder / "history.csv")
    assert {name: [float(row[name]) for row in rows] for name in rows[0]} == history


def test_the_results_say_how_the_run_was_made_and_what_came_of_it(finished):
    folder, out, _ = finished
    results = read(folder / "results.json")
    table = np.array(results["confusion"])
    assert results["classes"] == ["blue", "green", "red"] and results["epochs"] == 2 and results["seconds"] > 0
    assert results["test_accuracy"] == table.trace() / table.sum() and table.shape == (3, 3) and table.sum() == 5
    arguments = results["arguments"]
    assert (arguments["model"], arguments["epochs"], arguments["seed"], arguments["lr"]) == ("CifarResNet", 2, 3, 3e-3)
    assert f"Test accuracy: {results['test_accuracy']:.2%} ({table.trace()} of 5)" in out


def test_the_weights_give_the_results(finished, images):
    folder, _, _ = finished
    model = lamina.applications.CifarResNet(input_shape=(16, 16, 3), classes=3)
    model.load_weights(folder / "weights.safetensors")
    x, y, _ = lamina.datasets.load_image_folder(images, image_size=16)
    _, (x_test, y_test) = lamina.datasets.split(x, y, 0.2, seed=3)
    predicted = model.predict(x_test * np.float32(1 / 255), verbose=0).argmax(-1)
    assert confusion(y_test, predicted, 3).tolist() == read(folder / "results.json")["confusion"]
    model.compile("sgd", "sparse_categorical_crossentropy")
    loss = model.evaluate(x_test * np.float32(1 / 255), y_test, verbose=0)
    assert loss == pytest.approx(read(folder / "history.json")["val_loss"][-1], rel=1e-4)


def test_the_curves_are_a_picture(finished):
    with Image.open(finished[0] / "curves.png") as picture:
        assert picture.format == "PNG" and min(picture.size) >= 400
        assert np.asarray(picture.convert("L")).std() > 5, "the picture is blank"


def test_a_seed_repeats_a_run(train, tmp_path):
    for out, seed in (("a", 1), ("b", 1), ("c", 2)):
        assert train("--out", out, "--seed", seed)[0] == 0
    a, b, c = ((tmp_path / out / "weights.safetensors").read_bytes() for out in "abc")
    assert a == b != c


@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_a_short_precision_trains_and_leaves_none_behind(train, tmp_path, precision):
    status, _, err = train("--out", "out", "--precision", precision)
    assert (status, err) == (0, "")
    assert 0 < read(tmp_path / "out" / "history.json")["loss"][0] < 10
    assert lamina.dtypes.global_policy().name == "float32"


def test_without_a_name_the_folder_is_named_after_the_data_and_the_time(train, tmp_path, images):
    assert train()[0] == 0
    (folder,) = (tmp_path / "runs").iterdir()
    assert re.fullmatch(r"colours-\d{8}-\d{6}", folder.name) and found_in(folder) == FILES


def test_the_current_folder_has_a_name_too(train, tmp_path, make_images, monkeypatch):
    monkeypatch.chdir(make_images(tmp_path / "here"))
    assert train(data=".")[0] == 0
    (folder,) = (tmp_path / "here" / "runs").iterdir()
    assert folder.name.startswith("here-") and found_in(folder) == FILES


def test_an_empty_folder_may_be_filled(train, tmp_path):
    (tmp_path / "out").mkdir()
    assert train("--out", "out")[0] == 0
    assert found_in(tmp_path) == ["out"] and found_in(tmp_path / "out") == FILES


def test_a_diverging_run_is_written_all_the_same(train, tmp_path):
    status, _, err = train("--out", "out", "--lr", "1e30", "--epochs", "2")
    assert (status, err) == (0, "")
    history = read(tmp_path / "out" / "history.json")
    assert None in history["val_loss"]
    assert "nan" in {row["val_loss"] for row in rows_of(tmp_path / "out" / "history.csv")}


def test_a_class_of_a_single_image_stays_in_training(train, tmp_path, make_images):
    make_images(tmp_path / "data", ("few", "many", "more"))
    for image in sorted((tmp_path / "data" / "few").iterdir())[1:]:
        image.unlink()
    status, out, err = train("--out", "out", data="data")
    assert (status, err) == (0, "") and "Training on 14 images, 3 held out." in out
    assert read(tmp_path / "out" / "results.json")["confusion"][0] == [0, 0, 0]


ODD_NAMES = ("[red]", "[bold", "猫 \N{GRINNING FACE}", "a'b\"c")


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_class_names_of_any_kind_are_shown_and_kept(train, tmp_path, make_images, encoding, monkeypatch):
    """Names that look like markup, and names that the terminal cannot show."""
    make_images(tmp_path / "data", ODD_NAMES)
    text = open(tmp_path / "stdout", "w+", encoding=encoding)  # noqa: SIM115
    with monkeypatch.context() as patched, text:
        patched.setattr(sys, "stdout", text)
        status, _, err = train("--out", "o[ut]", data="data")
        text.seek(0)
        out = text.read()
    assert (status, err) == (0, "")
    assert read(tmp_path / "o[ut]" / "results.json")["classes"] == sorted(ODD_NAMES)
    assert out.count("[red]") == 2, "it heads a row and a column"
    assert "Written to o[ut]: " in out
    assert ("猫" in out) == (encoding == "utf-8")
    assert "猫" in (tmp_path / "o[ut]" / "results.json").read_text(encoding="utf-8")


def test_what_was_written_survives_a_closed_pipe(train, tmp_path, monkeypatch):
    """The folder is there before the last lines are printed."""
    written = []

    def stop(*args):
        written.extend(found_in(tmp_path / "out"))
        raise BrokenPipeError(32, "Broken pipe")

    monkeypatch.setattr("lamina.commands.train._confusion_table", stop)
    assert train("--out", "out")[0] == 2
    assert written == found_in(tmp_path / "out") == FILES


# ---------------------------------------------------------------------- mistakes
def expect_refusal(result: tuple[int, str, str], *words: str, folder: Path | None = None) -> None:
    """Exit status 2, one line on stderr that has these words, and an empty folder."""
    status, _, err = result
    assert status == 2
    assert re.fullmatch(r"lamina( train)?: [^\n]+\n", err), err
    for word in words:
        assert word in err, err
    assert found_in(folder or Path.cwd()) == []


def test_a_missing_folder(train):
    result = train("--out", "out", data="no/such/folder")
    expect_refusal(result, "The folder 'no/such/folder' does not exist", "Check the path")
    assert result[1] == ""


def test_a_file_in_place_of_a_folder(train, tmp_path, images):
    expect_refusal(train("--out", "out", data=images / "red" / "0.png"), "is a file, not a folder")


def broken(make_images, tmp_path: Path) -> Path:
    """A folder of images outside the one in which the command runs."""
    return make_images(tmp_path.parent / f"{tmp_path.name}-data")


def test_an_empty_class(train, tmp_path, make_images):
    data = broken(make_images, tmp_path)
    (data / "empty").mkdir()
    result = train("--out", "out", data=data)
    expect_refusal(result, "The class 'empty' has no images", str(data / "empty"))
    assert result[1] == ""


@pytest.mark.parametrize("content", [b"", b"not an image", b"\x89PNG\r\n\x1a\n" + b"\0" * 50])
def test_an_unreadable_image(train, tmp_path, make_images, content):
    data = broken(make_images, tmp_path)
    (data / "green" / "bad.png").write_bytes(content)
    expect_refusal(train("--out", "out", data=data), f"The image '{data / 'green' / 'bad.png'}' cannot be read")


def test_a_folder_without_classes(train, tmp_path, images):
    expect_refusal(train("--out", "out", data=images / "red"), "has no subfolders", "8 file(s) and no subfolder")


def test_a_single_class(train, tmp_path, make_images):
    data = make_images(tmp_path.parent / f"{tmp_path.name}-data", ("only",))
    result = train("--out", "out", data=data)
    expect_refusal(result, "has one class only", "received 'only' alone", "Add the images of another class")
    assert result[1] == ""


def test_too_few_images(train, tmp_path, make_images):
    data = make_images(tmp_path.parent / f"{tmp_path.name}-data", ("a", "b"), count=1)
    expect_refusal(train("--out", "out", data=data), "There are too few rows to hold any out")


@pytest.mark.parametrize("name", ["CifarResnet", "cifarresnet", "resnet"])
def test_an_unknown_model_is_answered_with_the_nearest_name(train, name):
    expect_refusal(train("--model", name), f"There is no network named '{name}'", "Did you mean CifarResNet?\n")


@pytest.mark.parametrize("name", ["", "Any", "__doc__", "resnet.Model", "zzzzzz"])
def test_what_is_no_network_is_none(train, name):
    expect_refusal(train("--model", name), "There is no network named", "expected one of CifarResNet")


@pytest.mark.parametrize(
    ("option", "values", "words"),
    [
        ("--epochs", ["0", "-3", "1.5", "nan", "", "two"], "is no whole number above zero"),
        ("--batch-size", ["0", "-8", "1e3"], "is no whole number above zero"),
        ("--image-size", ["0", "-1", "16x16"], "is no whole number above zero"),
        ("--lr", ["0", "-0.1", "nan", "inf", "-inf", "fast"], "is no number above zero"),
        ("--seed", ["-1", "1.5", "4294967296", "x", ""], "is no whole number from 0 to 4294967295"),
    ],
)
def test_numbers_are_checked_before_anything_happens(train, option, values, words):
    for value in values:
        result = train(f"{option}={value}")
        expect_refusal(result, f"argument {option}: '{value}' {words}", "lamina train --help")
        assert result[1] == ""


def test_the_largest_seed_is_taken(train, tmp_path):
    assert train("--seed", 2**32 - 1, "--out", "out")[0] == 0


def test_an_unknown_precision(train):
    expect_refusal(train("--precision", "float8"), "argument --precision: invalid choice: 'float8'", "mixed_bfloat16")


def test_an_image_too_small_for_the_network(train):
    expect_refusal(train("--out", "out", "--image-size", "2"), "images (height, width, channels) of at least 4 pixels")


def test_a_folder_that_exists_is_left_alone(train, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    status, out, err = train("--out", "out")
    assert (status, out) == (2, "") and err.startswith("lamina train: 'out' exists already") and err.count("\n") == 1
    assert found_in(tmp_path) == ["out"] and found_in(tmp_path / "out") == ["mine.txt"]
    (tmp_path / "file").write_text("mine")
    status, out, err = train("--out", "file")
    assert (status, out) == (
        2,
        "",
    ) and "'file' exists already (expected a folder that does not; received a file)" in err
    assert (tmp_path / "file").read_text() == "mine"


def test_a_place_where_nothing_can_be_written_is_refused_before_the_training(train, tmp_path, monkeypatch):
    def refuse(self, *args, **kwargs):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "mkdir", refuse)
    result = train("--out", "deep/out")
    expect_refusal(result, f"Nothing can be written under '{tmp_path}'", "Permission denied", "Choose another --out")
    assert result[1] == ""


@pytest.mark.parametrize("function", ["plot_history", "_write_history", "_write_json"])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()], ids=["full", "Ctrl-C"])
def test_a_failure_while_writing_leaves_nothing_behind(train, tmp_path, monkeypatch, function, error):
    def fail(*args, **kwargs):
        raise error

    monkeypatch.setattr(run_folder, function, fail)
    status, _, err = train("--out", "a/b/out")
    assert (status, err) in (
        (2, "lamina train: No space left on device.\n"),
        (130, "lamina train: interrupted\n"),
    )
    assert found_in(tmp_path) == []


def test_an_interruption_outside_of_training_ends_the_command(train, tmp_path, monkeypatch):
    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("lamina.commands.train.load_image_folder", interrupt)
    assert train("--out", "out") == (130, "", "lamina train: interrupted\n")
    assert found_in(tmp_path) == []


# ---------------------------------------------------------------------- Ctrl-C
def test_ctrl_c_ends_the_training_and_writes_what_was_done(images, tmp_path):
    """A process of its own gets the signal in an epoch after the first; that epoch may or may not be whole."""
    command = [sys.executable, "-u", "-m", "lamina", "train", "--data", str(images), "--image-size", "16"]
    process = subprocess.Popen(
        [*command, "--batch-size", "1", "--epochs", "100000", "--out", "out"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(SOURCE), "PYTHONIOENCODING": "utf-8", "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # whoever runs the tests may ignore it
    )
    try:
        for line in process.stdout:
            if line.startswith("Epoch 2/"):
                time.sleep(0.05)
                process.send_signal(signal.SIGINT)
                break
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert (process.returncode, err) == (0, "")
    assert found_in(tmp_path) == ["out"] and found_in(tmp_path / "out") == FILES
    assert "Test accuracy: " in out and "Written to out: " in out
    results, history = read(tmp_path / "out" / "results.json"), read(tmp_path / "out" / "history.json")
    done = results["epochs"]
    assert 2 <= done < 100000 and history["epoch"] == list(range(done))
    assert all(len(values) == done for values in history.values()) and None not in history["loss"]
    assert None not in history["val_loss"][:-1]
    assert len(rows_of(tmp_path / "out" / "history.csv")) == done


class Stop(lamina.callbacks.Callback):
    """Sends a Ctrl-C at one batch of the run."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self.left = at

    def on_train_batch_begin(self, batch, logs=None):
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize(("at", "epochs", "validated"), [(1, 1, 0), (4, 2, 1), (6, 2, 1)])
def test_an_epoch_that_was_interrupted_has_empty_places(train, tmp_path, monkeypatch, at, epochs, validated):
    """There are three batches an epoch; the one that is interrupted is not followed by a validation."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    fit = lamina.Model.fit
    monkeypatch.setattr(lamina.Model, "fit", lambda self, *a, **k: fit(self, *a, callbacks=[Stop(at)], **k))
    try:
        status, out, err = train("--out", "out", "--epochs", "5")
    finally:
        signal.signal(signal.SIGINT, before)
    assert (status, err) == (0, "") and "Written to out: " in out
    history = read(tmp_path / "out" / "history.json")
    assert history["epoch"] == list(range(epochs)) and None not in history["loss"]
    if validated:
        assert [value is not None for value in history["val_loss"]] == [True] * validated + [False]
        assert [bool(row["val_loss"]) for row in rows_of(tmp_path / "out" / "history.csv")] == [True, False]
    else:
        assert list(history) == ["epoch", "loss", "accuracy"]
    assert read(tmp_path / "out" / "results.json")["epochs"] == epochs
    with Image.open(tmp_path / "out" / "curves.png") as picture:
        assert picture.format == "PNG"


# ---------------------------------------------------------------------- parts
def test_the_table_counts_each_pair_of_classes():
    true, predicted = np.array([0, 0, 1, 2, 2, 2]), np.array([0, 1, 1, 0, 2, 2])
    assert confusion(true, predicted, 3).tolist() == [[1, 1, 0], [0, 1, 0], [1, 0, 2]]
    assert confusion(true, predicted, 4).shape == (4, 4)


def test_the_networks_on_offer_are_those_of_the_package():
    assert _models() == [name for name in dir(lamina.applications) if name[0].isupper()] != []


def test_the_defaults_are_those_that_the_help_shows(capsys):
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers()
    add_parser(commands)
    given = vars(parser.parse_args(["train"]))
    assert "out" not in given and given["data"] == "digits" and given["model"] == "CifarResNet"
    with pytest.raises(SystemExit):
        parser.parse_args(["train", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    for name in ("data", "model", "epochs", "batch_size", "lr", "precision", "image_size", "seed"):
        assert f"(default: {given[name]})" in text
    assert "--out" in text and "(default: runs/<data>-<time>)" in text and "None" not in text


def test_the_digits_are_scaled_to_one():
    data = _load(argparse.Namespace(data="digits"))
    assert data.x_train.dtype == np.float32 and data.x_train.min() == 0 and data.x_train.max() == 1
    assert data.classes == [str(digit) for digit in range(10)]
    assert len(data.x_train) + len(data.x_test) == 1797
    assert torch.as_tensor(data.y_test).unique().numel() == 10
