"""Images of one's own: a folder with one subfolder a class."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np

from lamina.errors import ArgumentError, DataError

ENDINGS = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
PILLOW_MODES = {"grayscale": "L", "rgb": "RGB", "rgba": "RGBA"}
LAYOUT = "a folder with one subfolder a class, and the images of the class in it"


def load_image_folder(
    path: str | os.PathLike[str],
    image_size: int | tuple[int, int] = (256, 256),
    color_mode: str = "rgb",
    workers: int = 4,
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Read a folder with one subfolder a class into memory.

    Classes are numbered in the sorted order of their folders' names, and images come class by class, each class in
    the sorted order of its paths, so the same folder always gives the same arrays; `split` shuffles them. Folders
    inside a class's folder belong to the class. Hidden files and folders, and files that are not images by their
    ending, are passed over. Photographs are turned upright as their EXIF tag says, 16-bit grey becomes 8-bit.

    Args:
        path: the folder.
        image_size: `(height, width)` of the result, or one number for both. Images of another size are resized
            without keeping their proportions: bilinear interpolation, averaging where the image shrinks.
        color_mode: `"rgb"`, `"rgba"` or `"grayscale"`: 3, 4 or 1 channels.
        workers: how many threads decode images.

    Returns:
        `x, y, class_names`: uint8 images of shape `(n, height, width, channels)`, int64 class numbers of shape
        `(n,)`, and the list of the classes' names.

    Raises:
        ArgumentError: `image_size`, `color_mode` or `workers` has a value that cannot be used.
        DataError: `path` is missing, is a file, or has no subfolders; a class is empty; an image cannot be read. The
            message names the folder or file.

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for name in ("cat", "dog"):
        ...         Path(folder, name).mkdir()
        ...         Image.new("RGB", (32, 24)).save(Path(folder, name, "0.png"))
        ...     x, y, class_names = load_image_folder(folder, image_size=(16, 16))
        >>> x.shape, y, class_names
        ((2, 16, 16, 3), array([0, 1]), ['cat', 'dog'])
    """
    height, width = _checked_size(image_size)
    if color_mode not in PILLOW_MODES:
        raise ArgumentError(
            "Unknown color mode.",
            expected="one of " + ", ".join(map(repr, PILLOW_MODES)),
            received=repr(color_mode),
            fix="color_mode='rgb'",
        )
    if workers < 1:
        raise ArgumentError(
            "Nobody would decode the images.",
            expected="at least 1 worker",
            received=f"workers={workers}",
            fix="workers=4",
        )
    classes = _images_by_class(Path(path).expanduser())
    files = [file for members in classes.values() for file in members]
    mode = PILLOW_MODES[color_mode]
    x = np.empty((len(files), height, width, len(mode)), np.uint8)
    with ThreadPoolExecutor(workers) as pool:
        # map hands results and errors on in order: whatever the threads' timing, the first bad file is the one named.
        for row, image in enumerate(pool.map(partial(_read_image, size=(width, height), mode=mode), files)):
            x[row] = image.reshape(x.shape[1:])
    y = np.repeat(np.arange(len(classes)), [len(members) for members in classes.values()])
    return x, y.astype(np.int64), list(classes)


def _checked_size(image_size: int | tuple[int, int]) -> tuple[int, int]:
    pair = tuple(image_size) if isinstance(image_size, (tuple, list)) else (image_size, image_size)
    if len(pair) != 2 or not all(isinstance(side, (int, np.integer)) and side > 0 for side in pair):
        raise ArgumentError(
            "This is no image size.",
            expected="(height, width) in pixels, or one number for both",
            received=repr(image_size),
            fix="image_size=(256, 256)",
        )
    return int(pair[0]), int(pair[1])


def _images_by_class(folder: Path) -> dict[str, list[Path]]:
    """The images under each class's name; at least one class, at least one image in each."""
    if not folder.exists():
        raise DataError(f"The folder '{folder}' does not exist.", expected=LAYOUT, fix="check the path")
    if not folder.is_dir():
        raise DataError(f"'{folder}' is a file, not a folder.", expected=LAYOUT, fix="pass the folder's path")
    try:
        entries = sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
        classes = {entry.name: sorted(_files_under(entry)) for entry in entries if entry.is_dir()}
    except OSError as error:
        raise DataError(
            f"The folder '{error.filename or folder}' cannot be read: {error.strerror or error}.",
            fix="check its permissions",
        ) from error
    if not classes:
        raise DataError(
            f"The folder '{folder}' has no subfolders.",
            expected=LAYOUT,
            received=f"{len(entries)} file(s) and no subfolder" if entries else "an empty folder",
            fix="move the images of each class into a subfolder with the class's name",
        )
    images = {name: [f for f in files if f.suffix.lower() in ENDINGS] for name, files in classes.items()}
    for name, found in images.items():
        if not found:
            raise DataError(
                f"The class '{name}' has no images: '{folder / name}' is empty of them.",
                expected="at least one file that ends in " + ", ".join(ENDINGS),
                received=f"{len(classes[name])} other file(s)",
                fix="add images to it, or remove the subfolder",
            )
    return images


def _files_under(folder: Path) -> Iterator[Path]:
    """Every file in `folder` and below that is not hidden."""
    for entry in folder.iterdir():
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            yield from _files_under(entry)
        else:
            yield entry


def _read_image(path: Path, size: tuple[int, int], mode: str) -> np.ndarray:
    """The image in `path`, upright, in Pillow's `mode` and of `size` (width, height)."""
    from PIL import Image, ImageOps

    try:
        with Image.open(path) as opened:
            image = ImageOps.exif_transpose(opened)
            if image.mode == "F":
                raise ValueError("floating-point pixels have no agreed range")
            if image.mode.startswith("I"):  # 16 bits, which Pillow's convert would clip to white
                image = Image.fromarray((np.asarray(image).clip(0, 0xFFFF) >> 8).astype(np.uint8))
            return np.asarray(image.convert(mode).resize(size, Image.Resampling.BILINEAR))
    except Exception as error:  # each of Pillow's decoders fails in its own way: SyntaxError, struct.error, ...
        raise DataError(
            f"The image '{path}' cannot be read.",
            received=f"{type(error).__name__}: {error}",
            fix="replace the file or remove it",
        ) from error
