"""How the battery makes and feeds each registered layer: constructor arguments, inputs, and what sets a layer apart."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from lamina import layers as L
from lamina.engine import nest
from lamina.models import Functional, Model, Sequential
from lamina.registry import LAYERS

ROWS = (3, 4)  # (batch, features)
STEPS = (2, 6, 4)  # (batch, steps, features)
IMAGE = (2, 8, 9, 4)  # (batch, height, width, channels)
IMAGE_FIRST = (2, 4, 8, 9)
VOLUME = (2, 5, 6, 7, 3)
VOLUME_FIRST = (2, 3, 5, 6, 7)
STATE = (2, 3)  # (batch, units)


@dataclass(frozen=True)
class Case:
    """One layer with its input.

    Args:
        make: from the keyword arguments that every layer takes to a new layer.
        shape: the shape of the first argument of a call, or a list of shapes.
        more: the same for the arguments after it.
        free: axes of the first argument, beside the batch, that may be unknown in a functional model.
        whole: the inputs are whole numbers below this.
        mask: what becomes of a mask on the input: `"kept"`, `"dropped"`, or `"own"` if the layer makes it anew; by
            default what `supports_masking` says.
        training: `"same"` if a call while training gives what inference gives; else `"other"`.
        plain: whether the config is JSON-ready; one that holds a function or a module is not.
        policies: whether `dtype=` says in what the layer computes.
        note: what the name of the test says beside the class.
    """

    make: Callable[..., Any]
    shape: Any
    more: tuple[Any, ...] = ()
    free: tuple[int, ...] = ()
    whole: int | None = None
    mask: str | None = None
    training: str = "same"
    plain: bool = True
    policies: bool = True
    note: str = ""

    def arguments(self, dtype: torch.dtype = torch.float32) -> list[Any]:
        """Tensors for a call."""

        def tensor(shape: Any) -> torch.Tensor:
            if self.whole is not None:
                return torch.randint(1, self.whole, shape)
            return torch.randn(shape, dtype=torch.float64).to(dtype)

        return [nest.map_shapes(tensor, shape) for shape in (self.shape, *self.more)]

    def symbols(self, batch_size: int | None = None, free: bool = False) -> list[Any]:
        """Symbolic tensors for a call; with `free`, all sizes are unknown that may be."""
        hidden = self.free if free else ()

        def symbol(shape: Any, hide: tuple[int, ...] = ()) -> Any:
            sizes = [None if axis in hide else size for axis, size in enumerate(shape)]
            return L.Input(sizes[1:], batch_size=batch_size, dtype="float32" if self.whole is None else "int64")

        first = nest.map_shapes(lambda shape: symbol(shape, hidden), self.shape)
        return [first, *(nest.map_shapes(symbol, shape) for shape in self.more)]


def case(cls: Any, shape: Any, *args: Any, inner: Callable[..., Any] | None = None, **kwargs: Any) -> Case:
    """A case of `cls(*args)`; those of `kwargs` that `Case` has are its own, the others go to `cls`."""
    fields = {key: kwargs.pop(key) for key in list(kwargs) if key in Case.__dataclass_fields__}
    note = ", ".join([*map(str, args), *(f"{key}={value}" for key, value in kwargs.items())])

    def make(**common: Any) -> Any:
        wrapped = (inner(**common),) if inner is not None else ()
        return cls(*wrapped, *args, **kwargs, **common)

    return Case(make, shape, **{"note": note, **fields})


# Layers that need a definition of their own


def doubled(x: torch.Tensor) -> torch.Tensor:
    return x * 2


class Twice(L.Wrapper):
    """A layer applied to its own result."""

    def call(self, inputs: Any) -> Any:
        return self.layer(self.layer(inputs))


class Net(Model):
    """A subclassed model."""

    def __init__(self, units: int = 5, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.hidden = L.Dense(units, activation="tanh", dtype=kwargs.get("dtype"))
        self.out = L.Dense(2, dtype=kwargs.get("dtype"))

    def call(self, inputs: Any) -> Any:
        return self.out(self.hidden(inputs))


def functional(trainable: bool = True, **common: Any) -> Any:
    x = L.Input(STEPS[1:], dtype=common.get("dtype") if common.get("dtype") == "float64" else None)
    shared = L.Dense(4, **common)
    y = L.Concatenate(**common)([shared(torch.tanh(x)), L.Add(**common)([shared(x), x])])
    return Functional(x, L.LayerNormalization(**common)(y), trainable=trainable)


def sequential(*head: Any, trainable: bool = True, **common: Any) -> Any:
    stack = [*head, L.Dense(5, activation="tanh", **common), L.BatchNormalization(**common), L.Dense(2, **common)]
    return Sequential(stack, trainable=trainable)


def input_layer(**common: Any) -> Any:
    return L.InputLayer(ROWS[1:])


ELEMENTWISE = [L.Add, L.Subtract, L.Multiply, L.Average, L.Maximum, L.Minimum]
SPATIAL: list[tuple[int, tuple[int, ...], tuple[int, ...]]] = [
    (1, STEPS, (2, 4, 6)),
    (2, IMAGE, IMAGE_FIRST),
    (3, VOLUME, VOLUME_FIRST),
]
NOISY: dict[str, Any] = {"training": "other"}
OWN: dict[str, Any] = {"mask": "own"}
HELD: dict[str, Any] = {"plain": False, "policies": False}  # a torch module has a dtype of its own

CASES: dict[str, list[Case]] = {
    "Dense": [
        case(L.Dense, STEPS, 5, free=(1,)),
        case(L.Dense, ROWS, 5, use_bias=False, activation="softmax"),
        case(L.Dense, ROWS, 5, kernel_regularizer="l2", activity_regularizer="l1", kernel_constraint="max_norm"),
    ],
    "Activation": [case(L.Activation, STEPS, "tanh", free=(1, 2)), case(L.Activation, STEPS, L.ReLU(), note="layer")],
    "Identity": [case(L.Identity, STEPS, free=(1, 2))],
    "Lambda": [case(L.Lambda, STEPS, doubled, free=(1, 2), plain=False, note="doubled")],
    "Masking": [case(L.Masking, STEPS, free=(1,), **OWN)],
    "Embedding": [
        case(L.Embedding, (2, 6), 11, 4, whole=11, free=(1,)),
        case(L.Embedding, (2, 6), 11, 4, mask_zero=True, whole=11, **OWN),
    ],
    "InputLayer": [Case(input_layer, ROWS, policies=False)],
    "TorchModule": [
        Case(lambda **k: L.TorchModule(torch.nn.Linear(4, 5), **k), STEPS, **HELD, free=(1,), note="Linear"),
        Case(lambda **k: L.TorchModule(torch.nn.BatchNorm1d(4), **k), ROWS, **{**NOISY, **HELD}, note="BatchNorm1d"),
    ],
    "EinsumDense": [
        case(L.EinsumDense, STEPS, "abc,cde->abde", (None, 2, 5), bias_axes="de", free=(1,)),
        case(L.EinsumDense, STEPS, "...x,xy->...y", 5, activation="tanh", free=(1,)),
    ],
    # Attention
    "Attention": [
        case(L.Attention, [STEPS, (2, 5, 4)], use_scale=True, free=(1,), **OWN),
        case(L.Attention, [STEPS, (2, 5, 3), (2, 5, 4)], score_mode="concat", **OWN),
        case(L.Attention, [STEPS, (2, 5, 4)], dropout=0.5, seed=1, **{**NOISY, **OWN}),
    ],
    "AdditiveAttention": [case(L.AdditiveAttention, [STEPS, (2, 5, 4)], free=(1,), **OWN)],
    "MultiHeadAttention": [
        case(L.MultiHeadAttention, STEPS, 2, 3, more=((2, 5, 4),), free=(1,)),
        case(L.MultiHeadAttention, STEPS, 2, 3, value_dim=5, output_shape=7, more=((2, 5, 4),)),
        case(L.MultiHeadAttention, STEPS, 2, 3, dropout=0.5, seed=1, more=((2, 5, 4),), **NOISY),
    ],
    # Normalization
    "BatchNormalization": [
        case(L.BatchNormalization, IMAGE, free=(1, 2), **NOISY),
        case(L.BatchNormalization, ROWS, **NOISY),
        case(L.BatchNormalization, STEPS, center=False, scale=False, free=(1,), **NOISY),
        case(L.BatchNormalization, STEPS, free=(1,), renorm=True, scale=False, **NOISY),
        case(L.BatchNormalization, IMAGE_FIRST, axis=1, center=False, free=(2, 3), **NOISY),
    ],
    "LayerNormalization": [
        case(L.LayerNormalization, STEPS, free=(1,)),
        case(L.LayerNormalization, IMAGE, axis=[1, 3], free=(2,)),
        case(L.LayerNormalization, STEPS, rms_scaling=True),
        case(L.LayerNormalization, STEPS, center=False, scale=False),
    ],
    "GroupNormalization": [
        case(L.GroupNormalization, IMAGE, groups=2, free=(1, 2)),
        case(L.GroupNormalization, STEPS, groups=2, scale=False),
        case(L.GroupNormalization, IMAGE_FIRST, groups=-1, axis=1),
    ],
    "RMSNormalization": [case(L.RMSNormalization, STEPS, free=(1,)), case(L.RMSNormalization, STEPS, axis=[1, 2])],
    "UnitNormalization": [case(L.UnitNormalization, STEPS, free=(1,)), case(L.UnitNormalization, STEPS, axis=[1, 2])],
    # Noise
    "Dropout": [
        case(L.Dropout, (4, 20, 5), 0.5, free=(1, 2), **NOISY),
        case(L.Dropout, (4, 20, 5), 0.5, noise_shape=(None, None, 1), seed=1, **NOISY),
    ],
    "SpatialDropout1D": [case(L.SpatialDropout1D, (4, 5, 20), 0.5, free=(1, 2), **NOISY)],
    "SpatialDropout2D": [
        case(L.SpatialDropout2D, (4, 3, 2, 20), 0.5, free=(1, 2, 3), **NOISY),
        case(L.SpatialDropout2D, (4, 20, 3, 2), 0.5, data_format="channels_first", seed=1, **NOISY),
    ],
    "SpatialDropout3D": [case(L.SpatialDropout3D, (4, 2, 3, 2, 20), 0.5, free=(1, 2, 3, 4), **NOISY)],
    "AlphaDropout": [
        case(L.AlphaDropout, (4, 20, 5), 0.5, free=(1, 2), **NOISY),
        case(L.AlphaDropout, (4, 20, 5), 0.5, noise_shape=(None, None, 1), seed=1, **NOISY),
    ],
    "GaussianDropout": [case(L.GaussianDropout, STEPS, 0.5, free=(1, 2), **NOISY)],
    "GaussianNoise": [case(L.GaussianNoise, STEPS, 0.5, seed=1, free=(1, 2), **NOISY)],
    "ActivityRegularization": [case(L.ActivityRegularization, STEPS, 0.1, 0.2, free=(1, 2))],
    "Rescaling": [case(L.Rescaling, IMAGE, 2.0, -0.5, free=(1, 2)), case(L.Rescaling, ROWS, [1.0, 2.0, 3.0, 4.0], 1.0)],
    # Rearranging
    "Flatten": [
        case(L.Flatten, IMAGE, free=(1, 2)),
        case(L.Flatten, IMAGE_FIRST, data_format="channels_first"),
        case(L.Flatten, (2, 6), whole=9),
    ],
    "Reshape": [
        case(L.Reshape, STEPS, (3, 8)),
        case(L.Reshape, STEPS, (-1, 2), free=(1,)),
        case(L.Reshape, (2, 6), (3, 2), whole=9),
    ],
    "Permute": [case(L.Permute, IMAGE, (3, 1, 2), free=(1, 2, 3))],
    "RepeatVector": [case(L.RepeatVector, ROWS, 3, free=(1,))],
    # Merging
    **{
        cls.__name__: [
            case(cls, [STEPS, STEPS], free=(1,)),
            case(cls, [STEPS, (2, 1, 4)], note="broadcast"),
            *([] if cls is L.Subtract else [case(cls, [STEPS, STEPS, STEPS], note="three")]),
            case(cls, [(2, 6), (2, 6)], whole=9, note="whole numbers"),
        ]
        for cls in ELEMENTWISE
    },
    "Concatenate": [
        case(L.Concatenate, [STEPS, (2, 6, 2)], free=(1,)),
        case(L.Concatenate, [STEPS, (2, 3, 4), STEPS], axis=1, free=(1,), **OWN),
    ],
    "Dot": [
        case(L.Dot, [STEPS, (2, 5, 4)], 2, mask="dropped", free=(1,)),
        case(L.Dot, [ROWS, ROWS], axes=1, normalize=True),
    ],
    # Activations
    "ReLU": [case(L.ReLU, STEPS, free=(1, 2)), case(L.ReLU, STEPS, 1.0, 0.2, 0.1)],
    "LeakyReLU": [case(L.LeakyReLU, STEPS, free=(1, 2))],
    "PReLU": [
        case(L.PReLU, STEPS, alpha_initializer="random_normal"),
        case(L.PReLU, IMAGE, shared_axes=[1, 2], free=(1, 2)),
    ],
    "ELU": [case(L.ELU, STEPS, free=(1, 2))],
    "Softmax": [case(L.Softmax, STEPS, free=(1, 2)), case(L.Softmax, STEPS, axis=[1, 2])],
    # Recurrent
    "SimpleRNNCell": [case(L.SimpleRNNCell, (2, 4), 3, more=([STATE],))],
    "LSTMCell": [case(L.LSTMCell, (2, 4), 3, more=([STATE, STATE],))],
    "GRUCell": [
        case(L.GRUCell, (2, 4), 3, more=([STATE],)),
        case(L.GRUCell, (2, 4), 3, more=([STATE],), reset_after=False),
    ],
    "StackedRNNCells": [
        case(
            L.StackedRNNCells,
            (2, 4),
            inner=lambda **k: [L.LSTMCell(3, **k), L.SimpleRNNCell(2, **k)],
            more=([[STATE, STATE], (2, 2)],),
        )
    ],
    "RNN": [
        case(L.RNN, STEPS, inner=lambda **k: L.LSTMCell(3, **k), free=(1,), mask="dropped"),
        case(L.RNN, STEPS, inner=lambda **k: [L.GRUCell(3, **k), L.SimpleRNNCell(2, **k)], return_sequences=True),
    ],
    "Bidirectional": [
        case(L.Bidirectional, STEPS, inner=lambda **k: L.LSTM(3, return_sequences=True, **k), free=(1,)),
        case(L.Bidirectional, STEPS, inner=lambda **k: L.GRU(3, **k), merge_mode="sum", mask="dropped"),
    ],
    **{
        cls.__name__: [
            case(cls, STEPS, 3, return_sequences=True, free=(1,)),
            case(cls, STEPS, 3, go_backwards=True, return_state=True, mask="dropped"),
            case(cls, STEPS, 3, dropout=0.5, recurrent_dropout=0.5, seed=1, mask="dropped", **NOISY),
        ]
        for cls in (L.SimpleRNN, L.LSTM, L.GRU)
    },
    # Layers and models of layers
    "Wrapper": [case(Twice, STEPS, inner=lambda **k: L.Dense(4, activation="tanh", **k), **OWN)],
    "TimeDistributed": [
        case(L.TimeDistributed, STEPS, inner=lambda **k: L.Dense(5, **k), free=(1,)),
        case(L.TimeDistributed, (2, 3, 6, 7, 2), inner=lambda **k: L.Conv2D(3, 2, **k), free=(1,)),
    ],
    "Model": [Case(Net, STEPS, **OWN)],
    "Functional": [Case(functional, STEPS, **OWN)],
    "Sequential": [
        Case(sequential, STEPS, **NOISY, **OWN),
        Case(lambda **k: sequential(L.Input(STEPS[1:]), **k), STEPS, **NOISY, **OWN, note="with Input"),
    ],
}

for _rank, _last, _first in SPATIAL:
    _space, _space_first = tuple(range(1, _rank + 1)), tuple(range(2, _rank + 2))
    _same = {"padding": "same", "strides": 2}
    CASES[f"Conv{_rank}D"] = [
        case(getattr(L, f"Conv{_rank}D"), _last, 5, 3, free=_space),
        case(getattr(L, f"Conv{_rank}D"), _last, 2 * _last[-1], 2, **_same, groups=_last[-1], free=_space),
        case(getattr(L, f"Conv{_rank}D"), _first, 5, 2, dilation_rate=2, data_format="channels_first", use_bias=False),
    ]
    CASES[f"Conv{_rank}DTranspose"] = [
        case(getattr(L, f"Conv{_rank}DTranspose"), _last, 5, 3, **_same, free=_space),
        case(getattr(L, f"Conv{_rank}DTranspose"), _first, 5, 2, data_format="channels_first"),
    ]
    if _rank < 3:
        for _kind, _filters in (("Depthwise", ()), ("Separable", (5,))):
            _cls = getattr(L, f"{_kind}Conv{_rank}D")
            CASES[_cls.__name__] = [
                case(_cls, _last, *_filters, 3, depth_multiplier=2, free=_space),
                case(_cls, _first, *_filters, 2, **_same, data_format="channels_first"),
            ]
    for _kind in ("Max", "Average"):
        _cls, _whole = getattr(L, f"{_kind}Pooling{_rank}D"), getattr(L, f"Global{_kind}Pooling{_rank}D")
        CASES[_cls.__name__] = [
            case(_cls, _last, 2, free=_space),
            case(_cls, _first, 3, **_same, data_format="channels_first", free=_space_first),
        ]
        CASES[_whole.__name__] = [
            case(_whole, _last, free=_space, mask="dropped"),
            case(_whole, _first, data_format="channels_first", keepdims=True, **OWN),  # its steps stand last
        ]
    CASES[f"ZeroPadding{_rank}D"] = [case(getattr(L, f"ZeroPadding{_rank}D"), _last, 2, free=_space)]
    CASES[f"Cropping{_rank}D"] = [case(getattr(L, f"Cropping{_rank}D"), _last, 1, free=_space)]
    CASES[f"UpSampling{_rank}D"] = [case(getattr(L, f"UpSampling{_rank}D"), _last, 2, free=_space)]
CASES["UpSampling2D"].append(case(L.UpSampling2D, IMAGE, 2, interpolation="bilinear"))
CASES["ZeroPadding2D"].append(case(L.ZeroPadding2D, IMAGE_FIRST, ((1, 0), (2, 3)), data_format="channels_first"))


def owns_floats(layer: Any) -> bool:
    """Whether a layer has weights of its own, not only in layers inside, that say which dtype its input gets."""
    own = [*layer.parameters(recurse=False), *layer.buffers(recurse=False)]
    return layer.autocast and any(weight.is_floating_point() for weight in own)


def registered() -> set[str]:
    """The names of the layers that lamina registers; a test may have registered others."""
    return {name for name in LAYERS if LAYERS[name].__module__.startswith("lamina.")}
