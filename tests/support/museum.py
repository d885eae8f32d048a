"""Models that are awkward to look at, and what must be the same of them before and after."""

from __future__ import annotations

import dataclasses
import random
from collections import namedtuple
from typing import Any

import numpy as np
import torch
from torch import nn

from lamina import layers
from lamina.models import Model, Sequential


class FrozenNorm(nn.Module):
    """A BatchNorm in inference mode without trained weights, inside a model in training mode."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)
        for parameter in self.norm.parameters():
            parameter.requires_grad_(False)

    def prepared(self):
        self.train()
        self.norm.eval()
        return self

    def forward(self, x):
        return self.norm(self.conv(x))


class Remembers(nn.Module):
    """Keeps its state as an attribute, a new buffer, an old buffer changed in place, a counter, a list and a dict."""

    def __init__(self):
        super().__init__()
        self.cell = nn.GRUCell(4, 5)
        self.state, self.calls, self.seen, self.by_size = None, 0, [], {"none": 0}
        self.register_buffer("mean", torch.zeros(5))
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))

    def forward(self, x):
        self.state = self.cell(x, None)
        self.calls += 1
        self.seen.append(tuple(x.shape))
        self.by_size[len(x)] = self.calls
        self.mean = 0.9 * self.mean + 0.1 * self.state.mean(0)
        self.count.add_(1)
        self.extra = self.state
        return self.state


class Random(nn.Module):
    """Draws from every source of random numbers, its own generator among them."""

    def __init__(self):
        super().__init__()
        self.dropout, self.linear = nn.Dropout(0.5), nn.Linear(4, 2)
        self.generator = torch.Generator().manual_seed(3)

    def forward(self, x):
        noise = random.random() + np.random.rand() + float(torch.rand((), generator=self.generator))
        return self.linear(self.dropout(x)) + torch.rand(2) + noise


class Tied(nn.Module):
    """An embedding whose weight is also that of the last product."""

    def __init__(self):
        super().__init__()
        self.table, self.out = nn.Embedding(11, 6), nn.Linear(6, 11, bias=False)
        self.out.weight = self.table.weight

    def forward(self, x):
        return self.out(self.table(x))


class Twice(nn.Module):
    """One module called twice, the second time on another shape."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, stride=2)

    def forward(self, x):
        return self.conv(self.conv(x))


