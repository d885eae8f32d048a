"""SimpleRNN, LSTM, GRU: what they are made of, which kernel runs, dropout in sequences, precision, tracing."""

from __future__ import annotations

import contextlib
import copy
from typing import Any

import pytest
import torch
from torch.overrides import TorchFunctionMode

from lamina.engine.masking import get_mask
from lamina.errors import ArgumentError, ShapeError
from lamina.kernels import native
from lamina.kernels import rnn as kernels
from lamina.layers.core import Dense, Masking
from lamina.layers.embedding import Embedding
from lamina.layers.input import Input
from lamina.layers.recurrent import GRU, LSTM, SimpleRNN
from lamina.models import Model, Sequential

LAYERS = [SimpleRNN, LSTM, GRU]
KERNELS = {"SimpleRNN": "rnn_tanh", "LSTM": "lstm", "GRU": "gru"}
MASK = torch.tensor([[1, 1, 0, 0, 0], [0, 1, 0, 1, 1]]).bool()


class Calls(TorchFunctionMode):
    """The names of torch's functions as they are called."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_function__(self, func, types, args=(), kwargs=None):
        self.names.append(getattr(func, "__name__", ""))
        return func(*args, **(kwargs or {}))


def kernels_called(layer: Any, *args: Any, **kwargs: Any) -> list[str]:
    """Which kernels over whole sequences a call takes: lamina's own, or one of torch's."""
    with Calls() as calls:
        layer(*args, **kwargs)
    return [name for name in calls.names if name in ("sequence.default", "lstm", "gru", "rnn_tanh", "rnn_relu")]


OURS = "sequence.default" if native.library("recurrence") else None  # there may be no compiler


@pytest.mark.parametrize("cls", LAYERS)
@pytest.mark.parametrize("ours", [True, False])
def test_the_usual_case_takes_one_kernel_with_and_without_a_mask(cls, ours):
    x = torch.randn(2, 5, 3)
    name = KERNELS[cls.__name__]
    with contextlib.nullcontext() if ours else native.switched_off():
        for options in ({}, {"return_sequences": True}, {"go_backwards": True}, {"use_bias": False}, {"dropout": 0.5}):
            layer = cls(4, **options)
            layer(x)
            for call in ({}, {"mask": MASK}, {"training": True}):
                assert kernels_called(layer, x, **call) == [(ours and OURS) or name]


@pytest.mark.parametrize(
    "layer",
    [
        SimpleRNN(4, activation="sigmoid"),
        LSTM(4, activation="relu"),
        LSTM(4, recurrent_activation="hard_sigmoid"),
        LSTM(4, use_cudnn=False),
        GRU(4, reset_after=False),
        GRU(4, activation=None),
        GRU(4, use_cudnn=False),
    ],
)
def test_anything_else_takes_the_loop(layer):
    assert kernels_called(layer, torch.randn(2, 5, 3)) == []


def test_recurrent_dropout_takes_the_loop_in_training_alone():
    layer, x = LSTM(4, recurrent_dropout=0.5), torch.randn(2, 5, 3)
    assert kernels_called(layer, x) == [OURS or "lstm"]
    assert kernels_called(layer, x, training=True) == []


def test_a_simple_rnn_with_relu_has_a_kernel():
    assert kernels_called(SimpleRNN(4, activation="relu"), torch.randn(2, 5, 3)) == [OURS or "rnn_relu"]


@pytest.mark.parametrize("cls, name", [(SimpleRNN, "simple_rnn"), (LSTM, "lstm"), (GRU, "gru")])
def test_the_layers_result_is_the_kernels(cls, name, monkeypatch):
    layer, x = cls(4, return_sequences=True), torch.randn(2, 5, 3)
    assert layer(x).abs().sum() > 0
    function = getattr(kernels, name)
    monkeypatch.setattr(kernels, name, lambda *args: tuple(0 * r for r in function(*args)))
    assert layer(x).abs().sum() == 0


@pytest.mark.parametrize("choice", ["auto", True, False])
def test_use_cudnn_changes_nothing_but_the_way(choice):
    x = torch.randn(2, 5, 3)
    one, other = LSTM(4, return_sequences=True), LSTM(4, return_sequences=True, use_cudnn=choice)
    one.build((None, 5, 3)), other.build((None, 5, 3))
    other.set_weights(one.get_weights())
    torch.testing.assert_close(other(x, mask=MASK), one(x, mask=MASK))


@pytest.mark.parametrize("cls", [LSTM, GRU])
def test_an_unknown_choice_of_kernels_is_refused(cls):
    with pytest.raises(ArgumentError, match=rf"{cls.__name__} does not know this choice[\s\S]*use_cudnn='always'"):
        cls(4, use_cudnn="always")


def test_the_loop_has_second_derivatives():
    layer, x = LSTM(4, use_cudnn=False), torch.randn(2, 5, 3, requires_grad=True)
    (slope,) = torch.autograd.grad(layer(x).sum(), x, create_graph=True)
    slope.square().sum().backward()
    assert x.grad is not None and x.grad.abs().sum() > 0


# ------------------------------------------------------------------ dropout
@pytest.mark.parametrize("cls", LAYERS)
@pytest.mark.parametrize("rates", [{"dropout": 0.5}, {"recurrent_dropout": 0.5}])
def test_dropout_differs_between_calls_and_is_off_at_inference(cls, rates):
    layer, x = cls(8, **rates), torch.randn(4, 5, 6)
    torch.testing.assert_close(layer(x), layer(x))
    assert not torch.allclose(layer(x, training=True), layer(x, training=True))
    layer.train()
    assert not torch.allclose(layer(x), layer(x))


def test_one_dropout_mask_serves_all_steps_of_a_sequence():
    """With no way from step to step, equal steps give equal outputs, and each row has a mask of its own."""
    layer = SimpleRNN(20, activation=None, recurrent_initializer="zeros", dropout=0.5, return_sequences=True)
    y = layer(torch.rand(1, 1, 30).expand(3, 4, 30), training=True)
    torch.testing.assert_close(y, y[:, :1].expand_as(y))
    assert not torch.allclose(y[0], y[1])


@pytest.mark.parametrize("cls", LAYERS)
def test_recurrent_dropout_is_the_same_at_every_step(cls):
    """Each step must be the cell's step with the masks of the first."""
    layer = cls(4, recurrent_dropout=0.5, dropout=0.3, return_sequences=True, return_state=True)
    x = torch.randn(3, 6, 5)
    layer(x)
    torch.manual_seed(3)
    y, *_ = layer(x, training=True)
    torch.manual_seed(3)
    cell, states = layer.cell, layer.get_initial_state(3)
    for step in range(6):
        output, states = cell(x[:, step], states, training=True)
        torch.testing.assert_close(output, y[:, step])


