"""Recurrent layers against Keras on its torch backend and against torch.nn: outputs, states, gradients, configs."""

from __future__ import annotations

import inspect
import itertools
from typing import Any

import keras
import numpy as np
import pytest
import torch

from lamina.engine import nest
from lamina.layers.bidirectional import Bidirectional
from lamina.layers.cells import GRUCell, LSTMCell, SimpleRNNCell
from lamina.layers.core import Dense, Masking
from lamina.layers.embedding import Embedding
from lamina.layers.input import Input
from lamina.layers.recurrent import GRU, LSTM, SimpleRNN
from lamina.layers.rnn import RNN
from lamina.layers.stacked_cells import StackedRNNCells
from lamina.layers.wrappers import TimeDistributed
from lamina.models import Model

B, T, F, U = 5, 6, 4, 3

# One row each: whole, padded on the right, padded on the left, with holes, masked from end to end.
MASK = torch.tensor(
    [[1, 1, 1, 1, 1, 1], [1, 1, 1, 0, 0, 0], [0, 0, 1, 1, 1, 1], [0, 1, 0, 1, 1, 0], [0, 0, 0, 0, 0, 0]]
).bool()

KINDS: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "simple": (SimpleRNN, keras.layers.SimpleRNN, {}),
    "lstm": (LSTM, keras.layers.LSTM, {}),
    "gru": (GRU, keras.layers.GRU, {}),
    "gru reset before": (GRU, keras.layers.GRU, {"reset_after": False}),
}
CELLS: dict[str, tuple[Any, Any]] = {
    "simple": (SimpleRNNCell, keras.layers.SimpleRNNCell),
    "lstm": (LSTMCell, keras.layers.LSTMCell),
    "gru": (GRUCell, keras.layers.GRUCell),
}


def grid(*axes: Any) -> list[tuple[Any, ...]]:
    return list(itertools.product(*axes))


def sequences(seed: int = 0, *shape: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape or (B, T, F), generator=generator)


def tensors(result: Any) -> list[torch.Tensor]:
    return nest.flatten(result)


def give_equal_weights(ours: Any, theirs: Any) -> None:
    generator = np.random.default_rng(1)
    values = [generator.normal(0, 0.6, w.shape).astype("float32") for w in theirs.weights]
    theirs.set_weights(values)
    ours.set_weights(values)


def outputs_and_gradients(
    layer: Any, parameters: list[torch.Tensor], x: torch.Tensor, state: Any, **kwargs: Any
) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """What a call gives, and the gradients of a sum with fixed weights over all of it."""
    x = x.clone().requires_grad_()
    state = nest.map_nest(lambda s: s.clone().requires_grad_(), state) if state is not None else None
    if state is not None:
        kwargs["initial_state"] = state
    found = tensors(layer(x, **kwargs))
    total = sum((y * sequences(7 + i, *y.shape)).sum() for i, y in enumerate(found))
    leaves = [x, *(nest.flatten(state) if state is not None else []), *parameters]
    gradients = torch.autograd.grad(total, leaves, allow_unused=True)
    return found, [torch.zeros_like(p) if g is None else g for g, p in zip(gradients, leaves, strict=True)]


def expect_equal(found: list[torch.Tensor], wanted: list[torch.Tensor], what: str) -> None:
    assert len(found) == len(wanted)
    for place, (a, b) in enumerate(zip(found, wanted, strict=True)):
        np.testing.assert_allclose(
            a.detach().numpy(), b.detach().numpy(), rtol=1e-5, atol=1e-5, err_msg=f"{what} {place}"
        )


def compare(ours: Any, theirs: Any, x: torch.Tensor | None = None, state: Any = None, **kwargs: Any) -> None:
    """Equal weights in, equal outputs and gradients out."""
    x = sequences() if x is None else x
    for layer in (ours, theirs):
        if not layer.built:
            layer.build(tuple(x.shape))
    give_equal_weights(ours, theirs)
    found, of_ours = outputs_and_gradients(ours, ours.trainable_weights, x, state, **kwargs)
    wanted, of_theirs = outputs_and_gradients(theirs, [w.value for w in theirs.trainable_weights], x, state, **kwargs)
    expect_equal(found, wanted, "output")
    expect_equal(of_ours, of_theirs, "gradient")


