"""Masks that travel with tensors.

A mask is a boolean tensor of shape `(batch, steps)`: `True` where a step counts. It rides on the tensor that
it describes as an attribute, so it needs no graph of its own and follows a tensor through functional,
sequential and subclassed models alike. A layer with `supports_masking` hands it on; any other drops it.
"""

from __future__ import annotations

from typing import Any, cast

ATTRIBUTE = "_lamina_mask"


def get_mask(tensor: Any) -> Any:
    """The mask that rides on `tensor`, or `None`; a list or dict of them for a nest."""
    if isinstance(tensor, (list, tuple)):
        return [get_mask(t) for t in cast("list[Any]", tensor)]
    if isinstance(tensor, dict):
        return {key: get_mask(t) for key, t in cast("dict[Any, Any]", tensor).items()}
    return getattr(tensor, ATTRIBUTE, None)


def set_mask(tensor: Any, mask: Any) -> Any:
    """Let `mask` ride on `tensor`; nests go together member by member. Returns `tensor`."""
    target: Any = tensor
    if mask is None:
        return target
    if isinstance(tensor, (list, tuple)):
        members = cast("list[Any]", tensor)
        masks = cast("list[Any]", mask) if isinstance(mask, (list, tuple)) else [mask] * len(members)
        for member, its_mask in zip(members, masks, strict=False):
            set_mask(member, its_mask)
    elif isinstance(tensor, dict):
        for key, member in cast("dict[Any, Any]", tensor).items():
            set_mask(member, mask.get(key) if isinstance(mask, dict) else mask)  # pyright: ignore
    else:
        setattr(tensor, ATTRIBUTE, mask)
    return target


def any_mask(mask: Any) -> bool:
    """Whether a nest of masks holds at least one."""
    if isinstance(mask, (list, tuple)):
        return any(any_mask(m) for m in cast("list[Any]", mask))
    if isinstance(mask, dict):
        return any(any_mask(m) for m in cast("dict[Any, Any]", mask).values())
    return mask is not None


def apart(tensor: Any) -> Any:
    """The same values as another tensor object, so that a mask put on one does not ride on the other."""
    if isinstance(tensor, (list, tuple)):
        members = [apart(t) for t in cast("list[Any]", tensor)]
        return members if isinstance(tensor, list) else tuple(members)
    if isinstance(tensor, dict):
        return {key: apart(t) for key, t in cast("dict[Any, Any]", tensor).items()}
    return tensor.view_as(tensor) if hasattr(tensor, "view_as") else tensor