class AsDict(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = Pair()

    def forward(self, x):
        found = self.inner(x)
        return {"sum": found.first + found.second, "parts": [found.first, found.second], "none": None}


@dataclasses.dataclass
class Output:
    first: torch.Tensor
    second: torch.Tensor
    note: str = "text"


class Pair(nn.Module):
    """Returns a dataclass."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(4, 3), nn.Linear(4, 3)

    def forward(self, x):
        return Output(self.a(x), self.b(x))


Named = namedtuple("Named", "mean, parts")


class AsNamedTuple(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 2)

    def forward(self, x):
        y = self.linear(x)
        return Named(y.mean(), (y, None))


class Packed(nn.Module):
    """Packs its sequences, as recurrent modules take padded ones."""

    def __init__(self):
        super().__init__()
        self.rnn = nn.LSTM(4, 3, batch_first=True)

    def forward(self, x):
        lengths = torch.full((len(x),), x.shape[1])
        packed = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True)
        return nn.utils.rnn.pad_packed_sequence(self.rnn(packed)[0], batch_first=True)[0]


class Decides(nn.Module):
    """Needs the numbers to know what to do."""

    def __init__(self):
        super().__init__()
        self.linear, self.other = nn.Linear(4, 2), nn.Linear(4, 2)

    def forward(self, x):
        return self.linear(x) if x.sum() > 0 else self.other(x)


class OwnMode(nn.Module):
    """Changes its own mode, and which of its weights are trained."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(4)

    def forward(self, x):
        self.train()
        self.norm.weight.requires_grad_(False)
        return self.norm(x)


class Forgives(nn.Module):
    """Catches the error of a module inside and goes on."""

    def __init__(self):
        super().__init__()
        self.wrong, self.right = nn.Linear(9, 2), nn.Linear(4, 2)

    def forward(self, x):
        try:
            return self.wrong(x)
        except Exception:
            return self.right(x)


def _lamina_subclass():
    class Net(Model):
        def __init__(self):
            super().__init__(name="net")
            self.norm, self.drop = layers.BatchNormalization(), layers.Dropout(0.5)
            self.linear = nn.Linear(4, 2)

        def call(self, x):
            return self.linear(self.drop(self.norm(x)))

    net = Net()
    net.build((None, 4))
    assert len(net.layers) == 3  # which makes the layer that stands for the torch module
    return net


def _stateful():
    model = Sequential([layers.Input(batch_shape=(2, 5, 3)), layers.LSTM(4, stateful=True)])
    assert len(model.graph.nodes) == 2  # which makes the graph
    return model


def _hooked():
    model = nn.Sequential(nn.Linear(4, 2), nn.ReLU())
    model.seen = []
    model[0].register_forward_hook(lambda *_: model.seen.append("after"))
    model[0].register_forward_pre_hook(lambda *_: model.seen.append("before"))
    model[1].register_full_backward_hook(lambda *_: model.seen.append("backward"))
    return model


def _with_gradients():
    model = nn.Linear(4, 2)
    model(torch.ones(3, 4)).sum().backward()
    return model


# Name -> (how the model is made, size of a sample, number of weights)
MUSEUM: dict[str, tuple[Any, Any, int]] = {
    "frozen norm": (lambda: FrozenNorm().prepared(), (3, 8, 8), 120),
    "remembers": (Remembers, (4,), 165),
    "random": (Random, (4,), 10),
    "tied": (Tied, (7,), 66),
    "twice": (Twice, (3, 33, 33), 84),
    "dict": (AsDict, (4,), 30),
    "dataclass": (Pair, (4,), 30),
    "named tuple": (AsNamedTuple, (4,), 10),
    "packed": (Packed, (5, 4), 108),
    "decides": (Decides, (4,), 20),
    "own mode": (OwnMode, (4,), 8),
    "forgives": (Forgives, (4,), 30),
    "lazy": (lambda: nn.Sequential(nn.LazyLinear(3), nn.ReLU(), nn.LazyBatchNorm1d()), (4,), 21),
    "spectral norm": (lambda: nn.utils.parametrizations.spectral_norm(nn.Linear(4, 3)), (4,), 15),
    "weight norm": (lambda: nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(4, 3))), (4,), 18),
    "hooked": (_hooked, (4,), 10),
    "gradients": (_with_gradients, (4,), 10),
    "attention": (lambda: nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), (5, 8), 600),
    "no weights": (lambda: nn.Sequential(nn.Flatten(), nn.ReLU()), (3, 2), 0),
    "half": (lambda: nn.Linear(4, 2).bfloat16(), (4,), 10),
    "lamina subclass": (_lamina_subclass, (4,), 26),
    "lamina unbuilt": (lambda: Sequential([layers.Dense(3), layers.BatchNormalization()]), (4,), 27),
    "lamina stateful": (_stateful, (None, 5, 3), 128),
    "lamina in torch": (lambda: nn.Sequential(nn.Linear(4, 3), layers.Dense(2)), (4,), 23),
}  # fmt: skip


def fingerprint(model: nn.Module) -> dict[str, Any]:
    """Everything about a model, and about the random numbers to come, that looking at it must leave alone."""
    found: dict[str, Any] = {"random": (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state())}
    for path, module in model.named_modules():
        found[f"{path} mode"] = module.training
        for name, value in vars(module).items():
            if isinstance(value, torch.Generator):
                found[f"{path}.{name}"] = value.get_state()
            elif isinstance(value, (list, dict, set)):
                found[f"{path}.{name}"] = (id(value), repr(list(value)), [id(v) for v in _values(value)])
            else:
                found[f"{path}.{name}"] = id(value)
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        if not nn.parameter.is_lazy(tensor):
            found[f"{name} value"] = tensor.detach().clone()
        found[f"{name} kept"] = (id(tensor), tensor.requires_grad, tensor.device, type(tensor))
        found[f"{name} gradient"] = None if tensor.grad is None else (id(tensor.grad), tensor.grad.clone())
    return found


def _values(value: Any) -> list[Any]:
    return list(value.values()) if isinstance(value, dict) else list(value)


def differences(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """The names of what is not the same in two fingerprints."""
    return sorted(
        name for name in {*before, *after} if not _same(before.get(name, "missing"), after.get(name, "missing"))
    )


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor):
        return a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, tuple) and isinstance(b, tuple) and len(a) == len(b):
        return all(_same(x, y) for x, y in zip(a, b, strict=True))
    return type(a) is type(b) and bool(a == b)