def states_for(kind: str) -> list[torch.Tensor]:
    return [sequences(20 + i, B, U) for i in range(2 if kind == "lstm" else 1)]


@pytest.mark.parametrize(
    "kind, return_sequences, go_backwards, masked, given, fast",
    grid(KINDS, *[(False, True)] * 5),
)
def test_a_recurrent_layer_equals_keras(kind, return_sequences, go_backwards, masked, given, fast):
    ours, theirs, more = KINDS[kind]
    options = {**more, "return_sequences": return_sequences, "go_backwards": go_backwards, "return_state": True}
    layer = ours(U, **options)
    layer.use_cudnn = fast  # without it, the loop over the steps
    compare(layer, theirs(U, **options), state=states_for(kind) if given else None, mask=MASK if masked else None)


VARIATIONS: list[dict[str, Any]] = [
    {"activation": "relu"},
    {"activation": None},
    {"activation": "elu", "recurrent_activation": "hard_sigmoid"},
    {"recurrent_activation": "relu"},
    {"use_bias": False},
    {"use_bias": False, "activation": "relu"},
    {"unroll": True},
    {"zero_output_for_mask": True},
    {"return_sequences": False, "zero_output_for_mask": True},
    {"unit_forget_bias": False},
    {"return_state": False},
    {"return_state": False, "return_sequences": False},
]


@pytest.mark.parametrize("kind, options", grid(KINDS, VARIATIONS), ids=str)
def test_every_argument_means_what_it_means_in_keras(kind, options):
    ours, theirs, more = KINDS[kind]
    ours_only = set(options) - set(ours(1).get_config())
    options = {**more, "return_sequences": True, "return_state": True, **options}
    options = {key: value for key, value in options.items() if key not in ours_only}
    compare(ours(U, **options), theirs(U, **options), state=states_for(kind), mask=MASK)
    compare(ours(U, **options), theirs(U, **options))


@pytest.mark.parametrize("kind, masked", grid(KINDS, (False, True)))
def test_a_stateful_layer_goes_on_where_keras_goes_on(kind, masked):
    ours, theirs, more = KINDS[kind]
    # Keras's own short cut writes into states that the gradient still needs.
    loop = {} if kind == "simple" else {"use_cudnn": False}
    a, b = ours(U, stateful=True, **more), theirs(U, stateful=True, **more, **loop)
    for seed in (0, 1, 2):
        compare(a, b, sequences(seed), mask=MASK if masked else None)
        for kept, state in zip(a.states, b.states, strict=True):
            np.testing.assert_allclose(kept.numpy(), state.value.detach().numpy(), rtol=1e-5, atol=1e-5)
    a.reset_states()
    b.reset_state()
    compare(a, b)


@pytest.mark.parametrize("kind, implementation", grid(CELLS, (1, 2)))
def test_a_cell_alone_equals_keras(kind, implementation):
    ours, theirs = CELLS[kind]
    more = {} if kind == "simple" else {"implementation": implementation}
    a, b = ours(U, **more), theirs(U, **more)
    x, states = sequences(0, B, F), states_for(kind)
    for cell in (a, b):
        cell.build((B, F))
    give_equal_weights(a, b)
    expect_equal(tensors(a(x, states)), tensors(b(x, states)), "output")


@pytest.mark.parametrize("kind, masked", grid(CELLS, (False, True)))
def test_rnn_around_a_cell_equals_keras(kind, masked):
    ours, theirs = CELLS[kind]
    options = {"return_sequences": True, "return_state": True}
    compare(RNN(ours(U), **options), keras.layers.RNN(theirs(U), **options), mask=MASK if masked else None)