def test_dropout_keeps_the_mean():
    layer = SimpleRNN(
        1, "linear", use_bias=False, kernel_initializer="ones", recurrent_initializer="zeros", dropout=0.4
    )
    y = layer(torch.ones(200, 2, 500), training=True)
    assert y.mean().item() == pytest.approx(500, rel=0.01)
    assert y.std().item() == pytest.approx((500 * 0.4 / 0.6) ** 0.5, rel=0.15)


def test_a_seed_repeats_the_dropout():
    x = torch.randn(2, 5, 6)
    layers = [GRU(4, dropout=0.5, recurrent_dropout=0.3, seed=seed) for seed in (1, 1, 2)]
    for layer in layers:
        layer.build((None, 5, 6))
        layer.set_weights(layers[0].get_weights())
    a, b, c = (layer(x, training=True) for layer in layers)
    torch.testing.assert_close(a, b)
    assert not torch.allclose(a, c) and not torch.allclose(a, layers[0](x, training=True))


# ------------------------------------------------------------------ arguments
@pytest.mark.parametrize("cls", LAYERS)
def test_arguments_of_the_cell_are_the_layers_own(cls):
    layer = cls(4, activation="relu", dropout=0.2, kernel_regularizer="l2", seed=7, implementation=1)
    assert (layer.units, layer.dropout, layer.seed, layer.use_bias) == (4, 0.2, 7, True)
    assert layer.activation is layer.cell.activation and layer.kernel_regularizer is layer.cell.kernel_regularizer
    assert layer.cell.implementation == 1
    layer.build((None, None, 3))
    assert len(layer.losses) == 1


