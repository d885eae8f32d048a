"""The networks of `networks.py`: what goes in, how many samples a step, how many steps an epoch.

Read by every library's process, so it needs nothing but numpy.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

CLASSES = 10


class Workload(NamedTuple):
    """The data of a network."""

    inputs: tuple[tuple[int, ...], ...]
    """The shape of a sample for each input."""
    batch: int
    steps: int
    labels: tuple[tuple[int, ...], ...] = ((),)
    """The shape of a sample's class numbers for each output."""


WORKLOADS = {
    "mlp": Workload(((784,),), 128, 60),
    "lenet": Workload(((28, 28, 1),), 256, 20),
    "cnn": Workload(((28, 28, 1),), 128, 8),
    "resnet": Workload(((32, 32, 3),), 128, 6),
    "lstm": Workload(((784, 1),), 64, 3),
    "two_towers": Workload(((64, 64, 1), (32, 32, 3)), 64, 8),
    "two_heads": Workload(((784, 1),), 64, 2, ((), (784,))),
    "resnext50": Workload(((224, 224, 3),), 8, 2),
}
QUICK = ("mlp", "lenet")


def samples(workload: Workload) -> tuple[list[Any], list[Any]]:
    """Random inputs and labels of one epoch: speed does not depend on what they show.

    Args:
        workload: whose.
    """
    numbers = np.random.default_rng(0)
    count = workload.batch * workload.steps
    inputs = [numbers.standard_normal((count, *shape), dtype=np.float32) for shape in workload.inputs]
    return inputs, [numbers.integers(0, CLASSES, (count, *shape)) for shape in workload.labels]
