"""`Builder`: a torch module that is being made of a lamina model."""

from __future__ import annotations

import contextlib
import keyword
import re
from collections.abc import Callable, Generator, Iterator
from typing import Any, NamedTuple

import torch
from torch import fx
from torch.fx.proxy import GraphAppendingTracer

from lamina.engine import nest
from lamina.engine.abstract import Spec, abstract_call
from lamina.errors import ExportError, LaminaError
from lamina.saving.exporting.layouts import Order
from lamina.saving.exporting.symbols import Mode, Symbol

_OWN_ATTRIBUTES = ("training", "meta", "graph", "code")  # of a GraphModule, also those that only an object has


class Builder(GraphAppendingTracer):
    """The `torch.fx` graph of the module to come, with the modules and weights that it calls.

    Args:
        model: what is converted; its paths become those of the new module.
        inference: whether the module is never to be trained.
        channels_first: whether its images have their channels on axis 1.

    Attributes:
        training: the mode that is asked for at this place; `None` to follow that of the new module.
        specs: a `Spec`, or a nest of them, for each node of which that is known.
        masks: the symbol of the mask of a node that has one.
        orders: the same data in another order, for nodes that only put them back.
        following: whether specs are worked out for each node that is added.
        wrote_out: whether code that is not lamina's has been run on symbols.
    """

    def __init__(self, model: torch.nn.Module, inference: bool, channels_first: bool) -> None:
        super().__init__(fx.Graph())
        self.model, self.inference, self.channels_first = model, inference, channels_first
        self.training: bool | None = False if inference else None
        self.specs: dict[fx.Node, Any] = {}
        self.masks: dict[fx.Node, Any] = {}
        self.orders: dict[fx.Node, Order] = {}
        self.following = self.wrote_out = False
        self._members: dict[str, torch.nn.Module | torch.Tensor] = {}
        self._copies: dict[int, tuple[str, bool]] = {}  # by id of a weight: where it went, and whether transposed
        own = str(getattr(model, "name", "model"))
        self._paths = {id(part): _clean(path or own) for path, part in model.named_modules()}
        named = [*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False)]
        self._weights = {id(tensor): _clean(path) for path, tensor in named}
        self.device = next((tensor.device for _, tensor in named), torch.device("cpu"))

    # ------------------------------------------------------------------ nodes
    def proxy(self, node: fx.Node) -> Symbol:
        """The symbol of a node."""
        return Symbol(node, self)

    def create_proxy(self, kind: str, target: Any, args: Any, kwargs: Any, *rest: Any, **more: Any) -> Any:
        """A new node, and its spec where that can be worked out."""
        proxy = super().create_proxy(kind, target, args, kwargs, *rest, **more)
        if self.following:
            self._follow(proxy.node)
        return proxy

    def create_arg(self, a: Any) -> Any:
        """An argument as a graph holds it; a tensor among them becomes part of the module."""
        if isinstance(a, torch.Tensor):
            return self.tensor(a).node
        if isinstance(a, torch.Size):
            return tuple(a)
        if isinstance(a, Mode):
            bool(a)
        return super().create_arg(a)

    def to_bool(self, obj: fx.Proxy) -> bool:
        """Refuse a decision by a value or an unknown size."""
        raise ExportError(
            "call() decides by the values of a tensor or by a size that is not known.",
            expected="the same calls whatever the data",
            received=f"a decision by {obj.node.name}",
            fix="use torch.where, or define the model with the sizes that the decision is about",
        )

    def iter(self, obj: fx.Proxy) -> Iterator[Any]:
        """The members of a result whose number is known."""
        spec = self.specs.get(obj.node)
        if nest.is_nest(spec) and not isinstance(spec, Size):
            return iter([obj[place] for place in range(len(spec))])
        if isinstance(spec, Spec) and spec.shape and spec.shape[0] is not None:
            return iter([obj[place] for place in range(spec.shape[0])])
        return super().iter(obj)

    def size(self, x: Symbol, axis: int) -> Any:
        """What gives a size of `x` at run time."""
        symbol = super().create_proxy("call_method", "size", (x, axis), {})
        if x.spec is not None:
            self.specs[symbol.node] = Size(torch.Tensor.size, (x.spec, axis))
        return symbol

    def _follow(self, node: fx.Node) -> None:
        """Work out shape and dtype of a node by running it without memory."""
        args, kwargs = fx.node.map_arg((node.args, node.kwargs), lambda n: self.specs.get(n, _UNKNOWN))
        if node.op not in ("call_function", "call_method"):
            return
        leaves = nest.flatten([args, kwargs])
        if any(leaf is _UNKNOWN for leaf in leaves):
            return
        target: Any = node.target
        if node.op == "call_method":
            self._refuse_changes(node)
            target = _method(node.target)
        if any(isinstance(arg, Size) for arg in args) and not any(isinstance(arg, Spec) for arg in args):
            self.specs[node] = Size(target, tuple(args))
            return
        with contextlib.suppress(Exception):
            self.specs[node] = abstract_call(_with_sizes(target), (args, kwargs), {}, self.device)

    def _refuse_changes(self, node: fx.Node) -> None:
        """A weight that call() changes would keep its first value."""
        first: Any = node.args[0] if node.args else None
        if str(node.target).endswith("_") and isinstance(first, fx.Node) and first.op == "get_attr":
            raise ExportError(
                f"call() changes {first.target} in place.",
                expected="call() that only computes",
                received=f"{first.target}.{node.target}(...)",
                fix="write that layer as a torch.nn.Module",
            )

    # ------------------------------------------------------------------ what the module owns
    def path(self, layer: torch.nn.Module) -> str:
        """Where the module that stands for `layer` is to be found.

        Raises:
            ExportError: the layer is no part of the model.
        """
        path = self._paths.get(id(layer))
        if path is None:
            raise ExportError(
                f"{type(layer).__name__} {getattr(layer, 'name', '')!r} is no part of the model.",
                expected="layers that are made once, in __init__",
                received="a layer made inside call(), or held where the model does not see it",
                fix="assign it to an attribute in __init__",
            )
        return path

    def call(self, path: str, make: Callable[[], torch.nn.Module], *args: Any, **kwargs: Any) -> Any:
        """The call of the module at `path`, which `make` makes the first time."""
        self._own(path, make)
        return self.create_proxy("call_module", path, args, kwargs)

    def _own(self, path: str, make: Callable[[], Any]) -> None:
        if path not in self._members:
            self._members[path] = make()

    def member(self, path: str) -> Any:
        """The module at `path`, or `None`."""
        return self._members.get(path)

    def read(self, path: str, tensor: torch.Tensor) -> Any:
        """The weight or buffer at `path`, at first a copy of `tensor`."""
        owner, _, name = path.rpartition(".")
        if owner in self._members:
            self._own(path, lambda: getattr(self._members[owner], name))
        self._own(path, lambda: copied(tensor))
        symbol = self.create_proxy("get_attr", path, (), {})
        self.specs[symbol.node] = Spec(tuple(tensor.shape), tensor.dtype)
        return symbol

    def moved(self, weight: torch.Tensor, path: str, transposed: bool = False) -> None:
        """Keep in mind that the module has `weight` at `path`, for torch functions in the graph that use it too."""
        self._copies[id(weight)] = (path, transposed)

    def tensor(self, tensor: torch.Tensor) -> Any:
        """A tensor among the arguments of a torch function."""
        if id(tensor) in self._copies:
            path, transposed = self._copies[id(tensor)]
            owner, _, name = path.rpartition(".")
            symbol = self.read(path, getattr(self._members[owner], name))
            return symbol.t() if transposed else symbol
        path = self._weights.get(id(tensor))
        if path is None and tensor.grad_fn is not None:
            raise ExportError(
                "call() computes with weights alone before a tensor of the data takes part.",
                received=f"a tensor of shape {tuple(tensor.shape)} made of weights",
                fix="take the weights from attributes of the layer inside call()",
            )
        held = self._members.get(path) if path else None
        if path is None:
            path = next((p for p, t in self._members.items() if t is tensor), None)
            if path is None:
                path = f"constant_{sum(p.startswith('constant_') for p in self._members)}"
                while path in self._members:
                    path += "_"
                self._members[path] = tensor if isinstance(tensor, torch.nn.Buffer) else tensor.detach()
            held = self._members[path]
        elif held is None and isinstance(tensor, torch.nn.Parameter) and "." in path:
            raise ExportError(
                f"The weight {path} is used by a torch function before its own layer is called.",
                expected="the layer first",
                received=f"a function of {path}",
                fix="call the layer before, or give the function a weight of its own",
            )
        return self.read(path, tensor)

    # ------------------------------------------------------------------ layers
    @contextlib.contextmanager
    def in_mode(self, training: Any) -> Generator[None, None, None]:
        """What is added in here is in the mode `training`, if that is one."""
        before = self.training
        if isinstance(training, bool):
            self.training = training
        try:
            yield
        finally:
            self.training = before

    @contextlib.contextmanager
    def follow(self, following: bool = True) -> Generator[None, None, None]:
        """Work out the spec of each node that is added in here, or do not."""
        before, self.following = self.following, following
        try:
            yield
        finally:
            self.following = before

    @contextlib.contextmanager
    def naming(self, layer: torch.nn.Module) -> Generator[None, None, None]:
        """Let errors say in which layer they arose."""
        try:
            yield
        except LaminaError as error:
            if not error.path and layer is not self.model:
                error.path.append(str(getattr(layer, "name", type(layer).__name__)))
            raise
        except Exception as error:
            path = [] if layer is self.model else [str(getattr(layer, "name", type(layer).__name__))]
            raise ExportError(
                f"{type(layer).__name__} cannot be written with torch alone: {str(error).strip().splitlines()[0]}"
                if str(error).strip()
                else f"{type(layer).__name__} cannot be written with torch alone.",
                expected="a call() that consists of layers and torch functions",
                received=type(error).__name__,
                fix="put what is not torch outside the model, make new tensors by x.new_zeros(...) and the like, "
                "or write the layer as a torch.nn.Module",
                path=path,
            ) from error

    # ------------------------------------------------------------------ the end
    def finish(self, outputs: Any, name: str) -> fx.GraphModule:
        """The module that gives `outputs`.

        Args:
            outputs: a nest of symbols.
            name: what the module's class is called when it is printed.
        """
        self.graph.output(self.create_arg(outputs))
        self.graph.eliminate_dead_code(_has_effect)
        return fx.GraphModule(dict(self._members), self.graph, class_name=name)  # type: ignore[arg-type]


