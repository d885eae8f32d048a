"""`Embedding`: rows of a table."""

from __future__ import annotations

from typing import Any

import torch

from lamina import constraints, initializers, regularizers
from lamina.engine.abstract import Shape
from lamina.engine.arguments import positive
from lamina.engine.layer import Layer
from lamina.registry import LAYERS


@LAYERS.register()
class Embedding(Layer):
    """A row of a table for each whole number.

    Args:
        input_dim: the number of rows; inputs lie in `[0, input_dim)`.
        output_dim: the size of a row.
        embeddings_initializer: of the table, `(input_dim, output_dim)`.
        embeddings_regularizer: a penalty on the table.
        embeddings_constraint: a projection of the table after each optimizer step.
        mask_zero: whether 0 is padding, masked for the layers that follow.
        weights: initial values of the table.
        **kwargs: what every layer takes.

    Input shape:
        `(batch, ...)`, whole numbers; floats are truncated.

    Output shape:
        `(batch, ..., output_dim)`.

    Raises:
        ArgumentError: a size is not a positive whole number.

    Example:
        >>> Embedding(10, 4)(torch.tensor([[1, 2, 3]])).shape
        torch.Size([1, 3, 4])
    """

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        embeddings_initializer: Any = "uniform",
        embeddings_regularizer: Any = None,
        embeddings_constraint: Any = None,
        mask_zero: bool = False,
        weights: Any = None,
        **kwargs: Any,
    ) -> None:
        length = kwargs.pop("input_length", None)
        if length is not None:
            kwargs.setdefault("input_shape", (length,))
        super().__init__(autocast=False, **kwargs)
        self.input_dim = positive(input_dim, "input_dim", "Embedding")
        self.output_dim = positive(output_dim, "output_dim", "Embedding")
        self.embeddings_initializer = initializers.get(embeddings_initializer)
        self.embeddings_regularizer = regularizers.get(embeddings_regularizer)
        self.embeddings_constraint = constraints.get(embeddings_constraint)
        self.mask_zero = mask_zero
        self.supports_masking = self._makes_masks = mask_zero
        self.__dict__["_initial_weights"] = weights

    def build(self, input_shape: Any = None) -> None:
        """Make the table."""
        self.embeddings = self.add_weight(
            (self.input_dim, self.output_dim),
            self.embeddings_initializer,
            regularizer=self.embeddings_regularizer,
            constraint=self.embeddings_constraint,
            name="embeddings",
        )
        if self._initial_weights is not None:
            given = self._initial_weights
            self.set_weights(given if isinstance(given, (list, tuple)) else [given])

    def call(self, inputs: torch.Tensor) -> torch.Tensor:
        """Look the rows up."""
        index = inputs if inputs.dtype in (torch.int32, torch.int64) else inputs.long()
        return torch.nn.functional.embedding(index, self.embeddings)

    def compute_mask(self, inputs: torch.Tensor, previous_mask: Any = None) -> Any:
        """True where the input is not 0, if `mask_zero`."""
        return inputs != 0 if self.mask_zero else None

    def compute_output_shape(self, input_shape: Any) -> Shape:
        """The input's shape with `output_dim` behind."""
        return (*input_shape, self.output_dim)

    def get_config(self) -> dict[str, Any]:
        """The arguments; initial weights are left to the file of weights."""
        config = super().get_config()
        config.pop("weights", None)
        config.pop("autocast", None)
        return config
