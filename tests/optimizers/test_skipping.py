from __future__ import annotations

import torch

from lamina.optimizers.skipping import kept_where


def test_a_block_is_undone_where_it_must_not_count():
    tensors = [torch.tensor([1.0, 2.0]), torch.tensor([3], dtype=torch.int64)]
    with kept_where(torch.tensor(1.0), tensors):
        tensors[0].fill_(float("nan"))
        tensors[1].add_(1)
    assert tensors[0].tolist() == [1.0, 2.0]
    assert tensors[1].tolist() == [3]


def test_a_block_counts_otherwise():
    tensor = torch.tensor([1.0, 2.0])
    with kept_where(torch.tensor(0.0), [tensor]):
        tensor.mul_(3)
    assert tensor.tolist() == [3.0, 6.0]