@pytest.mark.parametrize("return_sequences, go_backwards, masked", grid((False, True), (False, True), (False, True)))
def test_stacked_cells_equal_keras(return_sequences, go_backwards, masked):
    options = {"return_sequences": return_sequences, "go_backwards": go_backwards, "return_state": True}
    ours = RNN([LSTMCell(U), GRUCell(4, reset_after=False), SimpleRNNCell(2)], **options)
    k = keras.layers
    theirs = k.RNN([k.LSTMCell(U), k.GRUCell(4, reset_after=False), k.SimpleRNNCell(2)], **options)
    compare(ours, theirs, mask=MASK if masked else None)


def test_stacked_cells_take_initial_states_as_keras_does():
    state = [[sequences(1, B, U), sequences(2, B, U)], [sequences(3, B, 2)]]
    k = keras.layers
    ours = RNN([LSTMCell(U), GRUCell(2)], return_state=True)
    compare(ours, k.RNN([k.LSTMCell(U), k.GRUCell(2)], return_state=True), state=state, mask=MASK)


class OurCell(SimpleRNNCell):
    """Minimal recurrence, as a user writes it: overriding `call` takes it off the kernels."""

    def call(self, inputs, states):
        new = torch.tanh(inputs @ self.kernel + self.bias) + 0.5 * states[0]
        return 2 * new, [new]


class TheirCell(keras.layers.SimpleRNNCell):
    def call(self, sequence, states, training=False):
        new = keras.ops.tanh(sequence @ self.kernel + self.bias) + 0.5 * states[0]
        return 2 * new, [new]


@pytest.mark.parametrize("zero, masked", grid((False, True), (False, True)))
def test_a_users_cell_equals_keras(zero, masked):
    options = {"return_sequences": True, "return_state": True, "zero_output_for_mask": zero}
    compare(RNN(OurCell(U), **options), keras.layers.RNN(TheirCell(U), **options), mask=MASK if masked else None)


@pytest.mark.parametrize(
    "kind, merge_mode, return_sequences, masked",
    grid(("lstm", "gru"), ("concat", "sum", "mul", "ave", None), (False, True), (False, True)),
)
def test_bidirectional_equals_keras(kind, merge_mode, return_sequences, masked):
    ours, theirs, _ = KINDS[kind]
    compare(
        Bidirectional(ours(U, return_sequences=return_sequences), merge_mode=merge_mode),
        keras.layers.Bidirectional(theirs(U, return_sequences=return_sequences), merge_mode=merge_mode),
        mask=MASK if masked else None,
    )


@pytest.mark.parametrize("merge_mode, masked", grid(("concat", None), (False, True)))
def test_bidirectional_hands_states_in_and_out_as_keras_does(merge_mode, masked):
    state = [sequences(30 + i, B, U) for i in range(4)]
    options = {"return_sequences": True, "return_state": True}
    compare(
        Bidirectional(LSTM(U, **options), merge_mode=merge_mode),
        keras.layers.Bidirectional(keras.layers.LSTM(U, **options), merge_mode=merge_mode),
        state=state,
        mask=MASK if masked else None,
    )


def test_bidirectional_with_another_layer_backwards_equals_keras():
    compare(
        Bidirectional(LSTM(U), backward_layer=SimpleRNN(U, go_backwards=True), merge_mode="sum"),
        keras.layers.Bidirectional(
            keras.layers.LSTM(U), backward_layer=keras.layers.SimpleRNN(U, go_backwards=True), merge_mode="sum"
        ),
    )


def test_bidirectional_around_stacked_cells_equals_keras():
    k = keras.layers
    compare(
        Bidirectional(RNN([LSTMCell(U), GRUCell(2)], return_sequences=True)),
        k.Bidirectional(k.RNN([k.LSTMCell(U), k.GRUCell(2)], return_sequences=True)),
        mask=MASK,
    )


