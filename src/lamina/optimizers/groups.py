"""The parameters that an optimizer moves, sorted so that one kernel call serves many of them."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from lamina.errors import ArgumentError, DtypeError, ShapeError, WeightsError

_DISPATCH_KEYS = {"cpu": "CPU", "cuda": "CUDA", "mps": "MPS", "xpu": "XPU"}
_SHORT = (torch.bfloat16, torch.float16)
_FUSED_DTYPES = (torch.float32, torch.float64, *_SHORT)

# On CPUs this kernel leaves most of a parameter of 16 bits as it was, at least up to torch 2.13:
# https://github.com/pytorch/pytorch/issues/191763
_WRONG_IN_SHORT = ("_fused_sgd_", "cpu")


@functools.cache
def has_kernel(name: str, device_type: str) -> bool:
    """Whether this torch computes the operator `name` on devices of this type."""
    key = _DISPATCH_KEYS.get(device_type)
    if key is None or not hasattr(torch.ops.aten, name):
        return False
    return torch._C._dispatch_has_kernel_for_dispatch_key(f"aten::{name}", key)


class ParameterSet:
    """The trainable parameters of a model, in the order in which an optimizer was built on them.

    Args:
        variables: parameters; those with `requires_grad=False` are left out, and so are repetitions.
        names: a mapping between names and parameters, in either direction, such as
            `dict(model.named_parameters())`.

    Raises:
        DtypeError: one of `variables` is not a tensor.
    """

    def __init__(self, variables: Iterable[Tensor], names: Mapping[Any, Any] | None = None) -> None:
        everything = list(variables)
        for variable in everything:
            if not isinstance(variable, Tensor):
                raise DtypeError(
                    "An optimizer is built on parameters.",
                    expected="torch.nn.Parameter objects",
                    received=f"{type(variable).__name__} {variable!r}",
                    fix="optimizer.build(model.parameters())",
                )
        self.parameters = [v for v in dict.fromkeys(everything) if v.requires_grad]
        self._index = {parameter: i for i, parameter in enumerate(self.parameters)}
        self._frozen = {v for v in everything if not v.requires_grad}
        pairs = [(v, k) if isinstance(k, str) else (k, v) for k, v in (names or {}).items()]
        given = {parameter: name for parameter, name in pairs if isinstance(parameter, Tensor)}
        self.named = bool(given)
        self.names = [given.get(parameter, f"parameter_{i}") for i, parameter in enumerate(self.parameters)]

    def __len__(self) -> int:
        return len(self.parameters)

    def __contains__(self, parameter: object) -> bool:
        return parameter in self._index

    def gradients(self) -> list[Tensor | None]:
        """What `backward` left in each parameter's `.grad`."""
        return [parameter.grad for parameter in self.parameters]

    def align(self, grads: Sequence[Tensor | None], variables: Iterable[Tensor] | None) -> list[Tensor | None]:
        """The gradients in the order of the parameters.

        Args:
            grads: a tensor or `None` for each of `variables`.
            variables: the parameters they belong to; `None` for all, in order.

        Returns:
            One entry a parameter, `None` where there is no gradient.

        Raises:
            ArgumentError: there are more or fewer gradients than parameters, or an unknown parameter.
            ShapeError: a gradient has another shape than its parameter.
            DtypeError: a gradient is no tensor, or lies on another device.
        """
        owners = self.parameters if variables is None else list(variables)
        if len(grads) != len(owners):
            raise ArgumentError(
                "Each parameter needs one gradient, or None.",
                expected=f"{len(owners)} gradients",
                received=f"{len(grads)} gradients",
                fix="pass the parameters too: optimizer.apply(grads, parameters)",
            )
        aligned: list[Tensor | None] = [None] * len(self.parameters)
        for grad, owner in zip(grads, owners, strict=True):
            index = self._index.get(owner) if isinstance(owner, Tensor) else None
            if index is not None:
                if grad is not None:
                    self._check(grad, owner, self.names[index])
                aligned[index] = grad
            elif not isinstance(owner, Tensor) or owner not in self._frozen:
                raise ArgumentError(
                    "The optimizer does not know this variable.",
                    expected=f"one of the {len(self)} parameters that it was built on",
                    received=f"a {type(owner).__name__} of shape {tuple(getattr(owner, 'shape', ()))}",
                    fix="make a new optimizer for a new set of parameters",
                )
        return aligned

    @staticmethod
    def _check(grad: Tensor, parameter: Tensor, name: str) -> None:
        # The fused kernels walk raw memory: a gradient that does not match would be read out of bounds.
        if not isinstance(grad, Tensor) or grad.device != parameter.device:
            where = f" on {grad.device}" if isinstance(grad, Tensor) else ""
            raise DtypeError(
                f"The gradient of {name!r} cannot be used.",
                expected=f"a torch.Tensor on {parameter.device}",
                received=f"{type(grad).__name__}{where}",
                fix="move it to the parameter's device as a tensor",
            )
        if grad.shape != parameter.shape:
            raise ShapeError(
                f"The gradient of {name!r} does not fit.",
                expected=f"shape {tuple(parameter.shape)}",
                received=f"shape {tuple(grad.shape)}",
                fix="check the order of the gradients and the parameters",
            )

    def check_same(self, variables: Iterable[Tensor]) -> None:
        """Refuse variables that are not exactly these parameters, frozen ones aside."""
        given = {v for v in variables if v.requires_grad or v in self._index}
        if given != set(self.parameters):
            raise WeightsError(
                "These are not the variables that the optimizer was built on.",
                expected=f"the same {len(self)} parameters",
                received=f"{len(given)} parameters, {len(given & set(self.parameters))} of them known",
                fix="pass the model's trainable variables",
            )


