"""`lamina train`: a network, a data set, and a folder with everything that came of it."""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lamina import applications, dtypes
from lamina.commands.jitter import Jittered
from lamina.commands.run_folder import RunFolder, keep_arguments, same_arguments
from lamina.datasets import digits
from lamina.datasets.images import load_image_folder
from lamina.datasets.splitting import split
from lamina.errors import ArgumentError, DataError, nearest
from lamina.optimizers import AdamW
from lamina.optimizers.schedules import CosineDecay
from lamina.seeds import set_random_seed

PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")


class Data(NamedTuple):
    """A labelled set of images, split."""

    x_train: np.ndarray  # (n, height, width, channels), float32 from 0 to 1
    y_train: np.ndarray  # (n,), int64
    x_test: np.ndarray
    y_test: np.ndarray
    classes: list[str]


def add_parser(commands: Any) -> None:
    """Describe the command's arguments.

    Args:
        commands: the subparsers of the program's parser.
    """
    parser = commands.add_parser(
        "train",
        help="train a network on images and write what came of it to a folder",
        description="Train a network on images, judge it on a fifth of them that it has not seen, and write the "
        "training curves, the history and the weights to a folder. Without arguments: a residual network on 1,797 "
        "scans of handwritten digits that come with lamina.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--data", default="digits", help="'digits', or an image folder with one subfolder a class")
    parser.add_argument(
        "--model", default="CifarResNet", help="a network of lamina.applications: " + ", ".join(_models())
    )
    parser.add_argument("--epochs", type=_positive(int), default=30, help="passes over the training images")
    parser.add_argument("--batch-size", type=_positive(int), default=32, help="images a step")
    parser.add_argument("--lr", type=_positive(float), default=3e-3, help="the learning rate at the start, for AdamW")
    parser.add_argument("--precision", choices=PRECISIONS, default="float32", help="in which the network computes")
    parser.add_argument("--image-size", type=_positive(int), default=64, help="pixels a side, for an image folder")
    parser.add_argument("--seed", type=_seed, default=0, help="of the weights and the order of the images")
    parser.add_argument(
        "--out",
        default=argparse.SUPPRESS,
        help="the folder to write, which must not exist yet (default: runs/<data>-<time>)",
    )
    parser.add_argument(
        "--resume",
        metavar="FOLDER",
        default=argparse.SUPPRESS,
        help="keep the state of the run in this folder: the same command goes on after an interruption, and writes to "
        "FOLDER/result unless --out says otherwise",
    )
    parser.set_defaults(run=run)


