"""Raw operations of TensorFlow 2.0 to 2.3 graphs: a node's description as the name of a function and its arguments."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lamina.errors import LoadError
from lamina.saving.json_text import parse_json
from lamina.saving.legacy.functions import as_tensor

# The raw operation -> the function, and its attributes -> arguments.
_RAW: dict[str, tuple[str, dict[str, str]]] = {
    "AddV2": ("math.add", {}), "Add": ("math.add", {}), "BiasAdd": ("nn.bias_add", {}), "Sub": ("math.subtract", {}),
    "Mul": ("math.multiply", {}), "RealDiv": ("math.truediv", {}), "Div": ("math.truediv", {}),
    "FloorDiv": ("math.floordiv", {}), "FloorMod": ("math.floormod", {}), "Pow": ("math.pow", {}),
    "Maximum": ("math.maximum", {}), "Minimum": ("math.minimum", {}), "Neg": ("math.negative", {}),
    "Relu": ("nn.relu", {}), "Relu6": ("nn.relu6", {}), "Elu": ("nn.elu", {}), "Selu": ("nn.selu", {}),
    "LeakyRelu": ("nn.leaky_relu", {"alpha": "alpha"}), "Sigmoid": ("math.sigmoid", {}), "Tanh": ("math.tanh", {}),
    "Softplus": ("math.softplus", {}), "Softmax": ("nn.softmax", {}), "Exp": ("math.exp", {}), "Log": ("math.log", {}),
    "Sqrt": ("math.sqrt", {}), "Rsqrt": ("math.rsqrt", {}), "Square": ("math.square", {}), "Abs": ("math.abs", {}),
    "Mean": ("math.reduce_mean", {"keep_dims": "keepdims"}), "Sum": ("math.reduce_sum", {"keep_dims": "keepdims"}),
    "Max": ("math.reduce_max", {"keep_dims": "keepdims"}), "Min": ("math.reduce_min", {"keep_dims": "keepdims"}),
    "Prod": ("math.reduce_prod", {"keep_dims": "keepdims"}), "Reshape": ("reshape", {}),
    "Transpose": ("transpose", {}), "ExpandDims": ("expand_dims", {}),
    "Squeeze": ("squeeze", {"squeeze_dims": "axis"}), "Tile": ("tile", {}), "ReverseV2": ("reverse", {}),
    "MatMul": ("linalg.matmul", {"transpose_a": "transpose_a", "transpose_b": "transpose_b"}),
    "BatchMatMulV2": ("linalg.matmul", {"adj_x": "transpose_a", "adj_y": "transpose_b"}),
    "BatchMatMul": ("linalg.matmul", {"adj_x": "transpose_a", "adj_y": "transpose_b"}), "Pad": ("pad", {}),
    "Shape": ("shape", {}), "Identity": ("identity", {}), "StopGradient": ("identity", {}), "Cast": ("cast", {}),
    "Greater": ("math.greater", {}), "Less": ("math.less", {}), "SelectV2": ("where", {}), "ArgMax": ("argmax", {}),
    "DepthToSpace": ("nn.depth_to_space", {"block_size": "block_size"}),
    "SpaceToDepth": ("nn.space_to_depth", {"block_size": "block_size"}), "Rank": ("rank", {}),
    "SquaredDifference": ("math.squared_difference", {}), "Erf": ("math.erf", {}), "Floor": ("math.floor", {}),
}  # fmt: skip
_DTYPES = {"DT_FLOAT": "float32", "DT_INT32": "int32", "DT_INT64": "int64", "DT_BOOL": "bool", "DT_DOUBLE": "float64",
           "DT_HALF": "float16"}  # fmt: skip


def call_of_node(config: Mapping[str, Any], first: Any) -> tuple[str, list[Any], dict[str, Any]]:
    """The function that a node calls, and with what.

    Args:
        config: of a TensorFlowOpLayer: `node_def`, and the constants among its inputs by place.
        first: the tensors that go in.

    Raises:
        LoadError: the operation is not known, or the description is not text.
    """
    node = config.get("node_def")
    try:
        node = parse_json(node, "node_def") if isinstance(node, str) else node
        operation = node["op"]  # type: ignore[index]
    except (ValueError, TypeError, KeyError):
        raise LoadError(
            f"The operation {config.get('name')!r} is described in a form that is not read.",
            expected="node_def as JSON, as TensorFlow 2.1 to 2.3 wrote it",
            received=repr(node)[:60],
            fix="load the model with that TensorFlow and save it with a later one",
        ) from None
    attributes = node.get("attr") or {}
    inputs = list(first) if isinstance(first, list) else [first]
    for place, value in sorted((int(key), value) for key, value in (config.get("constants") or {}).items()):
        inputs.insert(place, value)
    if operation == "ConcatV2":
        return "concat", [inputs[:-1]], {"axis": _whole(inputs[-1])}
    if operation == "Pack":
        return "stack", [inputs], {"axis": _attribute(attributes.get("axis")) or 0}
    if operation == "Split":
        return "split", [inputs[1], _attribute(attributes.get("num_split"))], {"axis": _whole(inputs[0])}
    if operation == "StridedSlice":
        return "strided_slice", inputs, {k: _attribute(v) for k, v in attributes.items() if k.endswith("_mask")}
    if operation not in _RAW:
        raise LoadError(
            f"The operation {config.get('name')!r} of TensorFlow is not known here.",
            expected=f"one of {len(_RAW)} operations",
            received=repr(operation)[:60],
            fix="make the model anew with layers, and load its weights",
        )
    name, arguments = _RAW[operation]
    more = {new: _attribute(attributes[old]) for old, new in arguments.items() if old in attributes}
    if operation == "Cast":
        more["dtype"] = _DTYPES.get(str(_attribute(attributes.get("DstT"))), "float32")
    if operation in ("Maximum", "Minimum", "AddV2", "Add", "Sub", "Mul", "RealDiv"):
        other = next((x for x in inputs if not isinstance(x, (int, float, list))), None)
        inputs = [as_tensor(x, other) for x in inputs]
    return name, inputs, more


def _whole(value: Any) -> int:
    return int(value[0] if isinstance(value, list) else value)


def _attribute(value: Any) -> Any:
    """An attribute of a node in Protocol Buffers' JSON: whole numbers are texts there."""
    if not isinstance(value, dict):
        return value
    for kind, found in value.items():
        if kind == "i":
            return int(found)
        if kind == "list":
            return [int(member) for member in found.get("i", [])]
        return found
    return None
