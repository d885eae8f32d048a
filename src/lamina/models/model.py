"""`Model`: a layer made of layers that can be compiled, trained, evaluated and asked for predictions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch

from lamina import dtypes
from lamina.engine import nest
from lamina.engine.abstract import Spec, abstract_call, known_shape, reason_of, specs_of_shapes
from lamina.engine.layer import Layer
from lamina.engine.torch_module import as_layer
from lamina.engine.tracking import Container
from lamina.errors import ArgumentError, GraphError, LaminaError, NotBuiltError, unknown_name
from lamina.inspection.drawing import notebook_html
from lamina.inspection.summary import summary
from lamina.models.persistence import Persistence
from lamina.registry import LAYERS
from lamina.training.loop import Trainer


@LAYERS.register()
class Model(Trainer, Persistence, Layer):
    """A layer made of layers, with `compile`, `fit`, `evaluate`, `predict` and `summary`.

    Subclass it and write `call`, or define it by symbolic tensors: `Model(inputs, outputs)` gives a functional model.

    Args:
        inputs: a symbolic tensor, or a list or dict of them.
        outputs: likewise, computed from `inputs`.
        name: by default the class's name in snake case, numbered.
        **kwargs: what every layer takes.

    Raises:
        GraphError: the outputs cannot be computed from the inputs.

    Example:
        >>> from lamina import layers
        >>> class Net(Model):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.dense = layers.Dense(2)
        ...     def call(self, x):
        ...         return self.dense(x)
        >>> net = Net()
        >>> net.build((None, 3)); net.count_params()
        8
    """

    # Set by the file that defines functional models: the class to use for a subclass that is given a graph.
    _with_graph: Callable[[type], type]
    _builds_itself = True

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        if cls is Model and _is_functional(args, kwargs):
            cls = Model._with_graph(cls)
        return super().__new__(cls, *args, **kwargs)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if _is_functional(args, kwargs):  # a subclass passes its graph to super().__init__
            self.__class__ = Model._with_graph(type(self))
            self._init_graph(*args, **kwargs)
            return
        if args or "inputs" in kwargs or "outputs" in kwargs:
            raise ArgumentError(
                "A functional model needs inputs and outputs.",
                expected="Model(inputs, outputs)",
                received=f"{len(args)} positional arguments, keywords {sorted(kwargs)}",
                fix="pass both, or neither in a subclass that defines call()",
            )
        Layer.__init__(self, **kwargs)
        self._init_training()

    def build(self, input_shape: Any) -> None:
        """Build every layer inside, by running `call` on tensors without memory.

        Args:
            input_shape: the shape of the input with its batch axis, `None` for unknown sizes; a list or dict of
                shapes for several inputs.

        Raises:
            LaminaError: `call` fails for that shape; the message says in which layer.
        """
        if type(self).call is Layer.call:
            raise NotBuiltError(
                f"{type(self).__name__} has no call(), so it cannot be built.",
                fix="define call(self, inputs), or use Sequential or Model(inputs, outputs)",
            )
        if input_shape is None:
            return
        try:
            with self._within_limit():
                specs_of_shapes(self._run_abstractly, input_shape, dtypes.torch_dtype(self.variable_dtype))
        except LaminaError:
            raise
        except Exception as error:
            raise GraphError(
                f"{type(self).__name__}.call() fails for this input shape: {reason_of(error)}",
                received=f"input shape {input_shape}",
                fix="check call() against the shape; where it needs real data, call the model on a batch instead",
            ) from error
        self.__dict__["_build_shapes"] = input_shape
        self.mark_built()

    def _build_for(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """A real call builds the layers on its way; only what `build` itself makes must come first."""
        if type(self).build is not Model.build:
            super()._build_for(args, kwargs)
            return
        inputs = self._first_of(args, kwargs)
        if self._waiting_weights:  # before anything is computed with others
            abstract_call(self._run_abstractly, nest.map_nest(_spec, args), nest.map_nest(_spec, kwargs))
        shapes = nest.map_nest(lambda t: (None, *known_shape(t)[1:]) if hasattr(t, "shape") else (), inputs)
        self.__dict__["_build_shapes"] = shapes
        self.mark_built()

    def _call_in_full(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """A first call that fails has built some of the layers at most, and the model is not built."""
        if self.built:
            return super()._call_in_full(args, kwargs)
        try:
            with self._within_limit():
                return super()._call_in_full(args, kwargs)
        except BaseException:
            self.__dict__.update(built=False, _direct=False)
            raise

    @property
    def layers(self) -> list[Layer]:
        """The layers right inside this one, in the order in which they were assigned."""
        return list(_layers_of(self))

    def get_layer(self, name: str | None = None, index: int | None = None) -> Layer:
        """A layer by its name or its place in `layers`.

        Args:
            name: the layer's name.
            index: its place, from 0; negative from the end.

        Raises:
            UnknownNameError: no layer has that name.
            ArgumentError: neither or both are given, or there are fewer layers.
        """
        if (name is None) == (index is None):
            raise ArgumentError(
                "get_layer takes a name or an index.",
                received=f"name={name!r}, index={index!r}",
                fix="pass one of them",
            )
        if index is not None:
            try:
                return self.layers[index]
            except IndexError:
                raise ArgumentError(
                    f"{self.name!r} has {len(self.layers)} layers.",
                    expected=f"an index below {len(self.layers)}",
                    received=f"index={index}",
                    fix="print [l.name for l in model.layers]",
                ) from None
        for layer in self.layers:
            if layer.name == name:
                return layer
        raise unknown_name("layer", name, [layer.name for layer in self.layers])

    def count_params(self) -> int:
        """The number of numbers in all weights.

        Raises:
            NotBuiltError: the model has layers without weights yet.
        """
        if not self.built:
            raise NotBuiltError(
                f"{type(self).__name__} {self.name!r} is not built, so its weights cannot be counted.",
                expected="a model that knows the shape of its input",
                received="no input shape yet",
                fix="call model.build((None, ...)) with the shape of a batch, or fit it on data first",
            )
        return super().count_params()

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Any:
        """A new model like the one whose `get_config` gave `config`, with new weights.

        Args:
            config: arguments of `__init__`, or the layers of a functional model.
            custom_objects: classes by name that the registry does not have.

        Raises:
            UnknownNameError: a layer's class is in neither.
            GraphError: the layers need each other in a circle.
        """
        if "input_layers" in config:
            functional: Any = Model._with_graph(cls)
            return functional.from_config(config, custom_objects)
        return super().from_config(config)

    def summary(
        self,
        line_length: int | None = None,
        positions: list[float] | None = None,
        print_fn: Callable[[str], Any] | None = None,
        expand_nested: bool = False,
        show_trainable: bool = False,
        layer_range: tuple[str, str] | None = None,
        **options: Any,
    ) -> Any:
        """Print the layers with their output shapes and numbers of weights.

        Args:
            line_length: the width of the table in characters.
            positions: where columns end, as shares of the width or in characters.
            print_fn: takes the text in place of standard output.
            expand_nested: whether the layers inside layers have rows too.
            show_trainable: whether a column says which layers are trained.
            layer_range: the names of the first and last layer to show.
            **options: what else `lamina.summary` takes, such as `style`, `fold`, `show_flops` and `input_size`.

        Returns:
            The `Report` behind the table.

        Raises:
            NotBuiltError: the model does not know the shape of its input yet.
        """
        return summary(
            self,
            line_length=line_length,
            positions=positions,
            print_fn=print_fn,
            expand_nested=expand_nested,
            show_trainable=show_trainable,
            layer_range=layer_range,
            **options,
        )

    def _repr_html_(self) -> str:
        """The model as a notebook shows it."""
        return notebook_html(self)


def _spec(leaf: Any) -> Any:
    """A tensor's form, with an unknown batch size; other arguments as they are."""
    is_tensor = isinstance(leaf, torch.Tensor)
    return Spec((None, *leaf.shape[1:]) if leaf.ndim else (), leaf.dtype) if is_tensor else leaf


def _is_functional(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether a model is being made of inputs and outputs."""
    return len(args) >= 2 or (len(args) == 1 and "outputs" in kwargs) or {"inputs", "outputs"} <= set(kwargs)


def _layers_of(module: torch.nn.Module) -> Iterator[Layer]:
    """The outermost layers inside a module; lists and dicts that hold layers are looked into."""
    for child in module.children():
        if isinstance(child, Layer):
            yield child
        elif isinstance(child, (Container, torch.nn.ModuleList, torch.nn.ModuleDict)):
            yield from _layers_of(child)
        else:
            yield as_layer(child, keep_mode=True)
