"""Attention over a list of queries and values: `Attention`, `AdditiveAttention`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from lamina.engine import nest
from lamina.engine.abstract import Shape
from lamina.engine.layer import Layer
from lamina.errors import ArgumentError, ShapeError
from lamina.layers.dropout import Dropout
from lamina.registry import LAYERS


def causal_mask(scores: Tensor) -> Tensor:
    """Which key each query may see, so that none sees a later one: booleans `(queries, keys)`.

    Args:
        scores: of which the last two axes are queries and keys.

    Example:
        >>> causal_mask(torch.zeros(2, 2)).tolist()
        [[True, False], [True, True]]
    """
    queries, keys = scores.shape[-2:]
    rows, columns = (torch.arange(size, device=scores.device) for size in (queries, keys))
    return rows[:, None] >= columns[None, :]


def hide(scores: Tensor, mask: Tensor | None) -> Tensor:
    """Scores made so small where a mask is false that nothing is left of them behind a softmax.

    Args:
        scores: `(..., queries, keys)`.
        mask: booleans that broadcast to that, or `None`.
    """
    if mask is None:
        return scores
    least = 65504.0 if scores.dtype is torch.float16 else 1.0e9
    return torch.where(mask, scores, scores - least)


class _Scored(Layer):
    """What both kinds share: scores, their softmax, the sum of values.

    A subclass computes the scores.
    """

    supports_masking = True
    _makes_masks = False

    def __init__(self, use_scale: bool, dropout: float, seed: int | None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.use_scale = use_scale
        self.dropout = dropout
        self.seed = seed
        self._drop = Dropout(dropout, seed=seed, dtype=self.dtype_policy)

    def build(self, input_shape: Any) -> None:
        """Refuse what is no list of queries, values and, perhaps, keys."""
        if nest.is_shape(input_shape) or not isinstance(input_shape, (list, tuple)) or len(input_shape) not in (2, 3):
            raise ShapeError(
                f"{type(self).__name__} takes a list of queries and values.",
                expected="[query, value] or [query, value, key]",
                received=f"shape {input_shape}",
                fix=f"{type(self).__name__}()([query, value])",
            )

    def scores(self, query: Tensor, key: Tensor) -> Tensor:
        """How well each query goes with each key: `(batch, queries, keys)`."""
        raise NotImplementedError(f"{type(self).__name__} does not define scores().")

    def call(
        self,
        inputs: Sequence[Tensor],
        mask: Any = None,
        training: bool | None = None,
        return_attention_scores: bool = False,
        use_causal_mask: bool = False,
    ) -> Any:
        """For each query the mean of the values, weighted by the softmax of the scores."""
        query, value = inputs[0], inputs[1]
        scores = self.scores(query, inputs[2] if len(inputs) > 2 else value)
        query_mask, value_mask = (mask[0], mask[1]) if mask is not None else (None, None)
        seen = None if value_mask is None else value_mask.bool().unsqueeze(-2)
        if use_causal_mask:
            earlier = causal_mask(scores)
            seen = earlier if seen is None else seen & earlier
        shares = torch.softmax(hide(scores, seen), dim=-1)
        shares = self._drop(shares, training=self.training if training is None else training)
        outputs = shares @ value
        if query_mask is not None:
            outputs = outputs * query_mask.bool().unsqueeze(-1)
        return (outputs, shares) if return_attention_scores else outputs

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        """The queries' mask."""
        return previous_mask[0] if isinstance(previous_mask, (list, tuple)) else previous_mask

    def compute_output_shape(self, input_shape: Any) -> Shape:
        """The queries' shape with the size of the values last."""
        return (*input_shape[0][:-1], input_shape[1][-1])

    def compute_output_spec(self, *args: Any, **kwargs: Any) -> Any:
        """What a run without memory gives, since the scores may be part of it."""
        stated = not kwargs.get("return_attention_scores") and len(args) < 4
        return super().compute_output_spec(*args, **kwargs) if stated else self._run_spec(*args, **kwargs)

    def _run_spec(self, *args: Any, **kwargs: Any) -> Any:
        inputs = args[0] if args else kwargs["inputs"]
        outputs = super().compute_output_spec(inputs)
        keys = inputs[2] if len(inputs) > 2 else inputs[1]
        return outputs, type(outputs)((*inputs[0].shape[:-1], keys.shape[-2]), outputs.dtype)


