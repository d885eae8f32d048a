"""Models of Keras 2, as functions that build them with tf_keras; `make_legacy_samples.py` saves what they give.

Each function returns a model, or a pair of a model and its inputs. Inputs that are not given are drawn at random.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import numpy as np

k: Any = None
tf: Any = None
with contextlib.suppress(ImportError):  # only the maker of the samples needs them
    import tensorflow as tf
    import tf_keras as k

MODELS: dict[str, Callable[[], Any]] = {}


def model(function: Callable[[], Any]) -> Callable[[], Any]:
    """Enter a builder under its name."""
    MODELS[function.__name__] = function
    return function


def ids(*shape: int, high: int = 20) -> np.ndarray:
    return np.random.default_rng(3).integers(1, high, shape).astype("int32")


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(4).normal(size=shape).astype("float32")


@model
def mlp():
    L = k.layers
    net = k.Sequential(
        [
            L.Dense(16, activation="relu", input_shape=(8,), kernel_regularizer="l2"),
            L.Dropout(0.3),
            L.Dense(8, activation="elu", kernel_regularizer=k.regularizers.L1L2(0.01, 0.02), bias_constraint="non_neg"),
            L.Dense(3, activation="softmax", kernel_initializer=k.initializers.VarianceScaling(2.0, "fan_out")),
        ]
    )
    net.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return net


@model
def lenet():
    L = k.layers
    net = k.Sequential(
        [
            L.Conv2D(6, 5, padding="same", activation="sigmoid", input_shape=(16, 16, 1)),
            L.AveragePooling2D(),
            L.Conv2D(8, (5, 5), activation="tanh"),
            L.MaxPooling2D(pool_size=(2, 2), strides=(2, 2)),
            L.Flatten(),
            L.Dense(10, activation="softmax"),
        ]
    )
    net.compile("sgd", "categorical_crossentropy", metrics=["accuracy", "mse"])
    return net


@model
def convolutions_2d():
    L = k.layers
    x = i = L.Input((10, 10, 4))
    x = L.Conv2D(8, 3, strides=2, padding="same", groups=2)(x)
    x = L.DepthwiseConv2D(3, padding="same", depth_multiplier=2, activation="relu")(x)
    x = L.SeparableConv2D(6, 3, padding="same", depth_multiplier=2)(x)
    x = L.Conv2DTranspose(5, 3, strides=2, padding="same", output_padding=1)(x)
    x = L.Conv2D(4, 3, dilation_rate=2, use_bias=False)(x)
    x = L.Conv2DTranspose(3, 3, padding="valid")(x)
    return k.Model(i, x)


@model
def convolutions_1d():
    L = k.layers
    x = i = L.Input((20, 4))
    x = L.Conv1D(6, 3, padding="causal", dilation_rate=2)(x)
    x = L.SeparableConv1D(8, 3, strides=2, padding="same")(x)
    x = L.DepthwiseConv1D(3, depth_multiplier=2)(x)
    x = L.Conv1DTranspose(4, 3, strides=2, padding="same")(x)
    x = L.ZeroPadding1D((1, 2))(x)
    x = L.Cropping1D((1, 1))(x)
    x = L.UpSampling1D(2)(x)
    a, b = L.MaxPooling1D(2, padding="same")(x), L.AveragePooling1D(2, strides=2, padding="same")(x)
    x = L.Add()([a, b])
    return k.Model(i, [L.GlobalMaxPooling1D()(x), L.GlobalAveragePooling1D()(x)])


@model
def convolutions_3d():
    L = k.layers
    x = i = L.Input((6, 8, 8, 2))
    x = L.Conv3D(4, 3, padding="same")(x)
    x = L.ZeroPadding3D(1)(x)
    x = L.Conv3DTranspose(3, 2, strides=2)(x)
    x = L.Cropping3D(((1, 1), (2, 1), (0, 2)))(x)
    x = L.MaxPooling3D(2)(x)
    x = L.UpSampling3D((1, 2, 1))(x)
    x = L.AveragePooling3D((1, 2, 2), padding="same")(x)
    return k.Model(i, [L.GlobalAveragePooling3D()(x), L.GlobalMaxPooling3D()(x)])


@model
def channels_first():
    """Made without calling it, since TensorFlow cannot run it on a CPU; the answer comes from its transposed twin."""
    L = k.layers
    net = k.Sequential(
        [L.MaxPooling2D(2, data_format="channels_first", input_shape=(3, 8, 6)), L.Flatten("channels_first")]
    )
    return net


@model
def normalizations():
    L = k.layers
    x = i = L.Input((6, 6, 8))
    x = L.BatchNormalization(epsilon=1e-5, momentum=0.9)(x)
    x = L.LayerNormalization()(x)
    x = L.BatchNormalization(scale=False)(x)
    x = L.GroupNormalization(4)(x)
    x = L.BatchNormalization(center=False, axis=[3])(x)
    x = L.UnitNormalization()(x)
    x = L.LayerNormalization(axis=[1, 2], center=False)(x)
    return k.Model(i, x)


@model
def activations():
    L = k.layers
    x = i = L.Input((12,))
    outputs = []
    for (
        name
    ) in "linear relu elu selu softplus softsign tanh sigmoid hard_sigmoid exponential swish gelu mish softmax".split():
        outputs.append(L.Activation(name)(x))
    outputs.append(L.Activation(tf.nn.relu)(x))
    outputs.append(L.Activation(k.activations.tanh)(x))
    outputs.append(L.Dense(3, activation="hard_sigmoid")(x))
    outputs.append(L.Dense(3, activation=tf.nn.relu6)(x))
    outputs.append(L.Dense(3, activation=tf.nn.leaky_relu)(x))
    outputs += [L.LeakyReLU()(x), L.LeakyReLU(alpha=0.1)(x), L.ELU(alpha=0.5)(x), L.PReLU()(x), L.Softmax(axis=-1)(x)]
    outputs += [L.ReLU(max_value=1.0, negative_slope=0.2, threshold=0.3)(x), L.ThresholdedReLU(theta=0.7)(x)]
    return k.Model(i, outputs)


@model
def noise_layers():
    L = k.layers
    x = i = L.Input((5, 4, 6))
    x = L.GaussianNoise(0.2)(x)
    x = L.GaussianDropout(0.3)(x)
    x = L.AlphaDropout(0.1)(x)
    x = L.SpatialDropout2D(0.2)(x)
    x = L.Dropout(0.2, noise_shape=(None, 1, 1, 6))(x)
    x = L.ActivityRegularization(l1=0.01, l2=0.02)(x)
    x = L.Dense(3, activity_regularizer=k.regularizers.L2(0.1))(x)
    return k.Model(i, x)


@model
def shapes():
    L = k.layers
    x = i = L.Input((8, 6))
    a = L.Permute((2, 1))(x)
    b = L.Reshape((4, -1))(a)
    c = L.Flatten()(b)
    d = L.RepeatVector(3)(L.Dense(4)(c))
    e = L.Reshape((6, 8, 1))(a)
    f = L.ZeroPadding2D(((1, 0), (2, 1)))(e)
    g = L.Cropping2D(((0, 1), (1, 1)))(f)
    h = L.UpSampling2D((2, 3), interpolation="bilinear")(g)
    j = L.UpSampling2D(2)(L.ZeroPadding2D(2)(e))
    m = L.MaxPooling2D(3, strides=2, padding="same")(h)
    return k.Model(i, [d, m, L.GlobalAveragePooling2D()(j), L.GlobalMaxPooling2D(keepdims=True)(j)])


@model
def merges():
    L = k.layers
    a, b, c = L.Input((5,), name="a"), L.Input((5,), name="b"), L.Input((5,), name="c")
    outputs = [L.Add()([a, b, c]), L.Subtract()([a, b]), L.Multiply()([a, b, c]), L.Average()([a, b])]
    outputs += [L.Maximum()([a, b]), L.Minimum()([a, c]), L.Concatenate(axis=1)([a, b, c]), L.Dot(axes=1)([a, b])]
    outputs += [L.dot([a, b], axes=-1, normalize=True), L.concatenate([outputs[0], outputs[7]])]
    return k.Model([a, b, c], outputs)


@model
def lstm():
    L = k.layers
    net = k.Sequential([L.LSTM(6, return_sequences=True, input_shape=(7, 4)), L.LSTM(5, dropout=0.1), L.Dense(2)])
    net.compile("rmsprop", "mse")
    return net


@model
def gru():
    L = k.layers
    layers = [L.GRU(6, return_sequences=True, input_shape=(None, 4)), L.GRU(5, reset_after=False, go_backwards=True)]
    return k.Sequential([*layers, L.Dense(2)]), [noise(3, 6, 4)]


@model
def simple_rnn():
    L = k.layers
    layers = [L.SimpleRNN(6, return_sequences=True, activation="relu"), L.SimpleRNN(5, use_bias=False, unroll=True)]
    return k.Sequential([L.Input((6, 4)), *layers])


@model
def hard_sigmoid_rnn():
    L = k.layers
    x = i = L.Input((6, 4))
    x = L.LSTM(4, recurrent_activation="hard_sigmoid", return_sequences=True, implementation=1)(x)
    x = L.GRU(3, recurrent_activation="hard_sigmoid", reset_after=False, recurrent_dropout=0.2)(x)
    return k.Model(i, x)


@model
def bidirectional():
    L = k.layers
    x = i = L.Input((6, 4))
    x = L.Bidirectional(L.LSTM(5, return_sequences=True))(x)
    x = L.Bidirectional(L.GRU(4, return_sequences=True), merge_mode="sum")(x)
    x = L.Bidirectional(
        L.SimpleRNN(3, return_sequences=True),
        backward_layer=L.SimpleRNN(3, return_sequences=True, go_backwards=True, activation="relu"),
    )(x)
    x = L.Bidirectional(L.LSTM(3), merge_mode="ave")(x)
    return k.Model(i, x)


@model
def rnn_cells():
    L = k.layers
    x = i = L.Input((6, 4))
    a = L.RNN([L.LSTMCell(4), L.GRUCell(3), L.SimpleRNNCell(2)], return_sequences=True)(x)
    b = L.RNN(L.LSTMCell(5))(a)
    c = L.RNN(L.StackedRNNCells([L.GRUCell(3, reset_after=False), L.GRUCell(2)]))(a)
    return k.Model(i, [a, b, c])


@model
def return_state():
    L = k.layers
    i = L.Input((6, 4), name="encoder_in")
    _, h, c = L.LSTM(5, return_state=True, name="encoder")(i)
    j = L.Input((3, 4), name="decoder_in")
    y, *_ = L.LSTM(5, return_sequences=True, return_state=True, name="decoder")(j, initial_state=[h, c])
    f = L.Bidirectional(L.GRU(5), name="both")(j, initial_state=[h, c])
    return k.Model([i, j], [L.TimeDistributed(L.Dense(3, activation="softmax"))(y), f])


@model
def stateful():
    L = k.layers
    return k.Sequential(
        [L.LSTM(4, stateful=True, return_sequences=True, batch_input_shape=(2, 5, 3)), L.GRU(3, stateful=True)]
    )


@model
def masking():
    L = k.layers
    x = i = L.Input((None,), dtype="int32")
    x = L.Embedding(20, 6, mask_zero=True)(x)
    x = L.Bidirectional(L.LSTM(4, return_sequences=True))(x)
    x = L.GRU(4)(x)
    tokens = ids(4, 7)
    tokens[0, 4:] = 0
    tokens[2, 2:] = 0
    return k.Model(i, L.Dense(1, activation="sigmoid")(x)), [tokens]


@model
def masking_layer():
    L = k.layers
    net = k.Sequential(
        [L.Masking(0.0, input_shape=(6, 3)), L.LSTM(4, return_sequences=True), L.TimeDistributed(L.Dense(2))]
    )
    x = noise(3, 6, 3)
    x[0, 4:] = x[1, :2] = 0.0
    return net, [x]


@model
def embedding():
    L = k.layers
    net = k.Sequential([L.Embedding(20, 5, input_length=6), L.Flatten(), L.Dense(2)])
    net.compile("adagrad", k.losses.BinaryCrossentropy(from_logits=True), metrics=[k.metrics.AUC(), "binary_accuracy"])
    return net, [ids(4, 6)]


@model
def time_distributed():
    L = k.layers
    x = i = L.Input((3, 8, 8, 2))
    x = L.TimeDistributed(L.Conv2D(4, 3, activation="relu"))(x)
    x = L.TimeDistributed(L.BatchNormalization())(x)
    x = L.TimeDistributed(k.Sequential([L.MaxPooling2D(), L.Flatten(), L.Dense(5)]))(x)
    return k.Model(i, L.GRU(4)(x))


@model
def nested():
    L = k.layers
    inner = k.Sequential([L.Dense(6, input_shape=(4,)), L.BatchNormalization(), L.Dense(3)], name="inner")
    i = L.Input((4,))
    block = k.Model(i, L.Add()([L.Dense(4, activation="relu")(i), L.BatchNormalization()(i)]), name="block")
    x = L.Input((4,))
    y = L.Dense(2)(inner(block(x)))
    outer = k.Model(x, y)
    return k.Sequential([outer, L.Activation("tanh"), k.Sequential([L.BatchNormalization(), L.Dense(2)])])


@model
def frozen():
    L = k.layers
    base = k.Sequential([L.Dense(6, input_shape=(4,)), L.BatchNormalization(), L.Dense(5)], name="base")
    base.trainable = False
    head = k.Sequential([L.BatchNormalization(), L.Dense(4), L.BatchNormalization()], name="head")
    head.layers[1].trainable = False
    return k.Sequential([base, L.BatchNormalization(trainable=False), head, L.Dense(2)])


@model
def shared():
    L = k.layers
    a, b = L.Input((4,), name="left"), L.Input((4,), name="right")
    layer, tower = L.Dense(5, activation="tanh", name="twin"), k.Sequential([L.Dense(3), L.Dense(2)], name="tower")
    u, v = layer(a), layer(b)
    merged = L.Concatenate()([tower(u), tower(v), tower(layer(L.Activation("relu")(a)))])
    net = k.Model([a, b], [L.Dense(1, name="main")(merged), v])
    net.compile(
        "nadam", {"main": "mse", "twin": "mae"}, loss_weights={"main": 1.0, "twin": 0.5}, metrics={"main": ["mae"]}
    )
    return net


@model
def dict_inputs():
    L = k.layers
    a, b = L.Input((4,), name="first"), L.Input((3,), name="second")
    return k.Model({"x": a, "y": b}, {"sum": L.Dense(2)(a), "rest": L.Concatenate(name="c")([a, b])})


@model
def model_of_models():
    """A functional model with two outputs, called twice, and a model whose output is another's input."""
    L = k.layers
    i, j = L.Input((4,)), L.Input((3,))
    two = k.Model([i, j], [L.Dense(3)(i), L.Dense(4)(L.Concatenate()([i, j]))], name="two")
    x, y = L.Input((4,)), L.Input((3,))
    p, q = two([x, y])
    r, s = two([q, p])
    return k.Model([x, y], [r, L.Add()([s, q])])


