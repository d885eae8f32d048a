"""What the text of a function in a file may use: torch's functions of tensors, which do nothing but compute."""

from __future__ import annotations

import operator
from types import MappingProxyType
from typing import Any

import torch
from torch.nn import functional

_BOTH = (
    "abs acos add amax amin argmax argmin argsort asin atan atan2 bmm ceil chunk clamp clip cos cosh cumprod cumsum "
    "diagonal div dot eq erf exp expm1 flatten flip floor floor_divide fmod gather ge gt index_select isfinite isinf "
    "isnan le log log10 log1p log2 log_softmax logical_and logical_not logical_or logsumexp lt masked_fill matmul max "
    "maximum mean min minimum mm movedim mul nan_to_num ne neg permute pow prod reciprocal relu remainder reshape roll "
    "round rsqrt sigmoid sign sin sinh softmax sort split sqrt square squeeze std sub sum swapaxes take_along_dim tan "
    "tanh topk transpose tril triu unbind unflatten unsqueeze var where"
).split()
_TORCH = "cat cdist concat concatenate cosine_similarity einsum full_like ones_like outer stack tensordot zeros_like"
_METHODS = "bool contiguous dim double expand_as float half int long numel size to type_as view"
_FUNCTIONAL = (
    "adaptive_avg_pool1d adaptive_avg_pool2d avg_pool1d avg_pool2d avg_pool3d celu cosine_similarity elu gelu glu "
    "hardsigmoid hardswish hardtanh interpolate layer_norm leaky_relu log_softmax logsigmoid max_pool1d max_pool2d "
    "max_pool3d mish normalize one_hot pad pixel_shuffle relu relu6 selu sigmoid silu softmax softmin softplus "
    "softsign tanh tanhshrink threshold unfold"
)
_CONSTANTS = (
    "float16 float32 float64 bfloat16 int8 int16 int32 int64 uint8 bool half float double long int pi e inf nan"
)


def _members(owner: Any, names: str | list[str], prefix: str) -> dict[str, Any]:
    words = names.split() if isinstance(names, str) else names
    return {f"{prefix}{name}": getattr(owner, name) for name in words if hasattr(owner, name)}


NAMES: MappingProxyType[str, Any] = MappingProxyType(
    {
        **_members(torch, [*_BOTH, *_TORCH.split(), *_CONSTANTS.split()], "torch."),
        **_members(functional, _FUNCTIONAL, "torch.nn.functional."),
        **{function.__name__: function for function in (abs, float, int, len, max, min, round, tuple)},
    }
)
"""Each dotted name with what it stands for."""

METHODS = frozenset([*_BOTH, *_METHODS.split()])
PROPERTIES = frozenset("shape ndim dtype T mT real imag".split())
MODULES = {"torch": torch, "torch.nn": torch.nn, "torch.nn.functional": functional}

BINARY = {
    "Add": operator.add, "Sub": operator.sub, "Mult": operator.mul, "Div": operator.truediv, "Mod": operator.mod,
    "FloorDiv": operator.floordiv, "Pow": operator.pow, "MatMult": operator.matmul, "BitAnd": operator.and_,
    "BitOr": operator.or_, "BitXor": operator.xor,
}  # fmt: skip
UNARY = {"UAdd": operator.pos, "USub": operator.neg, "Invert": operator.invert, "Not": operator.not_}
COMPARED = {
    "Eq": operator.eq, "NotEq": operator.ne, "Lt": operator.lt, "LtE": operator.le, "Gt": operator.gt,
    "GtE": operator.ge, "Is": operator.is_, "IsNot": operator.is_not,
}  # fmt: skip
