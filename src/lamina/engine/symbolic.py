"""`SymbolicTensor`: a tensor that is still to come, and the graph that grows as functions are called on one."""

from __future__ import annotations

import operator
import sys
from collections.abc import Callable, Iterable
from typing import Any, cast

import numpy as np
import torch
from torch import overrides
from torch._subclasses.fake_tensor import DataDependentOutputException, DynamicOutputShapeException

from lamina import config, dtypes
from lamina.engine import nest, watching
from lamina.engine.abstract import Shape, Spec, abstract_call, map_arguments, reason_of
from lamina.errors import DtypeError, GraphError
from lamina.naming import auto_name


class TensorProperty:
    """A property of a tensor, such as `mT`, as a function that a graph can call.

    Args:
        name: the property's name.

    Example:
        >>> TensorProperty("mT")(torch.zeros(2, 3)).shape
        torch.Size([3, 2])
    """

    def __init__(self, name: str) -> None:
        self.name = self.__name__ = name

    def __call__(self, tensor: Any) -> Any:
        return getattr(tensor, self.name)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TensorProperty) and other.name == self.name

    def __hash__(self) -> int:
        return hash(self.name)


class Operation:
    """A torch function or operator that stands in a graph.

    Args:
        function: what is called.
        name: the node's name; by default the function's own, numbered.
    """

    def __init__(self, function: Callable[..., Any], name: str | None = None) -> None:
        self.function = function
        self.name = name or auto_name(getattr(function, "__name__", "operation").strip("_"))
        self.nodes: list[Node] = []

    @property
    def target(self) -> str | None:
        """The dotted name under which torch publishes the function, such as `torch.nn.functional.pad`."""
        return cast("Any", overrides).resolve_name(self.function)

    def __repr__(self) -> str:
        return f"<Operation {self.name}>"


class Node:
    """One call of a layer or an operation: what went in and what came out.

    Args:
        op: the `Layer` or `Operation` that was called.
        args: its positional arguments, nests with symbolic tensors among the leaves.
        kwargs: its keyword arguments, likewise.
        specs: a nest of `Spec`, the form of the result.
    """

    def __init__(self, op: Any, args: tuple[Any, ...], kwargs: dict[str, Any], specs: Any) -> None:
        self.op = op
        self.args = args
        self.kwargs = kwargs
        self.inputs = symbolic_leaves((args, kwargs))
        self.outputs: Any = _tensors_for(specs, self)
        self.output_list: list[SymbolicTensor] = symbolic_leaves(self.outputs)
        op.nodes.append(self)

    def __repr__(self) -> str:
        return f"<Node {self.op.name}: {len(self.inputs)} -> {len(self.output_list)}>"


def _tensors_for(specs: Any, node: Node) -> Any:
    """A symbolic tensor for each `Spec` of a nest; other leaves as they are."""
    return nest.map_nest(
        lambda leaf: SymbolicTensor(leaf.shape, leaf.dtype, node=node) if isinstance(leaf, Spec) else leaf, specs
    )


def symbolic_leaves(value: Any) -> list[SymbolicTensor]:
    """The symbolic tensors in a nest of arguments, slices included, left to right."""
    found: list[SymbolicTensor] = []

    def look(leaf: Any) -> Any:
        if isinstance(leaf, SymbolicTensor):
            found.append(leaf)
        return leaf

    map_arguments(look, value)
    return found


def any_symbolic(values: Iterable[Any]) -> bool:
    """Whether a symbolic tensor is among `values` or in a nest there."""
    return any(isinstance(v, SymbolicTensor) or (nest.is_nest(v) and bool(symbolic_leaves(v))) for v in values)