@model
def mobilenet_block():
    L = k.layers

    def bottleneck(x, filters, stride, expansion, name):
        y = L.Conv2D(expansion * x.shape[-1], 1, use_bias=False, name=name + "_expand")(x)
        y = L.BatchNormalization(momentum=0.999, name=name + "_expand_BN")(y)
        y = L.ReLU(6.0, name=name + "_expand_relu")(y)
        if stride == 2:
            y = L.ZeroPadding2D(((0, 1), (0, 1)), name=name + "_pad")(y)
        y = L.DepthwiseConv2D(
            3, strides=stride, use_bias=False, padding="same" if stride == 1 else "valid", name=name + "_depthwise"
        )(y)
        y = L.BatchNormalization(momentum=0.999, name=name + "_depthwise_BN")(y)
        y = L.ReLU(6.0, name=name + "_depthwise_relu")(y)
        y = L.Conv2D(filters, 1, use_bias=False, name=name + "_project")(y)
        y = L.BatchNormalization(momentum=0.999, name=name + "_project_BN")(y)
        return L.Add(name=name + "_add")([x, y]) if stride == 1 and x.shape[-1] == filters else y

    i = L.Input((16, 16, 3))
    x = L.Conv2D(8, 3, strides=2, padding="same", use_bias=False, name="Conv1")(i)
    x = bottleneck(x, 8, 1, 3, "block_1")
    x = bottleneck(x, 12, 2, 3, "block_2")
    x = L.GlobalAveragePooling2D()(x)
    return k.Model(i, L.Dense(4, activation="softmax")(x))


