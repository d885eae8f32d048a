"""How a layer is built and called: the short path that nearly every call takes, and the full one."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from lamina import config, dtypes
from lamina.engine import abstract, nest, precision, watching
from lamina.engine.added import added_losses
from lamina.engine.located import located
from lamina.engine.masking import ATTRIBUTE as MASK
from lamina.engine.masking import any_mask, apart, get_mask, set_mask
from lamina.engine.spec import check_inputs
from lamina.engine.symbolic import Node, SymbolicTensor, any_symbolic, as_constant, check_definition
from lamina.engine.weights import WeightOwner
from lamina.errors import DtypeError, GraphError, LaminaError

_NOT_GIVEN: Any = object()


class CallArguments(NamedTuple):
    """What a layer's `call` takes."""

    names: tuple[str, ...]  # without self
    training: bool
    mask: bool
    anything: bool  # through **kwargs

    @classmethod
    def of(cls, call: Callable[..., Any]) -> CallArguments:
        """Read off a method's signature."""
        found = list(inspect.signature(call).parameters.values())[1:]
        names = tuple(p.name for p in found if p.kind is not p.VAR_KEYWORD)
        return cls(names, "training" in names, "mask" in names, any(p.kind is p.VAR_KEYWORD for p in found))


class CallPath(WeightOwner):
    """A module that is built by its first call and gets its mode, its precision and its masks settled there."""

    supports_masking = False
    _takes = CallArguments((), False, False, True)
    _build_names: tuple[str, ...] = ()  # what `build` takes
    # A layer whose `call` reads `self.training` itself when `training` is None needs no help on the short path.
    _resolves_training = False
    # Whether the output has a mask though the input has none; None: if `compute_mask` is overridden.
    _makes_masks: bool | None = None
    _own_mask = False  # whether `compute_mask` is overridden
    # Whether `build` says itself when the layer is built.
    _builds_itself = False

    name: str
    built: bool
    autocast: bool
    input_spec: Any
    dtype_policy: dtypes.DTypePolicy
    activity_regularizer: Any
    nodes: list[Node]
    _build_shapes: Any
    _direct: bool
    _input_dtype: torch.dtype | None
    _mixed: torch.dtype | None

    if TYPE_CHECKING:  # `Layer` has these

        def build(self, input_shape: Any) -> None: ...
        def call(self, *args: Any, **kwargs: Any) -> Any: ...
        def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any: ...
        def compute_output_spec(self, *args: Any, **kwargs: Any) -> Any: ...

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "build" in cls.__dict__ and not cls.__dict__.get("_builds_itself", False):
            cls.build = _finishing(cls.__dict__["build"])
        cls._build_names = tuple(inspect.signature(cls.build).parameters)[1:]

    # ------------------------------------------------------------------ calling
    def forward(self, inputs: Any = _NOT_GIVEN, /, *args: Any, **kwargs: Any) -> Any:
        """Run the layer; call the layer itself, as any torch module.

        The first argument has a place of its own for `torch.export`, which matches shapes to the signature.
        """
        if added_losses.idle:
            return self._outermost(inputs, *args, **kwargs)
        if self._direct and not args and not kwargs and self._mixed is precision.current:
            if isinstance(inputs, torch.Tensor):
                wanted = self._input_dtype
                if wanted is None or inputs.dtype is wanted or not inputs.is_floating_point():
                    try:
                        y = self.call(inputs)
                    except Exception as error:
                        found = located(error, self, (inputs,))
                        raise found from found.__cause__
                    if self.supports_masking:
                        mask = getattr(inputs, MASK, None)
                        if mask is not None:
                            set_mask(y, self.compute_mask(inputs, mask))
                    return y
            elif type(inputs) is list and self._input_dtype is None and _all_plain(inputs):  # pyright: ignore[reportUnknownArgumentType]
                try:
                    return self.call(inputs)
                except Exception as error:
                    found = located(error, self, (inputs,))  # pyright: ignore[reportUnknownArgumentType]
                    raise found from found.__cause__
        given: Any = args if inputs is _NOT_GIVEN else (inputs, *args)
        try:
            if any_symbolic(given) or any_symbolic(kwargs.values()):
                return self._call_symbolic(given, kwargs)
            return self._call_in_full(given, kwargs)
        except Exception as error:
            found = located(error, self, given)
            raise found from found.__cause__

    def _outermost(self, *args: Any, **kwargs: Any) -> Any:
        """A call inside no other: it forgets the losses that the one before added."""
        if not abstract.running():
            self.clear_losses()
        added_losses.idle = False
        try:
            return CallPath.forward(self, *args, **kwargs)
        finally:
            added_losses.idle = True

    def _call_in_full(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Every step of a call: convert, build, resolve the mode and the masks, run, hand masks and losses on."""
        args, kwargs = self._converted(args), self._converted(kwargs)
        if not self.built:
            self._build_for(args, kwargs)
            args, kwargs = self._converted(args), self._converted(kwargs)  # now that the weights' dtype is known
        args, kwargs, mask = self._with_masks(args, kwargs)
        inputs = self._first_of(args, kwargs)
        outputs = self._run_in_precision(*args, **kwargs)
        if self._own_mask or (self.supports_masking and any_mask(mask)):
            new_mask = self.compute_mask(inputs, mask)
            if any_mask(new_mask):
                outputs = set_mask(apart(outputs) if outputs is inputs else outputs, new_mask)
        if self.activity_regularizer is not None:
            for output in nest.flatten(outputs):
                self.add_loss(self.activity_regularizer(output) / output.shape[0])
        return outputs

    def _with_masks(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any], Any]:
        """The arguments with the input's mask where `call` takes it, and that mask; an explicit one wins."""
        takes, inputs = self._takes, self._first_of(args, kwargs)
        place = takes.names.index("mask") if takes.mask else len(args)
        mask = args[place] if place < len(args) else kwargs.get("mask")
        if mask is None:
            mask = get_mask(inputs)
            if takes.mask and any_mask(mask) and place >= len(args):
                kwargs["mask"] = mask
        elif not takes.mask and not takes.anything:  # the layers inside find it on the input
            inputs = set_mask(apart(inputs), mask)
            if args:
                args = (inputs, *args[1:])
            else:
                kwargs[next(key for key, value in kwargs.items() if value is self._first_of((), kwargs))] = inputs
        if not takes.mask and not takes.anything:
            kwargs.pop("mask", None)
        return args, kwargs, mask

    def _first_of(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The first argument of `call`, by place or by name."""
        if args or not kwargs:
            return args[0] if args else None
        names = self._takes.names
        return kwargs[names[0]] if names and names[0] in kwargs else next(iter(kwargs.values()))

    def _run_in_precision(self, *args: Any, **kwargs: Any) -> Any:
        """`call` in the layer's own precision, whichever the layers around it have."""
        if self._mixed is precision.current:
            return self._run(*args, **kwargs)
        leaves = nest.flatten([args, kwargs])
        device = next((leaf.device.type for leaf in leaves if isinstance(leaf, torch.Tensor)), "cpu")
        with precision.region(self._mixed, device):
            if self._mixed is None:
                args, kwargs = self._converted(args, uncast=True), self._converted(kwargs, uncast=True)
            return self._run(*args, **kwargs)

    def _run(self, *args: Any, **kwargs: Any) -> Any:
        """`call` in the mode that `training` asks for: the argument's, else the module's own."""
        takes = self._takes
        training = kwargs.get("training")
        if takes.training:
            place = takes.names.index("training")
            if len(args) > place:
                training = args[place]
            elif training is None:
                kwargs["training"] = self.training
        else:
            kwargs.pop("training", None)
        if training is None:
            return self.call(*args, **kwargs)
        with _mode(self, bool(training)):
            return self.call(*args, **kwargs)

    def _call_symbolic(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Build, find the form of the output and add a node to the graph."""
        check_definition()
        args, kwargs = nest.map_nest(as_constant, args), nest.map_nest(as_constant, kwargs)
        if not self.built:
            self._build_for(args, kwargs)
        elif self.input_spec is not None:
            shapes = nest.map_nest(lambda t: tuple(t.shape), self._first_of(args, kwargs))
            check_inputs(self.input_spec, shapes, type(self).__name__)
        try:
            specs = self.compute_output_spec(*args, **kwargs)
        except LaminaError:
            raise
        except Exception as error:
            raise GraphError(
                f"{type(self).__name__} cannot be called on these shapes: {abstract.reason_of(error)}",
                received=", ".join(repr(t) for t in nest.flatten([args, kwargs]) if isinstance(t, SymbolicTensor)),
                fix="check the shapes above against what call() does; sizes that are None are known only with data",
            ) from error
        watching.go_on()
        return Node(self, args, kwargs, specs).outputs

    def _run_abstractly(self, *args: Any, **kwargs: Any) -> Any:
        """A call as it is among symbolic tensors: converted, in the layer's precision, without masks.

        It is one of inference, since in training even a run without memory would count a torch module's batches.
        """
        takes = self._takes
        if not takes.training or takes.names.index("training") >= len(args):
            kwargs = {**kwargs, "training": False}
        return self._run_in_precision(*self._converted(args), **self._converted(kwargs))

    def _converted(self, value: Any, uncast: bool = False) -> Any:
        """Arrays as tensors, float tensors in the dtype of the weights, other things as they are.

        With `uncast`, floats of a layer without weights get the dtype of its policy.
        """
        target = self._input_dtype
        policy = dtypes.torch_dtype(self.dtype_policy.variable_dtype)

        def convert(leaf: Any) -> Any:
            if isinstance(leaf, np.ndarray):
                leaf = torch.as_tensor(leaf, device=self.home())
                if leaf.is_floating_point() and self.autocast and self._mixed is None:
                    leaf = leaf.to(target or policy)
            if isinstance(leaf, torch.Tensor) and leaf.is_floating_point():
                wanted = target or policy if uncast or (self._mixed and leaf.dtype is torch.float64) else target
                if wanted is not None and leaf.dtype is not wanted and (uncast or self.autocast):
                    return set_mask(leaf.to(wanted), get_mask(leaf))
            return leaf

        return nest.map_nest(convert, value)

    def home(self) -> torch.device:
        """Where the layer's weights are, or will be."""
        found = next((p.device for p in self.parameters()), self._weight_device)
        return config.device() if found is None else found

    # ------------------------------------------------------------------ building
    def _build_for(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Build for the shapes of a call's arguments."""
        inputs = self._first_of(args, kwargs)
        first = next((t for t in nest.flatten(inputs) if isinstance(t, torch.Tensor)), None)
        if first is not None:
            self.__dict__["_weight_device"] = first.device
        elif self.input_spec is not None and not any(hasattr(leaf, "shape") for leaf in nest.flatten(inputs)):
            raise DtypeError(
                f"{type(self).__name__} takes tensors.",
                expected="a tensor or an array",
                received="nothing" if inputs is None else f"{inputs!r} of type {type(inputs).__name__}",
                fix="pass np.array(x) or torch.tensor(x)",
            )
        names = self._build_names
        if len(names) <= 1:
            self.build(nest.map_nest(_known_shape, inputs))
            return
        bound = dict(zip(self._takes.names, args, strict=False)) | kwargs
        shapes = {
            f"{name}_shape": nest.map_nest(_known_shape, value)
            for name, value in bound.items()
            if f"{name}_shape" in names and value is not None
        }
        self.build(**shapes) if shapes else self.build(nest.map_nest(_known_shape, inputs))

    def mark_built(self) -> None:
        """Register what `build` made and choose the short path where this layer can take it."""
        self._adopt_new_weights()
        if not self._trainable:
            self.trainable = False  # the layers inside too, also those that `build` made
        takes = self._takes
        makes_masks = self._own_mask if self._makes_masks is None else self._makes_masks
        self.__dict__.update(
            built=True,
            _direct=(
                self.activity_regularizer is None
                and not makes_masks
                and not takes.mask
                and (self._resolves_training or not takes.training)
            ),
        )
        self._settle_input_dtype()

    def _settle_input_dtype(self) -> None:
        """Read off the weights which float dtype an input must have."""
        own = next((p.dtype for p in self._parameters.values() if p is not None and p.is_floating_point()), None)
        self.__dict__["_input_dtype"] = own if self.autocast and self._mixed is None else None

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        super()._apply(fn, recurse)  # pyright: ignore[reportUnknownMemberType]
        self._settle_input_dtype()
        return self

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)  # pyright: ignore[reportUnknownMemberType]
        self._settle_input_dtype()  # with assign=True the weights may have another dtype now


def _finishing(build: Callable[..., None]) -> Callable[..., None]:
    """`build` with what belongs before and after it, so that it may be called from anywhere."""

    @functools.wraps(build)
    def built(self: CallPath, *args: Any, **kwargs: Any) -> None:
        if getattr(type(self).build, "__wrapped__", None) is not build:  # called through super()
            build(self, *args, **kwargs)
            return
        first = args[0] if args else next(iter(kwargs.values()), None)
        if self.input_spec is not None and first is not None:
            check_inputs(self.input_spec, first, type(self).__name__)
        with abstract.outside(), self.all_or_no_weights():
            build(self, *args, **kwargs)
        self.__dict__["_build_shapes"] = kwargs if len(kwargs) > 1 else first
        self.mark_built()

    return built


def _all_plain(tensors: list[Any]) -> bool:
    """Whether all are tensors without masks."""
    return all(isinstance(t, torch.Tensor) and not hasattr(t, MASK) for t in tensors)


def _known_shape(leaf: Any) -> Any:
    """The shape of an argument; a number has none of its own."""
    return abstract.known_shape(leaf) if hasattr(leaf, "shape") else ()


@contextmanager
def _mode(layer: torch.nn.Module, training: bool) -> Generator[None, None, None]:
    """Every module of `layer` in one mode, and back to what each had."""
    changed = [module for module in layer.modules() if module.training is not training]
    for module in changed:
        module.training = training
    try:
        yield
    finally:
        for module in changed:
            module.training = not training
