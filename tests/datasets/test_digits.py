"""The packaged digits: complete, split as documented, and the very file that DIGITS.md describes."""

from __future__ import annotations

import hashlib
import re
from importlib import resources

import numpy as np
import pytest

import lamina.datasets
from lamina.datasets import digits

# The published counts of the data set's test part, for the digits 0 to 9.
PUBLISHED_COUNTS = [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]


@pytest.fixture(scope="module")
def parts() -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    return digits.load_data()


def test_the_data_set_is_reached_through_the_package():
    assert lamina.datasets.digits.load_data is digits.load_data


def test_there_are_1797_digits_with_the_published_count_of_each(parts):
    (_, y_train), (_, y_test) = parts
    assert np.bincount(np.concatenate([y_train, y_test])).tolist() == PUBLISHED_COUNTS


def test_a_fifth_is_held_out(parts):
    (x_train, y_train), (x_test, y_test) = parts
    assert (len(x_train), len(y_train)) == (1438, 1438)
    assert (len(x_test), len(y_test)) == (359, 359)


def test_every_class_is_held_out_in_its_share_within_one(parts):
    (_, _), (_, y_test) = parts
    assert np.abs(np.bincount(y_test) - 0.2 * np.array(PUBLISHED_COUNTS)).max() < 1


def test_no_held_out_image_is_also_trained_on(parts):
    (x_train, _), (x_test, _) = parts
    train, test = ({image.tobytes() for image in part} for part in (x_train, x_test))
    assert len(train) == 1438  # no image occurs twice, so bytes identify it
    assert not train & test


def test_images_are_bytes_from_0_to_16_and_labels_are_integers(parts):
    for x, y in parts:
        assert x.dtype == np.uint8 and x.shape[1:] == (8, 8, 1)
        assert (x.min(), x.max()) == (0, 16)
        assert y.dtype == np.int64 and y.shape == x.shape[:1]


def test_images_carry_the_labels_of_their_own_digits(parts):
    """The nearest class mean gets 9 in 10 held-out digits right; had rows been mixed up, it would get 1 in 10."""
    (x_train, y_train), (x_test, y_test) = parts
    means = np.stack([x_train[y_train == digit].mean(0) for digit in range(10)])  # (10, 8, 8, 1)
    distances = ((x_test[:, None] - means) ** 2).sum((2, 3, 4))  # (359, 10)
    assert (distances.argmin(-1) == y_test).mean() > 0.85


def test_classes_come_shuffled(parts):
    (_, y_train), (_, y_test) = parts
    assert len(set(y_train[:100])) == 10 and len(set(y_test[:100])) == 10


def test_the_file_is_the_one_that_its_documentation_describes():
    folder = resources.files("lamina.datasets")
    stated = re.search(r"`([0-9a-f]{64})`", (folder / "DIGITS.md").read_text(encoding="utf-8"))
    assert stated is not None
    assert hashlib.sha256((folder / "digits.npz").read_bytes()).hexdigest() == stated.group(1)


def test_the_documentation_states_source_and_licence():
    text = (resources.files("lamina.datasets") / "DIGITS.md").read_text(encoding="utf-8")
    assert "https://doi.org/10.24432/C50P49" in text and "CC BY 4.0" in text