@model
def resnet():
    L = k.layers

    def block(x, filters, stride, name):
        cut = L.BatchNormalization(name=name + "_0_bn")(
            L.Conv2D(2 * filters, 1, strides=stride, name=name + "_0_conv")(x)
        )
        y = L.Conv2D(filters, 1, strides=stride, name=name + "_1_conv")(x)
        y = L.Activation("relu", name=name + "_1_relu")(L.BatchNormalization(epsilon=1.001e-5, name=name + "_1_bn")(y))
        y = L.Conv2D(filters, 3, padding="same", name=name + "_2_conv")(y)
        y = L.Activation("relu", name=name + "_2_relu")(L.BatchNormalization(name=name + "_2_bn")(y))
        y = L.BatchNormalization(name=name + "_3_bn")(L.Conv2D(2 * filters, 1, name=name + "_3_conv")(y))
        return L.Activation("relu", name=name + "_out")(L.Add(name=name + "_add")([cut, y]))

    i = L.Input((16, 16, 3))
    x = L.ZeroPadding2D(3, name="conv1_pad")(i)
    x = L.Conv2D(6, 7, strides=2, name="conv1_conv")(x)
    x = block(block(x, 4, 1, "conv2_block1"), 5, 2, "conv3_block1")
    return k.Model(i, L.Dense(3)(L.GlobalAveragePooling2D(name="avg_pool")(x)), name="resnet50")


