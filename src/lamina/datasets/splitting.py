"""Holding out a part of a labelled data set."""

from __future__ import annotations

from typing import Any

import numpy as np

from lamina.errors import ArgumentError, DataError

Rows = tuple[Any, Any]


def split(x: Any, y: Any, fraction: float = 0.2, seed: int = 0) -> tuple[Rows, Rows]:
    """Hold out a fraction of the rows, with every class in its share, and shuffle both parts.

    A class of `n` rows gives `fraction * n` of them, rounded down or up so that the total is right, and always keeps
    one row for training. The same arguments give the same rows in the same order, on every machine and NumPy.

    Args:
        x: an array or tensor of inputs, one a row.
        y: the class of each row: integers, or anything else that NumPy can sort, such as strings.
        fraction: the part to hold out, between 0 and 1.
        seed: which of the many such splits to make.

    Returns:
        `(x_train, y_train), (x_test, y_test)`.

    Raises:
        ArgumentError: `fraction` is not between 0 and 1.
        DataError: `x` and `y` differ in length, `y` is not flat, or there are too few rows to hold one out.

    Example:
        >>> x, y = np.arange(10), np.array([0, 0, 0, 0, 0, 1, 1, 1, 1, 1])
        >>> (x_train, y_train), (x_test, y_test) = split(x, y, 0.4)
        >>> np.bincount(y_train), np.bincount(y_test)
        (array([3, 3]), array([2, 2]))
    """
    if not 0 < fraction < 1:
        raise ArgumentError(
            "This fraction cannot be held out.",
            expected="a number between 0 and 1, both left out",
            received=repr(fraction),
            fix="fraction=0.2",
        )
    labels = np.asarray(y)
    if labels.ndim != 1 or len(labels) != len(x):
        raise DataError(
            "Inputs and labels do not fit together.",
            expected=f"one label for each of the {len(x)} rows of x, shape ({len(x)},)",
            received=f"y of shape {labels.shape}",
            fix="pass class numbers, not one-hot rows: y.argmax(axis=-1)" if labels.ndim > 1 else "check x and y",
        )
    train, test = _split_indices(labels, fraction, seed)
    if not len(test):
        raise DataError(
            "There are too few rows to hold any out.",
            expected="a class of at least 2 rows, and a fraction of them that rounds to at least 1",
            received=f"{len(labels)} rows in {len(np.unique(labels))} classes, fraction={fraction}",
            fix="add rows, or hold out a larger fraction",
        )
    return (x[train], y[train]), (x[test], y[test])


def _split_indices(labels: np.ndarray, fraction: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Shuffled row numbers of the two parts."""
    # RandomState, not default_rng: NumPy promises that its numbers never change.
    random = np.random.RandomState(seed)
    _, classes, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    exact = fraction * sizes
    held_out = np.floor(exact).astype(np.int64)
    missing = round(float(exact.sum())) - int(held_out.sum())
    held_out[np.argsort(held_out - exact, kind="stable")[:missing]] += 1
    held_out = np.minimum(held_out, sizes - 1)
    rows = [random.permutation(np.flatnonzero(classes == number)) for number in range(len(sizes))]
    test = np.concatenate([of_class[:count] for of_class, count in zip(rows, held_out, strict=True)])
    train = np.concatenate([of_class[count:] for of_class, count in zip(rows, held_out, strict=True)])
    return random.permutation(train), random.permutation(test)