def run(given: argparse.Namespace) -> None:
    """Train as the arguments say.

    Args:
        given: the parsed arguments.

    Raises:
        LaminaError: an argument or the data are not right, nothing has been written then; or a file cannot be written.
        KeyboardInterrupt: Ctrl-C in a run that can be resumed; the same command goes on with it.
    """
    from rich.console import Console

    console = Console()
    set_random_seed(given.seed)
    builder = _model(given.model)
    kept, out = _places(given)
    settings = {k: v for k, v in vars(given).items() if k not in ("run", "command", "out", "resume")}
    if kept is not None and (out / "results.json").exists() and same_arguments(kept, settings):
        console.print(f"The run is at its end: {out}", highlight=False, markup=False, soft_wrap=True)
        return
    folder = RunFolder(out)
    data = _load(given)
    if kept is not None:
        keep_arguments(kept, settings)
    dtypes.set_global_policy(given.precision)
    try:
        model = builder(
            depths=(2, 2, 2),
            input_shape=data.x_train.shape[1:],
            classes=len(data.classes),
            classifier_activation="softmax",
        )
        steps = -(-len(data.x_train) // given.batch_size) * given.epochs
        rate = CosineDecay(given.lr, decay_steps=steps)
        model.compile(AdamW(rate, weight_decay=0.05), "sparse_categorical_crossentropy", metrics=["accuracy"])
    finally:
        dtypes.set_global_policy(None)
    model.summary()
    console.print(f"\nTraining on {len(data.x_train)} images, {len(data.x_test)} held out.", highlight=False)
    began = time.perf_counter()
    history = model.fit(
        Jittered(data.x_train, data.y_train, given.batch_size, given.seed),
        epochs=given.epochs,
        shuffle=False,
        validation_data=(data.x_test, data.y_test),
        validation_batch_size=256,
        on_interrupt="stop" if kept is None else "raise",
        resume=kept,
    )
    seconds = time.perf_counter() - began
    predicted = model.predict(data.x_test, batch_size=256, verbose=0).argmax(axis=-1)
    correct = int((predicted == data.y_test).sum())
    table = confusion(data.y_test, predicted, len(data.classes))
    share = correct / len(data.y_test)
    results = {
        "test_accuracy": share,
        "epochs": len(history.epoch),
        "seconds": round(seconds, 2),
        "classes": data.classes,
        "arguments": settings,
    }
    folder.write(model, history, results, table.tolist())  # before anything that a closed pipe could stop
    console.print(_confusion_table(table, data.classes))
    console.print(
        f"Test accuracy: {share:.2%} ({correct} of {len(data.y_test)}), trained in {seconds:.1f} s", highlight=False
    )
    console.print(f"Written to {folder.path}: {', '.join(folder.names)}", highlight=False, markup=False, soft_wrap=True)


def _places(given: argparse.Namespace) -> tuple[Path | None, Path]:
    """The folder for the state of the run, if it is to be kept, and that for what came of it."""
    name = Path(given.data).resolve().name or "data"
    kept = Path(given.resume).expanduser() if hasattr(given, "resume") else None
    usual = f"runs/{name}-{time.strftime('%Y%m%d-%H%M%S')}" if kept is None else kept / "result"
    return kept, Path(getattr(given, "out", None) or usual).expanduser()


def confusion(y_true: np.ndarray, y_pred: np.ndarray, num_classes: int) -> np.ndarray:
    """How often each class was taken for each other.

    Args:
        y_true: classes, `(n,)`.
        y_pred: predicted classes, `(n,)`.
        num_classes: their number.

    Returns:
        `(num_classes, num_classes)`, a row for each true class and a column for each predicted one.

    Example:
        >>> confusion(np.array([0, 1, 1]), np.array([0, 1, 0]), 2).tolist()
        [[1, 0], [1, 1]]
    """
    return np.bincount(y_true * num_classes + y_pred, minlength=num_classes**2).reshape(num_classes, num_classes)


def _confusion_table(counts: np.ndarray, classes: list[str]) -> Any:
    """The counts as a table of rich's."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(title="Rows: true class. Columns: predicted.", box=box.SIMPLE_HEAD, title_justify="left")
    table.add_column("")
    for name in classes:
        table.add_column(Text(name), justify="right", overflow="fold")
    for i, (name, row) in enumerate(zip(classes, counts, strict=True)):
        cells = [f"[bold]{n}[/]" if i == j else (f"[red]{n}[/]" if n else "[dim]·[/]") for j, n in enumerate(row)]
        table.add_row(Text(name, style="bold"), *cells)
    return table


def _load(given: argparse.Namespace) -> Data:
    """The data set that was asked for."""
    if given.data == "digits":
        (x_train, y_train), (x_test, y_test) = digits.load_data()
        classes, brightest = [str(digit) for digit in range(10)], 16
    else:
        x, y, classes = load_image_folder(given.data, image_size=given.image_size)
        if len(classes) < 2:
            raise DataError(
                f"The folder '{given.data}' has one class only, so there is nothing to tell apart.",
                expected="a subfolder for each of 2 classes or more",
                received=f"'{classes[0]}' alone",
                fix="add the images of another class",
            )
        (x_train, y_train), (x_test, y_test) = split(x, y, 0.2, given.seed)
        brightest = 255
    scale = np.float32(1 / brightest)
    return Data(x_train * scale, y_train, x_test * scale, y_test, classes)


def _models() -> list[str]:
    """The networks by name."""
    return [name for name in vars(applications) if name[0].isupper()]


def _model(name: str) -> Any:
    """The network of that name."""
    if name in _models():
        return getattr(applications, name)
    guess = nearest(name, _models())
    raise ArgumentError(
        f"There is no network named {name!r}",
        expected="one of " + ", ".join(_models()),
        fix=f"did you mean {guess}?" if guess else "pass one of these to --model",
    )


def _positive(kind: type) -> Callable[[str], Any]:
    """A converter for argparse to finite numbers above zero."""

    def convert(text: str) -> Any:
        try:
            value = kind(text)
        except ValueError:
            value = 0
        if not 0 < value < math.inf:
            raise argparse.ArgumentTypeError(f"{text!r} is no {'whole ' if kind is int else ''}number above zero")
        return value

    return convert


def _seed(text: str) -> int:
    """A converter for argparse to seeds."""
    if text.isdecimal() and int(text) < 2**32:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 0 to 4294967295")
