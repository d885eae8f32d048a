"""A small training that is killed again and again, in a process that has imported everything and forks.

    python killed_run.py FOLDER KILLS SEED [KIND ...]

For each kind of data it trains once without any kill and once without `resume`, then as often as it takes with so many
kills, and compares. It prints what came of it as JSON. Half of the kills come from a timer, half from inside the
writing of a file. With some hundred kills it is a test of endurance, to be run by hand.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import shutil
import signal
import sys
import time
import traceback
from pathlib import Path

import numpy as np
import torch

import lamina
from lamina.callbacks import CSVLogger, EarlyStopping, LearningRateScheduler, ModelCheckpoint, ReduceLROnPlateau
from lamina.training import PyDataset, Resume

SAMPLES, WIDTH, BATCH, EPOCHS, EVERY = 60, 6, 4, 5, 4


def arrays():
    generator = np.random.default_rng(7)
    x = generator.normal(size=(SAMPLES, WIDTH)).astype("float32")
    return x, (x.sum(1) > 0).astype("int64")


class Augmented(PyDataset):
    """Adds NumPy's noise, from its global generator or from one of its own, and shuffles its own order in place."""

    def __init__(self, own=False, **options):
        super().__init__(**options)
        self.x, self.y = arrays()
        self.rows = np.arange(SAMPLES)
        self.random = np.random.default_rng(5) if own else np.random

    def __len__(self):
        return SAMPLES // BATCH

    def __getitem__(self, index):
        rows = self.rows[index * BATCH : (index + 1) * BATCH]
        return self.x[rows] + self.random.normal(size=(BATCH, WIDTH)).astype("float32") * 0.1, self.y[rows]

    def on_epoch_end(self):
        self.random.shuffle(self.rows)


class Samples(torch.utils.data.Dataset):
    """Single samples with torch's and Python's noise."""

    def __init__(self):
        self.x, self.y = arrays()

    def __len__(self):
        return SAMPLES

    def __getitem__(self, index):
        return torch.from_numpy(self.x[index]) + torch.randn(WIDTH) * 0.1 * random.random(), int(self.y[index])


def stream():
    """A generator without end that draws from NumPy's global generator."""
    x, y = arrays()
    while True:
        for rows in np.random.permutation(SAMPLES).reshape(-1, BATCH):
            yield x[rows] + np.random.normal(size=(BATCH, WIDTH)).astype("float32") * 0.1, y[rows]


def data_of(kind):
    """What `fit` is given besides the common arguments."""
    if kind == "arrays":
        x, y = arrays()
        return {"x": x, "y": y, "batch_size": BATCH}
    if kind == "tensors in steps":
        x, y = arrays()
        return {"x": torch.from_numpy(x), "y": torch.from_numpy(y), "batch_size": BATCH, "steps_per_epoch": 11}
    if kind == "processes":
        return {"x": Augmented(workers=2, use_multiprocessing=True, max_queue_size=3)}
    if kind == "processes with own generators":
        return {"x": Augmented(own=True, workers=2, use_multiprocessing=True, max_queue_size=3)}
    if kind == "data set":
        return {"x": Augmented()}
    if kind == "own generator":
        return {"x": Augmented(own=True)}
    if kind == "torch data set":
        return {"x": Samples(), "batch_size": BATCH}
    if kind == "loader":
        return {"x": torch.utils.data.DataLoader(Samples(), batch_size=BATCH, shuffle=True, num_workers=2)}
    return {"x": stream(), "steps_per_epoch": 13}


KINDS = (
    "arrays", "tensors in steps", "processes", "processes with own generators", "data set", "own generator",
    "torch data set", "loader", "generator",
)  # fmt: skip


