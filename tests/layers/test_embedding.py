"""Embedding: rows by number, in every dtype that numbers come in, with or without a mask."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lamina.engine.masking import get_mask
from lamina.errors import ArgumentError, WeightsError
from lamina.layers import Dense, Embedding, Flatten, Input
from lamina.models import Model, Sequential

IDS = torch.tensor([[1, 4, 0], [2, 2, 3]])


def test_rows_equal_torchs_embedding():
    layer, module = Embedding(5, 3), torch.nn.Embedding(5, 3)
    layer.build()
    layer.set_weights([module.weight.detach()])
    assert torch.equal(layer(IDS), module(IDS))


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.int16, torch.uint8, torch.float32, torch.float64])
def test_whole_numbers_come_in_any_dtype(dtype):
    layer = Embedding(5, 3)
    assert torch.equal(layer(IDS.to(dtype)), layer.embeddings[IDS])
    assert torch.equal(layer(IDS.to(dtype).numpy()), layer.embeddings[IDS])


def test_gradients_reach_only_the_rows_that_were_read():
    layer = Embedding(5, 3)
    layer(IDS).sum().backward()
    assert layer.embeddings.grad.sum(dim=1).tolist() == [3.0, 3.0, 6.0, 3.0, 3.0]


def test_a_mask_hides_zero():
    y = Embedding(5, 3, mask_zero=True)(IDS)
    assert torch.equal(get_mask(y), IDS != 0)
    assert get_mask(Embedding(5, 3)(IDS)) is None


def test_initial_values_may_be_given():
    table = np.arange(15.0).reshape(5, 3)
    for given in (table, [table], torch.from_numpy(table)):
        layer = Embedding(5, 3, weights=given)
        assert torch.equal(layer(IDS), torch.from_numpy(table).float()[IDS])
    with pytest.raises(WeightsError, match="A weight of Embedding 'e' has another shape"):
        Embedding(5, 4, weights=[table], name="e")(IDS)


@pytest.mark.parametrize("arguments", [(0, 3), (5, 0), (-1, 3), (5, 2.5), ("5", 3)])
def test_sizes_that_are_none_are_refused(arguments):
    with pytest.raises(ArgumentError, match="Embedding needs (input|output)_dim above zero"):
        Embedding(*arguments)


def test_a_number_outside_the_table_is_an_error_that_names_the_layer():
    layer = Embedding(5, 3, name="words")
    layer.build()
    for ids in (torch.tensor([[5]]), torch.tensor([[-1]])):
        with pytest.raises(IndexError, match="index out of range") as caught:
            layer(ids)
        assert "In layer 'words' (Embedding)" in "".join(getattr(caught.value, "__notes__", caught.value.args))


def test_a_length_may_be_stated_as_keras_2_stated_it():
    assert Sequential([Embedding(5, 3, input_length=4), Flatten()]).output_shape == (None, 12)


def test_a_config_goes_round_without_the_values():
    layer = Embedding(5, 3, mask_zero=True, embeddings_regularizer="l2", weights=np.ones((5, 3)), name="e")
    config = layer.get_config()
    assert "weights" not in config and config["mask_zero"] is True
    other = Embedding.from_config(config)
    other.build()
    assert other.get_config() == config and len(other.losses) == 1


def test_the_table_is_a_weight_like_any_other():
    layer = Embedding(5, 3, embeddings_constraint="non_neg", embeddings_initializer="ones")
    layer.build()
    assert layer.count_params() == 15 and layer.embeddings.dtype is torch.float32
    ((weight, _),) = layer.constrained_weights()
    assert weight is layer.embeddings
    x = Input((4,), dtype="int32")
    assert Model(x, Dense(2)(layer(x))).output_shape == (None, 4, 2)


def test_numbers_of_any_rank_get_rows():
    layer = Embedding(5, 3)
    assert layer(torch.tensor(2)).shape == (3,)
    assert layer(IDS[None]).shape == (1, 2, 3, 3)
    assert layer.compute_output_shape((None, 7)) == (None, 7, 3)


def test_rows_have_the_dtype_of_the_policy():
    assert Embedding(5, 3, dtype="float64")(IDS).dtype is torch.float64
    assert Embedding(5, 3, dtype="mixed_bfloat16").build() is None
