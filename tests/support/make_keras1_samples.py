"""Writes samples in the formats of Keras 1.2, of Keras 2.0 to 2.3 and of layers for cuDNN, which nothing makes today.

The files are put together by hand from what those versions wrote; what they compute is taken from layers of tf_keras
2.21 that do the same. Run it as `python tests/support/make_keras1_samples.py` in an environment of tf_keras and
TensorFlow.
"""

from __future__ import annotations

import json
from typing import Any

import h5py
import numpy as np
from keras1_files import conv, dense, gates, layer, merge, put, recurrent, weights, write
from legacy_models import ids, k, noise


def mlp() -> None:
    L = k.layers
    w = weights((5, 6), (6,), (6,), (6,), (6,), (6,), (6, 4), (4,))
    w[5] = np.abs(w[5]) + 0.5
    prelu = weights((4,), seed=2)
    maxout = weights((3, 4, 4), (3, 4), seed=3)
    highway = weights((4, 4), (4, 4), (4,), (4,), seed=4)
    config = [
        dense("dense_1", 6, "relu", batch_input_shape=[None, 5], input_dtype="float32"),
        layer(
            "BatchNormalization",
            "batchnormalization_1",
            mode=0,
            axis=-1,
            epsilon=0.001,
            momentum=0.99,
            gamma_regularizer=None,
            beta_regularizer=None,
        ),
        layer("Dropout", "dropout_1", p=0.4),
        dense("dense_2", 4),
        layer("PReLU", "prelu_1", init="zero", shared_axes=None),
        layer(
            "MaxoutDense",
            "maxoutdense_1",
            output_dim=4,
            init="glorot_uniform",
            nb_feature=3,
            W_regularizer=None,
            b_regularizer=None,
            activity_regularizer=None,
            W_constraint=None,
            b_constraint=None,
            bias=True,
            input_dim=4,
        ),
        layer(
            "Highway",
            "highway_1",
            init="glorot_uniform",
            transform_bias=-2,
            activation="tanh",
            W_regularizer=None,
            b_regularizer=None,
            activity_regularizer=None,
            W_constraint=None,
            b_constraint=None,
            bias=True,
            input_dim=4,
        ),
        layer("Activation", "activation_1", activation="softmax"),
    ]
    x = noise(6, 5)
    net = k.Sequential([L.Dense(6, "relu", input_shape=(5,)), L.BatchNormalization(), L.Dense(4), L.PReLU()])
    net.set_weights([*w[:6], *w[6:8], *prelu])
    h = net(x).numpy()
    h = (np.einsum("bi,kio->bko", h, maxout[0]) + maxout[1]).max(1)
    share = 1 / (1 + np.exp(-(h @ highway[1] + highway[3])))
    h = share * np.tanh(h @ highway[0] + highway[2]) + (1 - share) * h
    y = np.exp(h) / np.exp(h).sum(-1, keepdims=True)
    layers = [
        ("dense_1", w[:2]),
        ("batchnormalization_1", w[2:6]),
        ("dropout_1", []),
        ("dense_2", w[6:8]),
        ("prelu_1", prelu),
        ("maxoutdense_1", maxout),
        ("highway_1", highway),
        ("activation_1", []),
    ]
    training = {
        "optimizer_config": {
            "class_name": "Adam",
            "config": {"lr": 0.01, "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-08},
        },
        "loss": "categorical_crossentropy",
        "metrics": ["accuracy"],
        "sample_weight_mode": None,
        "loss_weights": None,
    }
    write("keras1_mlp", {"class_name": "Sequential", "config": config}, layers, x, y, training=training)


def cnn() -> None:
    L = k.layers
    w = weights((3, 3, 2, 4), (4,), (3, 3, 4, 3), (3,), (2, 2, 5, 3), (5,), (3, 3, 5, 2), (1, 1, 10, 4), (4,))
    config = [
        conv("convolution2d_1", 4, 3, 3, border_mode="same", subsample=[2, 2], batch_input_shape=[None, 12, 12, 2]),
        conv("atrousconvolution2d_1", 3, 3, 3, "AtrousConvolution2D", atrous_rate=[2, 2], border_mode="same"),
        layer(
            "MaxPooling2D", "maxpooling2d_1", pool_size=[2, 2], strides=[2, 2], border_mode="valid", dim_ordering="tf"
        ),
        conv("deconvolution2d_1", 5, 2, 2, "Deconvolution2D", subsample=[2, 2], output_shape=[None, 6, 6, 5]),
        layer("ZeroPadding2D", "zeropadding2d_1", padding=[1, 1], dim_ordering="tf"),
        conv(
            "separableconvolution2d_1",
            4,
            3,
            3,
            "SeparableConvolution2D",
            depth_multiplier=2,
            depthwise_regularizer=None,
            pointwise_regularizer=None,
            depthwise_constraint=None,
            pointwise_constraint=None,
        ),
        layer("UpSampling2D", "upsampling2d_1", size=[2, 2], dim_ordering="tf"),
        layer(
            "AveragePooling2D",
            "averagepooling2d_1",
            pool_size=[3, 3],
            strides=[3, 3],
            border_mode="same",
            dim_ordering="tf",
        ),
        layer("Flatten", "flatten_1"),
    ]
    net = k.Sequential(
        [
            L.Conv2D(4, 3, 2, "same", activation="relu", input_shape=(12, 12, 2)),
            L.Conv2D(3, 3, padding="same", dilation_rate=2, activation="relu"),
            L.MaxPooling2D(),
            L.Conv2DTranspose(5, 2, 2, activation="relu"),
            L.ZeroPadding2D(),
            L.SeparableConv2D(4, 3, depth_multiplier=2, activation="relu"),
            L.UpSampling2D(),
            L.AveragePooling2D(3, 3, "same"),
            L.Flatten(),
        ]
    )
    net.set_weights(w)
    x = noise(2, 12, 12, 2)
    old = [w[0], w[1], w[2], w[3], w[4].transpose(0, 1, 3, 2), w[5], w[6], w[7], w[8]]
    layers = [
        ("convolution2d_1", old[:2]),
        ("atrousconvolution2d_1", old[2:4]),
        ("maxpooling2d_1", []),
        ("deconvolution2d_1", old[4:6]),
        ("zeropadding2d_1", []),
        ("separableconvolution2d_1", old[6:]),
        ("upsampling2d_1", []),
        ("averagepooling2d_1", []),
        ("flatten_1", []),
    ]
    write("keras1_cnn", {"class_name": "Sequential", "config": config}, layers, x, net(x))


def theano() -> None:
    """Channels first, with kernels that are stored filters first and mirrored."""
    L = k.layers
    w = weights((3, 3, 2, 4), (4,), (2, 2, 4, 3), (3,))
    config = [
        conv("convolution2d_1", 4, 3, 3, dim_ordering="th", batch_input_shape=[None, 2, 8, 7], border_mode="same"),
        layer(
            "MaxPooling2D", "maxpooling2d_1", pool_size=[2, 2], strides=[2, 2], border_mode="valid", dim_ordering="th"
        ),
        conv("convolution2d_2", 3, 2, 2, dim_ordering="th"),
    ]
    net = k.Sequential(
        [
            L.Conv2D(4, 3, padding="same", activation="relu", input_shape=(8, 7, 2)),
            L.MaxPooling2D(),
            L.Conv2D(3, 2, activation="relu"),
        ]
    )
    net.set_weights(w)
    x = noise(2, 8, 7, 2)

    def old(kernel: np.ndarray) -> np.ndarray:
        return kernel[::-1, ::-1].transpose(3, 2, 0, 1)

    layers = [("convolution2d_1", [old(w[0]), w[1]]), ("maxpooling2d_1", []), ("convolution2d_2", [old(w[2]), w[3]])]
    y = net(x).numpy().transpose(0, 3, 1, 2)
    write(
        "keras1_theano",
        {"class_name": "Sequential", "config": config},
        layers,
        x.transpose(0, 3, 1, 2),
        y,
        backend="theano",
    )


def conv1d() -> None:
    L = k.layers
    w = weights((3, 4, 5), (5,), (2, 5, 3), (3,))
    common = {"init": "uniform", "activation": "tanh", "bias": True, "W_regularizer": None, "b_regularizer": None}
    config = [
        layer(
            "Convolution1D",
            "convolution1d_1",
            nb_filter=5,
            filter_length=3,
            border_mode="same",
            subsample_length=2,
            input_dim=4,
            input_length=14,
            batch_input_shape=[None, 14, 4],
            **common,
        ),
        layer("MaxPooling1D", "maxpooling1d_1", pool_length=2, stride=1, border_mode="valid"),
        layer("ZeroPadding1D", "zeropadding1d_1", padding=1),
        layer(
            "Convolution1D",
            "convolution1d_2",
            nb_filter=3,
            filter_length=2,
            border_mode="valid",
            subsample_length=1,
            input_dim=5,
            input_length=None,
            **common,
        ),
        layer("UpSampling1D", "upsampling1d_1", length=2),
        layer("GlobalMaxPooling1D", "globalmaxpooling1d_1"),
    ]
    net = k.Sequential(
        [
            L.Conv1D(5, 3, 2, "same", activation="tanh", input_shape=(14, 4)),
            L.MaxPooling1D(2, 1),
            L.ZeroPadding1D(1),
            L.Conv1D(3, 2, activation="tanh"),
            L.UpSampling1D(2),
            L.GlobalMaxPooling1D(),
        ]
    )
    net.set_weights(w)
    x = noise(3, 14, 4)
    before_12 = w[2][:, None].transpose(3, 2, 0, 1)  # filters, inputs, length, 1
    layers = [
        ("convolution1d_1", [w[0][:, None], w[1]]),
        ("maxpooling1d_1", []),
        ("zeropadding1d_1", []),
        ("convolution1d_2", [before_12, w[3]]),
        ("upsampling1d_1", []),
        ("globalmaxpooling1d_1", []),
    ]
    write("keras1_conv1d", {"class_name": "Sequential", "config": config}, layers, x, net(x))


def rnn() -> None:
    L = k.layers
    table = weights((12, 4))
    lstm, gru, simple = (
        weights((4, 12), (3, 12), (12,), seed=1),
        weights((3, 12), (4, 12), (12,), seed=2),
        weights((4, 5), (5, 5), (5,), seed=3),
    )
    ahead, back = weights((5, 8), (2, 8), (8,), seed=4), weights((5, 8), (2, 8), (8,), seed=5)
    last, steps = weights((4, 3), (3,), seed=6), weights((3, 2), (2,), seed=7)
    inner = dense("dense_1", 3, "relu")
    config = [
        layer(
            "Embedding",
            "embedding_1",
            input_dim=12,
            output_dim=4,
            init="uniform",
            input_length=6,
            mask_zero=True,
            W_regularizer=None,
            activity_regularizer=None,
            W_constraint=None,
            dropout=0.0,
            batch_input_shape=[None, 6],
            input_dtype="int32",
        ),
        recurrent("LSTM", "lstm_1", 3),
        recurrent("GRU", "gru_1", 4),
        recurrent("SimpleRNN", "simplernn_1", 5),
        layer("Bidirectional", "bidirectional_1", layer=recurrent("LSTM", "lstm_2", 2), merge_mode="concat"),
        layer("TimeDistributed", "timedistributed_1", layer=inner),
        {**dense("timedistributeddense_1", 2), "class_name": "TimeDistributedDense"},
    ]
    hard = {"recurrent_activation": "hard_sigmoid", "return_sequences": True}
    net = k.Sequential(
        [
            L.Embedding(12, 4, mask_zero=True, input_length=6),
            L.LSTM(3, **hard),
            L.GRU(4, reset_after=False, **hard),
            L.SimpleRNN(5, return_sequences=True),
            L.Bidirectional(L.LSTM(2, **hard)),
            L.TimeDistributed(L.Dense(3, "relu")),
            L.TimeDistributed(L.Dense(2)),
        ]
    )
    x = ids(3, 6, high=12)
    x[0, 4:] = 0
    net(x)
    net.set_weights([*table, *lstm, *gru, *simple, *ahead, *back, *last, *steps])
    order = (0, 2, 1, 3)  # Keras 2: input, forget, candidate, output; Keras 1: input, candidate, forget, output
    layers = [
        ("embedding_1", table),
        ("lstm_1", gates(lstm, 4, order)),
        ("gru_1", gates(gru, 3, (0, 1, 2))),
        ("simplernn_1", simple),
        ("bidirectional_1", [*gates(ahead, 4, order), *gates(back, 4, order)]),
        ("timedistributed_1", last),
        ("timedistributeddense_1", steps),
    ]
    write("keras1_rnn", {"class_name": "Sequential", "config": config}, layers, x, net(x))


def functional() -> None:
    w = weights((4, 4), (4,), (20, 2), (2,))
    ends = [["dense_1", 0, 0], ["dense_1", 1, 0]]
    modes = ["sum", "mul", "ave", "max"]
    inputs = [
        {
            "class_name": "InputLayer",
            "name": name,
            "inbound_nodes": [],
            "config": {"batch_input_shape": [None, 4], "input_dtype": "float32", "sparse": False, "name": name},
        }
        for name in ("input_1", "input_2")
    ]
    shared = {
        **dense("dense_1", 4, "tanh"),
        "name": "dense_1",
        "inbound_nodes": [[["input_1", 0, 0]], [["input_2", 0, 0]]],
    }
    merges = [merge(f"merge_{mode}", mode, ends) for mode in modes]
    joined = merge("merge_all", "concat", [*([f"merge_{m}", 0, 0] for m in modes), ["dense_1", 0, 0]])
    last = {**dense("dense_2", 2), "name": "dense_2", "inbound_nodes": [[["merge_all", 0, 0]]]}
    products = [merge("merge_dot", "dot", ends, dot_axes=1), merge("merge_cos", "cos", ends, dot_axes=1)]
    config = {
        "name": "model_1",
        "layers": [*inputs, shared, *merges, joined, last, *products],
        "input_layers": [["input_1", 0, 0], ["input_2", 0, 0]],
        "output_layers": [["dense_2", 0, 0], ["merge_dot", 0, 0], ["merge_cos", 0, 0]],
    }
    a, b = noise(3, 4), noise(6, 4)[3:]
    u, v = np.tanh(a @ w[0] + w[1]), np.tanh(b @ w[0] + w[1])
    y = np.concatenate([u + v, u * v, (u + v) / 2, np.maximum(u, v), u], 1) @ w[2] + w[3]
    dot = (u * v).sum(1, keepdims=True)
    cos = dot / np.sqrt((u * u).sum(1, keepdims=True) * (v * v).sum(1, keepdims=True))
    layers = [
        ("input_1", []),
        ("input_2", []),
        ("dense_1", w[:2]),
        *((f"merge_{m}", []) for m in modes),
        ("merge_all", []),
        ("dense_2", w[2:]),
        ("merge_dot", []),
        ("merge_cos", []),
    ]
    write("keras1_functional", {"class_name": "Model", "config": config}, layers, [a, b], [y, dot, cos[:, None]])


def branches() -> None:
    """A Sequential that begins with a Merge of two others."""
    w = weights((4, 3), (3,), (5, 2), (2,), (5, 2), (2,))
    left = {"class_name": "Sequential", "config": [dense("dense_1", 3, "relu", batch_input_shape=[None, 4])]}
    right = {
        "class_name": "Sequential",
        "config": [
            dense("dense_2", 2, batch_input_shape=[None, 5]),
            layer("Activation", "activation_1", activation="tanh"),
        ],
    }
    first = merge("merge_1", "concat", [], layers=[left, right])
    config = [{"class_name": "Merge", "config": first["config"]}, dense("dense_3", 2)]
    a, b = noise(3, 4), noise(3, 5)
    y = np.concatenate([np.maximum(a @ w[0] + w[1], 0), np.tanh(b @ w[2] + w[3])], 1) @ w[4] + w[5]
    layers = [("dense_1", w[:2]), ("dense_2", w[2:4]), ("activation_1", []), ("merge_1", []), ("dense_3", w[4:])]
    write("keras1_branches", {"class_name": "Sequential", "config": config}, layers, [a, b], y)


def cudnn() -> None:
    """Weights of CuDNNLSTM and CuDNNGRU in their layout; tf_keras turns them round when LSTM and GRU load them."""
    L = k.layers
    lstm, gru = weights((4, 12), (3, 12), (24,), seed=1), weights((3, 12), (4, 12), (24,), seed=2)
    both = weights((4, 8), (2, 8), (16,), (4, 8), (2, 8), (16,), seed=3)
    common = {
        "kernel_initializer": {
            "class_name": "VarianceScaling",
            "config": {"scale": 1.0, "mode": "fan_avg", "distribution": "uniform", "seed": None},
        },
        "recurrent_initializer": {"class_name": "Orthogonal", "config": {"gain": 1.0, "seed": None}},
        "bias_initializer": {"class_name": "Zeros", "config": {}},
        "kernel_regularizer": None,
        "return_state": False,
        "go_backwards": False,
        "stateful": False,
        "return_sequences": True,
    }
    config = {
        "name": "sequential_1",
        "layers": [
            layer(
                "CuDNNLSTM",
                "cu_dnnlstm_1",
                units=3,
                unit_forget_bias=True,
                batch_input_shape=[None, 5, 4],
                dtype="float32",
                **common,
            ),
            layer("CuDNNGRU", "cu_dnngru_1", units=4, **common),
            layer(
                "Bidirectional",
                "bidirectional_1",
                layer=layer("CuDNNLSTM", "cu_dnnlstm_2", units=2, **common),
                merge_mode="concat",
            ),
        ],
    }
    net = k.Sequential(
        [
            L.LSTM(3, return_sequences=True, input_shape=(5, 4)),
            L.GRU(4, return_sequences=True),
            L.Bidirectional(L.LSTM(2, return_sequences=True)),
        ]
    )
    layers = [("cu_dnnlstm_1", lstm), ("cu_dnngru_1", gru), ("bidirectional_1", both)]
    with h5py.File("/tmp/cudnn_weights.h5", "w") as file:
        file.attrs.update(backend=b"tensorflow", keras_version=b"2.2.4")
        put(file, layers)
    net.load_weights("/tmp/cudnn_weights.h5")
    x = noise(3, 5, 4)
    write("cudnn", {"class_name": "Sequential", "config": config}, layers, x, net(x), "2.2.4", "tensorflow")


def operation_layers() -> None:
    """The graph of TensorFlow 2.1, in which operations stand as protocol buffers."""
    w = weights((4, 4), (4,))

    def op(name: str, kind: str, inputs: list[Any], constants: dict[str, Any], **attributes: Any) -> dict[str, Any]:
        node = {"name": name, "op": kind, "input": [], "attr": {"T": {"type": "DT_FLOAT"}, **attributes}}
        config = {
            "name": f"tf_op_layer_{name}",
            "trainable": True,
            "dtype": "float32",
            "node_def": json.dumps(node),
            "constants": constants,
        }
        return {"class_name": "TensorFlowOpLayer", "config": config, "name": config["name"], "inbound_nodes": [inputs]}

    first = {
        "class_name": "InputLayer",
        "config": {
            "batch_input_shape": [None, 4],
            "dtype": "float32",
            "sparse": False,
            "ragged": False,
            "name": "input_1",
        },
        "name": "input_1",
        "inbound_nodes": [],
    }
    second = layer("Dense", "dense", units=4, activation="linear", use_bias=True, dtype="float32")
    d = ["dense", 0, 0, {}]
    layers = [
        first,
        {**second, "name": "dense", "inbound_nodes": [[["input_1", 0, 0, {}]]]},
        op("add", "AddV2", [d], {"1": 1.5}),
        op("relu", "Relu", [["tf_op_layer_add", 0, 0, {}]], {}),
        op("mul", "Mul", [["tf_op_layer_relu", 0, 0, {}], d], {}),
        op("sub", "Sub", [d], {"0": 2.0}),
        op("mean", "Mean", [["tf_op_layer_mul", 0, 0, {}]], {"1": -1}, keep_dims={"b": True}),
        op("concat", "ConcatV2", [["tf_op_layer_sub", 0, 0, {}], d], {"2": 1}, N={"i": "2"}),
        op("reshape", "Reshape", [["tf_op_layer_concat", 0, 0, {}]], {"1": [-1, 2, 4]}),
        op(
            "slice",
            "StridedSlice",
            [["tf_op_layer_reshape", 0, 0, {}]],
            {"1": [0, 1], "2": [0, 2], "3": [1, 1]},
            begin_mask={"i": "1"},
            end_mask={"i": "1"},
            shrink_axis_mask={"i": "2"},
            ellipsis_mask={"i": "0"},
            new_axis_mask={"i": "0"},
        ),
        op(
            "matmul",
            "MatMul",
            [["tf_op_layer_slice", 0, 0, {}]],
            {"1": [[1.0], [2.0], [3.0], [4.0]]},
            transpose_a={"b": False},
            transpose_b={"b": False},
        ),
    ]
    config = {
        "name": "model",
        "layers": layers,
        "input_layers": [["input_1", 0, 0]],
        "output_layers": [["tf_op_layer_mean", 0, 0], ["tf_op_layer_matmul", 0, 0]],
    }
    x = noise(3, 4)
    h = x @ w[0] + w[1]
    mean = (np.maximum(h + 1.5, 0) * h).mean(-1, keepdims=True)
    last = np.concatenate([2.0 - h, h], 1).reshape(-1, 2, 4)[:, 1] @ np.array([[1.0], [2.0], [3.0], [4.0]])
    arrays = [(entry["name"], w if entry["name"] == "dense" else []) for entry in layers]
    write(
        "operation_layers", {"class_name": "Model", "config": config}, arrays, x, [mean, last], "2.2.4-tf", "tensorflow"
    )


def keras_22() -> None:
    """A model of Keras 2.2: no modules beside class names, the optimizer's state without telling names."""
    L = k.layers
    net = k.Sequential([L.Dense(5, "tanh", input_shape=(4,)), L.Dense(2)])
    net.set_weights(weights((4, 5), (5,), (5, 2), (2,)))
    net.compile(k.optimizers.legacy.Adam(0.01, decay=0.1), "mse", metrics=["mae"])
    x, y = noise(8, 4), noise(8, 4)[:, :2]
    for _ in range(3):
        net.train_on_batch(x, y)
    state = [w.numpy() for w in net.optimizer.weights]
    names = ["Adam/iterations:0", *(f"training/Adam/Variable{f'_{i}' if i else ''}:0" for i in range(12))]
    hats = [np.zeros((1,), "float32")] * 4
    optimizer = list(zip(names, [state[0], *state[1:5], *state[5:9], *hats], strict=True))
    scaling = {
        "class_name": "VarianceScaling",
        "config": {"scale": 1.0, "mode": "fan_avg", "distribution": "uniform", "seed": None},
    }
    own = {
        "activation": "tanh",
        "use_bias": True,
        "kernel_initializer": scaling,
        "bias_initializer": {"class_name": "Zeros", "config": {}},
        "kernel_regularizer": {"class_name": "L1L2", "config": {"l1": 0.0, "l2": 0.0}},
        "bias_regularizer": None,
        "activity_regularizer": None,
        "kernel_constraint": {"class_name": "MaxNorm", "config": {"max_value": 100.0, "axis": 0}},
        "bias_constraint": None,
    }
    config = {
        "name": "sequential_1",
        "layers": [
            layer("Dense", "dense_1", units=5, batch_input_shape=[None, 4], dtype="float32", **own),
            layer("Dense", "dense_2", units=2, **{**own, "activation": "linear"}),
        ],
    }
    adam = {
        "lr": 0.009999999776482582,
        "beta_1": 0.8999999761581421,
        "beta_2": 0.9990000128746033,
        "decay": 0.10000000149011612,
        "epsilon": 1e-07,
        "amsgrad": False,
    }
    training = {
        "optimizer_config": {"class_name": "Adam", "config": adam},
        "loss": "mean_squared_error",
        "metrics": ["mae"],
        "sample_weight_mode": None,
        "loss_weights": None,
    }
    w = net.get_weights()
    before = net(x[:3]).numpy()
    losses = [net.train_on_batch(x, y) for _ in range(2)]
    arrays = {"train_x": x, "train_y": y, "losses": losses, "after": net(x[:3]).numpy()}
    write(
        "train_keras22_adam",
        {"class_name": "Sequential", "config": config},
        [("dense_1", w[:2]), ("dense_2", w[2:])],
        x[:3],
        before,
        "2.2.4",
        "tensorflow",
        training=training,
        optimizer=optimizer,
        arrays=arrays,
    )


if __name__ == "__main__":
    for make in (mlp, cnn, theano, conv1d, rnn, functional, branches, cudnn, operation_layers, keras_22):
        k.backend.clear_session()
        make()
