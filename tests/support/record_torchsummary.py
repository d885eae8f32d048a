"""Records tests/inspection/golden/torchsummary/residual.txt: what torchsummary 1.5.1 prints of a residual network.

Run by hand from the root of the repository, in an environment with torch and torchsummary:

    python tests/support/record_torchsummary.py
"""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

import torch
from torch import nn

GOLDEN = Path(__file__).parents[1] / "inspection" / "golden"


class ResidualBlock(nn.Module):
    """Two convolutions and what goes past them."""

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU()
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.downsample = None
        if stride != 1 or in_channels != channels:
            conv = nn.Conv2d(in_channels, channels, 3, stride, padding=1, bias=False)
            self.downsample = nn.Sequential(conv, nn.BatchNorm2d(channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        return self.relu(y + (x if self.downsample is None else self.downsample(x)))


class ResNet(nn.Module):
    """The residual network of the first users' documents."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(16)
        self.relu = nn.ReLU()
        widths = [(16, 16, 1), (16, 16, 1), (16, 32, 2), (32, 32, 1), (32, 64, 2), (64, 64, 1)]
        self.blocks = nn.Sequential(*[ResidualBlock(*width) for width in widths])
        self.avg_pool = nn.AvgPool2d(8)
        self.fc = nn.Linear(64, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.avg_pool(self.blocks(self.relu(self.bn(self.conv(x)))))
        return self.fc(x.flatten(1))


def main() -> None:
    from torchsummary import summary

    text = io.StringIO()
    with contextlib.redirect_stdout(text):
        summary(ResNet(), (3, 32, 32), device="cpu")
    path = GOLDEN / "torchsummary" / "residual.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text.getvalue(), encoding="utf-8")


if __name__ == "__main__":
    main()
