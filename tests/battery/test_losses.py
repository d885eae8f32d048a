"""`check_loss` over every registered loss: what each of them has to do, whatever it computes."""

from __future__ import annotations

import copy
import json
import math
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from lamina import losses
from lamina.engine.masking import set_mask
from lamina.losses.base import Loss
from lamina.registry import LOSSES


def absolute(y_true: Tensor, y_pred: Tensor) -> Tensor:
    return (y_true - y_pred).abs().mean(dim=-1)


ARGUMENTS: dict[str, dict[str, Any]] = {
    "LossFunctionWrapper": {"fn": absolute},
    "TorchLoss": {"module": nn.SmoothL1Loss(reduction="none")},
}
CLASSES = 4
READS_ITS_LENGTHS = {"CTC"}  # torch's kernel does so on the host, as the docstring says


def binary_data() -> tuple[Tensor, Tensor]:
    return torch.randint(0, 2, (6, CLASSES)).float(), torch.rand(6, CLASSES) * 0.9 + 0.05


def one_hot_data() -> tuple[Tensor, Tensor]:
    return torch.eye(CLASSES)[torch.randint(0, CLASSES, (6,))], torch.softmax(torch.randn(6, CLASSES), dim=-1)


def class_index_data() -> tuple[Tensor, Tensor]:
    return torch.randint(0, CLASSES, (6,)), torch.softmax(torch.randn(6, CLASSES), dim=-1)


BY_FORM: dict[str | None, Callable[[], tuple[Tensor, Tensor]]] = {
    "elementwise": binary_data,
    "binary": binary_data,
    "one_hot": one_hot_data,
    "class_index": class_index_data,
}
BY_NAME: dict[str, Callable[[], tuple[Tensor, Tensor]]] = {
    "LossFunctionWrapper": binary_data,
    "MeanAbsolutePercentageError": lambda: (torch.rand(6, CLASSES) + 0.5, torch.randn(6, CLASSES)),
    "Circle": lambda: (torch.tensor([0, 0, 1, 1, 2, 2]), nn.functional.normalize(torch.randn(6, CLASSES))),
    "CTC": lambda: (torch.randint(1, CLASSES, (6, 2)), torch.randn(6, 5, CLASSES)),
}


class NoHostSync(TorchDispatchMode):
    """Fails when an operation would make the host wait for the device."""

    waits = ("_local_scalar_dense", "nonzero", "masked_select", "is_nonzero", "_unique", "bincount", "equal.default")

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if any(word in str(func) for word in self.waits):
            raise AssertionError(f"{func} makes the host wait")
        return func(*args, **(kwargs or {}))


def make(registered: str, /, **kwargs: Any) -> Loss:
    return LOSSES[registered](**{**ARGUMENTS.get(registered, {}), **kwargs})


def data_for(name: str) -> tuple[Tensor, Tensor]:
    return BY_NAME[name]() if name in BY_NAME else BY_FORM[make(name).target_form]()


def check_loss(name: str, check: Callable[[str, Tensor, Tensor], None]) -> None:
    """One of the checks below, on one loss."""
    torch.manual_seed(0)
    check(name, *data_for(name))


def check_value_is_one_finite_number(name: str, y_true: Tensor, y_pred: Tensor) -> None:
    value = make(name)(y_true, y_pred)
    assert value.shape == () and value.dtype == torch.float32 and math.isfinite(value)


def check_gradient_is_finite_and_there(name: str, y_true: Tensor, y_pred: Tensor) -> None:
    y_pred.requires_grad_()
    make(name)(y_true, y_pred).backward()
    assert y_pred.grad is not None and bool(y_pred.grad.isfinite().all()) and float(y_pred.grad.abs().sum()) > 0


def check_gradient_is_that_of_finite_differences(name: str, y_true: Tensor, y_pred: Tensor) -> None:
    loss = make(name, dtype="float64")
    assert torch.autograd.gradcheck(lambda p: loss(y_true, p), (y_pred.double().requires_grad_(),), atol=1e-4)


def check_config_makes_the_same_loss(name: str, y_true: Tensor, y_pred: Tensor) -> None:
    loss = make(name, reduction="sum", name="mine", dtype="float64")
    data = json.loads(json.dumps(losses.serialize(loss)))
    if name == "LossFunctionWrapper":
        data["config"]["fn"] = absolute  # a function is named by its config, not carried
    again = losses.deserialize(data)
    assert type(again) is type(loss) and (again.name, again.reduction, again.dtype) == ("mine", "sum", "float64")
    torch.testing.assert_close(again(y_true, y_pred), loss(y_true, y_pred))