@dataclasses.dataclass
class Group:
    """Parameters that share a device, a dtype and a rule of weight decay, with the state that goes with them."""

    indices: list[int]
    parameters: list[Tensor]
    slots: dict[str, list[Tensor]]
    decays: bool
    dense: bool

    def __post_init__(self) -> None:
        first = self.parameters[0]
        self.device, self.dtype = first.device, first.dtype
        self.layouts = [p.stride() for p in self.parameters]
        self._dtypes = [self.dtype] * len(self.parameters)
        self._places = [self.device] * len(self.parameters)
        self._part: tuple[list[int], Group] | None = None
        turned = enumerate(self.parameters) if self.dense and self.device.type == "cpu" else ()
        self._orders = [(i, _memory_order(p)) for i, p in turned if not p.is_contiguous()]
        self._in_memory: tuple[list[int], Group] | None = None

    def drifted(self) -> bool:
        """Whether a parameter has moved to another device, dtype or memory layout since the group was made."""
        parameters = self.parameters
        return (
            [p.stride() for p in parameters] != self.layouts
            or [p.dtype for p in parameters] != self._dtypes
            or [p.device for p in parameters] != self._places
        )

    def fused(self, kernel: str) -> bool:
        """Whether the fused operator `kernel` can serve this group."""
        if self.dtype in _SHORT and (kernel, self.device.type) == _WRONG_IN_SHORT:
            return False
        return self.dense and self.dtype in _FUSED_DTYPES and has_kernel(kernel, self.device.type)

    def meet(self, grads: Sequence[Tensor | None]) -> tuple[Group, list[Tensor]]:
        """The group of the parameters that have a gradient, and those gradients laid out like the parameters."""
        try:
            # One pass finds both what differs and, by its error, a None or a sparse gradient.
            if [g.stride() for g in grads] == self.layouts and [g.dtype for g in grads] == self._dtypes:  # type: ignore[union-attr]
                return self, grads  # type: ignore[return-value]
        except (AttributeError, RuntimeError):
            pass
        present = [i for i, grad in enumerate(grads) if grad is not None]
        group = self if len(present) == len(self.parameters) else self.part(present)
        return group, [_laid_out(grads[i], self.parameters[i]) for i in present]  # type: ignore[arg-type]

    def in_memory_order(self, grads: list[Tensor]) -> tuple[Group, list[Tensor]]:
        """Views of the group and of its gradients, whose axes are in the order of their memory.

        The fused kernels of the CPU copy a tensor whose axes are not, there and back, which takes longer than the
        update; a kernel of shape `(in, out)` that lies in memory as `(out, in)` is such a tensor.
        """
        if not self._orders:
            return self, grads
        # A parameter whose data were replaced has moved, and the views of it are of no use any more.
        addresses = [self.parameters[i].data_ptr() for i, _ in self._orders]
        if self._in_memory is None or self._in_memory[0] != addresses:
            slots = {name: self._turned(slot) for name, slot in self.slots.items()}
            turned = Group(self.indices, self._turned(self.parameters), slots, self.decays, self.dense)
            self._in_memory = (addresses, turned)
        return self._in_memory[1], self._turned(grads)

    def _turned(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        found = list(tensors)
        for i, order in self._orders:
            found[i] = found[i].permute(order)
        return found

    def __getstate__(self) -> dict[str, Any]:
        # Views would be copied apart from what they are views of.
        return {**self.__dict__, "_part": None, "_in_memory": None}

    def part(self, positions: list[int]) -> Group:
        """The group of some of the parameters; the last one asked for is kept."""
        if not positions:
            return self
        if self._part is None or self._part[0] != positions:
            self._part = (
                positions,
                Group(
                    [self.indices[i] for i in positions],
                    [self.parameters[i] for i in positions],
                    {name: [slot[i] for i in positions] for name, slot in self.slots.items()},
                    self.decays,
                    self.dense,
                ),
            )
        return self._part[1]


def no_gradients(count: int) -> ArgumentError:
    """The error for a step in which none of `count` parameters has a gradient."""
    return ArgumentError(
        "No parameter has a gradient.",
        expected=f"a gradient for at least one of {count} parameters",
        received="None for each",
        fix="call backward on a loss that depends on them; if they were replaced since, make a new optimizer",
    )


def _laid_out(grad: Tensor, parameter: Tensor) -> Tensor:
    """`grad` with the dtype and the strides of its parameter."""
    if grad.layout is not torch.strided:
        grad = grad.to_dense()
    if grad.dtype != parameter.dtype:
        grad = grad.to(parameter.dtype)
    wanted = parameter.stride()
    if grad.stride() == wanted:
        return grad
    if all(a == b or size == 1 for a, b, size in zip(grad.stride(), wanted, grad.shape, strict=True)):
        return grad.as_strided(grad.shape, wanted)  # the same memory: an axis of size 1 has any stride
    return torch.empty_like(parameter).copy_(grad)


def _memory_order(parameter: Tensor) -> tuple[int, ...]:
    """The axes, the one with the greatest strides first."""
    return tuple(sorted(range(parameter.ndim), key=lambda axis: (-parameter.stride(axis), -parameter.shape[axis])))


def is_dense(parameter: Tensor) -> bool:
    """Whether the elements fill their memory without gaps or overlaps, in whatever order."""
    return torch.empty_like(parameter, requires_grad=False).stride() == parameter.stride()


def make_groups(parameters: Sequence[Tensor], slots: Mapping[str, list[Tensor]], decays: Sequence[bool]) -> list[Group]:
    """Sort parameters into groups, each in the original order.

    Args:
        parameters: all the parameters.
        slots: for each kind of state, one tensor a parameter.
        decays: for each parameter, whether weight decay acts on it.

    Returns:
        The groups, in the order of their first parameters.
    """
    sorted_in: dict[Any, list[int]] = {}
    for i, parameter in enumerate(parameters):
        key = (parameter.device, parameter.dtype, decays[i], is_dense(parameter))
        sorted_in.setdefault(key, []).append(i)
    return [
        Group(
            indices,
            [parameters[i] for i in indices],
            {name: [slot[i] for i in indices] for name, slot in slots.items()},
            decay,
            dense,
        )
        for (_, _, decay, dense), indices in sorted_in.items()
    ]