def train(kind, folder, keeps):
    """One process's part of the training; leaves `result.pt` when it comes to the end."""
    torch.set_num_threads(1)
    lamina.seeds.set_random_seed(11)
    layers = lamina.layers
    model = lamina.Sequential(
        [
            layers.Input((WIDTH,)),
            layers.GaussianNoise(0.1),
            layers.Dense(8, activation="relu"),
            layers.BatchNormalization(),
            layers.Dropout(0.3),
            layers.Dropout(0.2, seed=3),
            layers.Dense(2, activation="softmax"),
        ]
    )
    model.compile(lamina.optimizers.Adam(0.02), "sparse_categorical_crossentropy", metrics=["accuracy"])
    x, y = arrays()
    history = model.fit(
        **data_of(kind),
        epochs=EPOCHS,
        verbose=0,
        validation_data=(x[:20], y[:20]),
        callbacks=[
            ReduceLROnPlateau("loss", factor=0.5, patience=1, min_delta=0.05),
            LearningRateScheduler(lambda epoch, rate: rate * 0.95),
            EarlyStopping("val_loss", patience=3, restore_best_weights=True),
            ModelCheckpoint(folder / "kept" / "{epoch}.safetensors", save_weights_only=True, keep_last=2),
            CSVLogger(folder / "log.csv"),
        ],
        resume=Resume(folder / "state", every_batches=keeps) if keeps else None,
    )
    state = {name: value.clone() for name, value in model.state_dict().items()}
    optimizer = {"steps": model.optimizer.iterations, "rate": model.optimizer.learning_rate}
    kept = {path.name: path.read_bytes() for path in sorted((folder / "kept").iterdir())}
    result = {"weights": state, "optimizer": optimizer, "history": history.history, "epoch": history.epoch}
    torch.save({**result, "kept": kept, "log": (folder / "log.csv").read_text()}, folder / "result.new")
    os.replace(folder / "result.new", folder / "result.pt")


def fails_at(call):
    """Be killed at so many-th of the system calls that make a file: before it, or right behind it."""
    count, own = itertools.count(1), os.getpid()

    def failing(function):
        def called(*args, **kwargs):
            number = next(count) if os.getpid() == own else 0  # workers of the data inherit these functions
            if number == call:
                os.kill(os.getpid(), signal.SIGKILL)
            result = function(*args, **kwargs)
            if number == -call:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        return called

    for name in ("fsync", "replace", "unlink", "open"):
        setattr(os, name, failing(getattr(os, name)))


def process(kind, folder, keeps, call=None):
    """Train in a process of its own; gives its number."""
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        if call is not None:
            fails_at(call)
        train(kind, folder, keeps)
        status = 0
    finally:
        sys.stderr.flush()
        os._exit(status)


def ended(child):
    """How a process ended: 0, or the number of its signal as a negative number."""
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


def chain(kind, folder, kills, seed):
    """Train with kills until the end; the number of kills, and how many of them came from inside a write."""
    dice = random.Random(seed)
    began = time.monotonic()
    assert ended(process(kind, folder / "whole", EVERY)) == 0
    seconds = time.monotonic() - began
    assert ended(process(kind, folder / "plain", None)) == 0
    within = killed = 0
    while killed < kills:
        shutil.rmtree(folder / "killed", ignore_errors=True)
        (folder / "killed").mkdir()
        while killed < kills:
            inside = dice.random() < 0.5
            child = process(
                kind, folder / "killed", EVERY, dice.choice((1, -1)) * dice.randint(1, 60) if inside else None
            )
            if not inside:
                time.sleep(dice.uniform(0.0, seconds * 0.6))
                os.kill(child, signal.SIGKILL)
            status = ended(child)
            if status == 0:
                break
            assert status == -signal.SIGKILL, f"a process failed by itself: {status}"
            killed += 1
            within += inside
        else:
            assert ended(process(kind, folder / "killed", EVERY)) == 0
        compare(folder)
    return {"kills": killed, "inside a write": within, "seconds of a run": seconds}


def compare(folder):
    """All three trainings came to the same, to the last bit."""
    whole, plain, killed = (torch.load(folder / n / "result.pt") for n in ("whole", "plain", "killed"))
    for other, name in ((plain, "plain"), (killed, "killed")):
        for weight, value in whole["weights"].items():
            assert torch.equal(value, other["weights"][weight]), f"{name}: {weight} differs"
        for part in ("optimizer", "history", "epoch", "kept", "log"):
            assert repr(whole[part]) == repr(other[part]), f"{name}: {part}\n{whole[part]!r:.500}\n{other[part]!r:.500}"
    left = [path.name for path in (folder / "killed" / "state").iterdir() if ".part" in path.name]
    assert not left, left


def main(folder, kills, seed, kinds):
    """What came of each kind: counts, or the text of the error."""
    found = {}
    for number, kind in enumerate(kinds):
        for name in ("whole", "plain", "killed"):
            (folder / str(number) / name).mkdir(parents=True)
        try:
            found[kind] = chain(kind, folder / str(number), kills, seed + number)
        except AssertionError:
            found[kind] = traceback.format_exc()
    print(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:] or KINDS)
