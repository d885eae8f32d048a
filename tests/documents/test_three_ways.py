"""Document 000: one network defined in three ways is one network."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from lamina.layers import Conv2D, Dense, Dropout, Flatten, Input, MaxPooling2D
from lamina.models import Model, Sequential


def sequential() -> Any:
    return Sequential(
        [
            Conv2D(8, 3, activation="relu", input_shape=(28, 28, 1)),
            MaxPooling2D(2),
            Flatten(),
            Dropout(0.5),
            Dense(10, activation="softmax"),
        ]
    )


def functional() -> Any:
    inputs = Input(shape=(28, 28, 1))
    x = MaxPooling2D(2)(Conv2D(8, 3, activation="relu")(inputs))
    return Model(inputs, Dense(10, activation="softmax")(Dropout(0.5)(Flatten()(x))))


class Net(Model):
    def __init__(self, classes: int = 10) -> None:
        super().__init__(name="net")
        self.conv = Conv2D(8, 3, activation="relu")
        self.pool = MaxPooling2D(2)
        self.flat = Flatten()
        self.drop = Dropout(0.5)
        self.out = Dense(classes, activation="softmax")

    def call(self, inputs, training=None):
        x = self.flat(self.pool(self.conv(inputs)))
        return self.out(self.drop(x, training=training))


def subclassed() -> Any:
    net = Net()
    net.build((None, 28, 28, 1))
    return net


WAYS = {"sequential": sequential, "functional": functional, "subclassed": subclassed}


@pytest.fixture
def data() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.RandomState(0)
    y = rng.randint(0, 10, 128)
    return rng.rand(128, 28, 28, 1).astype("float32") + y[:, None, None, None] / 10.0, y


@pytest.mark.parametrize("way", WAYS)
def test_counts_are_known_before_any_data(way):
    assert WAYS[way]().count_params() == 13_610


def test_equal_weights_give_equal_outputs(data):
    x, _ = data
    models = [build() for build in WAYS.values()]
    wanted = models[0].predict(x, verbose=0)
    for model in models[1:]:
        model.set_weights(models[0].get_weights())
        np.testing.assert_allclose(model.predict(x, verbose=0), wanted, rtol=1e-5, atol=1e-7)


def test_equal_seeds_train_to_equal_weights(data):
    x, y = data
    trained = []
    for build in WAYS.values():
        torch.manual_seed(3)
        model = build()
        torch.manual_seed(4)
        model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
        history = model.fit(x, y, batch_size=32, epochs=2, validation_split=0.25, verbose=0).history
        assert set(history) == {"loss", "accuracy", "val_loss", "val_accuracy"}
        trained.append(model.get_weights())
    for weights in trained[1:]:
        for one, other in zip(weights, trained[0], strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("way", WAYS)
def test_dropout_works_in_training_alone(way, data):
    x, _ = data
    model = WAYS[way]()
    still = model(x)
    assert torch.equal(still, model(x))
    assert not torch.equal(still, model(x, training=True))
    assert torch.equal(still, model(x))


@pytest.mark.parametrize("way", WAYS)
def test_the_model_trains_in_a_plain_torch_loop(way, data):
    x, y = torch.from_numpy(data[0]), torch.from_numpy(data[1])
    model = WAYS[way]()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    model.train()
    losses = []
    for _ in range(8):
        loss = torch.nn.functional.nll_loss(model(x).log(), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    other = WAYS[way]()
    other.load_state_dict(model.state_dict())
    model.eval()
    assert torch.equal(other(x), model(x))


@pytest.mark.parametrize("way", WAYS)
def test_the_model_compiles_into_one_graph_and_exports(way, data):
    x = torch.from_numpy(data[0][:4])
    model = WAYS[way]()
    wanted = model(x)
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(x), wanted)
    batch = torch.export.Dim("batch")
    exported = torch.export.export(model, (x,), dynamic_shapes=({0: batch},), strict=False).module()
    torch.testing.assert_close(exported(x[:3]), wanted[:3])
