"""`Layer`: build once, call. What every layer and every model is."""

from __future__ import annotations

import copy
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, cast

import torch

from lamina import config, dtypes, regularizers
from lamina.configurable import init_parameters
from lamina.engine import abstract, nest
from lamina.engine.abstract import Shape, Spec
from lamina.engine.added import added_losses
from lamina.engine.calling import CallArguments, CallPath
from lamina.engine.configs import config_of, objects_from, takes_anything
from lamina.engine.symbolic import Node
from lamina.errors import ArgumentError, GraphError, NotBuiltError, nearest
from lamina.naming import auto_name_of
from lamina.registry import snake_case

_SHARED = ("name", "trainable", "dtype")  # what every config has
_COMMON_ARGUMENTS = ("name", "dtype", "trainable", "autocast", "activity_regularizer", "input_shape", "input_dim")


class Layer(CallPath):
    """A function of tensors with weights of its own; a `torch.nn.Module` that learns its sizes from its input.

    A subclass stores its arguments in `__init__`, makes weights in `build(input_shape)` and computes in
    `call(inputs)`. A layer may be called on tensors, NumPy arrays or symbolic tensors; the first call builds it.

    Args:
        activity_regularizer: a penalty on the layer's output, divided by the batch size, added to `losses`.
        trainable: whether training changes the weights.
        dtype: a dtype or the name of a policy such as `"mixed_bfloat16"`; by default the global policy.
        autocast: whether float inputs are cast to the dtype of the weights.
        name: by default the class's name in snake case, numbered.
        **kwargs: `input_shape` (without the batch axis) or `input_dim`, which a `Sequential` reads from its first
            layer.

    Raises:
        ArgumentError: an argument is not known.

    Example:
        >>> class Doubled(Layer):
        ...     def call(self, x):
        ...         return 2 * x
        >>> Doubled()(torch.ones(2)).tolist()
        [2.0, 2.0]
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls._takes = CallArguments.of(cls.call)
        cls._own_mask = cls.compute_mask is not Layer.compute_mask

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        layer = super().__new__(cls)
        layer.__dict__["_init_arguments"] = (args, kwargs)
        return layer

    def __init__(
        self,
        *,
        activity_regularizer: Any = None,
        trainable: bool = True,
        dtype: Any = None,
        autocast: bool = True,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__()
        self._take_policy(dtypes.get_policy(dtype))
        self.__dict__.update(
            name=_checked_name(name) or new_name(type(self)),
            built=False,
            autocast=autocast,
            input_spec=None,
            activity_regularizer=regularizers.get(activity_regularizer),
            nodes=[],
            _trainable=trainable,
            _input_shape=_input_shape_argument(kwargs),
            _build_shapes=None,
            _direct=False,
            _input_dtype=None,
        )
        if self.activity_regularizer is not None:
            added_losses.begin()
        if kwargs:
            unknown = next(iter(kwargs))
            names = [n for n in (*init_parameters(type(self)), *_COMMON_ARGUMENTS) if n != "kwargs"]
            guess = nearest(unknown, names)
            raise ArgumentError(
                f"{type(self).__name__} has no argument {unknown!r}.",
                expected=", ".join(dict.fromkeys(names)),
                received=f"{unknown}={kwargs[unknown]!r}",
                fix=f"did you mean {guess!r}?" if guess else "leave it out",
            )

    # ------------------------------------------------------------------ what subclasses override
    def build(self, input_shape: Any) -> None:
        """Make the weights; the first call does this by itself.

        Args:
            input_shape: the shape of the first argument of `call`, `None` for unknown sizes; a nest of shapes for
                a nest of inputs.
        """

    def call(self, *args: Any, **kwargs: Any) -> Any:
        """Compute the layer's output; subclasses write this."""
        raise NotImplementedError(f"{type(self).__name__} does not define call().")

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The shape of the output for an input of `input_shape`, found by running `call` without memory.

        Args:
            input_shape: a shape with `None` for unknown sizes, or a nest of shapes.
        """
        if not self.built:
            with on_trial():
                copied = copy.deepcopy(self)
                copied.build(input_shape)
                return copied.compute_output_shape(input_shape)
        kind = dtypes.torch_dtype(self.compute_dtype)
        specs = abstract.specs_of_shapes(self._run_abstractly, input_shape, kind)
        return nest.map_nest(lambda spec: spec.shape, specs)

    def compute_output_spec(self, *args: Any, **kwargs: Any) -> Any:
        """A nest of `Spec` for a call on these arguments, symbolic tensors among them."""
        inputs, kind = self._first_of(args, kwargs), dtypes.torch_dtype(self.compute_dtype)
        stated = type(self).compute_output_shape is not Layer.compute_output_shape
        if stated and self._mixed is None and all(leaf.dtype is kind for leaf in nest.flatten(inputs)):
            return self._stated_spec(inputs, kind)
        try:  # only a run says what becomes of integers, or of floats in mixed precision
            return abstract.abstract_call(self._run_abstractly, args, kwargs)
        except Exception:
            if not stated:
                raise
            return self._stated_spec(inputs, kind)

    def _stated_spec(self, inputs: Any, kind: torch.dtype) -> Any:
        """What `compute_output_shape` says for symbolic inputs."""
        shapes = self.compute_output_shape(nest.map_nest(lambda t: tuple(t.shape), inputs))
        return nest.map_shapes(lambda shape: Spec(shape, kind), shapes)

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        """The mask of the output, for inputs with `previous_mask`; by default the same one."""
        return previous_mask

    # ------------------------------------------------------------------ description
    @property
    def variable_dtype(self) -> str:
        """The dtype of the weights, such as `"float32"`."""
        return self.dtype_policy.variable_dtype

    @property
    def dtype(self) -> str:
        """The same as `variable_dtype`, as Keras has it."""
        return self.dtype_policy.variable_dtype

    @property
    def compute_dtype(self) -> str:
        """The dtype in which products and convolutions are computed."""
        return self.dtype_policy.compute_dtype

    def _only_node(self, what: str) -> Node:
        if len(self.nodes) == 1:
            return self.nodes[0]
        raise GraphError(
            f"{type(self).__name__} {self.name!r} has no single {what}.",
            expected="a layer called on one set of symbolic tensors",
            received=f"{len(self.nodes)} calls",
            fix="read node.inputs and node.outputs of layer.nodes" if self.nodes else "call it on an Input first",
        )

    @property
    def input(self) -> Any:
        """The symbolic input, or list of inputs, of a layer that stands once in a functional graph."""
        node = self._only_node("input")
        return node.args[0] if node.args else node.inputs

    @property
    def output(self) -> Any:
        """The symbolic output of a layer that stands once in a functional graph."""
        return self._only_node("output").outputs

    def count_params(self) -> int:
        """The number of numbers in all weights.

        Raises:
            NotBuiltError: the layer makes weights in `build`, and has not been built.
        """
        count = super().count_params()
        if not self.built and not count and type(self).build is not Layer.build:
            raise NotBuiltError(
                f"{type(self).__name__} {self.name!r} is not built, so its weights cannot be counted.",
                expected="a layer that knows the shape of its input",
                received="no input shape yet",
                fix="call layer.build((None, ...)) with the shape of a batch, or call the layer on data",
            )
        return count

    def get_config(self) -> dict[str, Any]:
        """The arguments that make a layer like this one, as plain data."""
        return config_of(self)

    def get_build_config(self) -> dict[str, Any] | None:
        """What a file needs beside the config to build the layer: the shapes that it was built for."""
        shapes = self._build_shapes
        if not self.built or shapes is None:
            return None
        return {"shapes_dict" if _are_arguments(shapes) else "input_shape": shapes}

    def build_from_config(self, config: dict[str, Any]) -> None:
        """Build the layer as `get_build_config` said.

        Args:
            config: what it gave.
        """
        if "shapes_dict" in config:
            self.build(**config["shapes_dict"])
        elif config.get("input_shape") is not None:
            self.build(config["input_shape"])

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        """A new, unbuilt layer like the one whose `get_config` gave `config`."""
        taken = init_parameters(cls)
        # What every config has goes past an `__init__` that does not take it.
        beside = [] if takes_anything(cls) else [key for key in _SHARED if key in config and key not in taken]
        layer = cls(**objects_from({key: value for key, value in config.items() if key not in beside}, taken))
        if "name" in beside:
            layer.__dict__["name"] = _checked_name(config["name"])
        if "dtype" in beside:
            layer._take_policy(dtypes.get_policy(config["dtype"]))
        if "trainable" in beside:
            layer.trainable = config["trainable"]
        return layer

    def _variable_dtype(self) -> str:
        return self.dtype_policy.variable_dtype

    def _take_policy(self, policy: dtypes.DTypePolicy) -> None:
        """Follow `policy` from now on; weights that are there keep their dtype."""
        mixed = dtypes.torch_dtype(policy.compute_dtype) if policy.mixed else None
        self.__dict__.update(dtype_policy=policy, _mixed=mixed)

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "nodes": []}

    def extra_repr(self) -> str:
        """The line that torch prints for this module."""
        return f"name={self.name}, built={self.built}"


def _are_arguments(shapes: Any) -> bool:
    """Whether shapes were recorded by the arguments of `build`, rather than by the keys of one input."""
    return isinstance(shapes, dict) and all(
        isinstance(key, str) and key.endswith("_shape") for key in cast("dict[Any, Any]", shapes)
    )


def new_name(cls: type) -> str:
    """The next automatic name of an object of `cls`; a layer that is made on trial does not count."""
    return snake_case(cls.__name__) if _trial.going_on else auto_name_of(cls)


class _Trial:
    """Whether layers are being made only to see what they would do."""

    going_on = False


_trial = _Trial()


@contextmanager
def on_trial() -> Generator[None, None, None]:
    """Take no automatic name and no random number from what comes after."""
    device = config.device()
    before, _trial.going_on = _trial.going_on, True
    try:
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):  # pyright: ignore[reportUnknownMemberType]
            yield
    finally:
        _trial.going_on = before


def _checked_name(name: Any) -> str | None:
    """`name`, if it can name a layer."""
    if name is None:
        return None
    if not isinstance(name, str) or not name or "/" in name:
        raise ArgumentError(
            "This cannot name a layer.", expected="a string without '/'", received=repr(name), fix="name='block_1'"
        )
    return name


def _input_shape_argument(kwargs: dict[str, Any]) -> Shape | None:
    """The input shape, with its batch axis, that the first layer of a `Sequential` may be given."""
    shape, dim = kwargs.pop("input_shape", None), kwargs.pop("input_dim", None)
    if shape is not None:
        sizes = cast("tuple[int | None, ...]", (shape,) if isinstance(shape, int) else tuple(shape))
        return (None, *sizes)
    return None if dim is None else (None, dim)
