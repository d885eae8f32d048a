"""What CUDA is handed, as far as a machine without it can tell: by tensors that claim to lie there, without memory."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

import lamina
from lamina import layers
from lamina.kernels import rnn
from lamina.optimizers import adagrad, adam, groups
from lamina.training.batches import move
from lamina.training.memory import TensorRows

CUDA = torch.device("cuda:0")


class Operators(TorchDispatchMode):
    """The operators that are called, with their arguments."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.calls.append((func.__name__, args, kwargs or {}))
        if func.__name__.startswith("_fused_"):
            return None  # works in place, and not every one has a form without memory
        return func(*args, **(kwargs or {}))

    def of(self, name: str) -> list[tuple[tuple[Any, ...], dict[str, Any]]]:
        return [(args, kwargs) for found, args, kwargs in self.calls if found.startswith(name)]


def claimed(tensor: torch.Tensor) -> torch.Tensor:
    """A tensor of the same form that claims to lie on a GPU; to be called in a FakeTensorMode."""
    return torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device=CUDA)


# ---------------------------------------------------------------------- cuDNN
@pytest.mark.parametrize(
    "make, shape",
    [
        (lambda: layers.Conv2D(8, 3, padding="same"), (9, 9, 4)),
        (lambda: layers.Conv2D(8, 3, strides=2, padding="same"), (8, 8, 4)),
        (lambda: layers.Conv2D(8, 3), (9, 9, 1)),
        (lambda: layers.Conv1D(8, 3), (9, 4)),
        (lambda: layers.Conv3D(8, 3), (9, 9, 9, 4)),
        (lambda: layers.DepthwiseConv2D(3), (9, 9, 4)),
        (lambda: layers.Conv2DTranspose(8, 3, strides=2, padding="same"), (9, 9, 4)),
    ],
    ids=range(7),
)
def test_convolutions_hand_over_channels_last_memory(make, shape):
    layer = make()
    layer.build((None, *shape))
    with FakeTensorMode(allow_non_fake_inputs=True), Operators() as operators:
        weights = {name: claimed(p) for name, p in layer.named_parameters()}
        torch.func.functional_call(layer, weights, (torch.empty(2, *shape, device=CUDA),))
    ((args, _),) = operators.of("convolution")
    wanted = torch.channels_last_3d if args[0].dim() == 5 else torch.channels_last
    assert args[0].is_contiguous(memory_format=wanted) and args[1].is_contiguous(memory_format=wanted)
    assert not operators.of("clone") and not operators.of("contiguous")


@pytest.mark.parametrize("kind, gates", [("lstm", 4), ("gru", 3), ("rnn_tanh", 1)])
def test_recurrent_weights_lie_one_behind_the_other_as_cudnn_wants_them(kind, gates, monkeypatch):
    given: dict[str, Any] = {}

    def kernel(x, states, weights, *options):
        given.update(weights=weights, options=options)
        y = x.new_empty(*x.shape[:2], 3)
        return (y, *(s.clone() for s in (states if isinstance(states, list) else [states])))

    monkeypatch.setitem(rnn._KERNELS, kind, kernel)
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda device=None: False)
    meta = torch.device("meta")
    x, h = torch.empty(2, 5, 4, device=meta), torch.empty(2, 3, device=meta)
    kernels = torch.empty(gates * 3, 4, device=meta).t(), torch.empty(gates * 3, 3, device=meta).t()
    if kind == "lstm":
        rnn.lstm(x, h, h, *kernels, torch.empty(gates * 3, device=meta))
    elif kind == "gru":
        rnn.gru(x, h, *kernels, torch.empty(2, gates * 3, device=meta))
    else:
        rnn.simple_rnn(x, h, *kernels, torch.empty(gates * 3, device=meta))
    weights = given["weights"]
    assert [tuple(w.shape) for w in weights] == [(gates * 3, 4), (gates * 3, 3), (gates * 3,), (gates * 3,)]
    ends = [w.storage_offset() + w.numel() for w in weights]
    assert [w.storage_offset() for w in weights] == [0, *ends[:-1]] and all(w.is_contiguous() for w in weights)
    # Biases, one layer, no dropout, a gradient may follow, one direction, batch first.
    assert given["options"] == (True, 1, 0.0, True, False, True)