def test_a_frozen_layer_has_a_frozen_cell():
    layer = LSTM(4, trainable=False)
    layer.build((None, 5, 3))
    assert not layer.cell.trainable and len(layer.non_trainable_weights) == 3


@pytest.mark.parametrize("cls", LAYERS)
def test_units_must_be_positive(cls):
    with pytest.raises(ArgumentError, match=r"needs units above zero[\s\S]*units=0"):
        cls(0)


@pytest.mark.parametrize("cls", LAYERS)
def test_shapes_that_do_not_fit_are_refused(cls):
    layer = cls(4)
    with pytest.raises(ShapeError, match=r"cannot take this input[\s\S]*expected: 3 axes"):
        layer(torch.ones(2, 3))
    layer(torch.ones(2, 5, 3))
    for features in (2, 6):
        with pytest.raises(ShapeError, match=rf"steps, 3\), at least one step[\s\S]*shape \(2, 5, {features}\)"):
            layer(torch.ones(2, 5, features))
    with pytest.raises(ShapeError, match=r"expected: 3 axes with 3 on axis -1[\s\S]*received: shape \(None, 5, 6\)"):
        layer(Input((5, 6)))
    with pytest.raises(ShapeError, match=r"at least one step[\s\S]*shape \(2, 0, 3\)"):
        layer(torch.ones(2, 0, 3))
    for shape in ((2, 3), (1, 4)):
        states = [torch.ones(shape)] * len(layer.state_size)
        with pytest.raises(
            ShapeError, match=rf"initial state does not fit[\s\S]*\(2, 4\)[\s\S]*\({shape[0]}, {shape[1]}\)"
        ):
            layer(torch.ones(2, 5, 3), initial_state=states)


@pytest.mark.parametrize("cls", LAYERS)
def test_activity_regularizers_see_the_output(cls):
    layer = cls(4, activity_regularizer="l2", return_sequences=True)
    y = layer(torch.randn(3, 5, 2))
    torch.testing.assert_close(layer.losses[0], 0.01 * y.square().sum() / 3)


@pytest.mark.parametrize("cls", LAYERS)
def test_zero_output_for_mask_is_taken_and_written_down(cls):
    layer = cls(4, return_sequences=True, zero_output_for_mask=True)
    y = layer(torch.randn(2, 5, 3), mask=MASK)
    assert not y[~MASK].any() and y[MASK].all()
    assert cls.from_config(layer.get_config()).zero_output_for_mask
    assert "use_cudnn" not in layer.get_config()


# ------------------------------------------------------------------ dtypes and models
@pytest.mark.parametrize("cls", LAYERS)
def test_doubles_and_whole_numbers_are_taken(cls):
    layer = cls(4)
    x = torch.randint(0, 3, (2, 5, 3))
    wanted = layer(x.float())
    for given in (x, x.double(), x.numpy(), x.double().numpy()):
        torch.testing.assert_close(layer(given), wanted)
    layer.double()
    assert layer(x.double()).dtype is torch.float64
    torch.testing.assert_close(layer(x.double()).float(), wanted)


@pytest.mark.parametrize("cls", LAYERS)
@pytest.mark.parametrize("options", [{}, {"activation": "elu"}])
def test_mixed_precision_computes_short_and_keeps_long_weights(cls, options):
    layer = cls(4, return_state=True, return_sequences=True, dtype="mixed_bfloat16", **options)
    plain = cls(4, return_state=True, return_sequences=True, **options)
    x = torch.randn(2, 5, 3)
    found = layer(x, mask=MASK)
    plain(x)
    plain.set_weights(layer.get_weights())
    assert {w.dtype for w in layer.weights} == {torch.float32}
    for a, b in zip(found, plain(x, mask=MASK), strict=True):
        assert a.dtype is torch.bfloat16
        torch.testing.assert_close(a.float(), b, rtol=0.05, atol=0.05)
    sum(y.float().sum() for y in found).backward()
    assert all(p.grad is not None and p.grad.dtype is torch.float32 for p in layer.parameters())
    symbolic = layer(Input((5, 3)))
    assert [s.dtype for s in symbolic] == [torch.bfloat16] * len(found)


