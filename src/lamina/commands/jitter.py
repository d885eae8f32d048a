"""Training images that look a little different at every pass."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

from lamina.training.pydataset import PyDataset


class Jittered(PyDataset):
    """Batches of images, each turned, scaled and moved by a random amount.

    Args:
        x: images, `(n, height, width, channels)`, float32.
        y: their classes, `(n,)`.
        batch_size: images a batch.
        seed: of the order and the amounts.
        turn: the greatest angle, in radians.
        zoom: the greatest change of size, as a share.
        shift: the greatest move, as a share of half the image.

    Example:
        >>> batches = Jittered(np.zeros((5, 8, 8, 1), "float32"), np.arange(5), batch_size=2, seed=0)
        >>> len(batches), batches[2][0].shape
        (3, torch.Size([1, 8, 8, 1]))
    """

    def __init__(
        self,
        x: np.ndarray,
        y: np.ndarray,
        batch_size: int,
        seed: int,
        turn: float = 0.25,
        zoom: float = 0.15,
        shift: float = 0.22,
    ) -> None:
        super().__init__()
        self.images = torch.from_numpy(x).permute(0, 3, 1, 2)  # (n, channels, height, width)
        self.classes = torch.from_numpy(y)
        self.batch_size = batch_size
        self.turn, self.zoom, self.shift = turn, zoom, shift
        self._generator = torch.Generator().manual_seed(seed)
        self.on_epoch_end()

    def __len__(self) -> int:
        return math.ceil(len(self.classes) / self.batch_size)

    def on_epoch_end(self) -> None:
        """Draw a new order."""
        self._order = torch.randperm(len(self.classes), generator=self._generator)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        rows = self._order[index * self.batch_size : (index + 1) * self.batch_size]
        images = self.images[rows]
        grid = torch.nn.functional.affine_grid(self._maps(len(rows)), list(images.shape), align_corners=False)
        images = torch.nn.functional.grid_sample(images, grid, padding_mode="border", align_corners=False)
        return images.permute(0, 2, 3, 1), self.classes[rows]

    def _maps(self, count: int) -> torch.Tensor:
        """An affine map of the plane for each image, `(count, 2, 3)`."""

        def upto(limit: float) -> torch.Tensor:
            return (2 * torch.rand(count, generator=self._generator) - 1) * limit

        angle, size = upto(self.turn), 1 + upto(self.zoom)
        cosine, sine = size * angle.cos(), size * angle.sin()
        rows = [torch.stack([cosine, -sine, upto(self.shift)], 1), torch.stack([sine, cosine, upto(self.shift)], 1)]
        return torch.stack(rows, 1)
