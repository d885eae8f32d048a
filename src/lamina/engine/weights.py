"""What a layer owns: weights, the penalties and constraints on them, and losses added while it runs."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import numpy as np
import torch

from lamina import config, constraints, dtypes, initializers, regularizers
from lamina.engine import abstract, budget, tracking
from lamina.engine.added import added_losses
from lamina.engine.attributes import refuse_before_init, refuse_hidden
from lamina.errors import ArgumentError, WeightsError


class _NewWeight:
    """What is known of a weight between `add_weight` and the assignment that registers it."""

    def __init__(self, tensor: torch.Tensor, name: str, regularizer: Any, constraint: Any) -> None:
        self.tensor = tensor
        self.name = name
        self.regularizer = regularizer
        self.constraint = constraint


class WeightOwner(torch.nn.Module):
    """A module that makes weights by `add_weight` and gives them out as Keras orders them.

    Trainable weights are Parameters, the others buffers. Lists, tuples and dicts of layers that are assigned to
    attributes belong to the module too, also when they grow later.
    """

    training: bool
    _trainable: bool
    _weight_names: dict[str, str]
    _regularizers: dict[str, Callable[[torch.Tensor], torch.Tensor]]
    _constraints: dict[str, Callable[[torch.Tensor], torch.Tensor]]
    _new_weights: list[_NewWeight]
    _added_losses: list[torch.Tensor]
    _weight_device: torch.device | None

    def __init__(self) -> None:
        super().__init__()
        # A fresh layer computes as for inference, so that `model(x)` means what it means in Keras.
        self.training = False
        self.__dict__.update(
            _trainable=True,
            _weight_names={},
            _regularizers={},
            _constraints={},
            _new_weights=[],
            _added_losses=[],
            _weight_device=None,
        )

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "__dict__":  # torch's copy of a parametrized module
            pass
        elif "_modules" not in self.__dict__:
            refuse_before_init(self, name, value)
        elif tracking.may_register(value):
            held = tracking.tracked(value, self.training)
            if type(value) in (list, dict):
                value = held
            else:  # a tuple, say, stays what it is; its members are registered beside it
                super().__setattr__(f"{name}_", held)
        elif isinstance(self._modules.get(name), tracking.Container) and not isinstance(value, torch.nn.Module):
            del self._modules[name]
        if isinstance(value, (torch.nn.Module, torch.Tensor)) and "_modules" in self.__dict__:
            self._prepare(name, value)
        super().__setattr__(name, value)

    def _prepare(self, name: str, value: torch.nn.Module | torch.Tensor) -> None:
        """Give a module or weight that becomes an attribute what it takes over from this module."""
        if isinstance(value, (torch.nn.Module, torch.nn.Parameter)):
            refuse_hidden(type(self), name, value)
        if isinstance(value, torch.Tensor):
            if self._new_weights:
                self._name_new_weight(name, value)
            return
        if not isinstance(value, WeightOwner):
            value.train(self.training)
        if not self._trainable:
            _set_trainable(value, False)

    def _name_new_weight(self, attribute: str, tensor: torch.Tensor) -> None:
        """Keep what `add_weight` was told about `tensor` under the attribute that now holds it."""
        for new in self._new_weights:
            if new.tensor is tensor:
                self._new_weights.remove(new)
                self._weight_names[attribute] = new.name
                if new.regularizer is not None:
                    self._regularizers[attribute] = new.regularizer
                if new.constraint is not None:
                    self._constraints[attribute] = new.constraint
                return

    @contextmanager
    def all_or_no_weights(self) -> Generator[None, None, None]:
        """Forget the weights that are made in here and not assigned, if it ends in an error."""
        before = len(self._new_weights)
        try:
            yield
        except BaseException:
            del self._new_weights[before:]
            raise

    def _adopt_new_weights(self) -> None:
        """Register weights that `add_weight` made and nobody assigned to an attribute; a list may hold them."""
        if not self._new_weights:
            return
        held = {id(t): path for path, t in self.named_parameters(remove_duplicate=False)}
        held.update((id(t), path) for path, t in self.named_buffers(remove_duplicate=False))
        for new in list(self._new_weights):
            if id(new.tensor) in held:
                self._name_new_weight(held[id(new.tensor)], new.tensor)
                continue
            name = attribute = new.name.replace(".", "_")
            count = 0
            while attribute in self.__dict__ or _is_taken(self, attribute):
                count += 1
                attribute = f"{name}_{count}"
            setattr(self, attribute, new.tensor)

    def add_weight(
        self,
        shape: Sequence[int] | int | None = None,
        initializer: Any = None,
        dtype: Any = None,
        trainable: bool = True,
        autocast: bool = True,
        regularizer: Any = None,
        constraint: Any = None,
        name: str | None = None,
        memory_order: Sequence[int] | None = None,
    ) -> Any:
        """Make a weight; assign it to an attribute.

        Args:
            shape: its sizes; `()` or `None` for a scalar.
            initializer: an initializer, a name, or a function of shape and dtype; by default Glorot uniform for
                floats and zeros for anything else.
            dtype: by default the variable dtype of the layer's policy.
            trainable: a Parameter if true, else a buffer; both are part of `state_dict`.
            autocast: accepted for Keras's sake; precision is `torch.autocast`'s business here.
            regularizer: a penalty on it, added to the layer's `losses`.
            constraint: a projection applied to it after each optimizer step.
            name: what messages call it; by default `weight`.
            memory_order: the axes from slowest to fastest in memory, when that is not their own order; the shape
                stays what it is.

        Returns:
            A `torch.nn.Parameter`, or a `torch.nn.Buffer` if not trainable.

        Raises:
            ArgumentError: a size is not known.

        Example:
            >>> from lamina.engine.layer import Layer
            >>> class Scale(Layer):
            ...     def build(self, input_shape):
            ...         self.scale = self.add_weight((input_shape[-1],), "ones", name="scale")
            ...     def call(self, x):
            ...         return x * self.scale
            >>> Scale()(torch.ones(2, 3)).shape
            torch.Size([2, 3])
        """
        sizes = _known_sizes(shape, name)
        budget.spend(sizes)
        kind = dtypes.torch_dtype(dtype if dtype is not None else self._variable_dtype())
        if initializer is None:
            initializer = "glorot_uniform" if kind.is_floating_point else "zeros"
        with abstract.outside(), torch.no_grad():
            device = self._weight_device or config.device()
            make: Any = initializers.get(initializer)
            value: torch.Tensor = make(sizes, kind, device=device)
            if memory_order is not None:
                value = in_memory_order(value, memory_order)
        tensor: Any
        if trainable and kind.is_floating_point:
            tensor = torch.nn.Parameter(value, requires_grad=self._trainable)
        else:
            tensor = torch.nn.Buffer(value)
        penalty, projection = regularizers.get(regularizer), constraints.get(constraint)
        self._new_weights.append(_NewWeight(tensor, name or "weight", penalty, projection))
        return tensor

    def _variable_dtype(self) -> str:
        """The dtype of a weight that names none."""
        return dtypes.global_policy().variable_dtype

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_added_losses": []}  # these hang on the graph of the last call

    @property
    def trainable(self) -> bool:
        """Whether training changes the Parameters here; setting it sets it for all layers inside too."""
        return self._trainable

    @trainable.setter
    def trainable(self, value: bool) -> None:
        _set_trainable(self, bool(value))

    def _named_weights(self) -> Iterator[tuple[str, torch.Tensor]]:
        """Every weight once with its dotted path: own Parameters, own buffers, then module by module."""
        self._adopt_new_weights()
        seen: set[int] = set()
        modules: dict[str, torch.nn.Module] = dict(cast("Any", self).named_modules())
        for prefix, module in modules.items():
            if isinstance(module, WeightOwner):
                module._adopt_new_weights()
            for name, tensor in _own_weights(module):
                if id(tensor) not in seen:
                    seen.add(id(tensor))
                    yield (f"{prefix}.{name}" if prefix else name), tensor

    @property
    def weights(self) -> list[torch.Tensor]:
        """All weights in Keras's order: a layer's trainable ones, its others, then those of the layers inside."""
        return [tensor for _, tensor in self._named_weights()]

    variables = weights

    @property
    def trainable_weights(self) -> list[torch.Tensor]:
        """The weights that training changes: Parameters that require a gradient."""
        return [tensor for tensor in self.weights if tensor.requires_grad]

    trainable_variables = trainable_weights

    @property
    def non_trainable_weights(self) -> list[torch.Tensor]:
        """The weights that training leaves alone: buffers and frozen Parameters."""
        return [tensor for tensor in self.weights if not tensor.requires_grad]

    non_trainable_variables = non_trainable_weights

    def get_weights(self) -> list[np.ndarray[Any, Any]]:
        """The values of `weights`, in that order, as NumPy arrays of their own memory."""
        return [_to_numpy(tensor) for tensor in self.weights]

    def set_weights(self, weights: Sequence[Any]) -> None:
        """Give `weights` new values.

        Args:
            weights: arrays in the order and with the shapes of `get_weights()`.

        Raises:
            WeightsError: there are more or fewer, or a shape differs; nothing is changed then.
        """
        named = list(self._named_weights())
        label = f"{type(self).__name__} {getattr(self, 'name', '')!r}"
        if len(weights) != len(named):
            raise WeightsError(
                f"{label} has {len(named)} weights, not {len(weights)}.",
                expected=", ".join(f"{n} {tuple(t.shape)}" for n, t in named) or "no weights",
                received=", ".join(map(_shape_text, weights)) or "none",
                fix="build the model first" if not named else "pass what get_weights() of an equal model gave",
            )
        values = [torch.as_tensor(w) for w in weights]
        for (name, tensor), value in zip(named, values, strict=True):
            if tensor.shape != value.shape:
                raise WeightsError(
                    f"A weight of {label} has another shape.",
                    expected=f"{name} {tuple(tensor.shape)}",
                    received=f"shape {tuple(value.shape)}",
                    fix="pass what get_weights() of an equal model gave",
                )
        with torch.no_grad():
            for (_, tensor), value in zip(named, values, strict=True):
                tensor.copy_(value)

    def count_params(self) -> int:
        """The number of numbers in all weights."""
        return sum(tensor.numel() for tensor in self.weights)

    def add_loss(self, loss: Any) -> None:
        """Add a term to the training loss; call it inside `call`.

        Args:
            loss: a tensor, which is averaged if it has axes, or a list of them.
        """
        if abstract.running():
            return
        values: list[Any] = list(cast("list[Any]", loss)) if isinstance(loss, (list, tuple)) else [loss]
        added_losses.begin()
        self._added_losses.extend(torch.as_tensor(v).mean() for v in values if v is not None)

    @property
    def losses(self) -> list[torch.Tensor]:
        """Terms for the training loss: those added in the last call, and the penalties on weights."""
        found: list[torch.Tensor] = []
        for module in self.modules():
            if isinstance(module, WeightOwner):
                found.extend(module._added_losses)
                for path, regularizer in module._regularizers.items():
                    weight = _weight_at(module, path)
                    if weight.requires_grad:
                        found.append(regularizer(weight))
        return found

    def clear_losses(self) -> None:
        """Forget the terms that `add_loss` added, here and in the layers inside."""
        if added_losses.in_use:
            for module in self.modules():
                if isinstance(module, WeightOwner) and module._added_losses:
                    module._added_losses.clear()

    def constrained_weights(self) -> list[tuple[torch.Tensor, Callable[[torch.Tensor], torch.Tensor]]]:
        """Each weight that has a constraint, with it, here and in the layers inside."""
        return [
            (_weight_at(module, path), constraint)
            for module in self.modules()
            if isinstance(module, WeightOwner)
            for path, constraint in module._constraints.items()
        ]


def _known_sizes(shape: Any, name: str | None) -> tuple[int, ...]:
    """The shape of a new weight as a tuple without unknown sizes."""
    sizes: tuple[Any, ...] = () if shape is None else ((shape,) if isinstance(shape, int) else tuple(shape))
    if None in sizes:
        raise ArgumentError(
            f"The weight {name or 'weight'!r} cannot be made: a size of its shape is not known.",
            expected="a number for every size",
            received=f"shape {sizes}",
            fix="give Input (or build) that size; only the batch and free spatial sizes may be None",
        )
    return sizes


def _set_trainable(module: torch.nn.Module, value: bool) -> None:
    """Switch training of all that is in `module` on or off."""
    for part in module.modules():
        if isinstance(part, WeightOwner):
            part.__dict__["_trainable"] = value
    for parameter in module.parameters():
        parameter.requires_grad_(value)


def _weight_at(module: torch.nn.Module, path: str) -> torch.Tensor:
    """The weight at a dotted path; through attributes, so that a parametrized one is what the layer sees."""
    *modules, name = path.split(".")
    for key in modules:
        module = cast("Any", module)._modules[key]
    return getattr(module, name)


def _is_taken(owner: torch.nn.Module, name: str) -> bool:
    """Whether an attribute of that name is there, be it on the class."""
    return hasattr(type(owner), name) or hasattr(owner, name)


def in_memory_order(value: torch.Tensor, order: Sequence[int]) -> torch.Tensor:
    """`value` with its axes laid out in memory from slowest to fastest in `order`; the shape stays.

    Example:
        >>> in_memory_order(torch.zeros(2, 3), (1, 0)).stride()
        (1, 2)
    """
    inverse = [0] * len(order)
    for position, axis in enumerate(order):
        inverse[axis] = position
    return value.permute(*order).contiguous().permute(*inverse)


def _own_weights(module: Any) -> Iterator[tuple[str, torch.Tensor]]:
    """The Parameters of `module` itself, and its buffers that files keep; of a torch module those of float type."""
    yield from module.named_parameters(recurse=False)
    ours = isinstance(module, (WeightOwner, tracking.Container))
    for name, tensor in module.named_buffers(recurse=False):
        if name not in module._non_persistent_buffers_set and (ours or tensor.is_floating_point()):
            yield name, tensor


def _shape_text(value: Any) -> str:
    """The shape of anything that NumPy takes for an array."""
    return str(tuple(np.asarray(value).shape) if not isinstance(value, torch.Tensor) else tuple(value.shape))


def _to_numpy(tensor: torch.Tensor) -> np.ndarray[Any, Any]:
    """A copy of `tensor` as a NumPy array; bfloat16, which NumPy lacks, as float32."""
    tensor = tensor.detach()
    if tensor.dtype == torch.bfloat16:
        tensor = tensor.float()
    host: Any = tensor.cpu()
    return np.array(host.numpy())
