"""What only a CUDA device can show: the same numbers as on a CPU, steps that never wait, nothing left behind.

Skipped where there is none.
"""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from museum import differences, fingerprint
from torch import nn

import lamina
from lamina import layers

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")


@pytest.fixture(autouse=True)
def exact():
    """Convolutions and products in float32 proper, and everything on the device by default, as it is anyway."""
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    yield
    torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before


LAYERS = {
    "dense": (lambda: layers.Dense(5, activation="relu"), (7,)),
    "conv1d": (lambda: layers.Conv1D(5, 3, padding="causal"), (9, 4)),
    "conv2d": (lambda: layers.Conv2D(6, 3, strides=2, padding="same", activation="relu"), (9, 8, 4)),
    "grouped": (lambda: layers.Conv2D(6, 3, groups=2), (9, 8, 4)),
    "conv3d": (lambda: layers.Conv3D(5, 2), (5, 4, 4, 3)),
    "depthwise": (lambda: layers.DepthwiseConv2D(3, depth_multiplier=2), (9, 8, 4)),
    "separable": (lambda: layers.SeparableConv2D(5, 3), (9, 8, 4)),
    "transposed": (lambda: layers.Conv2DTranspose(5, 3, strides=2, padding="same"), (5, 4, 3)),
    "max pooling": (lambda: layers.MaxPooling2D(2), (8, 8, 3)),
    "average pooling": (lambda: layers.AveragePooling2D(3, strides=2, padding="same"), (8, 8, 3)),
    "batch norm": (lambda: layers.BatchNormalization(), (6, 6, 4)),
    "layer norm": (lambda: layers.LayerNormalization(), (6, 4)),
    "group norm": (lambda: layers.GroupNormalization(2), (6, 6, 4)),
    "lstm": (lambda: layers.LSTM(6, return_sequences=True), (7, 4)),
    "gru": (lambda: layers.GRU(6), (7, 4)),
    "gru, reset before": (lambda: layers.GRU(6, reset_after=False), (7, 4)),
    "simple rnn": (lambda: layers.SimpleRNN(6), (7, 4)),
    "both ways": (lambda: layers.Bidirectional(layers.LSTM(6)), (7, 4)),
}


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("name", LAYERS)
def test_layers_give_the_numbers_and_gradients_of_a_cpu(name, training):
    make, size = LAYERS[name]
    lamina.config.set_device("cpu")
    try:
        here = make()
        here.build((None, *size))
    finally:
        lamina.config.set_device(None)
    there = make()
    there.build((None, *size))
    assert all(p.is_cuda for p in there.parameters())
    there.load_state_dict(here.state_dict())
    x = torch.randn(4, *size)
    found = []
    for layer, device in ((here, "cpu"), (there, "cuda")):
        inputs = x.detach().to(device, copy=True).requires_grad_()
        y = layer(inputs, training=training)
        assert y.device.type == device
        (y * torch.linspace(-1, 1, y.numel(), device=device).view_as(y)).sum().backward()
        found.append(
            [t.detach().cpu() for t in (y, inputs.grad, *(p.grad for p in layer.parameters()), *layer.buffers())]
        )
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)


def network():
    x = layers.Input((12, 12, 3))
    y = layers.BatchNormalization()(layers.Conv2D(8, 3, padding="same")(x))
    y = layers.add([layers.Conv2D(8, 1)(x), layers.Activation("relu")(y)])
    y = layers.GlobalAveragePooling2D()(layers.MaxPooling2D(2)(y))
    return lamina.Model(x, layers.Dense(5, activation="softmax")(layers.Dropout(0.2)(y)))