def test_masks_of_embedding_and_masking_reach_the_layer():
    ids = torch.tensor([[3, 4, 0, 0], [0, 5, 6, 0]])
    model = Sequential([Embedding(9, 3, mask_zero=True), LSTM(4, return_sequences=True), GRU(2)])
    y = model(ids)
    table, lstm, gru = model.layers
    first = lstm(table.embeddings[ids], mask=ids != 0)
    torch.testing.assert_close(y, gru(first, mask=ids != 0))
    assert not torch.allclose(y, gru(lstm(table.embeddings[ids])))
    assert get_mask(lstm(table(ids))).tolist() == (ids != 0).tolist()
    x = torch.tensor([[[1.0], [0.0], [2.0]]])
    layer = SimpleRNN(3)
    torch.testing.assert_close(layer(Masking()(x)), layer(x[:, [0, 2]]))


def test_a_decoder_takes_the_encoders_states_and_its_own_mask():
    """Keras loses the decoder's mask here."""
    source, target = Input((None, 3)), Input((None, 2))
    _, h, c = LSTM(4, return_state=True)(source)
    model = Model([source, target], LSTM(4)(Masking()(target), initial_state=[h, c]))
    x, y = torch.randn(2, 5, 3), torch.randn(2, 4, 2)
    y[:, 2:] = 0
    torch.testing.assert_close(model([x, y]), model([x, y[:, :2]]))


def test_a_model_learns_to_add():
    """A plain torch loop over a model with a recurrent layer."""
    model = Sequential([Input((None, 1)), LSTM(12), Dense(1)])
    optimizer = torch.optim.Adam(model.parameters(), 0.02)
    losses = []
    model.train()
    for _ in range(120):
        x = torch.rand(32, 5, 1)
        loss = (model(x) - x.sum(1)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert sum(losses[-5:]) < 0.05 * sum(losses[:5])


@pytest.mark.parametrize("cls", LAYERS)
def test_copies_and_files_carry_the_weights(cls):
    layer, x = cls(4), torch.randn(2, 5, 3)
    wanted = layer(x)
    torch.testing.assert_close(copy.deepcopy(layer)(x), wanted)
    other = cls(4)
    other(x)
    other.load_state_dict(layer.state_dict())
    torch.testing.assert_close(other(x), wanted)
    assert list(layer.state_dict()) == ["cell.kernel", "cell.recurrent_kernel", "cell.bias"]


@pytest.mark.parametrize("cls", LAYERS)
def test_it_traces_in_training_and_for_export(cls):
    layer = cls(4, return_sequences=True, return_state=True, dropout=0.0)
    x = torch.randn(2, 5, 3)
    wanted = layer(x, mask=MASK)
    torch._dynamo.reset()
    compiled = torch.compile(layer, fullgraph=True, backend="eager")
    found = compiled(x, mask=MASK)
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b)
    sum(y.sum() for y in found).backward()
    by_compiled = [p.grad.clone() for p in layer.parameters()]
    layer.zero_grad()
    sum(y.sum() for y in wanted).backward()
    for a, p in zip(by_compiled, layer.parameters(), strict=True):
        torch.testing.assert_close(a, p.grad, rtol=1e-5, atol=1e-5)
    exported = torch.export.export(layer, (x,), {"mask": MASK})
    assert not any("lamina" in str(node.target) for node in exported.graph.nodes)  # runs where lamina is not
    for a, b in zip(exported.module()(x, mask=MASK), wanted, strict=True):
        torch.testing.assert_close(a, b)