@model
def operators():
    L = k.layers
    x, y = L.Input((6,), name="x"), L.Input((6,), name="y")
    d = L.Dense(6)(x)
    outputs = [
        d + 1,
        1 - d,
        d * y,
        2.0 / (tf.abs(d) + 1.0),
        d**2,
        -d,
        d - y,
        d / 3,
        d // 0.5,
        tf.nn.relu(d),
        tf.exp(-d),
    ]
    outputs += [tf.concat([d, y], axis=-1), tf.reshape(d, [-1, 2, 3]), tf.reduce_mean(d, axis=-1), tf.maximum(d, 0.1)]
    outputs += [tf.reduce_sum(d, axis=1, keepdims=True), tf.expand_dims(d, -1), tf.square(d) + tf.sqrt(tf.abs(y))]
    outputs += [
        tf.clip_by_value(d, -0.5, 0.5),
        tf.cast(d > y, tf.float32),
        tf.where(d > 0, d, y),
        tf.stack([d, y], axis=1),
    ]
    outputs += [tf.nn.softmax(d), tf.math.sigmoid(d), tf.nn.leaky_relu(d, 0.1), tf.add_n([d, x, y]), tf.tile(d, [1, 2])]
    outputs += [*tf.split(d, 3, axis=1), tf.minimum(d, y) * tf.constant([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])]
    return k.Model([x, y], outputs)