class SymbolicTensor:
    """A placeholder for a tensor in a model that is being defined.

    `Input` makes the first ones. Calling a layer, a torch function, a tensor method or an operator on one adds
    a node to the graph and gives the next.

    Args:
        shape: the sizes, `None` where a size is known only when data come.
        dtype: the dtype of the tensor to come.
        name: a name for messages; by default that of the node.
        node: the call that makes it.

    Example:
        >>> x = SymbolicTensor((None, 4), torch.float32)
        >>> (torch.relu(x) + 1).sum(dim=1).shape
        (None,)
    """

    __slots__ = ("__weakref__", "_name", "dtype", "node", "shape")

    def __init__(self, shape: Shape, dtype: torch.dtype, name: str | None = None, node: Node | None = None) -> None:
        self.shape: Shape = tuple(None if size is None else operator.index(size) for size in shape)
        self.dtype = dtype
        self.node = node
        self._name = name

    @property
    def name(self) -> str:
        """The name given, or that of the layer or operation that makes this tensor."""
        return self._name or (self.node.op.name if self.node is not None else "symbolic_tensor")

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.shape)

    @property
    def spec(self) -> Spec:
        """Shape and dtype alone."""
        return Spec(self.shape, self.dtype)

    @property
    def device(self) -> torch.device:
        """Where the tensor is expected to be."""
        return config.device()

    def dim(self) -> int:
        """The number of axes, as a torch tensor's method gives it."""
        return len(self.shape)

    def size(self, dim: int | None = None) -> Any:
        """The shape, or one size of it."""
        return self.shape if dim is None else self.shape[dim]

    @classmethod
    def __torch_function__(
        cls, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        return record(func, args, kwargs or {})

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        method: Any = getattr(torch.Tensor, name, None)
        if method is None:
            raise AttributeError(f"neither SymbolicTensor nor torch.Tensor has an attribute {name!r}")
        if name.endswith("_"):
            raise self._refuse(
                f"{name}() cannot change it in place", f"use {name.rstrip('_')}(), which gives a new tensor"
            )
        if not callable(method):  # a property such as .T
            return record(TensorProperty(name), (self,), {})

        def call(*args: Any, **kwargs: Any) -> Any:
            return record(method, (self, *args), kwargs)

        return call

    def _refuse(self, what: str, fix: str) -> DtypeError:
        return DtypeError(
            f"A symbolic tensor has no values yet, so {what}.",
            received=repr(self),
            fix=fix,
        )

    def __bool__(self) -> bool:
        raise self._refuse("it is neither true nor false", "use torch.where, or decide inside a layer's call")

    def __len__(self) -> int:
        if not self.shape or self.shape[0] is None:
            raise self._refuse("its length is not known", "use shape, or give Input a batch_size")
        return self.shape[0]

    def __iter__(self) -> Any:
        raise self._refuse("it cannot be iterated over", "use torch.unbind along an axis of known size")

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        raise self._refuse(
            "NumPy cannot work on it", "use the torch function of the same name, or a Lambda layer around the call"
        )

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        """An operator with an array on the left comes here; any other function of NumPy's is refused."""
        function = _OF_UFUNC.get(ufunc.__name__) if method == "__call__" and not kwargs else None
        return self.__array__() if function is None else record(function, inputs, {})

    def __setitem__(self, key: Any, value: Any) -> None:
        raise self._refuse("nothing can be assigned into it", "use torch.where or torch.cat to make a new tensor")

    def __float__(self) -> float:
        raise self._refuse("it is no number", "do this inside a layer's call")

    def __int__(self) -> int:
        raise self._refuse("it is no number", "do this inside a layer's call")

    __index__ = __int__

    def __repr__(self) -> str:
        return f"<SymbolicTensor shape={self.shape}, dtype={str(self.dtype).removeprefix('torch.')}, name={self.name}>"

    def __getitem__(self, key: Any) -> Any:
        return record(operator.getitem, (self, key), {})

    def __hash__(self) -> int:
        return id(self)

    def __neg__(self) -> Any:
        return record(operator.neg, (self,), {})

    def __invert__(self) -> Any:
        return record(operator.invert, (self,), {})

    def __pos__(self) -> Any:
        return record(operator.pos, (self,), {})

    def __abs__(self) -> Any:
        return record(torch.abs, (self,), {})

    def __contains__(self, value: Any) -> bool:
        raise self._refuse("it cannot be searched", "compare with ==, and use torch.any")


def _forward(function: Callable[[Any, Any], Any]) -> Callable[[SymbolicTensor, Any], Any]:
    return lambda self, other: record(function, (self, other), {})


def _reflected(function: Callable[[Any, Any], Any]) -> Callable[[SymbolicTensor, Any], Any]:
    return lambda self, other: record(function, (other, self), {})


for _name in "add sub mul truediv floordiv mod pow matmul lshift rshift and_ or_ xor".split():
    _function = getattr(operator, _name)
    _bare = _name.rstrip("_")
    setattr(SymbolicTensor, f"__{_bare}__", _forward(_function))
    setattr(SymbolicTensor, f"__r{_bare}__", _reflected(_function))
for _name in ("lt", "le", "gt", "ge", "eq", "ne"):
    setattr(SymbolicTensor, f"__{_name}__", _forward(getattr(operator, _name)))


_operator: Any = operator  # whose functions carry no types
_OF_UFUNC: dict[str, Callable[..., Any]] = {
    "add": _operator.add, "subtract": _operator.sub, "multiply": _operator.mul, "divide": _operator.truediv,
    "floor_divide": _operator.floordiv, "remainder": _operator.mod, "power": _operator.pow, "matmul": _operator.matmul,
    "bitwise_and": _operator.and_, "bitwise_or": _operator.or_, "bitwise_xor": _operator.xor,
    "less": _operator.lt, "less_equal": _operator.le, "greater": _operator.gt, "greater_equal": _operator.ge,
    "equal": _operator.eq, "not_equal": _operator.ne,
}  # fmt: skip


def record(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Add a call of a torch function to the graph and return its symbolic result.

    Args:
        function: a torch function, tensor method or operator.
        args: its positional arguments, at least one symbolic tensor among them or in `kwargs`.
        kwargs: its keyword arguments.

    Returns:
        A symbolic tensor, or the nest of them that the function gives; a plain value (a size, say) where the
        result is none.

    Raises:
        GraphError: the call fails for the shapes at hand; the message is torch's.
    """
    check_definition()
    args, kwargs = map_arguments(as_constant, args), map_arguments(as_constant, kwargs)
    watching.go_on()
    try:
        specs = abstract_call(function, args, kwargs)
    except GraphError:
        raise
    except Exception as error:
        raise _refused_call(function, args, kwargs, error) from error
    if not any(isinstance(leaf, Spec) for leaf in nest.flatten(specs)):
        return specs
    return Node(Operation(function), args, kwargs, specs).outputs


def _refused_call(function: Any, args: Any, kwargs: Any, error: Exception) -> GraphError:
    """The error for a function that failed on symbolic tensors."""
    reason, fix = reason_of(error), "check the shapes above"
    if isinstance(error, (DynamicOutputShapeException, DataDependentOutputException)):
        reason, fix = "its result depends on values, which are not known yet", "call it inside a layer's call"
    elif isinstance(error, TypeError) and None in nest.flatten(args):
        fix = "a size that is None is known only with data: write -1 in its place, or use torch.flatten(x, 1)"
    return GraphError(
        f"{getattr(function, '__name__', repr(function))} cannot be applied here: {reason}",
        received=", ".join(repr(t) for t in symbolic_leaves((args, kwargs))),
        fix=fix,
    )


def as_constant(leaf: Any) -> Any:
    """A NumPy array as a tensor that a graph can hold, floats in the default float type; other things as they are.

    Args:
        leaf: an argument of a call among symbolic tensors.
    """
    if isinstance(leaf, np.ndarray):
        made = torch.as_tensor(leaf, device=config.device())
        return made.to(dtypes.torch_dtype(config.floatx())) if made.is_floating_point() else made
    return leaf


def check_definition() -> None:
    """Refuse to record from inside a torch module that is no layer of the graph: its mode would be frozen there."""
    frame = sys._getframe(1)  # pyright: ignore[reportPrivateUsage]
    while frame is not None:
        if frame.f_code is _CALL_IMPL and not hasattr(frame.f_locals["self"], "nodes"):
            module = type(frame.f_locals["self"]).__name__
            raise GraphError(
                f"The torch module {module} was called on a symbolic tensor after a model was completed.",
                expected="a layer, since only a definition that is under way makes one of a torch module by itself",
                received=f"{module} called on a tensor of the definition before",
                fix=f"wrap it: TorchModule({module}(...))(x)",
            )
        frame = frame.f_back


_CALL_IMPL = cast("Any", torch.nn.Module)._call_impl.__code__
