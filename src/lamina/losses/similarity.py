"""Circle loss: embeddings of one class drawn together, those of others pushed apart."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from lamina.engine.masking import set_mask
from lamina.losses.alignment import as_float, as_tensor
from lamina.losses.base import FunctionLoss
from lamina.registry import LOSSES


def circle(
    y_true: Any,
    y_pred: Any,
    ref_labels: Any = None,
    ref_embeddings: Any = None,
    remove_diagonal: bool = True,
    gamma: float = 80,
    margin: float = 0.4,
) -> Tensor:
    """The circle loss of each embedding against all reference embeddings.

    Args:
        y_true: class numbers, of shape `(N,)` or `(N, 1)`.
        y_pred: embeddings of length 1, of shape `(N, D)`.
        ref_labels: class numbers of the reference embeddings; `y_true` by default.
        ref_embeddings: the reference embeddings; `y_pred` by default.
        remove_diagonal: whether to leave out each embedding's likeness to its own reference.
        gamma: the scale of the likenesses.
        margin: how much room is left; smaller is stricter.

    Returns:
        One value a sample, with a mask that is false where it is zero.

    Example:
        >>> circle([0, 0, 1], F.normalize(torch.eye(3) + 0.5), gamma=1.0)
        tensor([0.8076, 0.8076, 0.0000])

    Reference:
        Sun et al., 2020, Circle Loss: A Unified Perspective of Pair Similarity Optimization,
        https://arxiv.org/abs/2002.10857
    """
    y_pred = as_float(y_pred)
    labels = as_tensor(y_true).to(y_pred.device).reshape(-1, 1)
    ref_labels = labels if ref_labels is None else as_tensor(ref_labels).to(y_pred.device).reshape(-1, 1)
    ref_embeddings = y_pred if ref_embeddings is None else as_tensor(ref_embeddings).to(y_pred)
    distance = (1.0 - y_pred @ ref_embeddings.T).clamp(min=0.0)  # (N, references)
    alike = labels == ref_labels.T
    other = ~alike
    if remove_diagonal:
        alike = alike & ~torch.eye(*alike.shape, dtype=torch.bool, device=alike.device)
    pull = -gamma * (margin + distance).clamp(min=0.0) * (margin - distance)
    push = gamma * (1.0 + margin - distance).clamp(min=0.0) * (1.0 - margin - distance)
    pulls = _masked_logsumexp(pull, alike)
    pushes = _masked_logsumexp(push, other)
    values = F.softplus(pulls + pushes)
    return set_mask(values, values > 0)


def _masked_logsumexp(x: Tensor, mask: Tensor) -> Tensor:
    """logsumexp of the members that `mask` names; a row without any is very low, but finite, as its gradients are."""
    low = torch.finfo(x.dtype).min / 4
    return torch.where(mask, x, low).logsumexp(dim=1)


@LOSSES.register()
class Circle(FunctionLoss):
    """Circle loss, for learning embeddings in which one class lies together.

    Args:
        gamma: the scale of the likenesses.
        margin: how much room is left; smaller is stricter.
        remove_diagonal: whether to leave out each embedding's likeness to itself.
        reduction: as in `Loss`.
        name: as in `Loss`.
        dtype: as in `Loss`.

    Raises:
        ArgumentError: there is no such reduction.

    Example:
        >>> Circle(gamma=1.0)([0, 0, 1], F.normalize(torch.eye(3) + 0.5))
        tensor(0.8076)

    Reference:
        Sun et al., 2020, Circle Loss: A Unified Perspective of Pair Similarity Optimization,
        https://arxiv.org/abs/2002.10857
    """

    fn = staticmethod(circle)
    integer_targets = True
    ref_labels = None
    ref_embeddings = None

    def __init__(
        self,
        gamma: float = 80.0,
        margin: float = 0.4,
        remove_diagonal: bool = True,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "circle",
        dtype: Any = None,
    ) -> None:
        super().__init__(reduction, name, dtype)
        self.gamma = gamma
        self.margin = margin
        self.remove_diagonal = remove_diagonal
