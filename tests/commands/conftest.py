"""A small image folder, and the command line within this process."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lamina.cli import main

CLASSES = ("blue", "green", "red")


def write_images(folder: Path, classes: tuple[str, ...] = CLASSES, count: int = 8) -> Path:
    """A folder with `count` images of 16x16 pixels in each of `classes`, each class of its own colour."""
    random = np.random.RandomState(0)
    for number, name in enumerate(classes):
        (folder / name).mkdir(parents=True)
        for i in range(count):
            pixels = random.randint(0, 60, (16, 16, 3))
            pixels[..., number % 3] += 150
            Image.fromarray(pixels.astype(np.uint8)).save(folder / name / f"{i}.png")
    return folder


@pytest.fixture(scope="session")
def images(tmp_path_factory):
    """Three classes of eight images each; not to be changed."""
    return write_images(tmp_path_factory.mktemp("images") / "colours")


@pytest.fixture
def make_images():
    return write_images


@pytest.fixture
def train(images, tmp_path, monkeypatch, capsys):
    """Runs `lamina train` on the images in an empty folder; gives the exit status, stdout and stderr."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str, data: str | Path = images) -> tuple[int, str, str]:
        fixed = ["--data", str(data), "--image-size", "16", "--epochs", "1", "--batch-size", "8"]
        status = main(["train", *fixed, *map(str, arguments)])
        return status, *capsys.readouterr()

    return run