def test_time_distributed_equals_keras():
    compare(
        TimeDistributed(Dense(U, activation="tanh")),
        keras.layers.TimeDistributed(keras.layers.Dense(U, activation="tanh")),
    )
    x = sequences(4, 2, 3, T, F)
    compare(TimeDistributed(LSTM(U)), keras.layers.TimeDistributed(keras.layers.LSTM(U)), x)


def test_a_functional_encoder_and_decoder_with_masks_equals_keras():
    """Embedding's mask runs through two layers and both directions; the encoder's states begin the decoder."""

    def ours() -> Any:
        ids, target = Input((T,), dtype="int64"), Input((4, F))
        x = Embedding(9, F, mask_zero=True)(ids)
        y = Bidirectional(GRU(U, return_sequences=True))(x)
        _, h, c = LSTM(U, return_state=True)(y)
        return Model([ids, target], LSTM(U, return_sequences=True)(Masking()(target), initial_state=[h, c]))

    def theirs() -> Any:
        k = keras.layers
        ids, target = k.Input((T,), dtype="int64"), k.Input((4, F))
        x = k.Embedding(9, F, mask_zero=True)(ids)
        y = k.Bidirectional(k.GRU(U, return_sequences=True))(x)
        _, h, c = k.LSTM(U, return_state=True)(y)
        # Keras loses a mask that rides on the input as soon as initial states are given; here it is told.
        mask = keras.ops.any(keras.ops.not_equal(target, 0.0), axis=-1)
        z = k.LSTM(U, return_sequences=True)(k.Masking()(target), initial_state=[h, c], mask=mask)
        return keras.Model([ids, target], z)

    a, b = ours(), theirs()
    give_equal_weights(a, b)
    ids = torch.tensor([[1, 2, 3, 0, 0, 0], [0, 4, 0, 5, 6, 8], [1, 2, 3, 4, 5, 6]])
    target = sequences(2, 3, 4, F)
    target[0, 2:] = 0.0
    found, wanted = a([ids, target]), b([ids, target])
    expect_equal([found], [wanted], "output")
    of_ours = torch.autograd.grad(found.pow(2).sum(), a.trainable_weights)
    of_theirs = torch.autograd.grad(wanted.pow(2).sum(), [w.value for w in b.trainable_weights])
    expect_equal(list(of_ours), list(of_theirs), "gradient")


# ------------------------------------------------------------------ descriptions
def plain(value: Any) -> Any:
    """A config of Keras's without what only Keras writes: modules, registered names, how it was built."""
    if isinstance(value, dict):
        if value.get("class_name") == "DTypePolicy":
            return value["config"]["name"]
        drop = ("module", "registered_name", "build_config", "quantization_config")
        return {key: plain(v) for key, v in value.items() if key not in drop}
    return [plain(v) for v in value] if isinstance(value, (list, tuple)) else value


CONFIGS = {
    "SimpleRNN": lambda m: m.SimpleRNN(U, activation="relu", kernel_regularizer="l2", dropout=0.2, seed=None),
    "LSTM": lambda m: m.LSTM(U, unit_forget_bias=False, return_state=True, bias_constraint="non_neg"),
    "GRU": lambda m: m.GRU(U, reset_after=False, go_backwards=True, activity_regularizer="l1"),
    "LSTMCell": lambda m: m.LSTMCell(U, recurrent_activation="hard_sigmoid", seed=3),
    "RNN": lambda m: m.RNN([m.LSTMCell(U), m.SimpleRNNCell(2, name="upper")], return_sequences=True, unroll=True),
    "Bidirectional": lambda m: m.Bidirectional(m.GRU(U, name="way"), merge_mode="sum"),
    "TimeDistributed": lambda m: m.TimeDistributed(m.Dense(U, activation="relu")),
}


class Ours:
    """The layers of this test under the names by which Keras has them."""