def test_weights_in_one_piece_keep_their_values_and_gradients():
    weights = [torch.randn(4, 6).t().requires_grad_(), torch.randn(6).requires_grad_()]
    pieces = rnn._in_one_piece(weights)
    for piece, weight in zip(pieces, weights, strict=True):
        assert torch.equal(piece, weight)
    (pieces[0].sum() + 2 * pieces[1].sum()).backward()
    assert bool((weights[0].grad == 1).all()) and bool((weights[1].grad == 2).all())  # type: ignore[union-attr]


# ---------------------------------------------------------------------- fused optimizers
@pytest.fixture
def a_torch_with_cuda(monkeypatch):
    """What a build with CUDA says of its fused kernels."""
    monkeypatch.setattr(groups, "has_kernel", lambda name, device_type: device_type == "cuda")
    constants = adam._endless, adagrad._first  # kept for each device, and so not to be kept from here
    for cached in constants:
        cached.cache_clear()
    yield
    for cached in constants:
        cached.cache_clear()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize(
    "name, arguments, kernel",
    [
        ("Adam", {}, "_fused_adamw_"),
        ("AdamW", {}, "_fused_adamw_"),
        ("Adam", {"amsgrad": True}, "_fused_adamw_"),
        ("SGD", {}, "_fused_sgd_"),
        ("SGD", {"momentum": 0.9, "nesterov": True}, "_fused_sgd_"),
        ("Adagrad", {}, "_fused_adagrad_"),
    ],
    ids=str,
)
@pytest.mark.usefixtures("a_torch_with_cuda")
def test_one_fused_kernel_moves_all_parameters(name, arguments, kernel, dtype):
    with FakeTensorMode():
        turned = torch.empty(4, 3, device=CUDA, dtype=dtype).t()  # a kernel of shape (in, out) in memory (out, in)
        parameters = [torch.nn.Parameter(turned), torch.nn.Parameter(torch.empty(4, device=CUDA, dtype=dtype))]
        optimizer = getattr(lamina.optimizers, name)(**arguments)
        optimizer.build(parameters)
        with Operators() as operators:
            optimizer.apply([torch.empty_like(p) for p in parameters])
        ((args, kwargs),) = operators.of(kernel)
        given = [value for value in (*args, *kwargs.values()) if isinstance(value, (list, tuple)) and len(value)]
        assert {tensor.device for tensors in given for tensor in tensors} == {CUDA}
        assert all(a is b for a, b in zip(args[0], parameters, strict=True))
        assert all(g.stride() == p.stride() for g, p in zip(args[1], parameters, strict=True))
        assert not operators.of("_local_scalar_dense") and not operators.of("_to_copy")


@pytest.mark.parametrize("name", ["RMSprop", "Adamax", "Nadam", "Lion", "Adadelta", "Ftrl"])
@pytest.mark.usefixtures("a_torch_with_cuda")
def test_other_optimizers_take_a_number_of_kernels_that_does_not_grow(name):
    counts = []
    for size in (1, 5):
        with FakeTensorMode():
            parameters = [torch.nn.Parameter(torch.empty(4, device=CUDA)) for _ in range(size)]
            optimizer = getattr(lamina.optimizers, name)()
            optimizer.build(parameters)
            grads = [torch.empty_like(p) for p in parameters]
            with Operators() as operators:
                optimizer.apply(grads)
            counts.append(len([call for call in operators.calls if "empty" not in call[0]]))
            assert not operators.of("_local_scalar_dense")
    assert counts[0] == counts[1]