class Size(NamedTuple):
    """How a number that depends on unknown sizes comes about."""

    function: Any
    args: tuple[Any, ...]


_UNKNOWN = object()


def _with_sizes(function: Callable[..., Any]) -> Callable[[Any, Any], Any]:
    """`function` of arguments with a `Size` for some numbers."""

    def settled(value: Any) -> Any:
        if isinstance(value, Size):
            return value.function(*map(settled, value.args))
        if isinstance(value, slice):
            return slice(settled(value.start), settled(value.stop), settled(value.step))
        if isinstance(value, (list, tuple)):
            return type(value)(map(settled, value)) if type(value) in (list, tuple) else tuple(map(settled, value))
        return value

    def run(args: Any, kwargs: Any) -> Any:
        return function(*settled(tuple(args)), **{key: settled(value) for key, value in kwargs.items()})

    return run


def copied(tensor: torch.Tensor, *order: int) -> torch.Tensor:
    """A weight of the same kind and values, in memory of its own, its axes in another order if one is given.

    Args:
        tensor: a Parameter or a buffer.
        *order: the axes, as `permute` takes them.

    Example:
        >>> copied(torch.nn.Parameter(torch.zeros(2, 3)), 1, 0).shape
        torch.Size([3, 2])
    """
    value = tensor.detach()
    value = (value.permute(*order) if order else value).clone(memory_format=torch.contiguous_format)
    if isinstance(tensor, torch.nn.Parameter):
        return torch.nn.Parameter(value, requires_grad=tensor.requires_grad)
    return value


def _has_effect(node: fx.Node) -> bool:
    """Whether a node matters though nobody reads it: it changes a tensor in place."""
    name = str(node.target)
    return node.op in ("placeholder", "output") or (node.op == "call_method" and name[-1] == "_" and name[-2] != "_")


def _method(name: Any) -> Callable[..., Any]:
    def method(tensor: Any, *args: Any, **kwargs: Any) -> Any:
        return getattr(tensor, name)(*args, **kwargs)

    return method


def _clean(path: str) -> str:
    """A path that a GraphModule can write down."""
    return ".".join(_key(part, top=not place) for place, part in enumerate(path.split(".")))


def _key(part: str, top: bool) -> str:
    key = re.sub(r"\W", "_", part) or "_"
    if keyword.iskeyword(key) or (top and (key in _OWN_ATTRIBUTES or hasattr(fx.GraphModule, key))):
        return f"{key}_"
    return key