@LAYERS.register()
class Attention(_Scored):
    """For each query the mean of the values, weighted by the products of the query with the keys.

    Args:
        use_scale: whether the scores are multiplied by a weight.
        score_mode: `"dot"` for products; `"concat"` for `sum(tanh(query + key))`.
        dropout: the share of the weights that is dropped while training.
        seed: where the layer's own random numbers start; `None` for torch's global ones.
        **kwargs: what every layer takes.

    Input shape:
        A list of queries `(batch, queries, size)`, values `(batch, keys, width)` and, unless they are the values,
        keys `(batch, keys, size)`; the mask of the values says which keys count.

    Output shape:
        `(batch, queries, width)`; with `return_attention_scores=True` in the call a pair of that and
        `(batch, queries, keys)`.

    Raises:
        ArgumentError: there is no such `score_mode`.
        ShapeError: the input is no list of two or three tensors.

    Example:
        >>> Attention()([torch.ones(2, 3, 4), torch.ones(2, 5, 4)]).shape
        torch.Size([2, 3, 4])

    Reference:
        Luong, Pham and Manning (2015), Effective approaches to attention-based neural machine translation,
        https://arxiv.org/abs/1508.04025
    """

    def __init__(
        self,
        use_scale: bool = False,
        score_mode: str = "dot",
        dropout: float = 0.0,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(use_scale, dropout, seed, **kwargs)
        if score_mode not in ("dot", "concat"):
            raise ArgumentError(
                "Attention has no such scores.",
                expected="score_mode='dot' or 'concat'",
                received=f"score_mode={score_mode!r}",
                fix="leave it out for 'dot'",
            )
        self.score_mode = score_mode

    def build(self, input_shape: Any) -> None:
        """Make the scale and the weight of the sums, where there are any."""
        super().build(input_shape)
        self.scale = self.add_weight((), "ones", name="scale") if self.use_scale else None
        concat = self.score_mode == "concat"
        self.concat_score_weight = self.add_weight((), "ones", name="concat_score_weight") if concat else None

    def scores(self, query: Tensor, key: Tensor) -> Tensor:
        """Products, or sums of tanh."""
        if self.score_mode == "dot":
            products = query @ key.transpose(-2, -1)
            return products if self.scale is None else products * self.scale
        sums = query.unsqueeze(-2) + key.unsqueeze(-3)
        return self.concat_score_weight * torch.tanh(sums if self.scale is None else self.scale * sums).sum(-1)


@LAYERS.register()
class AdditiveAttention(_Scored):
    """For each query the mean of the values, weighted by `sum(scale * tanh(query + key))`.

    Args:
        use_scale: whether each feature has a weight in the sum.
        dropout: the share of the weights that is dropped while training.
        seed: where the layer's own random numbers start; `None` for torch's global ones.
        **kwargs: what every layer takes.

    Input shape:
        A list of queries `(batch, queries, size)`, values `(batch, keys, width)` and, unless they are the values,
        keys `(batch, keys, size)`; the mask of the values says which keys count.

    Output shape:
        `(batch, queries, width)`; with `return_attention_scores=True` in the call a pair of that and
        `(batch, queries, keys)`.

    Raises:
        ShapeError: the input is no list of two or three tensors.

    Example:
        >>> AdditiveAttention()([torch.ones(2, 3, 4), torch.ones(2, 5, 4)]).shape
        torch.Size([2, 3, 4])

    Reference:
        Bahdanau, Cho and Bengio (2015), Neural machine translation by jointly learning to align and translate,
        https://arxiv.org/abs/1409.0473
    """

    def __init__(self, use_scale: bool = True, dropout: float = 0.0, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(use_scale, dropout, seed, **kwargs)

    def build(self, input_shape: Any) -> None:
        """Make the weights of the features, if there are any."""
        super().build(input_shape)
        size = input_shape[0][-1]
        self.scale = self.add_weight((size,), "glorot_uniform", name="scale") if self.use_scale else None

    def scores(self, query: Tensor, key: Tensor) -> Tensor:
        """Sums of tanh."""
        sums = torch.tanh(query.unsqueeze(-2) + key.unsqueeze(-3))
        return (sums if self.scale is None else self.scale * sums).sum(-1)
