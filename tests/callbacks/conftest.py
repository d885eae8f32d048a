"""A stand-in for a model: real weights, a real optimizer, and a note of what it was asked to save."""

from __future__ import annotations

import pytest
import torch


class StandIn(torch.nn.Module):
    """One weight, trained by hand."""

    def __init__(self, rate=0.1):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(2))
        self.optimizer = torch.optim.SGD(self.parameters(), lr=rate, momentum=0.9)
        self.stop_training = False
        self.metrics = []
        self.saved = []

    def train_on(self, target):
        self.optimizer.zero_grad()
        loss = ((self.weight - target) ** 2).sum()
        loss.backward()
        self.optimizer.step()
        return loss.detach()

    def save(self, path):
        self.saved.append(("model", path))

    def save_weights(self, path):
        self.saved.append(("weights", path))


@pytest.fixture
def model():
    return StandIn()


@pytest.fixture
def make_model():
    return StandIn