def check_every_name_makes_the_class(name: str, y_true: Tensor, y_pred: Tensor) -> None:
    for alias, registered in LOSSES.names.items():
        if registered == name and name not in ARGUMENTS:
            assert type(losses.get(alias)) is LOSSES[name]
            assert isinstance(losses.as_loss(alias), Loss)


def check_reductions_agree_with_the_values(name: str, y_true: Tensor, y_pred: Tensor) -> None:
    values = make(name, reduction="none")(y_true, y_pred)
    mean = values.sum() / values.numel()
    torch.testing.assert_close(make(name, reduction="sum")(y_true, y_pred), values.sum())
    for reduction in ("sum_over_batch_size", "mean", "mean_with_sample_weight"):
        torch.testing.assert_close(make(name, reduction=reduction)(y_true, y_pred), mean)
    torch.testing.assert_close(make(name, reduction=None)(y_true, y_pred), values)


def check_weights_weigh(name: str, y_true: Tensor, y_pred: Tensor) -> None:
    values = make(name, reduction="none")(y_true, y_pred)
    rows = values.shape[:1] or (6,)
    loss = make(name)
    torch.testing.assert_close(loss(y_true, y_pred, torch.ones(rows)), loss(y_true, y_pred))
    torch.testing.assert_close(loss(y_true, y_pred, torch.full(rows, 3.0)), 3 * loss(y_true, y_pred))
    assert loss(y_true, y_pred, torch.zeros(rows)) == 0
    only_first = torch.zeros(rows)
    only_first[0] = 1.0
    first = values.reshape(rows[0], -1)[0].mean() if values.ndim else values
    torch.testing.assert_close(loss(y_true, y_pred, only_first), first / rows[0])


def check_masks_mask(name: str, y_true: Tensor, y_pred: Tensor) -> None:
    values = make(name, reduction="none")(y_true, y_pred)
    if values.ndim == 0:
        return
    kept = torch.tensor([True, False, True, True, False, True])
    masked = make(name)(y_true, set_mask(y_pred.clone(), kept))
    torch.testing.assert_close(masked, values[kept].mean())
    torch.testing.assert_close(
        make(name)(y_true, set_mask(y_pred.clone(), torch.ones(6, dtype=torch.bool))), values.mean()
    )


def check_short_floats_are_computed_in_float32(name: str, y_true: Tensor, y_pred: Tensor) -> None:
    short = y_pred.bfloat16()
    value = make(name)(y_true, short)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, make(name)(y_true, short.float()))


def check_arrays_and_lists_do(name: str, y_true: Tensor, y_pred: Tensor) -> None:
    expected = make(name)(y_true, y_pred)
    torch.testing.assert_close(make(name)(y_true.numpy(), y_pred.numpy()), expected)
    torch.testing.assert_close(make(name)(y_true.tolist(), y_pred.tolist()), expected)


def check_copies_work(name: str, y_true: Tensor, y_pred: Tensor) -> None:
    loss = make(name)
    for again in (copy.deepcopy(loss), pickle.loads(pickle.dumps(loss))):
        torch.testing.assert_close(again(y_true, y_pred), loss(y_true, y_pred))


def check_the_host_never_waits(name: str, y_true: Tensor, y_pred: Tensor) -> None:
    loss, weights = make(name), torch.ones(6)
    with NoHostSync():
        loss(y_true, y_pred)
        loss(y_true, set_mask(y_pred.clone(), torch.ones(6, dtype=torch.bool)), weights)


def check_data_without_values_do(name: str, y_true: Tensor, y_pred: Tensor) -> None:
    """A tensor of the meta device has no values, so nothing can have been read, and meets no tensor of the CPU."""
    if name not in READS_ITS_LENGTHS:
        y_true, y_pred = y_true.to("meta"), y_pred.to("meta")
        mask = torch.ones(6, dtype=torch.bool, device="meta")
        assert make(name)(y_true, y_pred).device.type == "meta"
        assert make(name)(y_true, set_mask(y_pred, mask), torch.ones(6)).device.type == "meta"


def check_it_compiles_whole(name: str, y_true: Tensor, y_pred: Tensor) -> None:
    torch._dynamo.reset()
    loss = make(name)
    compiled = torch.compile(loss, fullgraph=name not in READS_ITS_LENGTHS, backend="aot_eager")
    torch.testing.assert_close(compiled(y_true, y_pred), loss(y_true, y_pred))


CHECKS = [value for key, value in dict(globals()).items() if key.startswith("check_") and key != "check_loss"]


@pytest.mark.parametrize("name", sorted(LOSSES))
@pytest.mark.parametrize("check", CHECKS, ids=lambda c: c.__name__.removeprefix("check_"))
def test_check_loss(name: str, check: Callable[[str, Tensor, Tensor], None]) -> None:
    check_loss(name, check)
