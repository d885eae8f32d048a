"""One batch: taken apart into inputs, targets and weights, and carried to the device."""

from __future__ import annotations

import numbers
from collections.abc import Mapping
from typing import Any

import torch

from lamina import config
from lamina.dtypes import torch_dtype
from lamina.engine.nest import map_nest
from lamina.errors import ArgumentError, DataError
from lamina.training.arrays import as_tensor, batch_dtype, map_arrays

Batch = tuple[Any, Any, Any]
_SPEC = "dtype of a tensor"  # a key that no nest of the user's has


def unpack_x_y_sample_weight(data: Any) -> Batch:
    """The inputs, targets and sample weights of what `train_step` receives.

    Args:
        data: `x`, `(x,)`, `(x, y)` or `(x, y, sample_weight)`; a list is read as a tuple.

    Returns:
        `(x, y, sample_weight)`, with `None` for what is not there.

    Raises:
        DataError: a tuple of any other length.

    Example:
        >>> unpack_x_y_sample_weight((1, 2))
        (1, 2, None)
    """
    return unpack_batch(tuple(data) if isinstance(data, list) else data)


def pack_x_y_sample_weight(x: Any, y: Any = None, sample_weight: Any = None) -> Any:
    """The shortest form that `unpack_x_y_sample_weight` takes apart into the same three.

    Args:
        x: the inputs.
        y: the targets.
        sample_weight: the weights, which need targets beside them.

    Returns:
        `x` alone where that cannot be misread, else a tuple of one, two or three members.

    Example:
        >>> pack_x_y_sample_weight(1), pack_x_y_sample_weight([1, 2]), pack_x_y_sample_weight(1, 2)
        (1, ([1, 2],), (1, 2))
    """
    if sample_weight is not None:
        return x, y, sample_weight
    if y is not None:
        return x, y
    return (x,) if isinstance(x, (list, tuple)) else x


def unpack_batch(batch: Any) -> Batch:
    """A batch of a generator or data set as `(x, y, sample_weight)`.

    A tuple is taken apart; a list is one `x` of several inputs, and so is anything else.

    Args:
        batch: `x`, `(x,)`, `(x, y)` or `(x, y, sample_weight)`.

    Returns:
        Three values, `None` for what is not there.

    Raises:
        DataError: a tuple of any other length.

    Example:
        >>> unpack_batch([1, 2]), unpack_batch((1, 2))
        (([1, 2], None, None), (1, 2, None))
    """
    if not isinstance(batch, tuple) or hasattr(batch, "_fields"):
        return batch, None, None
    if not 1 <= len(batch) <= 3:
        raise DataError(
            "A batch cannot be taken apart.",
            expected="x, (x,), (x, y) or (x, y, sample_weight)",
            received=f"a tuple of {len(batch)} members",
            fix="group several inputs or targets: ([x1, x2], y), or ({'a': x1, 'b': x2}, y)",
        )
    x, y, sample_weight = batch + (None,) * (3 - len(batch))
    return x, y, sample_weight


def batch_tensors(batch: Batch) -> Batch:
    """A batch with each array turned into a tensor of the dtype that models receive; structure is kept.

    Args:
        batch: `(x, y, sample_weight)`, nests of arrays or `None`.

    Raises:
        DtypeError: an array without numbers.
    """
    x, y, sample_weight = batch
    return (
        map_arrays(_as_model_input, x, "x"),
        map_arrays(_as_model_input, y, "y"),
        map_arrays(_as_weights, sample_weight, "sample_weight"),
    )


def move_batch(batch: Batch, device: torch.device) -> Batch:
    """The tensors of a batch on a device, without waiting for the copy.

    Args:
        batch: `(x, y, sample_weight)`, nests of tensors or `None`.
        device: where they go.
    """
    return map_arrays(lambda tensor, _: move(tensor, device, tensor.dtype), batch, "batch")


def move(tensor: torch.Tensor, device: torch.device, dtype: torch.dtype) -> torch.Tensor:
    """A tensor on a device; towards CUDA through page-locked memory, so that the host need not wait for the device.

    Args:
        tensor: what is to be moved.
        device: where it goes, with its index.
        dtype: what it is to be there.
    """
    if tensor.device == device:
        return tensor.to(dtype)
    # A cast on the way would go through pageable memory, even from a tensor that is page-locked.
    if device.type == "cuda" and tensor.device.type == "cpu" and not (tensor.dtype == dtype and tensor.is_pinned()):
        staged = torch.empty(tensor.shape, dtype=dtype, pin_memory=True)
        tensor = staged.copy_(tensor)
    return tensor.to(device, dtype, non_blocking=device.type == "cuda")


def exact_device(device: torch.device) -> torch.device:
    """A device with its index, so that it equals the device of the tensors on it.

    Args:
        device: with or without an index.
    """
    if device.type == "cuda" and device.index is None:
        return torch.device("cuda", torch.cuda.current_device())
    return device


def _as_model_input(value: Any, name: str) -> torch.Tensor:
    tensor = as_tensor(value, name)
    return tensor.to(batch_dtype(tensor.dtype))


def _as_weights(value: Any, name: str) -> torch.Tensor:
    """Sample weights are factors of a loss: floats whatever they came as."""
    return as_tensor(value, name).to(torch_dtype(config.floatx()))


