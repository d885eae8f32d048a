"""Losses between distributions and of counts: Kullback-Leibler divergence and Poisson."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from lamina import config
from lamina.losses.alignment import elementwise_pair
from lamina.losses.base import FunctionLoss
from lamina.registry import LOSSES


def kl_divergence(y_true: Any, y_pred: Any) -> Tensor:
    """The Kullback-Leibler divergence from `y_pred` to `y_true`, summed over the last axis.

    Args:
        y_true: probabilities; they are kept between `config.epsilon()` and 1.
        y_pred: probabilities, of the same shape; likewise.

    Returns:
        One value a sample.

    Raises:
        ShapeError: the shapes do not pair label with prediction.

    Example:
        >>> kl_divergence([[0.5, 0.5]], [[0.25, 0.75]])
        tensor([0.1438])

    Reference:
        Kullback and Leibler, 1951, On Information and Sufficiency, https://doi.org/10.1214/aoms/1177729694
    """
    y_true, y_pred = elementwise_pair(y_true, y_pred, "kl_divergence")
    y_true = y_true.clamp(config.epsilon(), 1.0)
    return (y_true * (y_true / y_pred.clamp(config.epsilon(), 1.0)).log()).sum(dim=-1)


def poisson(y_true: Any, y_pred: Any) -> Tensor:
    """`y_pred - y_true * log(y_pred)`, averaged over the last axis: counts against expected counts.

    Args:
        y_true: the counts.
        y_pred: the expected counts, of the same shape, not negative.

    Returns:
        One value a sample.

    Raises:
        ShapeError: the shapes do not pair label with prediction.

    Example:
        >>> poisson([[1.0], [0.0]], [[1.0], [2.0]])
        tensor([1.0000, 2.0000])
    """
    y_true, y_pred = elementwise_pair(y_true, y_pred, "poisson")
    return (y_pred - y_true * (y_pred + config.epsilon()).log()).mean(dim=-1)


@LOSSES.register("kld", "KLD")
class KLDivergence(FunctionLoss):
    """The mean Kullback-Leibler divergence from predicted to given probabilities.

    Args:
        reduction: as in `Loss`.
        name: as in `Loss`.
        dtype: as in `Loss`.

    Raises:
        ArgumentError: there is no such reduction.

    Example:
        >>> KLDivergence()([[0.5, 0.5], [0.5, 0.5]], [[0.25, 0.75], [0.5, 0.5]])
        tensor(0.0719)

    Reference:
        Kullback and Leibler, 1951, On Information and Sufficiency, https://doi.org/10.1214/aoms/1177729694
    """

    fn = staticmethod(kl_divergence)
    target_form = "elementwise"


@LOSSES.register()
class Poisson(FunctionLoss):
    """The mean of `y_pred - y_true * log(y_pred)`: counts against expected counts.

    Args:
        reduction: as in `Loss`.
        name: as in `Loss`.
        dtype: as in `Loss`.

    Raises:
        ArgumentError: there is no such reduction.

    Example:
        >>> Poisson()([[1.0], [0.0]], [[1.0], [2.0]])
        tensor(1.5000)
    """

    fn = staticmethod(poisson)
    target_form = "elementwise"


kld = KLD = kl_divergence
