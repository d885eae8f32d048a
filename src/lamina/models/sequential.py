"""`Sequential`: layers in a row."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch

from lamina.engine import nest, watching
from lamina.engine.graph import Graph
from lamina.engine.keys import new_key
from lamina.engine.layer import Layer
from lamina.engine.symbolic import SymbolicTensor
from lamina.engine.torch_module import TorchModule, as_layer
from lamina.errors import ArgumentError, DtypeError, GraphError
from lamina.layers.input import InputLayer
from lamina.models.functional import GraphModel
from lamina.models.graph_reading import layer_from
from lamina.registry import LAYERS
from lamina.serialized import described


@LAYERS.register()
class Sequential(GraphModel):
    """Layers in a row, each taking the output of the one before.

    With an `Input` first, or `input_shape=` in the first layer, every layer is built as it is added. Otherwise
    the model is built by `build`, or by the first data that it sees.

    Args:
        layers: layers and torch modules, in order.
        trainable: whether training changes the weights.
        name: by default `sequential`, numbered.

    Raises:
        ArgumentError: something is no layer, or the model would contain itself.
        GraphError: two layers have one name.

    Example:
        >>> from lamina import layers
        >>> model = Sequential([layers.Input((4,)), layers.Dense(8, activation="relu"), layers.Dense(2)])
        >>> model.output_shape, model.count_params()
        ((None, 2), 58)
    """

    _builds_itself = True

    def __init__(self, layers: Iterable[Any] | None = None, trainable: bool = True, name: str | None = None) -> None:
        Layer.__init__(self, name=name)
        self._init_training()
        self.__dict__.update(
            _stack=[], _taken=set(), _graph=None, _program=None, _compiled=None, _begin=None, _tail=None
        )
        if isinstance(layers, (Layer, torch.nn.Module)):
            layers = [layers]
        for layer in layers or ():
            self.add(layer)
        watching.stop()
        if not trainable:
            self.trainable = False

    def add(self, layer: Any) -> None:
        """Put a layer at the end.

        Args:
            layer: a layer, a torch module, or what `Input` gives, which must come first.

        Raises:
            ArgumentError: it is none of these, or an input that does not come first, or the model itself.
            GraphError: a layer of that name is there already.
            ShapeError: it cannot take the output of the layer before.
        """
        watching.stop()
        if isinstance(layer, SymbolicTensor) and layer.node is not None and isinstance(layer.node.op, InputLayer):
            layer = layer.node.op
        if isinstance(layer, type) or not isinstance(layer, torch.nn.Module):
            raise ArgumentError(
                "Sequential takes layers.",
                expected="a layer or a torch module",
                received=f"{layer!r} of type {type(layer).__name__}",
                fix="make an object of the class: Dense(10)"
                if isinstance(layer, type)
                else "use Lambda for a function",
            )
        layer = as_layer(layer)
        if any(module is self for module in layer.modules()):
            raise ArgumentError(
                f"{self.name!r} cannot contain itself: that is a cycle.",
                received=repr(layer.name),
                fix="make a new model",
            )
        if isinstance(layer, InputLayer):
            self._begin_with(layer)
            return
        if layer.name in self._taken:
            raise GraphError(
                f"Two layers of {self.name!r} are named {layer.name!r}.",
                expected="names that differ",
                received=f"a second {type(layer).__name__}" if layer in self._stack else type(layer).__name__,
                fix="make a new layer for each place" if layer in self._stack else "pass another name= to it",
            )
        if self._tail is None and not self._stack:
            self._begin_from(layer)
        if self._tail is not None:
            self._grow(layer)
        if isinstance(layer, TorchModule):
            layer.train(self.training)
        self._stack.append(layer)
        self._taken.add(layer.name)
        self._modules[new_key(self, layer)] = layer
        if self._tail is not None:
            self.mark_built()

    def _begin_with(self, layer: InputLayer) -> None:
        if self._stack or self._begin is not None:
            raise ArgumentError(
                "An Input must come first.",
                received=f"{layer.name!r} after {len(self._stack)} layers",
                fix="add it before any other layer",
            )
        self.__dict__.update(_begin=layer, _tail=layer.output)

    def _begin_from(self, layer: Layer) -> None:
        """Begin where the first layer says what it takes."""
        inner = layer
        while isinstance(inner, Sequential) and inner._stack:
            inner = inner._stack[0] if inner._begin is None else inner._begin
        if isinstance(inner, InputLayer):
            self._begin_with(InputLayer(batch_shape=inner.batch_shape, dtype=inner.input_dtype))
        elif isinstance(layer, GraphModel) and layer.built and isinstance(layer.input, SymbolicTensor):
            spec = layer.input.spec
            self._begin_with(InputLayer(batch_shape=spec.shape, dtype=spec.dtype))
        elif inner._input_shape is not None:
            self._begin_with(InputLayer(batch_shape=inner._input_shape, dtype=_input_dtype(inner)))

    def _grow(self, layer: Layer) -> None:
        """Call `layer` on the last output."""
        with watching.paused():
            tail = layer(self._tail)
        self.__dict__.update(_tail=tail, _graph=None, _program=None, _compiled=None)

    def pop(self) -> Layer:
        """Take the last layer away and return it.

        Raises:
            ArgumentError: there is none.
        """
        if not self._stack:
            raise ArgumentError(f"{self.name!r} has no layer to take away.", fix="add one first")
        layer = self._stack.pop()
        self._taken.discard(layer.name)
        del self._modules[next(key for key, module in self._modules.items() if module is layer)]
        if self._tail is not None:
            node = nest.flatten(self._tail)[0].node
            layer.nodes.remove(node)
            tail = node.args[0]
            self.__dict__.update(_tail=tail, _graph=None, _program=None, _compiled=None)
            if not self._stack:
                self.__dict__["built"] = False
        return layer

    def build(self, input_shape: Any = None) -> None:
        """Build every layer for an input of a shape.

        Args:
            input_shape: the shape of a batch, `None` for unknown sizes.

        Raises:
            ShapeError: a layer cannot take what comes to it.
        """
        if self._tail is None and input_shape is not None and self._stack:
            with self._within_limit():
                self._build_on(InputLayer(batch_shape=input_shape, dtype=_input_dtype(self._stack[0])))

    def _build_on(self, begin: InputLayer) -> None:
        """Call every layer in turn on the output of the one before, from `begin`, whose sizes nobody insists on."""
        self.__dict__.update(_begin=begin, _tail=begin.output, _loose_inputs=True)
        try:
            for layer in self._stack:
                self._grow(layer)
        except BaseException:
            self.__dict__.update(_begin=None, _tail=None, _loose_inputs=False)
            raise
        self.mark_built()

    def _build_for(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        x = args[0] if args else next(iter(kwargs.values()))
        if not hasattr(x, "shape"):
            raise DtypeError(
                f"{self.name!r} takes one tensor.",
                expected="a tensor or array",
                received=f"a {type(x).__name__}",
                fix="use Model(inputs, outputs) for several inputs",
            )
        if isinstance(x, torch.Tensor):
            self.__dict__["_weight_device"] = x.device
            for layer in self._stack:
                layer.__dict__["_weight_device"] = x.device
        if self._stack:
            self._build_on(InputLayer(batch_shape=(None, *x.shape[1:]), dtype=x.dtype))

    @property
    def graph(self) -> Graph:
        """The calls that make up the model.

        Raises:
            NotBuiltError: the shape of the input is not known yet.
        """
        if self._graph is None and self._tail is not None:
            self.__dict__["_graph"] = Graph(self._begin.output, self._tail)
        return super().graph

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Run the generated code."""
        run = self._compiled
        if run is not None:
            return run(self, inputs)
        if torch.compiler.is_compiling():  # which cannot follow code that is written now; this comes to the same
            for layer in self._stack:
                inputs = layer(inputs)
            return inputs
        return self._generated()(self, inputs) if self._stack else inputs

    def compute_output_spec(self, *args: Any, **kwargs: Any) -> Any:
        """What the graph says, else what a run without memory gives."""
        if self._tail is not None:
            _ = self.graph
        return super().compute_output_spec(*args, **kwargs)

    @property
    def layers(self) -> list[Layer]:
        """The layers in order, the `Input` left out."""
        return list(self._stack)

    def get_config(self) -> dict[str, Any]:
        """The layers in order, and the shape of the input once it is known."""
        layers = self._stack if self._begin is None or self._loose_inputs else [self._begin, *self._stack]
        config = {
            "name": self.name,
            "trainable": self.trainable,
            "layers": [described(layer) for layer in layers],
        }
        if self._loose_inputs:
            config["build_input_shape"] = self._begin.batch_shape
            config["build_input_dtype"] = self._begin.input_dtype
        return config

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Any:
        """A new model like the one whose `get_config` gave `config`, with new weights.

        Args:
            config: the layers in order.
            custom_objects: classes by name that the registry does not have.

        Raises:
            UnknownNameError: a layer's class is in neither.
        """
        layers = [layer_from(entry, custom_objects or {}) for entry in config["layers"]]
        begin = layers.pop(0) if _is_only_the_first_batch(config["layers"]) else None
        model = cls(layers, trainable=config.get("trainable", True), name=config["name"])
        shape = config.get("build_input_shape")
        if begin is not None and layers:
            model._build_on(begin)
        elif shape is not None and layers and not model.built:
            model._build_on(InputLayer(batch_shape=shape, dtype=config.get("build_input_dtype")))
        return model

    def __getstate__(self) -> dict[str, Any]:
        if self._tail is not None:
            _ = self.graph
        return {**super().__getstate__(), "_begin": None, "_tail": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if self._graph is not None:
            begin = self._graph.input_list[0].node
            self.__dict__.update(_begin=begin.op if begin is not None else None, _tail=self._graph.outputs)


def _is_only_the_first_batch(entries: list[Any]) -> bool:
    """Whether a config of Keras's begins with an input of a fixed batch size: it may be that of the first data, and
    Keras insists on none."""
    first = entries[0] if entries else {}
    shape = first["config"].get("batch_shape") if first.get("class_name") == "InputLayer" else None
    stateful = any(entry["config"].get("stateful") for entry in entries)
    return bool(shape) and shape[0] is not None and "sparse" in first["config"] and not stateful


def _input_dtype(layer: Layer) -> str | None:
    """The dtype of the data that `layer` is made for: whole numbers for one that does not cast, such as Embedding."""
    return None if layer.autocast else "int64"
