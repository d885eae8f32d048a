"""Cross-entropies, Kullback-Leibler divergence and Poisson deviance as metrics."""

from __future__ import annotations

from typing import Any

from lamina.losses import cross_entropy, probabilistic
from lamina.metrics.reduction import FunctionMetric
from lamina.registry import METRICS


@METRICS.register("bce", "BCE")
class BinaryCrossentropy(FunctionMetric):
    """Cross-entropy of yes-or-no labels.

    Args:
        name: as in `Metric`.
        dtype: as in `Metric`.
        from_logits: whether predictions are logits, before any sigmoid.
        label_smoothing: from 0 to 1; how much of each label is replaced by 0.5.

    Example:
        >>> BinaryCrossentropy()([[1.0], [0.0]], [[0.9], [0.9]])
        tensor(1.2040)
    """

    fn = staticmethod(cross_entropy.binary_crossentropy)
    direction = "down"
    axis = -1

    def __init__(
        self,
        name: str | None = "binary_crossentropy",
        dtype: Any = None,
        from_logits: bool = False,
        label_smoothing: float = 0,
    ) -> None:
        super().__init__(name, dtype)
        self.from_logits = from_logits
        self.label_smoothing = label_smoothing


@METRICS.register()
class CategoricalCrossentropy(FunctionMetric):
    """Cross-entropy of one-hot labels and one prediction a class.

    Args:
        name: as in `Metric`.
        dtype: as in `Metric`.
        from_logits: whether predictions are logits, before any softmax.
        label_smoothing: from 0 to 1; how much of each label is spread evenly over the classes.
        axis: the class axis.

    Example:
        >>> CategoricalCrossentropy()([[0, 1, 0], [0, 0, 1]], [[0.05, 0.95, 0.0], [0.1, 0.8, 0.1]])
        tensor(1.1769)
    """

    fn = staticmethod(cross_entropy.categorical_crossentropy)
    direction = "down"

    def __init__(
        self,
        name: str | None = "categorical_crossentropy",
        dtype: Any = None,
        from_logits: bool = False,
        label_smoothing: float = 0,
        axis: int = -1,
    ) -> None:
        super().__init__(name, dtype)
        self.from_logits = from_logits
        self.label_smoothing = label_smoothing
        self.axis = axis


@METRICS.register()
class SparseCategoricalCrossentropy(FunctionMetric):
    """Cross-entropy of labels that are class numbers and one prediction a class.

    Args:
        name: as in `Metric`.
        dtype: as in `Metric`.
        from_logits: whether predictions are logits, before any softmax.
        ignore_class: a class number whose samples count as zero; beside sample weights, not at all.
        axis: the class axis of the predictions.

    Example:
        >>> SparseCategoricalCrossentropy()([1, 2], [[0.05, 0.95, 0.0], [0.1, 0.8, 0.1]])
        tensor(1.1769)
    """

    fn = staticmethod(cross_entropy.sparse_categorical_crossentropy)
    direction = "down"

    def __init__(
        self,
        name: str | None = "sparse_categorical_crossentropy",
        dtype: Any = None,
        from_logits: bool = False,
        ignore_class: int | None = None,
        axis: int = -1,
    ) -> None:
        super().__init__(name, dtype)
        self.from_logits = from_logits
        self.ignore_class = ignore_class
        self.axis = axis


@METRICS.register("kld", "KLD")
class KLDivergence(FunctionMetric):
    """The mean Kullback-Leibler divergence from predicted to given probabilities.

    Args:
        name: as in `Metric`.
        dtype: as in `Metric`.

    Example:
        >>> KLDivergence()([[0.5, 0.5], [0.5, 0.5]], [[0.25, 0.75], [0.5, 0.5]])
        tensor(0.0719)

    Reference:
        Kullback and Leibler, 1951, On Information and Sufficiency, https://doi.org/10.1214/aoms/1177729694
    """

    fn = staticmethod(probabilistic.kl_divergence)
    direction = "down"


@METRICS.register()
class Poisson(FunctionMetric):
    """The mean of `y_pred - y_true * log(y_pred)`: counts against expected counts.

    Args:
        name: as in `Metric`.
        dtype: as in `Metric`.

    Example:
        >>> Poisson()([[1.0], [0.0]], [[1.0], [2.0]])
        tensor(1.5000)
    """

    fn = staticmethod(probabilistic.poisson)
    direction = "down"
