"""A cross-entropy that bears wrong labels."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from lamina.errors import ArgumentError
from lamina.losses.base import FunctionLoss
from lamina.losses.labels import class_index_pair
from lamina.registry import LOSSES


def categorical_generalized_cross_entropy(y_true: Any, y_pred: Any, q: float = 0.5) -> Tensor:
    """`(1 - p**q) / q` of the probability `p` given to the right class.

    It goes from cross-entropy, as `q` nears 0, to mean absolute error, as `q` nears 1, which is less upset by
    wrong labels.

    Args:
        y_true: class numbers from 0, of the shape of the predictions without the last axis.
        y_pred: probabilities of the classes.
        q: between 0 and 1.

    Returns:
        One value a sample.

    Raises:
        TargetError: the labels are one-hot.
        ShapeError: the shapes do not go together.

    Example:
        >>> categorical_generalized_cross_entropy([1], [[0.36, 0.64]])
        tensor([0.4000])

    Reference:
        Zhang and Sabuncu, 2018, Generalized Cross Entropy Loss for Training Deep Neural Networks with Noisy
        Labels, https://arxiv.org/abs/1805.07836
    """
    y_true, y_pred = class_index_pair(y_true, y_pred, -1, "categorical_generalized_cross_entropy")
    return (1.0 - y_pred.gather(-1, y_true.unsqueeze(-1)).squeeze(-1).pow(q)) / q


@LOSSES.register()
class CategoricalGeneralizedCrossEntropy(FunctionLoss):
    """Cross-entropy's robust kin, for class numbers of which some are wrong.

    Args:
        q: between 0 (cross-entropy) and 1 (mean absolute error), both left out.
        reduction: as in `Loss`.
        name: as in `Loss`.
        dtype: as in `Loss`.

    Raises:
        ArgumentError: `q` is not between 0 and 1, or there is no such reduction.

    Example:
        >>> CategoricalGeneralizedCrossEntropy()([1, 0], [[0.36, 0.64], [1.0, 0.0]])
        tensor(0.2000)

    Reference:
        Zhang and Sabuncu, 2018, Generalized Cross Entropy Loss for Training Deep Neural Networks with Noisy
        Labels, https://arxiv.org/abs/1805.07836
    """

    fn = staticmethod(categorical_generalized_cross_entropy)
    target_form = "class_index"
    integer_targets = True

    def __init__(
        self,
        q: float = 0.5,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "categorical_generalized_cross_entropy",
        dtype: Any = None,
    ) -> None:
        if not 0 < q < 1:
            raise ArgumentError(
                "q of the generalized cross-entropy is out of range.",
                expected="a number between 0 and 1",
                received=repr(q),
                fix="q=0.5, or CategoricalCrossentropy for q = 0",
            )
        super().__init__(reduction, name, dtype)
        self.q = q