@model
def operations():
    L = k.layers
    x = L.Input((4, 6), name="x")
    d = L.Dense(6)(x)
    scores = tf.matmul(d, d, transpose_b=True) / tf.sqrt(6.0)
    outputs = [
        scores,
        tf.matmul(tf.nn.softmax(scores, axis=-1), x),
        tf.transpose(d, [0, 2, 1]),
        tf.squeeze(d[:, :1], 1),
    ]
    outputs += [
        d[:, 0],
        d[:, -1, :],
        d[:, 1:3, ::2],
        d[..., tf.newaxis],
        d[:, :, 2:4],
        tf.reverse(d, [1]),
        tf.cumsum(d, axis=1),
    ]
    outputs += [tf.reduce_max(d, axis=[1, 2]), tf.reduce_min(d, 1), tf.reduce_prod(d, axis=-1), tf.argmax(d, axis=-1)]
    outputs += [tf.pad(d, [[0, 0], [1, 2], [0, 0]]), tf.nn.l2_normalize(d, axis=-1)]
    outputs += [tf.reshape(d, (tf.shape(d)[0], -1)), tf.unstack(d, axis=1)[2], tf.one_hot(tf.argmax(d, -1), 6)]
    outputs += [
        tf.tensordot(d, tf.constant(noise(6, 2)), axes=1),
        tf.gather(d, [2, 0], axis=1),
        tf.math.log(tf.nn.softplus(d)),
    ]
    outputs += [
        k.backend.mean(d, axis=1),
        k.backend.batch_dot(d, x, axes=(2, 2)),
        k.backend.sum(d, axis=-1),
        k.backend.softmax(d),
    ]
    return k.Model(x, outputs)


