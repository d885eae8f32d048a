"""Models that are graphs: `Functional`, and what it shares with `Sequential`."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import torch

from lamina.configurable import init_parameters
from lamina.engine import nest, watching
from lamina.engine.codegen import Program
from lamina.engine.graph import Graph
from lamina.engine.keys import new_key
from lamina.engine.layer import Layer
from lamina.engine.masking import get_mask, set_mask
from lamina.engine.rewrite import Rewritten
from lamina.engine.symbolic import Operation, SymbolicTensor
from lamina.engine.torch_module import TorchModule
from lamina.errors import ArgumentError, NotBuiltError, ShapeError
from lamina.layers.blocks import find_block
from lamina.layers.grouped import find_groups
from lamina.models.graph_reading import graph_from
from lamina.models.graph_writing import graph_config, unwrapped
from lamina.models.model import Model
from lamina.registry import LAYERS

_FINDERS = (find_groups, find_block)


class GraphModel(Model):
    """A model whose `call` is code generated from a graph.

    Args:
        **kwargs: what every model takes.
    """

    _resolves_training = True
    _graph: Graph | None
    _program: Program | None
    _loose_inputs = False  # whether the sizes of the inputs are only those of the first data

    def _take_graph(self, graph: Graph) -> None:
        """Compute what `graph` says from now on."""
        registered = {id(module) for module in self._modules.values()}
        for op in graph.ops:
            if isinstance(op, Operation):
                continue
            if id(op) not in registered:
                self._modules[new_key(self, op)] = op
            if isinstance(op, TorchModule):
                op.train(self.training)
        self.__dict__.update(_graph=graph)
        self._generated()
        self.mark_built()

    @property
    def graph(self) -> Graph:
        """The calls that make up the model.

        Raises:
            NotBuiltError: the shape of the input is not known yet.
        """
        if self._graph is None:
            raise NotBuiltError(
                f"{type(self).__name__} {self.name!r} does not know the shape of its input yet.",
                expected="an Input as the first layer, input_shape= in it, or a call of build()",
                fix="call model.build((None, ...)) with the shape of a batch, or call the model on data",
            )
        return self._graph

    @property
    def code(self) -> str:
        """The text of the generated `forward`.

        Example:
            >>> from lamina import layers
            >>> x = layers.Input((3,), name="x")
            >>> print(Model(x, layers.Dense(2, name="dense")(x) + 1).code.splitlines()[-3].strip())
            x = layer['dense'](x)  # (None, 2)
        """
        if self._program is None:
            self._generated()
        return self._program.text  # type: ignore[union-attr]

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Run the generated code; `training` has been resolved by the time it gets here."""
        return self._compiled(self, inputs)

    def _generated(self) -> Callable[..., Any]:
        """Write the code of the graph now, since `torch.compile` cannot trace that; it also says which tensors the
        graph holds: they become Parameters and buffers of the model."""
        program = self._program_with()
        for name, tensor in program.tensors.items():
            if isinstance(tensor, torch.nn.Parameter):
                self._parameters[name] = tensor
            else:
                self.register_buffer(name, tensor, persistent=False)
        run = program.compile(f"lamina model {self.name}")
        wanted = [(tensor.name, tensor.shape, tensor.dtype) for tensor in self.graph.input_list]
        self.__dict__.update(_program=program, _compiled=run, _wanted_inputs=wanted)
        return run

    def _program_with(self, mark: Callable[..., Any] | None = None) -> Program:
        """The code of the graph; with `mark`, the same calls with one of it after each, as a profile runs them."""
        return Program(Rewritten(self.graph, _FINDERS), self, self._loose_inputs, mark)

    def compute_output_spec(self, *args: Any, **kwargs: Any) -> Any:
        """What the graph says for inputs of its own shapes, else what a run without memory gives."""
        if self._graph is not None:
            given, wanted = nest.flatten(self._first_of(args, kwargs)), self._graph.input_list
            if len(given) == len(wanted) and all(
                isinstance(g, SymbolicTensor) and g.shape == w.shape for g, w in zip(given, wanted, strict=True)
            ):
                return nest.map_nest(lambda t: t.spec, self._graph.outputs)
        return super().compute_output_spec(*args, **kwargs)

    # ------------------------------------------------------------------ inputs that need a hand
    def arrange_inputs(self, inputs: Any) -> Any:
        """Inputs given in another form than the model was defined with, in that form.

        Args:
            inputs: a dict by input name or a list in order, whichever the model does not have itself.

        Raises:
            ArgumentError: there are more or fewer inputs, or a name is missing.
        """
        form, names = self.graph.inputs, self.input_names
        if isinstance(inputs, dict):
            keys = [*form] if isinstance(form, dict) and len(form) == len(names) else names
            if all(key in inputs for key in keys):
                leaves = [inputs[key] for key in keys]
                return leaves[0] if isinstance(form, SymbolicTensor) else nest.pack_like(form, leaves)
            received = f"keys {sorted(map(str, inputs))}"
        else:
            leaves = nest.flatten(inputs)
            if len(leaves) == len(names):
                return leaves[0] if isinstance(form, SymbolicTensor) else nest.pack_like(form, leaves)
            received = f"{len(leaves)} inputs of shapes {', '.join(str(tuple(t.shape)) for t in leaves)}"
        raise ArgumentError(
            "These are not the inputs of the model.",
            expected=f"{len(names)} inputs: {', '.join(map(repr, form if isinstance(form, dict) else names))}",
            received=received,
            fix="pass a list in that order, or a dict with those keys",
        )

    def flatten_inputs(self, inputs: Any) -> list[Any]:
        """The leaves of nested inputs, in the order in which the model was defined.

        Args:
            inputs: a nest of the model's form; a dict may have another order.
        """
        try:
            return list(_leaves_like(self.graph.inputs, inputs))
        except _OtherForm:
            return nest.flatten(self.arrange_inputs(inputs))

    def fit_input(self, place: int, x: torch.Tensor) -> torch.Tensor:
        """An input that differs in dtype or shape from its `Input`, made to fit where that loses nothing.

        Args:
            place: which input.
            x: the tensor that came.

        Raises:
            ShapeError: the shape does not fit.
        """
        name, wanted, kind = self._wanted_inputs[place]  # plain data, which torch.compile can trace
        if x.dtype is not kind and not self._loose_inputs:
            if kind.is_floating_point:  # after model.double() the weights say what is wanted
                kind = next((p.dtype for p in self.parameters() if p.is_floating_point()), kind)
            if not (x.is_floating_point() and torch.is_autocast_enabled(x.device.type)):
                x = set_mask(x.to(kind), get_mask(x))
        shape = tuple(x.shape)
        if len(shape) == 1 and len(wanted) == 2 and wanted[1] == 1:
            return x[:, None]  # one number a sample
        if len(shape) == 2 and len(wanted) == 1 and shape[1] == 1:
            return x[:, 0]
        if len(shape) == len(wanted) and (
            self._loose_inputs or all(w is None or w == s for s, w in zip(shape, wanted, strict=True))
        ):
            return x
        raise ShapeError(
            f"The input {name!r} has another shape.",
            expected=f"shape {wanted}",
            received=f"shape {shape}",
            fix=_shape_fix(shape, wanted),
        )

    # ------------------------------------------------------------------ description
    @property
    def inputs(self) -> list[SymbolicTensor]:
        """The symbolic tensors from which the model starts."""
        return self.graph.input_list

    @property
    def outputs(self) -> list[SymbolicTensor]:
        """The symbolic tensors that it computes."""
        return self.graph.output_list

    @property
    def input(self) -> Any:
        """The symbolic inputs in the form in which they were given."""
        return self.graph.inputs

    @property
    def output(self) -> Any:
        """The symbolic outputs in the form in which they were given."""
        return self.graph.outputs

    @property
    def input_names(self) -> list[str]:
        """The names of the inputs, by which a dict of data may address them."""
        return [tensor.name for tensor in self.graph.input_list]

    @property
    def output_names(self) -> list[str]:
        """The names of the layers that give the outputs; a dict of outputs is addressed by its keys instead."""
        outputs = self.graph.outputs
        if isinstance(outputs, dict) and len(outputs) == len(self.graph.output_list):
            return [str(key) for key in outputs]
        return [tensor.name for tensor in self.graph.output_list]

    @property
    def input_shape(self) -> Any:
        """The shape of the input, or a list of shapes."""
        return _shapes(self.graph.inputs)

    @property
    def output_shape(self) -> Any:
        """The shape of the output, or a list of shapes."""
        return _shapes(self.graph.outputs)

    @property
    def operations(self) -> list[Any]:
        """Layers and torch functions alike, in order."""
        return list(self.graph.ops)

    @property
    def layers(self) -> list[Layer]:
        """The layers of the graph, in Keras's order."""
        return [op for op in self.graph.ops if not isinstance(op, Operation)]

    def get_config(self) -> dict[str, Any]:
        """The layers and how they are connected, as plain data; of a class with arguments of its own, those."""
        if not _takes_graph(type(self)):
            return super().get_config()
        return {"name": self.name, "trainable": self.trainable, **unwrapped(graph_config(self.graph))}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Any:
        """A new model like the one whose `get_config` gave `config`, with new weights.

        Args:
            config: the layers and how they are connected.
            custom_objects: classes by name that the registry does not have.

        Raises:
            UnknownNameError: a layer's class is in neither.
            GraphError: the layers need each other in a circle.
        """
        if not _takes_graph(cls):
            return super().from_config(config)
        graph = graph_from(config, custom_objects)
        return cls(graph.inputs, graph.outputs, name=config["name"], trainable=config.get("trainable", True))

    def __getstate__(self) -> dict[str, Any]:
        state = super().__getstate__()
        current: dict[int, torch.Tensor] = {}
        if self._program is not None:  # a move to another device puts new buffers in place of the graph's constants
            current = {id(tensor): getattr(self, name) for name, tensor in self._program.tensors.items()}
        state.update(_graph=None, _program=None, _compiled=None)
        state["_written_graph"] = None if self._graph is None else self._graph.written_down(current)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        written = state.pop("_written_graph")
        super().__setstate__(state)
        if written is not None:
            self.__dict__["_graph"] = Graph.restored(written)
            self._generated()


