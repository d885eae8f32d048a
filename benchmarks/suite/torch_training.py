"""`fit` and `predict` written by hand in torch, with what lamina's and Keras's do: shuffling, Adam, loss, accuracy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from suite.torch_networks import NETWORKS
from suite.workloads import WORKLOADS, samples


class Training:
    """A network, its data and its optimizer.

    Args:
        library: `"torch"`, as its guides write it; `"torch-channels-last"`, with that memory format and the fused Adam;
            `"torch-compile"`, the same compiled.
        network: one of `NETWORKS`.
        precision: `"float32"`, or `"bfloat16"` for autocast to it.
        device: where it is trained.
    """

    def __init__(self, library: str, network: str, precision: str, device: str = "cpu") -> None:
        self.workload = WORKLOADS[network]
        self.short = precision != "float32"
        self.device = device
        quick = library != "torch"
        self.module = NETWORKS[network]().to(device)
        inputs, labels = samples(self.workload)
        # (N, H, W, C) to torch's (N, C, H, W)
        images = [torch.from_numpy(x).movedim(-1, 1) if x.ndim == 4 else torch.from_numpy(x) for x in inputs]
        self.labels = [torch.from_numpy(y) for y in labels]
        if quick:
            self.module = self.module.to(memory_format=torch.channels_last)
            self.inputs = [x.contiguous(memory_format=torch.channels_last) if x.dim() == 4 else x for x in images]
        else:
            self.inputs = [x.contiguous() for x in images]
        self.optimizer = torch.optim.Adam(self.module.parameters(), fused=quick)
        self.call: Callable[..., Any] = torch.compile(self.module) if library == "torch-compile" else self.module

    def outputs(self, rows: Any) -> tuple[Tensor, ...]:
        """The network's logits for some rows of the data."""
        with torch.autocast(self.device, torch.bfloat16, enabled=self.short):
            found = self.call(*[x[rows].to(self.device) for x in self.inputs])
        return found if isinstance(found, tuple) else (found,)

    def fit(self) -> tuple[float, list[float]]:
        """One epoch; the loss and the accuracies."""
        self.module.train()
        order = torch.randperm(len(self.inputs[0]))
        total, right = torch.zeros((), device=self.device), torch.zeros(len(self.labels), device=self.device)
        for rows in order.split(self.workload.batch):
            outputs = [y.float().flatten(0, -2) for y in self.outputs(rows)]
            labels = [y[rows].flatten().to(self.device) for y in self.labels]
            loss = torch.stack([F.cross_entropy(y, t) for y, t in zip(outputs, labels, strict=True)]).sum()
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            total += loss.detach()
            with torch.no_grad():
                for head, (y, t) in enumerate(zip(outputs, labels, strict=True)):
                    right[head] += (y.argmax(-1) == t).float().mean()
        return total.item(), right.tolist()

    def predict(self) -> list[Any]:
        """The probabilities for all samples, as arrays."""
        self.module.eval()
        with torch.inference_mode():
            parts = [
                [y.float().softmax(-1) for y in self.outputs(slice(first, first + self.workload.batch))]
                for first in range(0, len(self.inputs[0]), self.workload.batch)
            ]
            return [torch.cat(head).cpu().numpy() for head in zip(*parts, strict=True)]
