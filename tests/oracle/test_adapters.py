"""Batches against those of Keras's data adapters."""

from __future__ import annotations

import keras
import numpy as np
import pandas as pd
import pytest
import torch
from keras.src.trainers.data_adapters import get_data_adapter
from keras.src.trainers.data_adapters.array_slicing import train_validation_split

from lamina.training.adapters import make_adapter
from lamina.training.batches import pack_x_y_sample_weight, unpack_x_y_sample_weight
from lamina.training.memory import split_validation
from lamina.training.pydataset import PyDataset

rng = np.random.default_rng(0)
FEATURES = rng.normal(size=(11, 3))
LABELS = rng.integers(0, 4, 11)
WEIGHTS = rng.random(11)
CLASS_WEIGHT = {0: 0.5, 2: 3.0}


def plain(value):
    """Tensors and arrays as lists, in nests of the same form."""
    if isinstance(value, dict):
        return {key: plain(member) for key, member in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(member) for member in value]
    return value if value is None else np.asarray(value).astype("float64").round(5).tolist()


def ours(*data, **options):
    return [plain(batch) for batch in make_adapter(*data, **options).epoch(torch.device("cpu"))]


def theirs(*data, **options):
    batches = get_data_adapter(*data, **options).get_numpy_iterator()
    return [plain(keras.utils.unpack_x_y_sample_weight(batch)) for batch in batches]


@pytest.mark.parametrize(
    "data",
    [
        (FEATURES,),
        (FEATURES, LABELS),
        (FEATURES, LABELS, WEIGHTS),
        (FEATURES.astype("float16"), LABELS.astype("uint8")),
        ([FEATURES, LABELS], {"a": LABELS, "b": FEATURES}),
        ({"left": FEATURES, "right": torch.from_numpy(FEATURES)}, [LABELS, FEATURES]),
        (pd.DataFrame(FEATURES, columns=list("abc")), pd.Series(LABELS), pd.Series(WEIGHTS)),
        (dict(pd.DataFrame(FEATURES, columns=list("abc"))), pd.DataFrame({"y": LABELS})),
    ],
    ids=["x", "x y", "x y w", "short types", "list, dict", "dict, list", "frames", "columns"],
)
@pytest.mark.parametrize("batch_size", [None, 4, 11])
def test_arrays_give_the_same_batches(data, batch_size):
    assert ours(*data, batch_size=batch_size) == theirs(*data, batch_size=batch_size)


@pytest.mark.parametrize(
    "y",
    [LABELS, LABELS[:, None], np.eye(4)[LABELS], LABELS.astype("float32")],
    ids=["flat", "column", "one-hot", "float"],
)
def test_class_weights_give_the_same_weights(y):
    arguments = {"class_weight": CLASS_WEIGHT, "batch_size": 4}
    assert ours(FEATURES, y, **arguments) == theirs(FEATURES, y, None, **arguments)


def batches(kind):
    class Data(kind):
        def __len__(self):
            return 3

        def __getitem__(self, index):
            return FEATURES[4 * index : 4 * index + 4], LABELS[4 * index : 4 * index + 4]

    return Data


@pytest.mark.parametrize("options", [{}, {"class_weight": CLASS_WEIGHT}], ids=str)
@pytest.mark.parametrize("workers", [1, 2])
def test_a_pydataset_gives_the_same_batches(options, workers):
    found = ours(batches(PyDataset)(workers=workers), **options)
    assert found == theirs(batches(keras.utils.PyDataset)(workers=workers), **options)
    assert found == ours(batches(keras.utils.PyDataset)(workers=workers), **options)


def test_a_generator_gives_the_same_batches():
    def generator():
        for start in (0, 4, 8):
            yield FEATURES[start : start + 4], LABELS[start : start + 4], WEIGHTS[start : start + 4]

    assert ours(generator()) == theirs(generator())


def test_a_loader_gives_the_same_batches():
    data = torch.utils.data.TensorDataset(torch.from_numpy(FEATURES), torch.from_numpy(LABELS))
    loader = torch.utils.data.DataLoader(data, batch_size=4)
    assert ours(loader) == theirs(loader)


@pytest.mark.parametrize("fraction", [0.1, 0.25, 0.5, 0.9, 1 / 3])
def test_the_same_samples_are_held_out(fraction):
    train, validation = split_validation(FEATURES, {"y": LABELS}, WEIGHTS, fraction)
    expected = train_validation_split((FEATURES, {"y": LABELS}, WEIGHTS), fraction)
    for found, sliceables in ((train, expected[0]), (validation, expected[1])):
        keras_part = keras.tree.map_structure(lambda s: s[:], sliceables)
        assert plain(found) == plain(keras_part)


@pytest.mark.parametrize("data", [1, (1,), (1, 2), (1, 2, 3), [1, 2]])
def test_tuples_are_taken_apart_and_put_together_alike(data):
    found = unpack_x_y_sample_weight(data)
    assert found == keras.utils.unpack_x_y_sample_weight(data)
    assert pack_x_y_sample_weight(*found) == keras.utils.pack_x_y_sample_weight(*found)
