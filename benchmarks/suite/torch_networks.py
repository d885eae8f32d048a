"""The networks as a torch user writes them: `torch.nn` modules that give logits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from suite.workloads import CLASSES


def dense(*sizes: int, activation: type[nn.Module] = nn.ReLU) -> list[nn.Module]:
    """Linear layers with an activation behind all but the last."""
    parts: list[nn.Module] = []
    for before, after in zip(sizes, sizes[1:], strict=False):
        parts += [nn.Linear(before, after), activation()]
    return parts[:-1]


def convolved_and_pooled(channels: int, filters: tuple[int, ...], size: int, activation: type[nn.Module]) -> list[Any]:
    """Convolutions with pooling behind each, flattened."""
    parts: list[nn.Module] = []
    for count in filters:
        parts += [nn.Conv2d(channels, count, size), activation(), nn.MaxPool2d(2)]
        channels = count
    return [*parts, nn.Flatten()]


class Residual(nn.Module):
    """ReLU of the sum of a body and a shortcut."""

    def __init__(self, body: list[nn.Module], shortcut: list[nn.Module]) -> None:
        super().__init__()
        self.body, self.shortcut = nn.Sequential(*body), nn.Sequential(*shortcut)

    def forward(self, x: Tensor) -> Tensor:
        """The block's result."""
        return torch.relu(self.body(x) + self.shortcut(x))


class Sequence(nn.Module):
    """An LSTM's outputs: of all steps, or of the last."""

    def __init__(self, features: int, units: int, steps: bool = False) -> None:
        super().__init__()
        self.lstm, self.steps = nn.LSTM(features, units, batch_first=True), steps

    def forward(self, x: Tensor) -> Tensor:
        """`(B, T, U)` or `(B, U)`."""
        outputs, _ = self.lstm(x)
        return outputs if self.steps else outputs[:, -1]


class TwoTowers(nn.Module):
    """Two images of different sizes, one answer."""

    def __init__(self) -> None:
        super().__init__()
        self.grey = nn.Sequential(*convolved_and_pooled(1, (32, 16), 4, nn.ReLU))
        self.color = nn.Sequential(*convolved_and_pooled(3, (32, 16), 4, nn.ReLU))
        # 13 x 13 and 5 x 5 places of 16 filters are left.
        self.top = nn.Sequential(*dense(16 * (13 * 13 + 5 * 5), 128, 64, CLASSES))

    def forward(self, grey: Tensor, color: Tensor) -> Tensor:
        """The logits."""
        return self.top(torch.cat([self.grey(grey), self.color(color)], dim=1))


class TwoHeads(nn.Module):
    """One answer for the sequence and one for each of its steps."""

    def __init__(self) -> None:
        super().__init__()
        self.states = Sequence(1, 64, steps=True)
        self.whole = nn.Sequential(Sequence(64, 32), *dense(32, 32, CLASSES))
        self.each = nn.Linear(64, CLASSES)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Both logits."""
        states = self.states(x)
        return self.whole(states), self.each(states)


def resnet() -> nn.Module:
    """Six residual blocks of three widths."""

    def normalized(before: int, after: int, stride: int = 1) -> list[nn.Module]:
        return [nn.Conv2d(before, after, 3, stride, padding=1), nn.BatchNorm2d(after)]

    parts: list[nn.Module] = [*normalized(3, 16), nn.ReLU(inplace=True)]
    width = 16
    for filters, stride in ((16, 1), (16, 1), (32, 2), (32, 1), (64, 2), (64, 1)):
        body = [*normalized(width, filters, stride), nn.ReLU(inplace=True), *normalized(filters, filters)]
        parts.append(Residual(body, [] if stride == 1 else normalized(width, filters, stride)))
        width = filters
    return nn.Sequential(*parts, nn.AvgPool2d(8), nn.Flatten(), *dense(64, CLASSES))


def resnext50() -> nn.Module:
    """ResNeXt-50 with torch's grouped convolutions."""

    def normalized(before: int, after: int, size: int = 1, stride: int = 1, groups: int = 1) -> list[nn.Module]:
        kernel = nn.Conv2d(before, after, size, stride, padding=size // 2, groups=groups, bias=False)
        return [kernel, nn.BatchNorm2d(after)]

    parts: list[nn.Module] = [nn.Conv2d(3, 64, 7, 2, 3), nn.BatchNorm2d(64), nn.ReLU(inplace=True)]
    parts.append(nn.MaxPool2d(3, 2, 1))
    width = 64
    for filters, blocks, first_stride in ((128, 3, 1), (256, 4, 2), (512, 6, 2), (1024, 3, 2)):
        for number in range(blocks):
            stride = first_stride if number == 0 else 1
            body = [*normalized(width, filters), nn.ReLU(inplace=True)]
            body += [*normalized(filters, filters, 3, stride, groups=32), nn.ReLU(inplace=True)]
            body += normalized(filters, 2 * filters)
            parts.append(Residual(body, [] if number else normalized(width, 2 * filters, 1, stride)))
            width = 2 * filters
    return nn.Sequential(*parts, nn.AdaptiveAvgPool2d(1), nn.Flatten(), *dense(width, CLASSES))


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "mlp": lambda: nn.Sequential(*dense(784, 512, 216, 128, CLASSES)),
    "lenet": lambda: nn.Sequential(
        *convolved_and_pooled(1, (6, 16), 5, nn.Sigmoid), *dense(256, 120, 84, CLASSES, activation=nn.Sigmoid)
    ),
    "cnn": lambda: nn.Sequential(*convolved_and_pooled(1, (128, 64), 4, nn.ReLU), *dense(1024, 64, CLASSES)),
    "resnet": resnet,
    "lstm": lambda: nn.Sequential(Sequence(1, 128), *dense(128, 128, CLASSES)),
    "two_towers": TwoTowers,
    "two_heads": TwoHeads,
    "resnext50": resnext50,
}