# ---------------------------------------------------------------------- batches
class Staging(FakeTensorMode):
    """Notes which memory is page-locked, and which copies to the device the host would wait for."""

    def __init__(self) -> None:
        super().__init__()
        self.locked: set[int] = set()
        self.waits: list[str] = []
        self.copies = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        if func is torch.ops.aten._to_copy.default and torch.device(kwargs.get("device") or "cpu") == CUDA:
            self.copies += 1
            if args[0].untyped_storage()._cdata not in self.locked:
                self.waits.append("from pageable memory")
            if not kwargs.get("non_blocking"):
                self.waits.append("a blocking copy")
            if kwargs.get("dtype", args[0].dtype) != args[0].dtype:
                self.waits.append("a cast on the way")
        result = super().__torch_dispatch__(func, types, args, kwargs)
        if kwargs.get("pin_memory"):
            self.locked.add(result.untyped_storage()._cdata)
            self.__dict__.setdefault("kept", []).append(result)  # so that the number is not given again
        return result


@pytest.fixture
def staging(monkeypatch):
    mode = Staging()
    monkeypatch.setattr(
        torch.Tensor, "is_pinned", lambda self, device=None: self.untyped_storage()._cdata in mode.locked
    )
    with mode:
        yield mode


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.uint8], ids=str)
@pytest.mark.parametrize("pinned", [False, True], ids=["pageable", "page-locked"])
def test_a_batch_moves_through_page_locked_memory_and_nobody_waits(staging, dtype, pinned):
    batch = torch.empty(8, 3, dtype=dtype, pin_memory=pinned)
    moved = move(batch, CUDA, torch.float32)
    assert (moved.device, moved.dtype) == (CUDA, torch.float32)
    assert (staging.copies, staging.waits) == (1, [])
    assert len(staging.locked) == (1 if not pinned or dtype is torch.float32 else 2)


def test_rows_are_gathered_into_page_locked_memory(staging):
    rows = TensorRows(torch.empty(20, 3), "x")
    for batch in (rows.take(torch.empty(8, dtype=torch.int64), CUDA), rows.slice(0, 8, CUDA)):
        assert (batch.device, tuple(batch.shape)) == (CUDA, (8, 3))
    assert (staging.copies, staging.waits, len(staging.locked)) == (2, [], 2)


# ---------------------------------------------------------------------- a step
WAITING = ("_local_scalar_dense", "is_nonzero", "nonzero", "masked_select", "_unique2", "_to_copy", "copy_")


def test_forward_pass_loss_and_metrics_neither_wait_nor_copy_to_or_from_the_host(monkeypatch):
    """No gradients: torch's autograd wants a real CUDA even for tensors without memory."""
    x = layers.Input((8, 8, 3))
    y = layers.BatchNormalization()(layers.Conv2D(4, 3, padding="same")(x))
    y = layers.Dropout(0.3)(layers.GlobalAveragePooling2D()(layers.ReLU()(y)))
    model = lamina.Model(x, layers.Dense(3, activation="softmax")(y))
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.train()
    monkeypatch.setattr(type(model), "get_metrics_result", lambda self: {})  # computed when read, which waits
    with torch.no_grad(), FakeTensorMode():
        for module in model.modules():
            for name, parameter in module._parameters.items():
                module._parameters[name] = torch.nn.Parameter(claimed(parameter))  # type: ignore[arg-type]
            for name, buffer in module._buffers.items():
                module._buffers[name] = claimed(buffer)  # type: ignore[arg-type]
        model.__dict__["_loss_tracker"] = lamina.metrics.Mean(name="loss")
        data = torch.empty(16, 8, 8, 3, device=CUDA), torch.empty(16, dtype=torch.int64, device=CUDA)
        model.test_step(data)  # the metrics move to the device
        with Operators() as operators:
            model.test_step(data)
    assert len(operators.of("native_batch_norm")) == len(operators.of("native_dropout")) == 1
    assert [name for name, _, _ in operators.calls if name.startswith(WAITING)] == []