for _class in (
    SimpleRNN,
    LSTM,
    GRU,
    SimpleRNNCell,
    LSTMCell,
    GRUCell,
    RNN,
    StackedRNNCells,
    Bidirectional,
    TimeDistributed,
    Dense,
):
    setattr(Ours, _class.__name__, _class)


@pytest.mark.parametrize(
    "name",
    "SimpleRNN LSTM GRU SimpleRNNCell LSTMCell GRUCell RNN StackedRNNCells Bidirectional TimeDistributed".split(),
)
def test_arguments_their_order_and_their_defaults_are_kerass(name):
    def of(cls: Any) -> list[tuple[str, Any]]:
        return [(p.name, p.default) for p in inspect.signature(cls).parameters.values()]

    assert of(getattr(Ours, name)) == of(getattr(keras.layers, name))


@pytest.mark.parametrize("name", CONFIGS)
def test_configs_are_kerass_and_make_the_layer_again(name):
    keras.backend.clear_session()
    make: Any = CONFIGS[name]
    layer = make(Ours)
    config, wanted = layer.get_config(), plain(make(keras.layers).get_config())
    assert set(wanted) <= set(config)
    assert set(config) - set(wanted) <= {"seed"}  # which Keras forgets to write for SimpleRNN
    for key in (
        "units",
        "merge_mode",
        "return_sequences",
        "go_backwards",
        "dropout",
        "reset_after",
        "unit_forget_bias",
    ):
        assert config.get(key) == wanted.get(key)
    again = type(layer).from_config(config)
    assert again.get_config() == config
    x = sequences() if "Cell" not in name else sequences(0, B, F)
    for one in (layer, again):
        one.build(tuple(x.shape))
    again.set_weights(layer.get_weights())
    states = () if "Cell" not in name else (layer.get_initial_state(batch_size=B),)
    expect_equal(tensors(again(x, *states)), tensors(layer(x, *states)), "output")


@pytest.mark.parametrize("name", [name for name in CONFIGS if name not in ("LSTMCell",)])
def test_a_config_that_keras_wrote_makes_the_same_layer(name):
    make: Any = CONFIGS[name]
    theirs = make(keras.layers)
    ours = getattr(Ours, name).from_config(plain(theirs.get_config()))
    compare(ours, theirs)


# ------------------------------------------------------------------ torch.nn
@pytest.mark.parametrize("bidirectional", [False, True])
def test_lstm_equals_torch_nn(bidirectional):
    theirs = torch.nn.LSTM(F, U, batch_first=True, bidirectional=bidirectional)
    layer = LSTM(U, return_sequences=True, return_state=True)
    ours: Any = Bidirectional(layer) if bidirectional else layer
    ours.build((None, T, F))
    w_ih, w_hh, b_ih, b_hh = list(theirs.parameters())[:4]
    weights = [w_ih.t(), w_hh.t(), b_ih + b_hh]
    if bidirectional:
        w_ih, w_hh, b_ih, b_hh = list(theirs.parameters())[4:]
        weights += [w_ih.t(), w_hh.t(), b_ih + b_hh]
    ours.set_weights([w.detach() for w in weights])
    y, *states = ours(sequences())
    wanted, (h, c) = theirs(sequences())
    found = [torch.stack(states[0::2]), torch.stack(states[1::2])]
    expect_equal([y, *found], [wanted, h, c], "output")


def test_gru_equals_torch_nn():
    theirs = torch.nn.GRU(F, U, batch_first=True)
    ours = GRU(U, return_sequences=True, return_state=True)
    ours.build((None, T, F))

    def update_first(w: torch.Tensor) -> torch.Tensor:
        reset, update, candidate = w.detach().chunk(3)
        return torch.cat([update, reset, candidate])

    w_ih, w_hh, b_ih, b_hh = map(update_first, theirs.parameters())
    ours.set_weights([w_ih.t(), w_hh.t(), torch.stack([b_ih, b_hh])])
    y, h = ours(sequences())
    wanted, last = theirs(sequences())
    expect_equal([y, h], [wanted, last[0]], "output")