class ClassWeights:
    """Per-sample weights looked up from the class of each target.

    Args:
        class_weight: a weight for each class number; classes that it leaves out weigh 1.

    Raises:
        ArgumentError: a key is no class number, or a value is no number.

    Example:
        >>> ClassWeights({0: 1.0, 1: 5.0}).apply(torch.tensor([0, 1, 2]), None)
        tensor([1., 5., 1.])
    """

    def __init__(self, class_weight: Mapping[int, float]) -> None:
        if not isinstance(class_weight, Mapping) or not class_weight:
            raise _bad_class_weight(repr(class_weight))
        for key, value in class_weight.items():
            if not isinstance(key, numbers.Real) or key < 0 or key != int(key) or not isinstance(value, numbers.Real):
                raise _bad_class_weight(f"{{{key!r}: {value!r}}}")
        self.weights = {int(k): float(v) for k, v in class_weight.items()}
        # One place for each class, and one of weight 1 at either end for labels below and above all of them.
        table = [1.0] * (max(self.weights) + 3)
        for key, value in self.weights.items():
            table[key + 1] = value
        self._tables = {torch.device("cpu"): torch.tensor(table, dtype=torch_dtype(config.floatx()))}

    def apply(self, y: Any, sample_weight: Any) -> torch.Tensor:
        """The weight of each sample's class, times its own weight if it has one.

        Args:
            y: class numbers of shape `(batch,)` or `(batch, 1)`, or one-hot rows `(batch, classes)`.
            sample_weight: a tensor whose first axis is the batch, or `None`.

        Returns:
            A tensor of shape `(batch,)`, or of the shape of `sample_weight`.

        Raises:
            DataError: there is no single target of one of these shapes.
            ArgumentError: a weight is given for a class that one-hot rows do not have.
        """
        classes = self._classes(y)
        if sample_weight is not None and not isinstance(sample_weight, torch.Tensor):
            raise _not_one_output(f"a {type(sample_weight).__name__} of sample weights")
        if classes.device not in self._tables:
            self._tables[classes.device] = self._tables[torch.device("cpu")].to(classes.device)
        table = self._tables[classes.device]
        weights = table[classes.clamp(-1, len(table) - 2) + 1]
        if sample_weight is None:
            return weights
        return weights.reshape(-1, *[1] * (sample_weight.ndim - 1)) * sample_weight

    def _classes(self, y: Any) -> torch.Tensor:
        """The class number of each sample."""
        if not isinstance(y, torch.Tensor):
            raise _not_one_output("no targets" if y is None else f"a {type(y).__name__} of targets")
        if y.ndim not in (1, 2):
            raise _not_one_output(f"targets of shape {tuple(y.shape)}")
        if y.ndim == 1 or y.shape[1] == 1:
            classes = y.reshape(-1)
            return classes.round().long() if classes.is_floating_point() else classes.long()
        if max(self.weights) >= y.shape[1]:
            raise ArgumentError(
                "class_weight names a class that the targets do not have.",
                expected=f"class numbers from 0 to {y.shape[1] - 1}, as one-hot targets have {y.shape[1]} columns",
                received=f"class {max(self.weights)}",
                fix="remove that class from class_weight, or encode the targets with more columns",
            )
        return y.to(torch.uint8 if y.dtype == torch.bool else y.dtype).argmax(dim=1)


def _bad_class_weight(received: str) -> ArgumentError:
    return ArgumentError(
        "class_weight is not a weight for each class.",
        expected="a dict from class numbers, 0 and up, to weights",
        received=received,
        fix="class_weight={0: 1.0, 1: 5.0}",
    )


def _not_one_output(received: str) -> DataError:
    return DataError(
        "class_weight needs one output whose targets are classes.",
        expected="y of shape (batch,), (batch, 1), or one-hot (batch, classes)",
        received=received,
        fix="pass sample_weight instead, with one array for each output",
    )


def specs_of(batch: Any) -> Any:
    """The form of a nest of tensors as plain data.

    Args:
        batch: tensors, and nests of them; `None` stays.

    Returns:
        The nest with a dict in place of each tensor.

    Example:
        >>> specs_of({"a": torch.zeros(2, 3)})
        {'a': {'dtype of a tensor': 'float32', 'shape': [2, 3]}}
    """

    def spec(leaf: Any) -> Any:
        if not isinstance(leaf, torch.Tensor):
            return None
        return {_SPEC: str(leaf.dtype).removeprefix("torch."), "shape": list(leaf.shape)}

    return map_nest(spec, batch)


def zeros_of(specs: Any, device: torch.device | str) -> Any:
    """Zeros in the form that `specs_of` described.

    Args:
        specs: what it gave.
        device: where the tensors are to be; `"meta"` for tensors without memory.
    """
    if isinstance(specs, dict) and _SPEC in specs:
        return torch.zeros(specs["shape"], dtype=torch_dtype(specs[_SPEC]), device=device)
    if isinstance(specs, dict):
        return {key: zeros_of(member, device) for key, member in specs.items()}
    if isinstance(specs, (list, tuple)):
        members = [zeros_of(member, device) for member in specs]
        return members if isinstance(specs, list) else tuple(members)
    return None
