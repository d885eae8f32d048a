"""`MultiHeadAttention`: attention of several heads, with projections before and behind it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from lamina import constraints, initializers, regularizers
from lamina.engine.abstract import Shape, abstract_call
from lamina.engine.arguments import positive
from lamina.engine.configs import plain
from lamina.engine.layer import Layer
from lamina.engine.masking import get_mask
from lamina.layers.attention import causal_mask, hide
from lamina.layers.dropout import Dropout
from lamina.layers.einsum_dense import EinsumDense
from lamina.registry import LAYERS

_LETTERS = "abcdefghijklmno"


@LAYERS.register()
class MultiHeadAttention(Layer):
    """Queries, keys and values projected for each head; the heads' attention; one projection of all heads together.

    Args:
        num_heads: the number of heads.
        key_dim: the size of a head's queries and keys.
        value_dim: the size of a head's values; `key_dim` by default.
        dropout: the share of the attention's weights that is dropped while training.
        use_bias: whether the projections add biases.
        output_shape: the size, or sizes, of the output; the queries' by default.
        attention_axes: along which axes a query sees others; all but the first and the last by default.
        sliding_window: how far a query sees, itself counted: keys less than so many places away; `None` for all.
        flash_attention: accepted for Keras's sake; torch chooses its kernel.
        kernel_initializer: of the projections' kernels.
        bias_initializer: of their biases.
        kernel_regularizer: a penalty on the kernels.
        bias_regularizer: a penalty on the biases.
        activity_regularizer: a penalty on the projections' outputs.
        kernel_constraint: a projection of the kernels after each optimizer step.
        bias_constraint: a projection of the biases after each optimizer step.
        use_gate: whether the heads' results are multiplied by sigmoids of one more projection of the queries.
        seed: where the layer's own random numbers start; `None` for torch's global ones.
        **kwargs: what every layer takes.

    Input shape:
        Queries `(batch, queries, size)`, values `(batch, keys, width)` and, unless they are the values, keys
        `(batch, keys, size)`. Their masks, `attention_mask=` booleans `(batch, queries, keys)` and
        `use_causal_mask=True` say what a query does not see.

    Output shape:
        `(batch, queries, output_shape)`; with `return_attention_scores=True` a pair of that and
        `(batch, heads, queries, keys)`.

    Raises:
        ArgumentError: a size is not a positive whole number.

    Example:
        >>> MultiHeadAttention(2, 8)(torch.ones(3, 5, 16), torch.ones(3, 7, 16)).shape
        torch.Size([3, 5, 16])

    Reference:
        Vaswani et al. (2017), Attention is all you need, https://arxiv.org/abs/1706.03762
    """

    supports_masking = True
    _resolves_training = True

    def __init__(
        self,
        num_heads: int,
        key_dim: int,
        value_dim: int | None = None,
        dropout: float = 0.0,
        use_bias: bool = True,
        output_shape: Any = None,
        attention_axes: Any = None,
        sliding_window: int | None = None,
        flash_attention: bool | None = None,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        use_gate: bool = False,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        owner = type(self).__name__
        self.num_heads = positive(num_heads, "num_heads", owner)
        self.key_dim = positive(key_dim, "key_dim", owner)
        self.value_dim = self.key_dim if value_dim is None else positive(value_dim, "value_dim", owner)
        self.dropout = dropout
        self.use_bias = use_bias
        sizes = (output_shape,) if isinstance(output_shape, int) else output_shape and tuple(output_shape)
        self.__dict__["output_shape"] = sizes or None
        axes = (attention_axes,) if isinstance(attention_axes, int) else attention_axes
        self.attention_axes = None if axes is None else tuple(axes)
        self.sliding_window = None if sliding_window is None else positive(sliding_window, "sliding_window", owner)
        self.flash_attention = flash_attention
        self.kernel_initializer = initializers.get(kernel_initializer)
        self.bias_initializer = initializers.get(bias_initializer)
        self.kernel_regularizer = regularizers.get(kernel_regularizer)
        self.bias_regularizer = regularizers.get(bias_regularizer)
        self.__dict__["activity_regularizer"] = None  # the projections have it
        self._activity = regularizers.get(activity_regularizer)
        self.kernel_constraint = constraints.get(kernel_constraint)
        self.bias_constraint = constraints.get(bias_constraint)
        self.use_gate = use_gate
        self.seed = seed
        self._dropout_layer = Dropout(dropout, seed=seed, dtype=self.dtype_policy)

    def build(self, query_shape: Any, value_shape: Any = None, key_shape: Any = None) -> None:
        """Make the projections."""
        value_shape = query_shape if value_shape is None else value_shape
        key_shape = value_shape if key_shape is None else key_shape
        rank = len(query_shape)
        self.query_dense = self._projection("query", rank, (self.num_heads, self.key_dim))
        self.key_dense = self._projection("key", len(key_shape), (self.num_heads, self.key_dim))
        if self.use_gate:  # Keras's order of weights
            self._gate_dense = self._projection("gate", rank, (self.num_heads, self.value_dim), activation="sigmoid")
            self._gate_dense.build(query_shape)
        self.value_dense = self._projection("value", len(value_shape), (self.num_heads, self.value_dim))
        outputs = self.output_shape or (query_shape[-1],)
        self.output_dense = self._projection("attention_output", rank, outputs, heads=True)
        for layer, shape in (
            (self.query_dense, query_shape),
            (self.key_dense, key_shape),
            (self.value_dense, value_shape),
        ):
            layer.build(shape)
        self.output_dense.build((*query_shape[:-1], self.num_heads, self.value_dim))

    def _projection(
        self, name: str, rank: int, sizes: Sequence[int], heads: bool = False, activation: str | None = None
    ) -> EinsumDense:
        """A product along the last axis, or the last two, that gives axes of `sizes`."""
        stay, summed = _LETTERS[: rank - 1], "xy" if heads else "x"
        made = "pqrstuv"[: len(sizes)]
        return EinsumDense(
            f"{stay}{summed},{summed}{made}->{stay}{made}",
            (*(None,) * (rank - 2), *sizes),
            activation=activation,
            bias_axes=made if self.use_bias else None,
            kernel_initializer=_fresh(self.kernel_initializer),
            bias_initializer=_fresh(self.bias_initializer),
            kernel_regularizer=self.kernel_regularizer,
            bias_regularizer=self.bias_regularizer,
            activity_regularizer=self._activity,
            kernel_constraint=self.kernel_constraint,
            bias_constraint=self.bias_constraint,
            dtype=self.dtype_policy,
            name=name,
        )

    def call(
        self,
        query: Tensor,
        value: Tensor,
        key: Tensor | None = None,
        query_mask: Any = None,
        value_mask: Any = None,
        key_mask: Any = None,
        attention_mask: Any = None,
        return_attention_scores: bool = False,
        training: bool | None = None,
        use_causal_mask: bool = False,
    ) -> Any:
        """The projections, the heads' attention, the projection behind it."""
        training = self.training if training is None else training
        query_mask = get_mask(query) if query_mask is None else query_mask
        value_mask = get_mask(value) if value_mask is None else value_mask
        key_mask = get_mask(key) if key_mask is None and key is not None else key_mask
        parts = self.query_dense(query), self.key_dense(value if key is None else key), self.value_dense(value)
        q, k, v = (self._heads_first(part) for part in parts)  # (B, free axes, heads, places, size)
        hidden = self._seen(q, k, (query_mask, value_mask, key_mask), attention_mask, use_causal_mask)
        scores = None
        if return_attention_scores or (training and self.dropout):
            products = (q / math.sqrt(self.key_dim)) @ k.transpose(-2, -1)
            scores = torch.softmax(hide(products, hidden), dim=-1)
            mixed = self._dropout_layer(scores, training=training) @ v
        else:
            mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=_as_offset(hidden, q))
        mixed = self._heads_last(mixed, parts[0])
        outputs = self.output_dense(mixed * self._gate_dense(query) if self.use_gate else mixed)
        return (outputs, self._by_axes(scores, parts[0], parts[1])) if return_attention_scores else outputs

    def _axes(self, projected: Tensor) -> tuple[list[int], list[int]]:
        """The axes along which a query sees others, and those between that are like the batch."""
        rank = projected.dim()
        own = range(1, rank - 2) if self.attention_axes is None else self.attention_axes
        seen = [axis if axis >= 0 else rank - 1 + axis for axis in own]
        return seen, [axis for axis in range(1, rank - 2) if axis not in seen]

    def _heads_first(self, x: Tensor) -> Tensor:
        """`(B, ..., heads, size)` as `(B, free axes, heads, places, size)`."""
        seen, free = self._axes(x)
        moved = x.permute(0, *free, x.dim() - 2, *seen, x.dim() - 1)
        return moved.flatten(2 + len(free), -2) if len(seen) > 1 else moved

    def _heads_last(self, x: Tensor, like: Tensor) -> Tensor:
        """The other way round, with the axes of `like`."""
        seen, free = self._axes(like)
        if len(seen) > 1:
            x = x.unflatten(2 + len(free), [like.shape[axis] for axis in seen])
        order = [0, *free, like.dim() - 2, *seen, like.dim() - 1]
        return x.permute(*(order.index(axis) for axis in range(like.dim())))

    def _by_axes(self, scores: Any, query: Tensor, key: Tensor) -> Any:
        """Scores with an axis for each one along which queries and keys lie."""
        seen, free = self._axes(query)
        if len(seen) < 2:
            return scores
        scores = scores.unflatten(-1, [key.shape[axis] for axis in self._axes(key)[0]])
        return scores.unflatten(2 + len(free), [query.shape[axis] for axis in seen])

    def _seen(self, q: Tensor, k: Tensor, masks: Any, attention_mask: Any, causal: bool) -> Tensor | None:
        """Which key each query sees, as booleans that broadcast to the scores; `None` for all of them."""
        of_query, of_value, of_key = masks
        found: Tensor | None = None
        parts = [] if of_query is None else [of_query.bool().unsqueeze(-1)]
        parts += [mask.bool().unsqueeze(-2) for mask in (of_value, of_key) if mask is not None]
        if attention_mask is not None:
            parts.append(torch.as_tensor(attention_mask, device=q.device).bool())
        for part in parts:
            found = part if found is None else found & part
        if found is not None:
            while found.dim() < q.dim():  # heads and free axes stand before queries and keys
                found = found.unsqueeze(-3)
        for wanted, seen in ((causal, causal_mask), (self.sliding_window, self._within_window)):
            if wanted:
                pairs = seen(q[..., :1] @ k[..., :1].transpose(-2, -1))
                found = pairs if found is None else found & pairs
        return found

    def _within_window(self, scores: Tensor) -> Tensor:
        """Which key is near enough to each query: booleans `(queries, keys)`."""
        rows, columns = (torch.arange(size, device=scores.device) for size in scores.shape[-2:])
        return (rows[:, None] - columns[None, :]).abs() < self.sliding_window

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        """The queries' mask."""
        return previous_mask

    def compute_output_shape(self, query_shape: Any, value_shape: Any = None, key_shape: Any = None) -> Shape:
        """The queries' shape with the sizes of the output last."""
        return (*query_shape[:-1], *(self.output_shape or (query_shape[-1],)))

    def compute_output_spec(self, *args: Any, **kwargs: Any) -> Any:
        """What a run without memory gives, since the scores may be part of it."""
        return abstract_call(self._run_abstractly, args, kwargs)

    def get_config(self) -> dict[str, Any]:
        """The arguments."""
        config = super().get_config()
        if self._activity is not None:
            config["activity_regularizer"] = plain(self._activity)
        return config


def _fresh(initializer: Any) -> Any:
    """Another initializer like this one, so that two weights do not begin alike where it has a seed of its own."""
    return (
        type(initializer).from_config(initializer.get_config()) if hasattr(initializer, "get_config") else initializer
    )


def _as_offset(seen: Tensor | None, like: Tensor) -> Tensor | None:
    """A mask as what is added to the scores; a query that sees nothing then sees all alike, as in Keras."""
    if seen is None:
        return None
    return hide(torch.zeros((), dtype=like.dtype, device=like.device).expand(seen.shape), seen)