def batch(count=64):
    numbers = np.random.default_rng(0)
    labels = numbers.integers(0, 5, count)
    images = numbers.random((count, 12, 12, 3), dtype=np.float32) + labels[:, None, None, None] / 5
    return images.astype("float32"), labels


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16", "mixed_float16"])
def test_fit_learns_and_predict_and_evaluate_agree(policy):
    lamina.mixed_precision.set_global_policy(policy)
    try:
        lamina.utils.set_random_seed(0)
        model = network()
    finally:
        lamina.mixed_precision.set_global_policy("float32")
    model.compile(
        lamina.optimizers.Adam(0.02), "sparse_categorical_crossentropy", metrics=["accuracy"], jit_compile=False
    )
    x, y = batch()
    history = model.fit(x, y, batch_size=16, epochs=12, verbose=0).history
    assert history["loss"][-1] < 0.8 * history["loss"][0]
    loss, accuracy = model.evaluate(x, y, verbose=0)
    predicted = model.predict(x, verbose=0)
    assert np.isclose((predicted.argmax(-1) == y).mean(), accuracy, atol=0.04)
    assert np.isfinite(loss) and np.allclose(predicted.sum(-1), 1, atol=1e-2)


def test_without_dropout_training_is_that_of_a_cpu():
    x, y = batch()
    found = []
    for device in ("cpu", None):
        lamina.config.set_device(device)
        try:
            lamina.utils.set_random_seed(0)
            model = lamina.Sequential(
                [layers.Input((12, 12, 3)), layers.Conv2D(6, 3), layers.Flatten(), layers.Dense(5)]
            )
            if found:
                model.set_weights(found[0][0])
            start = model.get_weights()
            loss = lamina.losses.SparseCategoricalCrossentropy(from_logits=True)
            model.compile("adam", loss, jit_compile=False)
            losses = model.fit(x, y, batch_size=16, epochs=3, shuffle=False, verbose=0).history["loss"]
            found.append((start, losses, model.get_weights()))
        finally:
            lamina.config.set_device(None)
    assert np.allclose(found[0][1], found[1][1], rtol=1e-3)
    assert all(np.allclose(a, b, atol=2e-3) for a, b in zip(found[0][2], found[1][2], strict=True))


def test_a_training_step_never_waits_for_the_device():
    model = network()
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"], jit_compile=False)
    x, y = batch()
    data = torch.from_numpy(x).cuda(), torch.from_numpy(y).cuda()
    for _ in range(3):
        model.train_step(data)
    torch.cuda.set_sync_debug_mode("error")
    try:
        model.train_step(data)
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_memory_does_not_grow_with_the_number_of_calls():
    model = network()
    model.compile("adam", "sparse_categorical_crossentropy", jit_compile=False)
    x, y = batch(16)
    held = []
    for calls in (20, 200):
        for _ in range(calls):
            model.train_on_batch(x, y)
            model.predict_on_batch(x)
        torch.cuda.synchronize()
        held.append(torch.cuda.memory_allocated())
    assert held[0] == held[1]


def test_auto_trains_as_eager_does_and_says_what_it_chose():
    lamina.utils.set_random_seed(0)
    model = network()
    model.compile("adam", "sparse_categorical_crossentropy", jit_compile="auto")
    x, y = batch(320)
    losses = model.fit(x, y, batch_size=16, epochs=8, verbose=0).history["loss"]
    assert losses[-1] < losses[0] and model.acceleration is not None


def test_looking_leaves_a_module_on_the_device_as_it_was():
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5), nn.Flatten(), nn.Linear(144, 2)
    ).cuda()
    random.random()
    before, state = fingerprint(model), torch.cuda.get_rng_state()
    report = lamina.inspection.measure(model, (3, 8, 8))
    assert report.failure is None and report.total_params == 112 + 8 + 290
    profile = lamina.inspection.profile(model, (3, 8, 8), batch_size=8)
    assert profile.total_ms > 0 and {row.name for row in profile.rows} >= {"0", "4"}
    assert differences(before, fingerprint(model)) == [] and torch.equal(torch.cuda.get_rng_state(), state)


def test_a_model_of_laminas_is_profiled_on_the_device():
    profile = lamina.inspection.profile(network(), batch_size=32)
    assert profile.peak > 1000 and abs(profile.total_ms / profile.step_ms - 1) < 0.5
