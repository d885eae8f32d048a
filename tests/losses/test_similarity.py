from __future__ import annotations

import torch
from torch.nn import functional as F

from lamina import losses
from lamina.engine.masking import get_mask

EMBEDDINGS = F.normalize(torch.tensor([[1.0, 0.0], [0.9, 0.3], [0.0, 1.0], [0.2, 0.9]]))


def test_embeddings_that_lie_by_class_cost_less() -> None:
    together = losses.Circle()([0, 0, 1, 1], EMBEDDINGS)
    apart = losses.Circle()([0, 1, 0, 1], EMBEDDINGS)
    assert together < apart


def test_samples_without_a_partner_count_for_nothing() -> None:
    values = losses.circle([0, 0, 1], EMBEDDINGS[:3], gamma=1.0)
    assert values[2] == 0 and get_mask(values).tolist() == [True, True, False]
    torch.testing.assert_close(losses.Circle(gamma=1.0)([0, 0, 1], EMBEDDINGS[:3]), values[:2].mean())


def test_labels_in_a_column_do() -> None:
    torch.testing.assert_close(losses.circle([[0], [0], [1], [1]], EMBEDDINGS), losses.circle([0, 0, 1, 1], EMBEDDINGS))


def test_references_stand_in_for_the_batch() -> None:
    values = losses.circle([0, 1], EMBEDDINGS[[0, 2]], [0, 0, 1, 1], EMBEDDINGS, remove_diagonal=False)
    whole = losses.circle([0, 0, 1, 1], EMBEDDINGS, remove_diagonal=False)
    torch.testing.assert_close(values, whole[[0, 2]])


def test_gradients_are_finite_where_a_class_has_one_sample() -> None:
    y_pred = EMBEDDINGS.clone().requires_grad_()
    losses.Circle()([0, 1, 2, 3], y_pred).backward()
    assert y_pred.grad is not None and bool(y_pred.grad.isfinite().all())
