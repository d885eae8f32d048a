"""Operations are counted as torch's own counter counts them, and for lamina's kernels by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from lamina import Model, Sequential, layers
from lamina.inspection import measure

TORCH = {
    "perceptron": (lambda: nn.Sequential(nn.Linear(20, 30), nn.ReLU(), nn.Linear(30, 5)), (20,)),
    "images": (lambda: nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, groups=4)), (3, 16, 16)),
    "transposed": (lambda: nn.ConvTranspose2d(3, 5, 4, 2), (3, 9, 9)),
    "sequences": (lambda: nn.GRU(6, 7, batch_first=True), (5, 6)),
    "attention": (lambda: nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), (6, 8)),
}


@pytest.mark.parametrize("name", TORCH)
def test_torch_modules_cost_what_torchs_counter_says(name):
    make, size = TORCH[name]
    model = make()
    with FlopCounterMode(display=False) as counter:
        model(torch.rand(1, *size))
    assert measure(model, size).flops == measure(model, size, style="keras").flops == counter.get_total_flops() > 0


def test_an_lstm_of_torch_counts_its_products_though_they_are_one_operator():
    assert measure(nn.LSTM(6, 7, batch_first=True), (5, 6)).flops == 5 * 2 * 4 * (6 * 7 + 7 * 7)


LAYERS = {
    "dense": (lambda: layers.Dense(7), (5,), 2 * 5 * 7),
    "dense on sequences": (lambda: layers.Dense(7), (4, 5), 2 * 4 * 5 * 7),
    "convolution": (lambda: layers.Conv2D(8, 3, activation="relu"), (9, 9, 4), 2 * 49 * 9 * 4 * 8),
    "strides": (lambda: layers.Conv2D(8, 3, strides=2, padding="same"), (9, 9, 4), 2 * 25 * 9 * 4 * 8),
    "groups": (lambda: layers.Conv2D(8, 3, groups=4), (9, 9, 4), 2 * 49 * 9 * 8),
    "depthwise": (lambda: layers.DepthwiseConv2D(3), (9, 9, 4), 2 * 49 * 9 * 4),
    "lstm": (lambda: layers.LSTM(8), (5, 4), 2 * 5 * 4 * (4 * 8 + 8 * 8)),
    "gru": (lambda: layers.GRU(8, return_sequences=True), (5, 4), 2 * 5 * 3 * (4 * 8 + 8 * 8)),
    "both ways": (lambda: layers.Bidirectional(layers.LSTM(8)), (5, 4), 2 * 2 * 5 * 4 * (4 * 8 + 8 * 8)),
    "pooling": (lambda: layers.MaxPooling2D(2), (8, 8, 4), 0),
}


@pytest.mark.parametrize("name", LAYERS)
def test_layers_cost_their_products(name):
    make, size, flops = LAYERS[name]
    graph = Sequential([layers.Input(size), make()])

    class Net(Model):
        def __init__(self):
            super().__init__()
            self.layer = make()

        def call(self, x):
            return self.layer(x)

    net = Net()
    net.build((None, *size))
    assert measure(graph).rows[0].flops == measure(net).rows[0].flops == flops


def test_layers_that_differ_only_in_what_they_are_given_are_counted_apart():
    x = layers.Input((4, 6))
    wide, tall = layers.Dense(3, name="wide")(x), layers.Permute((2, 1))(x)
    model = Model(x, [wide, layers.Dense(3, name="tall")(tall)])
    assert {row.name: row.flops for row in measure(model).rows if row.flops} == {"wide": 144, "tall": 144}
    assert measure(model).flops == 288


def test_functions_in_a_graph_cost_their_products():
    x = layers.Input((4, 6))
    model = Model(x, torch.matmul(x, x.transpose(1, 2)) + 1)
    assert measure(model).flops == 2 * 4 * 4 * 6


def test_a_layer_that_is_called_twice_costs_twice():
    shared, x = layers.Dense(4), layers.Input((4,))
    assert measure(Model(x, shared(shared(x)))).rows[1].flops == 2 * 2 * 4 * 4


def test_a_sequence_of_any_cell_costs_its_steps():
    class Cell(layers.SimpleRNNCell):
        pass

    model = Sequential([layers.Input((50, 4)), layers.RNN(Cell(8))])
    assert measure(model).flops == 2 * 50 * (4 * 8 + 8 * 8)


def test_operations_are_not_guessed_where_sizes_are_open():
    model = Sequential([layers.Input((None, 4)), layers.Dense(8)])
    assert measure(model).flops == 0 and measure(model).rows[0].output_shape == (None, None, 8)


def test_a_product_that_does_not_grow_with_the_batch_counts_once():
    class Mixes(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Parameter(torch.ones(10, 20)), nn.Parameter(torch.ones(20, 5))

        def forward(self, x):
            return x @ (self.a @ self.b)

    model = nn.Sequential(Mixes())
    with FlopCounterMode(display=False) as counter:
        model(torch.ones(1, 10))
    assert measure(model, (10,)).flops == counter.get_total_flops() == 2 * (10 * 20 * 5 + 10 * 5)
