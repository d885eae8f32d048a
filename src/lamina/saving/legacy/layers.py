"""Old class and argument names of layers, one row each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from lamina.configurable import init_parameters
from lamina.errors import LoadError
from lamina.registry import LAYERS
from lamina.saving.legacy import local
from lamina.saving.legacy.retired import LEGACY_LAYERS

Config = dict[str, Any]
_REGISTERED = (local,)  # importing it does


@dataclass(frozen=True)
class Row:
    """How a layer of the file becomes one of today.

    Args:
        today: the class; by default of the same name.
        renamed: old argument -> today's.
        added: arguments that the old class did not have, unless the file gives them.
        changed: changes a config in place where names do not say it all.
        dropped: arguments without a meaning for the result.
    """

    today: str = ""
    renamed: Mapping[str, str] = field(default_factory=dict)
    added: Mapping[str, Any] = field(default_factory=dict)
    changed: Callable[[Config], None] | None = None
    dropped: tuple[str, ...] = ()


def _joined(*names: str, into: str = "kernel_size") -> Callable[[Config], None]:
    """One argument of Keras 2 in place of several of Keras 1."""

    def change(config: Config) -> None:
        if names[0] in config:
            config[into] = [config.pop(name) for name in names]

    return change


def _gru(config: Config) -> None:
    config.setdefault("reset_after", False)  # Keras 2.0 had no other


def _cudnn(config: Config) -> None:
    config.setdefault("activation", "tanh")
    config.setdefault("recurrent_activation", "sigmoid")


def _one_axis(config: Config) -> None:
    if isinstance(config.get("axis"), (list, tuple)) and len(config["axis"]) == 1:
        config["axis"] = config["axis"][0]
    if config.pop("mode", 0) not in (0, 2):
        raise LoadError(
            f"The BatchNormalization {config.get('name')!r} of Keras 1 normalizes each sample.",
            expected="mode=0 or mode=2",
            received="mode=1",
            fix="replace it with LayerNormalization",
        )


def _causal(config: Config) -> None:
    if config.get("padding") == "full":
        raise LoadError(f"{config.get('name')!r} pads its input fully, as only Theano could.", received="full")


_ONE = {"alpha": "negative_slope"}
_RECURRENT = {"output_dim": "units"}
_KERAS1_CONV1D = {"filter_length": "kernel_size", "subsample_length": "strides"}

ROWS: dict[str, Row] = {
    # Keras 2
    "LeakyReLU": Row(renamed=_ONE),
    "BatchNormalization": Row(changed=_one_axis),
    "BatchNormalizationV1": Row("BatchNormalization", changed=_one_axis),
    "BatchNormalizationV2": Row("BatchNormalization", changed=_one_axis),
    "SyncBatchNormalization": Row("BatchNormalization", changed=_one_axis),
    "GRU": Row(renamed=_RECURRENT, changed=_gru),
    "GRUCell": Row(changed=_gru),
    "LSTM": Row(renamed=_RECURRENT),
    "SimpleRNN": Row(renamed=_RECURRENT),
    "UnifiedLSTM": Row("LSTM"),
    "UnifiedGRU": Row("GRU", changed=_gru),
    "CuDNNLSTM": Row("LSTM", changed=_cudnn),
    "CuDNNGRU": Row("GRU", added={"reset_after": True}, changed=_cudnn),
    "SeparableConv1D": Row(dropped=("kernel_initializer", "kernel_regularizer", "kernel_constraint")),
    "SeparableConv2D": Row(dropped=("kernel_initializer", "kernel_regularizer", "kernel_constraint")),
    "DepthwiseConv1D": Row(dropped=("kernel_initializer", "kernel_regularizer", "kernel_constraint", "filters")),
    "DepthwiseConv2D": Row(dropped=("kernel_initializer", "kernel_regularizer", "kernel_constraint", "filters")),
    "Embedding": Row(renamed={"init": "embeddings_initializer", "W_regularizer": "embeddings_regularizer",
                              "W_constraint": "embeddings_constraint"}),
    "MultiHeadAttention": Row(dropped=("query_shape", "key_shape", "value_shape", "softmax_robust_masking")),
    # Keras 1
    "Dense": Row(renamed={"output_dim": "units"}),
    "TimeDistributedDense": Row("Dense", renamed={"output_dim": "units"}),
    "Convolution1D": Row("Conv1D", renamed=_KERAS1_CONV1D, changed=_causal),
    "Convolution2D": Row("Conv2D", changed=_joined("nb_row", "nb_col")),
    "Convolution3D": Row("Conv3D", changed=_joined("kernel_dim1", "kernel_dim2", "kernel_dim3")),
    "AtrousConvolution1D": Row("Conv1D", renamed=_KERAS1_CONV1D | {"atrous_rate": "dilation_rate"}),
    "AtrousConvolution2D": Row("Conv2D", renamed={"atrous_rate": "dilation_rate"}, changed=_joined("nb_row", "nb_col")),
    "SeparableConvolution2D": Row("SeparableConv2D", changed=_joined("nb_row", "nb_col"), renamed={
        "init": "depthwise_initializer", "depthwise_regularizer": "depthwise_regularizer"}),
    "Deconvolution2D": Row("Conv2DTranspose", changed=_joined("nb_row", "nb_col"), dropped=("output_shape",)),
    "MaxPooling1D": Row(renamed={"pool_length": "pool_size", "stride": "strides"}),
    "AveragePooling1D": Row(renamed={"pool_length": "pool_size", "stride": "strides"}),
    "UpSampling1D": Row(renamed={"length": "size"}),
    "PReLU": Row(renamed={"init": "alpha_initializer"}),
    "GaussianNoise": Row(renamed={"sigma": "stddev"}),
    "ParametricSoftplus": Row(renamed={"init": "alpha_initializer"}),
    "ActivityRegularization": Row(dropped=("activity_regularizer",)),
    "MaxoutDense": Row(renamed={"output_dim": "units"}),
}  # fmt: skip

# What Keras 1 called these arguments, whatever the class.
_KERAS1 = {
    "init": "kernel_initializer", "inner_init": "recurrent_initializer", "inner_activation": "recurrent_activation",
    "W_regularizer": "kernel_regularizer", "U_regularizer": "recurrent_regularizer",
    "b_regularizer": "bias_regularizer", "W_constraint": "kernel_constraint", "U_constraint": "recurrent_constraint",
    "b_constraint": "bias_constraint", "bias": "use_bias", "border_mode": "padding", "subsample": "strides",
    "nb_filter": "filters", "dim_ordering": "data_format", "dropout_W": "dropout", "dropout_U": "recurrent_dropout",
    "p": "rate", "gamma_init": "gamma_initializer", "beta_init": "beta_initializer",
}  # fmt: skip
_ORDERINGS = {"tf": "channels_last", "th": "channels_first", "default": "channels_last"}

# Arguments that say nothing about the result, with whatever value.
_SILENT = {
    "batch_input_shape", "batch_shape", "input_dtype", "input_length", "input_shape", "implementation", "consume_less",
    "build_config", "sparse", "optional", "unroll", "weights", "fused", "sublayer", "seed_generator", "num_constants",
    "cpu_merge", "compile_config", "shared_object_id",
}  # fmt: skip
_OFF = {"groups": 1, "axis_of_time": 0, "renorm_momentum": 0.99, "use_cudnn": "auto"}  # values that are the only ones
_SHARED = {"name", "trainable", "dtype", "activity_regularizer", "autocast"}


def is_known(name: str) -> bool:
    """Whether a class name in a file stands for a class of this library.

    Args:
        name: the name in the file.
    """
    name = ROWS.get(name, Row()).today or name
    return name in LEGACY_LAYERS or name in LAYERS


def find_class(name: str) -> type:
    """The class that stands today for a class name in a file.

    Args:
        name: the name in the file.

    Raises:
        UnknownNameError: no class does.
    """
    name = ROWS.get(name, Row()).today or name
    return LEGACY_LAYERS[name] if name in LEGACY_LAYERS else LAYERS[name]


def todays_arguments(name: str, config: Mapping[str, Any]) -> Config:
    """The arguments of a layer under today's names; their values are still those of the file.

    Args:
        name: the class name in the file.
        config: the arguments there.

    Raises:
        LoadError: an argument changes the result, and no layer has it today.
    """
    row, cls = ROWS.get(name, Row()), find_class(name)
    known = {*init_parameters(cls), *_SHARED}
    found: Config = dict(row.added)
    for key, value in config.items():
        new = row.renamed.get(key)
        if new is None:
            new = _KERAS1[key] if key in _KERAS1 and key not in known else key
        if new in row.dropped and new not in known:
            continue
        if new not in found or key == new:
            found[new] = value
    if row.changed is not None:
        row.changed(found)
    if "unit_forget_bias" in known and "forget_bias_init" in found:
        found["unit_forget_bias"] = found["forget_bias_init"] in ("one", "ones")
    found.pop("forget_bias_init", None)
    if found.get("data_format") in _ORDERINGS:
        found["data_format"] = _ORDERINGS[found["data_format"]]
    return {key: value for key, value in found.items() if _belongs(key, value, known, cls, config)}


def _belongs(key: str, value: Any, known: set[str], cls: type, config: Mapping[str, Any]) -> bool:
    """Whether an argument is the class's; one that is not must be switched off."""
    if key in known and key != "input_shape":
        return True
    if key == "zero_output_for_mask" and "return_sequences" in known:
        return True
    if key in _SILENT or value is None or value in (0, False, [], {}, "") or _OFF.get(key, _OFF) == value:
        return False
    if key in ("input_dim", "module", "registered_name") or (key == "synchronized" and value):
        return False
    raise LoadError(
        f"The {cls.__name__} {config.get('name')!r} has an argument {key!r} that no layer has today.",
        expected="arguments of Keras 1.2 or Keras 2",
        received=f"{key}={value!r}"[:100],
        fix="pass a class of your own for it in custom_objects",
    )