@model
def image_operations():
    L = k.layers
    x = i = L.Input((8, 8, 3))
    x = i / 127.5 - 1.0
    y = L.Conv2D(4, 3, padding="same")(x)
    y = tf.nn.relu6(y + 3.0) * (1.0 / 6.0) * y
    z = tf.image.resize(y, (4, 4))
    u = tf.nn.max_pool2d(y, 2, 2, "SAME")
    w = tf.nn.avg_pool2d(y, 2, 2, "VALID")
    return k.Model(
        i,
        [
            z + u,
            w,
            tf.nn.depth_to_space(y, 2),
            tf.nn.space_to_depth(y, 2),
            k.backend.resize_images(y, 2, 2, "channels_last"),
        ],
    )


@model
def locally_connected():
    L = k.layers
    x = i = L.Input((6, 5, 2))
    a = L.LocallyConnected2D(3, (3, 2), strides=(1, 2), activation="relu")(x)
    b = L.LocallyConnected2D(2, 3, implementation=2)(x)
    c = L.LocallyConnected2D(2, 3, implementation=3, padding="same")(x)
    d = L.Reshape((10, -1))(x)
    e = L.LocallyConnected1D(4, 3, strides=2)(d)
    f = L.LocallyConnected1D(2, 3, implementation=2, use_bias=False)(d)
    return k.Model(i, [a, b, c, e, f])


@model
def attention():
    L = k.layers
    q, v = L.Input((3, 8), name="q"), L.Input((5, 8), name="v")
    a = L.MultiHeadAttention(2, 4)(q, v)
    b, scores = L.MultiHeadAttention(2, 3, value_dim=5, output_shape=6)(q, v, v, return_attention_scores=True)
    return k.Model([q, v], [a, b, scores, L.MultiHeadAttention(1, 4, use_bias=False)(q, q, use_causal_mask=True)])


@model
def dot_attention():
    L = k.layers
    q, v = L.Input((3, 8), name="q"), L.Input((5, 8), name="v")
    return k.Model(
        [q, v], [L.Attention()([q, v]), L.Attention(use_scale=True)([q, v, v]), L.AdditiveAttention()([q, v])]
    )


@model
def rescaling():
    L = k.layers
    return k.Sequential([L.Rescaling(1 / 255.0, offset=-0.5, input_shape=(6, 6, 3)), L.Rescaling([1.0, 2.0, 3.0])])


@model
def einsum():
    L = k.layers
    x = i = L.Input((4, 6))
    x = L.EinsumDense("abc,cd->abd", output_shape=(None, 5), bias_axes="d", activation="relu")(x)
    return k.Model(i, x)


@model
def lambda_layer():
    L = k.layers
    return k.Sequential(
        [L.Dense(4, input_shape=(3,)), L.Lambda(lambda x: x * 2 + 1, name="double_and_one"), L.Dense(2)]
    )


@model
def mixed_precision():
    L = k.layers
    layers = [L.Dense(8, activation="relu", dtype="mixed_float16"), L.Dense(3, dtype="float32")]
    return k.Sequential([L.Input((4,)), *layers]), [noise(3, 4)]