@LAYERS.register()
class Functional(GraphModel):
    """A model defined by symbolic tensors; `Model(inputs, outputs)` makes one.

    Args:
        inputs: a symbolic tensor, or a nest of them, from which the model starts.
        outputs: a symbolic tensor, or a nest of them, computed from `inputs`.
        name: by default `functional`, numbered.
        **kwargs: what every layer takes.

    Raises:
        GraphError: the outputs cannot be computed from the inputs, or two layers have one name.

    Example:
        >>> from lamina import layers
        >>> x = layers.Input((4,))
        >>> Model(x, layers.Dense(2)(x))(torch.ones(3, 4)).shape
        torch.Size([3, 2])
    """

    def __init__(self, inputs: Any, outputs: Any, name: str | None = None, **kwargs: Any) -> None:
        self._init_graph(inputs, outputs, name=name, **kwargs)

    def _init_graph(self, inputs: Any, outputs: Any, name: str | None = None, **kwargs: Any) -> None:
        """Set up from symbolic tensors."""
        watching.stop()
        graph = Graph(inputs, outputs)
        Layer.__init__(self, name=name, **kwargs)
        self._init_training()
        if _takes_graph(type(self)):
            self.__dict__["_init_arguments"] = ((), {})  # the graph is kept in another form
        self._take_graph(graph)
        if not self.trainable:
            self.trainable = False


@functools.cache
def _functional_class(cls: type) -> type:
    """`cls` with a generated `call`: `Functional` for `Model`, for a subclass both."""
    if issubclass(cls, GraphModel):
        return cls
    if cls is Model:
        return Functional
    names = {"__module__": cls.__module__, "__qualname__": cls.__qualname__}
    return type(cls.__name__, (cls, Functional), {**names, "__reduce_ex__": _reduce, "_subclass": cls})


def _takes_graph(cls: type) -> bool:
    """Whether `cls` is made of inputs and outputs, as `Model` is, and not of arguments that a user defined."""
    return {"inputs", "outputs"} <= set(init_parameters(cls)) or init_parameters(cls) == ()


def _reduce(model: Any, protocol: Any) -> Any:
    """How to copy or pickle a model whose class was made here: by the class that the user wrote."""
    return _empty, (model._subclass,), model.__getstate__()


def _empty(cls: type) -> Any:
    """A model to be filled with a state."""
    made = _functional_class(cls)
    return made.__new__(made)


Model._with_graph = staticmethod(_functional_class)  # type: ignore[assignment]


class _OtherForm(Exception):
    """Inputs are nested in another way than the model's."""


def _leaves_like(form: Any, value: Any) -> Iterator[Any]:
    """The leaves of `value`, a nest of the form of `form`, in the order of `form`."""
    if isinstance(form, dict):
        if not isinstance(value, dict) or not value.keys() >= form.keys():
            raise _OtherForm
        for key, member in form.items():
            yield from _leaves_like(member, value[key])
    elif isinstance(form, (list, tuple)):
        if not isinstance(value, (list, tuple)) or len(value) != len(form):
            raise _OtherForm
        for member, its_value in zip(form, value, strict=True):
            yield from _leaves_like(member, its_value)
    elif nest.is_nest(value):
        raise _OtherForm
    else:
        yield value


def _shapes(tensors: Any) -> Any:
    """The shape of a symbolic tensor, or a nest of shapes."""
    return nest.map_nest(lambda t: t.shape, tensors)


def _shape_fix(shape: tuple[int, ...], wanted: tuple[int | None, ...]) -> str:
    """What to do about an input of `shape` where `wanted` was defined."""
    if len(shape) == len(wanted) - 1:
        if wanted[-1] == 1:
            return "the channel axis is missing: pass x[..., None]"
        return "an axis is missing: pass x[None] for a batch of one"
    if len(shape) == len(wanted) and len(shape) > 2 and (shape[0], *shape[2:], shape[1])[1:] == wanted[1:]:
        return "the channels stand first: pass x.movedim(1, -1)"
    return f"pass data of shape {wanted}, or define the model with Input(shape={shape[1:]})"
